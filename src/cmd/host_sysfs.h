/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For VMMs that are told a device by its directory in sysfs: directories that look enough
 * like one, "DIR/vfioN/vfio-dev/vfioN/dev". They lie in $TMPDIR or /tmp, and only if
 * somebody asked for them.
 */
#ifndef CMD_HOST_SYSFS_H
#define CMD_HOST_SYSFS_H

struct host_sysfs {
	char directory[4096]; /* "" = not made */
};

/* The directory of @device, to be freed; NULL: errno says why. */
char *host_sysfs_device(struct host_sysfs *sysfs, unsigned int device);
void host_sysfs_remove(struct host_sysfs *sysfs);

#endif
