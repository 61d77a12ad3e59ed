// SPDX-License-Identifier: BSD-3-Clause
/*
 * Descriptors: every bit of every type is either decoded, ignored by name, or refused.
 * The masks are typed here from VT-d 4.1 s6.5.2, as bit ranges of the 256.
 */
#include "test.h"

#include "vtd/desc.h"

#include <string.h>

struct range {
	unsigned int high, low;	/* bits of the descriptor, 0 to 255 */
};

struct expected {
	unsigned int type;
	bool wide;
	uint64_t grans;			/* which values of the granularity bits 5:4 are legal */
	struct range decoded[8];	/* they change what comes out */
	struct range ignored[8];	/* hints and fields of no effect here */
	uint64_t base;			/* makes a legal descriptor whose fields all count */
};

#define NONE { 0, 1 }

static const struct expected types[] = {
	{ 1, false, 1 << 1 | 1 << 2 | 1 << 3,			/* context cache */
	  { { 5, 4 }, { 31, 16 }, { 47, 32 }, { 49, 48 } }, { NONE }, 3 << 4 },
	{ 2, false, 1 << 1 | 1 << 2 | 1 << 3,			/* IOTLB: DW, DR ignored */
	  { { 5, 4 }, { 31, 16 }, { 69, 64 }, { 70, 70 }, { 127, 76 } }, { { 7, 6 } }, 3 << 4 },
	{ 3, false, 15, { { 47, 32 }, { 64, 64 }, { 127, 76 } },	/* device TLB: PFSID, MIP */
	  { { 15, 12 }, { 20, 16 }, { 63, 52 } }, 0 },
	{ 4, false, 15, { { 4, 4 }, { 31, 27 }, { 47, 32 } }, { NONE }, 1 << 4 }, /* interrupts */
	{ 5, false, 15, { { 4, 4 }, { 5, 5 }, { 7, 7 }, { 63, 32 }, { 127, 66 } },	/* wait: FN */
	  { { 6, 6 } }, 0 },
	{ 6, true, 1 << 2 | 1 << 3,				/* PASID-based IOTLB */
	  { { 5, 4 }, { 31, 16 }, { 51, 32 }, { 69, 64 }, { 70, 70 }, { 127, 76 } }, { NONE },
	  3 << 4 },
	{ 7, true, 1 << 0 | 1 << 1 | 1 << 3,			/* PASID cache */
	  { { 5, 4 }, { 31, 16 }, { 51, 32 } }, { NONE }, 1 << 4 },
	{ 8, true, 15,						/* PASID device TLB */
	  { { 31, 16 }, { 51, 32 }, { 64, 64 }, { 75, 75 }, { 127, 76 } },
	  { { 8, 4 }, { 15, 12 }, { 63, 52 } }, 0 },
	/* page group response: PASID present, code, requester, PASID, index; once: last page */
	{ 9, true, 15, { { 4, 4 }, { 15, 12 }, { 31, 16 }, { 51, 32 }, { 75, 67 } }, { { 66, 66 } },
	  0 },
};

static bool in(const struct range *ranges, unsigned int bit)
{
	for (int i = 0; i < 8; i++)
		if (bit >= ranges[i].low && bit <= ranges[i].high && ranges[i].high)
			return true;
	return false;
}

static bool is_type_bit(unsigned int bit)
{
	return bit <= 3 || (bit >= 9 && bit <= 11);
}

static unsigned int decode(const uint64_t qw[4], bool wide, struct vtd_desc *d)
{
	le64 words[4];

	for (int i = 0; i < 4; i++)
		words[i] = le64_make(qw[i]);
	/* padding too, so that results can be compared as bytes */
	memset(d, 0, sizeof(*d));
	return vtd_desc_decode(words, wide, d);
}

