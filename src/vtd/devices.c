// SPDX-License-Identifier: BSD-3-Clause
/*
 * The passed-through devices behind the unit: put behind it, taken away, renumbered with their
 * bus. What they are attached to then is the business of attachments.c.
 */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "spec/vtd_caps.h"

#include <errno.h>

/* Back to what nst_device_open() left it on, whatever the guest's tables say. */
static void release_device(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock)
{
	const struct device_services none = { 0 };

	vtd_scan_forget(u, d);
	vtd_pasids_fini(u, d);
	vtd_host_faults_detach(u, d);
	if (attach_point_fini(&u->attach, &d->plain.at))
		log_error(u->log, "vtd: a device stays blocked: its host refuses the parent HWPT");
	device_config_offer(d->dev, &none);
	free(d);
}

/* What the guest sees of a device is what the unit can serve. */
static void offer_services(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock)
{
	struct device_services services = { 0 };

	if (!d->alias) { /* conventional PCI has no prefixes, and no ids to answer to */
		services.pasid_bits = MIN(vtd_caps_pasid_bits(u->ecap), device_pasid_bits(d->dev));
		services.ats = u->ecap & VTD_ECAP_DT;
		services.pri = u->ecap & VTD_ECAP_PRS;
	}
	d->pasid_bits = services.pasid_bits;
	d->page_requests = services.pri && d->dev->pri_cap;
	device_config_offer(d->dev, &services);
}

void vtd_set_caps(struct vtd_unit *u, uint64_t cap, uint64_t ecap)
{
	u->cap = cap;
	u->ecap = ecap;
	vtd_regs_reset(&u->regs, cap, ecap);
	vtd_xlate_configure(u);
	for (struct vtd_device *d = u->devices; d; d = d->next)
		offer_services(u, d);
}

static int check_caps_locked(struct vtd_unit *u, const struct nst_device *dev) REQUIRES(u->cmd_lock)
{
	uint64_t cap = u->cap, ecap = u->ecap;
	const char *why = "its host IOMMU lacks what the guest was offered";
	int ret = vtd_caps_narrow(&dev->hw_info, &cap, &ecap, &why);

	if (!ret && u->frozen && (cap != u->cap || ecap != u->ecap))
		ret = -EOPNOTSUPP;
	if (ret) {
		log_error(u->log, "vtd: the device cannot be put behind this unit: %s", why);
		return ret;
	}
	if (!u->frozen)
		vtd_set_caps(u, cap, ecap);
	return 0;
}

/* NULL, or why @dev cannot be behind the unit as @rid. */
static const char *objection(struct vtd_unit *u, nst_rid rid, const struct nst_device *dev,
			     bool alias) REQUIRES(u->cmd_lock)
{
	for (const struct vtd_device *d = u->devices; d; d = d->next) {
		if (d->dev == dev)
			return "it is behind it already";
		if (d->rid == rid && !(alias && d->alias))
			return "another device has that requester id, and only devices behind one "
			       "PCI bridge can share one";
	}
	return notify_has(u->xlate.notifiers, rid) ? "an emulated device has that requester id"
						   : NULL;
}

static int check_rid_locked(struct vtd_unit *u, nst_rid rid, const struct nst_device *dev,
			    bool alias) REQUIRES(u->cmd_lock)
{
	const char *why = objection(u, rid, dev, alias);

	if (!why)
		return 0;
	log_error(u->log, "vtd: the device cannot be put behind this unit as %02x:%02x.%x: %s",
		  rid >> 8, rid >> 3 & 31, rid & 7, why);
	return -EEXIST;
}

/* Emulated devices are those that have no number of a passed-through one. */
static void claim_rid(struct vtd_unit *u, nst_rid rid) REQUIRES(u->cmd_lock)
{
	bool taken = false;

	for (const struct vtd_device *d = u->devices; d; d = d->next)
		taken |= d->rid == rid;
	vtd_xlate_claim(u, rid, taken);
}

static int attach_locked(struct vtd_unit *u, nst_rid rid, struct nst_device *dev, bool alias)
	REQUIRES(u->cmd_lock)
{
	int ret = check_rid_locked(u, rid, dev, alias);
	struct vtd_device *d;

	if (ret)
		return ret;
	d = alloc_object(struct vtd_device);
	if (!d)
		return -ENOMEM;
	ret = check_caps_locked(u, dev);
	if (!ret && dev->pri_cap && (u->ecap & VTD_ECAP_PRS))
		ret = page_requests_open(&u->page);
	d->rid = rid;
	d->dev = dev;
	if (!ret)
		ret = vtd_host_faults_attach(u, d);
	if (ret) {
		free(d);
		return ret;
	}
	d->alias = alias;
	attach_point_init(&d->plain.at, dev, NST_NO_PASID, 0);
	offer_services(u, d);
	d->next = u->devices;
	u->devices = d;
	claim_rid(u, rid);
	vtd_told_claim_device(u, d);
	vtd_reconcile_device(u, d);
	vtd_run(u);
	told_list_forget(&u->told, d->rid); /* what it has not claimed */
	return 0;
}

