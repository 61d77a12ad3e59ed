// SPDX-License-Identifier: BSD-3-Clause
/*
 * What a server holds: descriptors (too many, none left), clients (one, and the next),
 * memory (every allocation refused in turn), its socket's name; and its end at any time.
 */
#include "script.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct reply reply;

/* ---- descriptors */

static void too_many_descriptors(void **state)
{
	struct fixture *f = *state;
	struct wire_irq_set set = { 20, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
				    1, 0, 17 };
	unsigned int fds;
	int many[40];
	uint8_t bytes[64];

	for (int i = 0; i < 40; i++)
		many[i] = make_eventfd();
	fds = count_fds();
	for (unsigned int n = 17; n <= 40; n++) {
		set.count = n;
		client_send(f, bytes, make_message(f, bytes, WIRE_SET_IRQS, 0, &set, 20), many, n);
		pump(f);
		assert_true(client_at_end(f));
		assert_int_equal(f->last_err, -EMSGSIZE);
		client_close(f);
		client_connect(f);
		client_version(f, qemu_version);
		assert_int_equal(count_fds(), fds);
	}
	/* 9 and 9, with two bytes of one message. */
	make_message(f, bytes, WIRE_SET_IRQS, 0, &set, 20);
	client_send(f, bytes, 1, many, 9);
	pump(f);
	client_send(f, bytes + 1, 1, many, 9);
	pump(f);
	assert_int_equal(f->last_err, -EMSGSIZE);
	client_close(f);
	assert_int_equal(count_fds(), fds - 2);	/* the connection's two ends */
	for (int i = 0; i < 40; i++)
		close(many[i]);
	assert_int_equal(f->irq_calls, 0);
}

static void no_more_descriptors_may_be_opened(void **state)
{
	struct fixture *f = *state;
	const struct wire_dma_map map = { 32, 3, 0, 0, 0x1000 };
	int fd = make_memfd(0x1000), spare[64], n = 0;
	struct rlimit old, low;
	uint8_t bytes[64];

	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = count_fds() + 20;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < 64 && (spare[n] = dup(fd)) >= 0)
		n++;
	client_send(f, bytes, make_message(f, bytes, WIRE_DMA_MAP, 0, &map, 32), &fd, 1);
	pump(f);
	setrlimit(RLIMIT_NOFILE, &old);
	while (n)
		close(spare[--n]);
	close(fd);
	assert_int_equal(f->last_err, -EMFILE);
	assert_int_equal(f->map_calls, 0);
}

static void a_client_while_no_descriptor_is_free(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct rlimit old, low;
	int spare[64], n = 0;

	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = count_fds() + 20;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < 64 && (spare[n] = dup(0)) >= 0)
		n++;
	assert_int_equal(connect(f->sock, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(nst_vfu_process(f->vfu), -EMFILE);
	assert_int_equal(nst_vfu_process(f->vfu), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &old);
	while (n)
		close(spare[--n]);
	client_version(f, qemu_version);
	assert_true(nst_vfu_is_connected(f->vfu));
}

/* ---- clients come and go */

static void one_client_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct nst_vfu_stats stats;
	int first = f->sock;

	for (int i = 0; i < 3; i++) {
		client_connect(f);
		assert_true(client_at_end(f));
		close(f->sock);
	}
	f->sock = first;
	client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.connections, 1);
	assert_int_equal(stats.clients_refused, 3);
}

/* Gone with messages unread, and back before the server looks: nobody is refused. */
static void back_at_once(void **state)
{
	enum { MANY = MESSAGES_PER_CALL / 2 * 3 };
	struct fixture *f = *state;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct nst_vfu_stats stats;

	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	for (int round = 0; round < 10; round++) {
		static uint8_t bytes[MANY * 16];
		int again = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		for (int i = 0; i < MANY; i++)
			make_message(f, bytes + 16 * i, WIRE_RESET, WIRE_NO_REPLY, NULL, 0);
		client_send(f, bytes, round % 2 ? sizeof(bytes) : 16, NULL, 0);
		close(f->sock);
		assert_int_equal(connect(again, (struct sockaddr *)&address, sizeof(address)), 0);
		f->sock = again;
		pump(f);
		client_version(f, qemu_version);
		assert_int_equal(client_map(f, 0, 0x1000, -1, 0), 0);
	}
	nst_vfu_get_stats(f->vfu, &stats);
	assert_int_equal(stats.clients_refused, 0);
	assert_int_equal(f->connects, 11);
	assert_int_equal(f->disconnects, 10);
	assert_int_equal(f->resets, 5 * (MANY + 1));
}

