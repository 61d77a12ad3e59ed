// SPDX-License-Identifier: BSD-3-Clause
/*
 * How /dev/iommu takes its calls: precedence of framing errors, sizes, ids, options, the
 * file operations that it refuses. Expected values: a trace of Linux 7.2.
 */
#include "rig.h"

#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static void *bad(void)
{
	return (void *)(uintptr_t)BAD_POINTER;
}

static void framing_errors(void **state)
{
	struct rig *rig = *state;
	static uint8_t big[256]; /* not on the stack, above which the address space ends */
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = 12345 };
	uint32_t word;

	err(ENOTTY, iommufd(rig, _IO(';', 0x7f), &cmd));
	err(ENOTTY, iommufd(rig, _IO(';', 0xa1), &cmd));
	err(ENOTTY, iommufd(rig, _IO('x', 0x80), &cmd));
	err(ENOTTY, iommufd(rig, _IOWR(';', 0x80, uint32_t), &cmd));
	err(ENOTTY, iommufd(rig, _IO(';', 0xff), bad()));
	err(EFAULT, iommufd(rig, IOMMU_DESTROY, NULL));
	err(EFAULT, iommufd(rig, IOMMU_DESTROY, bad()));
	err(ENOENT, iommufd(rig, IOMMU_DESTROY, &cmd));
	for (word = 0; word < 8; word++) {
		cmd.size = word;
		err(EINVAL, iommufd(rig, IOMMU_DESTROY, &cmd));
	}
	memcpy(big, &(struct iommu_destroy){ .size = sizeof(big), .id = 12345 }, sizeof(cmd));
	err(ENOENT, iommufd(rig, IOMMU_DESTROY, big));
	big[sizeof(big) - 1] = 1;
	err(E2BIG, iommufd(rig, IOMMU_DESTROY, big));
	word = UINT32_MAX;
	memcpy(big, &word, sizeof(word));
	err(E2BIG, iommufd(rig, IOMMU_DESTROY, big));
}

/* A structure that ends where memory ends, and one that runs over that end. */
static void structure_at_the_end_of_memory(void **state)
{
	struct rig *rig = *state;
	uint8_t *two =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iommu_ioas_alloc *cmd = (void *)(two + PAGE - sizeof(*cmd));

	ok(munmap(two + PAGE, PAGE));
	*cmd = (struct iommu_ioas_alloc){ .size = sizeof(*cmd) };
	ok(iommufd(rig, IOMMU_IOAS_ALLOC, cmd));
	cmd->size++;
	err(EFAULT, iommufd(rig, IOMMU_IOAS_ALLOC, cmd));
	cmd->size = UINT32_MAX;
	err(EFAULT, iommufd(rig, IOMMU_IOAS_ALLOC, cmd));
	munmap(two, PAGE);
}

/* Older and newer callers: write-back stops at what the caller knows. */
static void write_back_is_cut(void **state)
{
	struct rig *rig = *state;
	struct {
		struct iommu_hw_info cmd;
		uint64_t canary;
	} old = { .cmd = { .size = 32, .dev_id = rig->devid }, .canary = 0x1234 };

	old.cmd.out_capabilities = 0x5555;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &old.cmd));
	assert_int_equal(old.cmd.out_data_type, rig->arch->hw_info_type);
	assert_int_equal(old.cmd.out_capabilities, 0x5555);
	old.cmd.size = sizeof(old);
	old.cmd.data_len = 0;
	old.canary = 0;
	ok(iommufd(rig, IOMMU_GET_HW_INFO, &old.cmd));
	old.canary = 1;
	err(E2BIG, iommufd(rig, IOMMU_GET_HW_INFO, &old.cmd));
}

