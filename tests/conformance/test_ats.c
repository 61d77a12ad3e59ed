// SPDX-License-Identifier: BSD-3-Clause
/*
 * Devices with ATS, PRI and PASID on the bus of the software host: the registers that the
 * host's driver sets, translation requests, what a device is told to forget by which call,
 * and page requests with their answers. The device is driven by the test directly; it only
 * writes down what it is told.
 */
#include "rig.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "endpoint/dmatest_spec.h"
#include "endpoint/endpoint.h"
#include "host/soft/soft.h"

#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

struct forgotten {
	uint32_t pasid;
	uint64_t iova, last;
};

struct device {
	struct endpoint ep;
	uint16_t ats, pri, pasid;
	struct forgotten forgotten[8];
	unsigned int num_forgotten, num_responses;
	struct endpoint_page_response response;
};

static struct device *to_device(struct endpoint *ep)
{
	return container_of(ep, struct device, ep);
}

static uint64_t bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size)
{
	return 0;
}

static void bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size,
		      uint64_t value)
{
}

static void ats_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last)
{
	struct device *d = to_device(ep);

	assert_true(d->num_forgotten < ARRAY_SIZE(d->forgotten));
	d->forgotten[d->num_forgotten++] = (struct forgotten){ pasid, iova.v, last.v };
}

static void page_response(struct endpoint *ep, const struct endpoint_page_response *resp)
{
	struct device *d = to_device(ep);

	d->num_responses++;
	d->response = *resp;
}

static void reset(struct endpoint *ep)
{
	pci_config_reset(&ep->config);
}

static void destroy_device(struct endpoint *ep)
{
	free(to_device(ep));
}

static const struct endpoint_ops ops = {
	.model = "ats",
	.bar_read = bar_read,
	.bar_write = bar_write,
	.ats_invalidate = ats_invalidate,
	.page_response = page_response,
	.reset = reset,
	.destroy = destroy_device,
};

static const struct endpoint_ops ops_without = {
	.model = "ats",
	.bar_read = bar_read,
	.bar_write = bar_write,
	.reset = reset,
	.destroy = destroy_device,
};

/* The order of the capabilities is that of the device in traces of Linux. */
static struct device *create_device(const struct endpoint_ops *with)
{
	struct device *d = calloc(1, sizeof(*d));
	struct pci_config *cfg = &d->ep.config;

	d->ep.ops = with;
	pci_config_init(cfg, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_set_bar(cfg, 0, PAGE_SIZE_4K, true);
	d->ep.bar_sizes[0] = PAGE_SIZE_4K;
	pci_config_add_express(cfg);
	pci_config_add_msi(cfg, 1);
	d->ats = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_ATS, 1, 8);
	pci_config_set(cfg, (uint16_t)(d->ats + PCI_ATS_CTRL), 2, 0,
		       PCI_ATS_CTRL_ENABLE | PCI_ATS_CTRL_STU(0x1f));
	d->pri = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PRI, 1, 16);
	pci_config_set(cfg, (uint16_t)(d->pri + PCI_PRI_CTRL), 2, 0, PCI_PRI_CTRL_ENABLE);
	pci_config_set(cfg, (uint16_t)(d->pri + PCI_PRI_MAX_REQ), 4, 16, 0);
	pci_config_set(cfg, (uint16_t)(d->pri + PCI_PRI_ALLOC_REQ), 4, 0, UINT32_MAX);
	d->pasid = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PASID, 1, 8);
	pci_config_set(cfg, (uint16_t)(d->pasid + PCI_PASID_CAP), 2,
		       PCI_PASID_CAP_EXEC | PCI_PASID_CAP_PRIV | 20 << 8, 0);
	pci_config_set(cfg, (uint16_t)(d->pasid + PCI_PASID_CTRL), 2, 0, 7);
	return d;
}

/* The device as the second of the host, bound; @rig is changed to mean it. */
static struct device *add_device(struct rig *rig, const struct endpoint_ops *with)
{
	struct device *d = create_device(with);

	ok(soft_add_endpoint(rig->host, &d->ep, rig->path, sizeof(rig->path)));
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	assert_true(rig->dev >= 0);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	return d;
}

