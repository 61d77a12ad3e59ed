// SPDX-License-Identifier: BSD-3-Clause
/* Maps of guest memory, and the server's own messages among the client's commands. */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct reply reply;

/* ---- maps */

static void map_and_unmap(void **state)
{
	struct fixture *f = *state;
	unsigned int before = count_fds();
	int fd = make_memfd(0x10000);
	struct wire_dma_map map = { 32, VFIO_DMA_MAP_FLAG_READ, 0, 0x80000000, 0x1000 };

	assert_int_equal(client_map(f, 0x1000, 0x4000, fd, 0x2000), 0);
	assert_int_equal(f->num_maps, 1);
	assert_int_equal(f->maps[0].gpa, 0x1000);
	assert_int_equal(f->maps[0].size, 0x4000);
	assert_int_equal(f->maps[0].prot, PROT_READ | PROT_WRITE);
	assert_true(f->maps[0].has_fd);
	client_call(f, WIRE_DMA_MAP, &map, 32, -1, 0, &reply);
	assert_int_equal(f->maps[1].prot, PROT_READ);
	assert_false(f->maps[1].has_fd);
	assert_int_equal(client_unmap(f, 0x1000, 0x4000), 0);
	assert_int_equal(client_unmap(f, 0x80000000, 0x1000), 0);
	assert_int_equal(f->num_maps, 0);
	close(fd);
	assert_int_equal(count_fds(), before);
}

static void a_kept_descriptor_stays_open(void **state)
{
	struct fixture *f = *state;
	int fd = make_memfd(0x1000);
	void *ours, *theirs;

	f->keep_fds = true;
	assert_int_equal(client_map(f, 0, 0x1000, fd, 0), 0);
	ours = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	theirs = mmap(NULL, 0x1000, PROT_READ, MAP_SHARED, f->kept[0], 0);
	strcpy(ours, "shared");
	assert_string_equal(theirs, "shared");
	munmap(ours, 0x1000);
	munmap(theirs, 0x1000);
	assert_true(fcntl(f->kept[0], F_GETFD) & FD_CLOEXEC);
	close(f->kept[0]);
	close(fd);
}

static void overlaps_are_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(client_map(f, 0x10000, 0x10000, -1, 0), 0);
	assert_int_equal(client_map(f, 0x10000, 0x10000, -1, 0), EEXIST);
	assert_int_equal(client_map(f, 0xf000, 0x2000, -1, 0), EEXIST);
	assert_int_equal(client_map(f, 0x1f000, 0x1000, -1, 0), EEXIST);
	assert_int_equal(client_map(f, 0, UINT64_MAX, -1, 0), EEXIST);
	assert_int_equal(client_map(f, 0xf000, 0x1000, -1, 0), 0);
	assert_int_equal(client_map(f, 0x20000, 0x1000, -1, 0), 0);
	assert_int_equal(f->map_calls, 3);
	assert_non_null(strstr(f->log, strerror(EEXIST)));
}

static void unmaps_match_exactly(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(client_map(f, 0x10000, 0x10000, -1, 0), 0);
	assert_int_equal(client_map(f, 0x40000, 0x10000, -1, 0), 0);
	assert_int_equal(client_unmap(f, 0x10000, 0x8000), EINVAL);
	assert_int_equal(client_unmap(f, 0x18000, 0x8000), EINVAL);
	assert_int_equal(client_unmap(f, 0x10000, 0x40000), EINVAL);
	assert_int_equal(client_unmap(f, 0, 0x100000), EINVAL);
	assert_int_equal(client_unmap(f, 0x20000, 0x1000), ENOENT);
	assert_int_equal(client_unmap(f, 0, 0x1000), ENOENT);
	assert_int_equal(client_unmap(f, 0x10000, 0), EINVAL);
	assert_int_equal(f->unmap_calls, 0);
	assert_int_equal(client_unmap(f, 0x10000, 0x10000), 0);
	assert_int_equal(client_unmap(f, 0x10000, 0x10000), ENOENT);
}

static void unmap_all(void **state)
{
	struct fixture *f = *state;
	struct wire_dma_unmap all = { 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0 };

	client_call(f, WIRE_DMA_UNMAP, &all, 24, -1, 0, &reply);
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(client_map(f, i * 0x2000, 0x1000, -1, 0), 0);
	client_call(f, WIRE_DMA_UNMAP, &all, 24, -1, 0, &reply);
	assert_int_equal(reply.size, 24);
	assert_int_equal(f->num_maps, 0);
	assert_int_equal(f->unmap_calls, 40);
}

