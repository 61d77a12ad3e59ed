// SPDX-License-Identifier: BSD-3-Clause
/*
 * Save and restore: docs/state.md has the format.
 *
 * transfer() alone says what the bytes are, for both directions, and takes the registers
 * from VTD_REGISTERS: none can be forgotten. A stream is decoded and checked as a whole
 * before anything of it takes effect, because later code relies on what the unit never
 * does, and the bytes may be anybody's. Then the unit is reset, takes the state, and
 * attachments follow by the same reconcile as ever; only that the guest is told nothing.
 */
#include "vtd/unit.h"

#include "base/log.h"
#include "spec/vtd_caps.h"

#include <errno.h>

_Static_assert(TOLD_MAX >= 2 * VTD_MAX_PASIDS, "room for all that a guest is told");

/* As run() in unit.c, but a VMM rather waits than has the guest hear of what fails later. */
enum { WORK_TO_RESTORE = 1 << 24 };

/*
 * Commands that are carried out but for what is left to scan: their hooks in the stream. That of
 * IQT: the next wait descriptor is to be dropped.
 */
#define UNFINISHED (VTD_HOOK_GCMD | VTD_HOOK_CCMD | VTD_HOOK_IOTLB | VTD_HOOK_IQT)

static const struct state_register registers[VTD_NUM_REGS] = {
#define REGISTER(name, offset, size, reset, rw, w1c, ...) { offset, size, reset, (rw) | (w1c) },
	VTD_REGISTERS(REGISTER)
#undef REGISTER
};

/* What is saved of a unit. */
struct image {
	uint64_t cap, ecap, rtaddr, irta; /* the last two as latched */
	uint32_t next_frcd, unfinished;
	uint64_t unfinished_gsts;
	uint64_t regs[VTD_NUM_REGS];
	struct told_list told;
};

static int transfer(struct state_wire *w, void *image)
{
	struct image *img = image;

	STATE_NUMBER(w, img->cap);
	STATE_NUMBER(w, img->ecap);
	STATE_NUMBER(w, img->rtaddr);
	STATE_NUMBER(w, img->irta);
	STATE_NUMBER(w, img->next_frcd);
	STATE_NUMBER(w, img->unfinished);
	STATE_NUMBER(w, img->unfinished_gsts);
	state_registers(w, registers, VTD_NUM_REGS, img->regs);
	return told_list_transfer(w, &img->told);
}

static const struct state_format format = { VIOMMU_VTD, 1, transfer };

/* --- saving ---------------------------------------------------------------------------------- */

static void add_told(struct image *img, struct told told)
{
	if (vtd_fault_is_absence(told.reason)) /* nobody was told */
		told.reason = VTD_FAULT_NONE;
	told_list_add(&img->told, told);
}

static void add_told_of(struct image *img, nst_rid rid, const struct vtd_point *point,
			uint8_t flags)
{
	if (point->attach_failed)
		flags |= TOLD_ATTACH_FAILED;
	add_told(img, (struct told){ rid, point->at.pasid, (uint8_t)point->reported, flags });
}

/* What the guest knows of devices that are here, and of those that have not come yet. */
static int collect_told(struct vtd_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	size_t count = u->told.count + u->num_pasids;

	for (const struct vtd_device *d = u->devices; d; d = d->next)
		count++;
	if (told_list_init(&img->told, count))
		return -ENOMEM;
	for (const struct vtd_device *d = u->devices; d; d = d->next) {
		add_told_of(img, d->rid, &d->plain,
			    d->pasids_refused ? VTD_TOLD_PASIDS_REFUSED : 0);
		for (size_t i = 0; i < d->num_pasids; i++)
			add_told_of(img, d->rid, d->pasids[i], 0);
	}
	for (uint32_t i = 0; i < u->told.count; i++)
		add_told(img, u->told.entries[i]);
	told_list_order(&img->told);
	return 0;
}

static int take_image(struct vtd_unit *u, struct image *img)
{
	int ret;

	mutex_lock(&u->cmd_lock);
	vtd_faults_take(u);
	*img = (struct image){
		.cap = u->cap,
		.ecap = u->ecap,
		.rtaddr = u->rtaddr,
		.irta = atomic_load(&u->ir_mode) & VTD_IRTA_FIELDS,
		.next_frcd = u->next_frcd,
		.unfinished = u->unfinished.hooks | (u->unfinished.status ? VTD_HOOK_GCMD : 0) |
			      (u->device_tlb_timeout ? VTD_HOOK_IQT : 0),
		.unfinished_gsts = u->unfinished.status ? u->unfinished.gsts : 0,
	};
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		img->regs[i] = vtd_reg_get(&u->regs, i);
	ret = collect_told(u, img);
	mutex_unlock(&u->cmd_lock);
	return ret;
}

