// SPDX-License-Identifier: BSD-3-Clause
/* Every command over the socket: what it answers, what the device sees, how it is refused. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct reply reply;

/* ---- VERSION */

static void version_answer_fits_the_request(void **state)
{
	struct fixture *f = *state;
	struct wire_version version;

	client_connect(f);
	assert_false(nst_vfu_is_connected(f->vfu));
	assert_int_equal(f->connects, 0);
	client_version(f, qemu_version);
	assert_true(nst_vfu_is_connected(f->vfu));
	assert_int_equal(f->connects, 1);

	/* client_version() has received it; ask again to see one: refused, nothing changes. */
	client_call(f, WIRE_VERSION, "\0\0\0\0{}", 7, -1, EINVAL, &reply);
	assert_true(nst_vfu_is_connected(f->vfu));
	client_close(f);

	for (uint16_t minor = 0; minor < 4; minor++) {
		uint8_t payload[256] = { 0 };
		size_t size = 4 + sizeof("{\"capabilities\":{\"max_msg_fds\":1,\"x\":22222}}");

		memcpy(payload + 2, &minor, 2);
		strcpy((char *)payload + 4, "{\"capabilities\":{\"max_msg_fds\":1,\"x\":22222}}");
		client_connect(f);
		client_call(f, WIRE_VERSION, payload, size, -1, 0, &reply);
		assert_true(reply.size <= size);
		assert_int_equal(reply.payload[reply.size - 1], 0);
		assert_string_equal((char *)reply.payload + 4,
				    "{\"capabilities\":{\"max_msg_fds\":16}}");
		memcpy(&version, reply.payload, 4);
		assert_int_equal(version.major, 0);
		assert_int_equal(version.minor, MIN(minor, 1));
		client_close(f);
	}
}

static void version_without_text(void **state)
{
	struct fixture *f = *state;

	client_connect(f);
	client_call(f, WIRE_VERSION, "\0\0\0\0", 4, -1, 0, &reply);
	assert_int_equal(reply.size, 4);
	assert_true(nst_vfu_is_connected(f->vfu));
}

static void version_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	const struct { const char *payload; size_t size; int err; } cases[] = {
		{ "\1\0\0\0{}", 7, EPROTONOSUPPORT }, { "\0\0\0\0{", 6, EINVAL },
		{ "\0\0\0\0{}x", 7, EINVAL }, { "\0\0\0", 3, EINVAL },
		{ "\0\0\0\0[1]", 8, EINVAL }, { "", 0, EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		client_connect(f);
		client_call(f, WIRE_VERSION, cases[i].payload, cases[i].size, -1, cases[i].err,
			    &reply);
		assert_true(client_at_end(f));
		client_close(f);
	}
	assert_int_equal(f->connects, 0);
	assert_int_equal(f->disconnects, 0);
}

static void nothing_before_version(void **state)
{
	struct fixture *f = *state;

	for (uint16_t command = 0; command < 20; command++) {
		uint8_t message[128], payload[64] = { 0 };

		if (command == WIRE_VERSION)
			continue;
		client_connect(f);
		client_send(f, message, make_message(f, message, command, 0, payload, 64), NULL, 0);
		pump(f);
		assert_true(client_at_end(f));
		client_close(f);
		client_connect(f);
		client_send(f, message, make_message(f, message, command, WIRE_TYPE_REPLY, NULL, 0),
			    NULL, 0);
		pump(f);
		assert_true(client_at_end(f));
		client_close(f);
	}
	assert_int_equal(f->map_calls + f->reads + f->writes + f->irq_calls + f->resets, 0);
}

/* ---- what the device is */

static void device_info(void **state)
{
	struct fixture *f = *state;
	struct wire_device_info info = { 16, 0, 0, 0 };

	client_call(f, WIRE_GET_INFO, &info, 16, -1, 0, &reply);
	assert_int_equal(reply.size, 16);
	memcpy(&info, reply.payload, 16);
	assert_int_equal(info.argsz, 16);
	assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
	assert_int_equal(info.num_irqs, VFIO_PCI_NUM_IRQS);
	info.argsz = 15;
	client_call(f, WIRE_GET_INFO, &info, 16, -1, EINVAL, &reply);
	assert_int_equal(reply.size, 16);
	client_call(f, WIRE_GET_INFO, &info, 15, -1, EINVAL, &reply);
	assert_int_equal(reply.size, 16);
}

static struct vfio_region_info region_info(struct fixture *f, uint32_t index, uint32_t argsz,
					   int err)
{
	struct vfio_region_info info = { .argsz = argsz, .index = index };

	client_call(f, WIRE_GET_REGION_INFO, &info, 32, -1, err, &reply);
	memcpy(&info, reply.payload, 32);
	return info;
}

