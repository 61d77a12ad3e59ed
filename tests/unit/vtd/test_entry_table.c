// SPDX-License-Identifier: BSD-3-Clause
/*
 * Root, context, PASID-directory and PASID-table entries: every bit by itself, and every
 * combination of the fields that decide, by units with different capabilities, asked for
 * emulated devices (nst_viommu_translate) and for passed-through ones (vtd_tables_lookup).
 *
 * What is expected comes from tables of bits typed from VT-d 4.1 s9.1 to s9.6 and a reading of
 * memory that shares nothing with src/vtd. Everything that translates is identity here.
 */
#include "translate_world.h"

#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#define PAGE_IOVA 0x345000ULL
#define PAGE_MASK 0x0000fffffffff000ULL

/* --- the tables -------------------------------------------------------------------------------- */

enum kind {
	FIELD,		  /* said in the model, or of no effect */
	RESERVED,
	SNOOP_WALK,	  /* reserved without ECAP.SMPWCS */
	SNOOP_PAGE,	  /* ... ECAP.SC */
	SUPERVISOR,	  /* ... ECAP.SRS, if there is a first stage */
	EXECUTE,	  /* ... ECAP.ERS, the same */
	EXTENDED_ACCESS,  /* ... ECAP.EAFS, the same */
	FIRST_RESERVED,	  /* reserved if there is a first stage */
	SECOND_RESERVED,  /* reserved if there is a second stage */
};

struct bits {
	uint8_t word, high, low;
	enum kind kind;
};

static const struct bits root_bits[] = {
	{ 0, 0, 0, FIELD }, { 0, 11, 1, RESERVED }, { 0, 47, 12, FIELD }, { 0, 63, 48, RESERVED },
};
static const struct bits legacy_root_bits[] = {
	{ 0, 0, 0, FIELD }, { 0, 11, 1, RESERVED }, { 0, 47, 12, FIELD }, { 0, 63, 48, RESERVED },
	{ 1, 63, 0, RESERVED },
};
static const struct bits context_bits[] = {
	{ 0, 4, 0, FIELD },		/* P FPD DTE PASIDE PRE */
	{ 0, 8, 5, RESERVED }, { 0, 11, 9, FIELD }, { 0, 47, 12, FIELD }, { 0, 63, 48, RESERVED },
	{ 1, 20, 0, FIELD },		/* RID_PASID RID_PRIV */
	{ 1, 63, 21, RESERVED }, { 2, 63, 0, RESERVED }, { 3, 63, 0, RESERVED },
};
static const struct bits legacy_context_bits[] = {
	{ 0, 3, 0, FIELD },		/* P FPD TT */
	{ 0, 11, 4, RESERVED }, { 0, 47, 12, FIELD }, { 0, 63, 48, RESERVED },
	{ 1, 6, 0, FIELD },		/* AW, available */
	{ 1, 7, 7, RESERVED }, { 1, 23, 8, FIELD }, { 1, 63, 24, RESERVED },
};
static const struct bits dir_bits[] = {
	{ 0, 1, 0, FIELD },		/* P FPD */
	{ 0, 11, 2, RESERVED }, { 0, 47, 12, FIELD }, { 0, 63, 48, RESERVED },
};
static const struct bits entry_bits[] = {
	{ 0, 8, 0, FIELD },		/* P FPD AW PGTT */
	{ 0, 9, 9, SECOND_RESERVED },	/* SSADE: there is no ECAP.SSADS */
	{ 0, 11, 10, RESERVED }, { 0, 47, 12, FIELD }, { 0, 63, 48, SECOND_RESERVED },
	{ 1, 15, 0, FIELD }, { 1, 22, 16, RESERVED },
	{ 1, 23, 23, SNOOP_WALK }, { 1, 24, 24, SNOOP_PAGE },
	{ 1, 63, 25, FIELD },		/* memory types: no ECAP.MTS, ignored */
	{ 2, 0, 0, SUPERVISOR }, { 2, 1, 1, EXECUTE },
	{ 2, 6, 2, FIELD },		/* FSPM WPE NXE SMEP */
	{ 2, 7, 7, EXTENDED_ACCESS }, { 2, 11, 8, RESERVED }, { 2, 47, 12, FIELD },
	{ 2, 63, 48, FIRST_RESERVED },
	{ 3, 63, 0, RESERVED }, { 4, 63, 0, RESERVED }, { 5, 63, 0, RESERVED },
	{ 6, 63, 0, RESERVED }, { 7, 63, 0, RESERVED },
};

