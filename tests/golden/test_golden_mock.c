// SPDX-License-Identifier: BSD-3-Clause
/*
 * The replay of probe-mock.txt: what Linux 7.2 answered with its mock IOMMU. The parts follow
 * each other on the same objects, as they did in the recorder: ids are part of the record.
 */
#include "mock_probe.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct rig *rig;
uint8_t *buffer;

struct mock_probe o;

static const struct selftest_hwpt s1 = { .iotlb = 0xbadbeef };

/* --- mock device ------------------------------------------------------------------------- */

static int hw_info(uint32_t size, uint32_t dev, uint8_t reserved, struct iommu_hw_info *cmd,
		   struct selftest_hw_info *info)
{
	*cmd = (struct iommu_hw_info){ .size = size,
				       .dev_id = dev,
				       .data_len = sizeof(*info),
				       .data_uptr = (uintptr_t)info,
				       .__reserved = { reserved } };
	return iommufd(rig, IOMMU_GET_HW_INFO, cmd);
}

static void probe_hw_info(void)
{
	struct selftest_hw_info info;
	struct iommu_hw_info cmd;

	result("hw_info", hw_info(sizeof(cmd), o.idev, 0, &cmd, &info));
	line("   type=0x%x len=%u pasid=%u caps=0x%llx", cmd.out_data_type, cmd.data_len,
	     cmd.out_max_pasid_log2, (unsigned long long)cmd.out_capabilities);
	result("hw_info reserved", hw_info(sizeof(cmd), o.idev, 1, &cmd, &info));
	result("hw_info on an IOAS id", hw_info(sizeof(cmd), o.ioas, 0, &cmd, &info));
	result("hw_info old size (no out_capabilities)", hw_info(32, o.idev, 0, &cmd, &info));
}

static int hwpt(struct iommu_hwpt_alloc *cmd)
{
	if (!cmd->size)
		cmd->size = sizeof(*cmd);
	if (!cmd->dev_id)
		cmd->dev_id = o.idev;
	if (!cmd->pt_id)
		cmd->pt_id = o.ioas;
	return iommufd(rig, IOMMU_HWPT_ALLOC, cmd);
}

#define HWPT(...) hwpt(&(struct iommu_hwpt_alloc){ __VA_ARGS__ })

static int fault_alloc(uint32_t flags, struct iommu_fault_alloc *cmd)
{
	*cmd = (struct iommu_fault_alloc){ .size = sizeof(*cmd), .flags = flags };
	return iommufd(rig, IOMMU_FAULT_QUEUE_ALLOC, cmd);
}

/* Every combination of flags, and one flag that there is not. */
static void probe_hwpt_flags(void)
{
	for (uint32_t flags = 0; flags <= 0x10; flags++) {
		struct iommu_hwpt_alloc cmd = { .flags = flags, .fault_id = o.fault };
		char label[32];
		int ret = hwpt(&cmd);

		snprintf(label, sizeof(label),
			 flags ? "hwpt paging flags=0x%x" : "hwpt paging flags=0", flags);
		result(label, ret);
		if (!ret)
			ok(destroy(rig, cmd.out_hwpt_id));
	}
}

static int hwpt_on_read_only_page(void)
{
	struct iommu_hwpt_alloc *cmd =
		mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	*cmd = (struct iommu_hwpt_alloc){ .size = sizeof(*cmd), .dev_id = o.idev, .pt_id = o.ioas };
	assert_int_equal(mprotect(cmd, PAGE, PROT_READ), 0);
	ret = iommufd(rig, IOMMU_HWPT_ALLOC, cmd);
	munmap(cmd, PAGE);
	return ret;
}

static void probe_hwpt_args(void)
{
	struct iommu_hwpt_alloc old = { .size = 24 }, odd = { .__reserved2 = 1 };

	result("hwpt reserved=1", HWPT(.__reserved = 1));
	result("hwpt __reserved2=1 (not checked?)", hwpt(&odd));
	ok(destroy(rig, odd.out_hwpt_id));
	result("hwpt size=24 (min)", hwpt(&old));
	ok(destroy(rig, old.out_hwpt_id));
	result("hwpt data_type NONE + len 4", HWPT(.data_len = 4, .data_uptr = (uintptr_t)&s1));
	result("hwpt type set, len 0", HWPT(.data_type = SELFTEST_HWPT_DATA));
	result("hwpt bad dev", HWPT(.dev_id = 999));
	result("hwpt dev is an IOAS id", HWPT(.dev_id = o.ioas));
	result("hwpt bad pt", HWPT(.pt_id = 999));
	result("hwpt pt is device", HWPT(.pt_id = o.idev));
	result("hwpt fault id missing", HWPT(.flags = FAULT, .fault_id = 999));
	result("hwpt data+bad dev (precedence)", HWPT(.dev_id = 999, .data_len = 4));
	result("hwpt data null ptr user_data on paging",
	       HWPT(.data_type = SELFTEST_HWPT_DATA, .data_len = sizeof(s1)));
	result("hwpt out ptr read-only page", hwpt_on_read_only_page());
}

