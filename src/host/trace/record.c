// SPDX-License-Identifier: BSD-3-Clause
/* See record.h. */
#include "host/trace/record.h"

#include "base/bits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(struct record *r, size_t limit, const char *fmt, va_list ap)
{
	int n = vsnprintf(r->text + r->length, limit - r->length, fmt, ap);

	if (n >= 0 && r->length + (size_t)n < limit) {
		r->length += (size_t)n;
	} else { /* all of a piece or nothing, so that JSON stays JSON */
		r->text[r->length] = '\0';
		r->full = true;
	}
}

static void add(struct record *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct record *r, const char *fmt, ...)
{
	va_list ap;

	if (r->full)
		return;
	va_start(ap, fmt);
	put(r, sizeof(r->text) - RECORD_TAIL, fmt, ap);
	va_end(ap);
}

/* What ends groups and the record always fits: RECORD_TAIL is kept for it. */
static void finish(struct record *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void finish(struct record *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(r, sizeof(r->text), fmt, ap);
	va_end(ap);
}

void record_begin(struct record *r, bool json, double t, const char *call)
{
	*r = (struct record){ .json = json };
	if (json)
		add(r, "{\"t\":%.6f,\"call\":\"%s\"", t, call);
	else
		add(r, "%10.6f %s", t, call);
}

void record_open(struct record *r, const char *group)
{
	if (r->json)
		finish(r, ",\"%s\":{", group);
	else
		finish(r, "%s", !strcmp(group, "in") ? "(" : " (");
	r->first = true;
}

void record_close(struct record *r)
{
	if (r->json)
		finish(r, "}");
	else
		finish(r, "%s)", r->full ? " ..." : "");
}

/* Name and value in one piece: a member is there or it is not. */
#define MEMBER(r, name, json_form, text_form, ...)                                                \
	do {                                                                                      \
		if ((r)->json)                                                                    \
			add((r), "%s\"%s\":" json_form, (r)->first ? "" : ",", (name),            \
			    __VA_ARGS__);                                                         \
		else                                                                              \
			add((r), "%s%s=" text_form, (r)->first ? "" : ", ", (name), __VA_ARGS__); \
		(r)->first = false;                                                               \
	} while (0)

void record_number(struct record *r, const char *name, int64_t value)
{
	MEMBER(r, name, "%" PRId64, "%" PRId64, value);
}

void record_hex(struct record *r, const char *name, uint64_t value)
{
	MEMBER(r, name, "\"0x%" PRIx64 "\"", "0x%" PRIx64, value);
}

/* Names of our own and hexadecimal bytes need no escaping; a path that does is cut there. */
void record_string(struct record *r, const char *name, const char *value)
{
	int n = (int)MIN(strcspn(value, "\"\\\n\r\t"), (size_t)256);

	MEMBER(r, name, "\"%.*s\"", "%.*s", n, value);
}

static void enum_text(const struct abi_name *names, uint64_t value, char *text, size_t size)
{
	for (; names->name; names++) {
		if (names->value == value) {
			snprintf(text, size, "%s", names->name);
			return;
		}
	}
	snprintf(text, size, "%" PRIu64, value);
}

static void flags_text(const struct abi_name *names, uint64_t value, char *text, size_t size)
{
	size_t length = 0;

	text[0] = '\0';
	for (; names->name; names++) {
		if (!names->value || (value & names->value) != names->value)
			continue;
		length += (size_t)snprintf(text + length, size - length, "%s%s", length ? "|" : "",
					   names->name);
		value &= ~names->value;
	}
	if (value || !length)
		snprintf(text + length, size - length, "%s0x%" PRIx64, length ? "|" : "", value);
}

static void record_field(struct record *r, const struct abi_field *f, uint64_t value)
{
	char text[160]; /* all names of any one field */

	switch (f->form) {
	case ABI_HEX:
		record_hex(r, f->name, value);
		break;
	case ABI_SIGNED:
		record_number(r, f->name, (int32_t)value);
		break;
	case ABI_ENUM:
		enum_text(f->names, value, text, sizeof(text));
		record_string(r, f->name, text);
		break;
	case ABI_FLAGS:
		flags_text(f->names, value, text, sizeof(text));
		record_string(r, f->name, text);
		break;
	default:
		record_number(r, f->name, (int64_t)value);
		break;
	}
}

void record_fields(struct record *r, const struct abi_field *fields, const void *structure,
		   size_t available, enum abi_direction direction)
{
	for (const struct abi_field *f = fields; f->name; f++) {
		uint64_t value = 0;

		if (!(f->direction & direction) || !range_fits(f->offset, f->size, available))
			continue;
		memcpy(&value, (const char *)structure + f->offset, f->size); /* x86, arm64 */
		record_field(r, f, value);
	}
}

static void opened(struct record *r, char closer)
{
	if (!r->full)
		r->closers[r->depth++] = closer;
	r->first = true;
}

static void close_one(struct record *r, char closer)
{
	if (r->depth && r->closers[r->depth - 1] == closer) {
		finish(r, "%c", closer);
		r->depth--;
	}
	r->first = false;
}

void record_array_begin(struct record *r, const char *name)
{
	MEMBER(r, name, "%s", "%s", "[");
	opened(r, ']');
}

void record_array_next(struct record *r)
{
	add(r, "%s{", r->first ? "" : r->json ? "," : ", ");
	opened(r, '}');
}

void record_array_element_end(struct record *r)
{
	close_one(r, '}');
}

void record_array_end(struct record *r, size_t left)
{
	if (left && !r->json)
		add(r, ", %zu more", left);
	close_one(r, ']');
}

void record_result(struct record *r, long result)
{
	const char *name = result < 0 ? strerrorname_np((int)-result) : NULL;

	if (r->json && name)
		finish(r, ",\"result\":\"-%s\"", name);
	else if (r->json)
		finish(r, ",\"result\":%ld", result);
	else if (name)
		finish(r, " = -%s", name);
	else
		finish(r, " = %ld", result);
}

const char *record_end(struct record *r)
{
	if (r->json)
		finish(r, "%s}", r->full ? ",\"cut\":true" : "");
	return r->text;
}
