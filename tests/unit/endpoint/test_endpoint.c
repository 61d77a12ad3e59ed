// SPDX-License-Identifier: BSD-3-Clause
/* Making endpoints: descriptions, disk files good and bad, locks, memory refused at each point. */
#include "test.h"

#include "base/alloc.h"
#include "endpoint/nvme.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/nestor-endpoint-XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, 1 << 20))
		return -1;
	close(fd);
	return 0;
}

static int remove_file(void **state)
{
	return unlink(path);
}

/* The description is "nvme,file=<path>" and @options. */
static struct endpoint *create(const char *options, int expected, const char *text)
{
	struct endpoint *ep = NULL;
	char description[256], *err_text = (char *)"none";
	int err;

	snprintf(description, sizeof(description), "nvme,file=%s%s", path, options);
	err = endpoint_create(description, NULL, &ep, &err_text);
	assert_int_equal(err, expected);
	assert_int_equal(ep != NULL, err == 0);
	if (!text) {
		assert_null(err_text);
		return ep;
	}
	assert_non_null(err_text);
	assert_non_null(strstr(err_text, text));
	assert_int_equal(err_text[strlen(err_text) - 1], '.');
	free(err_text);
	return ep;
}

static void expect_error(const char *description, int expected, const char *text)
{
	struct endpoint *ep = NULL;
	char *err_text = NULL;

	assert_int_equal(endpoint_create(description, NULL, &ep, &err_text), expected);
	assert_null(ep);
	assert_non_null(err_text);
	assert_non_null(strstr(err_text, text));
	free(err_text);
	assert_int_equal(endpoint_create(description, NULL, &ep, NULL), expected);
}

static void good_descriptions(void **state)
{
	struct nvme_ctrl *c;

	endpoint_destroy(create("", 0, NULL));
	endpoint_destroy(create(",readonly=off,msix=off,queues=64,lba=4096,serial=a b", 0, NULL));
	c = to_nvme(create(",serial=comma,,inside,queues=1", 0, NULL));
	assert_string_equal(c->serial, "comma,inside");
	assert_int_equal(c->io_queues, 1);
	assert_int_equal(c->ep.bar_sizes[0], 0x4000);
	assert_int_equal(c->blocks, 2048);
	endpoint_destroy(&c->ep);
	endpoint_destroy(NULL);
}

static void default_serials_differ_by_file_only(void **state)
{
	char serial[21];
	struct nvme_ctrl *c = to_nvme(create("", 0, NULL));

	memcpy(serial, c->serial, sizeof(serial));
	assert_int_equal(strlen(serial), 19);
	endpoint_destroy(&c->ep);
	c = to_nvme(create(",queues=2", 0, NULL));
	assert_string_equal(serial, c->serial);
	endpoint_destroy(&c->ep);
}

static void bad_descriptions_are_explained(void **state)
{
	expect_error("", -EINVAL, "no device model");
	expect_error("nvmes,file=x", -EINVAL, "\"nvmes\"");
	expect_error("testdev,file=x", -EINVAL, "no option \"file\"");
	expect_error("nvme", -EINVAL, "nvme,file=PATH");
	expect_error("nvme,file=", -EINVAL, "nvme,file=PATH");
	expect_error("nvme,file", -EINVAL, "key=value");
	expect_error("nvme,=x", -EINVAL, "key=value");
	expect_error("nvme,file=a,file=b", -EINVAL, "twice");
	expect_error("nvme,a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
		     -EINVAL, "more than 16");
	create(",colour=blue", -EINVAL, "no option \"colour\"");
	create(",msix=yes", -EINVAL, "\"on\" or \"off\"");
	create(",queues=0", -EINVAL, "from 1 to 64");
	create(",queues=65", -EINVAL, "from 1 to 64");
	create(",queues=-1", -EINVAL, "from 1 to 64");
	create(",queues=0x4", -EINVAL, "from 1 to 64");
	create(",queues=4294967297", -EINVAL, "from 1 to 64");
	create(",queues=", -EINVAL, "from 1 to 64");
	create(",lba=1024", -EINVAL, "512 or 4096");
	create(",serial=", -EINVAL, "1 to 20");
	create(",serial=123456789012345678901", -EINVAL, "1 to 20");
	create(",serial=tab\there", -EINVAL, "1 to 20");
}