static void region_info_plain(void **state)
{
	struct fixture *f = *state;
	struct vfio_region_info info = region_info(f, VFIO_PCI_CONFIG_REGION_INDEX, 32, 0);

	assert_int_equal(reply.size, 32);
	assert_int_equal(reply.fd, -1);
	assert_int_equal(info.argsz, 32);
	assert_int_equal(info.size, CONFIG_SIZE);
	assert_int_equal(info.flags, 3);
	info = region_info(f, 1, 32, 0);
	assert_int_equal(info.size, 0);
	assert_int_equal(info.flags, 0);
	info = region_info(f, 2, 4096, 0);
	assert_int_equal(info.flags, VFIO_REGION_INFO_FLAG_READ);
	assert_int_equal(reply.size, 32);

	region_info(f, VFIO_PCI_NUM_REGIONS, 32, EINVAL);
	assert_int_equal(reply.size, 32);
	region_info(f, UINT32_MAX, 4096, EINVAL);
	assert_int_equal(reply.size, 32);
	region_info(f, 0, 31, EINVAL);
	assert_int_equal(reply.size, 32);
}

static void region_info_sparse(void **state)
{
	struct fixture *f = *state;
	struct {	/* struct vfio_region_info_cap_sparse_mmap with its one area */
		struct vfio_info_cap_header header;
		uint32_t nr_areas, reserved;
		struct vfio_region_sparse_mmap_area area;
	} got;
	struct vfio_region_info info;

	/* Too small for the capability: its size, and no promise that cannot be kept. */
	for (uint32_t argsz = 32; argsz < 64; argsz++) {
		info = region_info(f, 0, argsz, 0);
		assert_int_equal(reply.size, 32);
		assert_int_equal(reply.fd, -1);
		assert_int_equal(info.argsz, 64);
		assert_int_equal(info.flags, 3);
		assert_int_equal(info.cap_offset, 0);
	}
	for (uint32_t argsz = 64; argsz < 4096; argsz += 1000) {
		struct stat ours, theirs;

		info = region_info(f, 0, argsz, 0);
		assert_int_equal(reply.size, 64);
		assert_int_equal(info.argsz, 64);
		assert_int_equal(info.flags, 15);
		assert_int_equal(info.cap_offset, 32);
		assert_int_equal(info.size, BAR0_SIZE);
		assert_int_equal(info.offset, 0x2000);
		memcpy(&got, reply.payload + 32, sizeof(got));
		assert_int_equal(got.header.id, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
		assert_int_equal(got.header.version, 1);
		assert_int_equal(got.header.next, 0);
		assert_int_equal(got.nr_areas, 1);
		assert_int_equal(got.area.offset, 0x1000);
		assert_int_equal(got.area.size, 0x1000);
		assert_int_equal(fstat(f->bar_fd, &ours), 0);
		assert_int_equal(fstat(reply.fd, &theirs), 0);
		assert_int_equal(ours.st_ino, theirs.st_ino);
		close(reply.fd);
	}
}

static void region_info_all_mappable(void **state)
{
	struct fixture *f = *state;
	struct vfio_region_info info = region_info(f, 4, 32, 0);

	assert_int_equal(reply.size, 32);
	assert_int_equal(info.flags, 7);
	assert_true(reply.fd >= 0);
	close(reply.fd);
}

static void no_descriptor_for_who_takes_none(void **state)
{
	struct fixture *f = *state;
	struct vfio_region_info info;

	client_connect(f);
	client_version(f, "{\"capabilities\":{\"max_msg_fds\":0}}");
	info = region_info(f, 4, 4096, 0);
	assert_int_equal(info.flags, 3);
	assert_int_equal(reply.fd, -1);
	info = region_info(f, 0, 4096, 0);
	assert_int_equal(info.flags, 3);
	assert_int_equal(info.argsz, 32);
}

static void irq_info(void **state)
{
	struct fixture *f = *state;
	struct vfio_irq_info info;

	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		info = (struct vfio_irq_info){ .argsz = 16, .index = i };
		client_call(f, WIRE_GET_IRQ_INFO, &info, 16, -1, 0, &reply);
		assert_int_equal(reply.size, 16);
		memcpy(&info, reply.payload, 16);
		assert_int_equal(info.index, i);
		assert_int_equal(info.count, i == 1 ? MSI_VECTORS : i == 3 ? 1 : 0);
		assert_int_equal(info.flags, i ? VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE
					       : VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
						 VFIO_IRQ_INFO_AUTOMASKED);
	}
	info = (struct vfio_irq_info){ .argsz = 16, .index = VFIO_PCI_NUM_IRQS };
	client_call(f, WIRE_GET_IRQ_INFO, &info, 16, -1, EINVAL, &reply);
	assert_int_equal(reply.size, 16);
	info = (struct vfio_irq_info){ .argsz = 8 };
	client_call(f, WIRE_GET_IRQ_INFO, &info, 16, -1, EINVAL, &reply);
}

