// SPDX-License-Identifier: BSD-3-Clause
/* A migration stream that is anybody's, into an NVMe controller that then has to work. Input: a
 * byte of flags (1: edits of a good stream follow, le16 where and a byte what, else it is the
 * stream itself; 2: the second record gets its right sum; 4: written in pieces of 100), and that.
 */
#undef NDEBUG
#include "conformance/nvme_side.h"

#include "endpoint/nvme_spec.h"
#include "host/soft/vfio/vfio.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STREAM = 1 << 16, IDENTITY_END = SOFT_RECORD_HEADER_BYTES + ENDPOINT_IDENTITY_BYTES };
static uint8_t memory[SIDE_PAGES * PAGE] __attribute__((aligned(4096))), stream[STREAM];

static size_t make_stream(size_t end, const uint8_t *data, size_t size, int flags)
{
	size_t state = IDENTITY_END + SOFT_RECORD_HEADER_BYTES;

	for (size_t i = 0; (flags & 1) && i + 3 <= size; i += 3)
		stream[(data[i] | (size_t)data[i + 1] << 8) % end] = data[i + 2];
	if (!(flags & 1)) {
		end = MIN(size, (size_t)STREAM);
		memcpy(stream, data, end);
	}
	if ((flags & 2) && end > state)
		soft_record_seal(stream + IDENTITY_END, SOFT_RECORD_STATE, end - state);
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int disk = memfd_create("disk", 0), flags = size ? data[0] : 0, fd, none;
	size_t end = 0, piece = flags & 4 ? 100 : STREAM;
	char file[32];
	struct side s;
	long n;

	assert(!ftruncate(disk, SIDE_BLOCKS * 512));
	snprintf(file, sizeof(file), "/dev/fd/%d", disk);
	side_open(&s, file, ",serial=fuzz", memory);
	side_start(&s);
	assert(!side_set_state(&s, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	while ((n = side_read(&s, fd, stream + end, STREAM - end)) > 0)
		end += (size_t)n;
	assert(!side_set_state(&s, VFIO_DEVICE_STATE_RESUMING, &fd));
	if (size)
		end = make_stream(end, data + 1, size - 1, flags);
	for (size_t at = 0; at < end; at += piece)
		side_write(&s, fd, stream + at, MIN(piece, end - at));
	if (!side_set_state(&s, VFIO_DEVICE_STATE_RUNNING, &none))
		for (unsigned int i = 0; i < 8; i++)
			side_submit(&s, i % 2, i, SIDE_DATA);
	bar_set(&s.rig, NVME_REG_INTMS, ~0ULL << 32); /* nothing is masked */
	side_close(&s);
	close(disk);
	return 0;
}