/* What could not be told to the caller was not made. */
static void failed_write_back_undoes(void **state)
{
	struct rig *rig = *state;
	struct iommu_ioas_alloc *cmd =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t first = ioas_alloc(rig), second;
	struct iommu_hwpt_alloc *hwpt = (void *)cmd;

	*cmd = (struct iommu_ioas_alloc){ .size = sizeof(*cmd) };
	ok(mprotect(cmd, PAGE, PROT_READ));
	err(EFAULT, iommufd(rig, IOMMU_IOAS_ALLOC, cmd));
	ok(mprotect(cmd, PAGE, PROT_READ | PROT_WRITE));
	*hwpt = (struct iommu_hwpt_alloc){ .size = sizeof(*hwpt),
					   .dev_id = rig->devid,
					   .pt_id = first };
	ok(mprotect(cmd, PAGE, PROT_READ));
	err(EFAULT, iommufd(rig, IOMMU_HWPT_ALLOC, hwpt));
	second = ioas_alloc(rig);
	assert_int_equal(second, first + 1);
	ok(destroy(rig, first));
	munmap(cmd, PAGE);
}

static void ids_are_lowest_free(void **state)
{
	struct rig *rig = *state;
	uint32_t a = ioas_alloc(rig), b = ioas_alloc(rig), ids[100];

	assert_int_equal(rig->devid, 1);
	assert_int_equal(a, 2);
	assert_int_equal(b, 3);
	ok(destroy(rig, a));
	err(ENOENT, destroy(rig, a));
	assert_int_equal(ioas_alloc(rig), a);
	for (size_t i = 0; i < 100; i++)
		ids[i] = ioas_alloc(rig);
	assert_int_equal(ids[99], 103);
	ok(destroy(rig, ids[50]));
	ok(destroy(rig, ids[10]));
	assert_int_equal(ioas_alloc(rig), ids[10]);
	assert_int_equal(ioas_alloc(rig), ids[50]);
	err(ENOENT, destroy(rig, 0));
	err(ENOENT, destroy(rig, UINT32_MAX));
}

static void contexts_are_separate(void **state)
{
	struct rig *rig = *state;
	int other = host_open(rig, "/dev/iommu");
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	struct iommu_destroy end = { .size = sizeof(end), .id = 1 };

	ok(call(rig, other, IOMMU_IOAS_ALLOC, &cmd));
	assert_int_equal(cmd.out_ioas_id, 1);
	ok(call(rig, other, IOMMU_DESTROY, &end));
	ok(host_close(rig, other));
	err(EBADF, host_close(rig, other));
	err(EBADF, call(rig, other, IOMMU_IOAS_ALLOC, &cmd));
	err(EBADF, call(rig, -1, IOMMU_IOAS_ALLOC, &cmd));
}

static void paths(void **state)
{
	struct rig *rig = *state;

	err(ENOENT, host_open(rig, "/dev/vfio/devices/vfio1"));
	err(ENOENT, host_open(rig, "/dev/vfio/devices/vfio00"));
	err(ENOENT, host_open(rig, "/dev/null"));
}

static int map_fd(struct rig *rig, int fd, size_t length, int prot, int flags, off_t offset)
{
	int error = 0;

	assert_null(rig->host->ops->mmap(rig->host, length, prot, flags, fd, offset, &error));
	return error;
}

static void file_operations(void **state)
{
	struct rig *rig = *state;
	struct pollfd pfd = { .fd = rig->iommu, .events = POLLIN | POLLOUT };
	char buf[8] = { 0 };

	err(EINVAL, (int)rig->host->ops->read(rig->host, rig->iommu, buf, 8));
	err(EINVAL, (int)rig->host->ops->write(rig->host, rig->iommu, buf, 8));
	err(ENXIO, map_fd(rig, rig->iommu, PAGE, PROT_READ, MAP_SHARED, PAGE));
	err(EINVAL, map_fd(rig, rig->iommu, PAGE, PROT_READ, MAP_PRIVATE, PAGE));
	err(EPERM, map_fd(rig, rig->iommu, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, PAGE));
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(pfd.revents, POLLIN | POLLOUT);
}

static int option(struct rig *rig, uint32_t id, uint16_t op, uint32_t object, uint64_t *value,
		  uint16_t reserved)
{
	struct iommu_option cmd = { .size = sizeof(cmd),
				    .option_id = id,
				    .op = op,
				    .__reserved = reserved,
				    .object_id = object,
				    .val64 = *value };
	int ret = iommufd(rig, IOMMU_OPTION, &cmd);

	*value = cmd.val64;
	return ret;
}