static uint32_t get(const struct device *d, unsigned int offset, unsigned int size)
{
	return (uint32_t)le_load(&d->ep.config.bytes[offset], size);
}

static void expect_registers(const struct device *d)
{
	assert_int_equal(get(d, d->ats + PCI_ATS_CTRL, 2), 0x8000);
	assert_int_equal(get(d, d->pri + PCI_PRI_CTRL, 2), 1);
	assert_int_equal(get(d, d->pri + PCI_PRI_ALLOC_REQ, 4), 16);
	assert_int_equal(get(d, d->pasid + PCI_PASID_CTRL, 2), 7);
}

static uint64_t hw_caps(struct rig *rig)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = rig->devid };

	ok(iommufd(rig, IOMMU_GET_HW_INFO, &info));
	return info.out_capabilities;
}

static void the_driver_sets_the_registers(void **state)
{
	struct rig *rig = *state;
	struct device *d = create_device(&ops);

	ok(soft_add_endpoint(rig->host, &d->ep, rig->path, sizeof(rig->path)));
	expect_registers(d); /* when it is probed, before anybody opens it */
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	expect_registers(d);
	ok(call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
	expect_registers(d);
	/* they are the host's: seen, but not to be changed */
	assert_int_equal(config_get(rig, d->ats + PCI_ATS_CTRL, 2), 0x8000);
	config_set(rig, d->ats + PCI_ATS_CTRL, 2, 0);
	config_set(rig, d->pri + PCI_PRI_CTRL, 2, 0);
	expect_registers(d);
	assert_false(hw_caps(rig) & IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
}

/* Capabilities without anything behind them are not used. */
static void a_device_that_cannot(void **state)
{
	struct rig *rig = *state;
	struct device *d = add_device(rig, &ops_without);

	assert_int_equal(get(d, d->ats + PCI_ATS_CTRL, 2), 0);
	assert_int_equal(get(d, d->pri + PCI_PRI_CTRL, 2), 0);
	assert_int_equal(get(d, d->pasid + PCI_PASID_CTRL, 2), 7);
	assert_true(hw_caps(rig) & IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED);
}

struct guest_rig {
	struct guest guest;
	uint64_t root;
	uint32_t ioas, parent, nested;
};

static void make_guest(struct rig *rig, struct guest_rig *g, uint32_t flags)
{
	g->ioas = ioas_alloc(rig);
	guest_init(&g->guest, 1 << 20);
	g->root = guest_table(&g->guest);
	guest_map(&g->guest, g->root, 0x5000, 0x2000);
	ok(ioas_map(rig, g->ioas, g->guest.memory, g->guest.size, 0, RW));
	ok(hwpt_alloc(rig, rig->devid, g->ioas, NEST | flags, &g->parent));
	ok(hwpt_alloc_nested(rig, g->parent, flags, g->root, &g->nested));
}

static int ask(struct device *d, uint32_t pasid, uint64_t iova, struct endpoint_ats_reply *reply)
{
	struct endpoint_ats_request req = { .iova = { iova }, .pasid = pasid, .write = true };

	return d->ep.bus->ops->translate(d->ep.bus, &req, reply);
}

static int use(struct device *d, uint32_t pasid, uint64_t translated, uint64_t iova, uint64_t *word)
{
	struct endpoint_dma_request req = { .iova = { translated },
					    .pasid = pasid,
					    .write = true,
					    .translated = true,
					    .untranslated = { iova },
					    .buf = word,
					    .size = sizeof(*word) };

	return d->ep.bus->ops->dma(d->ep.bus, &req);
}

static void expect_forgotten(struct device *d, unsigned int count, uint32_t pasid, uint64_t iova,
			     uint64_t last)
{
	const struct forgotten *f = &d->forgotten[count ? count - 1 : 0];

	assert_int_equal(d->num_forgotten, count);
	if (count) {
		assert_int_equal(f->pasid, pasid);
		assert_true(f->iova == iova && f->last == last);
	}
	d->num_forgotten = 0;
}

static void translations_and_their_end(void **state)
{
	struct rig *rig = *state;
	struct device *d = add_device(rig, &ops);
	uint64_t word = 0x77, length = 1 << 20;
	struct endpoint_ats_reply reply = { 0 };
	struct guest_rig g;

	make_guest(rig, &g, PASID);
	err(EFAULT, ask(d, NO_PASID, 0x5000, &reply)); /* attached to nothing */
	ok(attach_id(rig, g.nested));
	ok(attach_pasid(rig, 6, g.nested));
	expect_forgotten(d, 0, 0, 0, 0);
	ok(ask(d, NO_PASID, 0x5000, &reply));
	assert_true(reply.translated.v == (uintptr_t)&g.guest.memory[0x2000]);
	assert_true(reply.read && reply.write && reply.size == 4096);
	ok(use(d, NO_PASID, reply.translated.v + 8, 0x5008, &word));
	assert_int_equal(g.guest.memory[0x2008], 0x77);
	/* the guest moves the page and says so: one HWPT, two entries, the last is PASID 6's */
	guest_map(&g.guest, g.root, 0x5000, 0x3000);
	ok(flush_page(rig, g.nested, 0x5000));
	expect_forgotten(d, 2, 6, 0x5000, 0x5fff);
	ok(ask(d, 6, 0x5000, &reply));
	assert_true(reply.translated.v == (uintptr_t)&g.guest.memory[0x3000]);
	ok(flush_all(rig, g.nested));
	expect_forgotten(d, 2, 6, 0, UINT64_MAX);
	ok(attach_pasid(rig, 6, g.parent)); /* replaced: of it alone */
	assert_int_equal(d->forgotten[0].pasid, 6);
	d->num_forgotten = 0;
	ok(detach_pasid(rig, 6));
	expect_forgotten(d, 1, 6, 0, UINT64_MAX);
	ok(ioas_unmap(rig, g.ioas, 0, &length));
	expect_forgotten(d, 1, NO_PASID, 0, UINT64_MAX);
	err(EFAULT, use(d, NO_PASID, reply.translated.v, 0x5000, &word)); /* did not listen */
	ok(detach(rig));
	expect_forgotten(d, 1, NO_PASID, 0, UINT64_MAX);
	err(EFAULT, use(d, NO_PASID, reply.translated.v, 0x5000, &word));
	guest_fini(&g.guest);
}

static void ask_for_page(struct device *d, uint32_t pasid, unsigned int group, bool last)
{
	struct endpoint_page_request req = { .iova = { 0x5000 + group * 0x1000 },
					     .pasid = pasid,
					     .group = group,
					     .read = true,
					     .write = true,
					     .last = last };

	d->ep.bus->ops->page_request(d->ep.bus, &req);
}

static void expect_response(struct device *d, unsigned int count, uint32_t pasid,
			    unsigned int group, enum endpoint_page_response_code code)
{
	assert_int_equal(d->num_responses, count);
	if (count) {
		assert_int_equal(d->response.pasid, pasid);
		assert_int_equal(d->response.group, group);
		assert_int_equal(d->response.code, code);
	}
	d->num_responses = 0;
}

/* A nested HWPT with a fault queue, attached to PASID 6; returns the queue's descriptor. */
static int attach_with_queue(struct rig *rig, struct guest_rig *g, uint32_t *hwpt)
{
	struct iommu_fault_alloc queue = { .size = sizeof(queue) };
	struct iommu_hwpt_vtd_s1 s1 = { .pgtbl_addr = g->root, .addr_width = 48 };
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT | PASID,
					.dev_id = rig->devid,
					.pt_id = g->parent,
					.data_type = IOMMU_HWPT_DATA_VTD_S1,
					.data_len = sizeof(s1),
					.data_uptr = (uintptr_t)&s1 };

	ok(iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &queue));
	cmd.fault_id = queue.out_fault_id;
	ok(iommufd(rig, IOMMU_HWPT_ALLOC, &cmd));
	ok(attach_pasid(rig, 6, cmd.out_hwpt_id));
	if (hwpt)
		*hwpt = cmd.out_hwpt_id;
	return (int)queue.out_fault_fd;
}

