// SPDX-License-Identifier: BSD-3-Clause
/*
 * Which files "nestor bind" and "unbind" write, and when they write none, on a tree of plain files.
 * There no kernel moves a device, so binding fails in its last step, and must then be undone. The
 * rest is tested on kernels (tests/kernel).
 */
#include "test.h"

#include "cmd/binding.h"
#include "cmd/cmd.h"
#include "cmd/holders.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESS "0000:3d:00.0"
#define DEVICE "/sys/bus/pci/devices/" ADDRESS
#define DRIVERS "/sys/bus/pci/drivers"
#define GROUP "/sys/kernel/iommu_groups/7"

struct world {
	char root[64];
	struct platform platform;
};

static void path_of(char out[512], const char *root, const char *path)
{
	assert_true(snprintf(out, 512, "%s%s", root, path) < 512);
}

static void make_parents(char *path)
{
	for (char *end = strchr(path + 1, '/'); end; end = strchr(end + 1, '/')) {
		*end = '\0';
		mkdir(path, 0700);
		*end = '/';
	}
}

static void put(struct world *w, const char *path, const char *text)
{
	char whole[512];
	FILE *f;

	path_of(whole, w->root, path);
	make_parents(whole);
	f = fopen(whole, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void point(struct world *w, const char *path, const char *target)
{
	char whole[512];

	path_of(whole, w->root, path);
	make_parents(whole);
	unlink(whole);
	assert_false(symlink(target, whole));
}

static void assert_file(struct world *w, const char *path, const char *text)
{
	char got[64];

	if (!platform_line(&w->platform, got, sizeof(got), "%s", path))
		got[0] = '\0';
	assert_string_equal(got, text);
}

/* What it prints goes to a file: it would stand between TAP's lines, and can be looked at there. */
static int call(struct world *w, int (*one)(const struct platform *, const char *, bool),
		const char *address, bool force)
{
	char path[512];
	int kept[2], fd, status;

	path_of(path, w->root, "/said");
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
	assert_true(fd >= 0);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		kept[i] = dup(1 + i);
		dup2(fd, 1 + i);
	}
	status = one(&w->platform, address, force);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(kept[i], 1 + i);
		close(kept[i]);
	}
	close(fd);
	return status;
}

static void assert_said(struct world *w, const char *words)
{
	char path[512], text[4096];
	size_t n;
	FILE *f;

	path_of(path, w->root, "/said");
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	assert_non_null(strstr(text, words));
}

