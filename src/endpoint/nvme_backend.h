/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The plain file behind a namespace. Data is durable after nvme_backend_flush();
 * nothing is cached in this process, so killing it loses only what the host's
 * kernel loses. The file is locked against a second user as long as it is open, but for
 * the time of a migration: the source unlocks it when it has saved its state, and the
 * destination, which opened it without, locks it when it begins to run.
 */
#ifndef ENDPOINT_NVME_BACKEND_H
#define ENDPOINT_NVME_BACKEND_H

#include <nestor/types.h>
#include <stdatomic.h>
#include <stdbool.h>

struct nvme_backend {
	int fd;
	atomic_bool locked;
	uint64_t size_bytes;
	uint64_t identity; /* differs between files of one machine */
	bool readonly;
};

/*
 * Errors: -ENOENT, -EACCES, -EROFS, -EISDIR, ... of open(2); -EINVAL not a regular file or
 * a size that is no positive multiple of @block_bytes; -EBUSY locked by somebody else (not
 * if @incoming, which leaves the file unlocked).
 */
NST_MUST_CHECK int nvme_backend_open(struct nvme_backend *disk, const char *path, bool readonly,
				     bool incoming, uint64_t block_bytes, char **err_text);
void nvme_backend_close(struct nvme_backend *disk);

/* 0 also if we have the lock already; -EBUSY: somebody else has it. Any thread. */
NST_MUST_CHECK int nvme_backend_lock(struct nvme_backend *disk);
void nvme_backend_unlock(struct nvme_backend *disk);

/* The caller has checked the range against size_bytes. 0 or a negative errno, -EIO also for a
 * file that has become shorter. */
NST_MUST_CHECK int nvme_backend_read(const struct nvme_backend *disk, void *buf, size_t size,
				     uint64_t offset);
NST_MUST_CHECK int nvme_backend_write(const struct nvme_backend *disk, const void *buf, size_t size,
				      uint64_t offset);
NST_MUST_CHECK int nvme_backend_flush(const struct nvme_backend *disk);

/* Make a range read as zeroes, giving its space back if @deallocate. -EOPNOTSUPP: the file
 * system cannot; write zeroes instead, or leave a deallocation be. */
NST_MUST_CHECK int nvme_backend_zero(const struct nvme_backend *disk, uint64_t offset,
				     uint64_t size, bool deallocate);

#endif
