// SPDX-License-Identifier: BSD-3-Clause
/*
 * IOMMU_TEST_CMD: mock devices and what happens to them. See mock.h.
 *
 * A mock device is made bound and attached, and goes with its SELFTEST object.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/hwpt.h"
#include "host/soft/fault.h"
#include "host/soft/attach.h"
#include "host/soft/vfio/device.h"
#include "host/soft/dmabuf.h"
#include "host/soft/selftest/mock.h"
#include "host/soft/viommu.h"

#include <errno.h>

/* The kernel's buffers hold at least one run of pages: its length and its first page. */
#define MIN_MEMORY_LIMIT (sizeof(uint64_t) + sizeof(uint32_t))
#define MAX_DIRTY_BITS (8ULL * (16 << 20))

struct soft_selftest {
	struct soft_object obj;
	struct soft_device *dev;
	struct soft_bound *bound;
};

static struct soft_selftest *find_selftest(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock)
{
	struct soft_object *obj = soft_object_find(ctx, id, SOFT_SELFTEST);

	return obj ? container_of(obj, struct soft_selftest, obj) : NULL;
}

/* --- devices ------------------------------------------------------------------------------ */

void soft_selftest_destroy(struct soft_ctx *ctx, struct soft_object *obj)
{
	struct soft_selftest *selftest = container_of(obj, struct soft_selftest, obj);

	soft_bound_destroy_locked(ctx, selftest->bound);
	soft_device_destroy(selftest->dev);
	free(selftest);
}

/* Bound and attached to *@pt_id, which becomes the HWPT. Undoes itself on failure. */
static int make_device(struct soft_ctx *ctx, uint32_t flags, struct soft_selftest *selftest,
		       uint32_t *pt_id) REQUIRES(&ctx->lock)
{
	static const struct soft_change attach = { .pasid = SOFT_RID_PASID };
	int err = mock_device_create(ctx->file.host, flags, &selftest->dev);

	if (err)
		return err;
	err = soft_bound_create_locked(ctx, selftest->dev, &selftest->bound);
	if (!err) {
		err = soft_bound_change_locked(ctx, selftest->bound, &attach, pt_id);
		if (err)
			soft_bound_destroy_locked(ctx, selftest->bound);
	}
	if (err)
		soft_device_destroy(selftest->dev);
	return err;
}

static int test_mock_domain(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	struct selftest_cmd *cmd = ucmd->cmd;
	bool has_flags = cmd->op == SELFTEST_MOCK_DOMAIN_FLAGS;
	struct soft_selftest *selftest;
	uint32_t pt_id = cmd->id;
	int err;

	selftest = soft_object_reserve(ctx, sizeof(*selftest), SOFT_SELFTEST);
	if (!selftest)
		return -ENOMEM;
	err = make_device(ctx, has_flags ? cmd->mock_domain.dev_flags : 0, selftest, &pt_id);
	if (err) {
		soft_object_abort(ctx, &selftest->obj);
		return err;
	}
	cmd->mock_domain.out_stdev_id = selftest->obj.id;
	cmd->mock_domain.out_idev_id = selftest->bound->obj.id;
	cmd->mock_domain.out_hwpt_id = pt_id;
	soft_object_finalize(ctx, &selftest->obj);
	err = soft_ucmd_respond(ucmd);
	if (err)
		soft_object_remove(ctx, &selftest->obj);
	return err;
}

/* Attach or replace, and say to which HWPT at *@pt_id, a part of the command. */
static int change(struct soft_ctx *ctx, struct soft_ucmd *ucmd, const struct soft_change *how,
		  uint32_t *pt_id) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_selftest *selftest = find_selftest(ctx, cmd->id);
	int err;

	if (!selftest)
		return -ENOENT;
	err = soft_bound_change_locked(ctx, selftest->bound, how, pt_id);
	if (err)
		return err;
	err = soft_ucmd_respond(ucmd);
	if (err && !how->replace)
		soft_bound_detach_locked(ctx, selftest->bound, how->pasid, false);
	return err;
}

static int test_replace(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	static const struct soft_change how = { .pasid = SOFT_RID_PASID, .replace = true };
	struct selftest_cmd *cmd = ucmd->cmd;

	return change(ctx, ucmd, &how, &cmd->replace.pt_id);
}

static int test_pasid_change(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_change how = { .pasid = cmd->pasid.pasid,
				   .replace = cmd->op == SELFTEST_PASID_REPLACE };

	return change(ctx, ucmd, &how, &cmd->pasid.pt_id);
}

static int test_pasid_detach(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_selftest *selftest = find_selftest(ctx, cmd->id);

	if (!selftest)
		return -ENOENT;
	soft_bound_detach_locked(ctx, selftest->bound, cmd->pasid.pasid, false);
	return 0;
}

