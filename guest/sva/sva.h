/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the test (see sva.c), and what they share. Nothing returns after a failure. */
#ifndef GUEST_SVA_H
#define GUEST_SVA_H

#include "../modules/dmatest/dmatest_ioctl.h"
#include "endpoint/dmatest_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define check(ok, ...) check_that((ok), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 4, 5))) void check_that(bool ok, const char *where, int line,
						      const char *what, ...);

/* Flags of submit */
#define PLAIN 0
#define ATS DMATEST_WITH_ATS
#define PRI (DMATEST_WITH_ATS | (on_demand ? DMATEST_WITH_PRI : 0)) /* where one can ask */

/*
 * The device has the whole address space, and asks for what it lacks. Else, as on Debian's
 * arm64 kernel, it has only what share() gives it.
 */
extern bool on_demand;

/* What an operation at a page ends with that is not there, or not for this. */
#define NOT_THERE (on_demand ? DMATEST_PAGE_INVALID : DMATEST_NO_PERMISSION)

int open_device(void);
uint32_t pasid_of(int fd);
struct dmatest_statistics statistics(int fd);
void submit(int fd, const struct dmatest_submit *s);
struct dmatest_wait wait_for(int fd);
/* Both. */
struct dmatest_wait operate(int fd, const struct dmatest_submit *s);
/* ... which must end with @status. */
void must(int fd, enum dmatest_status status, const struct dmatest_submit *s);

/* The pages of @p, where the device needs that. */
void share(int fd, const void *p, size_t size);
void unshare(int fd, const void *p, size_t size);

/* Private memory, of which no page is there yet; at @where if not NULL. */
void *map_at(void *where, size_t size, int prot);
/* The device's pattern. */
void fill(void *buf, size_t size, uint64_t seed);
void check_pattern(const void *buf, size_t size, uint64_t seed);

/* An operand of struct dmatest_submit. */
#define AT(p) ((uintptr_t)(p))
#define WRITE_OP(how, p, size, with)                           \
	(&(struct dmatest_submit){ .operation = DMATEST_WRITE, \
				   .flags = (how),             \
				   .address = { AT(p) },       \
				   .length = (size),           \
				   .seed = (with) })
#define VERIFY_OP(how, p, size, with)                           \
	(&(struct dmatest_submit){ .operation = DMATEST_VERIFY, \
				   .flags = (how),              \
				   .address = { AT(p) },        \
				   .length = (size),            \
				   .seed = (with) })
#define COPY_OP(how, from, to, size)                                \
	(&(struct dmatest_submit){ .operation = DMATEST_COPY,       \
				   .flags = (how),                  \
				   .address = { AT(from), AT(to) }, \
				   .length = (size) })

void part_present(void);
void part_faults(void);
void part_unmap(void);
void part_cow(void);
void part_many(void);
void part_exit(void);
void part_gone(void);

#endif
