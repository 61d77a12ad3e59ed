/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the software host: files, contexts, objects, devices, and who owns whom.
 *
 *	fd number --> soft_file --> soft_ctx (an open of /dev/iommu) --> soft_object by id
 *	                       \--> soft_vfio_file (an open of a cdev) --> soft_device
 *
 *	HWPT_NESTED --> HWPT_PAGING --> IOAS --> areas --> soft_pages (shared by IOAS_COPY)
 *	BOUND (a device in a context) --attachment per PASID--> HWPT
 *
 * An arrow holds what it points to: `users` counts the arrows that end at an object,
 * and IOMMU_DESTROY refuses while there are any (EBUSY). Undoing never fails. An
 * object is reserved (has an id, cannot be found), filled, and then finalized or
 * aborted. A bound device holds the file of its context, so closing /dev/iommu first
 * only defers the end of the context.
 *
 * Lock order, outermost first; a thread may leave steps out:
 *
 *	1. soft_device.bind_lock	who has bound the device
 *	2. soft_ctx.lock		every object of the context
 *	3. soft_device.lock		registers of the device; held over endpoint ops and, on a
 *					synchronous host, over endpoint run()
 *	4. the lock of a migration's data file; then (locks of the endpoint; the translation
 *	   unit's dma_lock)
 *	5. soft_irqs.lock, worker.lock, soft_host.lock, soft_host.fault_lock, locks of
 *	   drivers (iommu.h), the sanitizer's	leaves: nothing is taken under them
 *
 * Without any lock: endpoint run() on the device thread, copies from and to the
 * caller's memory for register accesses.
 */
#ifndef HOST_SOFT_SOFT_H
#define HOST_SOFT_SOFT_H

#include "base/alloc.h"
#include "base/bits.h"
#include "base/lock.h"
#include "base/log.h"
#include "host/soft/iommu.h"
#include "host/soft/selftest/mock_abi.h"
#include "host/soft/sanitizer.h"

#include <nestor/soft_host.h>

#include <linux/iommufd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct endpoint;
struct soft_file;
struct soft_device;

/* --- host.c: the host and its descriptors ------------------------------------------- */

struct soft_host {
	struct nst_host base;
	const struct nst_log *log;
	bool synchronous;
	struct sanitizer *sanitizer;
	struct soft_iommu *iommu;

	struct mutex lock;
	struct soft_file **files GUARDED_BY(lock); /* by descriptor number */
	size_t num_files GUARDED_BY(lock);
	struct soft_device **devices GUARDED_BY(lock);
	size_t num_devices GUARDED_BY(lock);

	struct mutex fault_lock; /* fault queues, and what devices know of them: fault.c */

	struct soft_mapping *mappings GUARDED_BY(lock); /* of descriptors' memory: mmap.h */

	_Atomic uint64_t nested_hwpts, invalidate_calls, invalidate_entries;
};

/* What a descriptor of this host can do; every operation is there. */
struct soft_file_ops {
	bool is_stream; /* has no position: pread(2) and pwrite(2) are refused */
	int (*ioctl)(struct soft_file *file, unsigned long request, void *arg);
	ssize_t (*pread)(struct soft_file *file, void *buf, size_t count, uint64_t offset);
	ssize_t (*pwrite)(struct soft_file *file, const void *buf, size_t count, uint64_t offset);
	void *(*mmap)(struct soft_file *file, size_t length, int prot, int flags, off_t offset,
		      int *err);
	/* The context whose objects the file is about, or NULL. */
	struct soft_ctx *(*context)(struct soft_file *file);
	void (*release)(struct soft_file *file); /* the last reference is gone: free it */
};

/* References: the table's, one per operation in flight, one per device bound to it. */
struct soft_file {
	const struct soft_file_ops *ops;
	struct soft_host *host;
	atomic_uint refs;
	_Atomic uint64_t position; /* of read() and write() */
};

static inline struct soft_host *to_soft_host(struct nst_host *host)
{
	return container_of(host, struct soft_host, base);
}

/* The file behind @fd with a reference, or NULL. */
struct soft_file *soft_file_get(struct soft_host *host, int fd) EXCLUDES(&host->lock);
/* As soft_file_get(), if it has these @ops: else NULL, and nobody's last reference is here. */
struct soft_file *soft_file_get_of(struct soft_host *host, int fd, const struct soft_file_ops *ops)
	EXCLUDES(&host->lock);
void soft_file_put(struct soft_file *file);
/*
 * For a front end whose caller duplicates descriptors: @fd is now one more number of @file, of
 * which it takes over a reference, or (NULL) nobody's. -ENOMEM; not if @file is NULL.
 */
NST_MUST_CHECK int soft_file_set(struct soft_host *host, int fd, struct soft_file *file)
	EXCLUDES(&host->lock);

/* As soft_file_set(), but what was at @fd goes to *@old, to be put when no lock is held. */
NST_MUST_CHECK int soft_file_exchange(struct soft_host *host, int fd, struct soft_file *file,
				      struct soft_file **old) EXCLUDES(&host->lock);

/*
 * A number for @file, of which the table takes over the caller's reference. What was at the
 * number, if anything, goes to *@old as with soft_file_exchange(). Errors: -EMFILE, -ENOMEM.
 */
NST_MUST_CHECK int soft_file_install(struct soft_host *host, struct soft_file *file, int flags,
				     struct soft_file **old) EXCLUDES(&host->lock);

/*
 * Plug in an endpoint, which the host then owns; @path as in nst_soft_add_device().
 * Errors: -EINVAL path buffer too small, -ENOSPC bus full, -ENOMEM; @ep stays the caller's.
 */