int vtd_save(struct nst_viommu *viommu, void **data, size_t *size)
{
	struct image img;
	int ret = take_image(to_vtd_unit(viommu), &img);

	if (ret)
		return ret;
	ret = state_write(&format, &img, data, size);
	told_list_fini(&img.told);
	return ret;
}

/* --- restoring ------------------------------------------------------------------------------- */

/* The bits that the unit changes itself, besides. */
static uint64_t unit_bits(enum vtd_reg reg)
{
	switch (reg) {
	case VTD_CCMD:
		return VTD_CCMD_CAIG;
	case VTD_IOTLB:
		return VTD_IOTLB_IAIG;
	case VTD_FSTS:
		return VTD_FSTS_EVENTS | VTD_FSTS_FRI;
	case VTD_IQH:
		return VTD_IQ_POSITION;
	default:
		if (reg >= VTD_FRCD0_LO && reg <= VTD_FRCD7_HI)
			return UINT64_MAX;
		if (registers[reg].reset == VTD_EVENT_IM)
			return VTD_EVENT_IP;
		return registers[reg].software ? 0 : UINT64_MAX; /* of a read-only one all */
	}
}

static bool has_only_its_bits(const uint64_t *regs)
{
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++)
		if (regs[i] & ~(registers[i].software | unit_bits(i)))
			return false;
	return true;
}

/* A state that the unit can be in between two commands. */
static bool is_possible(const struct image *img)
{
	const uint64_t *regs = img->regs;
	uint64_t enables = VTD_GCMD_TE | VTD_GCMD_SRTP | VTD_GCMD_QIE;
	uint64_t irta = 0;
	bool faults = false;

	if (img->ecap & VTD_ECAP_IR) {
		enables |= VTD_GCMD_IRE | VTD_GCMD_SIRTP | VTD_GCMD_CFI;
		irta = VTD_IRTA_FIELDS & (img->ecap & VTD_ECAP_EIM ? UINT64_MAX : ~VTD_IRTA_EIME);
	}

	for (enum vtd_reg reg = VTD_FRCD0_HI; reg <= VTD_FRCD7_HI; reg += 2)
		faults |= !!(regs[reg] & VTD_FRCD_HI_F);
	return regs[VTD_VER] == registers[VTD_VER].reset && regs[VTD_CAP] == img->cap &&
	       regs[VTD_ECAP] == img->ecap && !regs[VTD_GCMD] && !(regs[VTD_GSTS] & ~enables) &&
	       !(img->irta & ~irta) && !(img->unfinished & ~UNFINISHED) &&
	       !(img->unfinished_gsts & ~(VTD_GCMD_TE | VTD_GCMD_SRTP)) &&
	       (!img->unfinished_gsts || (img->unfinished & VTD_HOOK_GCMD)) &&
	       (!(regs[VTD_CCMD] & VTD_CCMD_ICC) || (img->unfinished & VTD_HOOK_CCMD)) &&
	       (!(regs[VTD_IOTLB] & VTD_IOTLB_IVT) || (img->unfinished & VTD_HOOK_IOTLB)) &&
	       faults == !!(regs[VTD_FSTS] & VTD_FSTS_PPF) && img->next_frcd < VTD_FRCD_COUNT &&
	       has_only_its_bits(regs) && told_list_is_ordered(&img->told) &&
	       !(img->rtaddr & ~VTD_RTADDR_FIELDS);
}

/*
 * Can this unit offer just what that one did? A host that can do just that narrows the unit
 * to it; what is for emulated devices alone has to be the same. What the guest has seen here
 * already cannot change any more.
 */
static bool offers_same(const struct vtd_unit *u, const struct image *img) REQUIRES(u->cmd_lock)
{
	const struct iommufd_hw_info host = {
		.type = IOMMU_HW_INFO_TYPE_INTEL_VTD,
		.capabilities = UINT64_MAX,
		.max_pasid_log2 =
			img->ecap & VTD_ECAP_PASID ? FIELD_GET(VTD_ECAP_PSS, img->ecap) + 1 : 0,
		.vtd = { .cap_reg = img->cap, .ecap_reg = img->ecap | VTD_ECAP_NEST },
	};
	uint64_t cap = u->cap | VTD_CAP_CM, ecap = u->ecap & ~VTD_EMULATED_ECAP;
	const char *why;

	if (((u->ecap ^ img->ecap) & VTD_EMULATED_ECAP) || ((u->cap ^ img->cap) & VTD_CAP_CM))
		return false;
	if (u->frozen && (u->cap != img->cap || u->ecap != img->ecap))
		return false;
	return !vtd_caps_narrow(&host, &cap, &ecap, &why) && cap == (img->cap | VTD_CAP_CM) &&
	       ecap == (img->ecap & ~VTD_EMULATED_ECAP);
}

