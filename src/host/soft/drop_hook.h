/* SPDX-License-Identifier: BSD-3-Clause */
/* nst_soft_drop_invalidation(): a unit asks before an invalidation whether it is the one to lose.
 */
#ifndef HOST_SOFT_DROP_HOOK_H
#define HOST_SOFT_DROP_HOOK_H

#include "base/bits.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdbool.h>

struct drop_hook {
	/* 1 + the number of bytes after which one invalidation is lost; 0 = none */
	atomic_uint_fast64_t after;
};

static inline void drop_hook_set(struct drop_hook *hook, uint64_t after_dma_write_bytes)
{
	atomic_store(&hook->after, MIN(after_dma_write_bytes, UINT64_MAX - 1) + 1);
}

/* Devices have written @written bytes. True once; any thread. */
static inline bool drop_hook_takes(struct drop_hook *hook, uint64_t written,
				   const struct nst_log *log)
{
	uint_fast64_t after = atomic_load(&hook->after);

	if (!after || written < after - 1)
		return false;
	if (!atomic_compare_exchange_strong(&hook->after, &after, 0))
		return false;
	log_warn(log, "soft: one invalidation is lost on purpose");
	return true;
}

#endif