static void probe_device(void **state)
{
	struct iommu_iova_range list[4];
	struct iommu_fault_alloc fault;
	struct selftest_cmd device;
	uint64_t alignment;
	uint32_t count;

	fresh_context();
	golden_section("mock device: attach, hwpt");
	o.ioas = ioas_alloc(rig);
	result("mock_domain_flags PASID", mock_domain(o.ioas, SELFTEST_DEVICE_PASID, &device));
	o.stdev = device.mock_domain.out_stdev_id;
	o.idev = device.mock_domain.out_idev_id;
	line("   stdev=%u autohwpt=%u idev=%u ioas=%u", o.stdev, device.mock_domain.out_hwpt_id,
	     o.idev, o.ioas);
	count = ioas_ranges(rig, o.ioas, list, &alignment);
	result("ranges", 0);
	line("   n=%u align=%llu [0x%llx,0x%llx]", count, (unsigned long long)alignment,
	     (unsigned long long)list[0].start, (unsigned long long)list[0].last);
	probe_hw_info();
	result("destroy ioas (in use)", destroy(rig, o.ioas));
	result("destroy auto hwpt (in use)", destroy(rig, device.mock_domain.out_hwpt_id));
	result("destroy idev", destroy(rig, o.idev));
	result("fault_alloc flags=1", fault_alloc(1, &fault));
	result("fault_alloc", fault_alloc(0, &fault));
	o.fault = fault.out_fault_id;
	o.fault_fd = (int)fault.out_fault_fd;
	probe_hwpt_flags();
	probe_hwpt_args();
	ok(hwpt_alloc(rig, o.idev, o.ioas, NEST, &o.nest));
	ok(hwpt_alloc(rig, o.idev, o.ioas, DIRTY, &o.dirty));
	ok(hwpt_alloc(rig, o.idev, o.ioas, 0, &o.plain));
	ok(hwpt_alloc(rig, o.idev, o.ioas, PASID, &o.pas));
}

/* --- nested ------------------------------------------------------------------------------ */

int nested(uint32_t parent, uint32_t flags, uint32_t type, const void *data, uint32_t len,
	   uint32_t *out)
{
	struct iommu_hwpt_alloc cmd = { .flags = flags,
					.pt_id = parent,
					.data_type = type,
					.data_len = len,
					.data_uptr = (uintptr_t)data,
					.fault_id = o.fault };
	int ret = hwpt(&cmd);

	if (!ret)
		*out = cmd.out_hwpt_id;
	return ret;
}

int nested_plain(uint32_t parent, uint32_t flags, uint32_t *out)
{
	return nested(parent, flags, SELFTEST_HWPT_DATA, &s1, sizeof(s1), out);
}

static void probe_nested(void **state)
{
	const uint8_t big[64] = { 0 };
	struct selftest_cmd auto_device;
	uint32_t id, with_fault, ioas;

	golden_section("nested");
	result("nested on NEST parent", nested_plain(o.nest, 0, &o.n1));
	result("nested on non-NEST hwpt", nested_plain(o.plain, 0, &id));
	ioas = ioas_alloc(rig);
	ok(mock_domain(ioas, 0, &auto_device));
	result("nested on AUTO hwpt", nested_plain(auto_device.mock_domain.out_hwpt_id, 0, &id));
	ok(destroy(rig, auto_device.mock_domain.out_stdev_id));
	ok(destroy(rig, ioas));
	result("nested on nested", nested_plain(o.n1, 0, &id));
	result("nested flags NEST", nested_plain(o.nest, NEST, &id));
	result("nested flags DIRTY", nested_plain(o.nest, DIRTY, &id));
	result("nested PASID", nested_plain(o.nest, PASID, &o.n2));
	result("nested FAULT", nested_plain(o.nest, FAULT, &with_fault));
	result("nested wrong type", nested(o.nest, 0, 1, &s1, sizeof(s1), &id));
	result("nested type NONE", nested(o.nest, 0, 0, NULL, 0, &id));
	result("nested len too small", nested(o.nest, 0, SELFTEST_HWPT_DATA, &s1, 3, &id));
	result("nested len too big", nested(o.nest, 0, SELFTEST_HWPT_DATA, big, sizeof(big), &id));
	result("nested bad ptr",
	       nested(o.nest, 0, SELFTEST_HWPT_DATA, (void *)BAD_POINTER, sizeof(s1), &id));
	result("destroy nest parent (has nested)", destroy(rig, o.nest));
	result("destroy fault (used by hwpt)", destroy(rig, o.fault));
	ok(destroy(rig, with_fault));
}

