// SPDX-License-Identifier: BSD-3-Clause
/*
 * An I/O address space: which addresses there are. Areas (what is mapped) are in
 * ioas_map.c; here are the ranges that may not be mapped - the aperture of each
 * domain, the interrupt window of each attached device -, the ranges the caller wants
 * addresses to be chosen from, and the options.
 *
 * Semantics: Linux 7.2 drivers/iommu/iommufd/{ioas,io_pagetable}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/access.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

struct soft_ioas *soft_ioas_find(struct soft_ctx *ctx, uint32_t id)
{
	struct soft_object *obj = soft_object_find(ctx, id, SOFT_IOAS);

	return obj ? container_of(obj, struct soft_ioas, obj) : NULL;
}

int soft_ioas_alloc(struct soft_ctx *ctx, struct soft_ioas **out)
{
	struct soft_ioas *ioas = soft_object_reserve(ctx, sizeof(*ioas), SOFT_IOAS);

	if (!ioas)
		return -ENOMEM;
	range_map_init(&ioas->areas);
	range_map_init(&ioas->allowed);
	ioas->alignment = 1;
	*out = ioas;
	return 0;
}

int soft_ioas_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_alloc *cmd = ucmd->cmd;
	struct soft_ioas *ioas;
	int err;

	if (cmd->flags)
		return -EOPNOTSUPP;
	err = soft_ioas_alloc(ctx, &ioas);
	if (err)
		return err;
	cmd->out_ioas_id = ioas->obj.id;
	err = soft_ucmd_respond(ucmd);
	if (err)
		soft_object_abort(ctx, &ioas->obj);
	else
		soft_object_finalize(ctx, &ioas->obj);
	return err;
}

void soft_ioas_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_ioas *ioas = container_of(obj, struct soft_ioas, obj);
	uint64_t unmapped;

	if (soft_ioas_unmap(ctx, ioas, 0, UINT64_MAX, &unmapped))
		log_debug(ctx->file.host->log, "IOAS was empty");
	if (ctx->compat_ioas == ioas)
		ctx->compat_ioas = NULL;
	range_map_fini(&ioas->areas);
	range_map_fini(&ioas->allowed);
	free(ioas->reserved);
	free(ioas);
}

/* --- reserved intervals -------------------------------------------------------------- */

static bool range_map_hits(const struct range_map *map, uint64_t start, uint64_t last)
{
	size_t i = range_map_lower_bound(map, start);

	return i < map->count && map->ranges[i].start <= last;
}

bool soft_ioas_is_reserved(const struct soft_ioas *ioas, uint64_t start, uint64_t last)
{
	for (size_t i = 0; i < ioas->num_reserved; i++)
		if (ioas->reserved[i].start <= last && ioas->reserved[i].last >= start)
			return true;
	return false;
}

bool soft_ioas_is_reserved_by(const struct soft_ioas *ioas, const void *owner)
{
	for (size_t i = 0; i < ioas->num_reserved; i++)
		if (ioas->reserved[i].owner == owner)
			return true;
	return false;
}

int soft_ioas_reserve(struct soft_ioas *ioas, uint64_t start, uint64_t last, const void *owner)
{
	if (range_map_hits(&ioas->areas, start, last) ||
	    range_map_hits(&ioas->allowed, start, last))
		return -EADDRINUSE;
	if (ioas->num_reserved == ioas->max_reserved) {
		size_t max = ioas->max_reserved ? 2 * ioas->max_reserved : 8;
		void *grown = alloc_resize(ioas->reserved, max, sizeof(*ioas->reserved));

		if (!grown)
			return -ENOMEM;
		ioas->reserved = grown;
		ioas->max_reserved = max;
	}
	ioas->reserved[ioas->num_reserved++] = (struct soft_interval){ start, last, owner };
	return 0;
}