static struct vtd_device *find_device(struct vtd_unit *u, const struct nst_device *dev)
	REQUIRES(u->cmd_lock)
{
	struct vtd_device *d = u->devices;

	while (d && d->dev != dev)
		d = d->next;
	return d;
}

/* What the device asked for before is answered before it can ask anew under the same number. */
static void on_device_reset(void *opaque, struct nst_device *dev)
{
	struct vtd_unit *u = opaque;
	struct vtd_device *d;

	mutex_lock(&u->cmd_lock);
	d = find_device(u, dev);
	if (d)
		page_requests_cancel(&u->page, d->rid);
	mutex_unlock(&u->cmd_lock);
}

int vtd_attach(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev, bool alias)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = attach_locked(u, rid, dev, alias);
	mutex_unlock(&u->cmd_lock);
	if (!ret)
		device_watch_reset(dev, on_device_reset, u);
	return ret;
}

void vtd_detach_device(struct nst_viommu *viommu, struct nst_device *dev)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	struct vtd_device **link = &u->devices, *d;

	mutex_lock(&u->cmd_lock);
	d = find_device(u, dev);
	mutex_unlock(&u->cmd_lock);
	if (!d)
		return;
	device_watch_reset(dev, NULL, NULL); /* without cmd_lock: a reset of it may be under way */
	mutex_lock(&u->cmd_lock);
	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	claim_rid(u, d->rid);
	release_device(u, d);
	page_requests_prune(&u->page);
	mutex_unlock(&u->cmd_lock);
}

static struct nst_device *device_with(struct vtd_unit *u, nst_rid rid)
{
	struct nst_device *dev = NULL;

	mutex_lock(&u->cmd_lock);
	for (struct vtd_device *d = u->devices; d && !dev; d = d->next)
		if (d->rid == rid)
			dev = d->dev;
	mutex_unlock(&u->cmd_lock);
	return dev;
}

void vtd_detach(struct nst_viommu *viommu, nst_rid rid)
{
	struct nst_device *dev;

	while ((dev = device_with(to_vtd_unit(viommu), rid)))
		vtd_detach_device(viommu, dev);
}

/*
 * What it had by its old number ends first, also where the tables of both say the same:
 * with its attachment the host answers its page requests, which the guest now cannot.
 */
static void move_device(struct vtd_unit *u, struct vtd_device *d, nst_rid rid) REQUIRES(u->cmd_lock)
{
	const struct attachment blocked = { .kind = ATTACHMENT_BLOCKED };
	const nst_rid old = d->rid;

	vtd_pasids_fini(u, d);
	if (attach_reconcile(&u->attach, &d->plain.at, &blocked))
		log_error(u->log, "vtd: a device stays attached by its old number for now");
	page_requests_prune(&u->page);
	vtd_host_faults_detach(u, d);
	log_info(u->log, "vtd: device %02x:%02x.%x is now %02x:%02x.%x", d->rid >> 8,
		 d->rid >> 3 & 31, d->rid & 7, rid >> 8, rid >> 3 & 31, rid & 7);
	d->rid = rid;
	if (vtd_host_faults_attach(u, d))
		log_error(u->log, "vtd: the guest will not hear of its faults");
	claim_rid(u, old);
	claim_rid(u, rid);
	vtd_told_claim_device(u, d);
	vtd_reconcile_device(u, d);
}

static int renumber_locked(struct vtd_unit *u, const struct nst_rid_move *moves, size_t count)
	REQUIRES(u->cmd_lock)
{
	for (size_t i = 0; i < count; i++)
		if (!find_device(u, moves[i].dev))
			return -ENOENT;
	for (size_t i = 0; i < count; i++) {
		struct vtd_device *d = find_device(u, moves[i].dev);

		if (d->rid != moves[i].rid)
			move_device(u, d, moves[i].rid);
	}
	vtd_run(u);
	for (size_t i = 0; i < count; i++)
		told_list_forget(&u->told, find_device(u, moves[i].dev)->rid);
	return 0;
}

int vtd_renumber(struct nst_viommu *viommu, const struct nst_rid_move *moves, size_t count)
{
	struct vtd_unit *u = to_vtd_unit(viommu);
	int ret;

	mutex_lock(&u->cmd_lock);
	ret = renumber_locked(u, moves, count);
	mutex_unlock(&u->cmd_lock);
	return ret;
}