NST_MUST_CHECK int soft_add_endpoint(struct nst_host *host, struct endpoint *ep, char *path,
				     size_t path_size);

/* --- usercopy.c: memory of the caller ----------------------------------------------- */

/* 0, or -EFAULT where a system call would say so. */
NST_MUST_CHECK int soft_copy_from_user(void *to, const void *user, size_t size);
NST_MUST_CHECK int soft_copy_to_user(void *user, const void *from, size_t size);
NST_MUST_CHECK int soft_clear_user(void *user, size_t size);
/* 0: all zero; -E2BIG: not; -EFAULT. */
NST_MUST_CHECK int soft_check_zeroed_user(const void *user, size_t size);
/*
 * As copy_struct_from_user() of the kernel: a shorter @user_size is filled up with zeros,
 * of a longer one the rest must be zero (-E2BIG).
 */
NST_MUST_CHECK int soft_copy_struct_from_user(void *to, size_t size, const void *user,
					      size_t user_size);
/* Is all of the range mapped here, with this permission? 0 or -EFAULT. */
NST_MUST_CHECK int soft_check_user_range(uint64_t va, uint64_t length, bool write);

static inline void *soft_user_ptr(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

/* --- object.c: ids and lifetimes ---------------------------------------------------- */

enum soft_object_type {
	SOFT_ANY, /* for lookups */
	SOFT_IOAS,
	SOFT_HWPT_PAGING,
	SOFT_HWPT_NESTED,
	SOFT_BOUND,
	SOFT_FAULT,
	SOFT_VIOMMU,
	SOFT_VDEVICE,
	SOFT_VEVENTQ,
	SOFT_HW_QUEUE,
	SOFT_ACCESS,
	SOFT_SELFTEST,
	SOFT_NUM_OBJECT_TYPES,
};

struct soft_object {
	enum soft_object_type type;
	uint32_t id;
	uint64_t serial; /* of all objects of the host */
	unsigned int users;
};

/* What reports call it. */
static inline struct sanitizer_object soft_object_name(const struct soft_object *obj)
{
	return (struct sanitizer_object){ obj->serial, obj->id };
}

enum soft_slot_state { SOFT_SLOT_FREE, SOFT_SLOT_RESERVED, SOFT_SLOT_LIVE, SOFT_SLOT_TOMBSTONE };

struct soft_slot {
	struct soft_object *object;
	enum soft_slot_state state;
};

struct soft_ioas;

struct soft_ctx {
	struct soft_file file;
	struct mutex lock;
	struct soft_slot *slots GUARDED_BY(lock); /* slots[i] is id i + 1 */
	size_t num_slots GUARDED_BY(lock);
	size_t free_hint GUARDED_BY(lock); /* no free slot below */
	struct soft_ioas *compat_ioas GUARDED_BY(lock);
	bool account_to_process GUARDED_BY(lock); /* OPTION_RLIMIT_MODE: no effect here */
	struct soft_mmap *mmaps GUARDED_BY(lock); /* what can be mapped: mmap.h */
};

static inline struct soft_ctx *to_soft_ctx(struct soft_file *file)
{
	return container_of(file, struct soft_ctx, file);
}

/* Zeroed memory of @size bytes that begins with a soft_object, and the lowest free id. */
NST_MUST_CHECK void *soft_object_reserve(struct soft_ctx *ctx, size_t size,
					 enum soft_object_type type) REQUIRES(&ctx->lock);
void soft_object_finalize(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
/* Give up a reserved object: its id and its memory, nothing that it points to. */
void soft_object_abort(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
/* The live object @id of @type (or SOFT_ANY), or NULL. */
struct soft_object *soft_object_find(struct soft_ctx *ctx, uint32_t id, enum soft_object_type type)
	REQUIRES(&ctx->lock);
/* As soft_object_remove(), but the id is never given out again. */
void soft_object_entomb(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
/* End a live object that has no users. */
void soft_object_remove(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
bool soft_ctx_is_empty(struct soft_ctx *ctx) REQUIRES(&ctx->lock);
void soft_ctx_remove_all(struct soft_ctx *ctx) REQUIRES(&ctx->lock);

/* --- ctx.c: framing of /dev/iommu --------------------------------------------------- */

/* One ioctl: @cmd is our copy of the caller's structure. */
struct soft_ucmd {
	struct soft_ctx *ctx;
	void *user;
	uint32_t user_size; /* what the caller said in its size field */
	uint32_t size;	    /* what we know */
	void *cmd;
	struct soft_file *put_after; /* a reference to drop when ctx.lock is not held any more */
};

/* Write the structure back, as far as the caller's reaches. */
NST_MUST_CHECK int soft_ucmd_respond(struct soft_ucmd *ucmd);

NST_MUST_CHECK int soft_ctx_open(struct soft_host *host, struct soft_file **out);
bool soft_file_is_ctx(const struct soft_file *file);

typedef int soft_ioctl_fn(struct soft_ctx *ctx, struct soft_ucmd *ucmd);

int soft_destroy_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_allow_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_ranges_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_map_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_map_file_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_copy_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_ioas_unmap_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_change_process_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_option_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_vfio_ioas_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hwpt_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hwpt_set_dirty_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hwpt_get_dirty_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hwpt_invalidate_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hw_info_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_fault_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_viommu_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_vdevice_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_veventq_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);
int soft_hw_queue_alloc_ioctl(struct soft_ctx *ctx, struct soft_ucmd *ucmd) REQUIRES(&ctx->lock);

/* vfio_compat.c: the container ioctls on the same descriptor. */
int soft_vfio_compat_ioctl(struct soft_ctx *ctx, unsigned long request, void *arg)
	REQUIRES(&ctx->lock);

#endif
