// SPDX-License-Identifier: BSD-3-Clause
/*
 * What viommu/notify.c needs to know of an SMMUv3: how translations are tagged, and whom a command
 * concerns (SMMUv3 IHI0070G.b s4.3, s4.4).
 */
#include "smmuv3/notify.h"

#include "smmuv3/unit.h"

#include <errno.h>

/*
 * What was given out is of one VMID, and of one ASID if there is a stage 1; a bypass is of none,
 * and has no pages to invalidate. Of two stages it is as if of the first alone (s4.4.3.1).
 */
#define TAG_STAGE2 BIT64(34) /* alone */
#define TAG_STAGE1 BIT64(33)
#define TAG_GLOBAL BIT64(32)
#define TAG_VMID GENMASK64(31, 16)
#define TAG_ASID GENMASK64(15, 0)

static uint64_t make_tag(const struct smmu_xlate_entry *e, bool global)
{
	uint64_t tag = NOTIFY_TAG_ONE | FIELD_PREP(TAG_VMID, e->vmid);

	if (e->kind == SMMU_XLATE_BYPASS)
		return NOTIFY_TAG_ONE;
	if (e->kind == SMMU_XLATE_STAGE2)
		return tag | TAG_STAGE2;
	return tag | TAG_STAGE1 | (global ? TAG_GLOBAL : 0) | FIELD_PREP(TAG_ASID, e->context.asid);
}

void smmu_notify_note(struct smmu_xlate *tr, const struct smmu_xlate_entry *e, bool global)
{
	const struct smmu_half *halves = e->context.halves;

	for (struct notifier *n = tr->notifiers; n; n = n->next) {
		if (!notify_concerns(n, e->rid, e->ssid))
			continue;
		if (halves[0].tbi || halves[1].tbi)
			atomic_store(&tr->top_byte_ignored, true);
		notify_note(n, make_tag(e, global));
	}
}

/* --- who is told -------------------------------------------------------------------------- */

static bool tables_change(const struct notifier *n, const struct smmu_command *c)
{
	const nst_rid rid = n->base.config.rid;
	const uint32_t ssid = n->base.config.pasid;

	if (c->what == SMMU_DO_CFGI_STE)
		return rid >= c->sid && rid <= c->last_sid;
	/* requests without SubstreamID may use the CD of 0 */
	return rid == c->sid && (c->what == SMMU_DO_CFGI_CDS || ssid == NST_EVERY_PASID ||
				 ssid == c->ssid || (ssid == NST_NO_PASID && !c->ssid));
}

/* Was anything of what @n got tagged so? */
static bool pages_change(const struct notifier *n, const struct smmu_command *c)
{
	const uint64_t tag = atomic_load(&n->tag);

	if (tag == NOTIFY_TAG_NONE)
		return false;
	if (tag == NOTIFY_TAG_MANY || c->what == SMMU_DO_TLBI_ALL)
		return true;
	if (FIELD_GET(TAG_VMID, tag) != c->vmid)
		return false;
	switch (c->what) {
	case SMMU_DO_TLBI_VM:
		return tag & (TAG_STAGE1 | TAG_STAGE2);
	case SMMU_DO_TLBI_IPA:
		return tag & TAG_STAGE2;
	case SMMU_DO_TLBI_ASID:
		return (tag & TAG_STAGE1) && FIELD_GET(TAG_ASID, tag) == c->asid;
	case SMMU_DO_TLBI_VA:
		return (tag & TAG_STAGE1) &&
		       (FIELD_GET(TAG_ASID, tag) == c->asid || (tag & TAG_GLOBAL));
	default:
		return tag & TAG_STAGE1;
	}
}

/* An address whose top byte is ignored has others that lead to the same page. */
static bool names_pages(const struct smmu_xlate *tr, const struct smmu_command *c)
{
	return c->what == SMMU_DO_TLBI_IPA ||
	       ((c->what == SMMU_DO_TLBI_VA || c->what == SMMU_DO_TLBI_VAA) &&
		!atomic_load(&tr->top_byte_ignored));
}

void smmu_notify_mark(struct smmu_xlate *tr, const struct smmu_command *c)
{
	for (struct notifier *n = tr->notifiers; n; n = n->next) {
		if (!c) {
			notify_mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (c->what == SMMU_DO_CFGI_STE || c->what == SMMU_DO_CFGI_CD ||
			   c->what == SMMU_DO_CFGI_CDS) {
			if (tables_change(n, c))
				notify_mark(n, NST_CHANGE_TABLES, 0, UINT64_MAX);
		} else if (pages_change(n, c)) {
			if (names_pages(tr, c))
				notify_mark(n, NST_CHANGE_PAGES, c->first, c->last);
			else
				notify_mark(n, NST_CHANGE_ADDRESS_SPACE, 0, UINT64_MAX);
		}
	}
}

/* --- life --------------------------------------------------------------------------------- */

int smmu_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
		struct nst_notifier **out)
{
	struct smmu_unit *u = to_smmu_unit(viommu);
	struct notifier *n;
	bool passthrough;

	if (config->map) /* no mirrors */
		return -EOPNOTSUPP;
	n = notify_alloc(viommu, config);
	if (!n)
		return -ENOMEM;
	mutex_lock(&u->cmd_lock);
	rwlock_write(&u->xlate.lock);
	passthrough = smmu_xlate_is_passthrough(&u->xlate, config->rid);
	if (!passthrough) {
		n->next = u->xlate.notifiers;
		u->xlate.notifiers = n;
	}
	rwlock_write_end(&u->xlate.lock);
	mutex_unlock(&u->cmd_lock);
	if (passthrough) {
		notify_free(n);
		return -EEXIST;
	}
	*out = &n->base;
	return 0;
}

void smmu_unnotify(struct nst_notifier *notifier)
{
	struct smmu_unit *u = to_smmu_unit(notifier->viommu);
	struct notifier *n = to_notifier(notifier);

	mutex_lock(&u->cmd_lock);
	rwlock_write(&u->xlate.lock);
	notify_unlink(&u->xlate.notifiers, n);
	rwlock_write_end(&u->xlate.lock);
	smmu_stalls_forget(u, n);
	mutex_unlock(&u->cmd_lock);
	notify_free(n);
}
