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
 *	5. soft_irqs.lock, soft_worker.lock, soft_host.lock, soft_host.fault_lock, locks of
 *	   drivers (iommu.h), the sanitizer's	leaves: nothing is taken under them
 *
 * Without any lock: endpoint run() on the device thread, copies from and to the
 * caller's memory for register accesses.
 */
#ifndef HOST_SOFT_SOFT_H
#define HOST_SOFT_SOFT_H

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/lock.h"
#include "base/log.h"
#include "endpoint/endpoint.h"
#include "base/range_map.h"
#include "host/soft/iommu.h"
#include "host/soft/mock_abi.h"
#include "host/soft/sanitizer.h"
#include "host/soft/vtd_dirty.h"

#include <nestor/soft_host.h>

#include <linux/iommufd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The RID's own attachment, as the kernel spells it: PASID 0 is not usable as a PASID. */
#define SOFT_RID_PASID 0

static inline uint32_t soft_unit_pasid(uint32_t pasid)
{
	return pasid == SOFT_RID_PASID ? NST_NO_PASID : pasid;
}

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

/* --- pages.c: the memory behind areas ----------------------------------------------- */

/*
 * A source of memory, held by the areas that show parts of it. Memory of a file is
 * mapped by us when the first domain needs it; until then its address range is only
 * reserved, so that the addresses in areas never change.
 */
struct soft_pages {
	unsigned int refs;
	bool writable;
	bool is_file, populated;
	uint64_t va; /* what the first byte has as host address */
	uint64_t length;
	struct soft_dmabuf *dmabuf; /* dmabuf.h, or NULL */
	struct soft_pages *next_of_dmabuf;
	bool revoked; /* by its exporter: leads nowhere any more; dmabuf.c */
	/* is_file: */
	int fd;
	uint64_t start; /* of the first byte, in the file or the dma-buf */
	void *reservation;
	size_t reservation_size;
};

NST_MUST_CHECK int soft_pages_create_user(uint64_t va, uint64_t length, bool writable,
					  struct soft_pages **out);
/* @iova_hint: where it is going to be mapped; the address is chosen alike modulo 2 MiB. */
NST_MUST_CHECK int soft_pages_create_file(int fd, uint64_t start, uint64_t length, bool writable,
					  uint64_t iova_hint, struct soft_pages **out);
struct soft_pages *soft_pages_get(struct soft_pages *pages);
void soft_pages_put(struct soft_pages *pages);
/* Make [va, va + length) of @pages usable for DMA: 0, -EFAULT, -EINVAL, -ENOMEM. */
NST_MUST_CHECK int soft_pages_populate(struct soft_pages *pages, uint64_t va, uint64_t length);

/* --- ioas.c, ioas_map.c ------------------------------------------------------------- */

struct soft_interval {
	uint64_t start, last;
	const void *owner;
};

/*
 * Areas and reserved intervals never meet: whoever comes second is refused. Fixed
 * areas may lie outside the allow list, which binds only the choice of addresses and
 * what may be reserved. Each area holds its pages (range_map_range.owner).
 */
struct soft_ioas {
	struct soft_object obj;
	struct range_map areas; /* changed only between map_begin() and map_end() */
	struct range_map allowed;
	struct soft_interval *reserved; /* may overlap each other */
	size_t num_reserved, max_reserved;
	struct soft_hwpt_paging *domains; /* list by next_domain */
	struct soft_access *accesses;	  /* list by next; access.h */
	uint64_t alignment; /* of addresses and lengths: the least that suits all of them */
	bool no_huge_pages;
};

struct soft_ioas *soft_ioas_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);
NST_MUST_CHECK int soft_ioas_alloc(struct soft_ctx *ctx, struct soft_ioas **out)
	REQUIRES(&ctx->lock);
void soft_ioas_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* -EADDRINUSE if an area or the allow list is there, -ENOMEM. */
NST_MUST_CHECK int soft_ioas_reserve(struct soft_ioas *ioas, uint64_t start, uint64_t last,
				     const void *owner);
void soft_ioas_unreserve(struct soft_ioas *ioas, const void *owner);
bool soft_ioas_is_reserved(const struct soft_ioas *ioas, uint64_t start, uint64_t last);
bool soft_ioas_is_reserved_by(const struct soft_ioas *ioas, const void *owner);
/*
 * The first piece of [from, last] that is not reserved (nor mapped, if @without_areas).
 * False if there is none.
 */
