// SPDX-License-Identifier: BSD-3-Clause
/* The running kernel as a host: each operation is the system call, failures are negative. */
#include "test.h"

#include <nestor/host.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static void calls_arrive(void **state)
{
	struct nst_host *host;
	int fd, err = 0, left;
	char buf[4] = "abc";
	void *mapped;

	assert_int_equal(nst_host_kernel_create(&host), 0);
	assert_int_equal(host->ops->open(host, "/nonexistent", O_RDWR), -ENOENT);
	assert_int_equal(host->ops->close(host, -1), -EBADF);
	assert_int_equal(host->ops->ioctl(host, -1, FIONREAD, NULL), -EBADF);
	assert_null(host->ops->mmap(host, 4096, PROT_READ, MAP_SHARED, -1, 0, &err));
	assert_int_equal(err, -EBADF);

	fd = host->ops->open(host, "/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC | 0600);
	if (fd < 0)
		skip();
	assert_int_equal(host->ops->write(host, fd, buf, 3), 3);
	assert_int_equal(host->ops->pwrite(host, fd, "X", 1, 1), 1);
	assert_int_equal(host->ops->read(host, fd, buf, 1), 0);
	assert_int_equal(host->ops->pread(host, fd, buf, 3, 0), 3);
	assert_memory_equal(buf, "aXc", 3);
	assert_int_equal(host->ops->pread(host, fd, buf, 3, -1), -EINVAL);
	assert_int_equal(host->ops->ioctl(host, fd, FIONREAD, &left), 0);
	mapped = host->ops->mmap(host, 4096, PROT_READ, MAP_SHARED, fd, 0, &err);
	assert_non_null(mapped);
	assert_memory_equal(mapped, "aXc", 3);
	assert_int_equal(host->ops->munmap(host, mapped, 4096), 0);
	assert_int_equal(host->ops->close(host, fd), 0);
	nst_host_destroy(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(calls_arrive) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
