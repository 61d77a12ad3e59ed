/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the VFIO cdev share beyond soft.h: features, and migration.
 *
 *	VFIO_DEVICE_FEATURE --> vfio_feature.c --> vfio_migration.c   states of a device
 *	                                               |      |
 *	read, write of data_fd --> vfio_migration_file.c  endpoint_migration_ops
 *	                                               |
 *	                                      vfio_stream.c   what the bytes are
 *
 * The state of a migration is protected by the device's lock. A data file has a lock of its
 * own, which comes after it, so that a slow copy to or from the caller's memory holds up no
 * register access.
 */
#ifndef HOST_SOFT_VFIO_H
#define HOST_SOFT_VFIO_H

#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"

#include <linux/vfio.h>

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))
/* Where a member of the caller's structure is; the structure may be anywhere. */
#define USER_MEMBER(arg, type, member) soft_user_ptr((uintptr_t)(arg) + offsetof(type, member))

/* --- vfio_irq.c ---------------------------------------------------------------------- */

/* Our own duplicate of an eventfd: -EBADF, -EINVAL if it is something else. */
NST_MUST_CHECK int soft_eventfd_get(int32_t fd, int *out);
void soft_eventfd_signal(int fd); /* nothing if it is < 0 */

/* --- vfio_feature.c ------------------------------------------------------------------ */

NST_MUST_CHECK int soft_vfio_feature(struct soft_vfio_file *vfile, void *arg)
	EXCLUDES(&vfile->dev->lock);
/* The caller uses the device: one-shot low power is over, and its eventfd says so. */
void soft_vfio_wake(struct soft_device *dev, struct soft_vfio_file *vfile) REQUIRES(&dev->lock);

/* --- vfio_migration.c ---------------------------------------------------------------- */

struct soft_migration_file;

struct soft_migration {
	enum vfio_device_mig_state state;
	bool precopy_info_v2;
	struct soft_migration_file *file; /* of the transfer under way, held, or NULL */
};

#define SOFT_MIGRATION_FLAGS \
	(VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY)

/* The next step on the way between two states; false: there is no way. */
NST_MUST_CHECK bool soft_migration_next(uint32_t from, uint32_t to, uint32_t *next);
/*
 * Go to @state. *@file gets a new data file, to be installed by the caller, or NULL. On failure
 * the device is in the state it had got to. Errors: -EINVAL no way, or the stream that was
 * written is bad; -EBUSY, -ENOMEM, and what reading the endpoint's state says.
 */
NST_MUST_CHECK int soft_migration_set(struct soft_device *dev, uint32_t state,
				      struct soft_migration_file **file) REQUIRES(&dev->lock);
/* The device was reset: it runs, and what was transferred is void. */
void soft_migration_reset(struct soft_device *dev) REQUIRES(&dev->lock);

/* --- vfio_migration_file.c ------------------------------------------------------------ */

/* For reading what the endpoint's state is going to be, or for writing it. */
NST_MUST_CHECK int soft_migration_file_create(struct soft_device *dev, bool saving,
					      struct soft_migration_file **out);
struct soft_migration_file *soft_migration_file_hold(struct soft_migration_file *file);
void soft_migration_file_put(struct soft_migration_file *file);
/* Nothing can be read or written any more. */
void soft_migration_file_disable(struct soft_migration_file *file);
/* The endpoint, suspended, gives its state: then the stream has its end. */
NST_MUST_CHECK int soft_migration_file_finish(struct soft_migration_file *file,
					      struct soft_device *dev) REQUIRES(&dev->lock);
/* The endpoint takes the state that was written, all or (-EINVAL) nothing. */
NST_MUST_CHECK int soft_migration_file_load(struct soft_migration_file *file,
					    struct soft_device *dev) REQUIRES(&dev->lock);
/* The number it will have, and making it have it, which takes over a reference. */
int soft_migration_file_fd(const struct soft_migration_file *file);
NST_MUST_CHECK int soft_migration_file_install(struct soft_migration_file *file);

/* --- vfio_stream.c --------------------------------------------------------------------- */

/*
 * A stream is two records: who the device is, and what it was doing. The first can be sent
 * while it still runs, so that a wrong destination is found out before that stops.
 */
enum soft_record_kind {
	SOFT_RECORD_IDENTITY = 1,
	SOFT_RECORD_STATE = 2,
};

#define SOFT_RECORD_HEADER_BYTES 32

/* Make the record of @size bytes of payload, which are behind the header already. */
void soft_record_seal(uint8_t *record, enum soft_record_kind kind, size_t size);
/*
 * 0: there is this record, whole and with a payload of @size bytes. -EAGAIN: it may become one
 * with more bytes. -EINVAL: it is none, of another version or damaged.
 */
NST_MUST_CHECK int soft_record_check(const uint8_t *bytes, size_t have, enum soft_record_kind kind,
				     size_t size);

#endif
