// SPDX-License-Identifier: BSD-3-Clause
/*
 * The data file of a migration: a stream (vfio_stream.c) that is read from the source's device
 * or written to the destination's.
 *
 * The source's has its first record from the start. The caller reads it in PRE_COPY and is
 * told ENOMSG when it has all; in STOP_COPY the second follows, and then the end. The
 * destination's takes both in any pieces and refuses a stream of another device with the
 * write that completes the first record. It is as large as this device's stream, so more
 * cannot be written. Either becomes useless when the device leaves these states.
 *
 * As in fault.c the caller's descriptor is an eventfd, which says to poll(2) what read()
 * would: readable unless the answer is ENOMSG.
 */
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct soft_migration_file {
	struct soft_file file;
	struct soft_device *dev;
	bool saving;
	size_t identity_end, stream_end; /* where the records end, constant */
	int fd; /* what the caller's number is going to be, until then ours */

	struct mutex lock; /* after the device's */
	bool disabled GUARDED_BY(lock);
	bool refused GUARDED_BY(lock); /* a stream that is not for this device */
	size_t have GUARDED_BY(lock);  /* bytes of the stream that are there */
	size_t at GUARDED_BY(lock);    /* of them: read by the caller */
	int event GUARDED_BY(lock);    /* our duplicate of the eventfd */
	bool readable GUARDED_BY(lock);
	uint8_t bytes[] GUARDED_BY(lock);
};

static struct soft_migration_file *to_migration_file(struct soft_file *file)
{
	return container_of(file, struct soft_migration_file, file);
}

static bool has_ended(const struct soft_migration_file *mfile) REQUIRES(&mfile->lock)
{
	return mfile->have == mfile->stream_end;
}

static void update_poll(struct soft_migration_file *mfile) REQUIRES(&mfile->lock)
{
	bool readable = mfile->saving &&
			(mfile->disabled || mfile->at < mfile->have || has_ended(mfile));
	eventfd_t value;

	if (readable == mfile->readable)
		return;
	mfile->readable = readable;
	/* it is ours alone, and neither full nor empty then */
	if (readable ? eventfd_write(mfile->event, 1) : eventfd_read(mfile->event, &value))
		log_debug(mfile->file.host->log, "soft: the eventfd of a migration is gone");
}

/* --- read and write ------------------------------------------------------------------------- */

static ssize_t read_locked(struct soft_migration_file *mfile, void *buf, size_t count)
	REQUIRES(&mfile->lock)
{
	size_t n = MIN(count, mfile->have - mfile->at);

	if (mfile->disabled)
		return -ENODEV;
	if (!n)
		return count && !has_ended(mfile) ? -ENOMSG : 0;
	if (soft_copy_to_user(buf, mfile->bytes + mfile->at, n))
		return -EFAULT;
	mfile->at += n;
	update_poll(mfile);
	return (ssize_t)n;
}

static ssize_t migration_read(struct soft_file *file, void *buf, size_t count, uint64_t offset)
{
	struct soft_migration_file *mfile = to_migration_file(file);
	ssize_t ret;

	if (!mfile->saving)
		return -EBADF; /* as a descriptor that is open for writing */
	mutex_lock(&mfile->lock);
	ret = read_locked(mfile, buf, count);
	mutex_unlock(&mfile->lock);
	return ret;
}

/* Once the first record is there: is it about a device like ours? */
static int check_identity(struct soft_migration_file *mfile) REQUIRES(&mfile->lock)
{
	const char *theirs = (const char *)mfile->bytes + SOFT_RECORD_HEADER_BYTES;
	struct endpoint *ep = mfile->dev->ep;
	char ours[ENDPOINT_IDENTITY_BYTES] = "";
	int err = soft_record_check(mfile->bytes, mfile->have, SOFT_RECORD_IDENTITY, sizeof(ours));

	if (err == -EAGAIN)
		return 0;
	ep->ops->migration->identity(ep, ours);
	if (!err && memcmp(theirs, ours, sizeof(ours))) {
		log_warn(mfile->file.host->log,
			 "soft: migration refused: the stream is of \"%.*s\", this is \"%s\"",
			 (int)strnlen(theirs, sizeof(ours)), theirs, ours);
		err = -EINVAL;
	} else if (err) {
		log_warn(mfile->file.host->log,
			 "soft: migration refused: this is no stream of our version");
	}
	mfile->refused |= err != 0;
	return err;
}