static bool same(const struct vtd_desc *a, const struct vtd_desc *b)
{
	return a->type == b->type && a->scope == b->scope && a->did == b->did &&
	       a->pasid == b->pasid && a->sid == b->sid && a->sid_ignore == b->sid_ignore &&
	       a->addr == b->addr && a->npages == b->npages && a->leaf == b->leaf &&
	       a->global == b->global &&
	       a->first_irte == b->first_irte && a->num_irtes == b->num_irtes &&
	       a->wait.write_status == b->wait.write_status &&
	       a->wait.drain == b->wait.drain &&
	       a->response.has_pasid == b->response.has_pasid &&
	       a->response.group == b->response.group && a->response.code == b->response.code &&
	       a->wait.interrupt == b->wait.interrupt && a->wait.status == b->wait.status &&
	       a->wait.status_addr.v == b->wait.status_addr.v;
}

static void check_bit(const struct expected *e, unsigned int bit)
{
	uint64_t qw[4] = { e->type | e->base, 0, 0, 0 };
	struct vtd_desc plain, flipped;
	unsigned int iqei;

	assert_int_equal(decode(qw, true, &plain), 0);
	assert_int_equal(plain.type, e->type);
	qw[bit / 64] ^= 1ULL << bit % 64;
	iqei = decode(qw, true, &flipped);
	if (in(e->ignored, bit)) {
		assert_int_equal(iqei, 0);
		assert_true(same(&plain, &flipped));
	} else if (!in(e->decoded, bit)) {
		if (iqei != VTD_IQEI_RESERVED)
			fail_msg("type %u bit %u: %u", e->type, bit, iqei);
	} else if ((bit == 4 || bit == 5) && e->grans != 15) {	/* granularities: a test below */
		return;
	} else if (bit == 69 && e->type == 2) {	/* an address mask of 32 */
		assert_int_equal(iqei, VTD_IQEI_RESERVED);
	} else {
		assert_int_equal(iqei, 0);
		if (same(&plain, &flipped))
			fail_msg("type %u bit %u is not decoded", e->type, bit);
	}
}

static void every_bit_is_decoded_ignored_or_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		for (unsigned int bit = 0; bit < 256; bit++)
			if (!is_type_bit(bit))
				check_bit(&types[i], bit);
}

static void granularities_are_legal_or_reserved(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].grans == 15)
			continue;
		for (uint64_t gran = 0; gran < 4; gran++) {
			uint64_t qw[4] = { types[i].type | gran << 4, 0, 0, 0 };
			struct vtd_desc d;

			assert_int_equal(decode(qw, true, &d),
					 types[i].grans >> gran & 1 ? 0 : VTD_IQEI_RESERVED);
		}
	}
}

static void unknown_types_and_narrow_queues_are_refused(void **state)
{
	for (unsigned int type = 0; type < 128; type++) {
		uint64_t qw[4] = { (type & 15) | (uint64_t)(type >> 4) << 9, 0, 0, 0 };
		const struct expected *e = NULL;
		struct vtd_desc d;

		for (size_t i = 0; i < ARRAY_SIZE(types); i++)
			if (types[i].type == type)
				e = &types[i];
		qw[0] |= e ? e->base : 0;
		assert_int_equal(decode(qw, true, &d), e ? 0 : VTD_IQEI_TYPE);
		assert_int_equal(decode(qw, false, &d),
				 !e ? VTD_IQEI_TYPE : e->wide ? VTD_IQEI_WIDTH : 0);
	}
}

static void context_fields(void **state)
{
	static const uint16_t ignored[4] = { 0, 4, 6, 7 };
	static const enum vtd_desc_scope scopes[4] = { 0, VTD_SCOPE_GLOBAL, VTD_SCOPE_DOMAIN,
						       VTD_SCOPE_DEVICE };
	struct vtd_desc d;

	for (uint64_t gran = 1; gran < 4; gran++) {
		for (uint64_t fm = 0; fm < 4; fm++) {
			uint64_t ids = 0xabcdULL << 16 | 0x1234ULL << 32;
			uint64_t qw[4] = { 1 | gran << 4 | ids | fm << 48 };

			assert_int_equal(decode(qw, false, &d), 0);
			assert_int_equal(d.scope, scopes[gran]);
			assert_int_equal(d.did, 0xabcd);
			assert_int_equal(d.sid, 0x1234);
			assert_int_equal(d.sid_ignore, ignored[fm]);
		}
	}
}

