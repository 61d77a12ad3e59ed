/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The programming interface of dmatest, as docs/dmatest.md describes it: registers,
 * descriptors, completions, the pattern. Drivers and tests may include this file.
 */
#ifndef ENDPOINT_DMATEST_SPEC_H
#define ENDPOINT_DMATEST_SPEC_H

#include "base/bits.h"
#include "base/endian.h"

/* 1234h is nobody's: emulators use it. No known device of it has this id. */
#define DMATEST_PCI_VENDOR 0x1234
#define DMATEST_PCI_DEVICE 0xd3a7
#define DMATEST_PCI_CLASS 0xff0000

/* BAR0 */
enum {
	DMATEST_REG_ID = 0x000,
	DMATEST_REG_VERSION = 0x004,
	DMATEST_REG_CAPS = 0x008,
	DMATEST_REG_LIMITS = 0x00c,
	DMATEST_REG_CTRL = 0x010,
	DMATEST_REG_STATUS = 0x014,
	DMATEST_REG_PRG_PAGES = 0x018,
	DMATEST_REG_PRG_RETRIES = 0x01c,
	DMATEST_REG_IMM_DESC = 0x100, /* a descriptor */
	DMATEST_REG_IMM_CPL = 0x140,  /* a completion */
	DMATEST_REG_IMM_GO = 0x160,
	DMATEST_REG_STATS = 0x200, /* 64 bits each, by enum dmatest_stat */
	DMATEST_REG_QUEUES = 0x1000,
	DMATEST_QUEUE_STRIDE = 0x40,
	DMATEST_MSIX_TABLE = 0x2000,
	DMATEST_MSIX_PBA = 0x3000,
	DMATEST_BAR_SIZE = 0x4000,
};

#define DMATEST_ID 0x54414d44u /* "DMAT" */
#define DMATEST_VERSION 0x00010000u

#define DMATEST_CAPS_QUEUES GENMASK64(6, 0)
#define DMATEST_CAPS_PASID_BITS GENMASK64(12, 8)
#define DMATEST_CAPS_ATS BIT64(16)
#define DMATEST_CAPS_PRI BIT64(17)
#define DMATEST_LIMITS_ENTRIES GENMASK64(15, 0)
#define DMATEST_LIMITS_LENGTH_LG2 GENMASK64(23, 16)
#define DMATEST_CTRL_RESET 1u
#define DMATEST_STATUS_BUS_MASTER BIT64(0)
#define DMATEST_STATUS_ATS BIT64(1)
#define DMATEST_STATUS_PRI BIT64(2)
#define DMATEST_STATUS_PASID BIT64(3)
#define DMATEST_STATUS_PRIVILEGED BIT64(4)
#define DMATEST_STATUS_PRI_FAILED BIT64(5)
#define DMATEST_STATUS_OUTSTANDING GENMASK64(31, 16)
#define DMATEST_GO_START 1u
#define DMATEST_GO_CANCEL 2u

/* A queue's block */
enum {
	DMATEST_Q_CTRL = 0x00,
	DMATEST_Q_STATUS = 0x04,
	DMATEST_Q_RING = 0x08, /* 64 bits */
	DMATEST_Q_CPL = 0x10,  /* 64 bits */
	DMATEST_Q_SIZE = 0x18,
	DMATEST_Q_PASID = 0x1c,
	DMATEST_Q_VECTOR = 0x20,
	DMATEST_Q_HEAD = 0x24,
	DMATEST_Q_TAIL = 0x28, /* doorbell */
	DMATEST_Q_CPL_TAIL = 0x2c,
	DMATEST_Q_CPL_HEAD = 0x30, /* doorbell */
};

#define DMATEST_Q_CTRL_ENABLE BIT64(0)
#define DMATEST_Q_CTRL_PASID BIT64(1)
#define DMATEST_Q_CTRL_PRIVILEGED BIT64(2)
#define DMATEST_Q_CTRL_WRITABLE 7u
#define DMATEST_Q_STATUS_RUNNING BIT64(0)
#define DMATEST_Q_STATUS_BAD_DOORBELL BIT64(1)
#define DMATEST_Q_STATUS_ERROR GENMASK64(15, 8)
#define DMATEST_Q_STATUS_IN_FLIGHT GENMASK64(23, 16)
#define DMATEST_Q_RING_WRITABLE (~63ULL)
#define DMATEST_Q_CPL_WRITABLE (~31ULL)

