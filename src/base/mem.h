/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory in place, for table walkers inside the library: they set accessed and
 * dirty bits by compare-and-swap, which a copy cannot do. Between mem_enter() and
 * mem_exit() whatever mem_page() returned stays mapped; keep it short, because
 * nst_mem_remove() waits for it.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <nestor/mem.h>

unsigned int mem_enter(struct nst_mem *mem);
void mem_exit(struct nst_mem *mem, unsigned int token);

/*
 * The 4 KiB page that @gpa is in, or NULL: no memory, or not all of it, or not in one
 * piece. Aligned to 8 bytes. *@writable: may it be written?
 */
void *mem_page(struct nst_mem *mem, nst_gpa gpa, bool *writable);

#endif
