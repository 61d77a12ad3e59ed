// SPDX-License-Identifier: BSD-3-Clause
/*
 * VFIO_DEVICE_FEATURE: which features there are and how each may be called, for a device that
 * can migrate and one that cannot; and low power as the caller sees it. Expected values: the
 * checks of Linux 7.2, written down here feature by feature.
 */
#include "nvme_side.h"

#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PROBE VFIO_DEVICE_FEATURE_PROBE
#define GET VFIO_DEVICE_FEATURE_GET
#define SET VFIO_DEVICE_FEATURE_SET

static uint8_t memory[SIDE_PAGES * PAGE] __attribute__((aligned(4096)));

static struct side *open_nvme(void)
{
	struct side *s = calloc(1, sizeof(*s));
	char image[] = "/tmp/nestor-features-XXXXXX";
	int fd = mkstemp(image);

	assert_true(fd >= 0 && !ftruncate(fd, SIDE_BLOCKS * 512));
	close(fd);
	side_open(s, image, "", memory);
	unlink(image);
	return s;
}

static int feature(struct rig *rig, uint32_t flags, uint32_t argsz)
{
	uint64_t space[4] = { 0 };
	struct vfio_device_feature hdr = { .argsz = argsz, .flags = flags };

	memcpy(space, &hdr, sizeof(hdr));
	return call(rig, rig->dev, VFIO_DEVICE_FEATURE, space);
}

/* What a feature takes: @absent if it is not there at all. */
struct expected {
	int absent;
	uint32_t modes;
	uint32_t size; /* of the data, at least */
	bool undone;   /* a call with zeros for data is refused for what it says */
};

static void check_feature(struct rig *rig, uint32_t number, const struct expected *want)
{
	for (uint32_t modes = 0; modes < 8; modes++) {
		uint32_t flags = modes << 16 | number, asked = flags & (GET | SET);
		int got, expected = 0;

		if (!(flags & PROBE) && asked == (GET | SET))
			expected = -EINVAL;
		else if (want->absent)
			expected = want->absent;
		else if (asked & ~want->modes)
			expected = -EINVAL;
		else if (!(flags & PROBE) && (!asked || want->undone))
			expected = -EINVAL;
		got = feature(rig, flags, 8 + want->size);
		if (got != expected)
			fail_msg("feature %u, modes %u: %d", number, modes, got);
		if (!expected && !(flags & PROBE) && want->size)
			err(EINVAL, feature(rig, flags, 8 + want->size - 1));
		err(EINVAL, feature(rig, flags, 7));
		err(EINVAL, feature(rig, flags | 1U << 19, 32));
	}
	/* what some calls may have begun */
	if (!want->absent && number == VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY)
		ok(feature(rig, SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 8));
}

static void check_features(struct rig *rig, bool migrates)
{
	const int none = migrates ? 0 : -ENOTTY;
	const struct expected want[] = {
		[VFIO_DEVICE_FEATURE_PCI_VF_TOKEN] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_MIGRATION] = { none, GET, 8, false },
		[VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE] = { none, GET | SET, 8, false },
		[VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY] = { 0, SET, 0, false },
		[VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP] = { 0, SET, 8, true },
		[VFIO_DEVICE_FEATURE_LOW_POWER_EXIT] = { 0, SET, 0, false },
		[VFIO_DEVICE_FEATURE_DMA_LOGGING_START] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_MIG_DATA_SIZE] = { none, GET, 8, false },
		[VFIO_DEVICE_FEATURE_BUS_MASTER] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_DMA_BUF] = { .absent = -ENOTTY },
		[VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2] = { migrates ? 0 : -EINVAL, SET, 0,
							     false },
		[13] = { .absent = -ENOTTY },
		[14] = { .absent = -ENOTTY },
	};

	for (uint32_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		/* zeros ask for the state ERROR, where no way leads */
		struct expected w = want[i];

		if (i == VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE && migrates) {
			w.modes = GET;
			err(EINVAL, feature(rig, SET | i, 16));
			ok(feature(rig, PROBE | SET | i, 8));
			ok(feature(rig, PROBE | SET | GET | i, 8));
			for (uint32_t modes = 0; modes < 8; modes++)
				if (modes << 16 & SET)
					continue;
				else if (modes << 16 & (PROBE | GET))
					ok(feature(rig, modes << 16 | i, 16));
				else
					err(EINVAL, feature(rig, modes << 16 | i, 16));
			err(EINVAL, feature(rig, GET | i, 15));
			continue;
		}
		check_feature(rig, i, &w);
	}
	err(ENOTTY, feature(rig, 0xffff, 32));
	err(EFAULT, call(rig, rig->dev, VFIO_DEVICE_FEATURE, NULL));
}

