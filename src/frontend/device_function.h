/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A passed-through device as a PCI function over vfio-user: every region access and
 * every interrupt goes to the device as it comes, DMA does not come here at all.
 *
 * But for the request interrupt, by which the host asks for the device: that is the owner's of the
 * device, and the VMM does not see it. QEMU's vfio-user client (11.1) does not listen to it.
 */
#ifndef FRONTEND_DEVICE_FUNCTION_H
#define FRONTEND_DEVICE_FUNCTION_H

#include <nestor/device.h>
#include <nestor/vfio_user.h>

struct device_function;

/*
 * Callbacks are made from within nst_vfu_process(), and may be NULL.
 * @dev: whose regions and interrupts it has; stays the caller's.
 * @identified: the VMM read the vendor id, as one does who looks what is on a bus.
 * @disconnected: the VMM has let go of the device, which has been reset.
 */
struct device_function_config {
	struct nst_device *dev;
	const char *socket_path;
	const struct nst_log *log;
	void (*connected)(void *opaque);
	void (*identified)(void *opaque);
	void (*disconnected)(void *opaque);
	void *opaque;
};

/* Errors: as nst_vfu_create(). */
NST_MUST_CHECK int device_function_create(const struct device_function_config *config,
					  struct device_function **out);
void device_function_destroy(struct device_function *f);
/* The same device opened anew, or NULL: there is none, and accesses fail. */
void device_function_set_device(struct device_function *f, struct nst_device *dev);
struct nst_device *device_function_device(const struct device_function *f);
struct nst_vfu *device_function_vfu(struct device_function *f);

#endif