static ssize_t write_locked(struct soft_migration_file *mfile, const void *buf, size_t count)
	REQUIRES(&mfile->lock)
{
	bool is_identified = mfile->have >= mfile->identity_end;
	int err = 0;

	if (mfile->disabled)
		return -ENODEV;
	if (mfile->refused)
		return -EINVAL;
	if (count > mfile->stream_end - mfile->have) {
		mfile->refused = true;
		return -EINVAL;
	}
	if (soft_copy_from_user(mfile->bytes + mfile->have, buf, count))
		return -EFAULT;
	mfile->have += count;
	if (!is_identified)
		err = check_identity(mfile);
	return err ? err : (ssize_t)count;
}

static ssize_t migration_write(struct soft_file *file, const void *buf, size_t count,
			       uint64_t offset)
{
	struct soft_migration_file *mfile = to_migration_file(file);
	ssize_t ret;

	if (mfile->saving)
		return -EBADF;
	mutex_lock(&mfile->lock);
	ret = write_locked(mfile, buf, count);
	mutex_unlock(&mfile->lock);
	return ret;
}

/* --- VFIO_MIG_GET_PRECOPY_INFO ---------------------------------------------------------------- */

/* The device's part of the state changes until it stops, so none of it is sent before. */
static int get_precopy_info(struct soft_migration_file *mfile, void *arg)
{
	struct soft_device *dev = mfile->dev;
	struct vfio_precopy_info info;
	int err = 0;

	if (soft_copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info))
		return -EINVAL;
	mutex_lock(&dev->lock);
	/* without the second version of this call the flags are the caller's own */
	if (dev->migration->precopy_info_v2)
		info.flags = 0;
	mutex_unlock(&dev->lock);
	mutex_lock(&mfile->lock);
	if (mfile->disabled)
		err = -ENODEV;
	else if (has_ended(mfile))
		err = -EINVAL;
	info.initial_bytes = mfile->have - mfile->at;
	info.dirty_bytes = 0;
	mutex_unlock(&mfile->lock);
	return err ? err : soft_copy_to_user(arg, &info, sizeof(info));
}

static int migration_ioctl(struct soft_file *file, unsigned long request, void *arg)
{
	struct soft_migration_file *mfile = to_migration_file(file);

	if (!mfile->saving || request != VFIO_MIG_GET_PRECOPY_INFO)
		return -ENOTTY;
	return get_precopy_info(mfile, arg);
}

/* --- the descriptor --------------------------------------------------------------------------- */

static void *migration_mmap(struct soft_file *file, size_t length, int prot, int flags,
			    off_t offset, int *err)
{
	*err = -ENODEV;
	return NULL;
}

static struct soft_ctx *migration_context(struct soft_file *file)
{
	return NULL;
}

static void migration_release(struct soft_file *file)
{
	struct soft_migration_file *mfile = to_migration_file(file);

	if (mfile->fd >= 0)
		close(mfile->fd);
	mutex_lock(&mfile->lock);
	close(mfile->event);
	mutex_unlock(&mfile->lock);
	mutex_fini(&mfile->lock);
	free(mfile);
}

static const struct soft_file_ops migration_file_ops = {
	.is_stream = true,
	.ioctl = migration_ioctl,
	.context = migration_context,
	.pread = migration_read,
	.pwrite = migration_write,
	.mmap = migration_mmap,
	.release = migration_release,
};

static void put_identity(struct soft_migration_file *mfile) REQUIRES(&mfile->lock)
{
	struct endpoint *ep = mfile->dev->ep;

	ep->ops->migration->identity(ep, (char *)mfile->bytes + SOFT_RECORD_HEADER_BYTES);
	soft_record_seal(mfile->bytes, SOFT_RECORD_IDENTITY, ENDPOINT_IDENTITY_BYTES);
	mfile->have = mfile->identity_end;
}