/* A disk that the driver nvme has, on which "/" is. */
static int begin(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	strcpy(w->root, "/tmp/nestor-test-XXXXXX");
	assert_non_null(mkdtemp(w->root));
	put(w, DEVICE "/vendor", "0x8086\n");
	put(w, DEVICE "/device", "0x0953\n");
	put(w, DEVICE "/class", "0x010802\n");
	put(w, DEVICE "/driver_override", "");
	put(w, DEVICE "/nvme/nvme0/nvme0n1/size", "1\n");
	point(w, DEVICE "/nvme/nvme0/nvme0n1/subsystem", "../../../../../../class/block");
	point(w, DEVICE "/driver", "../../../bus/pci/drivers/nvme");
	point(w, DEVICE "/iommu_group", "../../../kernel/iommu_groups/7");
	put(w, GROUP "/devices/" ADDRESS, "");
	put(w, DRIVERS "/nvme/unbind", "");
	put(w, DRIVERS "/vfio-pci/unbind", "");
	put(w, "/sys/bus/pci/drivers_probe", "");
	put(w, "/proc/self/mounts", "proc /proc proc rw 0 0\n/dev/nvme0n1 / ext4 rw 0 0\n");
	put(w, "/proc/17/comm", "qemu\n");
	put(w, "/proc/17/fd/0", "");
	assert_false(platform_read(w->root, &w->platform));
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int end(void **state)
{
	struct world *w = *state;

	platform_fini(&w->platform);
	nftw(w->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static void assert_untouched(struct world *w)
{
	assert_file(w, DEVICE "/driver_override", "");
	assert_file(w, DRIVERS "/nvme/unbind", "");
	assert_file(w, DRIVERS "/vfio-pci/unbind", "");
	assert_file(w, "/sys/bus/pci/drivers_probe", "");
}

static void in_use_is_left_alone(void **state)
{
	struct world *w = *state;
	char holders[PLATFORM_TEXT];

	assert_int_equal(call(w, binding_bind, ADDRESS, false), EXIT_FAILED);
	assert_untouched(w);
	assert_said(w, "in use: the driver nvme has it, with disk nvme0n1 (mounted on /)");
	holders_of_driver(&w->platform, ADDRESS, holders);
	assert_string_equal(holders, "disk nvme0n1 (mounted on /)");
}

static void forced(void **state)
{
	struct world *w = *state;

	assert_int_equal(call(w, binding_bind, ADDRESS, true), EXIT_FAILED);
	assert_file(w, DRIVERS "/nvme/unbind", ADDRESS);
	assert_file(w, "/sys/bus/pci/drivers_probe", ADDRESS);
	assert_said(w, "did not take");
	assert_said(w, "undoing it");
	/* vfio-pci did not take it, and so the override is gone again; a file keeps longer text */
	assert_file(w, DEVICE "/driver_override", "");
	assert_file(w, DRIVERS "/vfio-pci/unbind", "");
}

static void without_group_or_driver(void **state)
{
	struct world *w = *state;
	char path[512];

	path_of(path, w->root, DRIVERS "/vfio-pci/unbind");
	assert_false(unlink(path));
	path_of(path, w->root, DRIVERS "/vfio-pci");
	assert_false(rmdir(path));
	assert_int_equal(call(w, binding_bind, ADDRESS, true), EXIT_FAILED);
	put(w, DRIVERS "/vfio-pci/unbind", "");
	path_of(path, w->root, DEVICE "/iommu_group");
	assert_false(unlink(path));
	assert_int_equal(call(w, binding_bind, ADDRESS, true), EXIT_FAILED);
	assert_untouched(w);
	assert_int_equal(call(w, binding_bind, "0000:3d:00.1", true), EXIT_USAGE);
}

static void bound_already(void **state)
{
	struct world *w = *state;

	point(w, DEVICE "/driver", "../../../bus/pci/drivers/vfio-pci");
	assert_int_equal(call(w, binding_bind, ADDRESS, false), EXIT_OK);
	assert_untouched(w);
}

static void unbind(void **state)
{
	struct world *w = *state;

	/* not vfio-pci's: also by force */
	assert_int_equal(call(w, binding_unbind, ADDRESS, true), EXIT_FAILED);
	assert_untouched(w);
	point(w, DEVICE "/driver", "../../../bus/pci/drivers/vfio-pci");
	put(w, DEVICE "/vfio-dev/vfio3/dev", "510:3\n");
	/* a program has the device, then its group */
	point(w, "/proc/17/fd/5", "/dev/vfio/devices/vfio3");
	assert_int_equal(call(w, binding_unbind, ADDRESS, false), EXIT_FAILED);
	assert_said(w, "process 17 (qemu)");
	point(w, "/proc/17/fd/5", "/dev/vfio/7");
	assert_int_equal(call(w, binding_unbind, ADDRESS, false), EXIT_FAILED);
	assert_untouched(w);
	/* others are nothing to it */
	point(w, "/proc/17/fd/5", "/dev/vfio/devices/vfio31");
	assert_int_equal(call(w, binding_unbind, ADDRESS, false), EXIT_OK);
	assert_file(w, DRIVERS "/vfio-pci/unbind", ADDRESS);
	assert_file(w, "/sys/bus/pci/drivers_probe", ADDRESS);
	assert_file(w, DRIVERS "/nvme/unbind", "");
}

static void addresses(void **state)
{
	static const char *const bad[] = { "",	       "3d:00",	      "3d:20.0",
					   "3d:00.8",  "0:0:3d:00.0", "3d:00.0 ",
					   "-3d:00.0", "3d:00.0x",    "12345:3d:00.0",
					   "+3:00.0" };
	char out[PCI_ADDRESS];

	assert_true(platform_pci_address("3d:1f.7", out) && !strcmp(out, "0000:3d:1f.7"));
	assert_true(platform_pci_address("ABCD:EF:00.0", out) && !strcmp(out, "abcd:ef:00.0"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(platform_pci_address(bad[i], out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_use_is_left_alone, begin, end),
		cmocka_unit_test_setup_teardown(forced, begin, end),
		cmocka_unit_test_setup_teardown(without_group_or_driver, begin, end),
		cmocka_unit_test_setup_teardown(bound_already, begin, end),
		cmocka_unit_test_setup_teardown(unbind, begin, end),
		cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests_name("binding", tests, NULL, NULL);
}
