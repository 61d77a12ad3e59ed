// SPDX-License-Identifier: BSD-3-Clause
/*
 * See translate.h: one request from caches to event, and what empties the caches.
 *
 * The IOTLB tags a page with its VMID, and with its ASID if it is not global: global ones are found
 * from every ASID of the same ASET. What a stage 2 alone leads to has its VMID for a tag. Which of
 * the three a page is says its class. Where no stage 2 is offered, every VMID is 0.
 */
#include "smmuv3/translate.h"

#include "base/bits.h"
#include "spec/smmu_caps.h"
#include "smmuv3/notify.h"
#include "smmuv3/unit.h"

#include <errno.h>
#include <string.h>

enum { IOTLB_CAPACITY = 2048, NUM_SIZES = 7 };
/* Sizes of leaves with granules of 4, 16 and 64 KiB; then the same of global ones, and of a
 * stage 2. */
enum {
	CLASS_GLOBAL = NUM_SIZES,
	CLASS_STAGE2 = 2 * NUM_SIZES,
	NUM_CLASSES = 3 * NUM_SIZES,
};
static const uint8_t class_shifts[NUM_CLASSES] = {
	12, 14, 16, 21, 25, 29, 30, 12, 14, 16, 21, 25, 29, 30, 12, 14, 16, 21, 25, 29, 30,
};
#define ASID_CLASSES (GENMASK64(CLASS_GLOBAL - 1, 0))
#define GLOBAL_CLASSES (GENMASK64(CLASS_STAGE2 - 1, CLASS_GLOBAL))
#define STAGE2_CLASSES (GENMASK64(NUM_CLASSES - 1, CLASS_STAGE2))
#define ALL_CLASSES (GENMASK64(NUM_CLASSES - 1, 0))
#define TAG_VMID GENMASK64(31, 16)

/* Pieces that untranslated addresses come in. */
#define IDENTITY_LG2 21

/* What a request found out, and what of it is new to the caches. */
struct attempt {
	struct smmu_xlate_entry entry;
	struct smmu_page page;
	uint64_t va; /* effective */
	bool privileged;
	bool new_entry, new_page;
	uint64_t generation;
	struct smmu_table_fault fault;
};

static uint32_t tag_of(const struct smmu_xlate_entry *e, unsigned int cls)
{
	uint32_t tag = (uint32_t)FIELD_PREP(TAG_VMID, e->vmid);

	if (cls >= CLASS_STAGE2)
		return tag;
	return tag | (cls >= CLASS_GLOBAL ? e->context.aset : e->context.asid);
}

int smmu_xlate_init(struct smmu_xlate *tr)
{
	int ret = iotlb_create(IOTLB_CAPACITY, class_shifts, NUM_CLASSES, (unsigned int)ALL_CLASSES,
			       &tr->iotlb);

	if (!ret)
		rwlock_init(&tr->lock);
	return ret;
}

void smmu_xlate_fini(struct smmu_xlate *tr)
{
	rwlock_fini(&tr->lock);
	iotlb_destroy(tr->iotlb);
}

void smmu_xlate_configure(struct smmu_unit *u)
{
	struct smmu_xlate *tr = &u->xlate;

	rwlock_write(&tr->lock);
	tr->enabled = smmu_is_enabled(u);
	tr->check_translated = smmu_reg_get(&u->regs, SMMU_CR0) & SMMU_CR0_ATSCHK;
	tr->abort = smmu_reg_get(&u->regs, SMMU_GBPA) & SMMU_GBPA_ABORT;
	tr->tables = smmu_tables_of(u);
	tr->generation++;
	memset(tr->entries, 0, sizeof(tr->entries));
	memset(tr->occupied, 0, sizeof(tr->occupied));
	iotlb_flush_all(tr->iotlb);
	atomic_store(&tr->top_byte_ignored, false);
	smmu_notify_mark(tr, NULL);
	rwlock_write_end(&tr->lock);
	notify_tell(tr->notifiers, &u->attach);
}

void smmu_xlate_claim(struct smmu_unit *u, nst_rid rid, bool passthrough)
{
	struct smmu_xlate *tr = &u->xlate;
	uint64_t bit = BIT64(rid % 64);

	rwlock_write(&tr->lock);
	if (passthrough)
		tr->passthrough[rid / 64] |= bit;
	else
		tr->passthrough[rid / 64] &= ~bit;
	rwlock_write_end(&tr->lock);
}

