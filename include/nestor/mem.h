/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory: which ranges of guest-physical addresses are which memory of this
 * process. Read without locks while it changes.
 */
#ifndef NESTOR_MEM_H
#define NESTOR_MEM_H

#include <nestor/types.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nst_mem;

/** nst_mem_create() - an empty map. Errors: -ENOMEM. */
NST_MUST_CHECK NST_API int nst_mem_create(struct nst_mem **out);

/** nst_mem_destroy() - no thread may be inside any other call. @mem may be NULL. */
NST_API void nst_mem_destroy(struct nst_mem *mem);

/**
 * nst_mem_add() - @size bytes of memory at @hva appear at @gpa.
 * @hva stays the caller's and must stay mapped until nst_mem_remove() returns.
 * Errors: -EINVAL (empty, or past 2^64), -EEXIST (overlap), -ENOMEM. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_mem_add(struct nst_mem *mem, nst_gpa gpa, uint64_t size, void *hva,
				       bool writable);

/**
 * nst_mem_remove() - take away exactly what one nst_mem_add() added. When it returns,
 * no thread reads or writes there any more. Errors: -ENOENT, -ENOMEM. Threads: any,
 * but not from within a callback of the library.
 */
NST_MUST_CHECK NST_API int nst_mem_remove(struct nst_mem *mem, nst_gpa gpa, uint64_t size);

/**
 * nst_mem_read(), nst_mem_write() - copy; the range may span several mappings.
 * Aligned words of 4 and 8 bytes are single accesses, atomic towards the guest, in longer
 * copies too.
 * Errors: -EFAULT (a byte is not memory, or not writable); then nothing is promised
 * about the others. Threads: any.
 */
NST_MUST_CHECK NST_API int nst_mem_read(struct nst_mem *mem, nst_gpa gpa, void *buf, size_t size);
NST_MUST_CHECK NST_API int nst_mem_write(struct nst_mem *mem, nst_gpa gpa, const void *buf,
					 size_t size);

#ifdef __cplusplus
}
#endif
#endif
