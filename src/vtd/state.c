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

#include "base/alloc.h"
#include "base/fnv.h"
#include "base/log.h"
#include "spec/vtd_caps.h"

#include <errno.h>

#define MAGIC 0x4f49565f5254534eULL /* "NSTR_VIO", the first letter in the lowest byte */
enum { VERSION = 1, HEADER_BYTES = 32, TOLD_MAX = 2 * VTD_MAX_PASIDS };

/* As run() in unit.c, but a VMM rather waits than has the guest hear of what fails later. */
enum { WORK_TO_RESTORE = 1 << 24 };

/*
 * Commands that are carried out but for what is left to scan: their hooks in the stream. That of
 * IQT: the next wait descriptor is to be dropped.
 */
#define UNFINISHED (VTD_HOOK_GCMD | VTD_HOOK_CCMD | VTD_HOOK_IOTLB | VTD_HOOK_IQT)

static const struct {
	uint32_t offset, size;
	uint64_t reset, software; /* the bits that software may change */
} registers[VTD_NUM_REGS] = {
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
	uint32_t num_told;
	struct vtd_told *told; /* by rid, then PASID */
};

/* --- bytes ----------------------------------------------------------------------------------- */

struct wire {
	bool loading;
	uint8_t *bytes; /* only read from when loading; NULL to count */
	size_t at, size;
	bool bad;
};

static uint64_t number(struct wire *w, uint64_t value, unsigned int size)
{
	if (w->loading && !range_fits(w->at, size, w->size)) {
		w->bad = true;
		return 0;
	}
	if (w->loading)
		value = le_load(w->bytes + w->at, size);
	else if (w->bytes)
		le_store(w->bytes + w->at, size, value);
	w->at += size;
	return value;
}

/* A variable of any integer type, in as many bytes as it has. */
#define NUMBER(w, x) ((x) = (__typeof__(x))number(w, (uint64_t)(x), sizeof(x)))

/* A number that is the same in every stream that this code can read. */
static void constant(struct wire *w, uint32_t value)
{
	w->bad |= number(w, value, sizeof(value)) != value;
}

static void transfer_registers(struct wire *w, uint64_t *regs)
{
	constant(w, VTD_NUM_REGS);
	for (unsigned int i = 0; i < VTD_NUM_REGS; i++) {
		constant(w, registers[i].offset);
		constant(w, registers[i].size);
		NUMBER(w, regs[i]);
		w->bad |= registers[i].size == 4 && regs[i] > UINT32_MAX;
	}
}

static void transfer_told(struct wire *w, struct vtd_told *told)
{
	NUMBER(w, told->rid);
	NUMBER(w, told->pasid);
	NUMBER(w, told->reason);
	NUMBER(w, told->flags);
}

/* Returns -ENOMEM, or 0 and in w->bad whether the bytes fit. */
static int transfer(struct wire *w, struct image *img)
{
	NUMBER(w, img->cap);
	NUMBER(w, img->ecap);
	NUMBER(w, img->rtaddr);
	NUMBER(w, img->irta);
	NUMBER(w, img->next_frcd);
	NUMBER(w, img->unfinished);
	NUMBER(w, img->unfinished_gsts);
	transfer_registers(w, img->regs);
	NUMBER(w, img->num_told);
	w->bad |= img->num_told > TOLD_MAX;
	if (w->bad)
		return 0;
	if (w->loading) {
		img->told = alloc_array(img->num_told, sizeof(*img->told));
		if (!img->told)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < img->num_told && !w->bad; i++)
		transfer_told(w, &img->told[i]);
	w->bad |= w->loading && w->at != w->size;
	return 0;
}

/* Of the header before its last word, and of what follows it. */
static uint64_t sum_of(const uint8_t *stream, size_t size)
{
	uint64_t sum = fnv1a(FNV1A_START, stream, HEADER_BYTES - 8);

	return fnv1a(sum, stream + HEADER_BYTES, size - HEADER_BYTES);
}

static void seal(uint8_t *stream, size_t size)
{
	le_store(stream, 8, MAGIC);
	le_store(stream + 8, 4, VERSION);
	le_store(stream + 12, 4, VIOMMU_VTD);
	le_store(stream + 16, 8, size - HEADER_BYTES);
	le_store(stream + 24, 8, sum_of(stream, size));
}