bool soft_ioas_next_hole(const struct soft_ioas *ioas, bool without_areas, uint64_t from,
			 uint64_t last, struct soft_interval *hole);

/* Do all areas begin and end at multiples of @alignment, at both sides? */
bool soft_ioas_areas_fit(const struct soft_ioas *ioas, uint64_t alignment);
/* Back to what domains, accesses and options that are left ask for. */
void soft_ioas_relax_alignment(struct soft_ioas *ioas);
/* A domain joins: alignment, aperture, and every area is made usable for it. */
NST_MUST_CHECK int soft_ioas_add_domain(struct soft_ioas *ioas, struct soft_hwpt_paging *domain);
void soft_ioas_remove_domain(struct soft_ioas *ioas, struct soft_hwpt_paging *domain);

/* A list of pieces of pages that is mapped at contiguous addresses, all or nothing. */
struct soft_piece {
	struct soft_pages *pages;
	uint64_t va, length;
};

/* @fixed: at *@iova; otherwise *@iova gets the place. @perm: enum range_map_perm. */
NST_MUST_CHECK int soft_ioas_map_pieces(struct soft_ctx *ctx, struct soft_ioas *ioas,
					const struct soft_piece *pieces, size_t count,
					unsigned int perm, bool fixed, uint64_t *iova)
	REQUIRES(&ctx->lock);
/* The caller's [va, va + length), as IOMMU_IOAS_MAP does after its checks of the flags. */
NST_MUST_CHECK int soft_ioas_map_user(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t va,
				      uint64_t length, unsigned int perm, bool fixed,
				      uint64_t *iova) REQUIRES(&ctx->lock);
/*
 * For VFIO's first container type: make @last the end of an area. Nothing is there, or it is
 * one already: 0. -EINVAL: not aligned, -ENOMEM.
 */
NST_MUST_CHECK int soft_ioas_cut(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t last)
	REQUIRES(&ctx->lock);
/* As IOMMU_OPTION_HUGE_PAGES = 0: -EINVAL, -EADDRINUSE. */
NST_MUST_CHECK int soft_ioas_disable_huge_pages(struct soft_ioas *ioas);
/* *@unmapped is valid also on failure. */
NST_MUST_CHECK int soft_ioas_unmap(struct soft_ctx *ctx, struct soft_ioas *ioas, uint64_t start,
				   uint64_t last, uint64_t *unmapped) REQUIRES(&ctx->lock);

/* --- hwpt.c, nested.c --------------------------------------------------------------- */

struct soft_fault;

struct soft_hwpt {
	struct soft_object obj;
	struct soft_fault *fault; /* page requests go there; may be NULL */
	bool pasid_compat; /* IOMMU_HWPT_ALLOC_PASID: what it replaces and joins must have it */
	/* the driver's: entries of the unit that carry the tag of its caches, valid if > 0 */
	unsigned int programmed;
	uint32_t tag;
};

struct soft_hwpt_paging {
	struct soft_hwpt hwpt;
	struct soft_ioas *ioas;
	struct soft_iommu *iommu;
	struct soft_hwpt_paging *next_domain;
	bool nest_parent;
	bool auto_domain; /* made by attaching to an IOAS, ends with its last attachment */
	bool dirty_tracking;
	struct vtd_dirty dirty; /* if dirty_tracking: a range per area of the IOAS */
	/* the driver's to say: */
	uint64_t aperture_start, aperture_last;
	uint64_t page_sizes; /* a bit each; 4 KiB, 2 MiB and 1 GiB if it says nothing */
};

struct soft_hwpt_nested {
	struct soft_hwpt hwpt;
	struct soft_hwpt_paging *parent;
	struct soft_viommu *viommu; /* made through it; NULL: straight on the parent */
	union {			    /* the driver's */
		struct iommu_hwpt_vtd_s1 vtd;
		le64 ste[2]; /* SMMUv3: as the guest wrote them, or all zero if not valid */
		uint32_t selftest_iotlb[SELFTEST_CACHE_ENTRIES];
	};
};

/* The HWPT an object is, or NULL. */
struct soft_hwpt *soft_object_to_hwpt(struct soft_object *obj);
/* @hwpt itself, or the parent of a nested one. */
struct soft_hwpt_paging *soft_hwpt_to_paging(struct soft_hwpt *hwpt);
/* What reports say of a device attached to @hwpt. */
struct sanitizer_domain soft_hwpt_name(struct soft_hwpt *hwpt);

