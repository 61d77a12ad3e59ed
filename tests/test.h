/* SPDX-License-Identifier: BSD-3-Clause */
/* What every test program with cmocka includes, in the order that it wants. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random.h"

#endif
