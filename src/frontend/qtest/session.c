// SPDX-License-Identifier: BSD-3-Clause
/*
 * See session.h. A line is collected, cut into words and looked up in a table; a handler
 * checks its words, acts, and answers. Nothing a script sends is more than text: sizes
 * are bounded before memory is asked for.
 */
#include "frontend/qtest/session.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WORDS = 5 };

struct text {
	char *bytes;
	size_t size, capacity;
};

struct qtest_session {
	struct qtest_machine *machine;
	struct text line, out;
	bool overlong;	       /* the line is; the rest of it is dropped */
	bool failed;	       /* no memory for an answer */
	const char *save_path; /* or NULL */
	uint64_t clock_ns;
	uint8_t data[QTEST_MAX_DATA];
};

/* --- text --------------------------------------------------------------------------------- */

static bool text_reserve(struct text *t, size_t more)
{
	size_t capacity = MAX(t->capacity, (size_t)256);
	char *bytes;

	while (capacity - t->size < more)
		capacity *= 2;
	if (capacity == t->capacity)
		return true;
	bytes = alloc_resize(t->bytes, capacity, 1);
	if (!bytes)
		return false;
	t->bytes = bytes;
	t->capacity = capacity;
	return true;
}

static bool text_append(struct text *t, const char *bytes, size_t size)
{
	if (!text_reserve(t, size))
		return false;
	memcpy(t->bytes + t->size, bytes, size);
	t->size += size;
	return true;
}

static void __attribute__((format(printf, 2, 3)))
answer(struct qtest_session *s, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	n = MIN(n, (int)sizeof(line) - 2);
	line[n++] = '\n';
	s->failed |= !text_append(&s->out, line, (size_t)n);
}

/* Room for "OK " and @size characters and a newline; NULL if there is no memory for it. */
static char *answer_room(struct qtest_session *s, size_t size)
{
	char *at;

	if (!text_reserve(&s->out, size + 4)) {
		s->failed = true;
		return NULL;
	}
	at = s->out.bytes + s->out.size;
	memcpy(at, "OK ", 3);
	at[size + 3] = '\n';
	s->out.size += size + 4;
	return at + 3;
}

/* --- words -------------------------------------------------------------------------------- */

static bool parse_number(const char *word, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)*word))
		return false;
	errno = 0;
	*out = strtoull(word, &end, 0);
	return !errno && !*end;
}

/* All @n words from the second on are numbers; else says which is not. */
static bool parse_numbers(struct qtest_session *s, char **words, unsigned int n, uint64_t *out)
{
	for (unsigned int i = 0; i < n; i++) {
		if (!words[i + 1]) {
			answer(s, "FAIL %s takes %u arguments", words[0], n);
			return false;
		}
		if (!parse_number(words[i + 1], &out[i])) {
			answer(s, "FAIL \"%.64s\" is not a number", words[i + 1]);
			return false;
		}
	}
	return true;
}

