// SPDX-License-Identifier: BSD-3-Clause
/* A saved qtest machine that is anybody's, into one of 256 KiB with two testdevs, which then has to
 * work, and to save itself. Input: a byte of flags (1: edits of a good stream follow, le32 where and
 * a byte what, else it is the stream itself; 2: length and sum are made right; the other bits: which
 * allocation fails), and that. */
#undef NDEBUG
#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/fnv.h"
#include "endpoint/endpoint.h"
#include "frontend/qtest/machine.h"

#include <assert.h>
#include <string.h>

enum { MEMORY = 256 << 10, HEADER = 32, STREAM = 2 * MEMORY };

static struct qtest_machine *make_machine(void)
{
	struct qtest_machine_config config = { .memory = MEMORY, .features = 7 };
	struct qtest_machine *machine;
	struct endpoint *ep;

	assert(!machine_create(&config, &machine));
	for (int i = 0; i < 2; i++) {
		assert(!endpoint_create("testdev", NULL, &ep, NULL));
		assert(!machine_add_emulated(machine, ep));
	}
	machine_write(machine, 0x1000, "x", 1);
	return machine;
}

static uint8_t *make_stream(struct qtest_machine *m, const uint8_t *data, size_t size, int flags,
			    size_t *end)
{
	uint8_t *stream = calloc(1, STREAM);
	void *good;

	*end = MIN(size, (size_t)STREAM);
	assert(stream);
	if (size)
		memcpy(stream, data, *end);
	if (flags & 1) {
		assert(!machine_save(m, &good, end) && *end <= STREAM);
		memcpy(stream, good, *end), free(good);
		for (size_t i = 0; i + 5 <= size; i += 5)
			stream[le_load(data + i, 4) % *end] = data[i + 4];
	}
	if ((flags & 2) && *end >= HEADER) {
		le_store(stream + 16, 8, *end - HEADER);
		le_store(stream + 24, 8, fnv1a(fnv1a(FNV1A_START, stream, 24), stream + HEADER, *end - HEADER));
	}
	return stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int flags = size ? data[0] : 0, ret;
	struct qtest_machine *m = make_machine();
	size_t end, again;
	uint8_t *stream = make_stream(m, data + (size > 0), size - (size > 0), flags, &end), page[4096];
	void *saved;

	alloc_fail_nth((unsigned int)flags >> 2);
	ret = machine_restore(m, stream, end);
	alloc_fail_nth(0);
	assert(!machine_save(m, &saved, &again));
	assert(ret || again == end);
	for (uint64_t at = 0xb0008000; at < 0xb0018000; at += 0x8000)
		machine_read(m, at, page, 64);
	for (uint64_t at = QTEST_UNIT; at < QTEST_UNIT + 4096; at += 8)
		machine_read(m, at, page, 8);
	assert(!machine_restore(m, saved, again)); /* what it saves, it takes */
	machine_destroy(m), free(saved), free(stream);
	return 0;
}