/* Is the PASID attached to the HWPT; with id 0, to none? */
static int test_pasid_check(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_selftest *selftest = find_selftest(ctx, cmd->id);
	const struct soft_hwpt *attached, *hwpt;
	struct soft_object *pt;

	if (!selftest)
		return -ENOENT;
	attached = soft_bound_hwpt(selftest->bound, cmd->pasid.pasid);
	if (!cmd->pasid.pt_id)
		return attached ? -EINVAL : 0;
	pt = soft_object_find(ctx, cmd->pasid.pt_id, SOFT_ANY);
	if (!pt)
		return -ENOENT;
	hwpt = soft_object_to_hwpt(pt);
	return hwpt && hwpt == attached ? 0 : -EINVAL;
}

/* --- addresses, caches -------------------------------------------------------------------- */

static int test_add_reserved(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	uint64_t start = cmd->add_reserved.start, length = cmd->add_reserved.length;
	struct soft_ioas *ioas;

	if (!length)
		return -EINVAL;
	if (range_overflows(start, length))
		return -EOVERFLOW;
	ioas = soft_ioas_find(ctx, cmd->id);
	if (!ioas)
		return -ENOENT;
	return soft_ioas_reserve(ioas, start, start + (length - 1), NULL);
}

static int test_check_iotlb(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_object *obj = soft_object_find(ctx, cmd->id, SOFT_HWPT_NESTED);
	const struct soft_hwpt_nested *nested;

	if (!obj)
		return -ENOENT;
	nested = container_of(obj, struct soft_hwpt_nested, hwpt.obj);
	if (cmd->check_iotlb.index >= SELFTEST_CACHE_ENTRIES ||
	    nested->selftest_iotlb[cmd->check_iotlb.index] != cmd->check_iotlb.value)
		return -EINVAL;
	return 0;
}

static int test_check_cache(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_device *dev = soft_device_find(ctx, cmd->id);

	if (!dev)
		return -ENOENT;
	if (cmd->check_cache.index >= SELFTEST_CACHE_ENTRIES ||
	    to_mock_device(dev)->cache[cmd->check_cache.index] != cmd->check_cache.value)
		return -EINVAL;
	return 0;
}

/* How much memory the kernel may use for lists of pages. We make none. */
static int test_memory_limit(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;

	return cmd->memory_limit.limit < MIN_MEMORY_LIMIT ? -EINVAL : 0;
}

/* --- dirty bits --------------------------------------------------------------------------- */

/* A leaf entry has one bit: with huge pages, all of the page that holds @iova. */
static void mark_dirty(const struct soft_hwpt_paging *paging, uint64_t iova)
{
	uint64_t step = BIT64(paging->dirty.page_lg2), left;
	uint64_t block = ALIGN_DOWN(iova, SELFTEST_HUGE_PAGE_SIZE);
	const struct mem_range *area = range_map_find(&paging->ioas->areas, iova, &left);

	if (!area || step == SELFTEST_PAGE_SIZE || block < area->start ||
	    area->last - block < SELFTEST_HUGE_PAGE_SIZE - 1) {
		dirty_map_mark(&paging->dirty, iova);
		return;
	}
	for (uint64_t at = block; at < block + SELFTEST_HUGE_PAGE_SIZE; at += step)
		dirty_map_mark(&paging->dirty, at);
}

static int check_dirty_args(const struct selftest_cmd *cmd)
{
	uint64_t page_size = cmd->dirty.page_size;

	if (!page_size || !cmd->dirty.length || cmd->dirty.iova % page_size ||
	    cmd->dirty.length % page_size || !cmd->dirty.uptr)
		return -EINVAL;
	return cmd->dirty.length / page_size > MAX_DIRTY_BITS ? -EOVERFLOW : 0;
}

static int test_dirty(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	struct selftest_cmd *cmd = ucmd->cmd;
	CLEANUP(free_ptr) uint8_t *bitmap = NULL;
	const struct soft_hwpt_paging *paging;
	struct soft_object *obj;
	uint64_t count = 0, bits;
	int err = check_dirty_args(cmd);

	if (err)
		return err;
	obj = soft_object_find(ctx, cmd->id, SOFT_HWPT_PAGING);
	if (!obj)
		return -ENOENT;
	paging = container_of(obj, struct soft_hwpt_paging, hwpt.obj);
	if (!paging->dirty_tracking || !paging->dirty.enabled)
		return -EINVAL;
	bits = cmd->dirty.length / cmd->dirty.page_size;
	bitmap = alloc_array((bits + 7) / 8, 1);
	if (!bitmap)
		return -ENOMEM;
	if (soft_copy_from_user(bitmap, soft_user_ptr(cmd->dirty.uptr), (bits + 7) / 8))
		return -EFAULT;
	for (uint64_t i = 0; i < bits; i++) {
		if (!(bitmap[i / 8] & 1 << i % 8))
			continue;
		mark_dirty(paging, cmd->dirty.iova + i * cmd->dirty.page_size);
		count++;
	}
	cmd->dirty.out_num_dirty = count;
	return soft_ucmd_respond(ucmd);
}