/* --- invalidation ----------------------------------------------------------------------- */

static bool named_by(const struct smmu_xlate_entry *e, const struct smmu_command *c)
{
	switch (c->what) {
	case SMMU_DO_CFGI_STE:
		return e->rid >= c->sid && e->rid <= c->last_sid;
	case SMMU_DO_CFGI_CDS:
		return e->rid == c->sid;
	default:
		return e->rid == c->sid && e->cd == c->ssid;
	}
}

static void flush_entries(struct smmu_xlate *tr, const struct smmu_command *c) REQUIRES(tr->lock)
{
	for (size_t word = 0; word < SMMU_XLATE_ENTRIES / 64; word++)
		for (uint64_t bits = tr->occupied[word]; bits; bits &= bits - 1) {
			unsigned int bit = (unsigned int)__builtin_ctzll(bits);

			if (!named_by(&tr->entries[word * 64 + bit], c))
				continue;
			tr->entries[word * 64 + bit].kind = SMMU_XLATE_NOTHING;
			tr->occupied[word] &= ~BIT64(bit);
		}
}

/*
 * SMMUv3 IHI0070G.b s4.4.1.1: hints of granule and level are not used: more than was asked for may
 * go. What two stages have led to is of stage 1 here: s4.4.3.1, software has it invalidated too
 * when it changes stage 2.
 */
static void flush_pages(struct smmu_xlate *tr, const struct smmu_command *c) REQUIRES(tr->lock)
{
	struct iotlb_filter f = {
		.tag = (uint32_t)FIELD_PREP(TAG_VMID, c->vmid),
		.tag_mask = (uint32_t)TAG_VMID,
		.first = c->first,
		.last = c->last,
	};

	switch (c->what) {
	case SMMU_DO_TLBI_VM:
		f.classes = (unsigned int)ALL_CLASSES;
		break;
	case SMMU_DO_TLBI_IPA:
		f.tag_mask = UINT32_MAX;
		f.classes = (unsigned int)STAGE2_CLASSES;
		break;
	case SMMU_DO_TLBI_NH:
	case SMMU_DO_TLBI_VAA:
		f.classes = (unsigned int)(ASID_CLASSES | GLOBAL_CLASSES);
		break;
	default: /* SMMU_DO_TLBI_ASID and _VA */
		f.tag_mask = UINT32_MAX;
		f.tag |= c->asid;
		f.classes = (unsigned int)ASID_CLASSES;
		break;
	}
	iotlb_flush(tr->iotlb, &f);
	if (c->what != SMMU_DO_TLBI_VA)
		return;
	f.classes = (unsigned int)GLOBAL_CLASSES;
	for (uint32_t aset = 0; aset <= 1; aset++) {
		f.tag = (uint32_t)FIELD_PREP(TAG_VMID, c->vmid) | aset;
		iotlb_flush(tr->iotlb, &f);
	}
}

static bool empties_caches(const struct smmu_command *c)
{
	switch (c->what) {
	case SMMU_DO_NOTHING:
	case SMMU_DO_ATC_INV:
	case SMMU_DO_PRI_RESP:
	case SMMU_DO_RESUME:
	case SMMU_DO_STALL_TERM:
	case SMMU_DO_SYNC:
		return false;
	default:
		return true;
	}
}

void smmu_xlate_invalidate(struct smmu_unit *u, const struct smmu_command *c)
{
	struct smmu_xlate *tr = &u->xlate;

	if (!empties_caches(c))
		return;
	rwlock_write(&tr->lock);
	tr->generation++;
	switch (c->what) {
	case SMMU_DO_TLBI_ALL:
		iotlb_flush_all(tr->iotlb);
		break;
	case SMMU_DO_TLBI_VM:
	case SMMU_DO_TLBI_NH:
	case SMMU_DO_TLBI_ASID:
	case SMMU_DO_TLBI_VA:
	case SMMU_DO_TLBI_VAA:
	case SMMU_DO_TLBI_IPA:
		flush_pages(tr, c);
		break;
	default:
		flush_entries(tr, c);
		break;
	}
	smmu_notify_mark(tr, c);
	rwlock_write_end(&tr->lock);
	notify_tell(tr->notifiers, &u->attach);
}

/* --- configuration ---------------------------------------------------------------------- */

