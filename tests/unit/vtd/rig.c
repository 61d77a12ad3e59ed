// SPDX-License-Identifier: BSD-3-Clause
/* See rig.h: the rig's life. guest.c is the guest. */
#include "rig.h"

#include "base/alloc.h"
#include "host/soft/soft.h"

#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* --- devices --------------------------------------------------------------------------------- */

static uint64_t bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size)
{
	return offset;
}

static void bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset, unsigned int size,
		      uint64_t value)
{
}

static void reset(struct endpoint *ep)
{
	pci_config_reset(&ep->config);
}

static void destroy(struct endpoint *ep)
{
	free(ep);
}

static const struct endpoint_ops endpoint_ops = {
	.model = "rig",
	.bar_read = bar_read,
	.bar_write = bar_write,
	.reset = reset,
	.destroy = destroy,
};

static struct endpoint *make_endpoint(bool pasid)
{
	struct endpoint *ep = calloc(1, sizeof(*ep));
	struct pci_config *cfg = &ep->config;

	ep->ops = &endpoint_ops;
	pci_config_init(cfg, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_set_bar(cfg, 0, PAGE_SIZE_4K, true);
	ep->bar_sizes[0] = PAGE_SIZE_4K;
	pci_config_add_express(cfg);
	pci_config_add_msi(cfg, 4);
	pci_config_add_msix(cfg, 2, 0, 0x800, 0xc00);
	if (pasid) {
		uint16_t at = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PASID, 1, 8);

		cfg->bytes[at + PCI_PASID_CAP + 1] = 20;
	}
	return ep;
}

struct rig_device *rig_plug(struct rig *rig, bool pasid)
{
	return rig_plug_endpoint(rig, make_endpoint(pasid));
}

struct rig_device *rig_plug_endpoint(struct rig *rig, struct endpoint *ep)
{
	/* lower and upper half of a bus, and another bus */
	static const nst_rid rids[RIG_MAX_DEVICES] = { 0x0010, 0x0098, 0x01f8, 0x0020 };
	struct rig_device *d = &rig->devices[rig->num_devices];

	assert_true(rig->num_devices < RIG_MAX_DEVICES);
	d->ep = ep;
	ok(soft_add_endpoint(rig->host.inner, d->ep, d->path, sizeof(d->path)));
	d->rid = rids[rig->num_devices++];
	return d;
}

int rig_open(struct rig *rig, struct rig_device *d)
{
	struct nst_device_config config = { .path = d->path };
	int ret = nst_device_open(rig->vm, &config, &d->dev);

	if (ret)
		d->dev = NULL;
	else
		atomic_store(&d->ep->config.bus_master, true);
	return ret;
}

struct rig_device *rig_add_device(struct rig *rig)
{
	struct rig_device *d = rig_plug(rig, false);

	ok(rig_open(rig, d));
	ok(nst_viommu_attach(rig->viommu, d->rid, d->dev));
	return d;
}

static int dma(struct rig_device *d, uint64_t iova, uint64_t *value, bool write)
{
	struct endpoint_dma_request req = {
		.iova = { iova }, .pasid = NST_NO_PASID, .write = write, .buf = value,
		.size = sizeof(*value),
	};

	return endpoint_dma(d->ep, &req);
}

int dma_read(struct rig_device *d, uint64_t iova, uint64_t *value)
{
	return dma(d, iova, value, false);
}

int dma_write(struct rig_device *d, uint64_t iova, uint64_t value)
{
	return dma(d, iova, &value, true);
}

enum place place_of(struct rig_device *d)
{
	uint64_t value = NOWHERE;

	return dma_read(d, PROBE_IOVA, &value) ? NOWHERE : (enum place)value;
}

/* --- life ------------------------------------------------------------------------------------ */

static void take_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct rig *rig = opaque;

	if (rig->num_msis < ARRAY_SIZE(rig->msis)) {
		rig->msis[rig->num_msis].address = address;
		rig->msis[rig->num_msis].data = data;
	}
	rig->num_msis++;
}

static void take_log(void *opaque, enum nst_log_level level, const char *message)
{
	struct rig *rig = opaque;

	if (getenv("RIG_LOG"))
		fprintf(stderr, "# %d %s\n", level, message);
	rig->logged[level]++;
}

static void fill_memory(struct rig *rig)
{
	rig->next_table = GPA_TABLES;
	for (int place = PLACE_SAME; place < NUM_PLACES; place++)
		*mem64(rig, PROBE_IOVA + (uint64_t)(place - PLACE_SAME) * PAGE_SIZE_4K) =
			(uint64_t)place;
	rig->root_a = guest_page(rig);
	rig->root_b = guest_page(rig);
	rig->root_c = guest_page(rig);
	guest_map(rig, rig->root_a, PROBE_IOVA, PROBE_IOVA + 1 * PAGE_SIZE_4K);
	guest_map(rig, rig->root_b, PROBE_IOVA, PROBE_IOVA + 2 * PAGE_SIZE_4K);
	guest_map(rig, rig->root_c, PROBE_IOVA, PROBE_IOVA + 3 * PAGE_SIZE_4K);
}

static struct rig *create(bool strict_abi)
{
	struct nst_soft_config soft = {
		.synchronous = true, .check = true, .strict_abi = strict_abi };
	struct rig *rig = calloc(1, sizeof(*rig));
	struct nst_vtd_config config;

	rig->log = (struct nst_log){ take_log, rig, NST_LOG_DEBUG };
	rig_host_init(&rig->host, rig, &soft);
	ok(nst_vm_create(&rig->host.base, &rig->log, &rig->vm));
	rig->memory = mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	assert_true(rig->memory != MAP_FAILED);
	ok(nst_vm_map(rig->vm, (nst_gpa){ 0 }, RIG_MEMORY, rig->memory, true));
	fill_memory(rig);
	config = (struct nst_vtd_config){
		.vm = rig->vm, .log = &rig->log, .send_msi = take_msi, .opaque = rig };
	ok(nst_vtd_create(&config, &rig->viommu));
	return rig;
}

struct rig *rig_create(void)
{
	return create(false);
}

struct rig *rig_create_strict(void)
{
	return create(true);
}

/* After it nothing of the host may be left, whatever the test did (but fail to destroy). */
void rig_destroy(struct rig *rig)
{
	rig->host.hook = NULL;	/* what it looks at went with the test's own variables */
	nst_viommu_destroy(rig->viommu);
	for (unsigned int i = 0; i < rig->num_devices; i++)
		nst_device_close(rig->devices[i].dev);
	nst_vm_destroy(rig->vm);
	if (!rig->host.failed_destroys) {
		assert_int_equal(rig->host.live_objects, 0);
		assert_int_equal(rig->host.live_reporting, 0);
	}
	assert_int_equal(rig->host.open_fds, 0);
	rig_host_fini(&rig->host);
	munmap(rig->memory, RIG_MEMORY);
	free(rig);
}

int rig_setup_empty(void **state)
{
	*state = rig_create();
	return 0;
}

int rig_setup(void **state)
{
	struct rig *rig = rig_create();

	rig_add_device(rig);
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	rig_destroy(*state);
	return 0;
}

struct nst_viommu_stats rig_stats(struct rig *rig)
{
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(rig->viommu, &stats);
	return stats;
}

struct nst_soft_stats rig_soft_stats(struct rig *rig)
{
	struct nst_soft_stats stats;

	nst_soft_get_stats(rig->host.inner, &stats);
	return stats;
}