static void options(void **state)
{
	struct rig *rig = *state;
	enum { SET = IOMMU_OPTION_OP_SET, GET = IOMMU_OPTION_OP_GET };
	enum { RLIMIT = IOMMU_OPTION_RLIMIT_MODE, HUGE = IOMMU_OPTION_HUGE_PAGES };
	static uint8_t memory[2 * PAGE] __attribute__((aligned(4096)));
	uint64_t value = 7;
	uint32_t ioas = ioas_alloc(rig);
	int ret;

	ok(option(rig, RLIMIT, GET, 0, &value, 0));
	assert_int_equal(value, 0);
	err(EOPNOTSUPP, option(rig, RLIMIT, GET, 0, &value, 1));
	err(EOPNOTSUPP, option(rig, RLIMIT, GET, 1, &value, 0));
	err(EOPNOTSUPP, option(rig, RLIMIT, 2, 0, &value, 0));
	err(EOPNOTSUPP, option(rig, 7, GET, 0, &value, 0));
	value = 1;
	ret = option(rig, RLIMIT, SET, 0, &value, 0);
	assert_true(ret == -EBUSY || ret == -EPERM); /* objects exist, or we may not anyway */

	ok(option(rig, HUGE, GET, ioas, &value, 0));
	assert_int_equal(value, 1);
	err(ENOENT, option(rig, HUGE, GET, 99, &value, 0));
	err(EOPNOTSUPP, option(rig, HUGE, 9, ioas, &value, 0));
	value = 5;
	err(EINVAL, option(rig, HUGE, SET, ioas, &value, 0));
	ok(ioas_map(rig, ioas, memory + 1, 5, 0x10003, RW));
	value = 0;
	err(EADDRINUSE, option(rig, HUGE, SET, ioas, &value, 0));
	value = UINT64_MAX;
	ok(ioas_unmap(rig, ioas, 0, &value));
	value = 0;
	ok(option(rig, HUGE, SET, ioas, &value, 0));
	err(EINVAL, ioas_map(rig, ioas, memory, 5, 0x10000, RW));
	ok(ioas_map(rig, ioas, memory, PAGE, 0x10000, RW));
	ok(attach_id(rig, ioas));
	ok(option(rig, HUGE, SET, ioas, &value, 0)); /* as it is already */
	value = 1;
	ok(option(rig, HUGE, SET, ioas, &value, 0));
	value = 0;
	err(EINVAL, option(rig, HUGE, SET, ioas, &value, 0)); /* a domain has mappings */
}

static int vfio_ioas(struct rig *rig, uint16_t op, uint32_t *id)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op, .ioas_id = *id };
	int ret = iommufd(rig, IOMMU_VFIO_IOAS, &cmd);

	*id = cmd.ioas_id;
	return ret;
}

static void vfio_compat(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), id = ioas;

	assert_int_equal(iommufd(rig, VFIO_GET_API_VERSION, NULL), 0);
	for (uintptr_t extension = 1; extension <= 10; extension++) {
		int want = extension == 1 || extension == 3 || extension == 9 ? 1
			   : extension == 4				      ? -ENODEV
									      : 0;

		assert_int_equal(iommufd(rig, VFIO_CHECK_EXTENSION, (void *)extension), want);
	}
	err(EOPNOTSUPP, vfio_ioas(rig, 3, &id));
	err(ENODEV, vfio_ioas(rig, IOMMU_VFIO_IOAS_GET, &id));
	err(ENODEV, iommufd(rig, VFIO_SET_IOMMU, (void *)1));
	err(EINVAL, iommufd(rig, VFIO_SET_IOMMU, (void *)9));
	err(ENOTTY, iommufd(rig, VFIO_IOMMU_DIRTY_PAGES, NULL));
	ok(vfio_ioas(rig, IOMMU_VFIO_IOAS_SET, &id));
	id = 0;
	ok(vfio_ioas(rig, IOMMU_VFIO_IOAS_GET, &id));
	assert_int_equal(id, ioas);
	ok(destroy(rig, ioas));
	err(ENODEV, vfio_ioas(rig, IOMMU_VFIO_IOAS_GET, &id));
}