/* Units: what one differs in from what NST_VTD_* asks for. */
struct caps {
	const char *name;
	unsigned int features;
	uint64_t no_cap, no_ecap, more_ecap;
};

static const struct caps units[] = {
	{ "first stage", 0, 0, 0, 0 },
	{ "second stage", NST_VTD_SECOND_STAGE, 0, 0, 0 },
	{ "all", ALL, 0, 0, 0 },
	{ "five levels", ALL | NST_VTD_FIVE_LEVEL, 0, 0, 0 },
	{ "no SRS", ALL, 0, VTD_ECAP_SRS, 0 },
	{ "no EAFS", ALL, 0, VTD_ECAP_EAFS, 0 },
	{ "no SMPWCS", ALL, 0, VTD_ECAP_SMPWCS, 0 },
	{ "no RPS", ALL, 0, VTD_ECAP_RPS, 0 },
	{ "no DT", ALL, 0, VTD_ECAP_DT, 0 },
	{ "ERS", ALL, 0, 0, VTD_ECAP_ERS },
	{ "SC", ALL, 0, 0, VTD_ECAP_SC },
	{ "no 39 bits", ALL, VTD_CAP_SAGAW_39, 0, 0 },
	{ "no 48 bits", ALL, VTD_CAP_SAGAW_48, 0, 0 },
};

/* --- the model --------------------------------------------------------------------------------- */

struct model {
	struct world *w;
	uint64_t ecap;
	unsigned int saw;	/* SAGAW */
	bool five_levels, legacy;
	bool quiet;		/* FPD was seen */
	bool exact;		/* a walk that begins must end well */
};

static bool first_stage_in(unsigned int pgtt)
{
	return pgtt == 1 || pgtt == 3;
}

static bool second_stage_in(unsigned int pgtt)
{
	return pgtt == 2 || pgtt == 3;
}

static bool is_reserved(const struct model *m, enum kind kind, unsigned int pgtt)
{
	switch (kind) {
	case RESERVED:
		return true;
	case SNOOP_WALK:
		return !(m->ecap >> 48 & 1);
	case SNOOP_PAGE:
		return !(m->ecap >> 7 & 1);
	case SUPERVISOR:
		return first_stage_in(pgtt) && !(m->ecap >> 31 & 1);
	case EXECUTE:
		return first_stage_in(pgtt) && !(m->ecap >> 30 & 1);
	case EXTENDED_ACCESS:
		return first_stage_in(pgtt) && !(m->ecap >> 34 & 1);
	case FIRST_RESERVED:
		return first_stage_in(pgtt);
	case SECOND_RESERVED:
		return second_stage_in(pgtt);
	default:
		return false;
	}
}

/* Is a bit set that is reserved, with an entry of @pgtt? */
static bool has_reserved(const struct model *m, const struct bits *bits, size_t count,
			 const uint64_t *words, unsigned int pgtt)
{
	for (size_t i = 0; i < count; i++)
		if (is_reserved(m, bits[i].kind, pgtt) &&
		    (words[bits[i].word] & GENMASK64(bits[i].high, bits[i].low)))
			return true;
	return false;
}

#define HAS_RESERVED(m, bits, words, pgtt) has_reserved(m, bits, ARRAY_SIZE(bits), words, pgtt)

static const uint64_t *words_at(struct model *m, uint64_t gpa, uint64_t bytes)
{
	return gpa > MEMORY - bytes ? NULL : at(m->w, gpa);
}

/* A present PASID-table entry. With several things wrong: bits that are always reserved, the
 * type, then bits that the type makes reserved. */