/*
 * Address and mask: naturally aligned ranges, whatever lower bits the guest leaves set. From
 * @every on it is every address.
 */
static void check_pages(unsigned int type, unsigned int max, unsigned int every)
{
	uint64_t seed = 7;

	for (unsigned int am = 0; am < 64; am++) {
		for (int n = 0; n < 50; n++) {
			uint64_t addr = test_random(&seed) & ~0xfffULL;
			uint64_t qw[4] = { type | 3 << 4 | 9ULL << 16, addr | am | (n & 1) << 6 };
			uint64_t size = am < 52 ? 4096ULL << am : 0;
			struct vtd_desc d;
			unsigned int iqei = decode(qw, true, &d);

			assert_int_equal(iqei, am <= max ? 0 : VTD_IQEI_RESERVED);
			if (iqei)
				continue;
			assert_int_equal(d.did, 9);
			if (am >= every) {
				assert_int_equal(d.scope, VTD_SCOPE_PASID);
				continue;
			}
			assert_int_equal(d.scope, VTD_SCOPE_PAGES);
			assert_true(d.npages == size / 4096);
			assert_true(d.addr == addr / size * size);
			assert_int_equal(d.leaf, n & 1);
		}
	}
}

static void page_ranges_are_aligned_and_limited(void **state)
{
	check_pages(2, 18, 64);
	/* CAP.MAMV is not about this: Linux invalidates 32 GiB of a process at once */
	check_pages(6, 63, 52);
}

static void wait_fields(void **state)
{
	uint64_t qw[4] = { 5 | 1 << 4 | 1 << 5 | 1 << 6 | 0xdeadbeefULL << 32, 0x123456789abcdefc };
	struct vtd_desc d;

	assert_int_equal(decode(qw, false, &d), 0);
	assert_true(d.wait.interrupt && d.wait.write_status);
	assert_int_equal(d.wait.status, 0xdeadbeef);
	assert_true(d.wait.status_addr.v == 0x123456789abcdefc);
	qw[0] = 5;
	assert_int_equal(decode(qw, true, &d), 0);
	assert_true(!d.wait.interrupt && !d.wait.write_status);
}

static void interrupt_fields(void **state)
{
	uint64_t seed = 5;

	for (unsigned int mask = 0; mask < 32; mask++) {
		uint64_t index = test_random(&seed) & 0xffff;
		uint32_t count = mask < 16 ? 1u << mask : 65536;
		uint64_t qw[4] = { 4 | 1 << 4 | (uint64_t)mask << 27 | index << 32 };
		struct vtd_desc d;

		assert_int_equal(decode(qw, mask & 1, &d), 0);
		assert_int_equal(d.num_irtes, count);
		assert_int_equal(d.first_irte, index / count * count);
		/* global: neither counts */
		qw[0] &= ~0x10ULL;
		assert_int_equal(decode(qw, mask & 1, &d), 0);
		assert_int_equal(d.num_irtes, 65536);
		assert_int_equal(d.first_irte, 0);
	}
}

