// SPDX-License-Identifier: BSD-3-Clause
/*
 * Save and restore: docs/state.md has the format.
 *
 * Nearly all that a guest can observe of the unit is in its registers: it carries out a write
 * before that returns, and what is left of the command queue stands between CONS and PROD. As with
 * every unit a stream is checked as a whole before anything of it takes effect; then the unit is
 * reset, takes the state, and attachments follow by the same reconcile as ever, only that the
 * guest is told nothing.
 */
#include "smmuv3/unit.h"

#include "base/log.h"
#include "smmuv3/caps.h"
#include "spec/smmu_caps.h"
#include "viommu/state.h"

#include <errno.h>
#include <stdlib.h>

static const struct state_register registers[SMMU_NUM_REGS] = {
#define REGISTER(name, offset, size, reset, rw, ...) { offset, size, reset, rw },
	SMMU_REGISTERS(REGISTER)
#undef REGISTER
};

/* A transaction that waits. In the order in which they came. */
struct saved_stall {
	uint16_t tag;
	nst_rid sid;
	uint32_t ssid;
	uint8_t waits;	  /* ... or its device has given it up */
	uint8_t recorded; /* in the event queue; else by and by, as: */
	uint64_t event[4];
};

/* What is saved of a unit. */
struct image {
	uint64_t regs[SMMU_NUM_REGS];
	uint32_t atc_failed; /* the next CMD_SYNC is to say so */
	uint32_t num_stalls;
	struct saved_stall stalls[SMMU_STALL_MAX];
	struct told_list told;
};

static void transfer_stalls(struct state_wire *w, struct image *img)
{
	STATE_NUMBER(w, img->num_stalls);
	if (img->num_stalls > SMMU_STALL_MAX) {
		w->bad = true;
		img->num_stalls = 0;
	}
	for (uint32_t i = 0; i < img->num_stalls; i++) {
		struct saved_stall *s = &img->stalls[i];

		STATE_NUMBER(w, s->tag);
		STATE_NUMBER(w, s->sid);
		STATE_NUMBER(w, s->ssid);
		STATE_NUMBER(w, s->waits);
		STATE_NUMBER(w, s->recorded);
		for (unsigned int word = 0; word < ARRAY_SIZE(s->event); word++)
			STATE_NUMBER(w, s->event[word]);
	}
}

static int transfer(struct state_wire *w, void *image)
{
	struct image *img = image;

	state_registers(w, registers, SMMU_NUM_REGS, img->regs);
	STATE_NUMBER(w, img->atc_failed);
	transfer_stalls(w, img);
	return told_list_transfer(w, &img->told);
}

static const struct state_format format = { VIOMMU_SMMUV3, 1, transfer };

/* --- saving ---------------------------------------------------------------------------------- */

/* What the guest knows of devices that are here, and of those that have not come yet. */
static int collect_told(struct smmu_unit *u, struct told_list *told) REQUIRES(u->cmd_lock)
{
	size_t count = u->told.count;

	for (const struct smmu_device *d = u->devices; d; d = d->next)
		count++;
	if (told_list_init(told, count))
		return -ENOMEM;
	for (const struct smmu_device *d = u->devices; d; d = d->next)
		told_list_add(told, (struct told){ d->rid, NST_NO_PASID, (uint8_t)d->reported,
						   d->attach_failed ? TOLD_ATTACH_FAILED : 0 });
	for (uint32_t i = 0; i < u->told.count; i++)
		told_list_add(told, u->told.entries[i]);
	told_list_order(told);
	return 0;
}

static int by_order(const void *a, const void *b)
{
	const struct smmu_stall *x = *(const struct smmu_stall *const *)a,
				*y = *(const struct smmu_stall *const *)b;

	return x->order < y->order ? -1 : x->order > y->order;
}