static unsigned int entry_reason(const struct model *m, const uint64_t *e, bool passed_through)
{
	unsigned int pgtt = e[0] >> 6 & 7, aw = e[0] >> 2 & 7, fspm = e[2] >> 2 & 3;

	if (HAS_RESERVED(m, entry_bits, e, 4))
		return 0x5a;
	if (pgtt == 4)
		return 0;
	if (pgtt != 1 && (pgtt > 3 || !pgtt || passed_through))
		return 0x5b;
	if (first_stage_in(pgtt) && fspm > m->five_levels)
		return 0x5b;
	if (first_stage_in(pgtt) && HAS_RESERVED(m, entry_bits, e, 1))
		return 0x5a;
	if (pgtt == 1)
		return 0;
	if (!(m->ecap >> (pgtt == 2 ? 46 : 26) & 1) || aw > 3 || !(m->saw >> aw & 1))
		return 0x5b;
	return HAS_RESERVED(m, entry_bits, e, pgtt) ? 0x5a : 0;
}

static unsigned int scalable_reason(struct model *m, bool passed_through)
{
	const uint64_t *root = words_at(m, ROOT + (RID >> 8) * 16, 16), *context, *dir, *entry;
	unsigned int reason;
	uint32_t pasid;

	if (!(root[0] & 1))
		return 0x39;
	if (HAS_RESERVED(m, root_bits, root, 0))
		return 0x3a;
	context = words_at(m, (root[0] & PAGE_MASK) + RID * 32, 32);
	if (!context)
		return 0x40;
	if (!(context[0] & 1))
		return 0x41;
	m->quiet = context[0] & 2;
	if (HAS_RESERVED(m, context_bits, context, 0))
		return 0x42;
	pasid = m->ecap >> 49 & 1 ? context[1] & 0xfffff : 0;
	if (pasid / 64 >= 128u << (context[0] >> 9 & 7))
		return 0x48;
	dir = words_at(m, (context[0] & PAGE_MASK) + pasid / 64 * 8, 8);
	if (!dir)
		return 0x50;
	if (!(dir[0] & 1))
		return 0x51;
	m->quiet |= dir[0] >> 1 & 1;
	if (HAS_RESERVED(m, dir_bits, dir, 0))
		return 0x52;
	entry = words_at(m, (dir[0] & PAGE_MASK) + pasid % 64 * 64, 64);
	if (!entry)
		return 0x58;
	m->quiet |= entry[0] >> 1 & 1;
	if (!(entry[0] & 1))
		return 0x59;
	reason = entry_reason(m, entry, passed_through);
	/* RID_PRIV, and SRE is clear: of requests, so it is not seen of passed-through devices */
	if (!reason && !passed_through && (context[1] >> 20 & 1) &&
	    first_stage_in(entry[0] >> 6 & 7) && !(entry[2] & 1))
		return 0x5d;
	return reason;
}

static unsigned int legacy_reason(struct model *m)
{
	const uint64_t *root = words_at(m, ROOT + (RID >> 8) * 16, 16), *context;
	unsigned int tt, aw;

	if (!(root[0] & 1))
		return 0x01;
	if (HAS_RESERVED(m, legacy_root_bits, root, 0))
		return 0x0a;
	context = words_at(m, (root[0] & PAGE_MASK) + RID * 16, 16);
	if (!context)
		return 0x09;
	if (!(context[0] & 1))
		return 0x02;
	m->quiet = context[0] & 2;
	if (HAS_RESERVED(m, legacy_context_bits, context, 0))
		return 0x0b;
	tt = context[0] >> 2 & 3;
	aw = context[1] & 7;
	if (tt == 3 || (tt == 1 && !(m->ecap >> 2 & 1)) || aw > 3 || !(m->saw >> aw & 1))
		return 0x03;
	return 0;
}

/* --- the unit ---------------------------------------------------------------------------------- */

/* Identity tables: first stage with 4 and 5 levels, second stage with 3 and 4. */
struct tables {
	uint64_t fs4, fs5, ss3, ss4;
};

static struct tables make_identity(struct world *w)
{
	struct tables t = { page(w), page(w), page(w), page(w) };

	*pte(w, t.fs4, PAGE_IOVA, 4, 2, 7) = (PAGE_IOVA & ~0x1fffffULL) | 0x87;
	*at(w, t.fs5) = t.fs4 | 7;
	*at(w, t.ss3) = 0x83;
	*at(w, t.ss4) = t.ss3 | 3;
	return t;
}