static void bad_files_are_explained(void **state)
{
	expect_error("nvme,file=/nonexistent/disk", -ENOENT, "does not exist");
	expect_error("nvme,file=/tmp", -EISDIR, "is a directory");
	expect_error("nvme,file=/tmp,readonly=on", -EISDIR, "is a directory");
	expect_error("nvme,file=/dev/null", -EINVAL, "not a regular file");
	assert_int_equal(truncate(path, 0), 0);
	create("", -EINVAL, "has 0 bytes");
	assert_int_equal(truncate(path, 1000), 0);
	create("", -EINVAL, "multiple of 512");
	assert_int_equal(truncate(path, 1536), 0);
	endpoint_destroy(create("", 0, NULL));
	create(",lba=4096", -EINVAL, "multiple of 4096");
	assert_int_equal(truncate(path, 1 << 20), 0);
}

static void a_readonly_file_needs_readonly_on(void **state)
{
	assert_int_equal(chmod(path, 0444), 0);
	create("", -EACCES, "readonly=on");
	endpoint_destroy(create(",readonly=on", 0, NULL));
	assert_int_equal(chmod(path, 0600), 0);
}

static void a_file_has_one_writer_or_any_number_of_readers(void **state)
{
	struct endpoint *a = create("", 0, NULL), *b;

	create("", -EBUSY, "in use");
	create(",readonly=on", -EBUSY, "in use");
	endpoint_destroy(a);
	a = create(",readonly=on", 0, NULL);
	b = create(",readonly=on", 0, NULL);
	create("", -EBUSY, "in use");
	endpoint_destroy(a);
	endpoint_destroy(b);
	endpoint_destroy(create("", 0, NULL));
}

static void count_fds(unsigned int *count)
{
	*count = 0;
	for (int fd = 0; fd < 256; fd++)
		*count += fcntl(fd, F_GETFD) >= 0;
}

static void refused_memory_leaks_nothing(void **state)
{
	unsigned int before, after;
	char description[64], bad[64];

	snprintf(description, sizeof(description), "nvme,file=%s", path);
	snprintf(bad, sizeof(bad), "nvme,file=%s,queues=99", path);
	count_fds(&before);
	for (unsigned int nth = 1;; nth++) {
		struct endpoint *ep = NULL;
		char *err_text = NULL;
		int err;

		alloc_fail_nth(nth);
		err = endpoint_create(description, NULL, &ep, &err_text);
		if (alloc_fail_left()) {
			alloc_fail_nth(0);
			assert_int_equal(err, 0);
			assert_true(nth > 3);
			endpoint_destroy(ep);
			break;
		}
		assert_int_equal(err, -ENOMEM);
		assert_null(ep);
		free(err_text);
	}
	/* No memory for the sentence: the error stays what it was. */
	for (unsigned int nth = 1; nth < 4; nth++) {
		struct endpoint *ep = NULL;
		char *err_text = NULL;
		int err;

		alloc_fail_nth(nth);
		err = endpoint_create(bad, NULL, &ep, &err_text);
		alloc_fail_nth(0);
		assert_int_equal(err, nth == 1 ? -ENOMEM : -EINVAL);
		assert_int_equal(err_text != NULL, nth == 3);
		free(err_text);
	}
	count_fds(&after);
	assert_int_equal(before, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_descriptions),
		cmocka_unit_test(default_serials_differ_by_file_only),
		cmocka_unit_test(bad_descriptions_are_explained),
		cmocka_unit_test(bad_files_are_explained),
		cmocka_unit_test(a_readonly_file_needs_readonly_on),
		cmocka_unit_test(a_file_has_one_writer_or_any_number_of_readers),
		cmocka_unit_test(refused_memory_leaks_nothing),
	};

	return cmocka_run_group_tests_name("endpoint", tests, make_file, remove_file);
}
