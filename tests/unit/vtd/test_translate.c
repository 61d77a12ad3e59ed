// SPDX-License-Identifier: BSD-3-Clause
/*
 * nst_viommu_translate(): what every kind of table makes of a request, and what is
 * recorded of those that are refused. Reasons are numbers of VT-d 4.1 s7.1.3 here.
 */
#include "translate_world.h"

static void untranslated_and_interrupts(void **state)
{
	struct world *w = create(0);
	struct nst_translation out;

	assert_int_equal(goes_to(w, NO, 0x123456789, true), 0x123456789);
	assert_int_equal(translate(w, NO, 0xfedfff00, false, &out), 0);
	assert_int_equal(out.size, 0x100); /* not into the interrupt range */
	enable(w, 1);
	assert_int_equal(translate(w, NO, 0xfee00004, true, &out), 0);
	assert_true(out.interrupt && out.write && !out.read);
	assert_int_equal(out.gpa.v, 0xfee00004);
	assert_int_equal(out.size, 0xffffc);
	assert_int_equal(translate(w, NO, 0xfee00004, false, &out), -EFAULT);
	destroy(w);
}

static void first_stage_bits_and_faults(void **state)
{
	struct world *w = create(0);
	uint64_t root = first_stage(w), *leaf = fs_pte(w, root, IOVA);

	enable(w, 1);
	assert_int_equal(goes_to(w, NO, IOVA + 0x123, false), DATA + 0x123);
	assert_int_equal(*leaf, DATA | 0x27); /* A */
	assert_int_equal(goes_to(w, NO, IOVA + 0x123, true), DATA + 0x123);
	assert_int_equal(*leaf, DATA | 0x67); /* and D */
	faults(w, NO, IOVA + 0x1000, true, 0x71);
	faults(w, NO, 1ULL << 47, false, 0x80);
	*fs_pte(w, root, IOVA + 0x2000) = DATA | 5;
	faults(w, NO, IOVA + 0x2000, true, 0x85);
	assert_int_equal(goes_to(w, NO, IOVA + 0x2000, false), DATA);
	*fs_pte(w, root, IOVA + 0x3000) = DATA | 3;
	faults(w, NO, IOVA + 0x3000, false, 0x81);
	*fs_pte(w, root, IOVA + 0x4000) = DATA | 1ULL << 50 | 7;
	faults(w, NO, IOVA + 0x4000, false, 0x72);
	*fs_pte(w, root, IOVA + 0x5000) = 0xfee00000 | 7;
	faults(w, NO, IOVA + 0x5000, true, 0x87);
	*pte(w, root, IOVA, 4, 2, 7) = BEYOND | 7;
	invalidate(w, 2 | 1 << 4, 0);
	faults(w, NO, IOVA, true, 0x70);
	pasid_entry(w, 0)[2] = BEYOND;
	invalidate(w, 7 | 3 << 4, 0);
	faults(w, NO, IOVA, true, 0x73);
	destroy(w);
}

static void large_pages(void **state)
{
	struct world *w = create(ALL);
	uint64_t root = first_stage(w), ss = page(w);
	struct nst_translation out;

	*pte(w, root, 1ULL << 30, 4, 2, 7) = 0x200000 | 0x87;
	*pte(w, root, 2ULL << 30, 4, 3, 7) = 0x87;
	enable(w, 1);
	assert_int_equal(translate(w, NO, (1ULL << 30) + 0x1234, true, &out), 0);
	assert_int_equal(out.gpa.v, 0x201234);
	assert_int_equal(out.size, 0x200000 - 0x1234);
	assert_int_equal(translate(w, NO, (2ULL << 30) + 0x1234, true, &out), 0);
	assert_int_equal(out.gpa.v, 0x1234);
	assert_int_equal(out.size, (1ULL << 30) - 0x1234);
	set_entry(w, 0, 2, 2, 0, ss);
	*pte(w, ss, 1ULL << 30, 4, 2, 3) = 0x400000 | 0x83;
	*pte(w, ss, 2ULL << 30, 4, 3, 3) = 0x40000000 | 0x83;
	invalidate(w, 7 | 3 << 4, 0);
	assert_int_equal(goes_to(w, NO, (1ULL << 30) + 0x1234, true), 0x401234);
	assert_int_equal(goes_to(w, NO, (2ULL << 30) + 0x1234, true), 0x40001234);
	*pte(w, ss, 1ULL << 30, 4, 2, 3) = 0x401000 | 0x83;
	invalidate(w, 2 | 1 << 4, 0);
	faults(w, NO, 1ULL << 30, true, 0x7a);
	destroy(w);
}

