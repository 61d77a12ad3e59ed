// SPDX-License-Identifier: BSD-3-Clause
/*
 * The stream: one script delivered in every way there is, cut at every byte; streams that
 * cannot be followed; a peer that does not read.
 */
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct reply reply;

/* ---- ways of delivery */

static void byte_by_byte(void **state)
{
	struct fixture *f = *state;
	static struct answers want, got;
	struct script s;

	script_oracle(f, &s, &want);
	/* The descriptors come with the first, a middle, or the last byte of their message. */
	for (unsigned int where = 0; where < 3; where++) {
		got = (struct answers){ 0 };
		client_connect(f);
		for (size_t i = 0; i < s.size; i++) {
			unsigned int m = script_message_of(&s, i);
			size_t begin = m ? s.ends[m - 1] : 0, len = s.ends[m] - begin;
			size_t at = where == 0 ? begin : where == 1 ? begin + len / 2
								    : s.ends[m] - 1;

			client_send(f, s.bytes + i, 1, s.fds[m], i == at ? s.num_fds[m] : 0);
			pump(f);
			answers_collect(f, &got);
		}
		answers_check(f, &want, &got);
	}
	script_fini(&s);
}

/* Descriptors one by one, each with its own byte. */
static void descriptors_in_several_pieces(void **state)
{
	struct fixture *f = *state;
	static struct answers want, got;
	struct script s;

	script_oracle(f, &s, &want);
	got = (struct answers){ 0 };
	client_connect(f);
	for (size_t i = 0; i < s.size; i++) {
		unsigned int m = script_message_of(&s, i);
		size_t nth = i - (m ? s.ends[m - 1] : 0);

		client_send(f, s.bytes + i, 1, &s.fds[m][0], nth < s.num_fds[m]);
		if (i % 100 == 0) {	/* the socket holds some hundred pieces */
			pump(f);
			answers_collect(f, &got);
		}
	}
	answers_check(f, &want, &got);
	script_fini(&s);
}

/* All is in the socket before the server looks. */
static void coalesced(void **state)
{
	struct fixture *f = *state;
	static struct answers want, got;
	struct script s;
	size_t at = 0;

	script_oracle(f, &s, &want);
	got = (struct answers){ 0 };
	client_connect(f);
	for (unsigned int m = 0; m < s.count; m++) {
		client_send(f, s.bytes + at, s.ends[m] - at, s.fds[m], s.num_fds[m]);
		at = s.ends[m];
	}
	answers_check(f, &want, &got);
	script_fini(&s);
}

static void random_pieces(void **state)
{
	struct fixture *f = *state;
	static struct answers want, got;
	uint64_t seed = 7;
	struct script s;

	script_oracle(f, &s, &want);
	for (int round = 0; round < 100; round++) {
		got = (struct answers){ 0 };
		client_connect(f);
		for (size_t at = 0; at < s.size;) {
			unsigned int m = script_message_of(&s, at);
			bool first = at == (m ? s.ends[m - 1] : 0);
			/* A piece ends where a message with descriptors begins: as sendmsg does. */
			size_t most = s.ends[m] - at, n;

			for (unsigned int k = m + 1; k < s.count && !s.num_fds[k]; k++)
				most = s.ends[k] - at;
			if (first && s.num_fds[m])
				most = s.ends[m] - at;
			n = 1 + test_random(&seed) % most;
			client_send(f, s.bytes + at, n, s.fds[m], first ? s.num_fds[m] : 0);
			at += n;
			if (test_random(&seed) % 3 == 0) {
				pump(f);
				answers_collect(f, &got);
			}
		}
		answers_check(f, &want, &got);
	}
	script_fini(&s);
}

/* ---- ends */

static void the_peer_dies_at_every_byte(void **state)
{
	struct fixture *f = *state;
	static struct answers want;
	unsigned int fds;
	struct script s;

	script_oracle(f, &s, &want);
	fds = count_fds();
	for (size_t cut = 0; cut <= s.size; cut++) {
		unsigned int disconnects = f->disconnects;
		size_t at = 0;

		client_connect(f);
		while (at < cut) {
			unsigned int m = script_message_of(&s, at);
			size_t n = MIN(s.ends[m], cut) - at;

			client_send(f, s.bytes + at, n, s.fds[m], s.num_fds[m]);
			at += n;
			if (cut % 2)
				pump(f);
		}
		client_close(f);
		assert_int_equal(f->num_maps, 0);
		assert_int_equal(f->disconnects - disconnects, cut >= s.ends[0]);
		assert_int_equal(count_fds(), fds);
		assert_false(nst_vfu_is_connected(f->vfu));
		forget_calls(f);
	}
	script_fini(&s);
}

