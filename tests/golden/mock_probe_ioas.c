// SPDX-License-Identifier: BSD-3-Clause
/* The probe of the mock IOMMU, as far as it needs no device. See mock_probe.h. */
#include "mock_probe.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void fresh_context(void)
{
	if (rig->iommu >= 0)
		ok(host_close(rig, rig->iommu));
	rig->iommu = host_open(rig, "/dev/iommu");
	assert_true(rig->iommu >= 0);
}

int test_cmd(uint32_t op, uint32_t id, struct selftest_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	cmd->op = op;
	cmd->id = id;
	return iommufd(rig, SELFTEST_CMD, cmd);
}

int mock_domain(uint32_t pt, uint32_t flags, struct selftest_cmd *out)
{
	*out = (struct selftest_cmd){ .mock_domain.dev_flags = flags };
	return test_cmd(SELFTEST_MOCK_DOMAIN_FLAGS, pt, out);
}

int map(uint32_t ioas, const void *va, uint64_t length, uint64_t *iova, uint32_t flags)
{
	return ioas_map_flags(rig, ioas, (uintptr_t)va, length, iova, flags);
}

int unmap(uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
	int ret = ioas_unmap(rig, ioas, iova, &length);

	*unmapped = length;
	return ret;
}

/* --- the descriptor ------------------------------------------------------------------------ */

static int destroy_sized(void *cmd, uint32_t size, uint32_t id)
{
	*(struct iommu_destroy *)cmd = (struct iommu_destroy){ .size = size, .id = id };
	return iommufd(rig, IOMMU_DESTROY, cmd);
}

void probe_framing(void **state)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = 1 };
	uint8_t *big = calloc(1, 1 << 20);

	fresh_context();
	golden_section("framing");
	result("ioctl nr 0x7f", iommufd(rig, _IO(IOMMUFD_TYPE, 0x7f), &cmd));
	result("ioctl nr 0x95 (past HW_QUEUE_ALLOC)", iommufd(rig, _IO(IOMMUFD_TYPE, 0x95), &cmd));
	result("ioctl nr 0xa1 (past TEST_CMD)", iommufd(rig, _IO(IOMMUFD_TYPE, 0xa1), &cmd));
	result("ioctl type 'x' nr 0x80", iommufd(rig, _IO('x', 0x80), &cmd));
	result("ioctl _IOWR dir bits nr 0x80",
	       iommufd(rig, _IOWR(IOMMUFD_TYPE, 0x80, struct iommu_destroy), &cmd));
	result("nr 0x95 with NULL arg", iommufd(rig, _IO(IOMMUFD_TYPE, 0x95), NULL));
	result("DESTROY NULL", iommufd(rig, IOMMU_DESTROY, NULL));
	result("DESTROY size 4", destroy_sized(big, 4, 1));
	result("DESTROY size 0", destroy_sized(big, 0, 1));
	result("DESTROY id 12345", destroy_sized(big, sizeof(cmd), 12345));
	result("DESTROY size 256 tail zero", destroy_sized(big, 256, 12345));
	big[255] = 1;
	result("DESTROY size 256 tail nonzero", destroy_sized(big, 256, 12345));
	result("DESTROY size 1M", destroy_sized(big, 1 << 20, 12345));
	result("DESTROY size 0xffffffff", destroy_sized(big, UINT32_MAX, 12345));
	free(big);
}

void probe_ids(void **state)
{
	uint32_t first, second;

	fresh_context();
	golden_section("ids");
	first = ioas_alloc(rig);
	second = ioas_alloc(rig);
	line("first ids %u %u", first, second);
	ok(destroy(rig, first));
	line("after destroy(1): new id %u", ioas_alloc(rig));
}

static int try_mmap(int prot, int flags, off_t offset)
{
	int e = 0;
	void *mapped = rig->host->ops->mmap(rig->host, PAGE, prot, flags, rig->iommu, offset, &e);

	assert_null(mapped);
	return e;
}

void probe_file_calls(void **state)
{
	struct pollfd poll_fd;
	char byte = 0;
	int ready;

	fresh_context();
	golden_section("read/write/mmap on iommufd");
	result("read(iommufd)", rig->host->ops->read(rig->host, rig->iommu, &byte, 1));
	result("write(iommufd)", rig->host->ops->write(rig->host, rig->iommu, &byte, 1));
	result("mmap shared off 4096", try_mmap(PROT_READ, MAP_SHARED, PAGE));
	result("mmap private", try_mmap(PROT_READ, MAP_PRIVATE, PAGE));
	result("mmap exec", try_mmap(PROT_READ | PROT_EXEC, MAP_SHARED, PAGE));
	poll_fd = (struct pollfd){ .fd = rig->iommu, .events = POLLIN | POLLOUT };
	ready = poll(&poll_fd, 1, 0);
	line("poll(iommufd)=%d revents=0x%x", ready, (unsigned int)poll_fd.revents);
}