/* ---- memory */

/* Everything once, with the n-th allocation refused: later, but the same. */
static bool run_with_refusal(struct fixture *f, const struct script *s, unsigned int n,
			     const struct answers *want)
{
	static struct answers got;
	struct nst_vfu_config config;
	uint32_t word = 5;
	bool fired;
	int err;

	got = (struct answers){ 0 };
	nst_vfu_destroy(f->vfu);
	f->vfu = NULL;
	fill_config(f, &config);
	alloc_fail_nth(n);
	err = nst_vfu_create(&config, &f->vfu);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(access(f->path, F_OK), -1);
		assert_int_equal(nst_vfu_create(&config, &f->vfu), 0);
	}
	client_connect(f);
	for (unsigned int m = 0; m < s->count; m++) {
		size_t at = m ? s->ends[m - 1] : 0;

		client_send(f, s->bytes + at, s->ends[m] - at, s->fds[m], s->num_fds[m]);
		pump(f);
		answers_collect(f, &got);
	}
	err = nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, &word, 4);
	if (err) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, &word, 4), 0);
	}
	fired = alloc_fail_left() == 0;
	alloc_fail_nth(0);
	client_receive(f, &reply);
	assert_int_equal(reply.header.command, WIRE_DMA_WRITE);
	answers_check(f, want, &got);
	return fired;
}

static void every_allocation_refused(void **state)
{
	struct fixture *f = *state;
	static struct answers want;
	struct script s;
	unsigned int n = 1;

	script_oracle(f, &s, &want);
	while (run_with_refusal(f, &s, n, &want))
		n++;
	assert_true(n > s.count);	/* a sweep that refused nothing would prove nothing */
	script_fini(&s);
}

/* ---- making a server */

