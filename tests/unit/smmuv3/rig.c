// SPDX-License-Identifier: BSD-3-Clause
/* See rig.h: the rig's life. guest.c is the guest. */
#include "rig.h"

#include "host/soft/soft.h"

#include <linux/pci_regs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
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
	free(container_of(ep, struct rig_endpoint, ep));
}

static void ats_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last)
{
	struct rig_endpoint *e = container_of(ep, struct rig_endpoint, ep);

	e->ats_flushes++;
	e->flushed_pasid = pasid;
	e->flushed_first = iova.v;
	e->flushed_last = last.v;
}

static void run(struct endpoint *ep)
{
	struct rig_endpoint *e = container_of(ep, struct rig_endpoint, ep);
	struct endpoint_dma_request req = {
		.iova = { e->iova },
		.pasid = e->pasid,
		.write = e->write,
		.buf = &e->value,
		.size = sizeof(e->value),
	};

	e->result = endpoint_dma(ep, &req);
	atomic_fetch_add(&e->done, 1);
}

static const struct endpoint_ops endpoint_ops = {
	.model = "rig",
	.bar_read = bar_read,
	.bar_write = bar_write,
	.reset = reset,
	.destroy = destroy,
	.ats_invalidate = ats_invalidate,
	.run = run,
};

static struct endpoint *make_endpoint(bool pasid)
{
	struct rig_endpoint *e = calloc(1, sizeof(*e));
	struct endpoint *ep = &e->ep;
	struct pci_config *cfg = &ep->config;

	ep->ops = &endpoint_ops;
	pci_config_init(cfg, 0x1234, 0x5678, 0xff0000, 1);
	pci_config_set_bar(cfg, 0, PAGE_SIZE_4K, true);
	ep->bar_sizes[0] = PAGE_SIZE_4K;
	pci_config_add_express(cfg);
	pci_config_add_msi(cfg, 4);
	pci_config_add_ats(cfg);
	if (pasid) {
		uint16_t at = pci_config_add_ext_cap(cfg, PCI_EXT_CAP_ID_PASID, 1, 8);

		cfg->bytes[at + PCI_PASID_CAP + 1] = 20;
	}
	return ep;
}

struct rig_device *rig_plug(struct rig *rig, bool pasid)
{
	/* 0 is an ordinary StreamID; both halves of a bus, and another bus */
	static const nst_rid rids[RIG_MAX_DEVICES] = { 0x0010, 0x0000, 0x01f8, 0x0020 };
	struct rig_device *d = &rig->devices[rig->num_devices];

	assert_true(rig->num_devices < RIG_MAX_DEVICES);
	d->ep = make_endpoint(pasid);
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

int dma_pasid(struct rig_device *d, uint32_t pasid, uint64_t iova, uint64_t *value, bool write)
{
	struct endpoint_dma_request req = {
		.iova = { iova },
		.pasid = pasid,
		.write = write,
		.buf = value,
		.size = sizeof(*value),
	};

	return endpoint_dma(d->ep, &req);
}

void rig_dma_begin(struct rig_device *d, uint32_t pasid, uint64_t iova, bool write)
{
	struct rig_endpoint *e = container_of(d->ep, struct rig_endpoint, ep);

	e->iova = iova;
	e->pasid = pasid;
	e->write = write;
	atomic_store(&e->done, 0);
	endpoint_kick(d->ep);
}

bool rig_dma_is_over(struct rig_device *d)
{
	return atomic_load(&container_of(d->ep, struct rig_endpoint, ep)->done);
}

int rig_dma_end(struct rig_device *d, uint64_t *value)
{
	struct rig_endpoint *e = container_of(d->ep, struct rig_endpoint, ep);

	while (!rig_dma_is_over(d))
		sched_yield();
	*value = e->value;
	return e->result;
}

int dma_read(struct rig_device *d, uint64_t iova, uint64_t *value)
{
	return dma_pasid(d, NST_NO_PASID, iova, value, false);
}

enum place place_of_pasid(struct rig_device *d, uint32_t pasid)
{
	uint64_t value = NOWHERE;

