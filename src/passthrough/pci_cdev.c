// SPDX-License-Identifier: BSD-3-Clause
/*
 * See pci_cdev.h. Sources: Linux 7.2 Documentation/driver-api/vfio.rst ("VFIO Device cdev") and
 * Documentation/ABI/testing/sysfs-devices-vfio-dev.
 */
#include "passthrough/pci_cdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ADDRESS_SIZE = 20, DRIVER_SIZE = 64 };

__attribute__((format(printf, 3, 4))) static int fail(struct pci_cdev *out, int err,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out->why, sizeof(out->why), format, args);
	va_end(args);
	return err;
}

/* Up to @digits of them, then @end. */
static bool take_hex(const char **text, unsigned int digits, char end, unsigned int *out)
{
	const char *s = *text;
	unsigned int value = 0;

	for (; digits && *s && strchr("0123456789abcdefABCDEF", *s); digits--, s++)
		value = value << 4 | (unsigned int)(*s <= '9' ? *s - '0' : (*s | 0x20) - 'a' + 10);
	if (s == *text || *s != end)
		return false;
	*text = end ? s + 1 : s;
	*out = value;
	return true;
}

/* As sysfs writes it. */
static bool parse_address(const char *text, char out[ADDRESS_SIZE])
{
	const char *colon = strchr(text, ':');
	unsigned int domain = 0, bus, device, function;

	if (colon && strchr(colon + 1, ':') && !take_hex(&text, 8, ':', &domain))
		return false;
	if (!take_hex(&text, 2, ':', &bus) || !take_hex(&text, 2, '.', &device) ||
	    !take_hex(&text, 1, '\0', &function) || device > 31 || function > 7)
		return false;
	snprintf(out, ADDRESS_SIZE, "%04x:%02x:%02x.%x", domain, bus, device, function);
	return true;
}

/* True if there is "@root@format...". */
__attribute__((format(printf, 2, 3))) static bool exists(const char *root, const char *format, ...)
{
	char path[PATH_MAX];
	int length = snprintf(path, sizeof(path), "%s", root);
	va_list args;

	if (length >= PATH_MAX)
		return false;
	va_start(args, format);
	length += vsnprintf(path + length, sizeof(path) - (size_t)length, format, args);
	va_end(args);
	return length < PATH_MAX && !faccessat(AT_FDCWD, path, F_OK, AT_EACCESS);
}

#define SYSFS_DEVICES "/sys/bus/pci/devices/"

/* The name of the driver that @address is bound to; "" if it is to none. */
static void read_driver(const char *root, const char *address, char name[DRIVER_SIZE])
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t n;

	name[0] = '\0';
	if (snprintf(path, sizeof(path), "%s" SYSFS_DEVICES "%s/driver", root, address) >= PATH_MAX)
		return;
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	base = strrchr(target, '/');
	snprintf(name, DRIVER_SIZE, "%.*s", DRIVER_SIZE - 1, base ? base + 1 : target);
}

/* The N of vfio-dev/vfioN; false: there is no such directory. */
static bool read_index(const char *root, const char *address, unsigned int *index)
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s" SYSFS_DEVICES "%s/vfio-dev", root, address) >=
	    PATH_MAX)
		return false;
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir)))
		found = sscanf(entry->d_name, "vfio%u", index) == 1;
	if (dir)
		closedir(dir);
	return found;
}

/* Why a device without a vfio-dev directory has none. */
static int explain_driver(const char *root, const char *address, struct pci_cdev *out)
{
	char driver[DRIVER_SIZE];

	read_driver(root, address, driver);
	if (strstr(driver, "vfio"))
		return fail(out, -EOPNOTSUPP,
			    "this kernel has no VFIO cdevs, and so none for %s: it needs Linux 6.6 "
			    "or later with CONFIG_VFIO_DEVICE_CDEV",
			    address);
	if (!exists(root, SYSFS_DEVICES "%s/iommu_group", address))
		return fail(out, -ENXIO,
			    "%s is behind no IOMMU: is it enabled in the firmware and in the "
			    "kernel (on Intel machines \"intel_iommu=on\")?",
			    address);
	return fail(out, -ENXIO,
		    "%s is bound to %s%s, not to vfio-pci: write vfio-pci to " SYSFS_DEVICES
		    "%s/driver_override,%s and the address to /sys/bus/pci/drivers_probe",
		    address, *driver ? "the driver " : "no driver", driver, address,
		    *driver ? " the address to driver/unbind there," : "");
}

/* A node of /dev for reading and writing; @absent is said if it is not there. */
static int check_node(const char *root, const char *node, const char *absent, struct pci_cdev *out)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s", root, node) >= PATH_MAX)
		return fail(out, -ENOENT, "the name %s%s is too long", root, node);
	if (!faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS))
		return 0;
	if (errno == ENOENT || errno == ENOTDIR)
		return fail(out, -ENOENT, "there is no %s: %s", node, absent);
	return fail(out, -EACCES,
		    "no permission to read and write %s: be root, or be given the file (chown, or "
		    "a udev rule)",
		    node);
}

int pci_cdev_check_iommufd(const char *root, struct pci_cdev *out)
{
	return check_node(root, "/dev/iommu",
			  "the module iommufd is not loaded, or this kernel is built without "
			  "CONFIG_IOMMUFD",
			  out);
}

int pci_cdev_find(const char *root, const char *address, struct pci_cdev *out)
{
	char bdf[ADDRESS_SIZE];
	unsigned int index;
	int ret;

	if (!parse_address(address, bdf))
		return fail(out, -EINVAL, "\"%.40s\" is not a PCI address such as 0000:00:02.0",
			    address);
	if (!exists(root, SYSFS_DEVICES "%s", bdf))
		return fail(out, -ENODEV, "this machine has no PCI device %s", bdf);
	if (!read_index(root, bdf, &index))
		return explain_driver(root, bdf, out);
	/* without cdevs the directory is there all the same, but no number of a device in it */
	if (!exists(root, SYSFS_DEVICES "%s/vfio-dev/vfio%u/dev", bdf, index))
		return fail(out, -EOPNOTSUPP,
			    "this kernel has no VFIO cdev for %s: it is built without "
			    "CONFIG_VFIO_DEVICE_CDEV, or the device is used without IOMMU",
			    bdf);
	snprintf(out->path, sizeof(out->path), "/dev/vfio/devices/vfio%u", index);
	ret = check_node(root, out->path,
			 "does a container or a chroot hide it, or is udev not running?", out);
	return ret ? ret : pci_cdev_check_iommufd(root, out);
}
