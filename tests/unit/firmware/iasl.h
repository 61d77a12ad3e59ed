/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPICA's iasl as a second reader of ACPI tables. */
#ifndef TESTS_UNIT_FIRMWARE_IASL_H
#define TESTS_UNIT_FIRMWARE_IASL_H

#include "test.h"

/* What it makes of a table; asserts that it has nothing to say against it. */
void iasl_disassemble(const void *table, size_t size, char *text, size_t text_size);

/* The value printed after @label at or after *@at, "[...] Label : value", begins with @value. */
void iasl_expect(const char **at, const char *label, const char *value);

/* Is there an iasl? */
int iasl_is_there(void);
void iasl_skipped(void **state);

/* cmocka's own skip() says "not ok"; TAP has the directive in the name. */
#define IASL_TEST(f)                                                                     \
	(iasl_is_there() ? (struct CMUnitTest)cmocka_unit_test(f)                        \
			 : (struct CMUnitTest){ #f " # SKIP iasl is not installed", iasl_skipped, \
						NULL, NULL, NULL })

#endif