static struct smmu_xlate_entry *entry_slot(struct smmu_xlate *tr, nst_rid rid, uint32_t ssid)
{
	uint32_t hash = (rid ^ ssid * 0x9e3779b1u) * 0x85ebca6bu;

	return &tr->entries[hash >> 16 & (SMMU_XLATE_ENTRIES - 1)];
}

static enum smmu_event_type read_entry(struct smmu_xlate *tr,
				       const struct nst_translate_request *req, struct attempt *a)
	REQUIRES_SHARED(tr->lock)
{
	struct smmu_xlate_entry *e = &a->entry;
	struct smmu_stream stream;
	bool has_cd;

	if (!smmu_find_stream(&tr->tables, req->rid, &stream, &a->fault) ||
	    !smmu_select_context(&stream, req->pasid, &has_cd, &e->cd, &a->fault) ||
	    (has_cd && !smmu_find_context(&tr->tables, &stream, e->cd, &e->context, &a->fault)))
		return a->fault.type;
	if (smmu_has_stage2(&stream))
		e->kind = has_cd ? SMMU_XLATE_NESTED : SMMU_XLATE_STAGE2;
	else
		e->kind = has_cd ? SMMU_XLATE_STAGE1 : SMMU_XLATE_BYPASS;
	e->vmid = stream.vmid;
	e->s2 = stream.s2;
	e->rid = req->rid;
	e->ssid = req->pasid;
	e->privcfg = stream.privcfg;
	e->ats = stream.ats;
	a->new_entry = true;
	return SMMU_EVENT_NONE;
}

static enum smmu_event_type find_entry(struct smmu_xlate *tr,
				       const struct nst_translate_request *req, struct attempt *a)
	REQUIRES_SHARED(tr->lock)
{
	const struct smmu_xlate_entry *e = entry_slot(tr, req->rid, req->pasid);

	if (e->kind == SMMU_XLATE_NOTHING || e->rid != req->rid || e->ssid != req->pasid)
		return read_entry(tr, req, a);
	a->entry = *e;
	return SMMU_EVENT_NONE;
}

static bool is_privileged(const struct smmu_xlate_entry *e, const struct nst_translate_request *req)
{
	if (e->privcfg == SMMU_PRIVCFG_UNPRIVILEGED || e->privcfg == SMMU_PRIVCFG_PRIVILEGED)
		return e->privcfg == SMMU_PRIVCFG_PRIVILEGED;
	return req->privileged;
}

/* --- pages ------------------------------------------------------------------------------ */

static bool find_page(struct smmu_xlate *tr, struct attempt *a, unsigned int right)
	REQUIRES_SHARED(tr->lock)
{
	bool stage2 = a->entry.kind == SMMU_XLATE_STAGE2;
	unsigned int end = stage2 ? NUM_CLASSES : CLASS_STAGE2;

	for (unsigned int cls = stage2 ? CLASS_STAGE2 : 0; cls < end; cls++) {
		const struct iotlb_entry *e =
			iotlb_find(tr->iotlb, tag_of(&a->entry, cls), cls, a->va);

		if (!e || !(e->flags & right))
			continue;
		a->page = (struct smmu_page){ e->target, class_shifts[cls], e->flags,
					      cls >= CLASS_GLOBAL && cls < CLASS_STAGE2 };
		return true;
	}
	return false;
}

static enum smmu_event_type walk(struct smmu_xlate *tr, bool write, struct attempt *a)
	REQUIRES_SHARED(tr->lock)
{
	enum smmu_event_type type = smmu_walk(tr->tables.mem, &a->entry, a->va, write,
					      a->privileged, &a->page, &a->fault);

	atomic_fetch_add_explicit(&tr->walks, 1, memory_order_relaxed);
	a->new_page = !type;
	return type;
}

static enum smmu_event_type translate_stage1(struct smmu_xlate *tr,
					     const struct nst_translate_request *req,
					     struct attempt *a) REQUIRES_SHARED(tr->lock)
{
	const struct smmu_half *half = &a->entry.context.halves[arm_s1_upper_half(req->iova.v)];

	a->va = arm_s1_effective_va(req->iova.v, half->tbi);
	if (!half->disabled && !arm_s1_in_range(a->va, half->tsz))
		return SMMU_F_TRANSLATION;
	if (find_page(tr, a, arm_s1_right(req->write, a->privileged)))
		return SMMU_EVENT_NONE;
	if (half->disabled) /* EPD forbids the walk, not the hit */
		return SMMU_F_TRANSLATION;
	return walk(tr, req->write, a);
}

