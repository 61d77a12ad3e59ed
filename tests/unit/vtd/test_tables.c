// SPDX-License-Identifier: BSD-3-Clause
/*
 * From tables to attachments: random tables against a naive reading of VT-d 4.1 s3.4 and
 * s9, and each way of being wrong by itself.
 */
#include "test.h"

#include "spec/vtd_caps.h"
#include "vtd/tables.h"

#include <linux/iommufd.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES = 40 };

struct world {
	_Alignas(4096) uint8_t bytes[PAGES * 4096];
	struct nst_mem *mem;
	struct vtd_tables tables;
};

#define ROOT 0x1000ULL
#define CONTEXT 0x2000ULL
#define CONTEXT_HIGH 0x3000ULL
#define DIR 0x4000ULL		/* 2 KiB: 256 entries */
#define TABLE 0x5000ULL
#define RID 0x0012

static uint64_t *at(struct world *w, uint64_t gpa)
{
	assert_true(gpa <= sizeof(w->bytes) - 8);
	return (uint64_t *)(void *)&w->bytes[gpa];
}

static uint64_t *context(struct world *w)
{
	return at(w, CONTEXT + (RID & 0x7f) * 32);
}

static uint64_t *entry(struct world *w, uint32_t pasid)
{
	return at(w, TABLE + (pasid & 63) * 64);
}

static int setup(void **state)
{
	struct world *w = aligned_alloc(4096, sizeof(*w));

	memset(w, 0, sizeof(*w));
	if (nst_mem_create(&w->mem) ||
	    nst_mem_add(w->mem, (nst_gpa){ 0 }, sizeof(w->bytes), w->bytes, true))
		return -1;
	w->tables.mem = w->mem;
	w->tables.rtaddr = ROOT | 1 << 10;
	w->tables.cap = VTD_CAP_FS1GP | 47ULL << 16; /* 48 address bits */
	w->tables.ecap = VTD_ECAP_SRS | VTD_ECAP_EAFS | VTD_ECAP_SMPWCS;
	*at(w, ROOT) = CONTEXT | 1;
	*at(w, ROOT + 8) = CONTEXT_HIGH | 1;
	context(w)[0] = DIR | 1;
	*at(w, DIR) = TABLE | 1;
	entry(w, 0)[0] = 1 | 1 << 6;
	entry(w, 0)[1] = 77;
	entry(w, 0)[2] = 0x7000;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	nst_mem_destroy(w->mem);
	free(w);
	return 0;
}

static unsigned int look(struct world *w, struct vtd_lookup *out)
{
	unsigned int reason = vtd_tables_lookup(&w->tables, RID, out);

	if (reason)
		assert_int_equal(out->attachment.kind, ATTACHMENT_BLOCKED);
	return reason;
}

static unsigned int reason_of(struct world *w)
{
	struct vtd_lookup out;

	return look(w, &out);
}

static void a_first_stage_entry_is_read(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	assert_int_equal(look(w, &out), 0);
	assert_int_equal(out.attachment.kind, ATTACHMENT_STAGE1);
	assert_int_equal(out.attachment.domain_id, 77);
	assert_int_equal(out.attachment.s1.pgtbl_addr, 0x7000);
	assert_int_equal(out.attachment.s1.addr_width, 48);
	assert_int_equal(out.attachment.s1.flags, 0);
	assert_int_equal(out.rid_pasid, 0);
	assert_false(out.fault_disabled);
}

static void flags_of_the_entry_become_those_of_the_host(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	for (unsigned int bits = 0; bits < 8; bits++) {
		entry(w, 0)[2] = 0x7000 | (bits & 1) | (bits & 2) << 3 | (uint64_t)(bits & 4) << 5;
		assert_int_equal(look(w, &out), 0);
		assert_int_equal(out.attachment.s1.flags,
				 (bits & 1 ? IOMMU_VTD_S1_SRE : 0) |
					 (bits & 2 ? IOMMU_VTD_S1_WPE : 0) |
					 (bits & 4 ? IOMMU_VTD_S1_EAFE : 0));
	}
}

