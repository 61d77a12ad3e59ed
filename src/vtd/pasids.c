// SPDX-License-Identifier: BSD-3-Clause
/*
 * The PASIDs of a device: one point for each that is on something or whose entry is
 * wrong, so that what is kept is in proportion to what the guest uses.
 *
 * A scan reads the PASID table of a device from its beginning: directory entries by the
 * page, tables of 64 entries whole, and brings every PASID to what its entry says. Devices
 * with the same directory, whose scans stand at the same place, are served by one read.
 * PASIDs behind the end of the directory are blocked last: it may have shrunk. A guest
 * can have 2^20 PASIDs per device, so a scan stops when the work of a run is spent, and
 * goes on with the next one; another invalidation of the device starts it anew.
 *
 * PASID 0 has no point: the host keeps it for plain requests. Requests that carry it are
 * blocked, also where the guest chose another PASID for plain ones (RID_PASID).
 */
#include "vtd/unit.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/sorted.h"
#include "spec/vtd_tables.h"

#include <errno.h>
#include <string.h>

enum { LEAF_PASIDS = 1 << VTD_PASID_TABLE_LG2, DIR_PAGE = PAGE_SIZE_4K / sizeof(le64) };

/* --- the points of a device --------------------------------------------------------------- */

/* The index of the first point at or behind @pasid. */
static size_t lower_bound(const struct vtd_device *d, uint32_t pasid)
{
	return LOWER_BOUND(d->num_pasids, i, d->pasids[i]->at.pasid < pasid);
}

static struct vtd_point *make_point(struct vtd_unit *u, struct vtd_device *d)
{
	size_t max = d->max_pasids ? 2 * d->max_pasids : 8;
	struct vtd_point **grown;

	if (u->num_pasids >= u->max_pasids)
		return NULL;
	if (d->num_pasids == d->max_pasids) {
		grown = alloc_resize(d->pasids, max, sizeof(struct vtd_point *));
		if (!grown)
			return NULL;
		d->pasids = grown;
		d->max_pasids = max;
	}
	return alloc_object(struct vtd_point);
}

static struct vtd_point *insert_point(struct vtd_unit *u, struct vtd_device *d, size_t index,
				      uint32_t pasid) REQUIRES(u->cmd_lock)
{
	struct vtd_point *point = make_point(u, d);

	if (!point)
		return NULL;
	attach_point_init(&point->at, d->dev, pasid, pasid);
	vtd_told_claim(u, d->rid, point);
	memmove(&d->pasids[index + 1], &d->pasids[index],
		(d->num_pasids - index) * sizeof(struct vtd_point *));
	u->attach.work += (d->num_pasids - index) / LEAF_PASIDS;
	d->pasids[index] = point;
	d->num_pasids++;
	u->num_pasids++;
	return point;
}

static void remove_point(struct vtd_unit *u, struct vtd_device *d, size_t index)
{
	free(d->pasids[index]);
	d->num_pasids--;
	u->num_pasids--;
	memmove(&d->pasids[index], &d->pasids[index + 1],
		(d->num_pasids - index) * sizeof(struct vtd_point *));
	u->attach.work += (d->num_pasids - index) / LEAF_PASIDS;
	d->pasids_refused = false;
}

/* There is no room for one more. Said once, until there is room again. */
static void refuse(struct vtd_unit *u, struct vtd_device *d, uint32_t pasid,
		   const struct vtd_lookup *lookup) REQUIRES(u->cmd_lock)
{
	if (d->pasids_refused)
		return;
	if (u->quiet) {
		u->quiet_err = -ENOMEM;
		return;
	}
	d->pasids_refused = true;
	log_error(
		u->log,
		"vtd: no room for PASID %u of device %02x:%02x.%x, with %zu in use; it is blocked",
		pasid, d->rid >> 8, d->rid >> 3 & 31, d->rid & 7, u->num_pasids);
	if (!lookup->fault_disabled)
		vtd_fault_record(u, d->rid, pasid, 0, false, VTD_FAULT_PASID_TABLE_ACCESS);
}

/* Bring @pasid to what was found for it; its point is there afterwards only if needed. */
static void reconcile(struct vtd_unit *u, struct vtd_device *d, uint32_t pasid,
		      enum vtd_fault_reason reason, const struct vtd_lookup *lookup)
	REQUIRES(u->cmd_lock)
{
	size_t i = lower_bound(d, pasid);
	bool absent = vtd_fault_is_absence(reason);
	struct vtd_point *point = NULL;

	u->attach.work++;
	if (i < d->num_pasids && d->pasids[i]->at.pasid == pasid)
		point = d->pasids[i];
	if (!point && absent)
		return;
	if (!point)
		point = insert_point(u, d, i, pasid);
	if (!point) {
		refuse(u, d, pasid, lookup);
		return;
	}
	vtd_apply(u, d, point, reason, lookup);
	if (absent && point->at.actual == ATTACHMENT_BLOCKED)
		remove_point(u, d, i);
}