/* --- options ------------------------------------------------------------------------------- */

static int option(uint32_t id, uint32_t object, uint16_t op, uint64_t *value, uint16_t reserved)
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

static bool may_set_rlimit_mode(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	return data[0].effective & CAP_TO_MASK(CAP_SYS_RESOURCE);
}

static void set_rlimit_mode(const char *label, uint64_t value)
{
	if (may_set_rlimit_mode())
		result(label, option(IOMMU_OPTION_RLIMIT_MODE, 0, IOMMU_OPTION_OP_SET, &value, 0));
	else
		golden_skip(label, "this process lacks CAP_SYS_RESOURCE");
}

void probe_options(void **state)
{
	uint64_t value = 0;
	uint32_t ioas;

	fresh_context();
	golden_section("option");
	result("RLIMIT_MODE get",
	       option(IOMMU_OPTION_RLIMIT_MODE, 0, IOMMU_OPTION_OP_GET, &value, 0));
	line("   val=%llu", (unsigned long long)value);
	result("reserved=1", option(IOMMU_OPTION_RLIMIT_MODE, 0, IOMMU_OPTION_OP_GET, &value, 1));
	result("RLIMIT_MODE object_id=1",
	       option(IOMMU_OPTION_RLIMIT_MODE, 1, IOMMU_OPTION_OP_GET, &value, 0));
	result("op=2", option(IOMMU_OPTION_RLIMIT_MODE, 0, 2, &value, 0));
	set_rlimit_mode("RLIMIT set 2", 2);
	result("option 7", option(7, 0, IOMMU_OPTION_OP_GET, &value, 0));
	ioas = ioas_alloc(rig);
	set_rlimit_mode("RLIMIT set with an IOAS present", 1);
	result("HUGE get", option(IOMMU_OPTION_HUGE_PAGES, ioas, IOMMU_OPTION_OP_GET, &value, 0));
	result("HUGE op 9", option(IOMMU_OPTION_HUGE_PAGES, ioas, 9, &value, 0));
	value = 5;
	result("HUGE set 5", option(IOMMU_OPTION_HUGE_PAGES, ioas, IOMMU_OPTION_OP_SET, &value, 0));
}

/* --- maps without a domain ------------------------------------------------------------------- */

static int map_at(uint32_t ioas, const void *va, uint64_t length, uint64_t iova, uint32_t flags)
{
	return map(ioas, va, length, &iova, FIXED | flags);
}

static void probe_map_args(uint32_t ioas)
{
	uint64_t iova = 0;

	result("map flags=8", map_at(ioas, buffer, PAGE, 0, RW | 8));
	result("map no perms", map_at(ioas, buffer, PAGE, 0, 0));
	result("map len 0", map_at(ioas, buffer, 0, 0, RW));
	result("map iova ULONG_MAX", map_at(ioas, buffer, PAGE, UINT64_MAX, RW));
	result("map len ULONG_MAX", map_at(ioas, buffer, UINT64_MAX, 0, RW));
	result("map bad ioas", map_at(999, buffer, PAGE, 0, RW));
	result("map bad flags and bad ioas", map_at(999, buffer, PAGE, 0, RW | 8));
	result("map iova 0 fixed", map_at(ioas, buffer, PAGE, 0, RW));
	result("map overlap", map_at(ioas, buffer, PAGE, 0, RW));
	result("map byte granularity (align 1)", map_at(ioas, buffer + 1, 3, 0x8001, RW));
	result("map iova+len overflow", map_at(ioas, buffer, PAGE, UINT64_MAX - 0x7ff, RW));
	result("map va overflow", map_at(ioas, (void *)(UINT64_MAX - 0x7ff), PAGE, 0x10000, RW));
	result("map unmapped va, no domain (lazy)",
	       map_at(ioas, (void *)BAD_POINTER, PAGE, 0x20000, RW));
	result("map write-only", map_at(ioas, buffer, PAGE, 0x21000, WO));
	result("map read-only", map_at(ioas, buffer, PAGE, 0x22000, RO));
	result("map auto iova", map(ioas, buffer, PAGE, &iova, RW));
	result("map auto len 2^63", map(ioas, NULL, 1ULL << 63, &iova, RW));
}