/* --- dirty ------------------------------------------------------------------------------- */

static int set_dirty(uint32_t id, uint32_t flags)
{
	struct iommu_hwpt_set_dirty_tracking cmd = { .size = sizeof(cmd),
						     .flags = flags,
						     .hwpt_id = id };

	return iommufd(rig, IOMMU_HWPT_SET_DIRTY_TRACKING, &cmd);
}

static int get_dirty(uint32_t id, uint32_t flags, uint64_t iova, uint64_t length,
		     uint64_t page_size, void *data)
{
	struct iommu_hwpt_get_dirty_bitmap cmd = { .size = sizeof(cmd),
						   .hwpt_id = id,
						   .flags = flags,
						   .iova = iova,
						   .length = length,
						   .page_size = page_size,
						   .data = (uintptr_t)data };

	return iommufd(rig, IOMMU_HWPT_GET_DIRTY_BITMAP, &cmd);
}

static void probe_dirty(void **state)
{
	const uint64_t length = 2 * PAGE; /* no multiple of 0x3000 */
	uint64_t bits[8], iova = START, n;

	golden_section("dirty");
	ok(map(o.ioas, buffer, length, &iova, FIXED | RW));
	result("set_dirty on non-dirty hwpt", set_dirty(o.plain, 1));
	result("set_dirty flags 2", set_dirty(o.dirty, 2));
	result("set_dirty bad id", set_dirty(999, 1));
	result("set_dirty on nested", set_dirty(o.n1, 1));
	result("set_dirty on ioas id", set_dirty(o.ioas, 1));
	result("get before enable", get_dirty(o.dirty, 0, START, length, PAGE, bits));
	result("enable", set_dirty(o.dirty, 1));
	result("enable twice", set_dirty(o.dirty, 1));
	result("get flags 2", get_dirty(o.dirty, 2, START, length, PAGE, bits));
	result("get page_size 0", get_dirty(o.dirty, 0, START, length, 0, bits));
	result("get page_size 0x3000", get_dirty(o.dirty, 0, START, length, 0x3000, bits));
	result("get length 0", get_dirty(o.dirty, 0, START, 0, PAGE, bits));
	result("get unaligned iova", get_dirty(o.dirty, 0, START + 1, length, PAGE, bits));
	result("get overflow", get_dirty(o.dirty, 0, UINT64_MAX - PAGE + 1, 2 * PAGE, PAGE, bits));
	result("get unmapped range", get_dirty(o.dirty, 0, 4 * START, length, PAGE, bits));
	result("get bad data ptr", get_dirty(o.dirty, 0, START, length, PAGE, (void *)BAD_POINTER));
	result("get on non-dirty hwpt", get_dirty(o.plain, 0, START, length, PAGE, bits));
	result("get ok", get_dirty(o.dirty, 0, START, length, PAGE, bits));
	result("disable", set_dirty(o.dirty, 0));
	result("disable twice", set_dirty(o.dirty, 0));
	result("unmap with dirty", unmap(o.ioas, START, length, &n));
}

/* --- attachments ------------------------------------------------------------------------- */

int replace(uint32_t pt)
{
	struct selftest_cmd cmd = { .replace.pt_id = pt };

	return test_cmd(SELFTEST_MOCK_DOMAIN_REPLACE, o.stdev, &cmd);
}

static int pasid_op(uint32_t op, uint32_t pasid, uint32_t pt)
{
	struct selftest_cmd cmd = { .pasid = { pasid, pt } };

	return test_cmd(op, o.stdev, &cmd);
}

