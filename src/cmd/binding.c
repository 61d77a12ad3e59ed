// SPDX-License-Identifier: BSD-3-Clause
/* See binding.h. The order of the writes: an override alone changes nothing, so it comes first. */
#include "cmd/binding.h"

#include "cmd/cmd.h"
#include "cmd/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"

/* Write @text to a file of sysfs and say so; false, and why, if it cannot be written. */
static bool tell(const struct platform *m, const char *text, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool tell(const struct platform *m, const char *text, const char *fmt, ...)
{
	char path[PLATFORM_PATH], whole[PLATFORM_PATH * 2], line[PLATFORM_NAME];
	int n = snprintf(line, sizeof(line), "%s\n", text), fd, err;
	va_list ap;
	ssize_t ret;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	snprintf(whole, sizeof(whole), "%s%s", m->root, path);
	fd = open(whole, O_WRONLY | O_CLOEXEC);
	ret = fd < 0 ? -1 : write(fd, line, (size_t)n);
	err = errno;
	if (fd >= 0)
		close(fd);
	if (ret == n) {
		printf("  echo %s > %s\n", *text ? text : "\"\"", path);
		return true;
	}
	complain("%s cannot be written: %s%s", path, strerror(err),
		 err == EACCES || err == EPERM ? "; this needs root" : "");
	return false;
}

static int read_device(const struct platform *m, const char *address, struct platform_device *d)
{
	if (!platform_read_device(m, address, d))
		return -1;
	complain("there is no PCI device %s on this machine; \"lspci -D\" lists them", address);
	return EXIT_USAGE;
}

static void report_group(const struct platform_device *d)
{
	printf("%s (%s) is in IOMMU group %s%s%s\n", d->address, d->id, d->group,
	       *d->companions ? ", with " : ", alone", d->companions);
	if (*d->blockers)
		printf("note: a group has one owner. Before a guest can have %s, its neighbours are "
		       "to be unbound or given to vfio-pci too: %s\n",
		       d->address, d->blockers);
}

/* -1, or the status to exit with */
static int may_bind(const struct platform *m, const struct platform_device *d, bool force)
{
	char holders[PLATFORM_TEXT];

	if (!*d->group) {
		complain("no IOMMU translates for %s, so it cannot be given away safely; \"nestor "
			 "doctor %s\" says what is missing",
			 d->address, d->address);
		return EXIT_FAILED;
	}
	if (!platform_exists(m, "/sys/bus/pci/drivers/vfio-pci")) {
		complain(
			"the kernel has no driver vfio-pci: load it (modprobe vfio-pci), or boot a "
			"kernel with CONFIG_VFIO_PCI");
		return EXIT_FAILED;
	}
	if (!*d->driver || force)
		return -1;
	holders_of_driver(m, d->address, holders);
	complain("%s is in use: the driver %s has it%s%s. Nothing was changed. Take it out of use, "
		 "then say --force",
		 d->address, d->driver, *holders ? ", with " : "", holders);
	return EXIT_FAILED;
}

/* Back to what it was. What fails here has been said, and there is nothing more to do. */
static int give_up(const struct platform *m, const char *address)
{
	printf("undoing it:\n");
	if (tell(m, "", DEVICES "/%s/driver_override", address))
		tell(m, address, "/sys/bus/pci/drivers_probe");
	return EXIT_FAILED;
}

static int report_bound(const struct platform *m, const struct platform_device *was)
{
	struct platform_device now;

	if (platform_read_device(m, was->address, &now) || strcmp(now.driver, "vfio-pci")) {
		complain("vfio-pci did not take %s; the kernel's log (dmesg) may say why",
			 was->address);
		return give_up(m, was->address);
	}
	if (*now.cdev)
		printf("%s is %s now\n", now.address, now.cdev);
	else
		printf("vfio-pci has %s now, but there is no /dev/vfio/devices/vfioN for it: the kernel "
		       "lacks CONFIG_VFIO_DEVICE_CDEV\n",
		       now.address);
	printf("to undo it: nestor unbind %s%s%s\n", now.address,
	       *was->driver ? "     # back to " : "", was->driver);
	return *now.cdev ? EXIT_OK : EXIT_FAILED;
}

int binding_bind(const struct platform *m, const char *address, bool force)
{
	struct platform_device d;
	int status = read_device(m, address, &d);

	if (status < 0 && !strcmp(d.driver, "vfio-pci")) {
		report_group(&d);
		printf("vfio-pci has it already%s%s; nothing was changed\n", *d.cdev ? ", as " : "",
		       d.cdev);
		return EXIT_OK;
	}
	if (status < 0)
		status = may_bind(m, &d, force);
	if (status >= 0)
		return status;
	report_group(&d);
	if (!tell(m, "vfio-pci", DEVICES "/%s/driver_override", address))
		return EXIT_FAILED;
	if (*d.driver && !tell(m, address, "/sys/bus/pci/drivers/%s/unbind", d.driver))
		return give_up(m, address);
	if (!tell(m, address, "/sys/bus/pci/drivers_probe"))
		return give_up(m, address);
	return report_bound(m, &d);
}

static int may_unbind(const struct platform *m, const struct platform_device *d, bool force)
{
	char holders[PLATFORM_TEXT];

	if (strcmp(d->driver, "vfio-pci")) {
		complain("vfio-pci does not have %s: %s%s", d->address,
			 *d->driver ? "it belongs to " : "no driver has it", d->driver);
		return EXIT_FAILED;
	}
	holders_of_vfio(m, d, holders);
	if (!*holders || force)
		return -1;
	complain("%s is in use: %s has it open. Nothing was changed. End that; with --force the "
		 "kernel asks for it and waits until it is closed",
		 d->address, holders);
	return EXIT_FAILED;
}

int binding_unbind(const struct platform *m, const char *address, bool force)
{
	struct platform_device d, now;
	int status = read_device(m, address, &d);

	if (status < 0)
		status = may_unbind(m, &d, force);
	if (status >= 0)
		return status;
	if (!tell(m, "", DEVICES "/%s/driver_override", address) ||
	    !tell(m, address, "/sys/bus/pci/drivers/vfio-pci/unbind") ||
	    !tell(m, address, "/sys/bus/pci/drivers_probe"))
		return EXIT_FAILED;
	if (platform_read_device(m, address, &now))
		return complain("%s has vanished", address), EXIT_FAILED;
	if (*now.driver)
		printf("%s belongs to %s now\n", address, now.driver);
	else
		printf("no driver has %s now\n", address);
	printf("to undo it: nestor bind %s%s\n", address, *now.driver ? " --force" : "");
	return EXIT_OK;
}
