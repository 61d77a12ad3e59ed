// SPDX-License-Identifier: BSD-3-Clause
/*
 * Accesses of IOMMU_TEST_CMD: each is a descriptor that holds an ACCESS (access.h) and its
 * context. What it has pinned, it unpins when it is asked to. See mock.h.
 */
#include "host/soft/soft.h"
#include "host/soft/ioas.h"
#include "host/soft/access.h"
#include "host/soft/selftest/mock.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_BYTES (16ULL << 20)

struct access_file {
	struct soft_file file;
	struct soft_ctx *ctx; /* held */
	struct soft_access *access;
	uint32_t next_id; /* of what it pins; by ctx.lock */
};

static struct access_file *to_access_file(struct soft_file *file)
{
	return container_of(file, struct access_file, file);
}

/* --- the descriptor ------------------------------------------------------------------------ */

static int access_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	return -ENOTTY;
}

static ssize_t access_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

static ssize_t access_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset)
{
	return -EINVAL;
}

static void *access_mmap(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
			 int *err)
{
	*err = -ENODEV;
	return NULL;
}

static struct soft_ctx *access_context(struct soft_file *file)
{
	return to_access_file(file)->ctx;
}

static void access_release(struct soft_file *file)
{
	struct access_file *afile = to_access_file(file);
	struct soft_ctx *ctx = afile->ctx;

	mutex_lock(&ctx->lock);
	soft_access_destroy(ctx, afile->access);
	mutex_unlock(&ctx->lock);
	free(afile);
	soft_file_put(&ctx->file);
}

static const struct soft_file_ops access_ops = {
	.context = access_context,
	.ioctl = access_ioctl,
	.pread = access_pread,
	.pwrite = access_pwrite,
	.mmap = access_mmap,
	.release = access_release,
};

/*
 * The access behind @fd, or NULL; its file stays until the ioctl is done. The kernel takes
 * one of another context too; we would need two locks.
 */
static struct access_file *find_access(struct soft_ctx *ctx, struct soft_ucmd *ucmd, uint32_t fd)
	REQUIRES(&ctx->lock)
{
	struct soft_file *file = soft_file_get_of(ctx->file.host, (int)fd, &access_ops);

	ucmd->put_after = file;
	return file && to_access_file(file)->ctx == ctx ? to_access_file(file) : NULL;
}

/* --- making one ---------------------------------------------------------------------------- */

static void unpin_range(struct soft_access *access, uint64_t start, uint64_t last)
{
	struct soft_pin *next;

	for (struct soft_pin *pin = access->pins; pin; pin = next) {
		next = pin->next;
		if (pin->start <= last && pin->last >= start)
			soft_access_unpin(access, pin);
	}
}

static int attach(struct soft_ctx *ctx, struct soft_access *access, uint32_t ioas_id)
	REQUIRES(&ctx->lock)
{
	struct soft_ioas *ioas = soft_ioas_find(ctx, ioas_id);

	return ioas ? soft_access_change_ioas(access, ioas) : -ENOENT;
}

/* Tell the caller, then let the number lead to @afile. */
static int publish(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct access_file *afile)
	REQUIRES(&ctx->lock)
{
	struct selftest_cmd *cmd = ucmd->cmd;
	int fd = eventfd(1, EFD_CLOEXEC), err;

	if (fd < 0)
		return -ENOMEM;
	cmd->create_access.out_fd = (uint32_t)fd;
	err = soft_ucmd_respond(ucmd);
	if (!err)
		err = soft_file_exchange(ctx->file.host, fd, &afile->file, &ucmd->put_after);
	if (err)
		close(fd);
	return err;
}

static int make_access(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct access_file *afile)
	REQUIRES(&ctx->lock)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	int err = soft_access_create(
		ctx, unpin_range, cmd->create_access.flags & SELFTEST_ACCESS_PINS, &afile->access);

	if (err)
		return err;
	err = attach(ctx, afile->access, cmd->id);
	if (!err) {
		atomic_fetch_add(&ctx->file.refs, 1);
		err = publish(ctx, ucmd, afile);
		if (err)
			atomic_fetch_sub(&ctx->file.refs, 1);
	}
	if (err)
		soft_access_destroy(ctx, afile->access);
	return err;
}

int mock_create_access(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct access_file *afile;
	int err;

	if (cmd->create_access.flags & ~SELFTEST_ACCESS_PINS)
		return -EOPNOTSUPP;
	afile = alloc_object(struct access_file);
	if (!afile)
		return -ENOMEM;
	afile->file.ops = &access_ops;
	afile->file.host = ctx->file.host;
	atomic_init(&afile->file.refs, 1);
	afile->ctx = ctx;
	err = make_access(ctx, ucmd, afile);
	if (err)
		free(afile);
	return err;
}