/* What is not offered is reserved. */
static void bits_of_features_not_offered_are_reserved(void **state)
{
	static const struct {
		uint64_t ecap;
		unsigned int word;
		uint64_t bit;
	} gated[] = {
		{ VTD_ECAP_SRS, 2, 1 << 0 },
		{ VTD_ECAP_EAFS, 2, 1 << 7 },
		{ VTD_ECAP_SMPWCS, 1, 1 << 23 },
		{ VTD_ECAP_SC, 1, 1 << 24 },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(gated); i++) {
		entry(w, 0)[gated[i].word] |= gated[i].bit;
		w->tables.ecap = UINT64_MAX;
		assert_int_equal(reason_of(w), 0);
		w->tables.ecap = ~gated[i].ecap;
		assert_int_equal(reason_of(w), 0x5a);
		entry(w, 0)[gated[i].word] &= ~gated[i].bit;
		assert_int_equal(reason_of(w), 0);
	}
}

static void five_levels_only_where_offered(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	entry(w, 0)[2] |= 1 << 2;
	assert_int_equal(look(w, &out), 0x5b);
	w->tables.cap |= VTD_CAP_FS5LP;
	assert_int_equal(look(w, &out), 0);
	assert_int_equal(out.attachment.s1.addr_width, 57);
	entry(w, 0)[2] |= 2 << 2;
	assert_int_equal(look(w, &out), 0x5b);
}

static void translation_types(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	for (unsigned int pgtt = 0; pgtt < 8; pgtt++) {
		unsigned int reason;

		entry(w, 0)[0] = 1 | pgtt << 6;
		reason = look(w, &out);
		assert_int_equal(reason, pgtt == 1 || pgtt == 4 ? 0 : 0x5b);
		if (pgtt == 4)
			assert_int_equal(out.attachment.kind, ATTACHMENT_BYPASS);
	}
}

/* Each structure: absent, reserved bits (each by itself), pointing to no memory. */
static void every_reason(void **state)
{
	struct world *w = *state;

	for (unsigned int bit = 1; bit < 12; bit++) {
		*at(w, ROOT) ^= 1 << bit;
		assert_int_equal(reason_of(w), 0x3a);
		*at(w, ROOT) ^= 1 << bit;
		*at(w, DIR) ^= 1 << bit;
		assert_int_equal(reason_of(w), bit == 1 ? 0 : 0x52);
		*at(w, DIR) ^= 1 << bit;
	}
	for (unsigned int bit = 5; bit < 9; bit++) {
		context(w)[0] ^= 1 << bit;
		assert_int_equal(reason_of(w), 0x42);
		context(w)[0] ^= 1 << bit;
	}
	for (unsigned int bit = 21; bit < 192; bit++) {
		context(w)[1 + bit / 64] ^= BIT64(bit % 64);
		assert_int_equal(reason_of(w), 0x42);
		context(w)[1 + bit / 64] ^= BIT64(bit % 64);
	}
	for (unsigned int bit = 192; bit < 512; bit++) {
		entry(w, 0)[bit / 64] ^= BIT64(bit % 64);
		assert_int_equal(reason_of(w), 0x5a);
		entry(w, 0)[bit / 64] ^= BIT64(bit % 64);
	}
	for (unsigned int bit = 0; bit < 192; bit++) {
		bool reserved = bit == 10 || bit == 11 || (bit >= 80 && bit <= 86) ||
				(bit >= 136 && bit <= 139) || bit == 129 || bit >= 176;

		entry(w, 0)[bit / 64] ^= BIT64(bit % 64);
		assert_int_equal(reason_of(w) == 0x5a, reserved || bit == 88);	/* PGSNP: no SC */
		entry(w, 0)[bit / 64] ^= BIT64(bit % 64);
	}
	assert_int_equal(reason_of(w), 0);
}

