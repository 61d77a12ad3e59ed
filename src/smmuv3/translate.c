// SPDX-License-Identifier: BSD-3-Clause
/*
 * See translate.h: one request from caches to event, and what empties the caches.
 *
 * The IOTLB tags a page with its ASID. Pages that are global have tags of their own, by ASET
 * alone, and are found from every ASID. There is no stage 2, so every VMID is 0.
 */
#include "smmuv3/translate.h"

#include "base/bits.h"
#include "base/mem.h"
#include "pagetable/arm_s1.h"
#include "smmuv3/notify.h"
#include "smmuv3/unit.h"

#include <errno.h>
#include <string.h>

enum { IOTLB_CAPACITY = 2048, NUM_SIZES = 7 };
/* Sizes of leaves with granules of 4, 16 and 64 KiB; then the same of global ones. */
enum { CLASS_GLOBAL = NUM_SIZES, NUM_CLASSES = 2 * NUM_SIZES };
static const uint8_t class_shifts[NUM_CLASSES] = {
	12, 14, 16, 21, 25, 29, 30, 12, 14, 16, 21, 25, 29, 30,
};
#define GLOBAL_CLASSES (GENMASK64(NUM_CLASSES - 1, CLASS_GLOBAL))
#define ALL_CLASSES (GENMASK64(NUM_CLASSES - 1, 0))
#define TAG_GLOBAL BIT64(16)

/* Pieces that untranslated addresses come in. */
#define IDENTITY_LG2 21

struct page {
	uint64_t address; /* as translated */
	unsigned int lg2;
	unsigned int rights; /* enum arm_s1_right */
	bool global;
};

/* What a request found out, and what of it is new to the caches. */
struct attempt {
	struct smmu_xlate_entry entry;
	struct page page;
	uint64_t va; /* effective */
	bool privileged;
	bool new_entry, new_page;
	uint64_t generation;
	uint64_t fetch_address; /* of what could not be fetched */
};

static uint32_t tag_of(const struct smmu_context *c, bool global)
{
	return global ? (uint32_t)TAG_GLOBAL | c->aset : c->asid;
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
	tr->abort = smmu_reg_get(&u->regs, SMMU_GBPA) & SMMU_GBPA_ABORT;
	tr->tables = smmu_tables_of(u);
	tr->generation++;
	memset(tr->entries, 0, sizeof(tr->entries));
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
	for (size_t i = 0; i < SMMU_XLATE_ENTRIES; i++)
		if (named_by(&tr->entries[i], c))
			tr->entries[i].kind = SMMU_XLATE_NOTHING;
}

/* SMMUv3 IHI0070G.b s4.4.1.1: hints of granule and level are not used: more than was asked for may
 * go. */
static void flush_pages(struct smmu_xlate *tr, const struct smmu_command *c) REQUIRES(tr->lock)
{
	struct iotlb_filter f = { .first = c->first, .last = c->last };

	if (c->what == SMMU_DO_TLBI_VAA) { /* all tags */
		f.classes = (unsigned int)ALL_CLASSES;
		iotlb_flush(tr->iotlb, &f);
		return;
	}
	f.tag_mask = UINT32_MAX;
	f.tag = c->asid;
	f.classes = (unsigned int)(ALL_CLASSES & ~GLOBAL_CLASSES);
	iotlb_flush(tr->iotlb, &f);
	f.classes = (unsigned int)GLOBAL_CLASSES;
	for (uint32_t aset = 0; aset <= 1; aset++) {
		f.tag = (uint32_t)TAG_GLOBAL | aset;
		iotlb_flush(tr->iotlb, &f);
	}
}

