/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What "nestor host" and the preloaded library tell each other: one page-like structure in
 * a memfd that the command inherits. Its descriptor number is in the environment.
 *
 * The launcher writes the upper half before it starts the command. The lower half is the
 * library's, in whichever process uses the host: counters are there while the command
 * runs, so the launcher has them even if the command is killed. One process at a time
 * owns the host; what later ones count is added.
 */
#ifndef FRONTEND_PRELOAD_SESSION_H
#define FRONTEND_PRELOAD_SESSION_H

#include <nestor/soft_host.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PRELOAD_LIBRARY "libnestor-preload.so"
#define PRELOAD_SESSION_VARIABLE "NESTOR_HOST_SESSION"
#define PRELOAD_MAGIC 0x35305453484e5354 /* changes with the layout */

/* What fstat(2) of a device says: a number that Linux leaves to local use. */
#define PRELOAD_CDEV_MAJOR 240U

enum {
	PRELOAD_MAX_DEVICES = 16,
	PRELOAD_DESCRIPTION_BYTES = 8192,
	PRELOAD_MAX_TYPES = 16,
};

/* A device and its placeholder: an inherited descriptor that is nothing but a number. */
struct preload_device {
	int32_t fd;
	uint64_t st_dev, st_ino; /* of what the placeholder is open on, to know it again */
	char description[PRELOAD_DESCRIPTION_BYTES];
};

/* Objects of one type that the command still had when it ended. */
struct preload_objects {
	char type[24];
	uint32_t live;
	uint32_t unused; /* of them: nothing refers to them */
};

struct preload_session {
	uint64_t magic;
	uint32_t size;
	uint32_t log_level; /* enum nst_log_level */
	uint32_t iommu;	    /* enum nst_soft_iommu */
	uint32_t check, quirks, stalls, strict_abi;
	int32_t trace_fd; /* inherited; -1 = no trace */
	uint32_t trace_json;
	uint32_t num_devices;
	struct preload_device devices[PRELOAD_MAX_DEVICES];

	atomic_uint loads;     /* processes that loaded the library */
	_Atomic int32_t owner; /* the process that has the host, or 0 */
	uint32_t begun;	       /* hosts made */
	uint32_t ended;	       /* of them: the process came to its end, and objects were counted */
	struct nst_soft_stats stats;
	struct preload_objects objects[PRELOAD_MAX_TYPES];
};

#endif