static bool check_size(struct qtest_session *s, uint64_t size)
{
	if (size && size <= QTEST_MAX_DATA)
		return true;
	answer(s, "FAIL the size has to be from 1 to %u", QTEST_MAX_DATA);
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "0x" and two digits for each byte; too few leave the rest 0, as QEMU has it. */
static bool decode_hex(const char *word, uint8_t *data, size_t size)
{
	size_t n = strlen(word);

	if (n < 2 || word[0] != '0' || word[1] != 'x' || n % 2 || n - 2 > 2 * size)
		return false;
	memset(data, 0, size);
	for (size_t i = 0; i < (n - 2) / 2; i++) {
		int high = hex_digit(word[2 + 2 * i]), low = hex_digit(word[3 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		data[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode_base64(const uint8_t *data, size_t size, char *out)
{
	for (size_t i = 0; i < size; i += 3, out += 4) {
		uint32_t v = (uint32_t)data[i] << 16 |
			     (i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0) |
			     (i + 2 < size ? data[i + 2] : 0);

		for (unsigned int k = 0; k < 4; k++)
			out[k] = i + k > size ? '=' : base64[v >> (18 - 6 * k) & 63];
	}
}

/* Exactly @size bytes. */
static bool decode_base64(const char *word, uint8_t *data, size_t size)
{
	size_t n = strlen(word), done = 0;

	if (n != (size + 2) / 3 * 4)
		return false;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v = 0;

		for (unsigned int k = 0; k < 4; k++) {
			const char *digit = strchr(base64, word[i + k]);
			bool padding = i / 4 * 3 + k > size;

			if (padding ? word[i + k] != '=' : !digit)
				return false;
			v = v << 6 | (padding ? 0 : (uint32_t)(digit - base64));
		}
		for (unsigned int k = 0; k < 3 && done < size; k++)
			data[done++] = (uint8_t)(v >> (16 - 8 * k));
	}
	return true;
}

/* --- commands; @size is that of the access ------------------------------------------------- */

static void do_read(struct qtest_session *s, char **words, unsigned int size)
{
	uint8_t buf[8];
	uint64_t address;

	if (!parse_numbers(s, words, 1, &address))
		return;
	machine_read(s->machine, address, buf, size);
	answer(s, "OK 0x%016" PRIx64, le_load(buf, size));
}

static void do_write(struct qtest_session *s, char **words, unsigned int size)
{
	uint8_t buf[8];
	uint64_t args[2];

	if (!parse_numbers(s, words, 2, args))
		return;
	le_store(buf, size, args[1]);
	machine_write(s->machine, args[0], buf, size);
	answer(s, "OK");
}

static void do_in(struct qtest_session *s, char **words, unsigned int size)
{
	uint64_t port;

	if (parse_numbers(s, words, 1, &port))
		answer(s, "OK 0x%04" PRIx32, machine_in(s->machine, (uint16_t)port, size));
}

static void do_out(struct qtest_session *s, char **words, unsigned int size)
{
	uint64_t args[2];

	if (!parse_numbers(s, words, 2, args))
		return;
	machine_out(s->machine, (uint16_t)args[0], size, (uint32_t)args[1]);
	answer(s, "OK");
}

static void do_read_hex(struct qtest_session *s, char **words, unsigned int unused)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t args[2];
	char *out;

	if (!parse_numbers(s, words, 2, args) || !check_size(s, args[1]))
		return;
	machine_read(s->machine, args[0], s->data, args[1]);
	out = answer_room(s, 2 + 2 * args[1]);
	if (!out)
		return;
	*out++ = '0';
	*out++ = 'x';
	for (size_t i = 0; i < args[1]; i++) {
		*out++ = digits[s->data[i] >> 4];
		*out++ = digits[s->data[i] & 15];
	}
}

static void do_read_base64(struct qtest_session *s, char **words, unsigned int unused)
{
	uint64_t args[2];
	char *out;

	if (!parse_numbers(s, words, 2, args) || !check_size(s, args[1]))
		return;
	machine_read(s->machine, args[0], s->data, args[1]);
	out = answer_room(s, (args[1] + 2) / 3 * 4);
	if (out)
		encode_base64(s->data, args[1], out);
}

static void write_data(struct qtest_session *s, char **words,
		       bool (*decode)(const char *word, uint8_t *data, size_t size))
{
	uint64_t args[2];

	if (!parse_numbers(s, words, 2, args) || !check_size(s, args[1]))
		return;
	if (!words[3] || !decode(words[3], s->data, args[1])) {
		answer(s, "FAIL %s: the data is not %" PRIu64 " bytes", words[0], args[1]);
		return;
	}
	machine_write(s->machine, args[0], s->data, args[1]);
	answer(s, "OK");
}

static void do_write_hex(struct qtest_session *s, char **words, unsigned int unused)
{
	write_data(s, words, decode_hex);
}

static void do_write_base64(struct qtest_session *s, char **words, unsigned int unused)
{
	write_data(s, words, decode_base64);
}

static void do_memset(struct qtest_session *s, char **words, unsigned int unused)
{
	uint64_t args[3], start, size;

	if (!parse_numbers(s, words, 3, args))
		return;
	start = machine_memory(s->machine, &size);
	if (args[0] < start || !range_fits(args[0] - start, args[1], size)) {
		answer(s, "FAIL memset is for memory, which ends at 0x%" PRIx64, start + size);
		return;
	}
	memset(s->data, (int)(args[2] & 0xff), MIN(args[1], sizeof(s->data)));
	for (uint64_t done = 0, n; done < args[1]; done += n) {
		n = MIN(args[1] - done, sizeof(s->data));
		machine_write(s->machine, args[0] + done, s->data, n);
	}
	answer(s, "OK");
}

static void do_clock_step(struct qtest_session *s, char **words, unsigned int unused)
{
	uint64_t ns = 0;

	if (words[1] && !parse_numbers(s, words, 1, &ns))
		return;
	s->clock_ns += ns;
	answer(s, "OK %" PRIu64, s->clock_ns);
}

static void do_clock_set(struct qtest_session *s, char **words, unsigned int unused)
{
	if (parse_numbers(s, words, 1, &s->clock_ns))
		answer(s, "OK %" PRIu64, s->clock_ns);
}

static void do_endianness(struct qtest_session *s, char **words, unsigned int unused)
{
	answer(s, "OK little");
}

static void do_irq_intercept(struct qtest_session *s, char **words, unsigned int unused)
{
	if (words[1] && strcmp(words[1], "ioapic") == 0)
		answer(s, "OK");
	else
		answer(s, "FAIL Unknown device");
}

static int write_file(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), ret = 0;

	if (fd < 0)
		return -errno;
	while (size && !ret) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno != EINTR)
			ret = -errno;
		if (n < 0)
			continue;
		data += n;
		size -= (size_t)n;
	}
	if (close(fd) && !ret)
		ret = -errno;
	return ret;
}

static void do_save(struct qtest_session *s, char **words, unsigned int unused)
{
	void *data;
	size_t size;
	int ret;

	if (!s->save_path) {
		answer(s, "FAIL there is no file to save to");
		return;
	}
	ret = machine_save(s->machine, &data, &size);
	if (!ret) {
		ret = write_file(s->save_path, data, size);
		free(data);
	}
	if (ret)
		answer(s, "FAIL the machine is not saved: %s", strerror(-ret));
	else
		answer(s, "OK");
}

static const struct {
	const char *name;
	void (*run)(struct qtest_session *s, char **words, unsigned int size);
	unsigned int size;
} commands[] = {
	{ "readb", do_read, 1 },
	{ "readw", do_read, 2 },
	{ "readl", do_read, 4 },
	{ "readq", do_read, 8 },
	{ "writeb", do_write, 1 },
	{ "writew", do_write, 2 },
	{ "writel", do_write, 4 },
	{ "writeq", do_write, 8 },
	{ "inb", do_in, 1 },
	{ "inw", do_in, 2 },
	{ "inl", do_in, 4 },
	{ "outb", do_out, 1 },
	{ "outw", do_out, 2 },
	{ "outl", do_out, 4 },
	{ "read", do_read_hex, 0 },
	{ "write", do_write_hex, 0 },
	{ "b64read", do_read_base64, 0 },
	{ "b64write", do_write_base64, 0 },
	{ "memset", do_memset, 0 },
	{ "clock_step", do_clock_step, 0 },
	{ "clock_set", do_clock_set, 0 },
	{ "endianness", do_endianness, 0 },
	{ "irq_intercept_in", do_irq_intercept, 0 },
	{ "irq_intercept_out", do_irq_intercept, 0 },
	{ "nestor_save", do_save, 0 },
};

/* Cuts @line, which ends with a NUL, into words; those beyond the last are ignored. */
static void run_line(struct qtest_session *s, char *line)
{
	char *words[MAX_WORDS + 1] = { NULL }, *rest = line;

	for (unsigned int n = 0; n < MAX_WORDS;) {
		char *word = strsep(&rest, " \t\r");

		if (!word)
			break;
		if (*word)
			words[n++] = word;
	}
	if (!words[0])
		return;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(words[0], commands[i].name) != 0)
			continue;
		commands[i].run(s, words, commands[i].size);
		return;
	}
	answer(s, "FAIL Unknown command '%.64s'", words[0]);
}

