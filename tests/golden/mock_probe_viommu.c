// SPDX-License-Identifier: BSD-3-Clause
/* The probe of the mock IOMMU: vIOMMUs and what belongs to them. See mock_probe.h. */
#include "mock_probe.h"

#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>

/* --- vIOMMUs ----------------------------------------------------------------------------- */

static int viommu(struct iommu_viommu_alloc *cmd)
{
	cmd->size = sizeof(*cmd);
	if (!cmd->dev_id)
		cmd->dev_id = o.idev;
	if (!cmd->hwpt_id)
		cmd->hwpt_id = o.nest;
	return iommufd(rig, IOMMU_VIOMMU_ALLOC, cmd);
}

#define VIOMMU(...) \
	viommu(&(struct iommu_viommu_alloc){ .type = SELFTEST_VIOMMU_TYPE, ##__VA_ARGS__ })

static int vdevice(uint32_t viommu_id, uint32_t dev, uint64_t virt_id, uint32_t *out)
{
	struct iommu_vdevice_alloc cmd = {
		.size = sizeof(cmd), .viommu_id = viommu_id, .dev_id = dev, .virt_id = virt_id
	};
	int ret = iommufd(rig, IOMMU_VDEVICE_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_vdevice_id;
	return ret;
}

static void probe_viommu_alloc(void)
{
	struct iommu_viommu_alloc first = { .type = SELFTEST_VIOMMU_TYPE }, second = first;
	struct iommu_viommu_alloc odd = { .type = SELFTEST_VIOMMU_TYPE, .__reserved = 1 };

	result("viommu flags=1", VIOMMU(.flags = 1));
	result("viommu type DEFAULT", viommu(&(struct iommu_viommu_alloc){ .type = 0 }));
	result("viommu type SMMUV3 on mock", viommu(&(struct iommu_viommu_alloc){ .type = 1 }));
	result("viommu bad dev", VIOMMU(.dev_id = 999));
	result("viommu bad hwpt", VIOMMU(.hwpt_id = 999));
	result("viommu bad type + bad hwpt (precedence)",
	       viommu(&(struct iommu_viommu_alloc){ .type = 1, .hwpt_id = 999 }));
	result("viommu on nested hwpt", VIOMMU(.hwpt_id = o.n1));
	result("viommu on non-nest hwpt", VIOMMU(.hwpt_id = o.plain));
	result("viommu", viommu(&first));
	o.viommu = first.out_viommu_id;
	result("second viommu on same parent", viommu(&second));
	result("destroy vi2", destroy(rig, second.out_viommu_id));
	result("viommu data len 4 (too small)",
	       VIOMMU(.data_len = 4, .data_uptr = (uintptr_t)buffer));
	result("viommu __reserved=1", viommu(&odd));
	ok(destroy(rig, odd.out_viommu_id));
}

void probe_viommu(void **state)
{
	struct selftest_cmd other;
	uint32_t id;

	golden_section("viommu");
	probe_viommu_alloc();
	result("destroy nest parent under viommu", destroy(rig, o.nest));
	result("nested via viommu", nested_plain(o.viommu, 0, &o.nv));
	result("nested via viommu type NONE", nested(o.viommu, 0, 0, NULL, 0, &id));
	result("nested via viommu DIRTY", nested_plain(o.viommu, DIRTY, &id));
	result("attach nested before vdevice", replace(o.nv));
	result("vdevice bad viommu", vdevice(999, o.idev, 0x42, &id));
	result("vdevice bad dev", vdevice(o.viommu, 999, 0x42, &id));
	result("vdevice", vdevice(o.viommu, o.idev, 0x42, &o.vdevice));
	result("vdevice again same dev", vdevice(o.viommu, o.idev, 0x43, &id));
	ok(mock_domain(o.ioas, 0, &other));
	result("vdevice 2nd dev same virt_id",
	       vdevice(o.viommu, other.mock_domain.out_idev_id, 0x42, &id));
	ok(destroy(rig, other.mock_domain.out_stdev_id));
	result("destroy viommu (vdevice/nested exist)", destroy(rig, o.viommu));
	result("attach nested after vdevice", replace(o.nv));
	result("destroy vdevice while nested attached", destroy(rig, o.vdevice));
	result("re-create vdevice while nested attached",
	       vdevice(o.viommu, o.idev, 0x42, &o.vdevice));
	result("replace rid -> ioas", replace(o.ioas));
	result("re-attach nested", replace(o.nv));
}

/* --- vEVENT queues ----------------------------------------------------------------------- */

static int veventq(uint32_t viommu_id, uint32_t type, uint32_t depth, uint32_t flags, uint32_t *id,
		   int *fd)
{
	struct iommu_veventq_alloc cmd = { .size = sizeof(cmd),
					   .flags = flags,
					   .viommu_id = viommu_id,
					   .type = type,
					   .veventq_depth = depth };
	int ret = iommufd(rig, IOMMU_VEVENTQ_ALLOC, &cmd);

	if (!ret) {
		*id = cmd.out_veventq_id;
		*fd = (int)cmd.out_veventq_fd;
	}
	return ret;
}

static int trigger_vevent(void)
{
	struct selftest_cmd cmd = { .trigger_vevent.dev_id = o.idev };

	return test_cmd(SELFTEST_TRIGGER_VEVENT, 0, &cmd);
}

static void trigger_vevents(unsigned int count)
{
	while (count--)
		ok(trigger_vevent());
}

/* Read @size bytes and say how many came, and their words. */
static void say_events(const char *label, int fd, size_t size)
{
	uint32_t words[16] = { 0 };
	ssize_t n = rig->host->ops->read(rig->host, fd, words, size);
	char text[256];
	int at = snprintf(text, sizeof(text), "    %s %zd:", label, n);

	for (ssize_t i = 0; i < n / 4; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, " %08x", words[i]);
	line("%s", text);
}

static void probe_overflow(int fd)
{
	for (unsigned int i = 0; i < 4; i++) {
		char label[16];

		snprintf(label, sizeof(label), "trigger %u", i);
		result(label, trigger_vevent());
	}
	line("   poll=0x%x", poll_events(fd) & POLLIN);
	result("read 8 (header only)", rig->host->ops->read(rig->host, fd, buffer, 8));
	say_events("read12", fd, 12);
	say_events("read64", fd, 64);
	result("read drained", rig->host->ops->read(rig->host, fd, buffer, 64));
	trigger_vevents(5);
	say_events("5ev read12", fd, 12);
	trigger_vevents(1);
	say_events("then1 read64", fd, 64);
	trigger_vevents(3);
	say_events("3ev read24", fd, 24);
	line("   poll (lost header pending)=0x%x", poll_events(fd) & POLLIN);
	say_events("read8", fd, 8);
	result("read8 again", rig->host->ops->read(rig->host, fd, buffer, 8));
	trigger_vevents(1);
	say_events("1ev", fd, 12);
}

void probe_veventq(void **state)
{
	uint32_t id = 0, odd_id = 0;
	struct pollfd p;
	int fd = -1, odd_fd = -1;

	golden_section("veventq");
	result("veventq flags 1", veventq(o.viommu, SELFTEST_VEVENTQ_TYPE, 2, 1, &id, &fd));
	result("veventq type 0", veventq(o.viommu, 0, 2, 0, &id, &fd));
	result("veventq depth 0", veventq(o.viommu, SELFTEST_VEVENTQ_TYPE, 0, 0, &id, &fd));
	result("veventq depth 2^19+1",
	       veventq(o.viommu, SELFTEST_VEVENTQ_TYPE, (1 << 19) + 1, 0, &id, &fd));
	result("veventq bad viommu", veventq(999, SELFTEST_VEVENTQ_TYPE, 2, 0, &id, &fd));
	result("trigger without queue", trigger_vevent());
	result("veventq type unknown to driver (0x77)",
	       veventq(o.viommu, 0x77, 2, 0, &odd_id, &odd_fd));
	ok(host_close(rig, odd_fd));
	ok(destroy(rig, odd_id));
	result("veventq depth 2", veventq(o.viommu, SELFTEST_VEVENTQ_TYPE, 2, 0, &id, &fd));
	result("veventq duplicate",
	       veventq(o.viommu, SELFTEST_VEVENTQ_TYPE, 2, 0, &odd_id, &odd_fd));
	p = (struct pollfd){ .fd = fd, .events = POLLIN };
	line("   poll empty=%d", poll(&p, 1, 0));
	result("read empty", rig->host->ops->read(rig->host, fd, buffer, 64));
	result("read 7", rig->host->ops->read(rig->host, fd, buffer, 7));
	result("write", rig->host->ops->write(rig->host, fd, buffer, 8));
	probe_overflow(fd);
	result("destroy veventq with fd open", destroy(rig, id));
	ok(host_close(rig, fd));
	result("destroy veventq", destroy(rig, id));
}

/* --- invalidation ------------------------------------------------------------------------ */

struct inv {
	uint32_t id, type, len, num;
	uint32_t reserved;
	const void *data;
};

static int inv(struct inv *i)
{
	struct iommu_hwpt_invalidate cmd = { .size = sizeof(cmd),
					     .hwpt_id = i->id,
					     .data_uptr = (uintptr_t)i->data,
					     .data_type = i->type,
					     .entry_len = i->len,
					     .entry_num = i->num,
					     .__reserved = i->reserved };
	int ret = iommufd(rig, IOMMU_HWPT_INVALIDATE, &cmd);

	i->num = cmd.entry_num;
	return ret;
}

/* The vIOMMU's: *@num is said too if there is one. */
static void say_inv(const char *label, struct inv i, bool num)
{
	result(label, inv(&i));
	if (num)
		line("   n=%u", i.num);
}

void probe_invalidate(void **state)
{
	const uint32_t type = SELFTEST_INVALIDATE_DATA;
	struct selftest_viommu_invalidate two[2] = { { 0, 0x42, 0 }, { 0, 0x42, 1 } };
	struct selftest_viommu_invalidate bad[2] = { { 0, 0x42, 0 }, { 0, 0x9, 1 } };
	struct selftest_hwpt_invalidate half[2] = { { 0, 0 }, { 0, 4 } };
	uint32_t wide[4] = { 0, 0x42, 0, 0 };

	golden_section("invalidate");
	say_inv("inv bad id", (struct inv){ 999, type, 12, 1, 0, two }, true);
	say_inv("inv on paging hwpt", (struct inv){ o.nest, type, 12, 1, 0, two }, false);
	say_inv("inv on ioas", (struct inv){ o.ioas, type, 12, 1, 0, two }, false);
	say_inv("inv n=0 right type", (struct inv){ o.viommu, type, 12, 0, 0, NULL }, false);
	say_inv("inv n=0 wrong type (viommu)", (struct inv){ o.viommu, 1, 12, 0, 0, NULL }, false);
	say_inv("inv n=0 wrong type (nested)", (struct inv){ o.n1, 1, 8, 0, 0, NULL }, false);
	say_inv("inv 2", (struct inv){ o.viommu, type, 12, 2, 0, two }, true);
	say_inv("inv 2nd unknown vdev", (struct inv){ o.viommu, type, 12, 2, 0, bad }, true);
	say_inv("inv entry_len 16 tail zero", (struct inv){ o.viommu, type, 16, 1, 0, wide }, true);
	wide[3] = 1;
	say_inv("inv entry_len 16 tail 1", (struct inv){ o.viommu, type, 16, 1, 0, wide }, false);
	say_inv("inv bad ptr", (struct inv){ o.viommu, type, 12, 1, 0, (void *)BAD_POINTER },
		false);
	say_inv("inv null ptr", (struct inv){ o.viommu, type, 12, 1, 0, NULL }, false);
	say_inv("inv n>2^19", (struct inv){ o.viommu, type, 12, (1 << 19) + 1, 0, two }, true);
	say_inv("inv entry_len 4097", (struct inv){ o.viommu, type, 4097, 1, 0, two }, true);
	say_inv("inv reserved", (struct inv){ o.viommu, type, 12, 1, 1, two }, false);
	say_inv("inv nested 2nd bad", (struct inv){ o.n1, type, 8, 2, 0, half }, true);
	say_inv("inv nested entry_len 12", (struct inv){ o.n1, type, 12, 1, 0, two }, false);
}

/* --- hardware queues --------------------------------------------------------------------- */

static int hwq(uint32_t viommu_id, uint32_t type, uint32_t index, uint64_t iova, uint64_t length,
	       uint32_t *out)
{
	struct iommu_hw_queue_alloc cmd = { .size = sizeof(cmd),
					    .viommu_id = viommu_id,
					    .type = type,
					    .index = index,
					    .nesting_parent_iova = iova,
					    .length = length };
	int ret = iommufd(rig, IOMMU_HW_QUEUE_ALLOC, &cmd);

	if (!ret)
		*out = cmd.out_hw_queue_id;
	return ret;
}

static void map_page(unsigned int page, uint32_t perm)
{
	uint64_t iova = START + page * PAGE;

	ok(map(o.ioas, buffer + page * PAGE, PAGE, &iova, FIXED | perm));
}

void probe_hw_queue(void **state)
{
	const uint32_t type = SELFTEST_HW_QUEUE_TYPE;
	uint32_t q0 = 0, q1 = 0, id = 0;
	uint64_t n;

	golden_section("hw_queue");
	result("hwq no mapping", hwq(o.viommu, type, 0, START, PAGE, &id));
	for (unsigned int page = 0; page < 2; page++)
		map_page(page, RW);
	map_page(4, RO);
	map_page(5, WO);
	result("hwq type 0", hwq(o.viommu, 0, 0, START, PAGE, &id));
	result("hwq len 0", hwq(o.viommu, type, 0, START, 0, &id));
	result("hwq overflow", hwq(o.viommu, type, 0, UINT64_MAX, PAGE, &id));
	result("hwq bad viommu", hwq(999, type, 0, START, PAGE, &id));
	result("hwq unknown type", hwq(o.viommu, 0x77, 0, START, PAGE, &id));
	result("hwq index 1 first", hwq(o.viommu, type, 1, START, PAGE, &id));
	result("hwq index 2", hwq(o.viommu, type, 2, START, PAGE, &id));
	result("hwq on RO map", hwq(o.viommu, type, 0, START + 4 * PAGE, PAGE, &id));
	ok(destroy(rig, id));
	result("hwq on WO map", hwq(o.viommu, type, 0, START + 5 * PAGE, PAGE, &id));
	result("hwq two pages (maybe discontiguous)", hwq(o.viommu, type, 0, START, 2 * PAGE, &id));
	result("hwq 0", hwq(o.viommu, type, 0, START, PAGE, &q0));
	result("hwq 0 dup", hwq(o.viommu, type, 0, START, PAGE, &id));
	result("hwq 1", hwq(o.viommu, type, 1, START, PAGE, &q1));
	result("unmap pinned", unmap(o.ioas, START, PAGE, &n));
	result("unmap all pinned", unmap(o.ioas, 0, UINT64_MAX, &n));
	result("destroy q0", destroy(rig, q0));
	result("destroy q1", destroy(rig, q1));
	result("destroy q0", destroy(rig, q0));
	result("unmap", unmap(o.ioas, START, PAGE, &n));
}

/* --- mapped memory ----------------------------------------------------------------------- */

static int map_viommu(uint64_t offset, uint64_t length, int prot, int flags, void **out)
{
	int e = 0;
	void *mapped =
		rig->host->ops->mmap(rig->host, length, prot, flags, rig->iommu, (off_t)offset, &e);

	if (mapped)
		*out = mapped;
	return e;
}

void probe_viommu_mmap(void **state)
{
	const int rw = PROT_READ | PROT_WRITE;
	struct selftest_viommu data = { .in_data = 0x1234 };
	struct iommu_viommu_alloc cmd = { .type = SELFTEST_VIOMMU_TYPE,
					  .data_len = sizeof(data),
					  .data_uptr = (uintptr_t)&data };
	uint64_t offset, length;
	void *mapped = NULL, *none;

	golden_section("viommu mmap");
	result("viommu with data", viommu(&cmd));
	offset = data.out_mmap_offset;
	length = data.out_mmap_length;
	line("   off=0x%llx len=0x%llx out=0x%x", (unsigned long long)offset,
	     (unsigned long long)length, data.out_data);
	result("mmap", map_viommu(offset, length, rw, MAP_SHARED, &mapped));
	assert_int_equal(*(uint32_t *)mapped, 0x1234);
	result("mmap private", map_viommu(offset, length, rw, MAP_PRIVATE, &none));
	result("mmap exec", map_viommu(offset, length, rw | PROT_EXEC, MAP_SHARED, &none));
	result("mmap wrong length", map_viommu(offset, length / 2, rw, MAP_SHARED, &none));
	result("mmap inside", map_viommu(offset + PAGE, length / 2, rw, MAP_SHARED, &none));
	result("destroy mmapped viommu", destroy(rig, cmd.out_viommu_id));
	ok(rig->host->ops->munmap(rig->host, mapped, length));
	result("destroy", destroy(rig, cmd.out_viommu_id));
}
