/* SPDX-License-Identifier: BSD-3-Clause */
/* The device of the conformance tests as an endpoint: see device.c. */
#ifndef TESTS_CONFORMANCE_DEVICE_H
#define TESTS_CONFORMANCE_DEVICE_H

#include "endpoint/endpoint.h"

struct endpoint *test_device_create(bool pasid);

#endif