static void probe_attach(void **state)
{
	golden_section("attach/replace");
	result("replace rid -> nested", replace(o.n1));
	result("destroy attached nested", destroy(rig, o.n1));
	result("replace rid -> same", replace(o.n1));
	result("replace rid -> idev id", replace(o.idev));
	result("replace rid -> 999", replace(999));
	result("replace -> fault id", replace(o.fault));
	result("destroy old auto hwpt (should be gone)", destroy(rig, 4));
}

static void probe_pasid(void **state)
{
	const uint32_t attach = SELFTEST_PASID_ATTACH, change = SELFTEST_PASID_REPLACE;

	golden_section("pasid");
	result("pasid attach non-PASID hwpt", pasid_op(attach, 5, o.plain));
	result("pasid attach PASID hwpt, RID on non-PASID nested", pasid_op(attach, 5, o.pas));
	result("replace rid -> PASID hwpt", replace(o.pas));
	result("pasid 5 attach PASID hwpt", pasid_op(attach, 5, o.pas));
	result("pasid 5 attach again", pasid_op(attach, 5, o.pas));
	result("pasid 5 replace nested PASID", pasid_op(change, 5, o.n2));
	result("pasid 7 replace (not attached)", pasid_op(change, 7, o.n2));
	result("pasid attach >= 1<<20", pasid_op(attach, 1 << 20, o.pas));
	result("pasid attach 0 (== NO_PASID) when RID attached", pasid_op(attach, 0, o.pas));
	result("pasid attach ioas", pasid_op(attach, 6, o.ioas));
	result("rid replace -> non-PASID hwpt while PASID attached", replace(o.plain));
	result("destroy n2 attached to pasid", destroy(rig, o.n2));
	result("pasid 5 detach", pasid_op(SELFTEST_PASID_DETACH, 5, 0));
	result("pasid 5 detach again", pasid_op(SELFTEST_PASID_DETACH, 5, 0));
	result("destroy n2", destroy(rig, o.n2));
	result("replace rid -> ioas", replace(o.ioas));
}

/* --- page requests ----------------------------------------------------------------------- */

static int trigger_iopf(uint32_t group)
{
	struct selftest_cmd cmd = {
		.trigger_iopf = { .dev_id = o.idev, .group = group, .perm = 3, .addr = 0xdeadb000 }
	};

	return test_cmd(SELFTEST_TRIGGER_IOPF, 0, &cmd);
}

static ssize_t read_fault(void *buf, size_t size)
{
	return rig->host->ops->read(rig->host, o.fault_fd, buf, size);
}

static ssize_t respond(uint32_t cookie, uint32_t code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return rig->host->ops->write(rig->host, o.fault_fd, &response, sizeof(response));
}

static ssize_t respond_two(uint32_t good, uint32_t bad)
{
	struct iommu_hwpt_page_response responses[] = { { .cookie = good }, { .cookie = bad } };

	return rig->host->ops->write(rig->host, o.fault_fd, responses, sizeof(responses));
}

unsigned int poll_events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	assert_true(poll(&p, 1, 0) >= 0);
	return (unsigned int)p.revents;
}

static uint32_t read_and_say(const char *label)
{
	struct iommu_hwpt_pgfault f = { 0 };

	result(label, read_fault(&f, sizeof(f)));
	line("    pgfault flags=0x%x dev_id=%u pasid=%u grpid=%u perm=0x%x addr=0x%llx length=%u "
	     "cookie=%u",
	     f.flags, f.dev_id, f.pasid, f.grpid, f.perm, (unsigned long long)f.addr, f.length,
	     f.cookie);
	return f.cookie;
}

static void probe_empty_queue(void)
{
	struct iommu_hwpt_pgfault f;

	result("read empty nonblock", read_fault(&f, sizeof(f)));
	result("read empty blocking mode", read_fault(&f, sizeof(f)));
	result("read size 39", read_fault(&f, 39));
	result("read size 0", read_fault(&f, 0));
	result("write bad cookie", respond(77, 0));
	result("write size 4", rig->host->ops->write(rig->host, o.fault_fd, &f, 4));
	result("pread off 40", rig->host->ops->pread(rig->host, o.fault_fd, &f, sizeof(f), 40));
	line("   poll empty revents=0x%x", poll_events(o.fault_fd));
}

