// SPDX-License-Identifier: BSD-3-Clause
/*
 * Guest memory while it changes under its readers. A writer that did not wait for them
 * would unmap the pages, and free the table, that they are copying from: a crash.
 */
#include "test.h"

#include <nestor/mem.h>

#include "base/bits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

enum { READERS = 2, REMAPS = 300, PAGES_BYTES = 1 << 18 };

struct reading {
	struct nst_mem *mem;
	atomic_bool stop, wrong;
	atomic_uint copies, misses;
};

static void check_copy(struct reading *r, const uint64_t *words)
{
	/* each generation fills all of its memory with one odd number */
	for (size_t i = 0; i < PAGES_BYTES / sizeof(*words); i++)
		if (words[i] != words[0] || !(words[i] & 1))
			atomic_store(&r->wrong, true);
}

static void *read_all_the_time(void *arg)
{
	static _Thread_local uint64_t words[PAGES_BYTES / sizeof(uint64_t)];
	struct reading *r = arg;

	while (!atomic_load(&r->stop)) {
		/* long copies: the writer nearly always finds somebody in one */
		if (!nst_mem_read(r->mem, (nst_gpa){ 0x10000 }, words, sizeof(words))) {
			check_copy(r, words);
			atomic_fetch_add(&r->copies, 1);
		} else {
			atomic_fetch_add(&r->misses, 1);
		}
	}
	return NULL;
}

static uint64_t *make_generation(uint64_t number)
{
	uint64_t *words = mmap(NULL, PAGES_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(words, MAP_FAILED);
	for (size_t i = 0; i < PAGES_BYTES / sizeof(*words); i++)
		words[i] = 2 * number + 1;
	return words;
}

static void wait_for_more(atomic_uint *counter)
{
	unsigned int now = atomic_load(counter);

	while (atomic_load(counter) == now)
		sched_yield();
}

static void memory_goes_away_only_when_nobody_reads_it(void **state)
{
	struct reading r = { 0 };
	pthread_t threads[READERS];
	uint8_t byte = 0;

	assert_int_equal(nst_mem_create(&r.mem), 0);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_all_the_time, &r), 0);
	for (uint64_t i = 0; i < REMAPS; i++) {
		uint64_t *words = make_generation(i);

		assert_int_equal(nst_mem_add(r.mem, (nst_gpa){ 0x10000 }, PAGES_BYTES, words,
					     i % 2), 0);
		/* a neighbour comes and goes: the table is replaced, the memory is not */
		assert_int_equal(nst_mem_add(r.mem, (nst_gpa){ 0x1000 }, 1, &byte, true), 0);
		assert_int_equal(nst_mem_remove(r.mem, (nst_gpa){ 0x1000 }, 1), 0);
		if (i % 8 == 0)
			wait_for_more(&r.copies);
		assert_int_equal(nst_mem_remove(r.mem, (nst_gpa){ 0x10000 }, PAGES_BYTES), 0);
		assert_int_equal(munmap(words, PAGES_BYTES), 0);
		if (i % 64 == 0)
			wait_for_more(&r.misses);
	}
	atomic_store(&r.stop, true);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(atomic_load(&r.wrong));
	nst_mem_destroy(r.mem);
}

struct words_test {
	struct nst_mem *mem;
	atomic_bool stop;
	atomic_uint writes;
};

static void *write_words(void *arg)
{
	struct words_test *t = arg;

	for (uint64_t n = 0; !atomic_load(&t->stop); n++) {
		uint64_t wide = n % 2 ? UINT64_MAX : 0;
		uint32_t narrow = n % 2 ? UINT32_MAX : 0;

		if (nst_mem_write(t->mem, (nst_gpa){ 0x1000 }, &wide, 8) ||
		    nst_mem_write(t->mem, (nst_gpa){ 0x1008 }, &narrow, 4))
			return t;
		atomic_fetch_add(&t->writes, 1);
	}
	return NULL;
}

/* Under TSan the same accesses made with memcpy() would be reported, torn or not. */
static void aligned_words_are_never_torn(void **state)
{
	struct words_test t = { 0 };
	uint64_t ram[2] = { 0 };
	pthread_t thread;
	void *failed;

	assert_int_equal(nst_mem_create(&t.mem), 0);
	assert_int_equal(nst_mem_add(t.mem, (nst_gpa){ 0x1000 }, sizeof(ram), ram, true), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_words, &t), 0);
	for (int i = 0; i < 100000 || atomic_load(&t.writes) < 1000; i++) {
		uint64_t wide;
		uint32_t narrow;

		assert_int_equal(nst_mem_read(t.mem, (nst_gpa){ 0x1000 }, &wide, 8), 0);
		assert_int_equal(nst_mem_read(t.mem, (nst_gpa){ 0x1008 }, &narrow, 4), 0);
		assert_true(wide == 0 || wide == UINT64_MAX);
		assert_true(narrow == 0 || narrow == UINT32_MAX);
	}
	atomic_store(&t.stop, true);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	nst_mem_destroy(t.mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_goes_away_only_when_nobody_reads_it),
		cmocka_unit_test(aligned_words_are_never_torn),
	};

	return cmocka_run_group_tests_name("mem_threads", tests, NULL, NULL);
}