static void each_link_may_be_absent(void **state)
{
	static const unsigned int reasons[] = { 0x39, 0x41, 0x51, 0x59 };
	struct world *w = *state;
	uint64_t *links[] = { at(w, ROOT), context(w), at(w, DIR), entry(w, 0) };

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		uint64_t saved = *links[i];

		*links[i] = saved & ~1ULL;
		assert_int_equal(reason_of(w), reasons[i]);
		*links[i] = ~1ULL;	/* the other bits do not matter then */
		assert_int_equal(reason_of(w), reasons[i]);
		assert_true(vtd_fault_is_absence(reasons[i]));
		*links[i] = saved;
	}
	assert_int_equal(reason_of(w), 0);
}

static void each_link_may_point_to_no_memory(void **state)
{
	static const uint64_t nowhere[] = { sizeof(((struct world *)0)->bytes), 0x0000fffffffff000,
					    0x0000800000000000 };
	struct world *w = *state;
	uint64_t *links[] = { at(w, ROOT), context(w), at(w, DIR) };
	static const unsigned int reasons[] = { 0x40, 0x50, 0x58 };

	for (size_t n = 0; n < ARRAY_SIZE(nowhere); n++) {
		for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
			uint64_t saved = *links[i];

			*links[i] = nowhere[n] | 1;
			assert_int_equal(reason_of(w), reasons[i]);
			assert_false(vtd_fault_is_absence(reasons[i]));
			*links[i] = saved;
		}
		w->tables.rtaddr = nowhere[n] | 1 << 10;
		assert_int_equal(reason_of(w), 0x38);
		w->tables.rtaddr = ROOT | 1 << 10;
	}
	/* a table that begins in memory and ends outside: the entry itself counts */
	assert_int_equal(nst_mem_remove(w->mem, (nst_gpa){ 0 }, sizeof(w->bytes)), 0);
	assert_int_equal(nst_mem_add(w->mem, (nst_gpa){ 0 }, TABLE + 48, w->bytes, true), 0);
	assert_int_equal(reason_of(w), 0x58);
}

static void pasid_of_plain_requests(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	memcpy(entry(w, 37), entry(w, 0), 64);
	entry(w, 37)[1] = 99;
	context(w)[1] = 37;
	/* a unit without RPS takes PASID 0 whatever the field says */
	assert_int_equal(look(w, &out), 0);
	assert_int_equal(out.attachment.domain_id, 77);
	assert_int_equal(out.rid_pasid, 0);
	w->tables.ecap |= VTD_ECAP_RPS;
	assert_int_equal(look(w, &out), 0);
	assert_int_equal(out.attachment.domain_id, 99);
	assert_int_equal(out.rid_pasid, 37);
	/* the privilege bit beside it is no reserved one */
	context(w)[1] |= 1 << 20;
	assert_int_equal(look(w, &out), 0);
}

static void directory_sizes(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	w->tables.ecap |= VTD_ECAP_RPS;
	for (unsigned int pdts = 0; pdts < 8; pdts++) {
		uint32_t entries = 128u << pdts;
		uint64_t slot = 0x8000 + ((uint64_t)entries - 1) * 8;	/* the last entry */

		context(w)[0] = 0x8000 | pdts << 9 | 1;
		context(w)[1] = entries * 64 - 1;
		if (slot + 8 <= sizeof(w->bytes)) {
			*at(w, slot) = TABLE | 1;
			memcpy(entry(w, 63), entry(w, 0), 64);
			assert_int_equal(look(w, &out), 0);
			assert_int_equal(out.rid_pasid, entries * 64 - 1);
			*at(w, slot) = 0;
		} else {
			assert_int_equal(look(w, &out), 0x50);
		}
		if (entries * 64 > 0xfffff)
			continue;
		context(w)[1] = entries * 64;	/* the first one past the end */
		assert_int_equal(look(w, &out), 0x48);
	}
}