static struct world *create_unit(const struct caps *caps)
{
	struct world *w = create(caps->features);
	struct vtd_unit *u = to_vtd_unit(w->viommu);

	mutex_lock(&u->cmd_lock);
	vtd_set_caps(u, u->cap & ~caps->no_cap, (u->ecap & ~caps->no_ecap) | caps->more_ecap);
	mutex_unlock(&u->cmd_lock);
	return w;
}

static struct model model_of(struct world *w)
{
	uint64_t cap = reg(w, 8, 8);

	return (struct model){
		.w = w,
		.ecap = reg(w, 0x10, 8),
		.saw = cap >> 8 & 0x1f,
		.five_levels = cap >> 60 & 1,
	};
}

/* What the unit makes of a plain request: 0, or the reason it records; -1: refused silently. */
static int emulated(struct world *w)
{
	struct nst_translation out;
	uint64_t low, high;

	if (!translate(w, NO, PAGE_IOVA, true, &out)) {
		assert_int_equal(out.gpa.v, PAGE_IOVA);
		assert_false(reg(w, 0x34, 4) & 3);
		return 0;
	}
	if (!(reg(w, 0x34, 4) & 2))
		return -1;
	take_fault(w, &low, &high);
	assert_int_equal(low, PAGE_IOVA);
	/* a write, by the requester, without PASID: nothing else may be set */
	assert_int_equal(high & ~(0xffULL << 32), 1ULL << 63 | RID);
	return (int)(high >> 32 & 0xff);
}

static unsigned int passed_through(struct world *w)
{
	struct vtd_unit *u = to_vtd_unit(w->viommu);
	struct vtd_tables tables = vtd_tables_of(u);
	struct vtd_lookup lookup;

	return vtd_tables_lookup(&tables, RID, &lookup);
}

/* Empties the caches of the unit, which a request that was translated has filled. */
static void forget(struct world *w)
{
	set(w, 0x28, 8, 1ULL << 63 | 1ULL << 61);
}

/* A walk that begins is all that the entries have to say: where it ends is test_walk_table.c's. */
static bool begins_a_walk(const struct model *m, int reason)
{
	if (m->exact || !reason)
		return !reason;
	return reason >= 0x70 || (m->quiet && reason == -1) || (m->legacy && reason < 0x10);
}

static void check(struct model *m, const char *unit, const char *what, unsigned int bit)
{
	unsigned int want, host_want, host_got;
	int got;

	m->quiet = false;
	want = m->legacy ? legacy_reason(m) : scalable_reason(m, false);
	got = emulated(m->w);
	if (want ? got != (m->quiet ? -1 : (int)want) : !begins_a_walk(m, got))
		fail_msg("%s, %s bit %u: reason 0x%x, not 0x%x%s", unit, what, bit,
			 (unsigned int)got, want, m->quiet ? ", quiet" : "");
	if (!got)
		forget(m->w);
	host_want = m->legacy ? want : scalable_reason(m, true);
	host_got = passed_through(m->w);
	/* what a legacy type needs of a host is another matter */
	if (host_got != host_want && !(m->legacy && (!want || want == 0x03)))
		fail_msg("%s, %s bit %u: 0x%x passed through, not 0x%x", unit, what, bit, host_got,
			 host_want);
}

/* --- every bit --------------------------------------------------------------------------------- */

struct structure {
	const char *name;
	uint64_t gpa;
	unsigned int words;
	bool fpd;
};

static void flip_each(struct model *m, const char *unit, const struct structure *s)
{
	for (unsigned int bit = 0; bit < 64 * s->words; bit++) {
		uint64_t *word = at(m->w, s->gpa + bit / 64 * 8);
		uint64_t before = *word, first = *at(m->w, s->gpa);

		*word ^= BIT64(bit % 64);
		check(m, unit, s->name, bit);
		if (s->fpd)
			*at(m->w, s->gpa) |= 2;
		check(m, unit, s->name, bit);
		*at(m->w, s->gpa) = first;
		*word = before;
	}
	check(m, unit, s->name, 999);
}

