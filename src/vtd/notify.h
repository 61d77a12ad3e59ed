/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is told of the guest's invalidations: viommu/notify.h, for VT-d. The translation lock there
 * is xlate.lock, the list xlate.notifiers.
 */
#ifndef VTD_NOTIFY_H
#define VTD_NOTIFY_H

#include "base/lock.h"
#include "viommu/notify.h"
#include "vtd/translate.h"

/* viommu_ops */
NST_MUST_CHECK int vtd_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
			      struct nst_notifier **out);
void vtd_unnotify(struct nst_notifier *notifier);
void vtd_replay(struct nst_notifier *notifier);

/* A translation by @entry is given out. */
void vtd_notify_note(const struct vtd_xlate *tr, const struct vtd_xlate_entry *entry)
	REQUIRES_SHARED(tr->lock);
/* @d is carried out (NULL: everything may have changed): who is concerned? The rest is in unit.h.
 */
void vtd_notify_mark(struct vtd_xlate *tr, const struct vtd_desc *d) REQUIRES(tr->lock);

#endif