static void the_fault_disable_bit_of_every_structure_counts(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	entry(w, 0)[3] = 1;	/* reserved */
	assert_int_equal(look(w, &out), 0x5a);
	assert_false(out.fault_disabled);
	entry(w, 0)[0] |= 2;
	assert_int_equal(look(w, &out), 0x5a);
	assert_true(out.fault_disabled);
	entry(w, 0)[0] &= ~2ULL;
	*at(w, DIR) |= 2;
	assert_int_equal(look(w, &out), 0x5a);
	assert_true(out.fault_disabled);
	*at(w, DIR) |= 4;	/* its own reserved bits: what it says still holds */
	assert_int_equal(look(w, &out), 0x52);
	assert_true(out.fault_disabled);
	*at(w, DIR) &= ~2ULL;
	assert_int_equal(look(w, &out), 0x52);
	assert_false(out.fault_disabled);
	context(w)[0] |= 2;
	assert_int_equal(look(w, &out), 0x52);
	assert_true(out.fault_disabled);
	context(w)[2] = 1;
	assert_int_equal(look(w, &out), 0x42);
	assert_true(out.fault_disabled);
}

static void table_modes(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	w->tables.rtaddr = ROOT | 2 << 10;
	assert_int_equal(look(w, &out), 0x30);
	assert_false(out.fault_disabled);
	w->tables.rtaddr = ROOT | 3 << 10;	/* abort DMA: silently */
	assert_int_equal(look(w, &out), 0x30);
	assert_true(out.fault_disabled);
}

static void legacy_pass_through(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;
	uint64_t *ctx = at(w, CONTEXT + (RID & 0xff) * 16);

	memset(&w->bytes[CONTEXT], 0, 4096);
	*at(w, ROOT + 8) = 0;
	w->tables.rtaddr = ROOT;
	assert_int_equal(look(w, &out), 0x02);
	ctx[0] = 1 | 2 << 2;
	assert_int_equal(look(w, &out), 0x03);	/* the width counts even so */
	ctx[1] = 2;
	w->tables.cap |= VTD_CAP_SAGAW_48;
	assert_int_equal(look(w, &out), 0);
	assert_int_equal(out.attachment.kind, ATTACHMENT_BYPASS);
	ctx[1] = 2 | 0xabcd << 8;
	for (unsigned int type = 0; type < 3; type++) {
		ctx[0] = 0x7654321000 | 1 | type << 2;
		w->tables.ecap &= ~VTD_ECAP_DT;
		assert_int_equal(look(w, &out), type == 1 ? 0x03 : 0);
		w->tables.ecap |= VTD_ECAP_DT;
		assert_int_equal(look(w, &out), 0);
		if (type == 2)
			continue;
		assert_int_equal(out.attachment.kind, ATTACHMENT_SHADOW);
		assert_int_equal(out.attachment.shadow.root, 0x7654321000);
		assert_int_equal(out.attachment.shadow.levels, 4);
		assert_int_equal(out.attachment.domain_id, 0xabcd);
	}
	for (unsigned int aw = 0; aw < 8; aw++) {
		ctx[0] = 1;
		ctx[1] = aw;
		w->tables.cap = (w->tables.cap & ~VTD_CAP_SAGAW) | VTD_CAP_SAGAW_39 | VTD_CAP_SAGAW_48;
		assert_int_equal(look(w, &out), aw == 1 || aw == 2 ? 0 : 0x03);
		if (aw == 1)
			assert_int_equal(out.attachment.shadow.levels, 3);
	}
	ctx[0] = 1 | 3 << 2 | 2;
	ctx[1] = 2;
	assert_int_equal(look(w, &out), 0x03);
	assert_true(out.fault_disabled);
	*at(w, ROOT) = 0x00007fff00000001;
	assert_int_equal(look(w, &out), 0x09);
	*at(w, ROOT) = 0;
	assert_int_equal(look(w, &out), 0x01);
	w->tables.rtaddr = 0xffff000000000000;
	assert_int_equal(look(w, &out), 0x08);
}

/* --- the oracle ------------------------------------------------------------------------------ */