/* Block the PASIDs from @first up to @end; who cannot be blocked keeps its point. */
static void block_range(struct vtd_unit *u, struct vtd_device *d, uint32_t first, uint32_t end)
	REQUIRES(u->cmd_lock)
{
	const struct vtd_lookup nothing = { .attachment.kind = ATTACHMENT_BLOCKED };
	size_t i = lower_bound(d, first);

	while (i < d->num_pasids && d->pasids[i]->at.pasid < end) {
		size_t before = d->num_pasids;

		reconcile(u, d, d->pasids[i]->at.pasid, VTD_FAULT_PASID_NOT_PRESENT, &nothing);
		if (d->num_pasids == before)
			i++;
	}
}

void vtd_pasid_reconcile(struct vtd_unit *u, struct vtd_device *d, uint32_t pasid)
{
	struct vtd_tables tables = vtd_tables_of(u);
	struct vtd_lookup lookup = { .attachment.kind = ATTACHMENT_BLOCKED };
	enum vtd_fault_reason reason = VTD_FAULT_PASID_NOT_PRESENT;

	if (!pasid || pasid >= BIT64(d->pasid_bits))
		return;
	if (u->translating)
		reason = vtd_tables_lookup_pasid(&tables, d->rid, pasid, &lookup);
	reconcile(u, d, pasid, reason, &lookup);
}

void vtd_pasids_fini(struct vtd_unit *u, struct vtd_device *d)
{
	for (size_t i = 0; i < d->num_pasids; i++) {
		if (attach_point_fini(&u->attach, &d->pasids[i]->at))
			log_error(u->log, "vtd: PASID %u of a device stays attached on its host",
				  d->pasids[i]->at.pasid);
		free(d->pasids[i]);
	}
	u->num_pasids -= d->num_pasids;
	free(d->pasids);
	d->pasids = NULL;
	d->num_pasids = d->max_pasids = 0;
}

struct vtd_point *vtd_point_find(struct vtd_device *d, uint32_t pasid)
{
	size_t i = lower_bound(d, pasid);

	if (pasid == NST_NO_PASID)
		return &d->plain;
	return i < d->num_pasids && d->pasids[i]->at.pasid == pasid ? d->pasids[i] : NULL;
}

/* --- scans ---------------------------------------------------------------------------------- */

void vtd_busy(struct vtd_unit *u, struct vtd_device *d)
{
	if (d->busy)
		return;
	d->busy = true;
	d->next_busy = NULL;
	*u->busy_tail = d;
	u->busy_tail = &d->next_busy;
}

static struct vtd_device **group_of(struct vtd_unit *u, uint64_t dir)
{
	uint64_t mixed = (dir >> PAGE_SHIFT_4K) * 0x9e3779b97f4a7c15ULL;

	return &u->scan_groups[mixed >> 32 & (VTD_SCAN_GROUPS - 1)];
}

static void stop(struct vtd_device *d)
{
	if (d->scan.begun) {
		*d->link_in_group = d->next_in_group;
		if (d->next_in_group)
			d->next_in_group->link_in_group = d->link_in_group;
	}
	d->scan = (struct vtd_scan){ 0 };
}

void vtd_scan_restart(struct vtd_unit *u, struct vtd_device *d)
{
	stop(d);
	d->scan.pending = d->pasid_bits;
	if (d->scan.pending)
		vtd_busy(u, d);
}

void vtd_scan_forget(struct vtd_unit *u, struct vtd_device *d)
{
	struct vtd_device **link = &u->busy;

	stop(d);
	if (!d->busy)
		return;
	while (*link != d)
		link = &(*link)->next_busy;
	*link = d->next_busy;
	if (!d->next_busy)
		u->busy_tail = link;
	d->busy = false;
}

static void begin(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock)
{
	struct vtd_tables tables = vtd_tables_of(u);
	struct vtd_device **group;

	d->scan = (struct vtd_scan){ .pending = true, .begun = true, .rest = UINT32_MAX };
	if (u->translating) {
		vtd_tables_pasid_dir(&tables, d->rid, &d->scan.dir);
		d->scan.dir.pasids =
			(uint32_t)MIN((uint64_t)d->scan.dir.pasids, BIT64(d->pasid_bits));
		u->attach.work++;
	}
	group = group_of(u, d->scan.dir.gpa);
	d->next_in_group = *group;
	d->link_in_group = group;
	if (d->next_in_group)
		d->next_in_group->link_in_group = &d->next_in_group;
	*group = d;
}

/* Does the scan of @d stand at @first of the directory at @dir? */
static bool stands_at(const struct vtd_device *d, uint64_t dir, uint32_t first)
{
	return d->scan.begun && d->scan.dir.gpa == dir && d->scan.next == first &&
	       first < d->scan.dir.pasids;
}

/* What was read once, with what the context entry of @d adds to it. */
static struct vtd_lookup of_device(const struct vtd_lookup *read, const struct vtd_device *d)
{
	struct vtd_lookup lookup = *read;

	lookup.fault_disabled |= d->scan.dir.fault_disabled;
	lookup.page_requests = d->scan.dir.page_requests;
	return lookup;
}

/*
 * A directory entry that leads to no table. Of a wrong one the first PASID keeps a point,
 * which remembers that the guest was told.
 */
