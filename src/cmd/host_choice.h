/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which host a command is on, and which devices there are to pass through:
 *
 *	--host soft		the software host; its devices are made ("testdev", "nvme,...")
 *	--host /dev/iommu	the running kernel; its devices are this machine's, and have names
 *				here: a PCI address (0000:3d:00.0), or a VFIO cdev of one
 *				(/dev/vfio/devices/vfio0), which is how "nestor host" has them
 *
 * Whatever is in the way of such a device is said to the user in a sentence, with what to do.
 */
#ifndef CMD_HOST_CHOICE_H
#define CMD_HOST_CHOICE_H

#include <nestor/soft_host.h>

enum host_kind { HOST_SOFT, HOST_KERNEL };

struct host_device {
	char path[64]; /* its VFIO cdev, for nst_device_open() */
};

/* The value of --host: -1, or the status to exit with, the user having been told. */
int host_choice_parse(const char *text, enum host_kind *out);

/*
 * The host: -1, or the status to exit with, the user having been told. @soft counts if it is to
 * be a software host.
 */
int host_choice_open(enum host_kind kind, const struct nst_soft_config *soft,
		     struct nst_host **out);

/* Does @name name a device of this machine? It need not be there. */
bool host_choice_is_name(const char *name);

/*
 * The device @name of this machine, for @host, the kernel: it is there, bound to vfio-pci, free,
 * and behind an IOMMU that can nest the tables of a guest's IOMMU of @wanted's kind. The kernel is
 * asked, and for that the device opened and closed. -1, or the status to exit with, the user having
 * been told.
 */
int host_choice_find(struct nst_host *host, const char *name, enum nst_soft_iommu wanted,
		     struct host_device *out);

/*
 * nst_device_open() or nst_viommu_attach() failed with @err for what host_choice_find() had found:
 * tell the user.
 */
void host_choice_explain(const char *name, int err);

#endif