/* --- events ------------------------------------------------------------------------------- */

static void ignore_response(void *opaque, uint32_t code)
{
}

static int test_trigger_iopf(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_device *dev = soft_device_find(ctx, cmd->trigger_iopf.dev_id);
	uint32_t pasid = cmd->trigger_iopf.pasid;
	struct soft_page_request req = {
		.pasid = pasid == SOFT_RID_PASID ? NST_NO_PASID : pasid,
		.group = cmd->trigger_iopf.group,
		.perm = cmd->trigger_iopf.perm,
		.addr = cmd->trigger_iopf.addr,
		.last = true,
	};

	if (!dev)
		return -ENOENT;
	soft_report_page_request(dev, &req, ignore_response, NULL);
	return 0;
}

static int test_trigger_vevent(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_device *dev = soft_device_find(ctx, cmd->trigger_vevent.dev_id);
	struct selftest_vevent event;
	struct mock_device *mock;
	int err;

	if (!dev)
		return -ENOENT;
	mock = to_mock_device(dev);
	if (!mock->viommu || !mock->vdev_id)
		return -ENOENT;
	event.virt_id = (uint32_t)mock->vdev_id;
	mutex_lock(&ctx->file.host->fault_lock);
	err = soft_viommu_report_event(mock->viommu, SELFTEST_VEVENTQ_TYPE, &event, sizeof(event));
	mutex_unlock(&ctx->file.host->fault_lock);
	return err;
}

/* --- dma-bufs ----------------------------------------------------------------------------- */

static int test_dmabuf_get(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;

	return soft_dmabuf_create(ctx->file.host, cmd->dmabuf_get.length,
				  (int)cmd->dmabuf_get.open_flags, &ucmd->put_after);
}

static int test_dmabuf_revoke(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	int err = soft_dmabuf_revoke(ctx->file.host, cmd->dmabuf_revoke.fd,
				     cmd->dmabuf_revoke.revoked);

	return err == -ENOTTY ? -EINVAL : err;
}

/* --- the ioctl ---------------------------------------------------------------------------- */

static int test_check_map(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	return mock_check_map(ctx, ucmd->cmd);
}

static int test_check_refs(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock)
{
	return mock_check_refs(ctx, ucmd->cmd);
}

static soft_ioctl_fn *const operations[] = {
	[SELFTEST_ADD_RESERVED] = test_add_reserved,
	[SELFTEST_MOCK_DOMAIN] = test_mock_domain,
	[SELFTEST_CHECK_MAP] = test_check_map,
	[SELFTEST_CHECK_REFS] = test_check_refs,
	[SELFTEST_CREATE_ACCESS] = mock_create_access,
	[SELFTEST_DESTROY_ACCESS_PAGES] = mock_destroy_access_pages,
	[SELFTEST_ACCESS_PAGES] = mock_access_pages,
	[SELFTEST_ACCESS_RW] = mock_access_rw,
	[SELFTEST_SET_MEMORY_LIMIT] = test_memory_limit,
	[SELFTEST_MOCK_DOMAIN_REPLACE] = test_replace,
	[SELFTEST_ACCESS_REPLACE_IOAS] = mock_access_replace_ioas,
	[SELFTEST_MOCK_DOMAIN_FLAGS] = test_mock_domain,
	[SELFTEST_DIRTY] = test_dirty,
	[SELFTEST_CHECK_IOTLB] = test_check_iotlb,
	[SELFTEST_TRIGGER_IOPF] = test_trigger_iopf,
	[SELFTEST_CHECK_CACHE] = test_check_cache,
	[SELFTEST_TRIGGER_VEVENT] = test_trigger_vevent,
	[SELFTEST_PASID_ATTACH] = test_pasid_change,
	[SELFTEST_PASID_REPLACE] = test_pasid_change,
	[SELFTEST_PASID_DETACH] = test_pasid_detach,
	[SELFTEST_PASID_CHECK_HWPT] = test_pasid_check,
	[SELFTEST_DMABUF_GET] = test_dmabuf_get,
	[SELFTEST_DMABUF_REVOKE] = test_dmabuf_revoke,
};

int mock_test_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;

	if (cmd->op >= ARRAY_SIZE(operations) || !operations[cmd->op])
		return -EOPNOTSUPP;
	return operations[cmd->op](ctx, ucmd);
}