static void visit_nothing(struct vtd_unit *u, struct vtd_device *d, uint32_t first,
			  enum vtd_fault_reason reason, const struct vtd_lookup *read)
	REQUIRES(u->cmd_lock)
{
	struct vtd_lookup lookup = of_device(read, d);
	uint32_t witness = MAX(first, 1U);

	if (vtd_fault_is_absence(reason)) {
		block_range(u, d, first, first + LEAF_PASIDS);
		return;
	}
	if (witness < d->scan.dir.pasids)
		reconcile(u, d, witness, reason, &lookup);
	block_range(u, d, witness + 1, first + LEAF_PASIDS);
}

/* The table that a directory entry leads to, for all devices whose scans stand there. */
static void visit_table(struct vtd_unit *u, uint64_t dir, uint32_t first,
			const struct vtd_pasid_entry *entries, const struct vtd_lookup *above)
	REQUIRES(u->cmd_lock)
{
	for (uint32_t i = first ? 0 : 1; i < LEAF_PASIDS; i++) {
		struct vtd_lookup lookup = *above;
		enum vtd_fault_reason reason =
			vtd_pasid_entry_decode(&entries[i], u->cap, u->ecap, &lookup.attachment);

		lookup.fault_disabled |= le64_get(entries[i].qw[0]) & VTD_PASID_FPD;
		for (struct vtd_device *d = *group_of(u, dir); d; d = d->next_in_group) {
			struct vtd_lookup own = of_device(&lookup, d);

			if (stands_at(d, dir, first) && first + i < d->scan.dir.pasids)
				reconcile(u, d, first + i, reason, &own);
		}
	}
}

/* One directory entry, for all devices whose scans stand there; they move past it. */
static void visit(struct vtd_unit *u, const struct vtd_pasid_dir *dir, uint32_t first,
		  enum vtd_fault_reason reason, uint64_t entry) REQUIRES(u->cmd_lock)
{
	struct vtd_pasid_entry entries[LEAF_PASIDS];
	struct vtd_lookup lookup = { .attachment.kind = ATTACHMENT_BLOCKED };
	nst_gpa table = { 0 };

	u->attach.work++;
	if (!reason)
		reason = vtd_pasid_dir_decode(entry, u->cap, &lookup, &table.v);
	if (!reason && nst_mem_read(nst_vm_mem(u->vm), table, entries, sizeof(entries)))
		reason = VTD_FAULT_PASID_TABLE_ACCESS;
	if (!reason)
		visit_table(u, dir->gpa, first, entries, &lookup);
	for (struct vtd_device *d = *group_of(u, dir->gpa); d; d = d->next_in_group) {
		if (!stands_at(d, dir->gpa, first))
			continue;
		if (reason)
			visit_nothing(u, d, first, reason, &lookup);
		d->scan.next = first + LEAF_PASIDS;
	}
}

/* From where the scan of @leader stands to the end of a page of its directory at most. */
static void scan_directory(struct vtd_unit *u, struct vtd_device *leader) REQUIRES(u->cmd_lock)
{
	const struct vtd_pasid_dir dir = leader->scan.dir;
	uint32_t index = leader->scan.next / LEAF_PASIDS;
	uint32_t end = MIN((dir.pasids + LEAF_PASIDS - 1) / LEAF_PASIDS,
			   (index / DIR_PAGE + 1) * (uint32_t)DIR_PAGE);
	enum vtd_fault_reason reason = VTD_FAULT_NONE;
	le64 raw[DIR_PAGE];

	if (nst_mem_read(nst_vm_mem(u->vm), (nst_gpa){ dir.gpa + index * sizeof(le64) }, raw,
			 (end - index) * sizeof(le64)))
		reason = VTD_FAULT_PASID_DIR_ACCESS;
	for (uint32_t i = index; i < end && !attach_work_is_spent(&u->attach); i++)
		visit(u, &dir, i * LEAF_PASIDS, reason, reason ? 0 : le64_get(raw[i - index]));
}

/*
 * Behind the end of the directory: one PASID that is still attached, if there is any. From
 * the last one down, so that nothing has to move up, here and on the host.
 */
static void scan_rest(struct vtd_unit *u, struct vtd_device *d) REQUIRES(u->cmd_lock)
{
	size_t i = lower_bound(d, d->scan.rest);

	if (!i || d->pasids[i - 1]->at.pasid < d->scan.next) {
		stop(d);
		return;
	}
	d->scan.rest = d->pasids[i - 1]->at.pasid;
	block_range(u, d, d->scan.rest, d->scan.rest + 1);
}

bool vtd_scan(struct vtd_unit *u)
{
	struct vtd_device *d;

	if (!vtd_finish_plain(u))
		return false;
	for (d = u->busy; d; d = d->next_busy)
		if (d->scan.pending && !d->scan.begun)
			begin(u, d);
	while (u->busy) {
		d = u->busy;
		while (d->scan.pending) {
			if (attach_work_is_spent(&u->attach))
				return false;
			if (d->scan.next < d->scan.dir.pasids)
				scan_directory(u, d);
			else
				scan_rest(u, d);
		}
		vtd_scan_forget(u, d);
	}
	return true;
}
