// SPDX-License-Identifier: BSD-3-Clause
/*
 * An emulated device as a function, as its client sees it: what it is, DMA into the client's
 * memory by the device's thread, interrupts, resets, and what is left when the client goes. The
 * unit that it is behind does not translate: see tests/unit/frontend.
 */
#include "client.h"

#include "base/alloc.h"
#include "base/endian.h"
#include "endpoint/dmatest_spec.h"
#include "frontend/endpoint_function.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BAR0 = 0, CONFIG = 7, MEMORY = 0x10000, RING = 0x1000, COMPLETIONS = 0x2000, VECTOR = 2 };
#define QUEUE0 DMATEST_REG_QUEUES
#define TRIGGER (VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD)

struct function {
	struct fixture client;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	struct endpoint_function *function;
	uint8_t *memory;
	struct reply reply; /* too large for a stack */
};

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
}

static int setup_device(void **state, const char *description)
{
	struct function *t = calloc(1, sizeof(*t));
	struct fixture *f = &t->client;
	struct nst_vtd_config unit = { .send_msi = no_msi };
	struct endpoint_function_config config = { .rid = 8, .socket_path = f->path };
	struct endpoint *ep;
	char *why = NULL;

	f->fds_at_start = count_fds();
	f->sock = -1;
	strcpy(f->dir, "/tmp/nestor-vfu-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	assert_int_equal(nst_vm_create(NULL, NULL, &t->vm), 0);
	unit.vm = config.vm = t->vm;
	assert_int_equal(nst_vtd_create(&unit, &t->viommu), 0);
	config.viommu = t->viommu;
	assert_int_equal(endpoint_create(description, NULL, &ep, &why), 0);
	assert_int_equal(endpoint_function_create(&config, ep, &t->function), 0);
	t->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(nst_vm_map(t->vm, (nst_gpa){ 0 }, MEMORY, t->memory, true), 0);
	f->vfu = endpoint_function_vfu(t->function);
	client_connect(f);
	client_version(f, qemu_version);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_device(state, "dmatest,queues=2");
}

static int setup_old(void **state)
{
	return setup_device(state, "testdev");
}

static int teardown(void **state)
{
	struct function *t = *state;

	client_close(&t->client);
	endpoint_function_destroy(t->function);
	nst_viommu_destroy(t->viommu);
	nst_vm_destroy(t->vm);
	munmap(t->memory, MEMORY);
	assert_int_equal(rmdir(t->client.dir), 0);
	assert_int_equal(count_fds(), t->client.fds_at_start);
	free(t);
	return 0;
}

static uint64_t access_region(struct function *t, uint16_t command, uint32_t region,
			      uint64_t offset, unsigned int size, uint64_t value)
{
	struct { struct wire_region_access access; uint64_t value; } msg = {
		.access = { .offset = offset, .region = region, .count = size }, .value = value };

	client_call(&t->client, command, &msg, command == WIRE_REGION_WRITE ? 16 + size : 16, -1, 0,
		    &t->reply);
	value = 0;
	if (command == WIRE_REGION_READ)
		memcpy(&value, t->reply.payload + 16, size);
	return value;
}

static uint32_t bar_get(struct function *t, uint64_t offset)
{
	return (uint32_t)access_region(t, WIRE_REGION_READ, BAR0, offset, 4, 0);
}

static void bar_set(struct function *t, uint64_t offset, uint32_t value)
{
	access_region(t, WIRE_REGION_WRITE, BAR0, offset, 4, value);
}

static uint32_t config_get(struct function *t, uint64_t offset, unsigned int size)
{
	return (uint32_t)access_region(t, WIRE_REGION_READ, CONFIG, offset, size, 0);
}

static void config_set(struct function *t, uint64_t offset, unsigned int size, uint32_t value)
{
	access_region(t, WIRE_REGION_WRITE, CONFIG, offset, size, value);
}

static int set_irqs(struct function *t, uint32_t flags, uint32_t start, uint32_t count, int fd)
{
	struct wire_irq_set msg = { .argsz = sizeof(msg),
				    .flags = flags,
				    .index = VFIO_PCI_MSI_IRQ_INDEX,
				    .start = start,
				    .count = count };

	client_call(&t->client, WIRE_SET_IRQS, &msg, sizeof(msg), fd, 0, &t->reply);
	return 0;
}

static bool is_signalled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, 0) > 0 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static bool has_capability(struct function *t, uint8_t id)
{
	for (uint32_t at = config_get(t, PCI_CAPABILITY_LIST, 1); at; at = config_get(t, at + 1, 1))
		if (config_get(t, at, 1) == id)
			return true;
	return false;
}