static void probe_unmap(uint32_t ioas)
{
	uint64_t n;

	result("unmap len 0", unmap(ioas, 0, 0, &n));
	result("unmap hole", unmap(ioas, 0x1000000, PAGE, &n));
	result("unmap part of area", unmap(ioas, 0, 0x800, &n));
	result("unmap iova ULONG_MAX", unmap(ioas, UINT64_MAX, PAGE, &n));
	result("unmap len ULONG_MAX iova 0x1000", unmap(ioas, 0x1000, UINT64_MAX, &n));
	result("unmap overflow", unmap(ioas, UINT64_MAX - 0x7ff, PAGE, &n));
	result("unmap superset", unmap(ioas, 0x1f000, 0x10000, &n));
	line("   unmapped 0x%llx", (unsigned long long)n);
	result("unmap all", unmap(ioas, 0, UINT64_MAX, &n));
	line("   unmapped 0x%llx", (unsigned long long)n);
	result("unmap all when empty", unmap(ioas, 0, UINT64_MAX, &n));
	line("   unmapped %llu", (unsigned long long)n);
	result("unmap bad ioas", unmap(999, 0, PAGE, &n));
}

static void probe_copy(uint32_t src)
{
	uint32_t dst = ioas_alloc(rig);
	uint64_t n;

	ok(map_at(src, buffer, 4 * PAGE, 0x100000, RW));
	ok(map_at(src, buffer, PAGE, 0x200000, RO));
	ok(map_at(src, buffer, PAGE, 0x300000, RW));
	ok(map_at(src, buffer, PAGE, 0x301000, RW));
	result("copy sub-range", ioas_copy(rig, dst, 0, src, 0x101000, PAGE, FIXED | RW));
	result("copy ro flag from rw",
	       ioas_copy(rig, dst, 0x10000, src, 0x100000, PAGE, FIXED | RO));
	result("copy to writable of RO source",
	       ioas_copy(rig, dst, 0x20000, src, 0x200000, PAGE, FIXED | RW));
	result("copy hole", ioas_copy(rig, dst, 0x20000, src, 0x900000, PAGE, FIXED | RW));
	result("copy len 0", ioas_copy(rig, dst, 0x20000, src, 0x100000, 0, FIXED | RW));
	result("copy flags 0x10", ioas_copy(rig, dst, 0x20000, src, 0x100000, PAGE, 0x10));
	result("copy no perms", ioas_copy(rig, dst, 0x20000, src, 0x100000, PAGE, FIXED));
	result("copy dst missing", ioas_copy(rig, 999, 0x20000, src, 0x100000, PAGE, FIXED | RW));
	result("copy src missing", ioas_copy(rig, dst, 0x20000, 999, 0x100000, PAGE, FIXED | RW));
	result("copy dst overlap", ioas_copy(rig, dst, 0, src, 0x100000, PAGE, FIXED | RW));
	result("copy src straddles two contiguous areas",
	       ioas_copy(rig, dst, 0x30000, src, 0x300000, 2 * PAGE, FIXED | RW));
	result("unmap the straddled copy", unmap(dst, 0x30000, 2 * PAGE, &n));
	line("   unmapped 0x%llx", (unsigned long long)n);
	ok(destroy(rig, dst));
}

static int ranges(uint32_t ioas, uint32_t reserved, void *list, uint32_t *count,
		  uint64_t *alignment)
{
	struct iommu_ioas_iova_ranges cmd = { .size = sizeof(cmd),
					      .ioas_id = ioas,
					      .num_iovas = *count,
					      .__reserved = reserved,
					      .allowed_iovas = (uintptr_t)list };
	int ret = iommufd(rig, IOMMU_IOAS_IOVA_RANGES, &cmd);

	*count = cmd.num_iovas;
	*alignment = cmd.out_iova_alignment;
	return ret;
}

static void probe_ranges(uint32_t ioas)
{
	struct iommu_iova_range list[RANGES];
	uint32_t count = RANGES;
	uint64_t alignment;

	result("ranges reserved", ranges(ioas, 1, list, &count, &alignment));
	result("ranges", ranges(ioas, 0, list, &count, &alignment));
	line("   n=%u align=%llu [%llu,0x%llx]", count, (unsigned long long)alignment,
	     (unsigned long long)list[0].start, (unsigned long long)list[0].last);
	result("ranges bad ptr", ranges(ioas, 0, (void *)BAD_POINTER, &count, &alignment));
}