	return dma_pasid(d, pasid, PROBE_IOVA, &value, false) ? NOWHERE : (enum place)value;
}

enum place place_of(struct rig_device *d)
{
	return place_of_pasid(d, NST_NO_PASID);
}

/* --- emulated devices that wait -------------------------------------------------------------- */

static void take_answer(void *opaque, unsigned int tag, enum nst_stall_answer answer)
{
	struct rig *rig = opaque;

	rig->stall_answers++;
	rig->stall_tag = tag;
	rig->stall_answer = answer;
}

struct nst_notifier *rig_listen(struct rig *rig, nst_rid rid)
{
	const struct nst_notifier_config config = {
		.rid = rid,
		.pasid = NST_EVERY_PASID,
		.last = { UINT64_MAX },
		.stall_response = take_answer,
		.opaque = rig,
	};
	struct nst_notifier **n = &rig->notifiers[rig->num_notifiers];

	assert_true(rig->num_notifiers < ARRAY_SIZE(rig->notifiers));
	ok(nst_viommu_notify(rig->viommu, &config, n));
	rig->num_notifiers++;
	return *n;
}

void rig_listen_end(struct rig *rig, struct nst_notifier *n)
{
	unsigned int i = 0;

	while (rig->notifiers[i] != n)
		i++;
	rig->notifiers[i] = rig->notifiers[--rig->num_notifiers];
	nst_notifier_remove(n);
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
	rig->cons_at_msi = cmdq_cons(rig);
}

static void take_pulse(void *opaque, enum nst_smmuv3_irq irq)
{
	((struct rig *)opaque)->pulses[irq]++;
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

struct rig *rig_create(const struct rig_options *options)
{
	struct nst_soft_config soft = {
		.iommu = NST_SOFT_SMMUV3,
		.synchronous = !options->threads,
		.check = true,
		.quirks = options->quirks,
		.stalls = options->stalls,
	};
	struct rig *rig = calloc(1, sizeof(*rig));
	struct nst_smmuv3_config config;

	rig->log = (struct nst_log){ take_log, rig, NST_LOG_DEBUG };
	rig_host_init(&rig->host, rig, &soft);
	ok(nst_vm_create(&rig->host.base, &rig->log, &rig->vm));
	rig->memory =
		mmap(NULL, RIG_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(rig->memory != MAP_FAILED);
	/* beside the window where the host has its MSI doorbells */
	ok(nst_vm_map(rig->vm, (nst_gpa){ 0 }, RIG_MEMORY, rig->memory, true));
	fill_memory(rig);
	config = (struct nst_smmuv3_config){
		.vm = rig->vm,
		.log = &rig->log,
		.send_msi = options->no_msi ? NULL : take_msi,
		.pulse = take_pulse,
		.opaque = rig,
		.features = options->features,
		.ssid_bits = options->ssid_bits,
		.oas_bits = options->oas_bits,
	};
	ok(nst_smmuv3_create(&config, &rig->viommu));
	return rig;
}

/* After it nothing of the host may be left, whatever the test did (but fail to destroy). */
void rig_destroy(struct rig *rig)
{
	rig->host.hook = NULL; /* what it looks at went with the test's own variables */
	while (rig->num_notifiers)
		rig_listen_end(rig, rig->notifiers[0]);
	nst_viommu_destroy(rig->viommu);
	for (unsigned int i = 0; i < rig->num_devices; i++)
		nst_device_close(rig->devices[i].dev);
	nst_vm_destroy(rig->vm);
	if (rig->host.failed_request != IOMMU_DESTROY)
		assert_int_equal(rig_host_objects(&rig->host), 0);
	assert_int_equal(rig->host.open_fds, 0);
	rig_host_fini(&rig->host);
	munmap(rig->memory, RIG_MEMORY);
	free(rig);
}

int rig_setup_empty(void **state)
{
	*state = rig_create(&(struct rig_options){ 0 });
	return 0;
}

int rig_setup(void **state)
{
	rig_setup_empty(state);
	rig_add_device(*state);
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

int nested_alive(struct rig *rig)
{
	int others = 1 + (rig_unit(rig)->page.fd >= 0); /* the IOAS, the fault queue */

	for (const struct vm_parent *p = rig->vm->parents; p; p = p->next)
		others++;
	for (const struct smmu_vsmmu *v = rig_unit(rig)->vsmmus; v; v = v->next)
		others += 1 + (v->events.fd >= 0);
	for (const struct smmu_device *d = rig_unit(rig)->devices; d; d = d->next)
		others += d->named;
	return rig_host_objects(&rig->host) - others;
}