static void collect_stalls(const struct smmu_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	const struct smmu_stall *stalls[SMMU_STALL_MAX];

	for (unsigned int i = 0; i < SMMU_STALL_MAX; i++) {
		const struct smmu_stall *s = &u->stalls[i];

		/* what stalls on this host does not move, and of what is not told nobody knows */
		if (s->owner != SMMU_STALL_FREE && (s->recorded || s->owner != SMMU_STALL_HOST))
			stalls[img->num_stalls++] = s;
	}
	qsort(stalls, img->num_stalls, sizeof(*stalls), by_order);
	for (uint32_t i = 0; i < img->num_stalls; i++) {
		const struct smmu_stall *s = stalls[i];
		struct saved_stall *saved = &img->stalls[i];

		*saved = (struct saved_stall){
			.tag = (uint16_t)(s - u->stalls),
			.sid = s->sid,
			.ssid = s->ssid,
			.waits = s->owner != SMMU_STALL_NOBODY && s->owner != SMMU_STALL_HOST,
			.recorded = s->recorded,
		};
		for (unsigned int word = 0; word < ARRAY_SIZE(saved->event) && !s->recorded; word++)
			saved->event[word] = le64_get(s->event.qw[word]);
	}
}

static int take_image(struct smmu_unit *u, struct image *img)
{
	int ret;

	mutex_lock(&u->cmd_lock);
	smmu_faults_take(u);
	*img = (struct image){ .atc_failed = u->atc_failed };
	for (unsigned int i = 0; i < SMMU_NUM_REGS; i++)
		img->regs[i] = smmu_reg_get(&u->regs, i);
	collect_stalls(u, img);
	ret = collect_told(u, &img->told);
	mutex_unlock(&u->cmd_lock);
	return ret;
}

int smmu_save(struct nst_viommu *viommu, void **data, size_t *size)
{
	struct image img;
	int ret = take_image(to_smmu_unit(viommu), &img);

	if (ret)
		return ret;
	ret = state_write(&format, &img, data, size);
	told_list_fini(&img.told);
	return ret;
}

/* --- restoring ------------------------------------------------------------------------------- */

static struct smmu_idr idr_of(const struct image *img)
{
	struct smmu_idr idr = { .iidr = (uint32_t)img->regs[SMMU_IIDR],
				.aidr = (uint32_t)img->regs[SMMU_AIDR] };

	for (unsigned int i = 0; i < ARRAY_SIZE(idr.idr); i++)
		idr.idr[i] = (uint32_t)img->regs[SMMU_IDR0 + i];
	return idr;
}

/* The bits that may be set: software's, or those of the unit that are not its own to decide. */
static uint64_t possible_bits(const struct image *img, enum smmu_reg reg)
{
	const bool ats = img->regs[SMMU_IDR0] & SMMU_IDR0_ATS;
	const bool pri = img->regs[SMMU_IDR0] & SMMU_IDR0_PRI;
	const bool msi = img->regs[SMMU_IDR0] & SMMU_IDR0_MSI;

	switch (reg) {
	case SMMU_CR0:
		return SMMU_CR0_FIELDS & ~(ats ? 0 : SMMU_CR0_ATSCHK) &
		       ~(pri ? 0 : SMMU_CR0_PRIQEN);
	case SMMU_IRQ_CTRL:
		return SMMU_IRQ_FIELDS & ~(pri ? 0 : SMMU_IRQ_PRIQ);
	case SMMU_CR0ACK: /* a write is carried out before it returns */
		return img->regs[SMMU_CR0];
	case SMMU_IRQ_CTRLACK:
		return img->regs[SMMU_IRQ_CTRL];
	case SMMU_GBPA:
		return SMMU_GBPA_FIELDS & ~SMMU_GBPA_UPDATE;
	case SMMU_GERROR:
	case SMMU_GERRORN:
		return SMMU_GERROR_FIELDS & ~(pri ? 0 : SMMU_GERROR_PRIQ_ABT);
	case SMMU_PRIQ_BASE:
	case SMMU_PRIQ_PROD:
	case SMMU_PRIQ_CONS:
		return pri ? registers[reg].software : 0;
	case SMMU_PRIQ_IRQ_CFG0:
	case SMMU_PRIQ_IRQ_CFG1:
		return pri && msi ? registers[reg].software : 0;
	case SMMU_PRIQ_IRQ_CFG2:
		return pri ? registers[reg].software & ~(msi ? 0 : GENMASK64(5, 0)) : 0;
	case SMMU_GERROR_IRQ_CFG0:
	case SMMU_GERROR_IRQ_CFG1:
	case SMMU_GERROR_IRQ_CFG2:
	case SMMU_EVENTQ_IRQ_CFG0:
	case SMMU_EVENTQ_IRQ_CFG1:
	case SMMU_EVENTQ_IRQ_CFG2:
		return msi ? registers[reg].software : 0;
	default:
		return reg <= SMMU_AIDR ? UINT64_MAX : registers[reg].software;
	}
}