static struct smmu_page identity(uint64_t iova)
{
	return (struct smmu_page){
		.address = iova & ~(BIT64(IDENTITY_LG2) - 1),
		.lg2 = IDENTITY_LG2,
		.rights = ARM_S1_USER_READ | ARM_S1_USER_WRITE | ARM_S1_PRIV_READ |
			  ARM_S1_PRIV_WRITE,
	};
}

/* s3.4: an address that has more bits than there are is not passed on. */
static bool is_too_high(const struct smmu_xlate *tr, uint64_t address)
{
	return address >> smmu_idr_address_bits(&tr->tables.idr);
}

/* Stage 1 passes the address on, if there can be one. */
static enum smmu_event_type translate_stage2(struct smmu_xlate *tr,
					     const struct nst_translate_request *req,
					     struct attempt *a) REQUIRES_SHARED(tr->lock)
{
	if (is_too_high(tr, req->iova.v))
		return SMMU_F_ADDR_SIZE;
	if (find_page(tr, a, arm_s1_right(req->write, a->privileged)))
		return SMMU_EVENT_NONE;
	return walk(tr, req->write, a);
}

static enum smmu_event_type translate_shared(struct smmu_xlate *tr,
					     const struct nst_translate_request *req,
					     struct attempt *a) REQUIRES_SHARED(tr->lock)
{
	enum smmu_event_type type;

	a->generation = tr->generation;
	a->page = identity(req->iova.v);
	a->va = req->iova.v;
	if (!tr->enabled) /* whatever happens to it, nobody is told */
		return tr->abort || is_too_high(tr, req->iova.v) ? SMMU_E_ABORTED : SMMU_EVENT_NONE;
	type = find_entry(tr, req, a);
	if (type)
		return type;
	a->privileged = is_privileged(&a->entry, req);
	switch (a->entry.kind) {
	case SMMU_XLATE_STAGE1:
	case SMMU_XLATE_NESTED:
		return translate_stage1(tr, req, a);
	case SMMU_XLATE_STAGE2:
		return translate_stage2(tr, req, a);
	default: /* SMMU_XLATE_BYPASS */
		return is_too_high(tr, req->iova.v) ? SMMU_F_ADDR_SIZE : SMMU_EVENT_NONE;
	}
}

static unsigned int class_of(const struct attempt *a)
{
	unsigned int cls = 0;

	while (class_shifts[cls] != a->page.lg2)
		cls++;
	if (a->entry.kind == SMMU_XLATE_STAGE2)
		return cls + CLASS_STAGE2;
	return cls + (a->page.global ? CLASS_GLOBAL : 0);
}

static void remember(struct smmu_xlate *tr, const struct attempt *a)
{
	const struct smmu_xlate_entry *e = &a->entry;
	unsigned int cls = a->new_page ? class_of(a) : 0;

	rwlock_write(&tr->lock);
	if (tr->generation == a->generation) {
		struct smmu_xlate_entry *slot = entry_slot(tr, e->rid, e->ssid);

		*slot = *e;
		tr->occupied[(slot - tr->entries) / 64] |= BIT64((slot - tr->entries) % 64);
		if (a->new_page)
			iotlb_insert(tr->iotlb, tag_of(e, cls), cls, a->va, a->page.address,
				     (uint8_t)a->page.rights);
	}
	rwlock_write_end(&tr->lock);
}

/* --- one request ------------------------------------------------------------------------ */

static struct smmu_fault make_fault(const struct nst_translate_request *req,
				    const struct attempt *a, enum smmu_event_type type)
{
	return (struct smmu_fault){
		.type = type,
		.sid = req->rid,
		.ssid = req->pasid,
		.address = req->iova.v,
		.fetch_address = a->fault.address,
		.write = req->write,
		.privileged = a->privileged,
		.s2 = a->fault.s2,
		.cls = a->fault.cls,
		.ipa = a->fault.ipa,
	};
}

/* The tables of stage 1 say it, and its CD what is to come of it. */
static bool is_of_stage1(const struct attempt *a, enum smmu_event_type type)
{
	return (a->entry.kind == SMMU_XLATE_STAGE1 || a->entry.kind == SMMU_XLATE_NESTED) &&
	       !a->fault.s2 && smmu_event_is_translation(type);
}