static void page_requests_and_answers(void **state)
{
	struct rig *rig = *state;
	struct device *d = add_device(rig, &ops);
	struct iommu_hwpt_pgfault records[2];
	struct iommu_hwpt_page_response answer = { .code = IOMMUFD_PAGE_RESP_SUCCESS };
	struct guest_rig g;
	int fd;

	make_guest(rig, &g, PASID);
	ask_for_page(d, 6, 1, true);
	expect_response(d, 1, 6, 1, ENDPOINT_PAGE_INVALID); /* nobody listens */
	fd = attach_with_queue(rig, &g, NULL);
	ask_for_page(d, 6, 2, false);
	ask_for_page(d, 6, 2, true);
	expect_response(d, 0, 0, 0, 0);
	assert_int_equal(rig->host->ops->read(rig->host, fd, records, sizeof(records)),
			 sizeof(records));
	assert_int_equal(records[1].pasid, 6);
	assert_int_equal(records[1].grpid, 2);
	assert_int_equal(records[1].addr, 0x7000);
	assert_int_equal(records[1].perm, IOMMU_PGFAULT_PERM_READ | IOMMU_PGFAULT_PERM_WRITE);
	answer.cookie = records[1].cookie;
	assert_int_equal(rig->host->ops->write(rig->host, fd, &answer, sizeof(answer)),
			 sizeof(answer));
	expect_response(d, 1, 6, 2, ENDPOINT_PAGE_SUCCESS);
	ask_for_page(d, 6, 3, true);
	ok(detach_pasid(rig, 6)); /* takes it along */
	expect_response(d, 1, 6, 3, ENDPOINT_PAGE_INVALID);
	ok(host_close(rig, fd));
	guest_fini(&g.guest);
}