static int check_header(const uint8_t *stream, size_t size, const char **why)
{
	*why = "not the state of a vIOMMU";
	if (size < HEADER_BYTES || le_load(stream, 8) != MAGIC)
		return -EINVAL;
	*why = "of a version that is not known here";
	if (le_load(stream + 8, 4) != VERSION)
		return -EPROTONOSUPPORT;
	*why = "of another kind of vIOMMU";
	if (le_load(stream + 12, 4) != VIOMMU_VTD)
		return -EOPNOTSUPP;
	*why = "cut or too long";
	if (le_load(stream + 16, 8) != size - HEADER_BYTES)
		return -EINVAL;
	*why = "damaged";
	return le_load(stream + 24, 8) == sum_of(stream, size) ? 0 : -EINVAL;
}

/* --- saving ---------------------------------------------------------------------------------- */

static uint64_t key_of(const struct vtd_told *told)
{
	return (uint64_t)told->rid << 32 | told->pasid;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = key_of(a), y = key_of(b);

	return (x > y) - (x < y);
}

static void add_told(struct image *img, struct vtd_told told)
{
	if (vtd_fault_is_absence(told.reason)) /* nobody was told */
		told.reason = VTD_FAULT_NONE;
	if ((told.reason || told.flags) && img->num_told < TOLD_MAX)
		img->told[img->num_told++] = told;
}

static void add_told_of(struct image *img, nst_rid rid, const struct vtd_point *point,
			uint8_t flags)
{
	if (point->attach_failed)
		flags |= VTD_TOLD_ATTACH_FAILED;
	add_told(img, (struct vtd_told){ rid, point->at.pasid, (uint8_t)point->reported, flags });
}

/* Devices with the same requester id are one to the guest. */
static void merge_told(struct image *img)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < img->num_told; i++) {
		const struct vtd_told *told = &img->told[i];
		struct vtd_told *last = kept ? &img->told[kept - 1] : NULL;

		if (last && key_of(last) == key_of(told)) {
			last->reason = last->reason ? last->reason : told->reason;
			last->flags |= told->flags;
		} else {
			img->told[kept++] = *told;
		}
	}
	img->num_told = kept;
}

/* What the guest knows of devices that are here, and of those that have not come yet. */
static int collect_told(struct vtd_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	size_t count = u->num_told + u->num_pasids;

	for (const struct vtd_device *d = u->devices; d; d = d->next)
		count++;
	img->told = alloc_array(count, sizeof(*img->told));
	if (!img->told)
		return -ENOMEM;
	for (const struct vtd_device *d = u->devices; d; d = d->next) {
		add_told_of(img, d->rid, &d->plain,
			    d->pasids_refused ? VTD_TOLD_PASIDS_REFUSED : 0);
		for (size_t i = 0; i < d->num_pasids; i++)
			add_told_of(img, d->rid, d->pasids[i], 0);
	}
	for (uint32_t i = 0; i < u->num_told; i++)
		add_told(img, u->told[i]);
	qsort(img->told, img->num_told, sizeof(*img->told), by_key);
	merge_told(img);
	return 0;
}

static int take_image(struct vtd_unit *u, struct image *img)
{
	int ret;

	mutex_lock(&u->cmd_lock);
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
	struct wire w = { .at = HEADER_BYTES };
	struct image img;
	int ret = take_image(to_vtd_unit(viommu), &img);

	if (ret)
		return ret;
	ret = transfer(&w, &img);
	w.bytes = ret ? NULL : alloc_array(1, w.at);
	if (w.bytes) {
		*size = w.at;
		w.at = HEADER_BYTES;
		ret = transfer(&w, &img);
		seal(w.bytes, *size);
		*data = w.bytes;
	} else {
		ret = -ENOMEM;
	}
	free(img.told);
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
	for (uint32_t i = 1; i < img->num_told; i++)
		if (key_of(&img->told[i]) <= key_of(&img->told[i - 1]))
			return false;
	return regs[VTD_VER] == registers[VTD_VER].reset && regs[VTD_CAP] == img->cap &&
	       regs[VTD_ECAP] == img->ecap && !regs[VTD_GCMD] && !(regs[VTD_GSTS] & ~enables) &&
	       !(img->irta & ~irta) && !(img->unfinished & ~UNFINISHED) &&
	       !(img->unfinished_gsts & ~(VTD_GCMD_TE | VTD_GCMD_SRTP)) &&
	       (!img->unfinished_gsts || (img->unfinished & VTD_HOOK_GCMD)) &&
	       (!(regs[VTD_CCMD] & VTD_CCMD_ICC) || (img->unfinished & VTD_HOOK_CCMD)) &&
	       (!(regs[VTD_IOTLB] & VTD_IOTLB_IVT) || (img->unfinished & VTD_HOOK_IOTLB)) &&
	       faults == !!(regs[VTD_FSTS] & VTD_FSTS_PPF) && img->next_frcd < VTD_FRCD_COUNT &&
	       has_only_its_bits(regs) && !(img->rtaddr & ~VTD_RTADDR_FIELDS);
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
	uint64_t cap = u->cap, ecap = u->ecap & ~VTD_EMULATED_ECAP;
	const char *why;

	if ((u->ecap ^ img->ecap) & VTD_EMULATED_ECAP)
		return false;
	if (u->frozen && (cap != img->cap || u->ecap != img->ecap))
		return false;
	return !vtd_caps_narrow(&host, &cap, &ecap, &why) && cap == img->cap &&
	       ecap == (img->ecap & ~VTD_EMULATED_ECAP);
}