static void structures_on_the_way(void **state)
{
	struct world *w = create(ALL);

	enable(w, 1);
	faults(w, NO, IOVA, true, 0x39);
	*at(w, ROOT) = CONTEXT | 3;
	faults(w, NO, IOVA, true, 0x3a);
	*at(w, ROOT) = CONTEXT | 1;
	faults(w, NO, IOVA, true, 0x41);
	at(w, CONTEXT + RID * 32)[0] = DIR | 1;
	faults(w, NO, IOVA, true, 0x51);
	faults(w, 3, IOVA, true, 0x45); /* PASIDE is clear */
	at(w, CONTEXT + RID * 32)[0] |= 8;
	faults(w, 0x12345, IOVA, true, 0x46);
	*at(w, DIR) = PASIDS | 1;
	faults(w, NO, IOVA, true, 0x59);
	set_entry(w, 0, 5, 1, 0, 0);
	faults(w, NO, IOVA, true, 0x5b);
	pasid_entry(w, 0)[0] |= 2; /* FPD */
	refused_quietly(w, IOVA);
	set_entry(w, 0, 4, 1, 0, 0);
	assert_int_equal(goes_to(w, NO, IOVA, true), IOVA);
	srtp(w, ROOT | 3 << 10); /* abort mode */
	refused_quietly(w, IOVA);
	srtp(w, ROOT | 2 << 10);
	faults(w, NO, IOVA, true, 0x30);
	destroy(w);
}

static void types_that_are_not_offered(void **state)
{
	struct world *w = create(0);
	uint64_t ss = page(w);

	context(w);
	enable(w, 1);
	set_entry(w, 0, 2, 1, 0, ss);
	faults(w, NO, IOVA, true, 0x5b);
	set_entry(w, 0, 3, 1, page(w), ss);
	faults(w, NO, IOVA, true, 0x5b);
	set_entry(w, 0, 1, 1, page(w) | 1 << 2, 0); /* five levels */
	faults(w, NO, IOVA, true, 0x5b);
	destroy(w);
}

static void five_levels(void **state)
{
	struct world *w = create(NST_VTD_FIVE_LEVEL);
	uint64_t root = page(w), iova = 0x00ab123456789000;

	context(w);
	set_entry(w, 0, 1, 1, root | 1 << 2, 0);
	*pte(w, root, iova, 5, 1, 7) = DATA | 7;
	enable(w, 1);
	assert_int_equal(goes_to(w, NO, iova, true), DATA);
	faults(w, NO, 1ULL << 56, true, 0x80);
	destroy(w);
}

static void second_stage(void **state)
{
	struct world *w = create(ALL);
	uint64_t ss = page(w);

	context(w);
	set_entry(w, 0, 2, 1, 0, ss);
	*ss_pte(w, ss, IOVA) = DATA | 3;
	*ss_pte(w, ss, IOVA + 0x1000) = DATA | 1;
	*ss_pte(w, ss, IOVA + 0x2000) = DATA | 2;
	*ss_pte(w, ss, IOVA + 0x3000) = DATA | 1 << 11 | 3;
	enable(w, 1);
	assert_int_equal(goes_to(w, NO, IOVA, true), DATA);
	assert_int_equal(*ss_pte(w, ss, IOVA), DATA | 3); /* no A/D without SSADS */
	assert_int_equal(goes_to(w, NO, IOVA + 0x1000, false), DATA);
	faults(w, NO, IOVA + 0x1000, true, 0x85);
	assert_int_equal(goes_to(w, NO, IOVA + 0x2000, true), DATA);
	faults(w, NO, IOVA + 0x2000, false, 0x86);
	faults(w, NO, IOVA + 0x3000, false, 0x7a);
	faults(w, NO, IOVA + 0x4000, false, 0x79);
	faults(w, NO, 1ULL << 48, false, 0x83);
	pasid_entry(w, 0)[0] = 1 | 2 << 2 | 2 << 6 | BEYOND;
	invalidate(w, 7 | 3 << 4, 0);
	faults(w, NO, IOVA + 0x8000, false, 0x7b);
	pasid_entry(w, 0)[0] = 1 | 3 << 2 | 2 << 6 | ss; /* AW 57: not in SAGAW */
	invalidate(w, 7 | 3 << 4, 0);
	faults(w, NO, IOVA, false, 0x5b);
	destroy(w);
}

