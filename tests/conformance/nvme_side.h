/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One side of a migration: a synchronous host with an NVMe controller, bound, with memory
 * mapped, and as much of a driver as moves a few blocks. Its calls are those of rig.h.
 */
#ifndef TESTS_CONFORMANCE_NVME_SIDE_H
#define TESTS_CONFORMANCE_NVME_SIDE_H

#include "rig.h"

#define SIDE_IOVA 0x100000ULL
#define SIDE_PAGES 16
#define SIDE_DATA 8 /* pages from here are for data */
#define SIDE_BLOCKS 64
#define SIDE_STREAM_MAX 65536 /* no stream is longer */

struct side {
	struct rig rig;
	uint8_t *memory; /* SIDE_PAGES at SIDE_IOVA; shared by sides as a guest's is */
	uint32_t ioas;
	/* the driver's: moves with the memory */
	struct {
		uint16_t tail[2], head[2], next_cid;
		uint8_t phase[2];
	} driver;
};

/* @file: the image; @options begin with a comma or are "". */
void side_open(struct side *s, const char *file, const char *options, uint8_t *memory);
void side_close(struct side *s);

/* VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE; *@fd gets the data file or -1. */
int side_set_state(struct side *s, uint32_t state, int *fd);
uint32_t side_state(struct side *s);
/* Reset and, if need be, step by step: the device is in @state, *@fd its data file or -1. */
void side_go(struct side *s, uint32_t state, int *fd);
long side_read(struct side *s, int fd, void *buf, size_t count);
long side_write(struct side *s, int fd, const void *buf, size_t count);

/* All that there is to read, up to @end (0 or -ENOMSG): its size. */
size_t side_drain(struct side *s, int fd, uint8_t *stream, long end);
/* The device, which runs, is stopped and read. */
size_t side_save(struct side *s, uint8_t *stream);
/* Write a stream to a device that is in RESUMING, and leave that: the first refusal. */
int side_load(struct side *s, int fd, const uint8_t *stream, size_t size);

/* The controller enabled, with one pair of I/O queues. */
void side_start(struct side *s);
/* Put a read or write of one block into the I/O queue and ring; data is in page @page. */
void side_submit(struct side *s, bool write, uint32_t lba, unsigned int page);
/* -1: no completion; else its status without the phase. */
int side_reap(struct side *s);

/* --- two of them, and one disk ------------------------------------------------------------ */

struct scene {
	struct side a, b; /* b: the destination */
	uint8_t *memory;
	char image[64];
};

struct scene *scene_open(void);
struct scene *scene_open_foreign(void); /* the destination is another device */
void scene_close(struct scene *scene);

#endif