static void what_it_is(void **state)
{
	struct function *t = *state;
	struct vfio_irq_info irq = { .argsz = sizeof(irq), .index = VFIO_PCI_MSI_IRQ_INDEX };

	assert_int_equal(config_get(t, 0, 4), (uint32_t)DMATEST_PCI_DEVICE << 16 | DMATEST_PCI_VENDOR);
	assert_int_equal(bar_get(t, DMATEST_REG_ID), DMATEST_ID);
	assert_true(has_capability(t, PCI_CAP_ID_EXP));
	assert_true(has_capability(t, PCI_CAP_ID_MSI));
	assert_false(has_capability(t, PCI_CAP_ID_MSIX));
	assert_int_equal(config_get(t, 0x100, 2), PCI_EXT_CAP_ID_ATS);
	client_call(&t->client, WIRE_GET_IRQ_INFO, &irq, sizeof(irq), -1, 0, &t->reply);
	memcpy(&irq, t->reply.payload, sizeof(irq));
	assert_int_equal(irq.count, 8);
	irq.index = VFIO_PCI_MSIX_IRQ_INDEX;
	client_call(&t->client, WIRE_GET_IRQ_INFO, &irq, sizeof(irq), -1, 0, &t->reply);
	memcpy(&irq, t->reply.payload, sizeof(irq));
	assert_int_equal(irq.count, 0);
}

/* A function without PCIe has 256 bytes, and here no interrupts. */
static void an_old_one(void **state)
{
	struct function *t = *state;
	struct vfio_region_info info = { .argsz = sizeof(info), .index = CONFIG };

	client_call(&t->client, WIRE_GET_REGION_INFO, &info, sizeof(info), -1, 0, &t->reply);
	memcpy(&info, t->reply.payload, sizeof(info));
	assert_int_equal(info.size, 256);
}

/* One operation of queue 0: a write of 8 bytes to 0x3000, and an interrupt. */
static void start_queue(struct function *t)
{
	const struct dmatest_desc desc = {
		.control = le32_make(DMATEST_WRITE | DMATEST_DESC_INTERRUPT),
		.address = { le64_make(0x3000) },
		.length = le32_make(8),
		.seed = le64_make(77),
	};

	memcpy(t->memory + RING, &desc, sizeof(desc));
	memset(t->memory + COMPLETIONS, 0, 32);
	bar_set(t, QUEUE0 + DMATEST_Q_RING, RING);
	bar_set(t, QUEUE0 + DMATEST_Q_CPL, COMPLETIONS);
	bar_set(t, QUEUE0 + DMATEST_Q_SIZE, 4);
	bar_set(t, QUEUE0 + DMATEST_Q_VECTOR, VECTOR);
	bar_set(t, QUEUE0 + DMATEST_Q_CTRL, DMATEST_Q_CTRL_ENABLE);
	bar_set(t, QUEUE0 + DMATEST_Q_TAIL, 1);
}

/* As the device writes it: the thread sanitizer does not see that an eventfd came in between. */
static void read_memory(struct function *t, uint64_t gpa, void *buf, size_t size)
{
	assert_int_equal(nst_mem_read(nst_vm_mem(t->vm), (nst_gpa){ gpa }, buf, size), 0);
}

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, -1), 1);
	assert_true(is_signalled(fd));
}

static void work_and_interrupt(void **state)
{
	struct function *t = *state;
	int fd = make_eventfd(), other = make_eventfd();
	uint64_t bytes_read, bytes_written;
	struct dmatest_cpl cpl;
	uint64_t word;

	config_set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	set_irqs(t, TRIGGER, 0, 1, other);
	set_irqs(t, TRIGGER, VECTOR, 1, fd);
	start_queue(t);
	wait_for(fd);
	assert_false(is_signalled(other));
	read_memory(t, 0x3000, &word, sizeof(word));
	assert_int_equal(le64toh(word), dmatest_pattern_word(77, 0));
	read_memory(t, COMPLETIONS, &cpl, sizeof(cpl));
	assert_int_equal(le32_get(cpl.status), DMATEST_OK | DMATEST_CPL_PHASE);
	endpoint_function_count(t->function, &bytes_read, &bytes_written);
	assert_int_equal(bytes_read, sizeof(struct dmatest_desc));
	assert_int_equal(bytes_written, 8 + sizeof(cpl));
	close(fd);
	close(other);
}