static void probe_allow(uint32_t ioas)
{
	const struct iommu_iova_range point = { .start = 0x5000, .last = 0x5000 };
	const struct iommu_iova_range one = { .start = 0x700000, .last = 0x7fffff };
	const struct iommu_iova_range overlapping[] = { { .start = 0x1000, .last = 0x2fff },
							{ .start = 0x2000, .last = 0x3fff } };
	const struct iommu_iova_range two[] = { { .start = 0x700000, .last = 0x700fff },
						{ .start = 0x800000, .last = 0x800fff } };
	uint64_t iova = 0;

	result("allow start==last", ioas_allow(rig, ioas, &point, 1));
	result("allow ok (areas outside are tolerated)", ioas_allow(rig, ioas, &one, 1));
	result("allow overlapping list", ioas_allow(rig, ioas, overlapping, 2));
	result("allow two", ioas_allow(rig, ioas, two, 2));
	result("map fixed outside the allowed list", map_at(ioas, buffer, PAGE, 0x600000, RW));
	result("map auto 0x2000 with allowed list", map(ioas, buffer, 2 * PAGE, &iova, RW));
	result("map auto 0x100000", map(ioas, buffer, 0x100000, &iova, RW));
	result("allow none", ioas_allow(rig, ioas, NULL, 0));
}

void probe_map(void **state)
{
	uint32_t ioas;

	fresh_context();
	ioas = ioas_alloc(rig);
	golden_section("ioas map/unmap without domain");
	probe_map_args(ioas);
	probe_unmap(ioas);
	probe_copy(ioas);
	probe_ranges(ioas);
	probe_allow(ioas);
}

/* --- files ------------------------------------------------------------------------------------ */

static int map_file(uint32_t ioas, int fd, uint64_t start, uint64_t length, uint32_t flags)
{
	uint64_t iova = 0;

	return ioas_map_file(rig, ioas, fd, start, length, &iova, flags);
}

static int change_process(uint32_t reserved)
{
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd), .__reserved = reserved };

	return iommufd(rig, IOMMU_IOAS_CHANGE_PROCESS, &cmd);
}

void probe_map_file(void **state)
{
	int memfd = memfd_create("golden", 0), other = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct selftest_cmd device;
	uint64_t iova = 0;
	uint32_t ioas;

	assert_int_equal(ftruncate(memfd, 4 * PAGE), 0);
	fresh_context();
	ioas = ioas_alloc(rig);
	golden_section("map_file");
	result("memfd", map_file(ioas, memfd, 0, PAGE, RW));
	result("memfd unaligned start", map_file(ioas, memfd, 0x123, PAGE, RW));
	result("len 0", map_file(ioas, memfd, 0, 0, RW));
	result("beyond EOF, no domain", map_file(ioas, memfd, 3 * PAGE, 2 * PAGE, RW));
	result("bad fd", map_file(ioas, 999, 0, PAGE, RW));
	result("non-memfd file, no domain", map_file(ioas, other, 0, PAGE, RO));
	result("start overflow", map_file(ioas, memfd, UINT64_MAX - 0x7ff, PAGE, RW));
	result("flags 8", map_file(ioas, memfd, 0, PAGE, RW | 8));
	result("change_process (only file maps)", change_process(0));
	ok(map(ioas, buffer, PAGE, &iova, RW));
	result("change_process with a VA map", change_process(0));
	result("change_process reserved", change_process(1));
	ioas = ioas_alloc(rig);
	ok(mock_domain(ioas, 0, &device));
	result("memfd with domain", map_file(ioas, memfd, 0, PAGE, RW));
	result("memfd beyond EOF with domain", map_file(ioas, memfd, 3 * PAGE, 2 * PAGE, RW));
	result("non-memfd with domain", map_file(ioas, other, 0, PAGE, RO));
	close(other);
	close(memfd);
}

/* --- VFIO container calls ---------------------------------------------------------------- */

static int vfio_ioas(uint16_t op)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op };

	return iommufd(rig, IOMMU_VFIO_IOAS, &cmd);
}

void probe_compat(void **state)
{
	char label[32];

	fresh_context();
	golden_section("vfio compat");
	result("VFIO_GET_API_VERSION", iommufd(rig, VFIO_GET_API_VERSION, NULL));
	for (uintptr_t i = 1; i <= 10; i++) {
		snprintf(label, sizeof(label), "CHECK_EXTENSION %u", (unsigned int)i);
		result(label, iommufd(rig, VFIO_CHECK_EXTENSION, (void *)i));
	}
	result("VFIO_IOAS op 3", vfio_ioas(3));
	result("VFIO_IOAS get", vfio_ioas(IOMMU_VFIO_IOAS_GET));
	result("VFIO_SET_IOMMU 1", iommufd(rig, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU));
	result("VFIO_SET_IOMMU 9", iommufd(rig, VFIO_SET_IOMMU, (void *)9));
	result("VFIO_IOMMU_DIRTY_PAGES", iommufd(rig, VFIO_IOMMU_DIRTY_PAGES, buffer));
}