/* What a record says of stages: only stage 2's says more than that the input was to blame. */
static bool are_stages(const struct saved_stall *s, uint64_t qw1, bool stage2)
{
	enum smmu_event_type type = FIELD_GET(SMMU_EVENT_0_TYPE, s->event[0]);
	enum smmu_event_class cls = FIELD_GET(SMMU_EVENT_1_CLASS, qw1);
	uint64_t ttrnw = type == SMMU_F_PERMISSION && cls == SMMU_CLASS_TT ? SMMU_EVENT_1_TTRNW : 0;

	if (!(qw1 & SMMU_EVENT_1_S2))
		return qw1 == FIELD_PREP(SMMU_EVENT_1_CLASS, SMMU_CLASS_IN) && !s->event[3];
	return stage2 && cls <= SMMU_CLASS_IN && !(s->event[3] & ~SMMU_EVENT_3_IPA) &&
	       qw1 == (SMMU_EVENT_1_S2 | FIELD_PREP(SMMU_EVENT_1_CLASS, cls) | ttrnw);
}

/* A record of a fault that stalls: the fields that it has. */
static bool is_stall_record(const struct saved_stall *s, bool stage2)
{
	uint64_t ssid = s->ssid == NST_NO_PASID
				? 0
				: SMMU_EVENT_0_SSV | FIELD_PREP(SMMU_EVENT_0_SSID, s->ssid);
	uint64_t stalls = SMMU_EVENT_1_STALL | FIELD_PREP(SMMU_EVENT_1_STAG, s->tag);
	enum smmu_event_type type = FIELD_GET(SMMU_EVENT_0_TYPE, s->event[0]);
	uint64_t qw1 = s->event[1] & ~(SMMU_EVENT_1_PNU | SMMU_EVENT_1_RNW);

	return smmu_event_is_translation(type) &&
	       s->event[0] == (type | ssid | FIELD_PREP(SMMU_EVENT_0_SID, s->sid)) &&
	       (qw1 & (SMMU_EVENT_1_STALL | SMMU_EVENT_1_STAG)) == stalls &&
	       are_stages(s, qw1 & ~stalls, stage2);
}

static bool is_possible_stall(const struct image *img, uint32_t i)
{
	const struct saved_stall *s = &img->stalls[i];

	for (uint32_t other = 0; other < i; other++)
		if (img->stalls[other].tag == s->tag)
			return false;
	if (s->tag >= SMMU_STALL_MAX || s->waits > 1 || s->recorded > 1 ||
	    (s->ssid != NST_NO_PASID && s->ssid >> 20))
		return false;
	return s->recorded ? !(s->event[0] | s->event[1] | s->event[2] | s->event[3])
			   : s->waits && is_stall_record(s, img->regs[SMMU_IDR0] & SMMU_IDR0_S2P);
}

/* None while the unit is off, or if it does not offer them. */
static bool are_possible_stalls(const struct image *img)
{
	const struct smmu_idr idr = { .idr[0] = (uint32_t)img->regs[SMMU_IDR0] };

	if (img->num_stalls && (!smmu_idr_stalls(&idr) || !(img->regs[SMMU_CR0] & SMMU_CR0_SMMUEN)))
		return false;
	for (uint32_t i = 0; i < img->num_stalls; i++)
		if (!is_possible_stall(img, i))
			return false;
	return true;
}

