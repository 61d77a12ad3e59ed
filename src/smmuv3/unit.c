// SPDX-License-Identifier: BSD-3-Clause
/* See unit.h: life cycle, devices, register accesses and enables (SMMUv3 IHI0070G.b s6.3). */
#include "smmuv3/unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "smmuv3/notify.h"
#include "spec/smmu_caps.h"
#include "viommu/page_service.h"

#include <errno.h>
#include <string.h>

static const struct viommu_ops smmu_ops;

struct smmu_tables smmu_tables_of(struct smmu_unit *u)
{
	return (struct smmu_tables){
		.mem = nst_vm_mem(u->vm),
		.idr = u->idr,
		.strtab_base = smmu_reg_get(&u->regs, SMMU_STRTAB_BASE),
		.strtab_cfg = smmu_reg_get(&u->regs, SMMU_STRTAB_BASE_CFG),
	};
}

int nst_smmuv3_create(const struct nst_smmuv3_config *config, struct nst_viommu **out)
{
	struct smmu_unit *u;
	struct smmu_idr idr;
	int ret;

	ret = smmu_idr_default(config, &idr);
	if (ret)
		return ret;
	u = alloc_object(struct smmu_unit);
	if (!u)
		return -ENOMEM;
	ret = smmu_xlate_init(&u->xlate);
	if (ret) {
		free(u);
		return ret;
	}
	ret = wakeup_init(&u->wakeup);
	if (ret) {
		smmu_xlate_fini(&u->xlate);
		free(u);
		return ret;
	}
	u->base.ops = &smmu_ops;
	u->vm = config->vm;
	u->log = config->log;
	u->send_msi = config->send_msi;
	u->pulse = config->pulse;
	u->opaque = config->opaque;
	u->idr = idr;
	u->failed = SMMU_NO_POSITION;
	mutex_init(&u->cmd_lock);
	mutex_init(&u->posted.lock);
	attach_table_init(&u->attach, u->vm, u->log);
	page_requests_init(&u->page, &smmu_page_requests_ops, u, &u->attach, &u->wakeup);
	smmu_regs_init(&u->regs);
	smmu_regs_reset(&u->regs, &u->idr);
	mutex_lock(&u->cmd_lock);
	smmu_xlate_configure(u);
	mutex_unlock(&u->cmd_lock);
	*out = &u->base;
	return 0;
}

/* Back to what nst_device_open() left it on, whatever the guest's tables say. */
static void release_device(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock)
{
	const struct device_services none = { 0 };

	if (attach_point_fini(&u->attach, &d->at))
		log_error(u->log,
			  "smmuv3: a device stays blocked: its host refuses the parent HWPT");
	smmu_unname(u, d);
	smmu_vsmmu_put(u, d->vsmmu);
	device_config_offer(d->dev, &none);
	free(d);
}

static void smmu_destroy(struct nst_viommu *viommu)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	mutex_lock(&u->cmd_lock);
	while (u->devices) {
		struct smmu_device *d = u->devices;

		u->devices = d->next;
		release_device(u, d);
	}
	attach_table_fini(&u->attach);
	page_requests_fini(&u->page);
	told_list_fini(&u->told);
	if (u->xlate.notifiers)
		log_error(u->log, "smmuv3: a notifier outlives its unit");
	mutex_unlock(&u->cmd_lock);
	smmu_xlate_fini(&u->xlate);
	smmu_regs_fini(&u->regs);
	mutex_fini(&u->posted.lock);
	mutex_fini(&u->cmd_lock);
	wakeup_fini(&u->wakeup);
	free(u);
}

/* What is left of the queue the VMM calls for when it is woken. */
static void run(struct smmu_unit *u) REQUIRES(u->cmd_lock)
{
	u->attach.work_end = u->attach.work + SMMU_WORK_PER_RUN;
	if (!smmu_queue_run(u))
		wakeup_announce(&u->wakeup);
}

void smmu_reconcile_all(struct smmu_unit *u)
{
	smmu_xlate_configure(u);
	smmu_reconcile_streams(u, 0, UINT32_MAX, SMMU_NO_POSITION);
	smmu_flush(u);
}

/* --- devices ---------------------------------------------------------------------------- */

/* What the guest sees of a device is what the unit can serve. */
static void offer_services(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock)
{
	struct device_services services = { 0 };

	if (!d->alias) { /* conventional PCI has no prefixes, and no ids to answer to */
		services.pasid_bits = MIN(smmu_idr_ssid_bits(&u->idr), device_pasid_bits(d->dev));
		services.ats = u->idr.idr[0] & SMMU_IDR0_ATS;
	}
	device_config_offer(d->dev, &services);
}