/* ---- interrupts */

static int send_irqs(struct fixture *f, uint32_t flags, uint32_t index, uint32_t start,
		     uint32_t count, const int *fds, size_t num_fds)
{
	struct wire_irq_set set = { sizeof(set), flags, index, start, count };
	uint8_t message[64];
	size_t n = make_message(f, message, WIRE_SET_IRQS, 0, &set, sizeof(set));

	client_send(f, message, n, fds, num_fds);
	client_receive(f, &reply);
	assert_int_equal(reply.size, 0);
	return (int)reply.header.error;
}

#define TRIGGER (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)

static void eventfds_in_chunks(void **state)
{
	struct fixture *f = *state;
	int fds[MSI_VECTORS];
	uint64_t one = 1, got;

	f->keep_fds = true;
	for (int i = 0; i < MSI_VECTORS; i++)
		fds[i] = make_eventfd();
	assert_int_equal(send_irqs(f, TRIGGER, 1, 0, 16, fds, 16), 0);
	assert_int_equal(send_irqs(f, TRIGGER, 1, 16, 16, fds + 16, 16), 0);
	assert_int_equal(f->irq_calls, 2);
	for (int i = 0; i < MSI_VECTORS; i++) {
		assert_int_equal(write(f->kept[i], &one, 8), 8);
		assert_int_equal(read(fds[i], &got, 8), 8);
		assert_int_equal(got, 1);
		/* A client that fills its counter must not stop us. */
		assert_true(fcntl(f->kept[i], F_GETFL) & O_NONBLOCK);
		close(f->kept[i]);
		close(fds[i]);
	}
}

static void eventfds_not_kept_are_closed(void **state)
{
	struct fixture *f = *state;
	unsigned int before = count_fds();
	int fds[3] = { make_eventfd(), make_eventfd(), make_eventfd() };

	assert_int_equal(send_irqs(f, TRIGGER, 1, 4, 3, fds, 3), 0);
	assert_int_equal(f->irq_fds, 3);
	f->fail_with = -EBUSY;
	assert_int_equal(send_irqs(f, TRIGGER, 1, 4, 3, fds, 3), EBUSY);
	f->fail_with = 0;
	assert_int_equal(send_irqs(f, TRIGGER, 1, 4, 2, fds, 3), EINVAL);
	assert_int_equal(send_irqs(f, TRIGGER, 9, 0, 3, fds, 3), EINVAL);
	assert_int_equal(f->irq_calls, 2);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	fds[0] = open("/", O_PATH | O_CLOEXEC);		/* nothing that could be signalled */
	assert_int_equal(send_irqs(f, TRIGGER, 1, 0, 1, fds, 1), EBADF);
	close(fds[0]);
	assert_int_equal(count_fds(), before);
}

static void a_run_without_descriptors_takes_them_away(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_irqs(f, TRIGGER, 1, 2, 30, NULL, 0), 0);
	assert_int_equal(f->irqs.start, 2);
	assert_int_equal(f->irqs.count, 30);
	assert_non_null(f->irqs.eventfds);
	assert_int_equal(f->irq_fds, 0);
}