/* As a VMM may: signal what it set, alone and all, take away, and set anew. */
static void eventfds(void **state)
{
	struct function *t = *state;
	int first = make_eventfd(), second = make_eventfd();
	const uint32_t none = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
	struct { struct wire_irq_set set; uint8_t data[2]; } bools = {
		.set = { .argsz = sizeof(bools.set) + 2,
			 .flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_BOOL,
			 .index = VFIO_PCI_MSI_IRQ_INDEX,
			 .start = 0,
			 .count = 2 },
		.data = { 0, 1 },
	};
	struct wire_irq_set mask = { .argsz = sizeof(mask),
				     .flags = VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE,
				     .index = VFIO_PCI_MSI_IRQ_INDEX,
				     .count = 1 };

	set_irqs(t, TRIGGER, 0, 1, first);
	set_irqs(t, TRIGGER, 1, 1, second);
	set_irqs(t, none, 1, 1, -1);
	assert_false(is_signalled(first));
	assert_true(is_signalled(second));
	set_irqs(t, none, 0, 2, -1);
	assert_true(is_signalled(first) && is_signalled(second));
	client_call(&t->client, WIRE_SET_IRQS, &bools, sizeof(bools.set) + 2, -1, 0, &t->reply);
	assert_false(is_signalled(first));
	assert_true(is_signalled(second));
	set_irqs(t, TRIGGER, 1, 1, -1); /* of this one none any more */
	set_irqs(t, none, 0, 2, -1);
	assert_true(is_signalled(first));
	assert_false(is_signalled(second));
	set_irqs(t, none, 0, 0, -1); /* off */
	set_irqs(t, none, 0, 2, -1);
	assert_false(is_signalled(first));
	set_irqs(t, TRIGGER, 0, 1, second);
	set_irqs(t, none, 0, 1, -1);
	assert_true(is_signalled(second));
	client_call(&t->client, WIRE_SET_IRQS, &mask, sizeof(mask), -1, EINVAL, &t->reply);
	mask.index = VFIO_PCI_ERR_IRQ_INDEX; /* whatever it is, it never comes */
	client_call(&t->client, WIRE_SET_IRQS, &mask, sizeof(mask), -1, 0, &t->reply);
	close(first);
	close(second);
}

static void is_as_new(struct function *t)
{
	assert_int_equal(config_get(t, PCI_COMMAND, 2), 0);
	assert_int_equal(bar_get(t, QUEUE0 + DMATEST_Q_CTRL), 0);
	assert_int_equal(bar_get(t, QUEUE0 + DMATEST_Q_SIZE), 0);
}

static void resets(void **state)
{
	struct function *t = *state;
	uint32_t express = config_get(t, PCI_CAPABILITY_LIST, 1);

	while (config_get(t, express, 1) != PCI_CAP_ID_EXP)
		express = config_get(t, express + 1, 1);
	config_set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start_queue(t);
	client_call(&t->client, WIRE_RESET, NULL, 0, -1, 0, &t->reply);
	is_as_new(t);
	config_set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start_queue(t);
	config_set(t, express + PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_BCR_FLR);
	is_as_new(t);
	assert_false(has_capability(t, PCI_CAP_ID_MSIX)); /* still */
}

/* Its interrupts go, its work ends, and the next client finds it as new. */
static void the_client_goes(void **state)
{
	struct function *t = *state;
	int fd = make_eventfd();

	config_set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	set_irqs(t, TRIGGER, VECTOR, 1, fd);
	start_queue(t);
	wait_for(fd);
	client_close(&t->client);
	client_connect(&t->client);
	client_version(&t->client, qemu_version);
	is_as_new(t);
	config_set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	set_irqs(t, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE, 0, 8, -1);
	assert_false(is_signalled(fd));
	close(fd);
}

/* Each allocation of its making fails once: nothing is left, and with memory it works. */
static void making_it_without_memory(void **state)
{
	struct nst_vtd_config unit = { .send_msi = no_msi };
	struct endpoint_function_config config = { .rid = 8 };
	char dir[64] = "/tmp/nestor-vfu-XXXXXX", path[96];
	unsigned int fds, nth = 0;
	bool fired = true;
	struct nst_vm *vm;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(nst_vm_create(NULL, NULL, &vm), 0);
	unit.vm = config.vm = vm;
	config.socket_path = path;
	assert_int_equal(nst_vtd_create(&unit, &config.viommu), 0);
	fds = count_fds();
	while (fired) {
		struct endpoint_function *function = NULL;
		struct endpoint *ep;
		int ret;

		assert_int_equal(endpoint_create("dmatest", NULL, &ep, NULL), 0);
		alloc_fail_nth(++nth);
		ret = endpoint_function_create(&config, ep, &function);
		fired = alloc_fail_left() == 0;
		alloc_fail_nth(0);
		assert_int_equal(ret, fired ? -ENOMEM : 0);
		assert_int_equal(function != NULL, !fired);
		endpoint_function_destroy(function);
		assert_int_equal(count_fds(), fds);
		assert_int_not_equal(access(path, F_OK), 0);
	}
	assert_true(nth > 3);
	nst_viommu_destroy(config.viommu);
	nst_vm_destroy(vm);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(an_old_one, setup_old, teardown),
		cmocka_unit_test_setup_teardown(work_and_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(eventfds, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(the_client_goes, setup, teardown),
		cmocka_unit_test(making_it_without_memory),
	};

	return cmocka_run_group_tests_name("an emulated device for a VMM", tests, NULL, NULL);
}
