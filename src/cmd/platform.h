/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a machine's files say of its IOMMUs and its PCI devices: sysfs, /proc, the kernel's
 * configuration. All paths are below a root, "" for the running machine, so that a tree copied from
 * another machine, or made for a test, is read the same way. Nothing here writes or opens a device.
 *
 * Sources: Linux 7.2 Documentation/ABI/testing/sysfs-class-iommu-intel-iommu, -amd-iommu,
 * sysfs-kernel-iommu_groups, sysfs-bus-pci, sysfs-devices-vfio-dev.
 */
#ifndef CMD_PLATFORM_H
#define CMD_PLATFORM_H

#include <nestor/types.h>

#include <stdbool.h>
#include <stdio.h>

enum {
	PLATFORM_PATH = 512,
	PLATFORM_NAME = 64,
	PLATFORM_TEXT = 1024,
	PCI_ADDRESS = sizeof("0000:3d:00.0"),
};

enum iommu_kind { IOMMU_NONE, IOMMU_VTD, IOMMU_AMD, IOMMU_SMMUV3, IOMMU_OTHER };

struct platform_iommu {
	enum iommu_kind kind;
	char name[PLATFORM_NAME];    /* as in /sys/class/iommu */
	char version[PLATFORM_NAME]; /* VT-d: "major:minor" */
	uint64_t cap, ecap;	     /* VT-d; if @registers */
	uint64_t features;	     /* AMD; if @registers */
	bool registers;		     /* they could be read */
};

struct platform {
	char root[PLATFORM_PATH];
	char release[PLATFORM_NAME]; /* "" if it is not known */
	char *config, *config_path;  /* of the kernel; NULL if it is nowhere to be read */
	char *command_line;	     /* of the kernel */
	bool iommufd;		     /* /dev/iommu is there */
	bool dmar, ivrs, iort;	     /* the firmware describes an IOMMU of this vendor */
	bool firmware_seen;	     /* there are ACPI tables to look at */
	unsigned int num_iommus;
};

struct platform_device {
	char address[PCI_ADDRESS];
	char id[16], class[16];	    /* "8086:0b25", "0x088000" */
	char driver[PLATFORM_NAME]; /* "" for none */
	char group[PLATFORM_NAME];  /* "" for none: no IOMMU translates for it */
	char group_type[PLATFORM_NAME];
	char companions[PLATFORM_TEXT]; /* others of the group, "0000:3d:00.1 (nvme)", commas
					 * between
					 */
	char blockers[PLATFORM_TEXT]; /* of those, the ones whose driver keeps the group from us */
	char reserved[PLATFORM_TEXT]; /* "0xfee00000-0xfeefffff msi", commas between */
	bool direct;		      /* one of them is "direct": firmware's own DMA */
	char cdev[PLATFORM_PATH];     /* "/dev/vfio/devices/vfio0", "" for none */
	struct platform_iommu iommu;
	bool ext_config; /* the capabilities below could be looked for */
	bool ats, pri, pasid;
	unsigned int pasid_bits;
};

/* -ENOMEM, or -ENAMETOOLONG for @root: what is not there is an answer, and no error. */
int platform_read(const char *root, struct platform *out);
void platform_fini(struct platform *machine);

/* Of "CONFIG_X" in the kernel's configuration: 'y', 'm', 'n', or '?' if there is none to read. */
char platform_config(const struct platform *machine, const char *option);
/* Whether @word stands on the kernel's command line among the comma-separated values of @key. */
bool platform_parameter(const struct platform *machine, const char *key, const char *word);

/* "3d:00.0" and "0000:3D:00.0" to "0000:3d:00.0"; false if @text is no PCI address. */
bool platform_pci_address(const char *text, char out[PCI_ADDRESS]);
/* -ENODEV: there is no such device. @address as platform_pci_address() leaves it. */
int platform_read_device(const struct platform *machine, const char *address,
			 struct platform_device *out);
/* The addresses of all devices that are no bridges, in order; -1 for want of memory. To be freed.
 */
int platform_list(const struct platform *machine, char (**addresses)[PCI_ADDRESS]);

/* A file to read; NULL if it cannot be opened. */
FILE *platform_open(const struct platform *machine, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A file's first line without its end; false if it cannot be read. */
bool platform_line(const struct platform *machine, char *out, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The last part of what a symbolic link points to; false if there is none. */
bool platform_link(const struct platform *machine, char *out, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool platform_exists(const struct platform *machine, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