static void page_requests_without_memory(void **state)
{
	struct rig *rig = *state;
	struct device *d = add_device(rig, &ops);
	struct iommu_hwpt_pgfault records[4];
	struct guest_rig g;
	int fd;

	make_guest(rig, &g, PASID);
	fd = attach_with_queue(rig, &g, NULL);
	for (unsigned int nth = 1;; nth++) {
		bool fired;

		ask_for_page(d, 6, nth, false);
		alloc_fail_nth(nth);
		ask_for_page(d, 6, nth, true);
		fired = !alloc_fail_left();
		alloc_fail_nth(0);
		if (!fired) {
			assert_int_equal(nth, 3); /* what answers, and the group */
			break;
		}
		expect_response(d, 1, 6, nth,
				nth == 1 ? ENDPOINT_PAGE_FAILURE : ENDPOINT_PAGE_INVALID);
	}
	expect_response(d, 0, 0, 0, 0);
	/* the third group; then what the others had before is not found under their index */
	assert_int_equal(rig->host->ops->read(rig->host, fd, records, sizeof(records)),
			 2 * sizeof(records[0]));
	for (unsigned int group = 1; group < 3; group++) {
		ask_for_page(d, 6, group, true);
		assert_int_equal(rig->host->ops->read(rig->host, fd, records, sizeof(records)),
				 sizeof(records[0]));
		assert_int_equal(records[0].grpid, group);
	}
	ok(host_close(rig, fd));
	guest_fini(&g.guest);
}

