/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A shadow: an IOAS of its own, in which addresses of devices lead to the guest's memory
 * as a table of the guest's says. For tables that no host can nest, because they are
 * second stages themselves. What a table is, the caller knows (viommu/shadow.c).
 *
 * A table is shown block by block: what all of an aligned range should lead to. The host
 * takes mappings away only whole, so one that must go in part cannot go without the rest
 * being gone for a moment, which a device would notice: -ESTALE then, and the caller makes
 * a new shadow. That is rare, since mappings are made of what the guest announces together,
 * and what it maps together it unmaps together.
 *
 * Memory of the VM that goes is taken out of all shadows before it is unmapped; what their
 * tables say of memory that comes, the owner hears and looks at again.
 */
#ifndef PASSTHROUGH_SHADOW_H
#define PASSTHROUGH_SHADOW_H

#include "base/range_map.h"
#include "passthrough/device.h"

enum { SHADOW_MAX_RUNS = 1 << 16, SHADOW_BLOCK_PIECES = 512, SHADOW_MAX_RANGES = 64 };

/* A leaf of the table, or neighbours that one mapping may stand for. */
struct shadow_piece {
	uint64_t start, last, gpa;
	unsigned int perm; /* enum mem_range_perm */
	bool announced;	   /* else it is kept if there, and not made */
};

/* All that a table says of [start, last]: nothing where there is no piece. */
struct shadow_block {
	uint64_t first, end; /* what was announced; inclusive */
	bool fine;	     /* a mapping for each leaf */
	uint64_t start, last;
	unsigned int entries; /* of the table, that were looked at */
	size_t count;
	struct shadow_piece pieces[SHADOW_BLOCK_PIECES]; /* ascending */
};

/* Begin a block, about which [first, end] was announced. */
void shadow_block_init(struct shadow_block *block, uint64_t first, uint64_t end, bool fine);
/* One more leaf, behind those before; at most SHADOW_BLOCK_PIECES. */
void shadow_block_add(struct shadow_block *block, uint64_t start, uint64_t last, uint64_t gpa,
		      unsigned int perm);

struct vm_shadow {
	struct nst_vm *vm;
	uint32_t ioas_id, hwpt_id;
	/* Memory of the VM has come. With vm->lock held: it calls nothing of this. */
	void (*memory_changed)(void *opaque);
	void *opaque;
	struct iommu_iova_range allowed[SHADOW_MAX_RANGES]; /* by the host; ascending */
	uint32_t num_allowed;
	/* protected by vm->lock: */
	struct range_map held;
	bool retired; /* its mappings do not count any more */
	struct vm_shadow *next;
};

/* With an HWPT that @dev can be attached to, empty. Errors: the host's, -ENOMEM. */
NST_MUST_CHECK int vm_shadow_create(struct nst_device *dev, void (*memory_changed)(void *opaque),
				    void *opaque, struct vm_shadow **out);
/* Nothing may be attached to it. */
void vm_shadow_destroy(struct vm_shadow *shadow);
/* It is about to be replaced: what it holds does not count towards SHADOW_MAX_RUNS. */
void vm_shadow_retire(struct vm_shadow *shadow);

/*
 * Make the host's mappings what @block says. *@calls gets how many calls of the host, or
 * equal work, that took. -ESTALE: see above. -ENOSPC: SHADOW_MAX_RUNS mappings in all of
 * the VM's shadows, or a leaf over too many pieces of memory. Others: the host's, -ENOMEM.
 * After an error some of the block is as before, or nothing.
 */
NST_MUST_CHECK int vm_shadow_update(struct vm_shadow *shadow, const struct shadow_block *block,
				    unsigned int *calls);

/* For vm.c: memory has come, or goes. After an error some shadow still leads there. */
void vm_shadows_memory_added(struct nst_vm *vm) REQUIRES(vm->lock);
NST_MUST_CHECK int vm_shadows_memory_gone(struct nst_vm *vm, const struct vm_mapping *mapping)
	REQUIRES(vm->lock);

#endif