static void maps_are_bounded(void **state)
{
	struct fixture *f = *state;
	static const struct nst_vfu_ops none;
	struct nst_vfu_config config;
	struct wire_dma_unmap all = { 24, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0 };
	struct nst_vfu_stats stats;

	nst_vfu_destroy(f->vfu);
	fill_config(f, &config);
	config.ops = &none;
	assert_int_equal(nst_vfu_create(&config, &f->vfu), 0);
	client_connect(f);
	client_version(f, qemu_version);
	for (uint64_t i = 0; i < WIRE_MAX_DMA_MAPS; i++)
		assert_int_equal(client_map(f, i << 12, 0x1000, -1, 0), 0);
	assert_int_equal(client_map(f, 1ULL << 40, 0x1000, -1, 0), ENOSPC);
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.maps, WIRE_MAX_DMA_MAPS);
	client_call(f, WIRE_DMA_UNMAP, &all, 24, -1, 0, &reply);
	assert_int_equal(client_map(f, 1ULL << 40, 0x1000, -1, 0), 0);
}

static void the_device_may_refuse(void **state)
{
	struct fixture *f = *state;
	int fd = make_memfd(0x1000);
	unsigned int before = count_fds();

	f->fail_with = -ENOSPC;
	assert_int_equal(client_map(f, 0, 0x1000, fd, 0), ENOSPC);
	f->fail_with = 0;
	assert_int_equal(client_unmap(f, 0, 0x1000), ENOENT);
	assert_int_equal(client_map(f, 0, 0x1000, fd, 0), 0);
	f->fail_with = -EBUSY;
	assert_int_equal(client_unmap(f, 0, 0x1000), EBUSY);
	f->fail_with = 0;
	assert_int_equal(client_unmap(f, 0, 0x1000), 0);
	assert_int_equal(count_fds(), before);
	close(fd);
}

static void files_that_cannot_hold_the_map(void **state)
{
	struct fixture *f = *state;
	int fd = make_memfd(0x4000), pair[2], other;
	char path[64];

	assert_int_equal(client_map(f, 0, 0x5000, fd, 0), EINVAL);
	assert_int_equal(client_map(f, 0, 0x4000, fd, 0x1000), EINVAL);
	assert_int_equal(client_map(f, 0, 0x1000, fd, 0x4000), EINVAL);
	assert_int_equal(client_map(f, 0, 0x1000, fd, INT64_MAX & ~0xfffULL), EINVAL);
	assert_non_null(strstr(f->log, "refused"));
	assert_int_equal(client_map(f, 0, 0x4000, fd, 0), 0);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(client_map(f, 0x100000, 0x1000, pair[0], 0), EINVAL);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_int_equal(client_map(f, 0x100000, 0x1000, pair[0], 0), EINVAL);
	close(pair[0]);
	close(pair[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(client_map(f, 0x100000, 0x1000, other, 0), EACCES);
	close(other);
	other = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(client_map(f, 0x100000, 0x1000, other, 0), EACCES);
	close(other);
	other = open(path, O_PATH | O_CLOEXEC);
	assert_int_equal(client_map(f, 0x100000, 0x1000, other, 0), EACCES);
	close(other);
	other = open("/dev/zero", O_RDWR | O_CLOEXEC);	/* no size: the device's to try */
	assert_int_equal(client_map(f, 0x100000, 0x1000, other, 0), 0);
	close(other);
	close(fd);
	assert_int_equal(f->map_calls, 2);
}

static void read_only_memory_from_a_read_only_file(void **state)
{
	struct fixture *f = *state;
	struct wire_dma_map map = { 32, VFIO_DMA_MAP_FLAG_READ, 0, 0, 0x1000 };
	int fd = make_memfd(0x1000), other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDONLY | O_CLOEXEC);
	client_call(f, WIRE_DMA_MAP, &map, 32, other, 0, &reply);
	close(other);
	other = open(path, O_PATH | O_CLOEXEC);
	map.address = 0x10000;
	client_call(f, WIRE_DMA_MAP, &map, 32, other, EACCES, &reply);
	close(other);
	close(fd);
}

/* ---- the server's messages */

static void write_word(struct fixture *f, uint64_t gpa, uint32_t word, int err)
{
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ gpa }, &word, 4), err);
}

