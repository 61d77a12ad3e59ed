// SPDX-License-Identifier: BSD-3-Clause
/* See machine.h. */
#include "cmd/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

const struct machine machine_pc = {
	.viommu = "vtd",
	.create_iommu = iommu_function_create_vtd,
	.host_iommu = NST_SOFT_VTD,
	.program = "qemu-system-x86_64",
	.tree = "debian13",
	.part = "guest",
	.kernel = "kernel-x86_64/vmlinuz",
	.initrd = "initramfs-x86_64.cpio.gz",
	.data = { "/usr/share/qemu", "/usr/share/seabios" },
	.type = "q35",
	.append = MACHINE_PC_APPEND,
	.table = MACHINE_TABLE_QEMU,
};

const struct machine machine_virt = {
	.viommu = "smmuv3",
	.create_iommu = iommu_function_create_smmuv3,
	.host_iommu = NST_SOFT_SMMUV3,
	.program = "qemu-system-aarch64",
	.tree = "debian13-arm64",
	.part = "guest-arm64",
	.kernel = "kernel-arm64/vmlinuz",
	.initrd = "initramfs-arm64.cpio.gz",
	.data = { "/usr/share/qemu", "/usr/share/qemu-efi-aarch64" },
	.type = "virt,gic-version=3,its=on",
	.firmware = "QEMU_EFI.fd",
	.append = MACHINE_VIRT_APPEND,
	.table = MACHINE_TABLE_INITRAMFS,
};

const struct machine *machine_find(const char *viommu)
{
	const struct machine *const machines[] = { &machine_pc, &machine_virt };

	for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		if (!strcmp(viommu, machines[i]->viommu))
			return machines[i];
	return NULL;
}

/* Archives of the "newc" format stand on multiples of 4 bytes; the next one of the kernel's too. */
static int pad(int fd)
{
	static const char zeros[3];
	off_t at = lseek(fd, 0, SEEK_CUR);
	size_t n = (size_t)(-at & 3);

	return at < 0 || write(fd, zeros, n) != (ssize_t)n ? -EIO : 0;
}

/* One member; a directory if it has no @data. The kernel reads nothing of it but name and size. */
static int put_member(int fd, const char *name, const void *data, size_t size)
{
	int n = dprintf(fd, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s%c", 0,
			data ? S_IFREG | 0644 : S_IFDIR | 0755, 0, 0, 1, 0, (unsigned int)size, 0,
			0, 0, 0, (unsigned int)strlen(name) + 1, 0, name, 0);
	int ret = n < 0 ? -errno : pad(fd);

	if (!ret && size && write(fd, data, size) != (ssize_t)size)
		ret = -EIO;
	return ret ? ret : pad(fd);
}

static int append_file(int fd, const char *path)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), ret = 0;
	ssize_t n;

	if (from < 0)
		return -errno;
	do
		n = sendfile(fd, from, NULL, 1 << 30);
	while (n > 0);
	if (n < 0)
		ret = -errno;
	close(from);
	return ret;
}

/* Not packed, or the kernel would not find it: it looks before it can unpack. */
static int put_tables(int fd, const struct machine_file *tables, unsigned int num_tables)
{
	static const char *const directories[] = { "kernel", "kernel/firmware",
						   "kernel/firmware/acpi" };
	char path[64];
	int ret = 0;

	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]) && !ret; i++)
		ret = put_member(fd, directories[i], NULL, 0);
	for (unsigned int i = 0; i < num_tables && !ret; i++) {
		snprintf(path, sizeof(path), "kernel/firmware/acpi/%s", tables[i].name);
		ret = put_member(fd, path, tables[i].data, tables[i].size);
	}
	return ret ? ret : put_member(fd, "TRAILER!!!", NULL, 0);
}

int machine_make_initramfs(const char *initrd, const struct machine_file *tables,
			   unsigned int num_tables)
{
	int fd = memfd_create("nestor-initramfs", MFD_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = put_tables(fd, tables, num_tables);
	if (!ret)
		ret = append_file(fd, initrd);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}
