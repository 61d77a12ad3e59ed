/* SPDX-License-Identifier: BSD-3-Clause */
/* I/O address spaces, the memory behind them, and the domains that show them. */
#ifndef HOST_SOFT_IOAS_H
#define HOST_SOFT_IOAS_H

#include "base/range_map.h"
#include "host/soft/soft.h"

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

#endif
