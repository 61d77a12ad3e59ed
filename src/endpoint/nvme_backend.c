// SPDX-License-Identifier: BSD-3-Clause
/* See nvme_backend.h: pread, pwrite, fdatasync and fallocate, each restarted until done. */
#include "endpoint/nvme_backend.h"

#include "endpoint/endpoint_options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_failed(int err, const char *path, bool readonly, char **err_text)
{
	switch (err) {
	case ENOENT:
		return endpoint_fail(err_text, -err,
				     "The disk file \"%s\" does not exist; create it first, "
				     "for instance with truncate -s 1G.",
				     path);
	case EISDIR:
		return endpoint_fail(err_text, -err,
				     "The disk file \"%s\" is a directory; a regular file is "
				     "needed.",
				     path);
	case EACCES:
	case EPERM:
	case EROFS:
		if (!readonly)
			return endpoint_fail(err_text, -err,
					     "The disk file \"%s\" cannot be written (%s); make it "
					     "writable or add readonly=on.",
					     path, strerror(err));
	}
	return endpoint_fail(err_text, -err, "The disk file \"%s\" cannot be opened: %s.", path,
			     strerror(err));
}

/* root may open a file for writing whose mode forbids it to everybody: the owner meant that. */
static bool is_write_protected(const struct stat *st)
{
	return !(st->st_mode & (S_IWUSR | S_IWGRP | S_IWOTH));
}

static int check_file(struct nvme_backend *disk, const char *path, uint64_t block_bytes,
		      char **err_text)
{
	struct stat st;

	if (fstat(disk->fd, &st))
		return endpoint_fail(err_text, -errno, "The disk file \"%s\" cannot be read: %s.",
				     path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return open_failed(EISDIR, path, disk->readonly, err_text);
	if (!S_ISREG(st.st_mode))
		return endpoint_fail(err_text, -EINVAL,
				     "The disk file \"%s\" is not a regular file.", path);
	if (!disk->readonly && is_write_protected(&st))
		return open_failed(EACCES, path, false, err_text);
	if (st.st_size <= 0 || (uint64_t)st.st_size % block_bytes)
		return endpoint_fail(err_text, -EINVAL,
				     "The disk file \"%s\" has %lld bytes; its size must be a "
				     "positive multiple of %llu.",
				     path, (long long)st.st_size, (unsigned long long)block_bytes);
	disk->size_bytes = (uint64_t)st.st_size;
	disk->identity = (uint64_t)st.st_dev * 0x9e3779b97f4a7c15 + (uint64_t)st.st_ino;
	return 0;
}

/* Readers may share. The lock belongs to the open file, so it ends with this process. */
int nvme_backend_lock(struct nvme_backend *disk)
{
	if (atomic_load(&disk->locked))
		return 0;
	if (flock(disk->fd, (disk->readonly ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	atomic_store(&disk->locked, true);
	return 0;
}

void nvme_backend_unlock(struct nvme_backend *disk)
{
	atomic_store(&disk->locked, false);
	flock(disk->fd, LOCK_UN);
}

static int lock_file(struct nvme_backend *disk, const char *path, char **err_text)
{
	int err = nvme_backend_lock(disk);

	if (err == -EBUSY)
		return endpoint_fail(err_text, -EBUSY,
				     "The disk file \"%s\" is in use: another process or device "
				     "has it locked.",
				     path);
	if (err)
		return endpoint_fail(err_text, err, "The disk file \"%s\" cannot be locked: %s.",
				     path, strerror(-err));
	return 0;
}

int nvme_backend_open(struct nvme_backend *disk, const char *path, bool readonly, bool incoming,
		      uint64_t block_bytes, char **err_text)
{
	int err;

	disk->readonly = readonly;
	atomic_init(&disk->locked, false);
	/* O_NONBLOCK: opening a FIFO by mistake must not hang. A regular file ignores it. */
	disk->fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (disk->fd < 0)
		return open_failed(errno, path, readonly, err_text);
	err = check_file(disk, path, block_bytes, err_text);
	if (!err && !incoming)
		err = lock_file(disk, path, err_text);
	if (err)
		nvme_backend_close(disk);
	return err;
}

void nvme_backend_close(struct nvme_backend *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
}

int nvme_backend_read(const struct nvme_backend *disk, void *buf, size_t size, uint64_t offset)
{
	char *to = buf;

	while (size) {
		ssize_t n = pread(disk->fd, to, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		to += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int nvme_backend_write(const struct nvme_backend *disk, const void *buf, size_t size,
		       uint64_t offset)
{
	const char *from = buf;

	while (size) {
		ssize_t n = pwrite(disk->fd, from, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int nvme_backend_flush(const struct nvme_backend *disk)
{
	if (disk->readonly)
		return 0;
	while (fdatasync(disk->fd))
		if (errno != EINTR)
			return -errno;
	return 0;
}

int nvme_backend_zero(const struct nvme_backend *disk, uint64_t offset, uint64_t size,
		      bool deallocate)
{
	int mode = deallocate ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

	if (!size)
		return 0;
	while (fallocate(disk->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size))
		if (errno != EINTR)
			return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	return 0;
}
