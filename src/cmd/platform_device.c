// SPDX-License-Identifier: BSD-3-Clause
/* See platform.h. A PCI device: its IOMMU, its group, and the capabilities of PCIe that IOMMUs use.
 */
#include "cmd/platform.h"

#include <dirent.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "/sys/bus/pci/devices"

bool platform_pci_address(const char *text, char out[PCI_ADDRESS])
{
	unsigned int domain = 0, bus, slot, function;
	int end = -1;

	if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) != 4 ||
	    end < 0 || text[end]) {
		domain = 0;
		end = -1;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) != 3 || end < 0 ||
		    text[end])
			return false;
	}
	if (slot > 31 || function > 7 || text[strspn(text, "0123456789abcdefABCDEF:.")])
		return false;
	snprintf(out, PCI_ADDRESS, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff, slot,
		 function);
	return true;
}

/* ", "-separated; what does not fit ends in "...". */
static void append(char text[PLATFORM_TEXT], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void append(char text[PLATFORM_TEXT], const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list ap;
	int n;

	if (used > PLATFORM_TEXT - 8)
		return;
	if (used)
		used += (size_t)sprintf(text + used, ", ");
	va_start(ap, fmt);
	n = vsnprintf(text + used, PLATFORM_TEXT - used, fmt, ap);
	va_end(ap);
	if (n >= (int)(PLATFORM_TEXT - used))
		strcpy(text + PLATFORM_TEXT - 4, "...");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int entries(const struct platform *m, const char *directory, struct dirent ***out)
{
	char path[PLATFORM_PATH * 2];

	snprintf(path, sizeof(path), "%s%s", m->root, directory);
	return scandir(path, out, no_dots, by_name);
}

static void free_entries(struct dirent **list, int count)
{
	for (int i = 0; i < count; i++)
		free(list[i]);
	if (count >= 0)
		free(list);
}

static bool is_bridge(const struct platform *m, const char *address)
{
	char class[16];

	platform_line(m, class, sizeof(class), DEVICES "/%s/class", address);
	return !strncmp(class, "0x06", 4);
}

/*
 * DMA of a group belongs to one owner. Drivers that leave it to another are vfio's and those of
 * PCI bridges; any other keeps the whole group.
 */
static bool keeps_group(const struct platform *m, const char *address, const char *driver)
{
	return *driver && strncmp(driver, "vfio-", 5) && !strstr(driver, "-vfio-") &&
	       strcmp(driver, "pci-stub") && !is_bridge(m, address);
}

static void read_group(const struct platform *m, struct platform_device *d)
{
	char directory[PLATFORM_PATH];
	struct dirent **list;
	int count;

	if (!platform_link(m, d->group, sizeof(d->group), DEVICES "/%s/iommu_group", d->address))
		return;
	platform_line(m, d->group_type, sizeof(d->group_type), "/sys/kernel/iommu_groups/%s/type",
		      d->group);
	snprintf(directory, sizeof(directory), "/sys/kernel/iommu_groups/%s/devices", d->group);
	count = entries(m, directory, &list);
	for (int i = 0; i < count; i++) {
		const char *other = list[i]->d_name;
		char driver[PLATFORM_NAME];

		if (!strcmp(other, d->address))
			continue;
		platform_link(m, driver, sizeof(driver), DEVICES "/%s/driver", other);
		append(d->companions, "%s (%s)", other, *driver ? driver : "no driver");
		if (keeps_group(m, other, driver))
			append(d->blockers, "%s (%s)", other, driver);
	}
	free_entries(list, count);
}

static void read_reserved(const struct platform *m, struct platform_device *d)
{
	FILE *f = platform_open(m, "/sys/kernel/iommu_groups/%s/reserved_regions", d->group);
	unsigned long long start, end;
	char line[128], type[32];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %llx %31s", &start, &end, type) != 3)
			continue;
		append(d->reserved, "0x%llx-0x%llx %s", start, end, type);
		d->direct |= !strcmp(type, "direct");
	}
	if (f)
		fclose(f);
}

static bool hex_line(const struct platform *m, uint64_t *out, const char *iommu, const char *file)
{
	char line[32], *end;

	if (!platform_line(m, line, sizeof(line), "/sys/class/iommu/%s/%s", iommu, file))
		return false;
	*out = strtoull(line, &end, 16);
	return end != line && !*end;
}

static void read_iommu(const struct platform *m, const char *address, struct platform_iommu *iommu)
{
	char *name = iommu->name;

	if (!platform_link(m, name, sizeof(iommu->name), DEVICES "/%s/iommu", address))
		return;
	iommu->kind = IOMMU_OTHER;
	if (platform_exists(m, "/sys/class/iommu/%s/intel-iommu", name)) {
		iommu->kind = IOMMU_VTD;
		platform_line(m, iommu->version, sizeof(iommu->version),
			      "/sys/class/iommu/%s/intel-iommu/version", name);
		iommu->registers = hex_line(m, &iommu->cap, name, "intel-iommu/cap") &&
				   hex_line(m, &iommu->ecap, name, "intel-iommu/ecap");
	} else if (platform_exists(m, "/sys/class/iommu/%s/amd-iommu", name)) {
		iommu->kind = IOMMU_AMD;
		iommu->registers = hex_line(m, &iommu->features, name, "amd-iommu/features");
	} else if (!strncmp(name, "smmu3.", 6)) {
		iommu->kind = IOMMU_SMMUV3;
	}
}

static uint32_t le32_at(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Who may not see all of the configuration space gets its first 64 bytes. */
static void read_capabilities(const struct platform *m, struct platform_device *d)
{
	uint8_t config[4096];
	FILE *f = platform_open(m, DEVICES "/%s/config", d->address);
	size_t n = 0;

	if (f) {
		n = fread(config, 1, sizeof(config), f);
		fclose(f);
	}
	d->ext_config = n == sizeof(config) || n == 256; /* 256: conventional PCI, which has none */
	if (n != sizeof(config))
		return;
	/* a list longer than there is room for goes in a circle */
	for (unsigned int at = 0x100, i = 0; at >= 0x100 && at < 0xff8 && i < 0x1e0; i++) {
		uint32_t header = le32_at(config + at);

		d->ats |= PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_ATS;
		d->pri |= PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_PRI;
		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_PASID) {
			d->pasid = true;
			d->pasid_bits = config[at + PCI_PASID_CAP + 1] & 0x1f;
		}
		at = PCI_EXT_CAP_NEXT(header);
	}
}

static void read_cdev(const struct platform *m, struct platform_device *d)
{
	char directory[PLATFORM_PATH];
	struct dirent **list;
	int count;

	snprintf(directory, sizeof(directory), DEVICES "/%s/vfio-dev", d->address);
	count = entries(m, directory, &list);
	if (count > 0)
		snprintf(d->cdev, sizeof(d->cdev), "/dev/vfio/devices/%s", list[0]->d_name);
	free_entries(list, count);
}

int platform_read_device(const struct platform *m, const char *address, struct platform_device *out)
{
	struct platform_device d = { 0 };
	char vendor[8], device[8];

	if (!platform_exists(m, DEVICES "/%s", address))
		return -ENODEV;
	snprintf(d.address, sizeof(d.address), "%s", address);
	platform_line(m, vendor, sizeof(vendor), DEVICES "/%s/vendor", address);
	platform_line(m, device, sizeof(device), DEVICES "/%s/device", address);
	if (strlen(vendor) == 6 && strlen(device) == 6)
		snprintf(d.id, sizeof(d.id), "%s:%s", vendor + 2, device + 2);
	platform_line(m, d.class, sizeof(d.class), DEVICES "/%s/class", address);
	platform_link(m, d.driver, sizeof(d.driver), DEVICES "/%s/driver", address);
	read_group(m, &d);
	if (*d.group)
		read_reserved(m, &d);
	read_iommu(m, address, &d.iommu);
	read_capabilities(m, &d);
	read_cdev(m, &d);
	*out = d;
	return 0;
}

int platform_list(const struct platform *m, char (**addresses)[PCI_ADDRESS])
{
	struct dirent **list;
	int count = entries(m, DEVICES, &list), kept = 0;

	*addresses = calloc(count > 0 ? (size_t)count : 1, sizeof(**addresses));
	for (int i = 0; *addresses && i < count; i++)
		if (!is_bridge(m, list[i]->d_name) &&
		    platform_pci_address(list[i]->d_name, (*addresses)[kept]))
			kept++;
	free_entries(list, count);
	return *addresses ? kept : -1;
}