/* Of a group that was begun before a reset nothing is left. */
static void a_reset_forgets_what_was_begun(void **state)
{
	struct rig *rig = *state;
	struct device *d = add_device(rig, &ops);
	struct iommu_hwpt_pgfault record;
	struct guest_rig g;
	int fd;

	make_guest(rig, &g, PASID);
	fd = attach_with_queue(rig, &g, NULL);
	ask_for_page(d, 6, 2, false);
	ok(call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
	ask_for_page(d, 6, 2, true);
	assert_int_equal(rig->host->ops->read(rig->host, fd, &record, sizeof(record)),
			 sizeof(record));
	ok(host_close(rig, fd));
	guest_fini(&g.guest);
}

/* --- dmatest: a device that does all of this by itself --------------------------------- */

/* Write @size bytes at @iova through the device TLB, and ask for pages that are missing. */
static void start_write(struct rig *rig, uint32_t pasid, uint64_t iova, uint32_t size)
{
	uint64_t control = DMATEST_WRITE | DMATEST_DESC_PASID | DMATEST_DESC_ATS | DMATEST_DESC_PRI;

	bar_set(rig, DMATEST_REG_IMM_DESC, control | (uint64_t)pasid << 32);
	bar_set(rig, DMATEST_REG_IMM_DESC + 8, iova);
	bar_set(rig, DMATEST_REG_IMM_DESC + 24, size);
	bar_set(rig, DMATEST_REG_IMM_GO, 1);
}

static unsigned int write_status(struct rig *rig)
{
	return bar_get(rig, DMATEST_REG_IMM_CPL + 24) >> 32 & 0xff;
}

static bool is_written(const struct guest_rig *g, uint64_t gpa)
{
	return memcmp(&g->guest.memory[gpa], (const uint8_t[64]){ 0 }, 64);
}

static void answer_page(struct rig *rig, int fd, uint64_t expect_addr)
{
	struct iommu_hwpt_page_response answer = { .code = IOMMUFD_PAGE_RESP_SUCCESS };
	struct iommu_hwpt_pgfault record;

	assert_int_equal(rig->host->ops->read(rig->host, fd, &record, sizeof(record)),
			 sizeof(record));
	assert_int_equal(record.addr, expect_addr);
	assert_int_equal(record.pasid, 6);
	answer.cookie = record.cookie;
	assert_int_equal(rig->host->ops->write(rig->host, fd, &answer, sizeof(answer)),
			 sizeof(answer));
}

static void dmatest_asks_waits_and_forgets(void **state)
{
	struct rig *rig = *state;
	struct nst_soft_stats stats;
	struct guest_rig g;
	uint32_t nested;
	int fd;

	ok(nst_soft_add_device(rig->host, "dmatest", rig->path, sizeof(rig->path), NULL));
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	assert_true(rig->dev >= 0);
	ok(bind_device(rig, rig->dev, rig->iommu, &rig->devid));
	enable_bus_master(rig);
	/* what the host's driver has enabled, as the device sees it */
	assert_int_equal(bar_get(rig, DMATEST_REG_STATUS - 4) >> 32 & 0x1f,
			 DMATEST_STATUS_BUS_MASTER | DMATEST_STATUS_ATS | DMATEST_STATUS_PRI |
				 DMATEST_STATUS_PASID | DMATEST_STATUS_PRIVILEGED);
	make_guest(rig, &g, PASID);
	fd = attach_with_queue(rig, &g, &nested);
	start_write(rig, 6, 0x9000, 64);
	assert_int_equal(write_status(rig), DMATEST_BUSY);
	guest_map(&g.guest, g.root, 0x9000, 0x3000);
	answer_page(rig, fd, 0x9000);
	bar_set(rig, DMATEST_REG_IMM_DESC + 32,
		0); /* this host's devices work in register writes */
	assert_int_equal(write_status(rig), DMATEST_OK);
	assert_true(is_written(&g, 0x3000));
	/* moved without a word: the device does not know, and the sanitizer does */
	guest_map(&g.guest, g.root, 0x9000, 0x4000);
	start_write(rig, 6, 0x9000, 64);
	assert_int_equal(write_status(rig), DMATEST_OK);
	assert_false(is_written(&g, 0x4000));
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.stale_hits, 1);
	ok(flush_page(rig, nested, 0x9000));
	start_write(rig, 6, 0x9000, 64);
	assert_int_equal(write_status(rig), DMATEST_OK);
	assert_true(is_written(&g, 0x4000));
	nst_soft_get_stats(rig->host, &stats);
	assert_int_equal(stats.stale_hits, 1);
	ok(host_close(rig, fd));
	guest_fini(&g.guest);
}

static const struct suite_case cases[] = {
	TEST(the_driver_sets_the_registers, NEED_IN_PROCESS | NEED_VTD),
	TEST(a_device_that_cannot, NEED_IN_PROCESS | NEED_VTD),
	TEST(translations_and_their_end, NEED_IN_PROCESS | NEED_VTD),
	TEST(page_requests_and_answers, NEED_IN_PROCESS | NEED_VTD),
	TEST(page_requests_without_memory, NEED_IN_PROCESS | NEED_VTD),
	TEST(a_reset_forgets_what_was_begun, NEED_IN_PROCESS | NEED_VTD),
	TEST(dmatest_asks_waits_and_forgets, NEED_IN_PROCESS | NEED_VTD),
};
SUITE_GROUP(ats, cases)