/* All of @stream, or why not; @img->told is the caller's to free either way. */
static int decode(const struct vtd_unit *u, const void *stream, size_t size, struct image *img,
		  const char **why) REQUIRES(u->cmd_lock)
{
	int ret = state_read(&format, stream, size, img, why);

	if (ret)
		return ret;
	if (!is_possible(img))
		return -EINVAL;
	*why = "of a unit that offers other capabilities";
	return offers_same(u, img) ? 0 : -EOPNOTSUPP;
}

void vtd_told_claim(struct vtd_unit *u, nst_rid rid, struct vtd_point *point)
{
	struct told told = told_list_claim(&u->told, rid, point->at.pasid);

	point->reported = told.reason;
	point->attach_failed = told.flags & TOLD_ATTACH_FAILED;
}

void vtd_told_claim_device(struct vtd_unit *u, struct vtd_device *d)
{
	struct told told = told_list_claim(&u->told, d->rid, NST_NO_PASID);

	d->plain.reported = told.reason;
	d->plain.attach_failed = told.flags & TOLD_ATTACH_FAILED;
	d->pasids_refused = told.flags & VTD_TOLD_PASIDS_REFUSED;
}

/* Takes over @img->told. Returns what the host says of the attachments. */
static int apply(struct vtd_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	int ret;

	u->rtaddr = img->rtaddr;
	u->next_frcd = img->next_frcd;
	u->unfinished.status = img->unfinished & VTD_HOOK_GCMD;
	u->unfinished.gsts = img->unfinished_gsts;
	u->unfinished.hooks = img->unfinished & ~(VTD_HOOK_GCMD | VTD_HOOK_IQT);
	u->device_tlb_timeout = img->unfinished & VTD_HOOK_IQT;
	u->translating = (u->unfinished.status ? img->unfinished_gsts : img->regs[VTD_GSTS]) &
			 VTD_GCMD_TE;
	vtd_regs_load(&u->regs, img->regs);
	vtd_ir_set_mode(u, vtd_ir_mode(img->irta, img->regs[VTD_GSTS]));
	vtd_xlate_configure(u);
	u->told = img->told;
	img->told = (struct told_list){ NULL, 0 };
	for (struct vtd_device *d = u->devices; d; d = d->next)
		vtd_told_claim_device(u, d);
	u->quiet = true;
	vtd_reconcile_all(u);
	u->attach.work_end = u->attach.work + WORK_TO_RESTORE;
	if (!vtd_settle(u))
		log_info(u->log, "vtd: attachments of the saved state follow");
	u->quiet = false;
	for (struct vtd_device *d = u->devices; d; d = d->next)
		told_list_forget(&u->told, d->rid);
	ret = u->quiet_err;
	u->quiet_err = 0;
	return ret;
}

static int restore_locked(struct vtd_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	uint64_t cap = u->cap, ecap = u->ecap;
	int ret;

	vtd_reset_locked(u); /* so nothing is cached for the new state */
	vtd_set_caps(u, img->cap, img->ecap);
	ret = apply(u, img);
	if (ret) {
		vtd_reset_locked(u);
		vtd_set_caps(u, cap, ecap);
		return ret;
	}
	notify_unmap_all(u->xlate.notifiers); /* what is there they learn with the next work */
	u->frozen = true;		      /* by the guest of the other unit */
	wakeup_announce(&u->wakeup); /* commands and the queue may have been in the middle */
	return 0;
}

int vtd_restore(struct nst_viommu *viommu, const void *data, size_t size)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct image img = { .told = { NULL, 0 } };
	const char *why;
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = decode(u, data, size, &img, &why);
	if (!ret) {
		why = "the host refuses an attachment; the unit is reset";
		ret = restore_locked(u, &img);
	}
	mutex_unlock(&u->cmd_lock);
	told_list_fini(&img.told);
	if (ret)
		log_error(u->log, "vtd: the saved state is not restored: %s", why);
	return ret;
}