void soft_ioas_unreserve(struct soft_ioas *ioas, const void *owner)
{
	size_t kept = 0;

	for (size_t i = 0; i < ioas->num_reserved; i++)
		if (ioas->reserved[i].owner != owner)
			ioas->reserved[kept++] = ioas->reserved[i];
	ioas->num_reserved = kept;
}

/* The last address of what covers @at, or false if it is free; then *@next gets where
 * the next used range begins (unchanged if that is later). */
static bool is_used(const struct soft_ioas *ioas, bool areas, uint64_t at, uint64_t *end,
		    uint64_t *next)
{
	for (size_t i = 0; i < ioas->num_reserved; i++) {
		const struct soft_interval *r = &ioas->reserved[i];

		if (r->start <= at && at <= r->last) {
			*end = r->last;
			return true;
		}
		if (r->start > at && r->start < *next)
			*next = r->start;
	}
	if (areas) {
		size_t i = range_map_lower_bound(&ioas->areas, at);
		const struct mem_range *r;

		if (i == ioas->areas.count)
			return false;
		r = &ioas->areas.ranges[i];
		if (r->start <= at) {
			*end = r->last;
			return true;
		}
		*next = MIN(*next, r->start);
	}
	return false;
}

bool soft_ioas_next_hole(const struct soft_ioas *ioas, bool without_areas, uint64_t from,
			 uint64_t last, struct soft_interval *hole)
{
	uint64_t end, next = UINT64_MAX;

	if (from > last)
		return false;
	while (is_used(ioas, without_areas, from, &end, &next)) {
		if (end >= last)
			return false;
		from = end + 1;
		next = UINT64_MAX;
	}
	*hole = (struct soft_interval){ .start = from,
					.last = next == UINT64_MAX ? last : MIN(last, next - 1) };
	return true;
}

int soft_ioas_ranges_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_ioas_iova_ranges *cmd = ucmd->cmd;
	struct soft_ioas *ioas;
	struct soft_interval hole;
	uint32_t room = cmd->num_iovas, count = 0;
	uint64_t from = 0;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = soft_ioas_find(ctx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	while (soft_ioas_next_hole(ioas, false, from, UINT64_MAX, &hole)) {
		struct iommu_iova_range range = { .start = hole.start, .last = hole.last };

		if (count < room &&
		    soft_copy_to_user(soft_user_ptr(cmd->allowed_iovas + count * sizeof(range)),
				      &range, sizeof(range)))
			return -EFAULT;
		count++;
		if (hole.last == UINT64_MAX)
			break;
		from = hole.last + 1;
	}
	cmd->num_iovas = count;
	cmd->out_iova_alignment = ioas->alignment;
	err = soft_ucmd_respond(ucmd);
	if (err)
		return err;
	return count > room ? -EMSGSIZE : 0;
}

static int read_allowed(uint64_t user, uint32_t count, struct range_map *out)
{
	for (uint32_t i = 0; i < count; i++) {
		struct iommu_iova_range range;
		struct mem_range entry = { 0 };
		int err;

		if (soft_copy_from_user(&range, soft_user_ptr(user + i * sizeof(range)),
					sizeof(range)))
			return -EFAULT;
		if (range.start >= range.last)
			return -EINVAL;
		entry.start = range.start;
		entry.last = range.last;
		err = range_map_insert(out, &entry);
		if (err)
			return err == -EEXIST ? -EINVAL : err;
	}
	return 0;
}

int soft_ioas_allow_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_ioas_allow_iovas *cmd = ucmd->cmd;
	CLEANUP(range_map_fini) struct range_map allowed = { 0 };
	struct soft_ioas *ioas;
	struct range_map old;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = soft_ioas_find(ctx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	err = read_allowed(cmd->allowed_iovas, cmd->num_iovas, &allowed);
	if (err)
		return err;
	for (size_t i = 0; i < allowed.count; i++)
		if (soft_ioas_is_reserved(ioas, allowed.ranges[i].start, allowed.ranges[i].last))
			return -EADDRINUSE;
	old = ioas->allowed;
	ioas->allowed = allowed;
	allowed = old;
	return 0;
}