static void irq_ranges(void **state)
{
	struct fixture *f = *state;
	const uint32_t none = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
	const struct { uint32_t index, start, count; int err; } cases[] = {
		{ 1, 0, 32, 0 }, { 1, 31, 1, 0 }, { 1, 32, 1, EINVAL }, { 1, 1, 32, EINVAL },
		{ 1, 0, 33, EINVAL }, { 1, UINT32_MAX, 2, EINVAL }, { 1, 2, UINT32_MAX, EINVAL },
		{ 3, 0, 1, 0 }, { 3, 0, 2, EINVAL }, { 0, 0, 1, EINVAL }, { 5, 0, 0, EINVAL },
		{ 1, 0, 0, 0 },		/* disables the index */
		{ 0, 0, 0, 0 },		/* also one that has none: harmless */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(send_irqs(f, none, cases[i].index, cases[i].start, cases[i].count,
					   NULL, 0), cases[i].err);
	assert_null(f->irqs.eventfds);
	assert_null(f->irqs.data);
}

static void irq_booleans(void **state)
{
	struct fixture *f = *state;
	struct { struct wire_irq_set set; uint8_t data[4]; } msg = {
		{ 24, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_UNMASK, 1, 8, 4 }, { 1, 0, 0, 1 },
	};

	client_call(f, WIRE_SET_IRQS, &msg, 24, -1, 0, &reply);
	assert_int_equal(f->irqs.flags, msg.set.flags);
	assert_memory_equal(f->irq_data, msg.data, 4);
}

/* ---- regions */

static void region_access(struct fixture *f, uint16_t command, uint32_t region, uint64_t offset,
			  uint32_t count, int err)
{
	struct { struct wire_region_access access; uint8_t data[64]; } msg = {
		.access = { offset, region, count },
	};

	memset(msg.data, 0x5a, sizeof(msg.data));
	client_call(f, command, &msg, command == WIRE_REGION_WRITE ? 16 + count : 16, -1, err, &reply);
	assert_int_equal(reply.size, command == WIRE_REGION_WRITE ? 16 : 16 + count);
	assert_memory_equal(reply.payload, &msg.access, 16);
}

static void region_reads(void **state)
{
	struct fixture *f = *state;

	memset(f->config, 0x11, sizeof(f->config));
	for (uint32_t n = 0; n <= 64; n++) {
		region_access(f, WIRE_REGION_READ, 7, 10, n, 0);
		assert_memory_equal(reply.payload + 16, f->config + 10, n);
	}
	assert_int_equal(f->reads, 64);		/* an empty read needs nobody */
	region_access(f, WIRE_REGION_READ, 7, CONFIG_SIZE - 4, 4, 0);
}

static void failed_reads_are_all_ones(void **state)
{
	struct fixture *f = *state;
	const struct { uint32_t region; uint64_t offset; int err; } cases[] = {
		{ 7, CONFIG_SIZE - 3, EINVAL }, { 7, CONFIG_SIZE, EINVAL }, { 7, UINT64_MAX, EINVAL },
		{ 7, UINT64_MAX - 2, EINVAL }, { 1, 0, EINVAL }, { 9, 0, EINVAL },
		{ UINT32_MAX, 0, EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		region_access(f, WIRE_REGION_READ, cases[i].region, cases[i].offset, 4, cases[i].err);
		assert_memory_equal(reply.payload + 16, "\xff\xff\xff\xff", 4);
	}
	assert_int_equal(f->reads, 0);
	f->fail_with = -EIO;
	region_access(f, WIRE_REGION_READ, 7, 0, 8, EIO);
	assert_memory_equal(reply.payload + 16, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
}

static void large_reads(void **state)
{
	struct fixture *f = *state;
	struct wire_region_access access = { 0x1000, 2, WIRE_MAX_DATA };

	client_call(f, WIRE_REGION_READ, &access, 16, -1, 0, &reply);
	assert_int_equal(reply.size, 16 + WIRE_MAX_DATA);
	for (uint32_t i = 0; i < WIRE_MAX_DATA; i += 4096)
		assert_int_equal(reply.payload[16 + i], 1);
	access.count++;
	client_call(f, WIRE_REGION_READ, &access, 16, -1, E2BIG, &reply);
	assert_int_equal(reply.size, 16);
}

static void region_writes(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 0; n <= 64; n++) {
		memset(f->bar0, 0, 80);
		region_access(f, WIRE_REGION_WRITE, 0, 8, n, 0);
		for (uint32_t i = 0; i < 80; i++)
			assert_int_equal(f->bar0[i], i >= 8 && i < 8 + n ? 0x5a : 0);
	}
	region_access(f, WIRE_REGION_WRITE, 0, BAR0_SIZE - 3, 4, EINVAL);
	region_access(f, WIRE_REGION_WRITE, 2, 0, 4, EACCES);
	assert_int_equal(f->writes, 64);
	f->fail_with = -EPERM;
	region_access(f, WIRE_REGION_WRITE, 0, 0, 4, EPERM);
}

/* The largest message there is. It comes in many pieces, and its buffer is not kept. */
static void large_writes(void **state)
{
	struct fixture *f = *state;
	const struct wire_region_access access = { 0, 2, WIRE_MAX_DATA };
	const size_t size = sizeof(struct wire_header) + sizeof(access) + WIRE_MAX_DATA;
	uint8_t *bytes = calloc(1, size);

	for (int round = 0; round < 2; round++) {
		make_message(f, bytes, WIRE_REGION_WRITE, 0, &access, sizeof(access));
		((struct wire_header *)(void *)bytes)->size = (uint32_t)size;
		for (size_t at = 0; at < size; at += 65536) {
			client_send(f, bytes + at, MIN(size - at, (size_t)65536), NULL, 0);
			pump(f);
		}
		client_receive(f, &reply);
		assert_int_equal(reply.header.error, EACCES);
		assert_int_equal(reply.size, 16);
		assert_true(f->vfu->rx.room <= RX_KEEP);
	}
	free(bytes);
}

static void posted_writes_have_no_answer(void **state)
{
	struct fixture *f = *state;
	struct { struct wire_region_access access; uint32_t data; } msg = { { 0, 0, 4 }, 7 };
	struct nst_vfu_stats stats;
	uint8_t bytes[64];

	client_send(f, bytes, make_message(f, bytes, WIRE_REGION_WRITE, WIRE_NO_REPLY, &msg, 20),
		    NULL, 0);
	pump(f);
	assert_int_equal(f->writes, 1);
	assert_int_equal(f->bar0[0], 7);
	msg.access.offset = BAR0_SIZE;
	client_send(f, bytes, make_message(f, bytes, WIRE_REGION_WRITE, WIRE_NO_REPLY, &msg, 20),
		    NULL, 0);
	pump(f);
	assert_false(client_has_bytes(f));
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.posted, 2);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.commands[WIRE_REGION_WRITE], 2);
}