/* s5.5: CD.S and STE.S2S */
static bool is_to_stall(const struct attempt *a, enum smmu_event_type type)
{
	return a->fault.stall || (is_of_stage1(a, type) && a->entry.context.stall);
}

/* s5.5: CD.R and STE.S2R, where nothing is to stall */
static bool is_to_be_told(const struct attempt *a, enum smmu_event_type type)
{
	const struct smmu_context *c = &a->entry.context;

	return type != SMMU_E_ABORTED && !a->fault.silent &&
	       (!is_of_stage1(a, type) || c->record || c->stall);
}

/* The device may hold a lock that a command waits for. */
static void post(struct smmu_unit *u, const struct nst_translate_request *req,
		 const struct attempt *a, enum smmu_event_type type) EXCLUDES(u->cmd_lock)
{
	const struct smmu_fault fault = make_fault(req, a, type);

	if (is_to_be_told(a, type))
		smmu_fault_post(u, &fault);
}

/* -EEXIST: not an emulated device. */
static int try(struct smmu_xlate *tr, const struct nst_translate_request *req, struct attempt *a,
	       enum smmu_event_type *type)
{
	bool passthrough;

	*a = (struct attempt){ 0 };
	*type = SMMU_EVENT_NONE;
	rwlock_read(&tr->lock);
	passthrough = smmu_xlate_is_passthrough(tr, req->rid);
	if (!passthrough)
		*type = translate_shared(tr, req, a);
	if (!passthrough && !*type && tr->enabled)
		smmu_notify_note(tr, &a->entry, a->page.global);
	rwlock_read_end(&tr->lock);
	return passthrough ? -EEXIST : 0;
}

/*
 * A request that may stall. It is tried once more, with no command under way: what the guest has
 * changed, and synchronized, must not stall, for it may look for such transactions no more.
 */
static int stall(struct smmu_unit *u, struct notifier *n, const struct nst_translate_request *req,
		 struct attempt *a, enum smmu_event_type *type, unsigned int *tag)
{
	struct smmu_fault fault;
	int ret = 0;

	mutex_lock(&u->cmd_lock);
	if (is_to_stall(a, *type))
		ret = try(&u->xlate, req, a, type);
	if (!ret && *type) {
		ret = -EFAULT;
		fault = make_fault(req, a, *type);
		smmu_faults_take(u); /* those of before come before it */
		if (is_to_stall(a, *type) && smmu_stall_begin(u, n, &fault, tag))
			ret = -EINPROGRESS;
		else if (is_to_be_told(a, *type))
			smmu_fault_report(u, &fault);
	}
	mutex_unlock(&u->cmd_lock);
	return ret;
}

/* @n: who waits if it stalls; NULL: nobody can. */
static int refuse(struct smmu_unit *u, struct notifier *n, const struct nst_translate_request *req,
		  struct attempt *a, enum smmu_event_type *type, unsigned int *tag)
{
	if (n)
		return stall(u, n, req, a, type, tag);
	post(u, req, a, *type);
	return -EFAULT;
}

/* --- ATS -------------------------------------------------------------------------------- */

/* s3.9.1: as a transaction, but for who may ask. */
static enum smmu_event_type find_for_ats(struct smmu_xlate *tr,
					 const struct nst_translate_request *req, struct attempt *a)
	REQUIRES_SHARED(tr->lock)
{
	enum smmu_event_type type;

	if (!tr->enabled || !(tr->tables.idr.idr[0] & SMMU_IDR0_ATS))
		return SMMU_E_ABORTED;
	type = translate_shared(tr, req, a);
	if (a->entry.kind != SMMU_XLATE_NOTHING && !a->entry.ats)
		return SMMU_F_BAD_ATS_TREQ;
	if (!type)
		smmu_notify_note(tr, &a->entry, a->page.global);
	return type;
}

int smmu_xlate_ats(struct smmu_unit *u, const struct nst_translate_request *req,
		   struct nst_ats_entry *entry, enum smmu_event_type *type)
{
	struct smmu_xlate *tr = &u->xlate;
	struct attempt a = { 0 };
	bool passthrough;

	rwlock_read(&tr->lock);
	passthrough = smmu_xlate_is_passthrough(tr, req->rid);
	*type = passthrough ? SMMU_EVENT_NONE : find_for_ats(tr, req, &a);
	rwlock_read_end(&tr->lock);
	if (passthrough)
		return -EEXIST;
	if (*type)
		return 0;
	if (a.new_entry || a.new_page)
		remember(tr, &a);
	*entry = (struct nst_ats_entry){
		.gpa = { a.page.address },
		.size = BIT64(a.page.lg2),
		.read = a.page.rights & arm_s1_right(false, a.privileged),
		.write = a.page.rights & arm_s1_right(true, a.privileged),
		.privileged = req->pasid != NST_NO_PASID && a.privileged,
	};
	return 0;
}