/* --- alignment ------------------------------------------------------------------------ */

bool soft_ioas_areas_fit(const struct soft_ioas *ioas, uint64_t alignment)
{
	for (size_t i = 0; i < ioas->areas.count; i++) {
		const struct mem_range *r = &ioas->areas.ranges[i];

		if (!IS_ALIGNED(r->start | (r->last + 1) | r->hva.v, alignment))
			return false;
	}
	return true;
}

void soft_ioas_relax_alignment(struct soft_ioas *ioas)
{
	uint64_t alignment = ioas->no_huge_pages ? PAGE_SIZE_4K : 1;

	for (const struct soft_hwpt_paging *d = ioas->domains; d; d = d->next_domain)
		alignment = MAX(alignment, d->page_sizes & -d->page_sizes);
	for (const struct soft_access *a = ioas->accesses; a; a = a->next)
		if (a->pins_pages)
			alignment = PAGE_SIZE_4K;
	ioas->alignment = alignment;
}

/* --- options -------------------------------------------------------------------------- */

static bool has_sys_resource(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !syscall(SYS_capget, &header, data) &&
	       (data[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE));
}

static int option_rlimit_mode(struct soft_ctx *ctx, struct iommu_option *cmd) REQUIRES(&ctx->lock)
{
	if (cmd->object_id)
		return -EOPNOTSUPP;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = ctx->account_to_process;
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (!has_sys_resource())
		return -EPERM;
	if (!soft_ctx_is_empty(ctx))
		return -EBUSY;
	if (cmd->val64 > 1)
		return -EINVAL;
	ctx->account_to_process = cmd->val64;
	return 0;
}

int soft_ioas_disable_huge_pages(struct soft_ioas *ioas)
{
	if (ioas->no_huge_pages)
		return 0;
	if (ioas->domains && ioas->areas.count)
		return -EINVAL;
	if (!soft_ioas_areas_fit(ioas, PAGE_SIZE_4K))
		return -EADDRINUSE;
	ioas->no_huge_pages = true;
	ioas->alignment = PAGE_SIZE_4K;
	return 0;
}

static int option_huge_pages(struct soft_ctx *ctx, struct iommu_option *cmd) REQUIRES(&ctx->lock)
{
	struct soft_ioas *ioas = soft_ioas_find(ctx, cmd->object_id);

	if (!ioas)
		return -ENOENT;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = !ioas->no_huge_pages;
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (cmd->val64 == 0)
		return soft_ioas_disable_huge_pages(ioas);
	if (cmd->val64 != 1)
		return -EINVAL;
	ioas->no_huge_pages = false;
	soft_ioas_relax_alignment(ioas);
	return 0;
}

int soft_option_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	struct iommu_option *cmd = ucmd->cmd;
	int err;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->option_id) {
	case IOMMU_OPTION_RLIMIT_MODE:
		err = option_rlimit_mode(ctx, cmd);
		break;
	case IOMMU_OPTION_HUGE_PAGES:
		err = option_huge_pages(ctx, cmd);
		break;
	default:
		return -EOPNOTSUPP;
	}
	return err ? err : soft_ucmd_respond(ucmd);
}

/* Nothing is accounted here, so only the rule which address spaces may move is left. */
int soft_change_process_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct iommu_ioas_change_process *cmd = ucmd->cmd;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	for (uint32_t id = 1; id <= ctx->num_slots; id++) {
		struct soft_ioas *ioas = soft_ioas_find(ctx, id);

		for (size_t i = 0; ioas && i < ioas->areas.count; i++)
			if (!((struct soft_pages *)ioas->areas.ranges[i].owner)->is_file)
				return -EINVAL;
	}
	return 0;
}