static void probe_iopf(void **state)
{
	uint32_t id = 0, cookie, second;

	ok(hwpt_alloc_data(rig, o.idev, o.nest, 0, SELFTEST_HWPT_DATA, &s1, sizeof(s1), &id));
	ok(destroy(rig, id));
	golden_section("iopf");
	probe_empty_queue();
	ok(nested_plain(o.nest, FAULT, &id));
	result("replace rid -> iopf hwpt", replace(id));
	result("trigger", trigger_iopf(2));
	line("   poll revents=0x%x", poll_events(o.fault_fd));
	result("read size 0 with pending", read_fault(buffer, 0));
	cookie = read_and_say("read");
	line("   poll after read revents=0x%x", poll_events(o.fault_fd));
	result("respond code 7", respond(cookie, 7));
	result("respond wrong cookie", respond(cookie + 1, 0));
	result("respond", respond(cookie, 0));
	result("respond again", respond(cookie, 0));
	ok(trigger_iopf(3));
	result("trigger x2", trigger_iopf(4));
	cookie = read_and_say("read one");
	second = read_and_say("read second");
	result("respond 2, second bad", respond_two(cookie, 99));
	result("trigger", trigger_iopf(5));
	result("replace away (auto-response INVALID)", replace(o.ioas));
	line("   poll revents=0x%x", poll_events(o.fault_fd));
	result("read after replace", read_fault(buffer, sizeof(struct iommu_hwpt_pgfault)));
	err(EINVAL, (int)respond(second, 0)); /* it went with the attachment */
	result("destroy iopf hwpt", destroy(rig, id));
	result("destroy fault with fd open", destroy(rig, o.fault));
	ok(host_close(rig, o.fault_fd));
	result("destroy fault after close", destroy(rig, o.fault));
}

/* --- the end ----------------------------------------------------------------------------- */

static void probe_teardown(void **state)
{
	uint32_t ids[6];

	golden_section("tombstone / teardown");
	result("replace rid -> ioas", replace(o.ioas));
	result("destroy stdev (device unbind) with vdevice alive", destroy(rig, o.stdev));
	result("destroy vdevice id", destroy(rig, o.vdevice));
	result("destroy nv", destroy(rig, o.nv));
	result("destroy viommu", destroy(rig, o.viommu));
	result("destroy n1", destroy(rig, o.n1));
	result("destroy dirty", destroy(rig, o.dirty));
	result("destroy pas", destroy(rig, o.pas));
	ok(destroy(rig, o.plain));
	result("destroy nest", destroy(rig, o.nest));
	result("destroy ioas", destroy(rig, o.ioas));
	for (unsigned int i = 0; i < 6; i++)
		ids[i] = ioas_alloc(rig);
	line("new ids after teardown: %u %u %u %u %u %u (tombstoned id %u)", ids[0], ids[1], ids[2],
	     ids[3], ids[4], ids[5], o.vdevice);
}

/* One host for all parts. */
static void begin(void **state)
{
	rig = calloc(1, sizeof(*rig));
	rig->iommu = -1;
	buffer =
		mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	golden_open("probe-mock.txt");
	ok(nst_host_soft_create(
		&(struct nst_soft_config){ .iommu = NST_SOFT_SELFTEST, .synchronous = true },
		&rig->host));
}

static void all_is_replayed(void **state)
{
	golden_close();
	rig_destroy(rig);
	munmap(buffer, BUFFER_BYTES);
}

static const struct suite_case cases[] = {
	TEST_ALONE(begin),	     TEST_ALONE(probe_framing),
	TEST_ALONE(probe_ids),	     TEST_ALONE(probe_file_calls),
	TEST_ALONE(probe_options),   TEST_ALONE(probe_map),
	TEST_ALONE(probe_map_file),  TEST_ALONE(probe_device),
	TEST_ALONE(probe_nested),    TEST_ALONE(probe_dirty),
	TEST_ALONE(probe_attach),    TEST_ALONE(probe_pasid),
	TEST_ALONE(probe_iopf),	     TEST_ALONE(probe_viommu),
	TEST_ALONE(probe_veventq),   TEST_ALONE(probe_invalidate),
	TEST_ALONE(probe_hw_queue),  TEST_ALONE(probe_viommu_mmap),
	TEST_ALONE(probe_teardown),  TEST_ALONE(probe_compat),
	TEST_ALONE(all_is_replayed),
};

SUITE_GROUP(golden_mock, cases)