void smmu_offer(struct smmu_unit *u, const struct smmu_idr *idr)
{
	u->idr = *idr;
	smmu_regs_reset(&u->regs, idr);
	smmu_xlate_configure(u);
	for (struct smmu_device *d = u->devices; d; d = d->next)
		offer_services(u, d);
}

static int check_caps(struct smmu_unit *u, const struct nst_device *dev) REQUIRES(u->cmd_lock)
{
	struct smmu_idr idr = u->idr;
	const char *why = "its host IOMMU lacks what the guest was offered";
	int ret = smmu_idr_narrow(&dev->hw_info, &idr, &why);

	if (!ret && u->frozen && !smmu_idr_equal(&idr, &u->idr))
		ret = -EOPNOTSUPP;
	if (ret) {
		log_error(u->log, "smmuv3: the device cannot be put behind this unit: %s", why);
		return ret;
	}
	if (!smmu_idr_equal(&idr, &u->idr))
		smmu_offer(u, &idr);
	return 0;
}

/* Its place on its host IOMMU, and its name there. */
static int place_device(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock)
{
	int ret = smmu_vsmmu_get(u, d->dev, &d->vsmmu);

	if (!ret) {
		ret = smmu_name(u, d);
		if (ret)
			smmu_vsmmu_put(u, d->vsmmu);
	}
	if (ret)
		log_error(u->log,
			  "smmuv3: a device cannot be put behind this unit as stream 0x%x: its "
			  "host gives it no place (%s)",
			  d->rid, strerror(-ret));
	return ret;
}

static bool has_rid(struct smmu_unit *u, nst_rid rid) REQUIRES(u->cmd_lock)
{
	struct smmu_device *d = u->devices;

	while (d && d->rid != rid)
		d = d->next;
	return d;
}

/* The host translates for @rid as long as a device has it. */
static void claim_rid(struct smmu_unit *u, nst_rid rid) REQUIRES(u->cmd_lock)
{
	smmu_xlate_claim(u, rid, has_rid(u, rid));
}

static struct smmu_device *find_device(struct smmu_unit *u, const struct nst_device *dev)
	REQUIRES(u->cmd_lock)
{
	struct smmu_device *d = u->devices;

	while (d && d->dev != dev)
		d = d->next;
	return d;
}

/* Of those behind one bridge, one. */
static int check_place(struct smmu_unit *u, nst_rid rid, const struct nst_device *dev, bool alias)
	REQUIRES(u->cmd_lock)
{
	if (!has_rid(u, rid) && !find_device(u, dev) && !notify_has(u->xlate.notifiers, rid))
		return 0;
	if (alias && has_rid(u, rid) && !find_device(u, dev)) {
		log_error(u->log,
			  "smmuv3: the StreamID 0x%x of a PCI bridge is that of a device behind it "
			  "already, and the host gives it to one only",
			  rid);
		return -EOPNOTSUPP;
	}
	log_error(u->log,
		  "smmuv3: the StreamID 0x%x is taken, if by an emulated device, or the device is "
		  "there already",
		  rid);
	return -EEXIST;
}

static int attach_locked(struct smmu_unit *u, nst_rid rid, struct nst_device *dev, bool alias)
	REQUIRES(u->cmd_lock)
{
	struct smmu_device *d;
	int ret = check_place(u, rid, dev, alias);

	if (ret)
		return ret;
	d = alloc_object(struct smmu_device);
	if (!d)
		return -ENOMEM;
	d->rid = rid;
	d->dev = dev;
	d->alias = alias;
	ret = check_caps(u, dev);
	if (!ret && smmu_idr_stalls(&u->idr))
		ret = page_requests_open(&u->page);
	if (!ret)
		ret = place_device(u, d);
	if (ret) {
		free(d);
		return ret;
	}
	attach_point_init(&d->at, dev, NST_NO_PASID, 0);
	offer_services(u, d);
	d->next = u->devices;
	u->devices = d;
	claim_rid(u, rid);
	smmu_told_claim(u, d);
	told_list_forget(&u->told, rid);
	smmu_reconcile_device(u, d, SMMU_NO_POSITION);
	return 0;
}

static int smmu_attach(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev, bool alias)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = attach_locked(u, rid, dev, alias);
	mutex_unlock(&u->cmd_lock);
	return ret;
}

/* Those that it shared its StreamID with may have the name now. */
static void detach_locked(struct smmu_unit *u, struct smmu_device *d) REQUIRES(u->cmd_lock)
{
	struct smmu_device **link = &u->devices;
	nst_rid rid = d->rid;

	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	release_device(u, d);
	claim_rid(u, rid);
	smmu_reconcile_streams(u, rid, rid, SMMU_NO_POSITION);
	smmu_flush(u);
}

