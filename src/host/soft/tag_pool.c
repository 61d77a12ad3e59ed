// SPDX-License-Identifier: BSD-3-Clause
/* See tag_pool.h: a bitmap, searched from its start. */
#include "host/soft/tag_pool.h"

#include "base/bits.h"

#include <errno.h>
#include <string.h>

void tag_pool_init(struct tag_pool *pool, unsigned int first)
{
	mutex_init(&pool->lock);
	pool->first = first;
	mutex_lock(&pool->lock);
	memset(pool->used, 0, sizeof(pool->used));
	pool->num_used = 0;
	for (unsigned int tag = 0; tag < first; tag++)
		pool->used[tag / 64] |= BIT64(tag % 64);
	mutex_unlock(&pool->lock);
}

void tag_pool_fini(struct tag_pool *pool)
{
	mutex_fini(&pool->lock);
}

int tag_pool_get(struct tag_pool *pool)
{
	int tag = -ENOSPC;

	mutex_lock(&pool->lock);
	for (unsigned int word = 0; word < ARRAY_SIZE(pool->used) && tag < 0; word++) {
		unsigned int bit;

		if (pool->used[word] == UINT64_MAX)
			continue;
		bit = (unsigned int)__builtin_ctzll(~pool->used[word]);
		pool->used[word] |= BIT64(bit);
		pool->num_used++;
		tag = (int)(64 * word + bit);
	}
	mutex_unlock(&pool->lock);
	return tag;
}

void tag_pool_put(struct tag_pool *pool, unsigned int tag)
{
	mutex_lock(&pool->lock);
	pool->used[tag / 64] &= ~BIT64(tag % 64);
	pool->num_used--;
	mutex_unlock(&pool->lock);
}

unsigned int tag_pool_count(struct tag_pool *pool)
{
	unsigned int count;

	mutex_lock(&pool->lock);
	count = pool->num_used;
	mutex_unlock(&pool->lock);
	return count;
}