/* Every table of the first stage, and its page, at a guest address other than where it is. */
static void nested(void **state)
{
	const uint64_t shift = 0x10000000;
	struct world *w = create(ALL);
	uint64_t fs = page(w), ss = page(w), first = fs, gpa, *leaf;

	context(w);
	set_entry(w, 0, 3, 1, fs + shift, ss);
	*fs_pte(w, fs, IOVA) = (DATA + shift) | 7;
	for (uint64_t table = first; table < w->next; table += 4096) /* those of ss are more */
		*ss_pte(w, ss, table + shift) = table | 3;
	for (int level = 4; level > 1; level--)
		*pte(w, fs, IOVA, 4, level, 7) |= 7;
	enable(w, 1);
	/* entries hold guest addresses: move them */
	gpa = fs;
	for (int level = 4; level > 1; level--) {
		uint64_t *e = at(w, gpa + (IOVA >> (12 + 9 * (level - 1)) & 511) * 8);

		gpa = *e & 0xffffffffff000;
		*e += shift;
	}
	leaf = at(w, gpa + (IOVA >> 12 & 511) * 8);
	faults(w, NO, IOVA, true, 0x79); /* the page itself is not mapped yet */
	*ss_pte(w, ss, DATA + shift) = DATA | 1;
	faults(w, NO, IOVA, true, 0x85);
	assert_int_equal(goes_to(w, NO, IOVA + 8, false), DATA + 8);
	*ss_pte(w, ss, DATA + shift) = DATA | 3;
	invalidate(w, 2 | 2 << 4 | 1 << 16, 0);
	assert_int_equal(goes_to(w, NO, IOVA + 8, true), DATA + 8);
	assert_int_equal(*leaf & 0xfff, 0x67);
	*leaf &= ~0x60ULL;
	*ss_pte(w, ss, gpa + shift) = gpa | 1; /* A/D cannot be set */
	invalidate(w, 2 | 1 << 4, 0);
	faults(w, NO, IOVA, true, 0x77);
	*ss_pte(w, ss, gpa + shift) = gpa | 2;
	faults(w, NO, IOVA, true, 0x76);
	*ss_pte(w, ss, fs + shift) = fs | 2;
	faults(w, NO, IOVA, true, 0x75);
	pasid_entry(w, 0)[0] = 1 | 1 << 2 | 3 << 6 | ss; /* three levels: 39 bits */
	pasid_entry(w, 0)[2] = 1ULL << 39;
	invalidate(w, 7 | 3 << 4, 0);
	faults(w, NO, IOVA, true, 0x74);
	destroy(w);
}