/* Reserved, filled and in its IOAS, but not finalized. @data: of the driver, in it, or NULL. */
NST_MUST_CHECK int soft_hwpt_paging_alloc(struct soft_ctx *ctx, const struct soft_device *dev,
					  struct soft_ioas *ioas, uint32_t flags,
					  const struct iommu_hwpt_alloc *data,
					  struct soft_hwpt_paging **out) REQUIRES(&ctx->lock);
void soft_hwpt_paging_abort(struct soft_ctx *ctx, struct soft_hwpt_paging *paging)
	REQUIRES(&ctx->lock);
void soft_hwpt_paging_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* @viommu: through it, or NULL. */
NST_MUST_CHECK int soft_hwpt_nested_alloc(struct soft_ctx *ctx, struct soft_hwpt_paging *parent,
					  struct soft_viommu *viommu,
					  const struct iommu_hwpt_alloc *cmd,
					  struct soft_hwpt_nested **out) REQUIRES(&ctx->lock);
void soft_hwpt_nested_abort(struct soft_ctx *ctx, struct soft_hwpt_nested *nested)
	REQUIRES(&ctx->lock);
void soft_hwpt_nested_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);

/* --- dirty.c: for each domain of @ioas that tracks; between map_begin() and map_end() of the unit
 */

NST_MUST_CHECK int soft_dirty_add_area(struct soft_ioas *ioas, uint64_t start, uint64_t last);
void soft_dirty_remove_area(struct soft_ioas *ioas, uint64_t start, uint64_t last);
NST_MUST_CHECK int soft_dirty_split_area(struct soft_ioas *ioas, uint64_t start);

/* --- fault.c: page requests --------------------------------------------------------- */

struct soft_fault_group;
struct soft_bound;
struct soft_device;

void soft_fault_destroy(struct soft_ctx *ctx, struct soft_object *obj) REQUIRES(&ctx->lock);
/* -ENOENT */
NST_MUST_CHECK int soft_hwpt_hold_fault(struct soft_ctx *ctx, struct soft_hwpt *hwpt,
					uint32_t fault_id) REQUIRES(&ctx->lock);
void soft_hwpt_put_fault(struct soft_hwpt *hwpt);

/* Before @hwpt is attached: -ENODEV if it wants page requests and @dev has none, -ENOMEM. */
NST_MUST_CHECK int soft_fault_prepare(struct soft_device *dev, const struct soft_hwpt *hwpt);
/* After it was; NULL: detached. What waits of the old attachment is answered INVALID. */
void soft_fault_switch(struct soft_bound *bound, uint32_t pasid, const struct soft_hwpt *hwpt);

/* What PCIe calls a Page Request Message, PCIe 6.0 s10.4.1. */
struct soft_page_request {
	uint32_t pasid; /* or NST_NO_PASID */
	uint32_t group; /* index of the group */
	uint32_t perm;	/* IOMMU_PGFAULT_PERM_* */
	uint64_t addr;
	bool last; /* of its group */
};

/*
 * @code: IOMMUFD_PAGE_RESP_*. Comes in any thread, perhaps before the report returns; of
 * our locks at most ctx.lock is held, so locks of the endpoint may be taken; it must not
 * call the host.
 */
typedef void soft_page_response_fn(void *opaque, uint32_t code);

/*
 * For endpoints with PRI: ask for a page. A group of requests is answered once, through the
 * @done of its last one; those before it need none. Where nobody listens the answer is INVALID.
 */
void soft_report_page_request(struct soft_device *dev, const struct soft_page_request *req,
			      soft_page_response_fn *done, void *opaque);
/* The device is quiet: forget groups of which the last request has not come. */
void soft_fault_forget_requests(struct soft_device *dev);
/* The same for one group. */
void soft_fault_forget_group(struct soft_device *dev, uint32_t group);

/* --- attach.c: what a device is attached to ----------------------------------------- */

struct soft_attachment {
	uint32_t pasid;	 /* SOFT_RID_PASID: requests without PASID */
	bool via_pasid;	 /* came with the PASID flag; matters for pasid 0 only */
	bool programmed; /* the translation unit has an entry */
	struct soft_hwpt *hwpt;
};

