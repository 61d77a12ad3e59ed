/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The runner of the conformance suite. It speaks TAP and asserts as the other tests do, but is
 * not cmocka: the same program must run as a static binary in a kernel's initramfs on another
 * architecture, say why it skips, and know where hosts differ.
 *
 * A case says what it needs of a host; one that lacks it skips the case, with the reason. A
 * case listed in the table of differences for this host must fail (a TAP "TODO"); if it passes,
 * or is skipped, the table is wrong, and that is a failure.
 */
#ifndef TESTS_CONFORMANCE_SUITE_H
#define TESTS_CONFORMANCE_SUITE_H

#include "random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a host and its device may have. */
enum suite_need {
	NEED_IN_PROCESS = 1 << 0, /* the software host in this process, with its counters */
	NEED_OWN_DEVICE = 1 << 1, /* the device of device.c: its registers and capabilities */
	NEED_VTD = 1 << 2,
	NEED_SMMU = 1 << 3,
	NEED_NESTING = 1 << 4,
	NEED_DIRTY = 1 << 5,
	NEED_PASID = 1 << 6,	/* a device with PASIDs */
	NEED_NO_PASID = 1 << 7, /* a device without */
	NEED_DMA = 1 << 8,	/* a device that writes memory on command */
	NEED_DMA_READ = 1 << 9, /* and reads it */
	NEED_TWO_DEVICES = 1 << 10,
	NEED_NO_NESTING = 1 << 11,
	NEED_HUGE_PAGES = 1 << 12, /* a kernel with transparent huge pages: it aligns to them */
	NEED_PASID_DMA = 1 << 13,  /* a device that does DMA with PASIDs */
	NEED_PRI = 1 << 14,	   /* a device that asks for pages on command */
	NEED_NO_PRI = 1 << 15,	   /* a device that cannot ask */
	NEED_DRIVER = 1 << 16,	   /* a kernel whose driver can be taken from the device */
	NEED_NOTHING = 0,
};

struct suite_case {
	const char *name;
	void (*run)(void **state);
	unsigned int needs;
	bool without_rig; /* makes its own host; state is NULL */
};

struct suite_group {
	const char *name;
	const struct suite_case *cases;
	size_t count;
	struct suite_group *next;
};

#define TEST(function, ...)                                       \
	{                                                         \
		.name = #function, .run = (function),             \
		.needs = NEED_NOTHING __VA_OPT__(| (__VA_ARGS__)) \
	}
#define TEST_AS(label, function, needed)                              \
	{                                                             \
		.name = (label), .run = (function), .needs = (needed) \
	}
#define TEST_ALONE(function)                                                    \
	{                                                                       \
		.name = #function, .run = (function), .needs = NEED_IN_PROCESS, \
		.without_rig = true                                             \
	}

/* At the end of a file: its cases, under this name. */
#define SUITE_GROUP(label, list)                                                                   \
	static struct suite_group label##_group__ = { .name = #label,                              \
						      .cases = (list),                             \
						      .count = sizeof(list) / sizeof((list)[0]) }; \
	__attribute__((constructor)) static void label##_register__(void)                          \
	{                                                                                          \
		suite_add(&label##_group__);                                                       \
	}

struct suite_options {
	const char *group;	 /* only this one, or NULL */
	const char *name;	 /* of the host, as in the table of differences */
	const char *differences; /* the table, or NULL */
};

void suite_add(struct suite_group *group);
/* 0 if nothing failed. rig.c provides what is between the runner and a host. */
int suite_run(const struct suite_options *options);

/* --- rig.c ------------------------------------------------------------------------------ */

/* Which of enum suite_need this host has, for a case that needs @needs. */
unsigned int rig_provides(unsigned int needs);
void *rig_open(unsigned int needs);
void rig_close(void *rig);

/* --- assertions: a case that fails one ends ---------------------------------------------- */

void suite_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void suite_compare(const char *file, int line, const char *what, uint64_t got, uint64_t want,
		   bool equal);
void suite_compare_memory(const char *file, int line, const void *got, const void *want,
			  size_t size);
void suite_compare_string(const char *file, int line, const char *got, const char *want);

#define fail_msg(...) suite_fail(__FILE__, __LINE__, __VA_ARGS__)
#define assert_true(c) suite_compare(__FILE__, __LINE__, #c, (uint64_t) !!(c), 1, true)
#define assert_false(c) suite_compare(__FILE__, __LINE__, #c, (uint64_t) !!(c), 0, true)
#define assert_int_equal(a, b) \
	suite_compare(__FILE__, __LINE__, #a, (uint64_t)(a), (uint64_t)(b), true)
#define assert_int_not_equal(a, b) \
	suite_compare(__FILE__, __LINE__, #a, (uint64_t)(a), (uint64_t)(b), false)
#define assert_null(p) suite_compare(__FILE__, __LINE__, #p, (uint64_t)(uintptr_t)(p), 0, true)
#define assert_non_null(p) suite_compare(__FILE__, __LINE__, #p, (uint64_t)(uintptr_t)(p), 0, false)
#define assert_ptr_not_equal(a, b)                                                                \
	suite_compare(__FILE__, __LINE__, #a, (uint64_t)(uintptr_t)(a), (uint64_t)(uintptr_t)(b), \
		      false)
#define assert_memory_equal(a, b, size) suite_compare_memory(__FILE__, __LINE__, (a), (b), (size))
#define assert_string_equal(a, b) suite_compare_string(__FILE__, __LINE__, (a), (b))

#endif