struct naive {
	bool blocked, bypass, quiet;
	uint64_t root, did, flags;
};

static bool word(struct world *w, uint64_t gpa, uint64_t *out)
{
	if (gpa > sizeof(w->bytes) - 8)
		return false;
	*out = *at(w, gpa);
	return true;
}

static bool words(struct world *w, uint64_t gpa, uint64_t *out, int n)
{
	for (int i = 0; i < n; i++)
		if (!word(w, gpa + 8 * (uint64_t)i, &out[i]))
			return false;
	return true;
}

/* One straight line, for a unit with SRS, EAFS, SMPWCS and RPS, 4 levels. */
static struct naive naive_lookup(struct world *w, uint64_t root, unsigned int rid)
{
	struct naive n = { .blocked = true };
	uint64_t re, ce[4], de, pe[8], pasid;
	const uint64_t page = 0x0000fffffffff000;

	if (!word(w, root + rid / 256 * 16 + rid % 256 / 128 * 8, &re) || !(re & 1) || (re & 0xffff000000000ffe))
		return n;
	if (!words(w, (re & page) + rid % 128 * 32, ce, 4) || !(ce[0] & 1))
		return n;
	n.quiet = ce[0] & 2;
	if ((ce[0] & 0xffff0000000001e0) || ce[1] >> 21 || ce[2] || ce[3])
		return n;
	pasid = ce[1] & 0xfffff;
	if (pasid / 64 >= 128u << (ce[0] >> 9 & 7) ||
	    !word(w, (ce[0] & page) + pasid / 64 * 8, &de) || !(de & 1))
		return n;
	n.quiet |= de >> 1 & 1;
	if ((de & 0xffff000000000ffc) || !words(w, (de & page) + pasid % 64 * 64, pe, 8))
		return n;
	n.quiet |= pe[0] >> 1 & 1;
	if (!(pe[0] & 1) || (pe[0] & 0xc00) || (pe[1] & 0x17f0000) || (pe[2] & 0xf00) || pe[3] ||
	    pe[4] || pe[5] || pe[6] || pe[7])
		return n;
	n.bypass = (pe[0] >> 6 & 7) == 4;
	if (!n.bypass && ((pe[0] >> 6 & 7) != 1 || (pe[2] >> 2 & 3) || (pe[2] & 2) || pe[2] >> 48))
		return n;
	n.blocked = false;
	n.root = pe[2] & page;
	n.did = pe[1] & 0xffff;
	n.flags = (pe[2] & 1) | (pe[2] >> 6 & 2) | (pe[2] >> 2 & 4);	/* SRE, EAFE, WPE */
	return n;
}

/* Mostly right words, so that walks go deep: a pointer to some page, now and then a wild bit. */
static uint64_t random_word(uint64_t *seed, uint64_t low)
{
	uint64_t r = test_random(seed);
	uint64_t value = (r >> 8) % (PAGES + 1) << 12 | low;

	if (r % 16 == 0)
		value &= ~1ULL;
	if (r % 24 == 1)
		value ^= BIT64(test_random(seed) % 64);
	return value;
}

static void randomise(struct world *w, uint64_t *seed)
{
	uint64_t r = test_random(seed);
	uint64_t ctx = r % 8 ? CONTEXT : (r >> 8) % PAGES << 12;

	memset(w->bytes, 0, sizeof(w->bytes));
	*at(w, ROOT) = random_word(seed, 1);
	if (r & 0x300)
		*at(w, ROOT) = ctx | 1;
	context(w)[0] = random_word(seed, 1 | (r >> 20 & 2) | (r >> 24 & 1) << 9);
	context(w)[1] = (r >> 30) % 4 ? (r >> 40) % 64 : (r >> 32) & 0xfffff;
	if (r >> 60 == 0)
		context(w)[1 + (r >> 50) % 3] ^= BIT64(test_random(seed) % 64);
	for (int i = 0; i < 64; i++) {
		uint64_t *e = at(w, TABLE + 64 * (uint64_t)i);

		*at(w, DIR + 8 * (uint64_t)i) = random_word(seed, i % 8 ? 1 : 3);
		if (test_random(seed) % 4)
			*at(w, DIR + 8 * (uint64_t)i) = TABLE | 1;
		e[0] = random_word(seed, 1 | (test_random(seed) % 8 ? 1 : 4) << 6);
		e[1] = test_random(seed) & 0xffff;
		e[2] = test_random(seed) & 0x0000fffffffff091;
		if (test_random(seed) % 8 == 0)
			e[test_random(seed) % 8] ^= BIT64(test_random(seed) % 64);
	}
}

