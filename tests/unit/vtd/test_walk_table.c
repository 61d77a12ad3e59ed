// SPDX-License-Identifier: BSD-3-Clause
/*
 * The first-stage walk of nst_viommu_translate(), 4 and 5 levels: every right at every level
 * for every kind of request, every bit of every entry, every page size, addresses at the edges
 * of what is canonical and of the interrupt range. Each request is made twice, the second
 * time out of the cache; what is recorded is compared as a whole.
 *
 * The model is a walk that reads words one after the other, by VT-d 4.1 s3.6 and s9.8.
 */
#include "translate_world.h"

#include "spec/vtd_caps.h"
#include "vtd/unit.h"

#define TABLE(level) (TABLES + (uint64_t)(level) * 4096)
#define TARGET 0x40000000ULL /* no memory: the walk does not look at it */
#define PASID 5u
/* a different index at every level */
#define WALK_IOVA (1ULL << 48 | 2ULL << 39 | 3ULL << 30 | 4ULL << 21 | 5ULL << 12)

enum { A = 1 << 5, D = 1 << 6, PS = 1 << 7, EA = 1 << 10 };

struct request {
	uint64_t iova;
	uint32_t pasid;
	bool write, privileged;
};

/* What the PASID entry and the unit say. */
struct setup {
	unsigned int levels;
	bool sre, wpe, eafe;
	bool no_1g;
};

struct outcome {
	unsigned int reason;
	uint64_t gpa, left; /* to the end of the page */
	/* entries that were looked at, and what the last one is by */
	uint64_t entries[5], before[5];
	unsigned int visited;
};