/* What VT-d does not have: each call after the checks that come before that answer. */
static void absent_objects(void **state)
{
	struct rig *rig = *state;
	struct iommu_viommu_alloc viommu = { .size = sizeof(viommu),
					     .type = IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
					     .dev_id = rig->devid };
	struct iommu_vdevice_alloc vdevice = { .size = sizeof(vdevice), .viommu_id = 1 };
	struct iommu_veventq_alloc eventq = { .size = sizeof(eventq),
					      .type = 1,
					      .veventq_depth = 4 };
	struct iommu_hw_queue_alloc queue = { .size = sizeof(queue), .type = 1, .length = PAGE };

	err(EOPNOTSUPP, iommufd(rig, IOMMU_VIOMMU_ALLOC, &viommu));
	viommu.dev_id = 99;
	err(ENOENT, iommufd(rig, IOMMU_VIOMMU_ALLOC, &viommu));
	viommu.flags = 1;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VIOMMU_ALLOC, &viommu));
	err(ENOENT, iommufd(rig, IOMMU_VDEVICE_ALLOC, &vdevice));
	err(ENOENT, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &eventq));
	eventq.veventq_depth = 0;
	err(EINVAL, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &eventq));
	eventq.veventq_depth = (1 << 19) + 1;
	err(EINVAL, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &eventq));
	eventq.type = 0;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_VEVENTQ_ALLOC, &eventq));
	err(ENOENT, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &queue));
	queue.nesting_parent_iova = UINT64_MAX;
	err(EOVERFLOW, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &queue));
	queue.length = 0;
	err(EINVAL, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &queue));
	queue.type = 0;
	err(EOPNOTSUPP, iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &queue));
}

/* --- on a stack that is not the thread's --------------------------------------------------- */

#define COROUTINE_STACK (64 * 1024)

static struct {
	ucontext_t caller, coroutine;
	struct rig *rig;
	void *hole;
	int mapped, unmapped;
} other_stack;

static void on_other_stack(void)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	other_stack.mapped = iommufd(other_stack.rig, IOMMU_IOAS_ALLOC, &cmd);
	other_stack.unmapped = iommufd(other_stack.rig, IOMMU_IOAS_ALLOC, other_stack.hole);
}

/* A VMM's coroutine: what lies above its frame is not the thread's stack. */
static void bad_pointer_on_a_coroutine(void **state)
{
	uint8_t *area = mmap(NULL, COROUTINE_STACK + PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	other_stack.rig = *state;
	other_stack.hole = area + COROUTINE_STACK;
	ok(mprotect(other_stack.hole, PAGE, PROT_NONE));
	ok(getcontext(&other_stack.coroutine));
	other_stack.coroutine.uc_stack.ss_sp = area;
	other_stack.coroutine.uc_stack.ss_size = COROUTINE_STACK;
	other_stack.coroutine.uc_link = &other_stack.caller;
	makecontext(&other_stack.coroutine, on_other_stack, 0);
	ok(swapcontext(&other_stack.caller, &other_stack.coroutine));
	ok(other_stack.mapped);
	err(EFAULT, other_stack.unmapped);
	munmap(area, COROUTINE_STACK + PAGE);
}

static const struct suite_case cases[] = {
	TEST(framing_errors),
	TEST(structure_at_the_end_of_memory),
	TEST(write_back_is_cut),
	TEST(failed_write_back_undoes),
	TEST(ids_are_lowest_free),
	TEST(contexts_are_separate),
	TEST(paths, NEED_IN_PROCESS),
	TEST(file_operations),
	TEST(options),
	TEST(vfio_compat),
	TEST(absent_objects, NEED_VTD),
	TEST(bad_pointer_on_a_coroutine),
};
SUITE_GROUP(framing, cases)