/* A device in a context. */
struct soft_bound {
	struct soft_object obj;
	struct soft_device *dev;
	struct soft_vdevice *vdevice; /* or NULL */
	struct soft_attachment *attachments;
	size_t num_attachments, max_attachments;
};

NST_MUST_CHECK int soft_bound_create(struct soft_ctx *ctx, struct soft_device *dev,
				     struct soft_bound **out) EXCLUDES(&ctx->lock);
NST_MUST_CHECK int soft_bound_create_locked(struct soft_ctx *ctx, struct soft_device *dev,
					    struct soft_bound **out) REQUIRES(&ctx->lock);
/* Detaches everything. */
void soft_bound_destroy(struct soft_ctx *ctx, struct soft_bound *bound) EXCLUDES(&ctx->lock);
void soft_bound_destroy_locked(struct soft_ctx *ctx, struct soft_bound *bound) REQUIRES(&ctx->lock);
struct soft_bound *soft_bound_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);
struct soft_device *soft_device_find(struct soft_ctx *ctx, uint32_t id) REQUIRES(&ctx->lock);

/* Attach, or replace what is there. *@pt_id gets the HWPT. Any failure changes nothing. */
NST_MUST_CHECK int soft_bound_attach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
				     bool via_pasid, uint32_t *pt_id) EXCLUDES(&ctx->lock);
void soft_bound_detach(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
		       bool via_pasid) EXCLUDES(&ctx->lock);
void soft_bound_detach_locked(struct soft_ctx *ctx, struct soft_bound *bound, uint32_t pasid,
			      bool via_pasid) REQUIRES(&ctx->lock);

/* One of the two calls that iommufd has for its drivers. */
struct soft_change {
	uint32_t pasid;
	bool via_pasid;
	bool replace; /* what is there (-EINVAL: nothing is); else nothing may be (-EBUSY) */
};

NST_MUST_CHECK int soft_bound_change_locked(struct soft_ctx *ctx, struct soft_bound *bound,
					    const struct soft_change *change, uint32_t *pt_id)
	REQUIRES(&ctx->lock);
/* What requests with @pasid go through, or NULL. */
const struct soft_hwpt *soft_bound_hwpt(const struct soft_bound *bound, uint32_t pasid);

/* --- device.c, config.c, worker.c, vfio*.c ------------------------------------------ */

/* Interrupt vectors to eventfds, as vfio-pci keeps them. */
struct soft_irqs {
	struct mutex lock;
	int active GUARDED_BY(lock);		 /* VFIO_PCI_MSI(X)_IRQ_INDEX, or -1 */
	unsigned int allocated GUARDED_BY(lock); /* vectors the driver asked for */
	int *fds GUARDED_BY(lock);		 /* our duplicates, -1 = none */
	unsigned int max;			 /* length of fds */
	int err_fd GUARDED_BY(lock), req_fd GUARDED_BY(lock);
};

struct soft_worker {
	struct mutex lock;
	pthread_cond_t wake;
	bool pending GUARDED_BY(lock), stop GUARDED_BY(lock);
	bool started; /* by bind_lock */
	pthread_t thread;
};

#define SOFT_MSI_CAP_MAX 24
#define SOFT_MAX_HEADER_FIXES 16

/* A dword of configuration space that the driver sees otherwise than the device. */
struct soft_header_fix {
	uint16_t offset;
	uint32_t value;
};

/* Where page requests with a PASID (SOFT_RID_PASID: without) go. */
struct soft_fault_handler {
	uint32_t pasid;
	uint32_t dev_id;	  /* what the device is called there */
	struct soft_fault *fault; /* NULL: to nobody */
	bool is_nested;		  /* the HWPT that says so */
};

struct soft_vfio_file;
struct soft_partial_request;
struct soft_migration;

struct soft_device {
	struct soft_host *host;
	struct endpoint *ep;
	struct endpoint_bus bus;
	nst_rid rid;

	/* fixed when plugged in */
	uint16_t config_size;
	bool has_flr, has_ats, has_pri, pasid_exec, pasid_priv;
	uint16_t ats_cap, pri_cap, pasid_cap; /* 0 = not there */
	unsigned int max_pasid_lg2;	      /* 0 = no PASIDs */
	struct soft_header_fix fixes[SOFT_MAX_HEADER_FIXES];
	unsigned int num_fixes;

	struct mutex bind_lock;
	struct soft_vfio_file *owner GUARDED_BY(bind_lock);