static unsigned int level_shift(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

/* --- the model --------------------------------------------------------------------------------- */

/* Bits that must be 0 in an entry of @level: 48 address bits, and what a page size leaves. */
static uint64_t reserved_bits(unsigned int level, uint64_t entry, bool no_1g)
{
	uint64_t high = 0x000f000000000000;

	if (level >= 4)
		return high | PS;
	if (level == 3 && (entry & PS))
		return high | 0x3fffe000 | (no_1g ? PS : 0);
	if (level == 2 && (entry & PS))
		return high | 0x1fe000;
	return high;
}

static bool is_canonical(uint64_t iova, unsigned int levels)
{
	uint64_t upper = iova >> (levels == 5 ? 56 : 47);

	return !upper || upper == (levels == 5 ? 0xff : 0x1ffff);
}

static unsigned int walk(struct world *w, const struct setup *s, const struct request *r,
			 struct outcome *o)
{
	uint64_t table = TABLE(s->levels);
	bool writable = true;

	for (unsigned int level = s->levels;; level--) {
		uint64_t offset = (r->iova >> level_shift(level) & 511) * 8, entry;
		bool leaf;

		if (table >= MEMORY)
			return level == s->levels ? 0x73 : 0x70;
		entry = *at(w, table + offset);
		o->entries[o->visited] = table + offset;
		o->before[o->visited++] = entry;
		if (!(entry & 1))
			return 0x71;
		if (entry & reserved_bits(level, entry, s->no_1g))
			return 0x72;
		if (!r->privileged && !(entry & 4))
			return 0x81;
		writable &= entry >> 1 & 1;
		leaf = level == 1 || (level <= 3 && (entry & PS));
		table = entry & 0x0000fffffffff000;
		if (!leaf)
			continue;
		if (r->write && !writable && (!r->privileged || s->wpe))
			return 0x85;
		o->left = BIT64(level_shift(level)) - r->iova % BIT64(level_shift(level));
		o->gpa = table / BIT64(level_shift(level)) * BIT64(level_shift(level)) +
			 r->iova % BIT64(level_shift(level));
		return o->gpa >> 20 == 0xfee ? 0x87 : 0;
	}
}

static struct outcome expect(struct world *w, const struct setup *s, const struct request *r)
{
	struct outcome o = { 0 };

	if (r->privileged && !s->sre)
		o.reason = 0x5d;
	else if (!is_canonical(r->iova, s->levels))
		o.reason = 0x80;
	else
		o.reason = walk(w, s, r, &o);
	return o;
}

/* --- the unit ---------------------------------------------------------------------------------- */

static struct world *world_of(const struct setup *s)
{
	struct world *w = create(s->levels == 5 ? NST_VTD_FIVE_LEVEL : 0);
	struct vtd_unit *u = to_vtd_unit(w->viommu);

	mutex_lock(&u->cmd_lock);
	vtd_set_caps(u, u->cap & ~(s->no_1g ? VTD_CAP_FS1GP : 0), u->ecap);
	mutex_unlock(&u->cmd_lock);
	context(w);
	set_entry(w, PASID, 1, 1, 0, 0);
	set_entry(w, 0, 1, 1, 0, 0);
	enable(w, 1);
	return w;
}

static void set_up(struct world *w, const struct setup *s)
{
	uint64_t word = TABLE(s->levels) | s->sre | (uint64_t)(s->levels - 4) << 2 |
			(uint64_t)s->wpe << 4 | (uint64_t)s->eafe << 7;

	pasid_entry(w, 0)[2] = pasid_entry(w, PASID)[2] = word;
}

/* The whole upper half of a fault record. */
static uint64_t record_of(const struct request *r, unsigned int reason)
{
	uint64_t pasid = 0;

	if (r->pasid != NO)	/* PV, PP, PRIV */
		pasid = (uint64_t)r->pasid << 40 | 1ULL << 31 | (uint64_t)r->privileged << 29;
	return 1ULL << 63 | (uint64_t)!r->write << 62 | (uint64_t)reason << 32 | pasid | RID;
}

static void ask(struct world *w, const struct setup *s, const struct request *r,
		const struct outcome *want)
{
	struct nst_translate_request req = {
		.rid = RID, .pasid = r->pasid, .iova = { r->iova }, .write = r->write,
		.privileged = r->privileged,
	};
	struct nst_translation out;
	uint64_t low, high;
	int ret = nst_viommu_translate(w->viommu, &req, &out);

	if (ret != (want->reason ? -EFAULT : 0))
		fail_msg("iova 0x%llx, %u levels: %d, not reason 0x%x",
			 (unsigned long long)r->iova, s->levels, ret, want->reason);
	if (!ret) {
		assert_int_equal(out.gpa.v, want->gpa);
		assert_int_equal(out.size, want->left);
		assert_true(r->write ? out.write : out.read);
		return;
	}
	take_fault(w, &low, &high);
	assert_int_equal(low, r->iova & ~0xfffULL);
	assert_int_equal(high, record_of(r, want->reason));
}

/* A and EA in all entries, D in the last of a write; of a refused one perhaps A and EA of some. */
static void check_bits(struct world *w, const struct setup *s, const struct request *r,
		       const struct outcome *o)
{
	for (unsigned int i = 0; i < o->visited; i++) {
		uint64_t now = *at(w, o->entries[i]), all = A | (s->eafe ? EA : 0);
		bool last = i == o->visited - 1;

		if (!o->reason || o->reason == 0x87)
			assert_int_equal(now, o->before[i] | all | (last && r->write ? D : 0));
		else
			assert_true(now == o->before[i] || now == (o->before[i] | all));
	}
}

static unsigned int check(struct world *w, const struct setup *s, const struct request *r)
{
	struct outcome want = expect(w, s, r);

	set(w, 0x28, 8, 1ULL << 63 | 1ULL << 61);	/* empties all caches */
	ask(w, s, r, &want);
	ask(w, s, r, &want);
	check_bits(w, s, r, &want);
	if (!r->write && !want.reason) {	/* what the read left in the cache must not hide D */
		struct request again = *r;
		struct outcome then;

		again.write = true;
		then = expect(w, s, &again);
		ask(w, s, &again, &then);
		check_bits(w, s, &again, &then);
	}
	for (unsigned int i = 0; i < want.visited; i++)
		*at(w, want.entries[i]) = want.before[i];
	return want.reason;
}

/* --- rights ------------------------------------------------------------------------------------ */

/* Tables down to a leaf at level @leaf; of each entry two bits of @rights are R/W and U/S. */
static void make_tables(struct world *w, unsigned int levels, unsigned int leaf, unsigned int rights)
{
	for (unsigned int level = levels; level >= leaf; level--, rights >>= 2) {
		uint64_t *e = at(w, TABLE(level) + (WALK_IOVA >> level_shift(level) & 511) * 8);

		*e = 1 | (rights & 3) << 1;
		*e |= level > leaf ? TABLE(level - 1) : TARGET | (leaf > 1 ? PS : 0);
	}
}

static uint64_t iova_of(unsigned int levels)
{
	return levels == 5 ? WALK_IOVA | 0x678 : (WALK_IOVA & (BIT64(47) - 1)) | 0x678;
}

static void every_right_at_every_level(void **state)
{
	unsigned int seen[256] = { 0 };

	for (unsigned int n = 0; n < 2 * 3 * 16; n++) {
		struct setup s = { .levels = 4 + n % 2, .sre = n / 6 & 1, .wpe = n / 6 & 2,
				   .eafe = n / 6 & 4, .no_1g = n / 6 & 8 };
		unsigned int leaf = 1 + n / 2 % 3;
		struct world *w = world_of(&s);

		set_up(w, &s);
		for (unsigned int i = 0; i < 4u << 2 * (s.levels - leaf + 1); i++) {
			struct request r = { .iova = iova_of(s.levels), .pasid = PASID,
					     .write = i & 1, .privileged = i & 2 };

			make_tables(w, s.levels, leaf, i >> 2);
			seen[check(w, &s, &r)]++;
		}
		destroy(w);
	}
	assert_true(seen[0] && seen[0x5d] && seen[0x72] && seen[0x81] && seen[0x85]);
}

/* --- bits -------------------------------------------------------------------------------------- */

static void every_bit_of_every_entry(void **state)
{
	unsigned int seen[256] = { 0 };

	for (unsigned int n = 0; n < 2 * 3 * 8; n++) {
		struct setup s = { .levels = 4 + n % 2, .sre = true, .wpe = true,
				   .eafe = n / 6 & 1 };
		struct request r = { .iova = iova_of(s.levels), .pasid = n / 6 & 4 ? NO : PASID,
				     .write = n / 6 & 2 };
		unsigned int leaf = 1 + n / 2 % 3;
		struct world *w = world_of(&s);

		set_up(w, &s);
		for (unsigned int i = 0; i < 64 * (s.levels - leaf + 1); i++) {
			unsigned int level = leaf + i / 64;

			make_tables(w, s.levels, leaf, 0x3ff);
			*at(w, TABLE(level) + (r.iova >> level_shift(level) & 511) * 8) ^=
				BIT64(i % 64);
			seen[check(w, &s, &r)]++;
		}
		destroy(w);
	}
	assert_true(seen[0] && seen[0x70] && seen[0x71] && seen[0x72] && seen[0x81] && seen[0x85]);
}

/* --- addresses --------------------------------------------------------------------------------- */

/* Both ends of both halves for each width, with tables that lead there. */
static void canonical_addresses(void **state)
{
	static const struct {
		uint64_t iova;
		bool of_4, of_5;
	} cases[] = {
		{ 0, true, true },
		{ 0x00007ffffffff000, true, true },
		{ 0x0000800000000000, false, true },
		{ 0x0000ffffffffffff, false, true },
		{ 0x00fffffffffff000, false, true },
		{ 0x0100000000000000, false, false },
		{ 0x01ffffffffffffff, false, false },
		{ 0x7fffffffffffffff, false, false },
		{ 0x8000000000000000, false, false },
		{ 0xfeffffffffffffff, false, false },
		{ 0xff00000000000000, false, true },
		{ 0xffff000000000000, false, true },
		{ 0xffff7fffffffffff, false, true },
		{ 0xffff800000000000, true, true },
		{ 0xffffffffffffffff, true, true },
	};

	for (unsigned int n = 0; n < 2 * ARRAY_SIZE(cases); n++) {
		struct setup s = { .levels = 4 + n % 2 };
		struct request r = { .iova = cases[n / 2].iova, .pasid = PASID, .write = true };
		bool good = s.levels == 5 ? cases[n / 2].of_5 : cases[n / 2].of_4;
		struct world *w = world_of(&s);

		set_up(w, &s);
		/* one table for all levels: every index leads on */
		for (unsigned int i = 0; i < 512; i++)
			for (unsigned int level = 1; level <= 5; level++)
				*at(w, TABLE(level) + 8 * i) =
					(level > 1 ? TABLE(level - 1) : TARGET) | 7;
		assert_int_equal(check(w, &s, &r), good ? 0 : 0x80);
		destroy(w);
	}
}

/* Pages of every size that lead to, over and beside the interrupt range; and asking for it. */
static void the_interrupt_range(void **state)
{
	static const uint64_t targets[] = { 0xfedff000, 0xfee00000, 0xfee55000, 0xfeeff000, 0xfef00000,
					    0x1fee00000 };
	struct setup s = { .levels = 4 };
	struct world *w = world_of(&s);

	set_up(w, &s);
	make_tables(w, 4, 1, 0xff);
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		for (unsigned int n = 0; n < 4; n++) {
			struct request r = { .iova = iova_of(4), .pasid = n & 1 ? NO : PASID,
					     .write = n & 2 };

			*at(w, TABLE(1) + (r.iova >> 12 & 511) * 8) = targets[i] | 7;
			assert_int_equal(check(w, &s, &r),
					 targets[i] >= 0xfee00000 && targets[i] < 0xfef00000 ? 0x87 : 0);
		}
	}
	/* a page of 2 MiB reaches into it: by the address, not by the page */
	make_tables(w, 4, 2, 0xff);
	for (uint64_t offset = 0; offset < 0x200000; offset += 0x1000) {
		struct request r = { .iova = (iova_of(4) & ~0x1fffffULL) + offset, .pasid = PASID };

		*at(w, TABLE(2) + (r.iova >> 21 & 511) * 8) = 0xfee00000 | PS | 7;
		assert_int_equal(check(w, &s, &r), offset < 0x100000 ? 0x87 : 0);
	}
	/* requests with PASID that ask for it are translated; those without are interrupts */
	for (unsigned int level = 1; level <= 4; level++)
		*at(w, TABLE(level) + (0xfee55000ULL >> level_shift(level) & 511) * 8) =
			(level > 1 ? TABLE(level - 1) : TARGET) | 7;
	assert_int_equal(check(w, &s, &(struct request){ .iova = 0xfee55000, .pasid = PASID,
							 .write = true }), 0);
	destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_right_at_every_level),
		cmocka_unit_test(every_bit_of_every_entry),
		cmocka_unit_test(canonical_addresses),
		cmocka_unit_test(the_interrupt_range),
	};

	return cmocka_run_group_tests_name("vtd walk tables", tests, NULL, NULL);
}