int soft_migration_file_create(struct soft_device *dev, bool saving,
			       struct soft_migration_file **out)
{
	size_t identity_end = SOFT_RECORD_HEADER_BYTES + ENDPOINT_IDENTITY_BYTES;
	size_t state_size = dev->ep->ops->migration->state_size(dev->ep);
	size_t stream_end = identity_end + SOFT_RECORD_HEADER_BYTES + state_size;
	struct soft_migration_file *mfile = alloc_array(1, sizeof(*mfile) + stream_end);
	int fd = mfile ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	int event = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	int err = mfile ? -errno : -ENOMEM;

	if (event < 0) {
		if (fd >= 0)
			close(fd);
		free(mfile);
		return err;
	}
	mfile->file.ops = &migration_file_ops;
	mfile->file.host = dev->host;
	atomic_init(&mfile->file.refs, 1);
	mfile->dev = dev;
	mfile->saving = saving;
	mfile->identity_end = identity_end;
	mfile->stream_end = stream_end;
	mfile->fd = fd;
	mutex_init(&mfile->lock);
	mutex_lock(&mfile->lock);
	mfile->event = event;
	if (saving)
		put_identity(mfile);
	update_poll(mfile);
	mutex_unlock(&mfile->lock);
	*out = mfile;
	return 0;
}

struct soft_migration_file *soft_migration_file_hold(struct soft_migration_file *mfile)
{
	atomic_fetch_add(&mfile->file.refs, 1);
	return mfile;
}

void soft_migration_file_put(struct soft_migration_file *mfile)
{
	soft_file_put(&mfile->file);
}

void soft_migration_file_disable(struct soft_migration_file *mfile)
{
	mutex_lock(&mfile->lock);
	mfile->disabled = true;
	update_poll(mfile);
	mutex_unlock(&mfile->lock);
}

int soft_migration_file_fd(const struct soft_migration_file *mfile)
{
	return mfile->fd;
}

int soft_migration_file_install(struct soft_migration_file *mfile)
{
	int fd = mfile->fd, err;

	/* from then on anybody may close the number */
	mfile->fd = -1;
	err = soft_file_set(mfile->file.host, fd, &mfile->file);
	if (err)
		mfile->fd = fd;
	return err;
}

/* --- the device's side of the stream ------------------------------------------------------------
 */

int soft_migration_file_finish(struct soft_migration_file *mfile, struct soft_device *dev)
{
	uint8_t *record = mfile->bytes + mfile->identity_end;
	int err;

	mutex_lock(&mfile->lock);
	err = dev->ep->ops->migration->save(dev->ep, record + SOFT_RECORD_HEADER_BYTES);
	if (!err) {
		soft_record_seal(record, SOFT_RECORD_STATE,
				 dev->ep->ops->migration->state_size(dev->ep));
		mfile->have = mfile->stream_end;
		update_poll(mfile);
	}
	mutex_unlock(&mfile->lock);
	return err;
}

static int load_locked(struct soft_migration_file *mfile, struct soft_device *dev)
	REQUIRES(&dev->lock, &mfile->lock)
{
	const struct endpoint_migration_ops *ops = dev->ep->ops->migration;
	const uint8_t *record = mfile->bytes + mfile->identity_end;
	int err;

	if (mfile->refused || mfile->have < mfile->identity_end)
		return -EINVAL;
	err = soft_record_check(record, mfile->have - mfile->identity_end, SOFT_RECORD_STATE,
				ops->state_size(dev->ep));
	return err ? -EINVAL : ops->load(dev->ep, record + SOFT_RECORD_HEADER_BYTES);
}

int soft_migration_file_load(struct soft_migration_file *mfile, struct soft_device *dev)
{
	int err;

	mutex_lock(&mfile->lock);
	err = load_locked(mfile, dev);
	if (err)
		log_warn(dev->host->log,
			 "soft: migration refused: the stream is damaged or not complete");
	mutex_unlock(&mfile->lock);
	return err;
}
