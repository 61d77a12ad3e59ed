/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers of 16 bits that caches are tagged with: domain ids, VMIDs, ASIDs. Any thread. */
#ifndef HOST_SOFT_TAG_POOL_H
#define HOST_SOFT_TAG_POOL_H

#include "base/lock.h"

#include <nestor/types.h>

#define TAG_POOL_SIZE 65536

struct tag_pool {
	struct mutex lock;  /* a leaf */
	unsigned int first; /* those below are never given out */
	unsigned int num_used GUARDED_BY(lock);
	uint64_t used[TAG_POOL_SIZE / 64] GUARDED_BY(lock);
};

void tag_pool_init(struct tag_pool *pool, unsigned int first);
void tag_pool_fini(struct tag_pool *pool);
/* The lowest free tag, or -ENOSPC. */
NST_MUST_CHECK int tag_pool_get(struct tag_pool *pool);
/* The caches hold nothing with @tag any more. */
void tag_pool_put(struct tag_pool *pool, unsigned int tag);
unsigned int tag_pool_count(struct tag_pool *pool);

#endif