static void an_msi(void **state)
{
	struct fixture *f = *state;
	struct nst_vfu_stats stats;
	struct wire_dma_access access;
	uint32_t word;

	write_word(f, 0xfee00000, 0x4055, 0);
	client_receive(f, &reply);
	assert_int_equal(reply.header.command, WIRE_DMA_WRITE);
	assert_int_equal(reply.header.flags, WIRE_TYPE_COMMAND);
	assert_int_equal(reply.size, 20);
	memcpy(&access, reply.payload, 16);
	memcpy(&word, reply.payload + 16, 4);
	assert_int_equal(access.address, 0xfee00000);
	assert_int_equal(access.count, 4);
	assert_int_equal(word, 0x4055);
	client_answer(f, &reply, 0, NULL, 0);
	write_word(f, 0xfee00000, 1, 0);
	client_receive(f, &reply);
	client_answer(f, &reply, ENODEV, NULL, 0);
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.dma_writes, 2);
	assert_int_equal(stats.dma_errors, 1);
	assert_non_null(strstr(f->log, "bus mastering"));
}

static void writes_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	uint8_t data[65] = { 0 };

	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, data, 0), -EINVAL);
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, data, 65), -EINVAL);
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ UINT64_MAX }, data, 2), -EINVAL);
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, data, 64), 0);
	client_receive(f, &reply);
	client_close(f);
	write_word(f, 0, 0, -ENOTCONN);
	client_connect(f);
	write_word(f, 0, 0, -ENOTCONN);
	client_version(f, "{\"capabilities\":{\"max_data_xfer_size\":8}}");
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, data, 9), -EINVAL);
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, data, 8), 0);
}

static void unanswered_messages_are_bounded(void **state)
{
	struct fixture *f = *state;
	unsigned int lines = f->log_lines;

	for (unsigned int i = 0; i < DMA_PENDING; i++)
		write_word(f, 0xfee00000, i, 0);
	write_word(f, 0xfee00000, 0, -EAGAIN);
	for (unsigned int i = 0; i < DMA_PENDING; i++) {
		uint32_t word;

		client_receive(f, &reply);
		memcpy(&word, reply.payload + 16, 4);
		assert_int_equal(word, i);
		client_answer(f, &reply, EIO, NULL, 0);
		/* One came back: one may go. Not more. */
		write_word(f, 0xfee00000, DMA_PENDING + i, 0);
		write_word(f, 0xfee00000, 0, -EAGAIN);
	}
	assert_int_equal(f->log_lines - lines, DMA_PENDING_LG2 + 1);	/* 1, 2, 4 ... 128 */
}

static void expect_stray(struct fixture *f, const struct reply *r, uint64_t want)
{
	struct nst_vfu_stats stats;

	client_answer(f, r, 0, NULL, 0);
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.stray_replies, want);
}

/* A reply that nobody waits for is dropped: wrong id, wrong command, or twice. */
static void stray_replies(void **state)
{
	struct fixture *f = *state;
	struct reply other;

	write_word(f, 0xfee00000, 1, 0);
	client_receive(f, &reply);
	other = reply;
	other.header.id ^= 0x8000;
	expect_stray(f, &other, 1);
	other = reply;
	other.header.id ^= 1;
	expect_stray(f, &other, 2);
	other = reply;
	other.header.command = WIRE_DMA_READ;
	expect_stray(f, &other, 3);
	expect_stray(f, &reply, 3);	/* this one was awaited */
	expect_stray(f, &reply, 4);
	client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
}

static void a_late_reply_does_not_meet_the_next_user_of_its_slot(void **state)
{
	struct fixture *f = *state;
	struct reply first;

	write_word(f, 0xfee00000, 1, 0);
	client_receive(f, &first);
	client_answer(f, &first, 0, NULL, 0);
	for (unsigned int i = 0; i < DMA_PENDING; i++)
		write_word(f, 0xfee00000, i, 0);
	expect_stray(f, &first, 1);
	for (unsigned int i = 0; i < DMA_PENDING; i++) {
		client_receive(f, &reply);
		expect_stray(f, &reply, 1);
	}
}

static void an_interrupt_finds_the_client_deaf(void **state)
{
	struct fixture *f = *state;
	uint32_t word = 0;

	shutdown(f->sock, SHUT_RD);
	(void)nst_vfu_dma_write(f->vfu, (nst_gpa){ 0xfee00000 }, &word, 4);
	write_word(f, 0xfee00000, 1, -ENOTCONN);
	pump(f);	/* the loop must have heard of it */
	assert_int_equal(f->disconnects, 1);
	assert_int_equal(f->last_err, -EPIPE);
}

