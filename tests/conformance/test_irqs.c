// SPDX-License-Identifier: BSD-3-Clause
/*
 * VFIO_DEVICE_SET_IRQS and what a vector then signals. Expected values: the rules of
 * vfio-pci in Linux 7.2.
 */
#include "rig.h"

#include <linux/pci_regs.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	MSI = VFIO_PCI_MSI_IRQ_INDEX,
	MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
	ERR = VFIO_PCI_ERR_IRQ_INDEX,
	REQ = VFIO_PCI_REQ_IRQ_INDEX
};
#define NONE VFIO_IRQ_SET_DATA_NONE
#define BOOL VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD
#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER

static int set_irqs(struct rig *rig, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
		    const void *data, size_t size)
{
	uint8_t space[sizeof(struct vfio_irq_set) + 256] = { 0 };
	struct vfio_irq_set hdr = { .argsz = (uint32_t)(sizeof(hdr) + size),
				    .flags = flags,
				    .index = index,
				    .start = start,
				    .count = count };

	memcpy(space, &hdr, sizeof(hdr));
	if (size)
		memcpy(space + sizeof(hdr), data, size);
	return call(rig, rig->dev, VFIO_DEVICE_SET_IRQS, space);
}

static int set_fds(struct rig *rig, uint32_t index, uint32_t start, uint32_t count,
		   const int32_t *fds)
{
	return set_irqs(rig, index, EVENTFD | TRIGGER, start, count, fds, 4 * count);
}

static int disable(struct rig *rig, uint32_t index)
{
	return set_irqs(rig, index, NONE | TRIGGER, 0, 0, NULL, 0);
}

static uint64_t drain(int fd)
{
	uint64_t count = 0;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void make_fds(int32_t *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(fds[i] >= 0);
	}
}