static bool empties_caches(const struct smmu_command *c)
{
	switch (c->what) {
	case SMMU_DO_NOTHING:
	case SMMU_DO_ATC_INV:
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
	case SMMU_DO_TLBI_ASID:
		iotlb_flush_tag(tr->iotlb, c->asid);
		break;
	case SMMU_DO_TLBI_VA:
	case SMMU_DO_TLBI_VAA:
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
	struct smmu_table_fault fault = { 0 };
	struct smmu_stream stream;
	bool has_cd;

	if (!smmu_find_stream(&tr->tables, req->rid, &stream, &fault) ||
	    !smmu_select_context(&stream, req->pasid, &has_cd, &e->cd, &fault) ||
	    (has_cd && !smmu_find_context(&tr->tables, &stream, e->cd, &e->context, &fault))) {
		a->fetch_address = fault.address;
		return fault.type;
	}
	e->kind = has_cd ? SMMU_XLATE_STAGE1 : SMMU_XLATE_BYPASS;
	e->rid = req->rid;
	e->ssid = req->pasid;
	e->privcfg = stream.privcfg;
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
	for (unsigned int cls = 0; cls < NUM_CLASSES; cls++) {
		uint32_t tag = tag_of(&a->entry.context, cls >= CLASS_GLOBAL);
		const struct iotlb_entry *e = iotlb_find(tr->iotlb, tag, cls, a->va);

		if (!e || !(e->flags & right))
			continue;
		a->page = (struct page){ e->target, class_shifts[cls], e->flags,
					 cls >= CLASS_GLOBAL };
		return true;
	}
	return false;
}

/* arm_s1_slot_fn: @opaque is the guest's memory, entered. */
static inline uint64_t *guest_slot(void *opaque, uint64_t address, bool *writable)
{
	uint8_t *page = mem_page(opaque, (nst_gpa){ address & ~(PAGE_SIZE_4K - 1) }, writable);

	return page ? (uint64_t *)(void *)&page[address & (PAGE_SIZE_4K - 1)] : NULL;
}

static enum smmu_event_type walk(struct smmu_xlate *tr, const struct smmu_half *half, bool write,
				 struct attempt *a) REQUIRES_SHARED(tr->lock)
{
	const struct arm_s1_request req = {
		.offset = a->va & (UINT64_MAX >> half->tsz),
		.too_high = a->entry.context.too_high,
		.granule_lg2 = half->granule_lg2,
		.write = write,
		.privileged = a->privileged,
		.affd = a->entry.context.affd,
		.had = half->had,
	};
	const struct arm_s1_position top = {
		.table = arm_s1_top_table(half->ttb, half->granule_lg2, half->tsz),
		.level = arm_s1_top_level(half->granule_lg2, half->tsz),
	};
	struct nst_mem *mem = tr->tables.mem;
	struct arm_s1_leaf leaf;
	enum smmu_event_type type;
	unsigned int token = mem_enter(mem);

	type = arm_s1_walk(&req, top, guest_slot, mem, &leaf);
	mem_exit(mem, token);
	atomic_fetch_add_explicit(&tr->walks, 1, memory_order_relaxed);
	if (type == SMMU_F_WALK_EABT)
		a->fetch_address = leaf.descriptor;
	if (type)
		return type;
	a->page = (struct page){ leaf.address, leaf.page_lg2, leaf.rights, leaf.global };
	a->new_page = true;
	return SMMU_EVENT_NONE;
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
	return walk(tr, half, req->write, a);
}

static struct page identity(uint64_t iova)
{
	return (struct page){
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
	if (a->entry.kind == SMMU_XLATE_BYPASS)
		return is_too_high(tr, req->iova.v) ? SMMU_F_ADDR_SIZE : SMMU_EVENT_NONE;
	return translate_stage1(tr, req, a);
}

static unsigned int class_of(const struct page *page)
{
	unsigned int cls = 0;

	while (class_shifts[cls] != page->lg2)
		cls++;
	return cls + (page->global ? CLASS_GLOBAL : 0);
}

static void remember(struct smmu_xlate *tr, const struct attempt *a)
{
	const struct smmu_xlate_entry *e = &a->entry;

	rwlock_write(&tr->lock);
	if (tr->generation == a->generation) {
		*entry_slot(tr, e->rid, e->ssid) = *e;
		if (a->new_page)
			iotlb_insert(tr->iotlb, tag_of(&e->context, a->page.global),
				     class_of(&a->page), a->va, a->page.address,
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
		.fetch_address = a->fetch_address,
		.write = req->write,
		.privileged = a->privileged,
	};
}

static bool is_of_stage1(const struct attempt *a, enum smmu_event_type type)
{
	return a->entry.kind == SMMU_XLATE_STAGE1 && smmu_event_is_translation(type);
}

/* s5.5: CD.R, where nothing is to stall */
static void report(struct smmu_unit *u, const struct nst_translate_request *req,
		   const struct attempt *a, enum smmu_event_type type) REQUIRES(u->cmd_lock)
{
	const struct smmu_context *c = &a->entry.context;
	const struct smmu_fault fault = make_fault(req, a, type);

	if (type != SMMU_E_ABORTED && (!is_of_stage1(a, type) || c->record || c->stall))
		smmu_fault_report(u, &fault);
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
 * It is tried once more, with no command under way: what the guest has changed, and synchronized,
 * must not stall, for it may look for such transactions no more.
 */
static int refuse(struct smmu_unit *u, struct notifier *n, const struct nst_translate_request *req,
		  struct attempt *a, enum smmu_event_type *type, unsigned int *tag)
{
	struct smmu_fault fault;
	int ret = 0;

	mutex_lock(&u->cmd_lock);
	if (n && a->entry.context.stall)
		ret = try(&u->xlate, req, a, type);
	if (!ret && *type) {
		ret = -EFAULT;
		fault = make_fault(req, a, *type);
		if (n && is_of_stage1(a, *type) && a->entry.context.stall &&
		    smmu_stall_begin(u, n, &fault, tag))
			ret = -EINPROGRESS;
		else
			report(u, req, a, *type);
	}
	mutex_unlock(&u->cmd_lock);
	return ret;
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

	if (req->translated) /* nobody has been given a translation to use */
		return -EFAULT;
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