static void reset(void **state)
{
	struct fixture *f = *state;

	client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
	assert_int_equal(reply.size, 0);
	assert_int_equal(f->resets, 1);
	f->fail_with = -EIO;
	client_call(f, WIRE_RESET, NULL, 0, -1, EIO, &reply);
}

static void unknown_commands(void **state)
{
	struct fixture *f = *state;
	const uint16_t unknown[] = { 0, 6, 11, 12, 14, 15, 16, 17, 18, 19, 65535 };
	uint8_t payload[200] = { 0 };
	int fd = make_eventfd();

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		client_call(f, unknown[i], payload, 24, fd, ENOTSUP, &reply);
		assert_int_equal(reply.size, 24);
		client_call(f, unknown[i], payload, sizeof(payload), -1, ENOTSUP, &reply);
		assert_int_equal(reply.size, 64);
	}
	close(fd);
	client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
}

static void a_device_with_nothing_to_say(void **state)
{
	struct fixture *f = *state;
	static const struct nst_vfu_ops none;
	struct nst_vfu_config config;

	nst_vfu_destroy(f->vfu);
	fill_config(f, &config);
	config.ops = &none;
	assert_int_equal(nst_vfu_create(&config, &f->vfu), 0);
	client_connect(f);
	client_version(f, qemu_version);
	region_access(f, WIRE_REGION_READ, 7, 0, 4, ENOTSUP);
	assert_memory_equal(reply.payload + 16, "\xff\xff\xff\xff", 4);
	region_access(f, WIRE_REGION_WRITE, 7, 0, 4, ENOTSUP);
	assert_int_equal(send_irqs(f, TRIGGER, 1, 0, 1, NULL, 0), ENOTSUP);
	assert_int_equal(client_map(f, 0, 0x1000, -1, 0), 0);
	assert_int_equal(client_unmap(f, 0, 0x1000), 0);
	client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
}

int main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, close_all)
	const struct CMUnitTest tests[] = {
		CASE(version_answer_fits_the_request, listening),
		CASE(version_without_text, listening),
		CASE(version_that_cannot_be, listening),
		CASE(nothing_before_version, listening),
		CASE(device_info, connected),
		CASE(region_info_plain, connected),
		CASE(region_info_sparse, connected),
		CASE(region_info_all_mappable, connected),
		CASE(no_descriptor_for_who_takes_none, listening),
		CASE(irq_info, connected),
		CASE(eventfds_in_chunks, connected),
		CASE(eventfds_not_kept_are_closed, connected),
		CASE(a_run_without_descriptors_takes_them_away, connected),
		CASE(irq_ranges, connected),
		CASE(irq_booleans, connected),
		CASE(region_reads, connected),
		CASE(failed_reads_are_all_ones, connected),
		CASE(large_reads, connected),
		CASE(region_writes, connected),
		CASE(large_writes, connected),
		CASE(posted_writes_have_no_answer, connected),
		CASE(reset, connected),
		CASE(unknown_commands, connected),
		CASE(a_device_with_nothing_to_say, listening),
	};

	return cmocka_run_group_tests_name("vfio-user commands", tests, NULL, NULL);
}