static void what_the_end_is_called(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[64];
	size_t n = make_message(f, bytes, WIRE_RESET, 0, "12345678", 8);

	client_close(f);
	assert_int_equal(f->last_err, 0);
	client_connect(f);
	client_version(f, qemu_version);
	client_send(f, bytes, n - 1, NULL, 0);
	client_close(f);
	assert_int_equal(f->last_err, -ECONNRESET);
	assert_int_equal(f->resets, 0);
	/* Messages that were whole are carried out, though nobody hears the answer. */
	client_connect(f);
	client_version(f, qemu_version);
	client_send(f, bytes, n, NULL, 0);
	client_send(f, bytes, n, NULL, 0);
	client_close(f);
	assert_int_equal(f->resets, 2);
}

static void headers_that_end_it(void **state)
{
	struct fixture *f = *state;
	const struct { struct wire_header header; int err; } cases[] = {
		{ { 1, WIRE_RESET, 15, 0, 0 }, -EBADMSG },
		{ { 1, WIRE_RESET, 16, 5, 0 }, -EBADMSG },
		{ { 1, WIRE_REGION_WRITE, WIRE_MAX_MESSAGE + 1, 0, 0 }, -EMSGSIZE },
		{ { 1, WIRE_DMA_WRITE, UINT32_MAX, WIRE_TYPE_REPLY, 0 }, -EMSGSIZE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		client_send(f, &cases[i].header, 16, NULL, 0);
		pump(f);
		assert_true(client_at_end(f));
		assert_int_equal(f->last_err, cases[i].err);
		client_close(f);
		client_connect(f);
		client_version(f, qemu_version);
	}
}

/* A client that does not listen any more and does not say so. */
static void a_deaf_client_is_let_go(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[64];

	shutdown(f->sock, SHUT_RD);
	client_send(f, bytes, make_message(f, bytes, WIRE_RESET, 0, NULL, 0), NULL, 0);
	pump(f);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->disconnects, 1);
	assert_int_equal(f->last_err, -EPIPE);
}

static void half_closed_is_orderly(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[64];

	client_send(f, bytes, make_message(f, bytes, WIRE_RESET, 0, NULL, 0), NULL, 0);
	shutdown(f->sock, SHUT_WR);
	pump(f);
	client_receive(f, &reply);
	assert_int_equal(reply.header.command, WIRE_RESET);
	assert_int_equal(f->disconnects, 1);
	assert_int_equal(f->last_err, 0);
}

/* ---- a peer that does not read */

static size_t waiting(struct fixture *f)
{
	size_t n;

	mutex_lock(&f->vfu->lock);
	n = f->vfu->tx_bytes;
	mutex_unlock(&f->vfu->lock);
	return n;
}

static void replies_do_not_pile_up(void **state)
{
	struct fixture *f = *state;
	const struct wire_region_access access = { 0x3000, 2, 100000 };
	unsigned int sent = 0;
	uint8_t bytes[64];
	uint16_t first = f->next_id;

	fcntl(f->sock, F_SETFL, O_NONBLOCK);
	for (;;) {
		size_t n = make_message(f, bytes, WIRE_REGION_READ, 0, &access, 16);

		if (send(f->sock, bytes, n, MSG_NOSIGNAL) < 0)
			break;
		sent++;
		pump(f);
		assert_true(waiting(f) < TX_HIGH_WATER + 100000 + 64);
	}
	assert_true(sent > 20);
	assert_true(f->reads < 20);
	for (unsigned int i = 0; i < sent; i++) {
		client_receive(f, &reply);
		assert_int_equal(reply.header.id, (uint16_t)(first + i));
		assert_int_equal(reply.size, 16 + 100000);
		assert_int_equal(reply.payload[16 + 99999], 3);
	}
	assert_int_equal(f->reads, sent);
	assert_int_equal(waiting(f), 0);
}

static void a_peer_that_does_not_read_dies(void **state)
{
	struct fixture *f = *state;
	const struct wire_region_access access = { 0, 2, WIRE_MAX_DATA };
	uint8_t bytes[64];

	for (int i = 0; i < 10; i++)
		client_send(f, bytes, make_message(f, bytes, WIRE_REGION_READ, 0, &access, 16),
			    NULL, 0);
	pump(f);
	assert_true(waiting(f) > TX_HIGH_WATER);
	client_close(f);
	assert_int_equal(f->disconnects, 1);
	assert_int_equal(waiting(f), 0);
}

int main(void)
{
#define CASE(name, setup) cmocka_unit_test_setup_teardown(name, setup, close_all)
	const struct CMUnitTest tests[] = {
		CASE(byte_by_byte, listening),
		CASE(descriptors_in_several_pieces, listening),
		CASE(coalesced, listening),
		CASE(random_pieces, listening),
		CASE(the_peer_dies_at_every_byte, listening),
		CASE(what_the_end_is_called, connected),
		CASE(headers_that_end_it, connected),
		CASE(a_deaf_client_is_let_go, connected),
		CASE(half_closed_is_orderly, connected),
		CASE(replies_do_not_pile_up, connected),
		CASE(a_peer_that_does_not_read_dies, connected),
	};

	return cmocka_run_group_tests_name("vfio-user stream", tests, NULL, NULL);
}
