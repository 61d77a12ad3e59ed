// SPDX-License-Identifier: BSD-3-Clause
/*
 * The register page of a whole unit, byte by byte: what each is at reset, and which of its
 * bits software can set, clear, or clear by writing 1, by accesses of every size at every
 * place. The table is typed from VT-d 4.1 s11.4 and knows nothing of src/vtd/regs.h; the
 * rules of access are those of s11.2: 4 and 8 aligned bytes; here a read of any other size
 * gives the bytes that are there, and a write of any other is ignored.
 */
#include "rig.h"

#include "base/endian.h"

#include <string.h>

/* --- the table --------------------------------------------------------------------------------- */

/*
 * One row for each run of bits of a register with the same access: the rest of the page is
 * reserved, reads as 0 and cannot be written.
 */
enum access {
	RO,	  /* hardware's */
	RW,
	W1C,	  /* RW1CS */
	WO,	  /* reads as 0 */
	COMMAND,  /* RW: a 1 has something done, and reads as 0 once it is */
};

struct field {
	uint16_t offset;
	uint8_t high, low; /* bits from @offset on */
	enum access access;
	uint64_t reset;
};

static const struct field fields[] = {
	{ 0x000, 7, 0, RO, 0x10 },			/* VER: 1.0 */
	{ 0x008, 63, 0, RO, 0 }, { 0x010, 63, 0, RO, 0 }, /* CAP, ECAP: test_regs.c */
	{ 0x018, 31, 0, WO, 0 },			/* GCMD */
	{ 0x01c, 31, 0, RO, 0 },			/* GSTS */
	{ 0x020, 63, 10, RW, 0 },			/* RTADDR: address, TTM */
	{ 0x028, 33, 0, RW, 0 }, { 0x028, 60, 59, RO, 0 }, { 0x028, 62, 61, RW, 0 },
	{ 0x028, 63, 63, COMMAND, 0 },			/* CCMD: DID SID FM CAIG CIRG ICC */
	{ 0x034, 0, 0, W1C, 0 }, { 0x034, 1, 1, RO, 0 }, { 0x034, 6, 4, W1C, 0 },
	{ 0x034, 15, 8, RO, 0 },			/* FSTS: PFO PPF IQE ICE ITE FRI */
	{ 0x038, 30, 30, RO, 0 }, { 0x038, 31, 31, RW, 1 },	/* FECTL: IP IM */
	{ 0x03c, 31, 0, RW, 0 }, { 0x040, 31, 2, RW, 0 }, { 0x044, 31, 0, RW, 0 },
	{ 0x080, 18, 4, RO, 0 },			/* IQH */
	{ 0x088, 18, 4, RW, 0 },			/* IQT */
	{ 0x090, 2, 0, RW, 0 }, { 0x090, 63, 11, RW, 0 },	/* IQA: QS DW address */
	{ 0x09c, 0, 0, W1C, 0 },			/* ICS: IWC */
	{ 0x0a0, 30, 30, RO, 0 }, { 0x0a0, 31, 31, RW, 1 },	/* IECTL */
	{ 0x0a4, 31, 0, RW, 0 }, { 0x0a8, 31, 2, RW, 0 }, { 0x0ac, 31, 0, RW, 0 },
	{ 0x0b0, 63, 0, RO, 0 },			/* IQERCD */
	{ 0x0b8, 3, 0, RW, 0 }, { 0x0b8, 63, 11, RW, 0 },	/* IRTA: size EIME address */
	{ 0x0c0, 18, 5, RW, 0 }, { 0x0c8, 18, 5, RW, 0 },	/* PQH, PQT */
	{ 0x0d0, 2, 0, RW, 0 }, { 0x0d0, 63, 12, RW, 0 },	/* PQA: size address */
	{ 0x0dc, 1, 0, W1C, 0 },			/* PRS: PPR PRO */
	{ 0x0e0, 30, 30, RO, 0 }, { 0x0e0, 31, 31, RW, 1 },	/* PECTL */
	{ 0x0e4, 31, 0, RW, 0 }, { 0x0e8, 31, 2, RW, 0 }, { 0x0ec, 31, 0, RW, 0 },
#define FRCD(n) { 0x220 + 16 * (n), 63, 12, RO, 0 }, { 0x228 + 16 * (n), 62, 0, RO, 0 }, \
		{ 0x228 + 16 * (n), 63, 63, W1C, 0 }
	FRCD(0), FRCD(1), FRCD(2), FRCD(3), FRCD(4), FRCD(5), FRCD(6), FRCD(7),
	{ 0xf00, 6, 0, RW, 0 }, { 0xf00, 63, 12, RW, 0 },	/* IVA: AM IH address */
	{ 0xf08, 49, 32, RW, 0 }, { 0xf08, 58, 57, RO, 0 }, { 0xf08, 61, 60, RW, 0 },
	{ 0xf08, 63, 63, COMMAND, 0 },			/* IOTLB: DID DR DW IAIG IIRG IVT */
};

