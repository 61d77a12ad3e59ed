/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of the guest's invalidations: viommu/notify.h, for an SMMUv3. The translation lock
 * there is xlate.lock, the list xlate.notifiers.
 */
#ifndef SMMUV3_NOTIFY_H
#define SMMUV3_NOTIFY_H

#include "base/lock.h"
#include "smmuv3/translate.h"
#include "viommu/notify.h"

/* viommu_ops */
NST_MUST_CHECK int smmu_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
			       struct nst_notifier **out);
void smmu_unnotify(struct nst_notifier *notifier);

/* A translation by @entry is given out; @global: of a page that is. */
void smmu_notify_note(struct smmu_xlate *tr, const struct smmu_xlate_entry *entry, bool global)
	REQUIRES_SHARED(tr->lock);
/* @c is carried out (NULL: everything may have changed): who is concerned? */
void smmu_notify_mark(struct smmu_xlate *tr, const struct smmu_command *c) REQUIRES(tr->lock);

#endif
