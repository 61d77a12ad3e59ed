// SPDX-License-Identifier: BSD-3-Clause
/* See unit.h: life cycle, devices, register accesses and global commands (VT-d 4.1 s11.4). */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "viommu/page_service.h"

#include <errno.h>

static const struct viommu_ops vtd_ops;

static void work_to_do(void *opaque)
{
	struct vtd_unit *u = opaque;

	wakeup_announce(&u->wakeup);
}

int nst_vtd_create(const struct nst_vtd_config *config, struct nst_viommu **out)
{
	struct vtd_unit *u;
	uint64_t cap, ecap;
	int ret;

	vtd_caps_default(config->features, &cap, &ecap);
	ret = vtd_ir_caps(config, &cap, &ecap);
	if (ret)
		return ret;
	u = alloc_object(struct vtd_unit);
	if (!u)
		return -ENOMEM;
	if (vtd_xlate_init(&u->xlate, nst_vm_mem(config->vm))) {
		free(u);
		return -ENOMEM;
	}
	ret = wakeup_init(&u->wakeup);
	if (ret) {
		vtd_xlate_fini(&u->xlate);
		free(u);
		return ret;
	}
	u->base.ops = &vtd_ops;
	u->vm = config->vm;
	u->log = config->log;
	u->send_msi = config->send_msi;
	u->interrupts_changed = config->interrupts_changed;
	u->opaque = config->opaque;
	u->post_interrupts = config->post_interrupts;
	u->cap = cap;
	u->ecap = ecap;
	u->max_pasids = VTD_MAX_PASIDS;
	mutex_init(&u->cmd_lock);
	mutex_init(&u->posted.lock);
	attach_table_init(&u->attach, u->vm, u->log);
	page_requests_init(&u->page, &vtd_page_requests_ops, u, &u->attach, &u->wakeup);
	u->attach.shadow_ops = (struct attach_shadow_ops){ vtd_shadow_walk, work_to_do, u };
	vtd_regs_init(&u->regs);
	vtd_regs_reset(&u->regs, u->cap, u->ecap);
	mutex_lock(&u->cmd_lock);
	u->busy_tail = &u->busy;
	vtd_xlate_configure(u);
	mutex_unlock(&u->cmd_lock);
	*out = &u->base;
	return 0;
}

/* s11.4.4.1 Global Command Register: enables are levels, the others commands. */
static void global_command(struct vtd_unit *u, uint32_t command) REQUIRES(u->cmd_lock)
{
	uint64_t status = vtd_reg_get(&u->regs, VTD_GSTS);
	uint64_t toggled = (command ^ status) & (VTD_GCMD_TE | VTD_GCMD_QIE);

	vtd_ir_command(u, command);
	if (command & VTD_GCMD_SRTP) {
		u->rtaddr = vtd_reg_get(&u->regs, VTD_RTADDR);
		vtd_reg_update(&u->regs, VTD_GSTS, VTD_GCMD_SRTP, 0);
	}
	if (toggled & VTD_GCMD_QIE) {
		vtd_reg_set(&u->regs, VTD_IQH, 0);
		vtd_reg_update(&u->regs, VTD_GSTS, VTD_GCMD_QIE, command & VTD_GCMD_QIE);
	}
	if (toggled & VTD_GCMD_TE) {
		u->translating = command & VTD_GCMD_TE;
		if (!u->translating) { /* s7.2.1: the index starts over */
			u->next_frcd = 0;
			told_list_fini(&u->told);
		}
		log_info(u->log, "vtd: translation %s", u->translating ? "on" : "off");
	}
	if ((toggled & VTD_GCMD_TE) || (command & VTD_GCMD_SRTP)) {
		vtd_xlate_configure(u);
		vtd_reconcile_all(u);
	}
	if (command & VTD_GCMD_SRTP) /* CAP.ESRTPS: a new root empties all caches by itself */
		attach_invalidate_all(&u->attach);
	u->unfinished.status = true;
	u->unfinished.gsts = command & (VTD_GCMD_TE | VTD_GCMD_SRTP);
}

