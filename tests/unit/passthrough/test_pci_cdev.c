// SPDX-License-Identifier: BSD-3-Clause
/*
 * The way from a PCI address to a VFIO cdev, on a tree that is like /sys and /dev of a machine with
 * one device, 0000:00:02.0. Each case takes one thing away, and the sentence must name it.
 */
#include "test.h"

#include "passthrough/pci_cdev.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "sys/bus/pci/devices/0000:00:02.0"

struct tree {
	char root[64];
};

static char *at(struct tree *t, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	return path;
}

static void make_directories(struct tree *t, const char *name)
{
	char *path = at(t, name);

	for (char *end = strchr(path + strlen(t->root) + 1, '/'); end; end = strchr(end + 1, '/')) {
		*end = '\0';
		if (mkdir(path, 0755))
			assert_int_equal(errno, EEXIST);
		*end = '/';
	}
}

static void make_file(struct tree *t, const char *name)
{
	int fd;

	make_directories(t, name);
	fd = open(at(t, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
}

static void make_link(struct tree *t, const char *target, const char *name)
{
	make_directories(t, name);
	unlink(at(t, name));
	assert_int_equal(symlink(target, at(t, name)), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(struct tree *t, const char *name)
{
	assert_int_equal(nftw(at(t, name), remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static int setup(void **state)
{
	struct tree *t = calloc(1, sizeof(*t));

	snprintf(t->root, sizeof(t->root), "/tmp/nestor-test-XXXXXX");
	assert_non_null(mkdtemp(t->root));
	assert_int_equal(chmod(t->root, 0755), 0);
	make_file(t, DEVICE "/iommu_group/type");
	make_link(t, "../../../../bus/pci/drivers/vfio-pci", DEVICE "/driver");
	make_file(t, DEVICE "/vfio-dev/vfio3/dev");
	make_file(t, "dev/vfio/devices/vfio3");
	make_file(t, "dev/iommu");
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;

	nftw(t->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(t);
	return 0;
}

static void finds(struct tree *t, const char *address)
{
	struct pci_cdev cdev;

	assert_int_equal(pci_cdev_find(t->root, address, &cdev), 0);
	assert_string_equal(cdev.path, "/dev/vfio/devices/vfio3");
}

/* It fails with @err, and says each of @words. */
static void refuses(struct tree *t, const char *address, int err, const char *word,
		    const char *other)
{
	struct pci_cdev cdev;

	assert_int_equal(pci_cdev_find(t->root, address, &cdev), -err);
	if (!strstr(cdev.why, word) || !strstr(cdev.why, other))
		fail_msg("\"%s\" lacks \"%s\" or \"%s\"", cdev.why, word, other);
}

static void finds_a_device(void **state)
{
	finds(*state, "0000:00:02.0");
	finds(*state, "00:02.0");
	finds(*state, "0:2.0");
}

static void large_domains_and_hex_digits(void **state)
{
	struct tree *t = *state;

	make_file(t, "sys/bus/pci/devices/10000:ab:1f.7/vfio-dev/vfio3/dev");
	finds(t, "10000:AB:1F.7");
	finds(t, "00010000:ab:1f.7");
}

static void what_is_no_address(void **state)
{
	static const char *const texts[] = {
		"",
		"vfio0",
		"0000:00:02",
		"00:02",
		"00:02.",
		":02.0",
		"00:20.0",
		"00:02.8",
		"000:02.0",
		"00:02.00",
		"00:02.0 ",
		" 00:02.0",
		"0x0:2.0",
		"+0:2.0",
		"0000:00:02.0/..",
		"0000:0:0:0",
		"000000000:00:02.0",
		"../../../../0:2.0",
		"0000:00:02:0.0",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		refuses(*state, texts[i], EINVAL, texts[i], "not a PCI address");
}

static void no_such_device(void **state)
{
	refuses(*state, "0:3.0", ENODEV, "no PCI device", "0000:00:03.0");
}

static void another_driver(void **state)
{
	struct tree *t = *state;

	remove_tree(t, DEVICE "/vfio-dev");
	make_link(t, "../../../../bus/pci/drivers/e1000e", DEVICE "/driver");
	refuses(t, "0:2.0", ENXIO, "the driver e1000e, not to vfio-pci", "driver/unbind");
	unlink(at(t, DEVICE "/driver"));
	refuses(t, "0:2.0", ENXIO, "bound to no driver, not to vfio-pci", "driver_override");
}

static void no_iommu(void **state)
{
	struct tree *t = *state;

	remove_tree(t, DEVICE "/vfio-dev");
	remove_tree(t, DEVICE "/iommu_group");
	unlink(at(t, DEVICE "/driver"));
	refuses(t, "0:2.0", ENXIO, "behind no IOMMU", "intel_iommu=on");
}

static void a_kernel_without_cdevs(void **state)
{
	struct tree *t = *state;

	unlink(at(t, DEVICE "/vfio-dev/vfio3/dev"));
	refuses(t, "0:2.0", EOPNOTSUPP, "no VFIO cdev for 0000:00:02.0", "CONFIG_VFIO_DEVICE_CDEV");
	remove_tree(t, DEVICE "/vfio-dev");
	refuses(t, "0:2.0", EOPNOTSUPP, "no VFIO cdevs", "6.6");
}

static void no_node(void **state)
{
	struct tree *t = *state;

	unlink(at(t, "dev/vfio/devices/vfio3"));
	refuses(t, "0:2.0", ENOENT, "no /dev/vfio/devices/vfio3", "udev");
	remove_tree(t, "dev/vfio");
	refuses(t, "0:2.0", ENOENT, "no /dev/vfio/devices/vfio3", "container");
}

static void no_iommufd(void **state)
{
	struct tree *t = *state;
	struct pci_cdev cdev;

	assert_int_equal(pci_cdev_check_iommufd(t->root, &cdev), 0);
	unlink(at(t, "dev/iommu"));
	refuses(t, "0:2.0", ENOENT, "no /dev/iommu", "CONFIG_IOMMUFD");
	assert_int_equal(pci_cdev_check_iommufd(t->root, &cdev), -ENOENT);
}

/* In a process that is not root's: root may do everything. */
static void no_permission(void **state)
{
	static const char *const nodes[] = { "dev/vfio/devices/vfio3", "dev/iommu" };
	struct tree *t = *state;

	for (size_t i = 0; i < 2; i++) {
		struct pci_cdev cdev;
		int status;
		pid_t pid;

		assert_int_equal(chmod(at(t, nodes[i]), 0444), 0);
		pid = fork();
		if (!pid) {
			if (!geteuid() && setresuid(65534, 65534, 65534))
				_exit(2);
			if (pci_cdev_find(t->root, "0:2.0", &cdev) != -EACCES)
				_exit(1);
			_exit(!strstr(cdev.why, nodes[i]) || !strstr(cdev.why, "permission"));
		}
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
			skip();
		assert_int_equal(status, 0);
		assert_int_equal(chmod(at(t, nodes[i]), 0666), 0);
	}
	finds(t, "0:2.0");
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(finds_a_device),
		CASE(large_domains_and_hex_digits),
		CASE(what_is_no_address),
		CASE(no_such_device),
		CASE(another_driver),
		CASE(no_iommu),
		CASE(a_kernel_without_cdevs),
		CASE(no_node),
		CASE(no_iommufd),
		CASE(no_permission),
	};

	return cmocka_run_group_tests_name("passthrough_pci_cdev", tests, NULL, NULL);
}