static void random_tables_agree_with_the_oracle(void **state)
{
	struct world *w = *state;
	uint64_t seed = 4;
	unsigned int seen[3] = { 0 };

	w->tables.ecap |= VTD_ECAP_RPS;
	for (int n = 0; n < 20000; n++) {
		struct vtd_lookup out;
		struct naive want;
		unsigned int reason;

		randomise(w, &seed);
		if (n % 4)
			context(w)[0] = DIR | (context(w)[0] & 0xfff);
		want = naive_lookup(w, ROOT, RID);
		reason = look(w, &out);
		assert_int_equal(reason != 0, want.blocked);
		if (reason && !vtd_fault_is_absence(reason))
			assert_int_equal(out.fault_disabled, want.quiet);
		seen[out.attachment.kind]++;
		if (reason)
			continue;
		assert_int_equal(out.attachment.kind,
				 want.bypass ? ATTACHMENT_BYPASS : ATTACHMENT_STAGE1);
		if (want.bypass)
			continue;
		assert_true(out.attachment.s1.pgtbl_addr == want.root);
		assert_int_equal(out.attachment.domain_id, want.did);
		assert_int_equal(out.attachment.s1.flags, want.flags);
	}
	for (int kind = 0; kind < 3; kind++)	/* the generator is worth something */
		assert_true(seen[kind] > 200);
}

/* Bus and halves of it: each requester meets its own entry. */
static void every_requester_has_its_entry(void **state)
{
	struct world *w = *state;
	struct vtd_lookup out;

	for (unsigned int rid = 0; rid < 65536; rid += 127) {
		memset(w->bytes, 0, sizeof(w->bytes));
		*at(w, ROOT + (uint64_t)rid / 128 * 8) = CONTEXT | 1;
		at(w, CONTEXT + (uint64_t)rid % 128 * 32)[0] = DIR | 1;
		*at(w, DIR) = TABLE | 1;
		entry(w, 0)[0] = 1 | 4 << 6;
		assert_int_equal(vtd_tables_lookup(&w->tables, (nst_rid)rid, &out), 0);
		assert_int_equal(vtd_tables_lookup(&w->tables, (nst_rid)(rid ^ 1), &out), 0x41);
		assert_int_equal(vtd_tables_lookup(&w->tables, (nst_rid)(rid ^ 0x80), &out), 0x39);
	}
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_WORLD(a_first_stage_entry_is_read),
		WITH_WORLD(flags_of_the_entry_become_those_of_the_host),
		WITH_WORLD(bits_of_features_not_offered_are_reserved),
		WITH_WORLD(five_levels_only_where_offered),
		WITH_WORLD(translation_types),
		WITH_WORLD(every_reason),
		WITH_WORLD(each_link_may_be_absent),
		WITH_WORLD(each_link_may_point_to_no_memory),
		WITH_WORLD(pasid_of_plain_requests),
		WITH_WORLD(directory_sizes),
		WITH_WORLD(the_fault_disable_bit_of_every_structure_counts),
		WITH_WORLD(table_modes),
		WITH_WORLD(legacy_pass_through),
		WITH_WORLD(random_tables_agree_with_the_oracle),
		WITH_WORLD(every_requester_has_its_entry),
	};

	return cmocka_run_group_tests_name("vtd tables", tests, NULL, NULL);
}
