/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One record of a trace while it is being written: text for people or a JSON object, in a
 * buffer of fixed size. What does not fit is left out, and the record says so.
 */
#ifndef HOST_TRACE_RECORD_H
#define HOST_TRACE_RECORD_H

#include "host/trace/abi.h"

#include <stdbool.h>
#include <sys/types.h>

enum { RECORD_BYTES = 2048, RECORD_TAIL = 160 };

struct record {
	bool json;
	bool full;	 /* something was left out */
	bool first;	 /* no comma before the next member */
	char closers[4]; /* brackets of an array that are open */
	unsigned int depth;
	size_t length;
	char text[RECORD_BYTES];
};

/* "t" is seconds since the trace began. */
void record_begin(struct record *record, bool json, double t, const char *call);
/* A group of members: "in" or "out" in JSON, parentheses in text. */
void record_open(struct record *record, const char *group);
void record_close(struct record *record);
void record_number(struct record *record, const char *name, int64_t value);
void record_hex(struct record *record, const char *name, uint64_t value);
void record_string(struct record *record, const char *name, const char *value);
/* The fields of @structure, of which @available bytes are there, that go in @direction. */
void record_fields(struct record *record, const struct abi_field *fields, const void *structure,
		   size_t available, enum abi_direction direction);
/* An array of structures; @left more are not shown. */
void record_array_begin(struct record *record, const char *name);
void record_array_next(struct record *record);
void record_array_element_end(struct record *record);
void record_array_end(struct record *record, size_t left);
/* The result of the call: a number, or a negative errno by name. */
void record_result(struct record *record, long result);
const char *record_end(struct record *record);

#endif