static void legacy(void **state)
{
	struct world *w = create(0);
	uint64_t ss = page(w), ss3 = page(w), *ctx = at(w, CONTEXT + RID * 16);

	enable(w, 0);
	faults(w, NO, IOVA, true, 0x01);
	faults(w, 3, IOVA, true, 0x31);
	at(w, ROOT)[1] = 1;
	*at(w, ROOT) = CONTEXT | 1;
	faults(w, NO, IOVA, true, 0x0a);
	at(w, ROOT)[1] = 0;
	faults(w, NO, IOVA, true, 0x02);
	ctx[0] = ss | 1;
	ctx[1] = 2 | 7 << 8; /* AW 48, domain 7 */
	*ss_pte(w, ss, IOVA) = DATA | 3;
	assert_int_equal(goes_to(w, NO, IOVA, true), DATA);
	faults(w, NO, IOVA + 0x1000, true, 0x05);
	faults(w, NO, IOVA + 0x1000, false, 0x06);
	faults(w, NO, 1ULL << 48, false, 0x04);
	*ss_pte(w, ss, IOVA + 0x1000) = DATA | 3 | 1ULL << 11;
	faults(w, NO, IOVA + 0x1000, true, 0x0c);
	*ss_pte(w, ss, IOVA + 0x2000) = 0xfee00000 | 3;
	faults(w, NO, IOVA + 0x2000, true, 0x0e);
	*pte(w, ss, IOVA, 4, 2, 3) = BEYOND | 3;
	faults(w, NO, IOVA + 0x3000, true, 0x07);
	ctx[1] = 1 | 7 << 8;
	ctx[0] = ss3 | 1;
	*pte(w, ss3, 0x7ffffff000, 3, 1, 3) = DATA | 3;
	invalidate(w, 1 | 3 << 4 | (uint64_t)RID << 32, 0);
	assert_int_equal(goes_to(w, NO, 0x7ffffff000, true), DATA);
	faults(w, NO, 1ULL << 39, true, 0x04);
	ctx[1] = 3;
	invalidate(w, 1 | 1 << 4, 0);
	faults(w, NO, IOVA, true, 0x03);
	ctx[1] = 2;
	ctx[0] = 1 | 3 << 2;
	faults(w, NO, IOVA, true, 0x03);
	ctx[0] = 1 | 2 << 2;
	assert_int_equal(goes_to(w, NO, IOVA, true), IOVA);
	ctx[0] = 1 | 1 << 4;
	invalidate(w, 1 | 1 << 4, 0);
	faults(w, NO, IOVA, true, 0x0b);
	destroy(w);
}

/* --- privileges ------------------------------------------------------------------------------ */

static int ask(struct world *w, uint32_t pasid, bool privileged, bool write)
{
	struct nst_translate_request req = {
		.rid = RID, .pasid = pasid, .iova = { IOVA }, .write = write,
		.privileged = privileged,
	};
	struct nst_translation out;
	int ret = nst_viommu_translate(w->viommu, &req, &out);
	uint64_t low, high;

	if (!ret)
		return 0;
	take_fault(w, &low, &high);
	assert_int_equal(high >> 29 & 1, privileged);
	return (int)(high >> 32 & 0xff);
}

/* User or supervisor page, writable or not, asked by both, with WPE and without, twice: the
 * second time out of the cache. */
static void privileges(void **state)
{
	for (unsigned int n = 0; n < 64; n++) {
		bool user_page = n & 1, rw = n & 2, privileged = n & 4, write = n & 8;
		bool wpe = n & 16, sre = n & 32;
		struct world *w = create(ALL);
		uint64_t root = page(w);
		int want = 0;

		context(w);
		set_entry(w, 5, 1, 1, root | (sre ? 1 : 0) | (wpe ? 0x10 : 0), 0);
		*fs_pte(w, root, IOVA) = DATA | 1 | (rw ? 2 : 0) | (user_page ? 4 : 0);
		enable(w, 1);
		if (privileged && !sre)
			want = 0x5d;
		else if (!privileged && !user_page)
			want = 0x81;
		else if (write && !rw && (!privileged || wpe))
			want = 0x85;
		assert_int_equal(ask(w, 5, privileged, write), want);
		assert_int_equal(ask(w, 5, privileged, write), want);
		/* what one may is not what the other may */
		want = sre && !privileged ? (write && !rw && wpe ? 0x85 : 0)
					  : (user_page ? (write && !rw ? 0x85 : 0) : 0x81);
		if (sre || privileged)
			assert_int_equal(ask(w, 5, !privileged, write), want);
		destroy(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(untranslated_and_interrupts),
		cmocka_unit_test(first_stage_bits_and_faults),
		cmocka_unit_test(large_pages),
		cmocka_unit_test(structures_on_the_way),
		cmocka_unit_test(types_that_are_not_offered),
		cmocka_unit_test(five_levels),
		cmocka_unit_test(second_stage),
		cmocka_unit_test(nested),
		cmocka_unit_test(legacy),
		cmocka_unit_test(privileges),
	};

	return cmocka_run_group_tests_name("vtd translate", tests, NULL, NULL);
}
