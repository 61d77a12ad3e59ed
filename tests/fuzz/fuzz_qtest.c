// SPDX-License-Identifier: BSD-3-Clause
/* The qtest protocol against a machine of 1 MiB with two emulated testdevs. Input: what a script
 * sends; a byte 0xff cuts it into pieces, as a stream may. Every line has one answer. */
#undef NDEBUG
#include "base/bits.h"
#include "endpoint/endpoint.h"
#include "frontend/qtest/session.h"

#include <assert.h>
#include <string.h>

static struct qtest_machine *make_machine(void)
{
	struct qtest_machine_config config = { .memory = 1 << 20, .features = 7 };
	struct qtest_machine *machine;
	struct endpoint *ep;

	assert(!machine_create(&config, &machine));
	for (int i = 0; i < 2; i++) {
		assert(!endpoint_create("testdev", NULL, &ep, NULL));
		assert(!machine_add_emulated(machine, ep));
	}
	return machine;
}

/* Whole lines, each of which begins with OK or FAIL; how many. */
static size_t check_output(struct qtest_session *s)
{
	size_t size, lines = 0;
	const char *out = session_output(s, &size), *end;

	for (; size; size -= (size_t)(end + 1 - out), out = end + 1, lines++) {
		end = memchr(out, '\n', size);
		assert(end && end - out >= 2);
		assert(!memcmp(out, "OK", 2) || (end - out > 5 && !memcmp(out, "FAIL ", 5)));
	}
	session_output_sent(s);
	return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qtest_machine *machine = make_machine();
	struct qtest_session *s;
	size_t answers = 0, lines = 0;

	assert(!session_create(machine, &s));
	for (size_t at = 0, n; at < size; at += n + 1) {
		const uint8_t *cut = memchr(data + at, 0xff, size - at);

		n = cut ? (size_t)(cut - data) - at : size - at;
		assert(!session_input(s, (const char *)data + at, n));
		for (size_t i = 0; i < n; i++)
			lines += data[at + i] == '\n';
		answers += check_output(s);
	}
	assert(answers <= lines);
	session_destroy(s);
	machine_destroy(machine);
	return 0;
}