static int end_line(struct qtest_session *s)
{
	if (s->overlong)
		answer(s, "FAIL a line of more than %u characters", QTEST_MAX_LINE);
	else if (!text_append(&s->line, "", 1))
		return -ENOMEM;
	else
		run_line(s, s->line.bytes);
	s->overlong = false;
	s->line.size = 0;
	return s->failed ? -ENOMEM : 0;
}

int session_create(struct qtest_machine *machine, struct qtest_session **out)
{
	struct qtest_session *s = alloc_object(struct qtest_session);

	if (!s)
		return -ENOMEM;
	s->machine = machine;
	*out = s;
	return 0;
}

void session_save_to(struct qtest_session *s, const char *path)
{
	s->save_path = path;
}

void session_destroy(struct qtest_session *s)
{
	if (!s)
		return;
	free(s->line.bytes);
	free(s->out.bytes);
	free(s);
}

int session_input(struct qtest_session *s, const char *data, size_t size)
{
	int ret = 0;

	while (size && !ret) {
		const char *end = memchr(data, '\n', size);
		size_t n = end ? (size_t)(end - data) : size;

		if (s->line.size + n > QTEST_MAX_LINE)
			s->overlong = true;
		else if (!s->overlong && !text_append(&s->line, data, n))
			return -ENOMEM;
		if (end) {
			ret = end_line(s);
			n++;
		}
		data += n;
		size -= n;
	}
	return ret;
}

const char *session_output(const struct qtest_session *s, size_t *size)
{
	*size = s->out.size;
	return s->out.bytes;
}

void session_output_sent(struct qtest_session *s)
{
	s->out.size = 0;
}