/* ---- reads */

struct got {
	unsigned int calls;
	int err;
	size_t size;
	uint8_t data[DMA_READ_MAX];
	struct fixture *again;
};

static void got_read(void *opaque, int err, const void *data, size_t size)
{
	struct got *got = opaque;

	got->calls++;
	got->err = err;
	got->size = size;
	if (size)
		memcpy(got->data, data, size);
	if (got->again)
		write_word(got->again, 0xfee00000, 2, err == -ENOTCONN ? -ENOTCONN : 0);
}

static int read_some(struct fixture *f, uint64_t gpa, size_t size, struct got *got)
{
	return nst_vfu_dma_read(f->vfu, (nst_gpa){ gpa }, size, got_read, got);
}

static void reads(void **state)
{
	struct fixture *f = *state;
	static struct got got;
	uint8_t data[DMA_READ_MAX];

	got = (struct got){ .again = f };
	assert_int_equal(read_some(f, 0x1000, 0, &got), -EINVAL);
	assert_int_equal(read_some(f, 0x1000, DMA_READ_MAX + 1, &got), -EINVAL);
	assert_int_equal(nst_vfu_dma_read(f->vfu, (nst_gpa){ 0 }, 4, NULL, NULL), -EINVAL);
	assert_int_equal(read_some(f, 0x1000, DMA_READ_MAX, &got), 0);
	client_receive(f, &reply);
	assert_int_equal(reply.header.command, WIRE_DMA_READ);
	assert_int_equal(reply.size, 16);
	memset(data, 0x77, sizeof(data));
	client_answer(f, &reply, 0, data, sizeof(data));
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.err, 0);
	assert_int_equal(got.size, sizeof(data));
	assert_memory_equal(got.data, data, sizeof(data));
	client_receive(f, &reply);	/* what got_read() sent */
	assert_int_equal(reply.header.command, WIRE_DMA_WRITE);
}

static void reads_answered_wrongly(void **state)
{
	struct fixture *f = *state;
	static struct got got;
	uint8_t data[64] = { 0 };
	struct wire_dma_access access;
	const struct { int err; size_t size; int64_t more_address, more_count; int want; } cases[] = {
		{ ENODEV, 0, 0, 0, -ENODEV }, { 100000, 0, 0, 0, -EIO }, { 0, 63, 0, 0, -EIO },
		{ 0, 0, 0, 0, -EIO }, { 0, 64, 8, 0, -EIO }, { 0, 64, 0, -1, -EIO },
		{ 0, 64, 0, 1, -EIO }, { 0, 64, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		got = (struct got){ 0 };
		assert_int_equal(read_some(f, 0x1000, 64, &got), 0);
		client_receive(f, &reply);
		memcpy(&access, reply.payload, 16);
		access.address += (uint64_t)cases[i].more_address;
		access.count += (uint64_t)cases[i].more_count;
		memcpy(reply.payload, &access, 16);
		client_answer(f, &reply, cases[i].err, data, cases[i].size);
		assert_int_equal(got.calls, 1);
		assert_int_equal(got.err, cases[i].want);
		assert_int_equal(got.size, cases[i].want ? 0 : 64);
	}
}

static void a_read_answered_with_a_bare_header(void **state)
{
	struct fixture *f = *state;
	static struct got got;
	struct wire_header header;

	got = (struct got){ 0 };
	assert_int_equal(read_some(f, 0x1000, 64, &got), 0);
	client_receive(f, &reply);
	header = reply.header;
	header.flags = WIRE_TYPE_REPLY;
	header.size = sizeof(header);
	client_send(f, &header, sizeof(header), NULL, 0);
	pump(f);
	assert_int_equal(got.calls, 1);
	assert_int_equal(got.err, -EIO);
}

static void readers_hear_of_the_end(void **state)
{
	struct fixture *f = *state;
	static struct got got[3];

	for (int i = 0; i < 3; i++) {
		got[i] = (struct got){ .again = f };
		assert_int_equal(read_some(f, 0x1000, 64, &got[i]), 0);
	}
	client_close(f);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(got[i].calls, 1);
		assert_int_equal(got[i].err, -ENOTCONN);
	}
	assert_int_equal(read_some(f, 0x1000, 64, &got[0]), -ENOTCONN);
	client_connect(f);
	client_version(f, qemu_version);
	got[0] = (struct got){ 0 };
	assert_int_equal(read_some(f, 0x1000, 64, &got[0]), 0);
	nst_vfu_destroy(f->vfu);
	assert_int_equal(got[0].err, -ENOTCONN);
	create_server(f);
}