/* The page as bytes: bits at reset, and of each kind of access. */
struct page {
	uint8_t reset[4096], rw[4096], w1c[4096], command[4096];
};

static void put(uint8_t *bytes, uint16_t offset, unsigned int bit)
{
	bytes[offset + bit / 8] |= (uint8_t)(1u << bit % 8);
}

static struct page make_page(struct rig *rig)
{
	struct page p = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];

		for (unsigned int bit = f->low; bit <= f->high; bit++) {
			if (f->reset >> (bit - f->low) & 1)
				put(p.reset, f->offset, bit);
			if (f->access == RW)
				put(p.rw, f->offset, bit);
			if (f->access == W1C)
				put(p.w1c, f->offset, bit);
			if (f->access == COMMAND)
				put(p.command, f->offset, bit);
		}
	}
	/* what the unit offers is its own matter */
	le_store(&p.reset[8], 8, reg64(rig, REG_CAP));
	le_store(&p.reset[16], 8, reg64(rig, REG_ECAP));
	return p;
}

static void no_two_fields_overlap(void **state)
{
	uint8_t seen[4096] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		for (unsigned int bit = fields[i].low; bit <= fields[i].high; bit++) {
			uint8_t *byte = &seen[fields[i].offset + bit / 8];

			assert_false(*byte >> bit % 8 & 1);
			*byte |= (uint8_t)(1u << bit % 8);
		}
	}
}

/* --- reads ------------------------------------------------------------------------------------- */

static const unsigned int sizes[] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static uint64_t bytes_at(const uint8_t *bytes, uint64_t at, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)bytes[at + i] << 8 * i;
	return value;
}

static void every_read_at_reset(void **state)
{
	struct rig *rig = *state;
	struct page p = make_page(rig);

	for (uint64_t at = 0; at < 4096 + 16; at++) {
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			uint64_t want = at + sizes[s] <= 4096 ? bytes_at(p.reset, at, sizes[s]) : 0;
			uint64_t got = nst_viommu_mmio_read(rig->viommu, at, sizes[s]);

			if (got != want)
				fail_msg("%u bytes at 0x%llx: 0x%llx", sizes[s],
					 (unsigned long long)at, (unsigned long long)got);
		}
	}
}

/* --- writes ------------------------------------------------------------------------------------ */

static void snapshot(struct rig *rig, uint8_t *page)
{
	for (uint64_t at = 0; at < 4096; at += 8)
		le_store(&page[at], 8, reg64(rig, at));
}

/* What the table makes of a write to a page that holds @before. */
static void expect_write(const struct page *p, const uint8_t *before, uint64_t at, unsigned int size,
			 uint64_t value, uint8_t *after)
{
	memcpy(after, before, 4096);
	for (unsigned int i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i), *now = &after[at + i];

		*now = (uint8_t)((*now & ~p->rw[at + i]) | (byte & p->rw[at + i]));
		*now &= (uint8_t)~(byte & p->w1c[at + i]);
		*now &= (uint8_t)~p->command[at + i];	/* done by now */
	}
}