/* A state that the unit can be in between two register accesses. */
static bool is_possible(const struct image *img)
{
	for (unsigned int i = 0; i < SMMU_NUM_REGS; i++)
		if (img->regs[i] & ~possible_bits(img, i))
			return false;
	for (uint32_t i = 0; i < img->told.count; i++) {
		const struct told *told = &img->told.entries[i];

		if (told->pasid != NST_NO_PASID || (told->flags & ~TOLD_ATTACH_FAILED) ||
		    !(told->reason || told->flags))
			return false;
	}
	return are_possible_stalls(img) && img->regs[SMMU_CR0ACK] == img->regs[SMMU_CR0] &&
	       img->regs[SMMU_IRQ_CTRLACK] == img->regs[SMMU_IRQ_CTRL] && img->atc_failed <= 1 &&
	       told_list_is_ordered(&img->told);
}

/*
 * Can this unit offer just what that one did? A host that can do just that narrows the unit
 * to it; what no host takes away has to be the same. What the guest has seen here already
 * cannot change any more.
 */
static bool offers_same(const struct smmu_unit *u, const struct image *img) REQUIRES(u->cmd_lock)
{
	struct iommufd_hw_info host = { .type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3 };
	struct smmu_idr theirs = idr_of(img), ours = u->idr;
	const char *why;

	for (unsigned int i = 0; i < ARRAY_SIZE(theirs.idr); i++)
		host.smmuv3.idr[i] = theirs.idr[i];
	if (u->frozen && !smmu_idr_equal(&ours, &theirs))
		return false;
	return !smmu_idr_narrow(&host, &ours, &why) && smmu_idr_equal(&ours, &theirs);
}

/* All of @stream, or why not; @img->told is the caller's to end either way. */
static int decode(const struct smmu_unit *u, const void *stream, size_t size, struct image *img,
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

/* A guest may give several devices one StreamID: it was told of all of them. */
void smmu_told_claim(struct smmu_unit *u, struct smmu_device *d)
{
	struct told told = told_list_find(&u->told, d->rid, NST_NO_PASID);

	d->reported = told.reason;
	d->attach_failed = told.flags & TOLD_ATTACH_FAILED;
}

static void restore_stalls(struct smmu_unit *u, const struct image *img) REQUIRES(u->cmd_lock)
{
	for (uint32_t i = 0; i < img->num_stalls; i++) {
		const struct saved_stall *saved = &img->stalls[i];
		struct smmu_stall *s = &u->stalls[saved->tag];

		*s = (struct smmu_stall){
			.owner = saved->waits ? SMMU_STALL_RESTORED : SMMU_STALL_NOBODY,
			.sid = saved->sid,
			.ssid = saved->ssid,
			.recorded = saved->recorded,
			.order = u->stall_order++,
		};
		for (unsigned int word = 0; word < ARRAY_SIZE(saved->event); word++)
			s->event.qw[word] = le64_make(saved->event[word]);
		u->unrecorded_stalls += !s->recorded;
	}
}

/* Takes over @img->told. Returns what the host says of the attachments. */
static int apply(struct smmu_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	int ret;

	regfile_load(&u->regs.file, img->regs);
	u->atc_failed = img->atc_failed;
	restore_stalls(u, img);
	u->told = img->told;
	img->told = (struct told_list){ NULL, 0 };
	for (struct smmu_device *d = u->devices; d; d = d->next)
		smmu_told_claim(u, d);
	u->quiet = true;
	smmu_reconcile_all(u);
	u->quiet = false;
	for (struct smmu_device *d = u->devices; d; d = d->next)
		told_list_forget(&u->told, d->rid);
	ret = u->quiet_err;
	u->quiet_err = 0;
	return ret;
}

static int restore_locked(struct smmu_unit *u, struct image *img) REQUIRES(u->cmd_lock)
{
	const struct smmu_idr before = u->idr, idr = idr_of(img);
	int ret;

	smmu_reset_locked(u); /* so nothing is cached for the new state */
	smmu_offer(u, &idr);
	ret = apply(u, img);
	if (ret) {
		smmu_reset_locked(u);
		smmu_offer(u, &before);
		return ret;
	}
	u->frozen = true;	     /* by the guest of the other unit */
	wakeup_announce(&u->wakeup); /* the queue may have been in the middle */
	return 0;
}

int smmu_restore(struct nst_viommu *viommu, const void *data, size_t size)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
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
		log_error(u->log, "smmuv3: the saved state is not restored: %s", why);
	return ret;
}