/*
 * s11.4.6 Register-based invalidation: each write is carried out whole, as globally as
 * it gets; the actual-granularity field says so.
 */
static void register_invalidation(struct vtd_unit *u, unsigned int hooks) REQUIRES(u->cmd_lock)
{
	if ((hooks & VTD_HOOK_CCMD) && (vtd_reg_get(&u->regs, VTD_CCMD) & VTD_CCMD_ICC)) {
		vtd_xlate_configure(u);
		vtd_reconcile_all(u);
		u->unfinished.hooks |= VTD_HOOK_CCMD;
	}
	if ((hooks & VTD_HOOK_IOTLB) && (vtd_reg_get(&u->regs, VTD_IOTLB) & VTD_IOTLB_IVT)) {
		vtd_xlate_configure(u);
		attach_invalidate_all(&u->attach);
		u->unfinished.hooks |= VTD_HOOK_IOTLB;
	}
}

/* Status only after the fact: software polls it. */
static void finish_commands(struct vtd_unit *u) REQUIRES(u->cmd_lock)
{
	if (u->unfinished.status)
		vtd_reg_update(&u->regs, VTD_GSTS, VTD_GCMD_TE, u->unfinished.gsts);
	if (u->unfinished.hooks & VTD_HOOK_CCMD)
		vtd_reg_update(&u->regs, VTD_CCMD, VTD_CCMD_ICC | VTD_CCMD_CAIG,
			       FIELD_PREP(VTD_CCMD_CAIG, VTD_GRANULARITY_GLOBAL));
	if (u->unfinished.hooks & VTD_HOOK_IOTLB)
		vtd_reg_update(&u->regs, VTD_IOTLB, VTD_IOTLB_IVT | VTD_IOTLB_IAIG,
			       FIELD_PREP(VTD_IOTLB_IAIG, VTD_GRANULARITY_GLOBAL));
	u->unfinished.status = false;
	u->unfinished.hooks = 0;
}

/*
 * Everything that is to be done, up to the work one run may take. What is left the VMM
 * calls for when it is woken; till then registers and the queue's head show how far
 * it is.
 */
void vtd_run(struct vtd_unit *u)
{
	u->attach.work_end = u->attach.work + VTD_WORK_PER_RUN;
	if (vtd_settle(u) && vtd_mirror(u)) {
		finish_commands(u);
		if (vtd_queue_run(u))
			return;
	}
	wakeup_announce(&u->wakeup);
}

static void vtd_destroy(struct nst_viommu *viommu)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	u->attach.work_end = UINT64_MAX;
	while (u->devices) /* nobody else may use the unit any more */
		vtd_detach_device(viommu, u->devices->dev);
	mutex_lock(&u->cmd_lock);
	attach_table_fini(&u->attach);
	told_list_fini(&u->told);
	page_requests_fini(&u->page);
	if (u->xlate.notifiers)
		log_error(u->log, "vtd: a notifier outlives its unit");
	mutex_unlock(&u->cmd_lock);
	vtd_xlate_fini(&u->xlate);
	vtd_regs_fini(&u->regs);
	mutex_fini(&u->posted.lock);
	mutex_fini(&u->cmd_lock);
	wakeup_fini(&u->wakeup);
	free(u);
}

static uint64_t vtd_mmio_read(struct nst_viommu *viommu, uint64_t offset, unsigned int size)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	atomic_store_explicit(&u->frozen, true, memory_order_relaxed);
	return vtd_regs_read(&u->regs, offset, size);
}

static void vtd_mmio_write(struct nst_viommu *viommu, uint64_t offset, unsigned int size,
			   uint64_t value)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	unsigned int hooks;

	mutex_lock(&u->cmd_lock);
	u->frozen = true;
	hooks = vtd_regs_write(&u->regs, offset, size, value);
	if (hooks & VTD_HOOK_GCMD) /* write-only, so not in the register file */
		global_command(u, (uint32_t)value);
	register_invalidation(u, hooks);
	vtd_events_written(u, hooks);
	/* a command; or software cleared an error, or moved the tail */
	if (hooks & (VTD_HOOK_GCMD | VTD_HOOK_CCMD | VTD_HOOK_IOTLB | VTD_HOOK_FSTS | VTD_HOOK_IQT))
		vtd_run(u);
	mutex_unlock(&u->cmd_lock);
}

