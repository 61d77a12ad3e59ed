// SPDX-License-Identifier: BSD-3-Clause
/*
 * Fault queues as far as they can be seen without a page request: the object, its descriptor,
 * who holds it. Expected results: traces of Linux 7.2. With requests: test_faults.c.
 */
#include "rig.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD sizeof(struct iommu_hwpt_pgfault)
#define RESPONSE sizeof(struct iommu_hwpt_page_response)

static int fault_alloc(struct rig *rig, uint32_t flags, uint32_t *id, int *fd)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd), .flags = flags };
	int ret = iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	*id = ret ? 0 : cmd.out_fault_id;
	*fd = ret ? -1 : (int)cmd.out_fault_fd;
	return ret;
}

static int fault_hwpt(struct rig *rig, uint32_t pt, uint32_t flags, uint32_t fault, uint32_t *out)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd),
					.flags = FAULT | flags,
					.dev_id = rig->devid,
					.pt_id = pt,
					.fault_id = fault };
	int ret = iommufd(rig, IOMMU_HWPT_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_hwpt_id;
	return ret;
}

static int get(struct rig *rig, int fd, void *buf, size_t count)
{
	return (int)rig->host->ops->read(rig->host, fd, buf, count);
}

static int put(struct rig *rig, int fd, const void *buf, size_t count)
{
	return (int)rig->host->ops->write(rig->host, fd, buf, count);
}

static int events(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT };

	assert_int_equal(poll(&pfd, 1, 0), 1);
	return pfd.revents;
}

/* The descriptor's contract, and who holds the object. */
static void an_empty_queue(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), id, other, hwpt = 0, again;
	struct iommu_hwpt_pgfault record[2];
	struct iommu_hwpt_page_response response = { .cookie = 1 };
	int fd, other_fd;

	err(EOPNOTSUPP, fault_alloc(rig, 1, &id, &fd));
	ok(fault_alloc(rig, 0, &id, &fd));
	assert_int_equal(get(rig, fd, record, RECORD), 0); /* never blocks */
	assert_int_equal(get(rig, fd, record, 0), 0);
	err(ESPIPE, get(rig, fd, record, 39));
	err(ESPIPE, get(rig, fd, record, RECORD + 1));
	err(EINVAL, put(rig, fd, &response, RESPONSE));
	err(ESPIPE, put(rig, fd, &response, 4));
	assert_int_equal(put(rig, fd, &response, 0), 0);
	err(ESPIPE, (int)rig->host->ops->pread(rig->host, fd, record, RECORD, 0));
	err(ESPIPE, (int)rig->host->ops->pwrite(rig->host, fd, &response, RESPONSE, 0));
	err(ENOTTY, call(rig, fd, IOMMU_IOAS_ALLOC, record));
	assert_int_equal(events(fd), POLLOUT);
	ok(fault_alloc(rig, 0, &other, &other_fd));
	assert_int_not_equal(id, other);
	err(EOPNOTSUPP, fault_hwpt(rig, ioas, NEST, id, &hwpt));
	err(ENOENT, fault_hwpt(rig, ioas, 0, 99, &hwpt));
	err(ENOENT, fault_hwpt(rig, ioas, 0, ioas, &hwpt));
	ok(fault_hwpt(rig, ioas, 0, id, &hwpt));
	err(EBUSY, destroy(rig, id));
	ok(host_close(rig, fd));
	err(EBUSY, destroy(rig, id)); /* by the HWPT */
	ok(destroy(rig, hwpt));
	ok(destroy(rig, id));
	err(EBUSY, destroy(rig, other)); /* by its file */
	ok(host_close(rig, rig->iommu));
	assert_int_equal(get(rig, other_fd, record, RECORD), 0); /* its context lives on */
	rig->iommu = host_open(rig, "/dev/iommu");
	ok(fault_alloc(rig, 0, &again, &fd));
	assert_int_equal(again, 1);
}

/* VT-d refuses faults of a device that cannot ask for pages. */
static void without_page_requests(void **state)
{
	struct rig *rig = *state;
	uint32_t ioas = ioas_alloc(rig), id, hwpt = 0;
	int fd;

	ok(fault_alloc(rig, 0, &id, &fd));
	ok(fault_hwpt(rig, ioas, 0, id, &hwpt));
	err(ENODEV, attach_id(rig, hwpt));
	ok(attach_id(rig, ioas));
	err(ENODEV, attach_id(rig, hwpt));
	ok(destroy(rig, hwpt));
	ok(detach(rig));
}

static void failed_write_back_undoes(void **state)
{
	struct rig *rig = *state;
	struct iommu_fault_alloc *cmd =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t id, next = ioas_alloc(rig);
	int fd, expected = dup(0);

	close(expected);
	cmd->size = sizeof(*cmd);
	ok(mprotect(cmd, PAGE, PROT_READ));
	err(EFAULT, iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, cmd));
	ok(fault_alloc(rig, 0, &id, &fd));
	assert_int_equal(id, next + 1); /* neither an id nor a number was lost */
	assert_int_equal(fd, expected);
	munmap(cmd, PAGE);
}

static const struct suite_case cases[] = {
	TEST(an_empty_queue),
	TEST(without_page_requests, NEED_VTD | NEED_NO_PRI),
	TEST(failed_write_back_undoes),
};
SUITE_GROUP(fault_queue, cases)
