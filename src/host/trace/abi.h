/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ABI as data: for each ioctl its name, its structure's fields, which of them are
 * input and which output, and what their values are called.
 */
#ifndef HOST_TRACE_ABI_H
#define HOST_TRACE_ABI_H

#include <stddef.h>
#include <stdint.h>

enum abi_direction { ABI_IN = 1, ABI_OUT = 2, ABI_INOUT = 3 };
enum abi_form { ABI_DEC, ABI_HEX, ABI_SIGNED, ABI_FLAGS, ABI_ENUM };

struct abi_name {
	uint64_t value;
	const char *name;
};

/* Ends with a name that is NULL. */
struct abi_field {
	const char *name;
	uint16_t offset;
	uint8_t size; /* 1, 2, 4 or 8 bytes */
	uint8_t direction;
	uint8_t form;
	const struct abi_name *names; /* ABI_FLAGS, ABI_ENUM; ends with a name that is NULL */
};

/* Structures that a field of the ioctl's structure points to. */
struct abi_payload {
	const char *name;
	const struct abi_field *fields;
	uint16_t element_size;
	uint8_t direction;
	int16_t pointer;     /* offset of the pointer; -1: right behind the structure */
	int16_t count;	     /* offset of the u32 that counts them; -1: one */
	int16_t type;	     /* offset of the u32 that says what they are ... */
	uint32_t type_value; /* ... and its value for this kind; type -1: always */
	uint32_t type_mask;
	const struct abi_payload *next; /* what it can be instead, or NULL */
};

struct abi_call {
	unsigned long request;
	const char *name;
	uint16_t size;
	const struct abi_field *fields;
	const struct abi_payload *payload; /* or NULL */
};

/* NULL for a request that is not known. */
const struct abi_call *abi_find(unsigned long request);

#endif