/* All at once: nothing of the guest may be attached when this returns. */
void vtd_reset_locked(struct vtd_unit *u)
{
	u->translating = false;
	u->rtaddr = 0;
	u->next_frcd = 0;
	u->unfinished.status = false;
	u->unfinished.hooks = 0;
	u->device_tlb_timeout = false;
	told_list_fini(&u->told);
	vtd_ir_set_mode(u, 0);
	vtd_regs_reset(&u->regs, u->cap, u->ecap);
	vtd_xlate_configure(u);
	vtd_reconcile_all(u);
	u->attach.work_end = UINT64_MAX;
	if (!vtd_settle(u) || !vtd_mirror(u))
		log_error(u->log, "vtd: a reset does not come to its end");
	page_requests_prune(&u->page);
	page_service_reset(u->xlate.notifiers);
	vtd_host_faults_forget(u);
	vtd_faults_forget(u);
}

static void vtd_reset(struct nst_viommu *viommu)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	mutex_lock(&u->cmd_lock);
	vtd_reset_locked(u);
	mutex_unlock(&u->cmd_lock);
}

static int vtd_fd(struct nst_viommu *viommu)
{
	return to_vtd_unit(viommu)->wakeup.poll_fd;
}

static void vtd_process(struct nst_viommu *viommu)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	mutex_lock(&u->cmd_lock);
	if (wakeup_take(&u->wakeup))
		vtd_run(u);
	page_requests_take(&u->page);
	vtd_host_faults_take(u);
	vtd_faults_take(u);
	mutex_unlock(&u->cmd_lock);
}

static void vtd_expire_page_requests(struct nst_viommu *viommu)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	mutex_lock(&u->cmd_lock);
	page_requests_expire(&u->page);
	mutex_unlock(&u->cmd_lock);
}

static void vtd_get_stats(struct nst_viommu *viommu, struct nst_viommu_stats *stats)
{
	struct vtd_unit *u = to_vtd_unit(viommu);

	mutex_lock(&u->cmd_lock);
	*stats = (struct nst_viommu_stats){
		.invalidation_descriptors = u->descriptors,
		.wait_descriptors = u->waits,
		.host_invalidate_calls = u->attach.invalidate_calls,
		.host_invalidate_entries = u->attach.invalidate_entries,
		.nested_hwpts = u->attach.nested_hwpts,
		.attaches = u->attach.attaches,
		.failed_attaches = u->attach.failed_attaches,
		.faults = u->faults,
		.queue_errors = u->queue_errors,
		.page_requests = u->page.requests,
		.page_responses = u->page.responses,
		.unknown_page_responses = u->page.unknown_responses,
		.expired_page_requests = u->page.expired,
		.host_faults = u->host_faults,
		.lost_host_faults = u->lost_host_faults,
		.shadow_domains = u->attach.shadow_domains,
		.shadow_calls = u->attach.shadow_calls,
		.walks = atomic_load(&u->xlate.walks),
	};
	mutex_unlock(&u->cmd_lock);
}

static const struct viommu_ops vtd_ops = {
	.destroy = vtd_destroy,
	.attach = vtd_attach,
	.detach = vtd_detach,
	.detach_device = vtd_detach_device,
	.renumber = vtd_renumber,
	.mmio_read = vtd_mmio_read,
	.mmio_write = vtd_mmio_write,
	.translate = vtd_xlate,
	.notify = vtd_notify,
	.unnotify = vtd_unnotify,
	.replay = vtd_replay,
	.page_request = vtd_page_request,
	.ats_translate = vtd_ats_translate,
	.reset = vtd_reset,
	.fd = vtd_fd,
	.process = vtd_process,
	.expire_page_requests = vtd_expire_page_requests,
	.msi_doorbell = vtd_msi_doorbell,
	.remap_msi = vtd_remap_msi,
	.remap_ioapic = vtd_remap_ioapic,
	.save = vtd_save,
	.restore = vtd_restore,
	.get_stats = vtd_get_stats,
};