enum dmatest_queue_error {
	DMATEST_QUEUE_OK = 0,
	DMATEST_QUEUE_BAD_SETUP = 1,
	DMATEST_QUEUE_FETCH_FAILED = 2,
	DMATEST_QUEUE_COMPLETION_FAILED = 3,
};

enum dmatest_stat {
	DMATEST_STAT_REQUESTS,
	DMATEST_STAT_FAULTS,
	DMATEST_STAT_ATS_HITS,
	DMATEST_STAT_ATS_MISSES,
	DMATEST_STAT_INVALIDATIONS,
	DMATEST_STAT_PAGE_REQUESTS,
	DMATEST_STAT_RESPONSES,
	DMATEST_STAT_UNEXPECTED,
	DMATEST_STAT_OPERATIONS,
	DMATEST_STATS,
};

struct dmatest_desc {
	le32 control;
	le32 pasid;
	le64 address[2];
	le32 length;
	le32 tag;
	le64 seed;
	le64 reserved[3];
};
_Static_assert(sizeof(struct dmatest_desc) == 64, "descriptor");

#define DMATEST_DESC_OPCODE GENMASK64(7, 0)
#define DMATEST_DESC_PASID BIT64(8)
#define DMATEST_DESC_PRIVILEGED BIT64(9)
#define DMATEST_DESC_ATS BIT64(10)
#define DMATEST_DESC_PRI BIT64(11)
#define DMATEST_DESC_INTERRUPT BIT64(12)
#define DMATEST_DESC_RESERVED GENMASK64(31, 13)

enum dmatest_opcode {
	DMATEST_NOP = 0,
	DMATEST_FENCE = 1,
	DMATEST_READ = 2,
	DMATEST_WRITE = 3,
	DMATEST_VERIFY = 4,
	DMATEST_COPY = 5,
	DMATEST_COMPARE = 6,
	DMATEST_OPCODES,
};

struct dmatest_cpl {
	le64 fault;
	le64 checksum;
	le32 done;
	le32 page_requests;
	le32 tag;
	le32 status; /* written last */
};
_Static_assert(sizeof(struct dmatest_cpl) == 32, "completion");

#define DMATEST_CPL_STATUS GENMASK64(7, 0)
#define DMATEST_CPL_PHASE BIT64(31)

enum dmatest_status {
	DMATEST_OK = 0,
	DMATEST_BAD_DESCRIPTOR = 1,
	DMATEST_MISMATCH = 2,
	DMATEST_DMA_REFUSED = 3,
	DMATEST_TRANSLATION_REFUSED = 4,
	DMATEST_NO_PERMISSION = 5,
	DMATEST_PAGE_INVALID = 6,
	DMATEST_PAGE_FAILURE = 7,
	DMATEST_PAGE_RETRIES = 8,
	DMATEST_DISABLED = 9,
	DMATEST_CANCELLED = 10,
	DMATEST_BUSY = 255, /* in IMM_CPL only */
};

enum {
	DMATEST_QUEUES_MAX = 64,
	DMATEST_ENTRIES_MAX = 1024,
	DMATEST_LENGTH_LG2 = 24,
	DMATEST_PRG_PAGES_MAX = 16,
	DMATEST_PRG_RETRIES_MAX = 255,
	DMATEST_PRG_RETRIES_RESET = 8,
	DMATEST_PRI_CAPACITY = 64,
};

/* Checksum: FNV-1a with 64 bits over the bytes as they come. */
#define DMATEST_CHECKSUM_START 0xcbf29ce484222325ULL

static inline uint64_t dmatest_checksum(uint64_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ULL;
	return sum;
}

/* Pattern: word @index of the buffer (little-endian, 8 bytes) is SplitMix64 of the seed. */
static inline uint64_t dmatest_pattern_word(uint64_t seed, uint64_t index)
{
	uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

#endif