	struct mutex lock;
	uint8_t msi_shadow[SOFT_MSI_CAP_MAX] GUARDED_BY(lock); /* the MSI capability as seen */
	unsigned int msi_cap_size;
	struct soft_migration *migration; /* vfio.h, by lock; NULL: the endpoint cannot */

	/* by soft_host.fault_lock: */
	struct soft_fault_handler *handlers;
	size_t num_handlers, max_handlers;
	struct soft_partial_request *partials;

	struct soft_irqs irqs;
	struct soft_worker worker;
};

/* Not plugged in yet: has no requester id. */
NST_MUST_CHECK int soft_device_create(struct soft_host *host, struct endpoint *ep,
				      struct soft_device **out);
void soft_device_destroy(struct soft_device *dev); /* and its endpoint */
/* Of the unit: the device @rid forgets translations, as endpoint_ops.ats_invalidate. */
void soft_ats_invalidate(struct soft_host *host, nst_rid rid, uint32_t pasid, uint64_t iova,
			 uint64_t last) EXCLUDES(&host->lock);
/* To power-on, then as the kernel leaves a device that it opens: decoding on, no bus master. */
void soft_device_power_on(struct soft_device *dev) EXCLUDES(&dev->lock);
/* Function-level reset that keeps what the driver wrote to configuration space. */
void soft_device_reset(struct soft_device *dev) REQUIRES(&dev->lock);

/* config.c: configuration space as vfio-pci shows it; @size 1, 2 or 4, aligned. */
void soft_config_init(struct soft_device *dev) EXCLUDES(&dev->lock);
void soft_config_reset(struct soft_device *dev) REQUIRES(&dev->lock);
void soft_config_read(struct soft_device *dev, unsigned int offset, void *buf, unsigned int size)
	REQUIRES(&dev->lock);
void soft_config_write(struct soft_device *dev, unsigned int offset, const void *buf,
		       unsigned int size) REQUIRES(&dev->lock);
bool soft_config_decodes_memory(struct soft_device *dev) REQUIRES(&dev->lock);
unsigned int soft_config_msi_vectors(const struct soft_device *dev);
unsigned int soft_config_msix_vectors(const struct soft_device *dev);
void soft_config_set_msix_enable(struct soft_device *dev, bool enable) REQUIRES(&dev->lock);

void soft_worker_init(struct soft_worker *worker);
NST_MUST_CHECK int soft_worker_start(struct soft_device *dev) REQUIRES(&dev->bind_lock);
void soft_worker_fini(struct soft_worker *worker);
void soft_worker_kick(struct soft_device *dev);
/* On a synchronous host: do what was kicked. */
void soft_worker_run_pending(struct soft_device *dev) REQUIRES(&dev->lock);

NST_MUST_CHECK int soft_irqs_init(struct soft_irqs *irqs, unsigned int max);
void soft_irqs_fini(struct soft_irqs *irqs);
void soft_irqs_signal(struct soft_irqs *irqs, unsigned int vector);
void soft_irqs_disable_all(struct soft_device *dev) EXCLUDES(&dev->lock);
bool soft_irqs_is_active(struct soft_irqs *irqs, int index);
uint32_t soft_irqs_count(const struct soft_device *dev, uint32_t index);
NST_MUST_CHECK int soft_vfio_set_irqs(struct soft_device *dev, void *arg) EXCLUDES(&dev->lock);

/* An open of a cdev. @bound and @ctx are set before @granted and then stay. */
struct soft_vfio_file {
	struct soft_file file;
	struct soft_device *dev;
	atomic_bool granted;
	struct soft_ctx *ctx;
	struct soft_bound *bound;
	/* by the device's lock: */
	bool low_power;
	int wake_fd; /* if low_power: to be signalled when it ends, or -1 */
};

NST_MUST_CHECK int soft_vfio_open(struct soft_device *dev, struct soft_file **out);
/* The device @file is a cdev of, or NULL. */
struct soft_device *soft_file_to_device(struct soft_file *file);
ssize_t soft_vfio_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset);
ssize_t soft_vfio_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset);
NST_MUST_CHECK int soft_vfio_get_region_info(struct soft_device *dev, void *arg);

static inline struct soft_vfio_file *to_soft_vfio_file(struct soft_file *file)
{
	return container_of(file, struct soft_vfio_file, file);
}

#endif