static void paths(void **state)
{
	struct fixture *f = *state;
	struct nst_vfu_config config;
	struct nst_vfu *other = NULL;
	char path[200];
	struct stat st;
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	fill_config(f, &config);
	assert_int_equal(nst_vfu_create(&config, &other), -EADDRINUSE);
	assert_int_equal(access(f->path, F_OK), 0);
	config.socket_path = "";
	assert_int_equal(nst_vfu_create(&config, &other), -EINVAL);
	config.socket_path = NULL;
	assert_int_equal(nst_vfu_create(&config, &other), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	config.socket_path = path;
	assert_int_equal(nst_vfu_create(&config, &other), -ENAMETOOLONG);
	config.socket_path = "/nonexistent/directory/socket";
	assert_int_equal(nst_vfu_create(&config, &other), -ENOENT);
	assert_null(other);

	/* What somebody else put in our place stays. */
	assert_int_equal(unlink(f->path), 0);
	fd = open(f->path, O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	nst_vfu_destroy(f->vfu);
	assert_int_equal(stat(f->path, &st), 0);
	fill_config(f, &config);
	assert_int_equal(nst_vfu_create(&config, &f->vfu), -EADDRINUSE);
	assert_int_equal(unlink(f->path), 0);
	create_server(f);
}

static void devices_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	const struct nst_vfu_area bad_areas[] = {
		{ 0x1000, 0 }, { 0x100, 0x1000 }, { 0x1000, 0x100 }, { 0x4000, 0x1000 },
		{ 0x1000, 0x4000 }, { UINT64_MAX & ~0xfffULL, 0x2000 },
	};
	const struct nst_vfu_region bad[] = {
		{ .flags = 8, .fd = -1 }, { .size = UINT64_MAX, .fd = -1 },
		{ .size = 0x1000, .flags = 7, .fd = -1 }, { .size = 0, .flags = 7, .fd = 0 },
		{ .size = 0x1000, .flags = 7, .fd = 0, .fd_offset = 1 },
		{ .size = 0x1000, .flags = 7, .fd = 0, .fd_offset = INT64_MAX & ~0xfffULL },
		{ .size = 0x1000, .flags = 7, .fd = 0, .num_areas = 1 },
		{ .size = 0x1000, .flags = 3, .fd = -1, .areas = bad_areas, .num_areas = 1 },
		{ .size = 0x1000, .flags = 7, .fd = 0, .areas = bad_areas, .num_areas = 65 },
	};
	struct nst_vfu_config config;
	struct nst_vfu *other = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/other", f->dir);
	for (size_t i = 0; i < ARRAY_SIZE(bad) + ARRAY_SIZE(bad_areas) + 2; i++) {
		fill_config(f, &config);
		config.socket_path = path;
		if (i < ARRAY_SIZE(bad))
			config.regions[8] = bad[i];
		else if (i < ARRAY_SIZE(bad) + ARRAY_SIZE(bad_areas))
			config.regions[0].areas = &bad_areas[i - ARRAY_SIZE(bad)];
		else if (i == ARRAY_SIZE(bad) + ARRAY_SIZE(bad_areas))
			config.irq_counts[2] = MAX_IRQS + 1;
		else
			config.ops = NULL;
		assert_int_equal(nst_vfu_create(&config, &other), -EINVAL);
		assert_int_equal(access(path, F_OK), -1);
	}
	assert_null(other);
	nst_vfu_destroy(NULL);
}

/* What the fuzzer uses: no name, no second client. */
static void on_a_socket_that_is_connected(void **state)
{
	struct fixture *f = *state;
	struct nst_vfu_config config;
	int pair[2];

	nst_vfu_destroy(f->vfu);
	for (int round = 0; round < 3; round++) {
		fill_config(f, &config);
		config.socket_path = NULL;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		if (round == 0) {	/* the socket is taken also by a failure */
			config.ops = NULL;
			assert_int_equal(vfu_create_connected(&config, pair[0], &f->vfu), -EINVAL);
			close(pair[1]);
			continue;
		}
		assert_int_equal(vfu_create_connected(&config, pair[0], &f->vfu), 0);
		f->sock = pair[1];
		client_version(f, qemu_version);
		client_call(f, WIRE_RESET, NULL, 0, -1, 0, &reply);
		client_close(f);
		assert_int_equal(f->disconnects, round);
		nst_vfu_destroy(f->vfu);
	}
	create_server(f);
}

static void destroyed_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct script s;

	script_init(f, &s);
	for (size_t cut = 0; cut <= s.size; cut += 7) {
		size_t at = 0;

		client_connect(f);
		while (at < cut) {
			unsigned int m = script_message_of(&s, at);
			size_t n = MIN(s.ends[m], cut) - at;

			client_send(f, s.bytes + at, n, s.fds[m], s.num_fds[m]);
			at += n;
		}
		pump(f);
		nst_vfu_destroy(f->vfu);
		assert_int_equal(f->num_maps, 0);
		assert_int_equal(f->connects, f->disconnects);
		close(f->sock);
		f->sock = -1;
		create_server(f);
	}
	script_fini(&s);
}

int main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, close_all)
	const struct CMUnitTest tests[] = {
		CASE(too_many_descriptors, connected),
		CASE(no_more_descriptors_may_be_opened, connected),
		CASE(a_client_while_no_descriptor_is_free, listening),
		CASE(one_client_at_a_time, connected),
		CASE(back_at_once, connected),
		CASE(every_allocation_refused, listening),
		CASE(paths, listening),
		CASE(devices_that_cannot_be, listening),
		CASE(on_a_socket_that_is_connected, listening),
		CASE(destroyed_in_the_middle, listening),
	};

	return cmocka_run_group_tests_name("vfio-user server", tests, NULL, NULL);
}
