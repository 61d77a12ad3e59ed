// SPDX-License-Identifier: BSD-3-Clause
/*
 * The records of a migration stream. All words are little-endian:
 *
 *	0  magic "NSTRMIGR"	8  version	12  kind
 *	16 bytes of payload	24 FNV-1a of bytes 0..23 and of the payload	32 payload
 *
 * The sum finds damage, not malice: whoever may write the stream may also write the guest's
 * memory, and the endpoint checks what it loads.
 */
#include "host/soft/vfio/vfio.h"

#include "base/endian.h"
#include "base/fnv.h"

#include <errno.h>
#include <string.h>

#define MAGIC 0x5247494d5254534eULL /* the letters, the first in the lowest byte */
#define VERSION 1

struct header {
	le64 magic;
	le32 version, kind;
	le64 size;
	le64 sum;
};
_Static_assert(sizeof(struct header) == SOFT_RECORD_HEADER_BYTES, "as in vfio.h");

static uint64_t sum_of(const struct header *hdr, const uint8_t *payload, size_t size)
{
	uint64_t sum = fnv1a(FNV1A_START, hdr, offsetof(struct header, sum));

	return fnv1a(sum, payload, size);
}

void soft_record_seal(uint8_t *record, enum soft_record_kind kind, size_t size)
{
	struct header hdr = {
		.magic = le64_make(MAGIC),
		.version = le32_make(VERSION),
		.kind = le32_make(kind),
		.size = le64_make(size),
	};

	hdr.sum = le64_make(sum_of(&hdr, record + sizeof(hdr), size));
	memcpy(record, &hdr, sizeof(hdr));
}

int soft_record_check(const uint8_t *bytes, size_t have, enum soft_record_kind kind, size_t size)
{
	struct header hdr;

	if (have < sizeof(hdr))
		return -EAGAIN;
	memcpy(&hdr, bytes, sizeof(hdr));
	if (le64_get(hdr.magic) != MAGIC || le32_get(hdr.version) != VERSION ||
	    le32_get(hdr.kind) != kind || le64_get(hdr.size) != size)
		return -EINVAL;
	if (have - sizeof(hdr) < size)
		return -EAGAIN;
	return sum_of(&hdr, bytes + sizeof(hdr), size) == le64_get(hdr.sum) ? 0 : -EINVAL;
}