static bool is_access(uint64_t at, unsigned int size)
{
	return (size == 4 || size == 8) && at % size == 0 && at + size <= 4096;
}

/* Effects that a register has by its meaning, beyond its own bits. */
static void add_effects(uint64_t at, unsigned int size, uint64_t value, uint8_t *after)
{
	uint32_t upper = (uint32_t)(size == 8 ? value >> 32 : value);
	uint64_t upper_at = size == 8 ? at + 4 : at;

	if (upper_at == 0x2c && upper >> 31)	/* ICC: CAIG says globally */
		after[0x2f] = (uint8_t)((after[0x2f] & ~0x18) | 0x08);
	if (upper_at == 0xf0c && upper >> 31)	/* IVT: so does IAIG */
		after[0xf0f] = (uint8_t)((after[0xf0f] & ~0x06) | 0x02);
}

/* All writes at @at that are none, and then what came of them: nothing. */
static void write_in_vain(struct rig *rig, uint64_t at, uint64_t value, const uint8_t *before)
{
	static uint8_t got[4096];

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
		if (!is_access(at, sizes[s]))
			nst_viommu_mmio_write(rig->viommu, at, sizes[s], value);
	snapshot(rig, got);
	if (memcmp(got, before, 4096))
		fail_msg("a write at 0x%llx that is no access", (unsigned long long)at);
}

static void every_write(void **state)
{
	static const uint64_t values[] = { UINT64_MAX, 0, 0x5555555555555555, 0xaaaaaaaaaaaaaaaa,
					   0x0123456789abcdef };
	struct rig *rig = *state;
	struct page p = make_page(rig);
	static uint8_t before[4096], want[4096], got[4096];

	snapshot(rig, got);
	for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
		for (uint64_t at = 0; at < 4096 + 8; at++) {
			write_in_vain(rig, at, values[v], got);
			for (unsigned int size = 4; size <= 8; size += 4) {
				/* GCMD is test_regs.c's */
				if (!is_access(at, size) || (at < 0x1c && at + size > 0x18))
					continue;
				memcpy(before, got, sizeof(before));
				nst_viommu_mmio_write(rig->viommu, at, size, values[v]);
				snapshot(rig, got);
				expect_write(&p, before, at, size, values[v], want);
				add_effects(at, size, values[v], want);
				if (memcmp(got, want, 4096))
					fail_msg("%u bytes at 0x%llx: 0x%llx", size,
						 (unsigned long long)at, (unsigned long long)values[v]);
			}
		}
	}
}

/* Each bit that 1 clears, set by the unit itself: by nothing but a 1 there. */
static void every_bit_that_one_clears(void **state)
{
	struct rig *rig = *state;
	struct vtd_unit *u = rig_unit(rig);
	struct page p = make_page(rig);
	unsigned int count = 0;

	for (unsigned int at = 0; at < 4096; at += 4) {
		uint32_t w1c = (uint32_t)bytes_at(p.w1c, at, 4);

		for (unsigned int bit = 0; bit < 32; bit++) {
			if (!(w1c >> bit & 1))
				continue;
			for (unsigned int other = 0; other < 32; other++) {
				mutex_lock(&u->regs.file.lock);
				u->regs.dwords[at / 4] |= 1u << bit;
				mutex_unlock(&u->regs.file.lock);
				reg32_set(rig, at, 1u << other);
				assert_int_equal(reg32(rig, at) >> bit & 1, other != bit);
			}
			reg32_set(rig, at, 1u << bit);
			count++;
		}
	}
	assert_int_equal(count, 4 + 1 + 2 + 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_two_fields_overlap),
		cmocka_unit_test_setup_teardown(every_read_at_reset, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(every_write, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(every_bit_that_one_clears, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests_name("vtd register table", tests, NULL, NULL);
}