static void smmu_detach(struct nst_viommu *viommu, nst_rid rid)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	struct smmu_device *next;

	mutex_lock(&u->cmd_lock);
	for (struct smmu_device *d = u->devices; d; d = next) {
		next = d->next;
		if (d->rid == rid)
			detach_locked(u, d);
	}
	mutex_unlock(&u->cmd_lock);
}

static void smmu_detach_device(struct nst_viommu *viommu, struct nst_device *dev)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	struct smmu_device *d;

	mutex_lock(&u->cmd_lock);
	d = find_device(u, dev);
	if (d)
		detach_locked(u, d);
	mutex_unlock(&u->cmd_lock);
}

/* What it is called on the host is fixed when it is attached there, so that ends first. */
static void take_name(struct smmu_unit *u, struct smmu_device *d, nst_rid rid) REQUIRES(u->cmd_lock)
{
	const struct attachment blocked = { .kind = ATTACHMENT_BLOCKED };
	nst_rid old = d->rid;

	if (attach_reconcile(&u->attach, &d->at, &blocked))
		log_error(u->log, "smmuv3: stream 0x%x keeps its old name on the host", old);
	smmu_unname(u, d);
	d->rid = rid;
	smmu_told_claim(u, d);
	claim_rid(u, old);
	claim_rid(u, rid);
}

/* Old names all go before a new one is taken: two may swap. */
static int renumber_locked(struct smmu_unit *u, const struct nst_rid_move *moves, size_t count)
	REQUIRES(u->cmd_lock)
{
	for (size_t i = 0; i < count; i++)
		if (!find_device(u, moves[i].dev))
			return -ENOENT;
	smmu_take_events(u); /* they have the old names */
	for (size_t i = 0; i < count; i++) {
		struct smmu_device *d = find_device(u, moves[i].dev);

		if (d->rid != moves[i].rid)
			take_name(u, d, moves[i].rid);
	}
	for (size_t i = 0; i < count; i++)
		told_list_forget(&u->told, moves[i].rid);
	/* all: who shared a name with one that has left may have it now */
	smmu_reconcile_streams(u, 0, UINT32_MAX, SMMU_NO_POSITION);
	smmu_flush(u);
	return 0;
}

static int smmu_renumber(struct nst_viommu *viommu, const struct nst_rid_move *moves, size_t count)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = renumber_locked(u, moves, count);
	mutex_unlock(&u->cmd_lock);
	return ret;
}

/* --- registers -------------------------------------------------------------------------- */

/* s6.3.9: CR0ACK follows when what CR0 asks for is in force. */
static void enables_written(struct smmu_unit *u) REQUIRES(u->cmd_lock)
{
	uint64_t cr0 = smmu_reg_get(&u->regs, SMMU_CR0);
	uint64_t toggled = cr0 ^ smmu_reg_get(&u->regs, SMMU_CR0ACK);

	if (toggled & SMMU_CR0_SMMUEN) {
		if (!smmu_is_enabled(u))
			told_list_fini(&u->told);
		log_info(u->log, "smmuv3: translation %s", cr0 & SMMU_CR0_SMMUEN ? "on" : "off");
		smmu_reconcile_all(u);
		if (!smmu_is_enabled(u))
			smmu_stalls_terminate(u, 0, UINT32_MAX);
	}
	if (toggled & SMMU_CR0_ATSCHK)
		smmu_xlate_configure(u);
	smmu_reg_set(&u->regs, SMMU_CR0ACK, cr0);
}

/* s6.3.14: with SMMUEN set it is only kept. A write without UPDATE has changed nothing. */
static void bypass_written(struct smmu_unit *u) REQUIRES(u->cmd_lock)
{
	if (!(smmu_reg_get(&u->regs, SMMU_GBPA) & SMMU_GBPA_UPDATE))
		return;
	if (!smmu_is_enabled(u))
		smmu_reconcile_all(u);
	smmu_reg_update(&u->regs, SMMU_GBPA, SMMU_GBPA_UPDATE, 0);
}

static uint64_t smmu_mmio_read(struct nst_viommu *viommu, uint64_t offset, unsigned int size)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	atomic_store_explicit(&u->frozen, true, memory_order_relaxed);
	return smmu_regs_read(&u->regs, offset, size);
}