/* s3.9.1.3: with ATSCHK clear whatever says that it is translated is taken to be. */
static enum smmu_event_type check_translated(struct smmu_xlate *tr,
					     const struct nst_translate_request *req)
	REQUIRES_SHARED(tr->lock)
{
	struct attempt a = { 0 };

	if (!tr->enabled || !(tr->tables.idr.idr[0] & SMMU_IDR0_ATS) ||
	    is_too_high(tr, req->iova.v))
		return SMMU_E_ABORTED;
	if (!tr->check_translated)
		return SMMU_EVENT_NONE;
	if (find_entry(tr, req, &a))
		return SMMU_E_ABORTED;
	return a.entry.ats ? SMMU_EVENT_NONE : SMMU_F_TRANSL_FORBIDDEN;
}

static int use_translated(struct smmu_unit *u, const struct nst_translate_request *req,
			  struct nst_translation *out)
{
	struct smmu_xlate *tr = &u->xlate;
	const struct attempt none = { 0 };
	enum smmu_event_type type;
	bool passthrough;

	rwlock_read(&tr->lock);
	passthrough = smmu_xlate_is_passthrough(tr, req->rid);
	type = passthrough ? SMMU_EVENT_NONE : check_translated(tr, req);
	rwlock_read_end(&tr->lock);
	if (passthrough)
		return -EEXIST;
	if (type) {
		post(u, req, &none, type);
		return -EFAULT;
	}
	*out = (struct nst_translation){
		.gpa = { req->iova.v },
		.size = BIT64(IDENTITY_LG2) - (req->iova.v & (BIT64(IDENTITY_LG2) - 1)),
		.read = true,
		.write = true,
	};
	return 0;
}

/* @n: who waits if it stalls; NULL: nobody can. */
static int translate(struct smmu_unit *u, struct notifier *n,
		     const struct nst_translate_request *req, struct nst_translation *out,
		     unsigned int *tag)
{
	struct smmu_xlate *tr = &u->xlate;
	enum smmu_event_type type;
	struct attempt a;
	uint64_t offset;
	int ret;

	if (req->translated)
		return use_translated(u, req, out);
	ret = try(tr, req, &a, &type);
	if (!ret && type)
		ret = refuse(u, n, req, &a, &type, tag);
	if (ret)
		return ret;
	if (a.new_entry || a.new_page)
		remember(tr, &a);
	offset = a.va & (BIT64(a.page.lg2) - 1);
	*out = (struct nst_translation){
		.gpa = { a.page.address | offset },
		.size = BIT64(a.page.lg2) - offset,
		.read = a.page.rights & arm_s1_right(false, a.privileged),
		.write = a.page.rights & arm_s1_right(true, a.privileged),
	};
	return 0;
}

int smmu_xlate(struct nst_viommu *viommu, const struct nst_translate_request *req,
	       struct nst_translation *out)
{
	return translate(to_smmu_unit(viommu), NULL, req, out, NULL);
}

int smmu_xlate_or_stall(struct nst_notifier *notifier, const struct nst_translate_request *req,
			struct nst_translation *out, unsigned int *tag)
{
	return translate(to_smmu_unit(notifier->viommu), to_notifier(notifier), req, out, tag);
}

/* What an MSI would meet, and nobody is told: not the guest, and not the caches. */
int smmu_msi_doorbell(struct nst_viommu *viommu, nst_rid rid, nst_iova address, nst_gpa *doorbell)
{
	const struct nst_translate_request req = {
		.rid = rid,
		.pasid = NST_NO_PASID,
		.iova = address,
		.write = true,
	};
	struct smmu_xlate *tr = &to_smmu_unit(viommu)->xlate;
	struct attempt a = { 0 };
	enum smmu_event_type type;

	rwlock_read(&tr->lock);
	type = translate_shared(tr, &req, &a);
	rwlock_read_end(&tr->lock);
	if (type)
		return -EFAULT;
	doorbell->v = a.page.address | (a.va & (BIT64(a.page.lg2) - 1));
	return 0;
}