/* ---- both directions at once */

static void msi_on_write(struct fixture *f)
{
	write_word(f, 0xfee00000, f->writes, 0);
}

/* The handler's MSI goes out before the reply; its answer comes between commands. */
static void messages_and_commands_interleave(void **state)
{
	struct fixture *f = *state;
	struct { struct wire_region_access access; uint32_t data; } msg = { { 0, 0, 4 }, 7 };
	struct nst_vfu_stats stats;
	struct reply ack;

	f->on_write = msi_on_write;
	for (unsigned int i = 1; i <= 3 * DMA_PENDING; i++) {
		uint8_t bytes[128];
		size_t n = make_message(f, bytes, WIRE_REGION_WRITE, 0, &msg, 20);
		uint16_t id = (uint16_t)(f->next_id - 1);
		uint32_t word;

		client_send(f, bytes, n, NULL, 0);
		client_receive(f, &reply);
		assert_int_equal(reply.header.command, WIRE_DMA_WRITE);
		memcpy(&word, reply.payload + 16, 4);
		assert_int_equal(word, i);
		client_receive(f, &ack);
		assert_int_equal(ack.header.command, WIRE_REGION_WRITE);
		assert_int_equal(ack.header.id, id);
		if (i % 2)	/* the same id from both sides at once means two things */
			f->next_id = reply.header.id;
		client_answer(f, &reply, 0, NULL, 0);
	}
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.stray_replies, 0);
	assert_int_equal(stats.dma_writes, 3 * DMA_PENDING);
}

/* ---- threads */

enum { THREADS = 3, PER_THREAD = 2000 };

static void *hammer(void *opaque)
{
	struct fixture *f = opaque;
	struct nst_vfu_stats stats;

	for (int i = 0; i < PER_THREAD;) {
		uint32_t word = 1;
		int err = nst_vfu_dma_write(f->vfu, (nst_gpa){ 0xfee00000 }, &word, 4);

		if (err == -ENOTCONN)
			break;
		if (!err)
			i++;
		nst_vfu_get_stats(f->vfu, &stats);
		(void)nst_vfu_is_connected(f->vfu);
	}
	return NULL;
}

static void writes_from_many_threads(void **state)
{
	struct fixture *f = *state;
	struct nst_vfu_stats stats;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, f), 0);
	for (int i = 0; i < THREADS * PER_THREAD; i++) {
		do {
			pump(f);
		} while (!client_has_bytes(f));
		client_receive(f, &reply);
		assert_int_equal(reply.header.command, WIRE_DMA_WRITE);
		client_answer(f, &reply, 0, NULL, 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.dma_writes, THREADS * PER_THREAD);
	assert_int_equal(stats.dma_errors + stats.stray_replies, 0);
}

static void the_peer_goes_under_the_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[THREADS];

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, hammer, f), 0);
		for (int i = 0; i < 100; i++)
			pump(f);
		client_close(f);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		client_connect(f);
		client_version(f, qemu_version);
	}
}

int main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, close_all)
	const struct CMUnitTest tests[] = {
		CASE(map_and_unmap, connected),
		CASE(a_kept_descriptor_stays_open, connected),
		CASE(overlaps_are_refused, connected),
		CASE(unmaps_match_exactly, connected),
		CASE(unmap_all, connected),
		CASE(maps_are_bounded, listening),
		CASE(the_device_may_refuse, connected),
		CASE(files_that_cannot_hold_the_map, connected),
		CASE(read_only_memory_from_a_read_only_file, connected),
		CASE(an_msi, connected),
		CASE(writes_that_cannot_be, connected),
		CASE(unanswered_messages_are_bounded, connected),
		CASE(stray_replies, connected),
		CASE(a_late_reply_does_not_meet_the_next_user_of_its_slot, connected),
		CASE(an_interrupt_finds_the_client_deaf, connected),
		CASE(reads, connected),
		CASE(reads_answered_wrongly, connected),
		CASE(a_read_answered_with_a_bare_header, connected),
		CASE(readers_hear_of_the_end, connected),
		CASE(messages_and_commands_interleave, connected),
		CASE(writes_from_many_threads, connected),
		CASE(the_peer_goes_under_the_threads, connected),
	};

	return cmocka_run_group_tests_name("vfio-user dma", tests, NULL, NULL);
}