static void smmu_mmio_write(struct nst_viommu *viommu, uint64_t offset, unsigned int size,
			    uint64_t value)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	unsigned int hooks;

	mutex_lock(&u->cmd_lock);
	u->frozen = true;
	hooks = smmu_regs_write(&u->regs, offset, size, value);
	if (hooks & SMMU_HOOK_IRQ_CTRL)
		smmu_reg_set(&u->regs, SMMU_IRQ_CTRLACK, smmu_reg_get(&u->regs, SMMU_IRQ_CTRL));
	if (hooks & SMMU_HOOK_GBPA)
		bypass_written(u);
	if (hooks & SMMU_HOOK_CR0)
		enables_written(u);
	if (hooks & (SMMU_HOOK_CR0 | SMMU_HOOK_GERRORN | SMMU_HOOK_EVENTQ_CONS))
		smmu_stalls_record(u);
	/* the queue was enabled, its error seen, or commands are there */
	if (hooks & (SMMU_HOOK_CR0 | SMMU_HOOK_GERRORN | SMMU_HOOK_CMDQ_PROD))
		run(u);
	mutex_unlock(&u->cmd_lock);
}

/* All at once: nothing of the guest may be attached, or cached, when this returns. */
void smmu_reset_locked(struct smmu_unit *u)
{
	const struct smmu_cmd all = {
		.qw[0] = le64_make(FIELD_PREP(SMMU_CMD_0_OP, SMMU_CMD_TLBI_NSNH_ALL)),
	};

	smmu_regs_reset(&u->regs, &u->idr);
	u->atc_failed = false;
	told_list_fini(&u->told);
	smmu_collect_all(u, &all, SMMU_NO_POSITION);
	smmu_reconcile_all(u);
	page_requests_take(&u->page);
	page_service_reset(u->xlate.notifiers);
	smmu_stalls_terminate(u, 0, UINT32_MAX);
	smmu_take_events(u); /* of before; nothing records them */
}

static void smmu_reset(struct nst_viommu *viommu)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	mutex_lock(&u->cmd_lock);
	smmu_reset_locked(u);
	mutex_unlock(&u->cmd_lock);
}

/* --- the rest --------------------------------------------------------------------------- */

static int smmu_fd(struct nst_viommu *viommu)
{
	return to_smmu_unit(viommu)->wakeup.poll_fd;
}

static void smmu_process(struct nst_viommu *viommu)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	mutex_lock(&u->cmd_lock);
	if (wakeup_take(&u->wakeup))
		run(u);
	page_requests_take(&u->page);
	smmu_take_events(u);
	mutex_unlock(&u->cmd_lock);
}

/* Those of passed-through devices that stall. */
static void smmu_expire(struct nst_viommu *viommu)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	mutex_lock(&u->cmd_lock);
	page_requests_expire(&u->page);
	mutex_unlock(&u->cmd_lock);
}

static void smmu_get_stats(struct nst_viommu *viommu, struct nst_viommu_stats *stats)
{
	struct smmu_unit *u = to_smmu_unit(viommu);

	mutex_lock(&u->cmd_lock);
	*stats = (struct nst_viommu_stats){
		.invalidation_descriptors = u->commands,
		.wait_descriptors = u->syncs,
		.host_invalidate_calls = u->host_calls,
		.host_invalidate_entries = u->host_commands,
		.nested_hwpts = u->attach.nested_hwpts,
		.attaches = u->attach.attaches,
		.failed_attaches = u->attach.failed_attaches,
		.faults = u->events,
		.host_faults = u->host_events,
		.lost_host_faults = u->lost_events,
		.queue_errors = u->command_errors,
		.walks = atomic_load(&u->xlate.walks),
		.page_requests = u->page.requests,
		.page_responses = u->page.responses,
		.unknown_page_responses = u->page.unknown_responses,
		.expired_page_requests = u->page.expired,
		.stalls = u->stalled,
		.stall_answers = u->stall_answers,
	};
	mutex_unlock(&u->cmd_lock);
}

static const struct viommu_ops smmu_ops = {
	.destroy = smmu_destroy,
	.attach = smmu_attach,
	.detach = smmu_detach,
	.detach_device = smmu_detach_device,
	.renumber = smmu_renumber,
	.mmio_read = smmu_mmio_read,
	.mmio_write = smmu_mmio_write,
	.translate = smmu_xlate,
	.translate_or_stall = smmu_xlate_or_stall,
	.notify = smmu_notify,
	.unnotify = smmu_unnotify,
	.page_request = smmu_page_request,
	.ats_translate = smmu_ats_translate,
	.reset = smmu_reset,
	.fd = smmu_fd,
	.process = smmu_process,
	.expire_page_requests = smmu_expire,
	.msi_doorbell = smmu_msi_doorbell,
	.save = smmu_save,
	.restore = smmu_restore,
	.get_stats = smmu_get_stats,
};
