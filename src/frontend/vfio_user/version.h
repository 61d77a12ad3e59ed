/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The JSON of VFIO_USER_VERSION: what the client can do, and what we answer.
 *
 * Keys that are not known are skipped, known keys must make sense. The answer names only
 * capabilities that the client named (the specification asks for a subset) and never
 * write_multiple or twin_socket: QEMU up to 10.2 marks the first one's messages wrongly,
 * and replies are told from commands by their header, which needs no second socket.
 */
#ifndef VFIO_USER_VERSION_H
#define VFIO_USER_VERSION_H

#include <nestor/types.h>

enum version_key {
	VERSION_MAX_MSG_FDS = 1 << 0,
	VERSION_MAX_DATA_XFER_SIZE = 1 << 1,
	VERSION_MAX_DMA_MAPS = 1 << 2,
	VERSION_PGSIZES = 1 << 3,
};

struct version_caps {
	unsigned int named;	     /* enum version_key: what the client's text has */
	uint32_t max_msg_fds;	     /* it can receive; 1 unless said */
	uint32_t max_data_xfer_size; /* it takes in one message; 1 MiB unless said */
};

/*
 * Parse @size bytes, the last of which is the only NUL; 0 bytes is a client that says
 * nothing. -EINVAL, -ENOMEM.
 */
NST_MUST_CHECK int version_decode(const char *text, size_t size, struct version_caps *out);

/*
 * Write the answer to @caps, at most @room bytes with its NUL: QEMU 11.1 receives it into
 * the buffer of its own request. Keys that do not fit are left out, the most useful stay.
 * Returns the length with the NUL, 0 if not even an empty answer fits.
 */
size_t version_encode(const struct version_caps *caps, char *text, size_t room);

#endif
