/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A passed-through device as a PCI function over vfio-user: every region access and
 * every interrupt goes to the device as it comes, DMA does not come here at all.
 */
#ifndef FRONTEND_DEVICE_FUNCTION_H
#define FRONTEND_DEVICE_FUNCTION_H

#include <nestor/device.h>
#include <nestor/vfio_user.h>

struct device_function;

/* @dev stays the caller's. Errors: as nst_vfu_create(). */
NST_MUST_CHECK int device_function_create(struct nst_device *dev, const char *socket_path,
					  const struct nst_log *log, struct device_function **out);
void device_function_destroy(struct device_function *f);
struct nst_vfu *device_function_vfu(struct device_function *f);

#endif