static void make_entry(struct world *w, const struct tables *t, unsigned int pgtt)
{
	uint64_t *e = pasid_entry(w, 0);
	bool wide = reg(w, 8, 8) >> 10 & 1;

	memset(e, 0, 64);
	e[0] = 1 | (wide ? t->ss4 | 2 << 2 : t->ss3 | 1 << 2) | pgtt << 6;
	e[1] = 1;
	e[2] = t->fs4;
}

static void every_bit_of_scalable_mode(void **state)
{
	static const struct structure structures[] = {
		{ "root entry", ROOT, 1, false },
		{ "context entry", CONTEXT + RID * 32, 4, true },
		{ "directory entry", DIR, 1, true },
		{ "PASID entry", PASIDS, 8, true },
	};

	for (size_t n = 0; n < ARRAY_SIZE(units); n++) {
		struct world *w = create_unit(&units[n]);
		struct tables t = make_identity(w);
		struct model m = model_of(w);

		context(w);
		enable(w, 1);
		for (unsigned int pgtt = 0; pgtt < 8; pgtt++) {
			make_entry(w, &t, pgtt);
			for (size_t s = 0; s < ARRAY_SIZE(structures); s++)
				flip_each(&m, units[n].name, &structures[s]);
		}
		destroy(w);
	}
}

static void every_bit_of_legacy_mode(void **state)
{
	static const struct structure structures[] = {
		{ "root entry", ROOT, 2, false }, { "context entry", CONTEXT + RID * 16, 2, true },
	};

	for (size_t n = 0; n < ARRAY_SIZE(units); n++) {
		struct world *w = create_unit(&units[n]);
		struct tables t = make_identity(w);
		struct model m = model_of(w);
		uint64_t *entry = at(w, CONTEXT + RID * 16);

		m.legacy = true;
		*at(w, ROOT) = CONTEXT | 1;
		enable(w, 0);
		for (unsigned int i = 0; i < 32; i += n ? 3 : 1) {	/* every TT and AW */
			entry[0] = 1 | (i & 3) << 2 | (i >> 2 == 1 ? t.ss3 : t.ss4);
			entry[1] = i >> 2 | 7 << 8;
			for (size_t s = 0; s < ARRAY_SIZE(structures); s++)
				flip_each(&m, units[n].name, &structures[s]);
		}
		destroy(w);
	}
}

/* --- every combination ------------------------------------------------------------------------- */

/* Flags of a PASID entry: word and bit. */
static const struct { uint8_t word, bit; } flags[] = {
	{ 2, 0 }, { 2, 1 }, { 2, 4 }, { 2, 5 }, { 2, 6 }, { 2, 7 },	/* SRE ERE WPE NXE SMEP EAFE */
	{ 1, 23 }, { 1, 24 }, { 0, 9 },					/* PWSNP PGSNP SSADE */
};

static void every_combination_of_fields(void **state)
{
	unsigned int translated = 0, all = 8 * 8 * 4 << ARRAY_SIZE(flags);

	for (size_t n = 0; n < ARRAY_SIZE(units); n++) {
		struct world *w = create_unit(&units[n]);
		struct tables t = make_identity(w);
		struct model m = model_of(w);
		uint64_t *e = pasid_entry(w, 0);

		m.exact = true;
		context(w);
		enable(w, 1);
		/* all of them by the unit that has most, of the others a part */
		for (unsigned int i = 0; i < all; i += n == 3 ? 1 : 19) {
			unsigned int pgtt = i & 7, aw = i >> 3 & 7, fspm = i >> 6 & 3;

			memset(e, 0, 64);
			e[0] = 1 | aw << 2 | pgtt << 6 | (aw == 1 ? t.ss3 : t.ss4);
			e[1] = 1;
			e[2] = (fspm == 1 ? t.fs5 : t.fs4) | fspm << 2;
			for (size_t f = 0; f < ARRAY_SIZE(flags); f++)
				e[flags[f].word] |= (uint64_t)(i >> (8 + f) & 1) << flags[f].bit;
			check(&m, units[n].name, "fields", i);
			translated += !scalable_reason(&m, false);
		}
		destroy(w);
	}
	assert_true(translated > 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_scalable_mode),
		cmocka_unit_test(every_bit_of_legacy_mode),
		cmocka_unit_test(every_combination_of_fields),
	};

	return cmocka_run_group_tests_name("vtd entry tables", tests, NULL, NULL);
}