/* All of @stream, or why not; @img->told is the caller's to free either way. */
static int decode(const struct vtd_unit *u, const uint8_t *stream, size_t size, struct image *img,
		  const char **why) REQUIRES(u->cmd_lock)
{
	struct wire w = { true, (uint8_t *)stream, HEADER_BYTES, size, false };
	int ret = check_header(stream, size, why);

	if (ret)
		return ret;
	*why = "no memory for it";
	ret = transfer(&w, img);
	if (ret)
		return ret;
	*why = "of a unit with other registers, or made up";
	if (w.bad || !is_possible(img))
		return -EINVAL;
	*why = "of a unit that offers other capabilities";
	return offers_same(u, img) ? 0 : -EOPNOTSUPP;
}

static struct vtd_told take_told(struct vtd_unit *u, nst_rid rid, uint32_t pasid)
	REQUIRES(u->cmd_lock)
{
	struct vtd_told key = { .rid = rid, .pasid = pasid }, found = key;
	struct vtd_told *told = NULL;

	if (u->num_told)
		told = bsearch(&key, u->told, u->num_told, sizeof(*u->told), by_key);
	if (told) {
		found = *told;
		*told = key;
	}
	return found;
}

void vtd_told_claim(struct vtd_unit *u, nst_rid rid, struct vtd_point *point)
{
	struct vtd_told told = take_told(u, rid, point->at.pasid);

	point->reported = told.reason;
	point->attach_failed = told.flags & VTD_TOLD_ATTACH_FAILED;
}

void vtd_told_claim_device(struct vtd_unit *u, struct vtd_device *d)
{
	struct vtd_told told = take_told(u, d->rid, NST_NO_PASID);

	d->plain.reported = told.reason;
	d->plain.attach_failed = told.flags & VTD_TOLD_ATTACH_FAILED;
	d->pasids_refused = told.flags & VTD_TOLD_PASIDS_REFUSED;
}

void vtd_told_forget_device(struct vtd_unit *u, const struct vtd_device *d)
{
	for (uint32_t i = 0; i < u->num_told; i++)
		if (u->told[i].rid == d->rid)
			u->told[i].reason = u->told[i].flags = 0;
}

void vtd_told_forget(struct vtd_unit *u)
{
	free(u->told);
	u->told = NULL;
	u->num_told = 0;
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
	u->num_told = img->num_told;
	img->told = NULL;
	for (struct vtd_device *d = u->devices; d; d = d->next)
		vtd_told_claim_device(u, d);
	u->quiet = true;
	vtd_reconcile_all(u);
	u->attach.work_end = u->attach.work + WORK_TO_RESTORE;
	if (!vtd_settle(u))
		log_info(u->log, "vtd: attachments of the saved state follow");
	u->quiet = false;
	for (struct vtd_device *d = u->devices; d; d = d->next)
		vtd_told_forget_device(u, d);
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
	vtd_mirror_unmap_all(u);     /* what is there they learn with the next work */
	u->frozen = true;	     /* by the guest of the other unit */
	wakeup_announce(&u->wakeup); /* commands and the queue may have been in the middle */
	return 0;
}

int vtd_restore(struct nst_viommu *viommu, const void *data, size_t size)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct image img = { .told = NULL };
	const char *why;
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = decode(u, data, size, &img, &why);
	if (!ret) {
		why = "the host refuses an attachment; the unit is reset";
		ret = restore_locked(u, &img);
	}
	mutex_unlock(&u->cmd_lock);
	free(img.told);
	if (ret)
		log_error(u->log, "vtd: the saved state is not restored: %s", why);
	return ret;
}