static void close_fds(const int32_t *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void header_errors(void **state)
{
	struct rig *rig = *state;
	int32_t fd = -1;
	uint8_t on[8] = { 1 };

	err(EFAULT, call(rig, rig->dev, VFIO_DEVICE_SET_IRQS, NULL));
	err(EINVAL, set_irqs(rig, 5, NONE | TRIGGER, 0, 0, NULL, 0));
	err(EINVAL, set_irqs(rig, MSI, NONE | TRIGGER | 1 << 6, 0, 0, NULL, 0));
	err(EINVAL, set_irqs(rig, MSI, TRIGGER, 0, 0, NULL, 0));
	err(EINVAL, set_irqs(rig, MSI, NONE | BOOL | TRIGGER, 0, 0, NULL, 0));
	err(ENOTTY, set_irqs(rig, MSI, NONE, 0, 1, NULL, 0));
	err(ENOTTY, set_irqs(rig, MSI, NONE | TRIGGER | VFIO_IRQ_SET_ACTION_MASK, 0, 1, NULL, 0));
	err(ENOTTY, set_irqs(rig, MSI, NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, NULL, 0));
	err(ENOTTY, set_irqs(rig, MSIX, NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, NULL, 0));
	err(EINVAL, set_irqs(rig, MSI, EVENTFD | TRIGGER, DEVICE_MSI_VECTORS, 1, &fd, 4));
	err(EINVAL, set_irqs(rig, MSI, EVENTFD | TRIGGER, 1, DEVICE_MSI_VECTORS, &fd, 4));
	err(EINVAL, set_irqs(rig, MSI, EVENTFD | TRIGGER, 1, UINT32_MAX, &fd, 4));
	err(EINVAL, set_irqs(rig, MSI, EVENTFD | TRIGGER, UINT32_MAX, 1, &fd, 4));
	err(EINVAL, set_irqs(rig, MSI, EVENTFD | TRIGGER, 0, 2, &fd, 4));
	err(EINVAL, set_irqs(rig, MSI, BOOL | TRIGGER, 0, 8, on, 7));
	err(EINVAL, set_irqs(rig, VFIO_PCI_INTX_IRQ_INDEX, NONE | TRIGGER, 0, 1, NULL, 0));
	/* nothing is enabled yet */
	err(EINVAL, set_irqs(rig, MSI, BOOL | TRIGGER, 0, 1, on, 1));
	err(EINVAL, set_irqs(rig, MSI, NONE | TRIGGER, 0, 1, NULL, 0));
	err(EINVAL, disable(rig, MSI));
}

static void msi(void **state)
{
	struct rig *rig = *state;
	int32_t fds[DEVICE_MSI_VECTORS], none = -1, pipe_fd = STDERR_FILENO, closed = 9999;
	uint8_t bools[4] = { 0, 1, 0, 1 };

	make_fds(fds, DEVICE_MSI_VECTORS);
	bar_set(rig, REG_RAISE, 0); /* goes nowhere */
	ok(set_fds(rig, MSI, 0, 4, fds));
	for (unsigned int v = 0; v < 4; v++) {
		bar_set(rig, REG_RAISE, v);
		bar_set(rig, REG_RAISE, v);
		for (unsigned int i = 0; i < DEVICE_MSI_VECTORS; i++)
			assert_int_equal(drain(fds[i]), i == v ? 2 : 0);
	}
	bar_set(rig, REG_RAISE, 5);
	bar_set(rig, REG_RAISE, 1000);
	/* the number of vectors was fixed when MSI was enabled */
	err(EINVAL, set_fds(rig, MSI, 4, 1, &fds[4]));
	ok(set_fds(rig, MSI, 1, 1, &none));
	bar_set(rig, REG_RAISE, 1);
	assert_int_equal(drain(fds[1]), 0);
	ok(set_fds(rig, MSI, 1, 1, &fds[1]));
	/* loopback */
	ok(set_irqs(rig, MSI, BOOL | TRIGGER, 0, 4, bools, 4));
	ok(set_irqs(rig, MSI, NONE | TRIGGER, 2, 2, NULL, 0));
	assert_int_equal(drain(fds[0]), 0);
	assert_int_equal(drain(fds[1]), 1);
	assert_int_equal(drain(fds[2]), 1);
	assert_int_equal(drain(fds[3]), 2);
	/* bad descriptors; what the block had is gone then */
	err(EBADF, set_fds(rig, MSI, 0, 1, &closed));
	err(EINVAL, set_fds(rig, MSI, 1, 1, &pipe_fd));
	bar_set(rig, REG_RAISE, 1);
	assert_int_equal(drain(fds[1]), 0);
	/* MSI-X is the other one */
	err(EINVAL, set_fds(rig, MSIX, 0, 1, fds));
	ok(disable(rig, MSI));
	err(EINVAL, disable(rig, MSI));
	bar_set(rig, REG_RAISE, 2);
	assert_int_equal(drain(fds[2]), 0);
	ok(set_fds(rig, MSIX, 0, 1, fds));
	close_fds(fds, DEVICE_MSI_VECTORS);
}

static void msix(void **state)
{
	struct rig *rig = *state;
	int32_t fds[DEVICE_MSIX_VECTORS], closed[2];

	make_fds(fds, DEVICE_MSIX_VECTORS);
	closed[0] = fds[0];
	closed[1] = 9999;
	err(EBADF, set_fds(rig, MSIX, 0, 2, closed)); /* and MSI-X is not enabled by that */
	ok(set_fds(rig, MSI, 0, 1, fds));
	ok(disable(rig, MSI));
	ok(set_fds(rig, MSIX, 0, 1, fds));
	bar_set(rig, REG_RAISE, 0);
	bar_set(rig, REG_RAISE, 3);
	assert_int_equal(drain(fds[0]), 1);
	ok(set_fds(rig, MSIX, 3, 1, &fds[3])); /* vectors may be added */
	bar_set(rig, REG_RAISE, 3);
	assert_int_equal(drain(fds[3]), 1);
	/* our duplicate works on after the caller closed his */
	close(fds[0]);
	bar_set(rig, REG_RAISE, 0);
	ok(host_close(rig, rig->dev));
	close_fds(fds + 1, DEVICE_MSIX_VECTORS - 1);
}

static void err_and_req(void **state)
{
	struct rig *rig = *state;

	for (uint32_t index = ERR; index <= REQ; index++) {
		int32_t fd, none = -1, bad = 9999;
		uint8_t on = 1, off = 0;

		make_fds(&fd, 1);
		err(EINVAL, set_irqs(rig, index, NONE | TRIGGER, 0, 1, NULL, 0));
		err(EINVAL, set_irqs(rig, index, NONE | TRIGGER, 0, 0, NULL, 0));
		err(EINVAL, set_fds(rig, index, 1, 1, &fd));
		err(EINVAL, set_fds(rig, index, 0, 2, (int32_t[]){ fd, fd }));
		err(EBADF, set_fds(rig, index, 0, 1, &bad));
		err(ENOTTY, set_irqs(rig, index, NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, NULL, 0));
		ok(set_fds(rig, index, 0, 1, &fd));
		ok(set_irqs(rig, index, NONE | TRIGGER, 0, 1, NULL, 0));
		ok(set_irqs(rig, index, BOOL | TRIGGER, 0, 1, &on, 1));
		ok(set_irqs(rig, index, BOOL | TRIGGER, 0, 1, &off, 1));
		assert_int_equal(drain(fd), 2);
		err(EINVAL, set_irqs(rig, index, BOOL | TRIGGER, 0, 0, NULL, 0));
		ok(set_irqs(rig, index, NONE | TRIGGER, 0, 0, NULL, 0));
		err(EINVAL, set_irqs(rig, index, NONE | TRIGGER, 0, 1, NULL, 0));
		ok(set_fds(rig, index, 0, 1, &fd));
		ok(set_fds(rig, index, 0, 1, &none));
		ok(set_irqs(rig, index, BOOL | TRIGGER, 0, 1, &on, 1));
		assert_int_equal(drain(fd), 0);
		close(fd);
	}
}

/* Interrupts survive a reset, and end with the file. */
static void life(void **state)
{
	struct rig *rig = *state;
	int32_t fd;

	make_fds(&fd, 1);
	ok(set_fds(rig, MSIX, 0, 1, &fd));
	ok(call(rig, rig->dev, VFIO_DEVICE_RESET, NULL));
	bar_set(rig, REG_RAISE, 0);
	assert_int_equal(drain(fd), 1);
	ok(host_close(rig, rig->dev));
	rig->dev = host_open(rig, rig->path);
	ok(bind_device(rig, rig->dev, rig->iommu, NULL));
	bar_set(rig, REG_RAISE, 0);
	assert_int_equal(drain(fd), 0);
	ok(set_fds(rig, MSI, 0, 1, &fd)); /* nothing is left of MSI-X */
	close(fd);
}

static const struct suite_case cases[] = {
	TEST(header_errors, NEED_OWN_DEVICE), TEST(msi, NEED_OWN_DEVICE),
	TEST(msix, NEED_OWN_DEVICE),	      TEST(err_and_req, NEED_OWN_DEVICE),
	TEST(life, NEED_OWN_DEVICE),
};
SUITE_GROUP(irqs, cases)
