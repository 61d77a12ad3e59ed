/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of the three address spaces a nested translation passes through.
 * Each is its own type, so that handing a guest-physical address to something
 * that wants a host pointer does not compile.
 *
 *	nst_iova --first stage--> nst_gpa --second stage--> nst_hva
 */
#ifndef NESTOR_TYPES_H
#define NESTOR_TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
/** What a device puts on the bus: GIOVA, or a process address with a PASID. */
typedef struct { uint64_t v; } nst_iova;
/** Guest-physical address. */
typedef struct { uint64_t v; } nst_gpa;
/** Address in the memory of this process. */
typedef struct { uint64_t v; } nst_hva;
/* clang-format on */

/** PCI requester id: bus in bits 15:8, devfn in bits 7:0. 0 is a valid id. */
typedef uint16_t nst_rid;

/** Guest-physical addresses. */
struct nst_gpa_range {
	uint64_t base, size;
};

/** "This request carries no PASID". A PASID is 20 bits, so it is never one. */
#define NST_NO_PASID UINT32_MAX

#define NST_API __attribute__((visibility("default")))
#define NST_MUST_CHECK __attribute__((warn_unused_result))

#ifdef __cplusplus
}
#endif
#endif