static void pasid_fields(void **state)
{
	uint64_t qw[4] = { 6 | 2 << 4 | 0x4321ULL << 16 | 0xfedcbULL << 32 };
	struct vtd_desc d;

	assert_int_equal(decode(qw, true, &d), 0);
	assert_int_equal(d.scope, VTD_SCOPE_PASID);
	assert_int_equal(d.did, 0x4321);
	assert_int_equal(d.pasid, 0xfedcb);
	qw[0] = 7 | 1 << 4 | 0x4321ULL << 16 | 0xfedcbULL << 32;
	assert_int_equal(decode(qw, true, &d), 0);
	assert_int_equal(d.scope, VTD_SCOPE_PASID);
	assert_int_equal(d.did, 0x4321);
	assert_int_equal(d.pasid, 0xfedcb);
	qw[0] &= ~0x30ULL;
	assert_int_equal(decode(qw, true, &d), 0);
	assert_int_equal(d.scope, VTD_SCOPE_DOMAIN);
	qw[0] |= 0x30;
	assert_int_equal(decode(qw, true, &d), 0);
	assert_int_equal(d.scope, VTD_SCOPE_GLOBAL);
	qw[0] = 8 | 0x1234ULL << 16 | 0xfedcbULL << 32;
	assert_int_equal(decode(qw, true, &d), 0);
	assert_int_equal(d.sid, 0x1234);
	assert_int_equal(d.pasid, 0xfedcb);
	qw[0] = 3 | 0x1234ULL << 32;
	assert_int_equal(decode(qw, false, &d), 0);
	assert_int_equal(d.sid, 0x1234);
}

/* What Linux 7.2 sends, spelled out: nothing of it may be refused. */
static void descriptors_of_linux_are_taken(void **state)
{
	static const uint64_t sent[][2] = {
		{ 0x11, 0 },					/* context, global */
		{ 0x31 | 0x0010ULL << 32 | 7 << 16, 0 },	/* context, device */
		{ 0xd2, 0 },					/* IOTLB, global, drains */
		{ 0x37, 0 },					/* PASID cache, global */
		{ 0x17 | 1 << 16, 0 },				/* PASID cache of DID 1, PASID 0 */
		{ 0x26 | 1 << 16, 0 },				/* PASID IOTLB, all pages */
		{ 0x36 | 1 << 16, 0xffffe000 | 1 << 6 | 1 },	/* ... two pages, leaf */
		{ 0x14 | 5ULL << 32, 0 },			/* one interrupt entry */
		{ 0x25 | 2ULL << 32, 0x1000 },			/* wait with status */
		{ 0xa5 | 2ULL << 32, 0x1000 },			/* ... and page-request drain */
		{ 0x65 | 2ULL << 32, 0x1000 },			/* ... and fence */
		{ 0x1009 | 1 << 4 | 0x10 << 16 | 5ULL << 32, 7 << 3 },	/* page group, invalid */
	};

	for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
		uint64_t qw[4] = { sent[i][0], sent[i][1] };
		struct vtd_desc d;

		assert_int_equal(decode(qw, true, &d), 0);
	}
}

static void random_words_decode_alike_twice(void **state)
{
	uint64_t seed = 11;

	for (int n = 0; n < 200000; n++) {
		uint64_t qw[4] = { test_random(&seed) & test_random(&seed), test_random(&seed) };
		struct vtd_desc a, b;
		unsigned int iqei = decode(qw, n & 1, &a);

		assert_int_equal(iqei, decode(qw, n & 1, &b));
		assert_true(iqei <= 6 && (iqei || same(&a, &b)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_is_decoded_ignored_or_refused),
		cmocka_unit_test(granularities_are_legal_or_reserved),
		cmocka_unit_test(unknown_types_and_narrow_queues_are_refused),
		cmocka_unit_test(context_fields),
		cmocka_unit_test(page_ranges_are_aligned_and_limited),
		cmocka_unit_test(wait_fields),
		cmocka_unit_test(interrupt_fields),
		cmocka_unit_test(pasid_fields),
		cmocka_unit_test(descriptors_of_linux_are_taken),
		cmocka_unit_test(random_words_decode_alike_twice),
	};

	return cmocka_run_group_tests_name("vtd descriptors", tests, NULL, NULL);
}