int mock_access_replace_ioas(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct access_file *afile = find_access(ctx, ucmd, cmd->id);

	return afile ? attach(ctx, afile->access, cmd->access_replace_ioas.ioas_id) : -EBADFD;
}

/* --- pages ---------------------------------------------------------------------------------- */

/* For fuzzers, who never find a mapped address: the number of an area, and an offset in it. */
static uint64_t nth_iova(const struct soft_access *access, uint64_t encoded)
{
	const struct range_map *areas = &access->ioas->areas;
	uint64_t nth = encoded & UINT32_MAX;

	return nth < areas->count ? areas->ranges[nth].start + (encoded >> 32) : 0;
}

/* Are these the pages at @user, which are given by where @start would be in them? */
static int compare_pages(const struct soft_access *access, uint64_t start, uint64_t length,
			 uint64_t user)
{
	uint64_t at = ALIGN_DOWN(start, PAGE_SIZE_4K), end = ALIGN_UP(start + length, PAGE_SIZE_4K);

	for (user -= start - at; at < end; at += PAGE_SIZE_4K, user += PAGE_SIZE_4K) {
		uint64_t hva = soft_ioas_to_hva(access->ioas, MAX(at, start));
		int err = mock_is_same_memory(ALIGN_DOWN(hva, PAGE_SIZE_4K), user, PAGE_SIZE_4K);

		if (err)
			return err == -EINVAL ? -EBADE : err;
	}
	return 0;
}

static int pin_pages(struct soft_ctx *ctx, struct soft_ucmd *ucmd, struct access_file *afile,
		     uint64_t iova) REQUIRES(&ctx->lock)
{
	struct selftest_cmd *cmd = ucmd->cmd;
	struct soft_pin *pin;
	int err = soft_access_pin(afile->access, iova, cmd->access_pages.length,
				  cmd->access_pages.flags & SELFTEST_ACCESS_WRITE, &pin);

	if (err)
		return err;
	if (cmd->access_pages.uptr)
		err = compare_pages(afile->access, iova, cmd->access_pages.length,
				    cmd->access_pages.uptr);
	if (!err) {
		pin->id = afile->next_id++;
		cmd->access_pages.out_pages_id = pin->id;
		err = soft_ucmd_respond(ucmd);
	}
	if (err)
		soft_access_unpin(afile->access, pin);
	return err;
}

int mock_access_pages(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct access_file *afile;
	uint64_t iova = cmd->access_pages.iova;

	if (cmd->access_pages.length > MAX_BYTES)
		return -ENOMEM;
	if (cmd->access_pages.flags & ~(SELFTEST_ACCESS_WRITE | SELFTEST_ACCESS_NTH))
		return -EOPNOTSUPP;
	afile = find_access(ctx, ucmd, cmd->id);
	if (!afile)
		return -EBADFD;
	if (!afile->access->pins_pages)
		return -EOPNOTSUPP;
	if (cmd->access_pages.flags & SELFTEST_ACCESS_NTH)
		iova = nth_iova(afile->access, iova);
	return pin_pages(ctx, ucmd, afile, iova);
}

int mock_destroy_access_pages(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	struct access_file *afile = find_access(ctx, ucmd, cmd->id);
	struct soft_pin *pin;

	if (!afile)
		return -EBADFD;
	pin = afile->access->pins;
	while (pin && pin->id != cmd->destroy_access_pages.pages_id)
		pin = pin->next;
	if (!pin)
		return -ENOENT;
	soft_access_unpin(afile->access, pin);
	return 0;
}

/* --- reading and writing ---------------------------------------------------------------------- */

int mock_access_rw(struct soft_ctx *ctx, struct soft_ucmd *ucmd)
{
	const struct selftest_cmd *cmd = ucmd->cmd;
	bool write = cmd->access_rw.flags & SELFTEST_ACCESS_WRITE;
	void *user = soft_user_ptr(cmd->access_rw.uptr);
	uint64_t iova = cmd->access_rw.iova, length = cmd->access_rw.length;
	CLEANUP(free_ptr) void *buf = NULL;
	struct access_file *afile;
	int err;

	if (length > MAX_BYTES)
		return -ENOMEM;
	if (cmd->access_rw.flags &
	    ~(SELFTEST_ACCESS_WRITE | SELFTEST_ACCESS_SLOW | SELFTEST_ACCESS_NTH))
		return -EOPNOTSUPP;
	afile = find_access(ctx, ucmd, cmd->id);
	if (!afile)
		return -EBADFD;
	buf = alloc_array(length + 1, 1);
	if (!buf)
		return -ENOMEM;
	if (write && soft_copy_from_user(buf, user, length))
		return -EFAULT;
	if (cmd->access_rw.flags & SELFTEST_ACCESS_NTH)
		iova = nth_iova(afile->access, iova);
	err = soft_access_rw(afile->access, iova, buf, length, write);
	if (!err && !write)
		err = soft_copy_to_user(user, buf, length);
	return err;
}