static void of_a_device_that_cannot_migrate(void **state)
{
	check_features(*state, false);
}

static void of_a_device_that_can(void **state)
{
	struct side *s = open_nvme();
	uint32_t words[4] = { 16, GET | VFIO_DEVICE_FEATURE_MIGRATION };
	uint64_t flags;

	check_features(&s->rig, true);
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, words));
	memcpy(&flags, &words[2], sizeof(flags));
	assert_int_equal(flags,
			 VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY);
	side_close(s);
	free(s);
}

/* --- memory that ends ------------------------------------------------------------------------ */

static void data_that_cannot_be_reached(void **state)
{
	struct side *s = open_nvme();
	uint8_t *page =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_feature hdr = { .argsz = 16 };
	static const uint32_t calls[] = { GET | VFIO_DEVICE_FEATURE_MIGRATION,
					  GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
					  SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
					  GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
					  SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP };

	munmap(page + PAGE, PAGE);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		hdr.flags = calls[i];
		memcpy(page + PAGE - 12, &hdr, sizeof(hdr));
		err(EFAULT, call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, page + PAGE - 12));
	}
	/* the whole structure is there, but cannot be written back */
	hdr.flags = SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
	memcpy(page, &hdr, sizeof(hdr));
	memcpy(page + 8, &(struct vfio_device_feature_mig_state){ VFIO_DEVICE_STATE_STOP_COPY, 0 },
	       8);
	mprotect(page, PAGE, PROT_READ);
	err(EFAULT, call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, page));
	assert_int_equal(side_state(s), VFIO_DEVICE_STATE_STOP_COPY);
	munmap(page, PAGE);
	side_close(s);
	free(s);
}

/* --- low power ------------------------------------------------------------------------------- */

static int enter_with_wakeup(struct rig *rig, int fd)
{
	uint32_t words[4] = { 16, SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
			      (uint32_t)fd };

	return call(rig, rig->dev, VFIO_DEVICE_FEATURE, words);
}

static int read_bar(struct rig *rig)
{
	uint64_t word;
	long ret = rig->host->ops->pread(rig->host, rig->dev, &word, 8, 0);

	return ret == 8 ? 0 : (int)ret;
}

static void low_power(void **state)
{
	struct rig *rig = *state;

	ok(read_bar(rig));
	ok(feature(rig, SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 8));
	err(EINVAL, feature(rig, SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 8));
	err(EIO, read_bar(rig));
	assert_int_equal(config_get(rig, PCI_VENDOR_ID, 2), 0x1234);
	err(EIO, read_bar(rig));
	ok(feature(rig, SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 8));
	ok(read_bar(rig));
	ok(feature(rig, SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 8));
}

static void low_power_with_wakeup(void **state)
{
	struct rig *rig = *state;
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int event = eventfd(0, EFD_NONBLOCK), other = memfd_create("x", 0);
	eventfd_t value;

	err(EINVAL, enter_with_wakeup(rig, -1));
	err(EBADF, enter_with_wakeup(rig, 9999));
	err(EINVAL, enter_with_wakeup(rig, other));
	ok(read_bar(rig));
	/* any use of the device is its end, and is said once */
	for (int i = 0; i < 3; i++) {
		ok(enter_with_wakeup(rig, event));
		assert_int_equal(eventfd_read(event, &value), -1);
		if (i == 0)
			ok(read_bar(rig));
		else if (i == 1)
			config_get(rig, PCI_VENDOR_ID, 2);
		else
			ok(call(rig, rig->dev, VFIO_DEVICE_GET_INFO, &info));
		assert_int_equal(eventfd_read(event, &value), 0);
		assert_int_equal(value, 1);
		ok(read_bar(rig));
		assert_int_equal(eventfd_read(event, &value), -1);
	}
	/* closed while it sleeps; the next owner finds it awake */
	ok(enter_with_wakeup(rig, event));
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, NULL));
	ok(read_bar(rig));
	assert_int_equal(eventfd_read(event, &value), -1);
	close(event);
	close(other);
}

static const struct suite_case cases[] = {
	TEST(of_a_device_that_cannot_migrate, NEED_IN_PROCESS | NEED_OWN_DEVICE),
	TEST_ALONE(of_a_device_that_can),
	TEST_ALONE(data_that_cannot_be_reached),
	TEST(low_power, NEED_IN_PROCESS | NEED_OWN_DEVICE),
	TEST(low_power_with_wakeup, NEED_IN_PROCESS | NEED_OWN_DEVICE),
};
SUITE_GROUP(features, cases)
