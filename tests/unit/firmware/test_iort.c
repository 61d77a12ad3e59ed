// SPDX-License-Identifier: BSD-3-Clause
/*
 * The IORT against a literal, against its limits, against a reader of its own that follows
 * every requester id the way an operating system does, and read back by ACPICA's iasl.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "iasl.h"

#include <nestor/firmware.h>

#include <errno.h>
#include <string.h>

#define OEM { .id = "BOCHS", .table_id = "BXPC", .revision = 0x100 }

static const uint32_t its[] = { 0 };
static const struct nst_rid_range rids[] = { { 0x200, 0x2ff }, { 0x10, 0x1f } };
static const struct nst_gpa_range window = { 0x8000000, 0x100000 };

static struct nst_firmware_smmuv3 make_unit(void)
{
	return (struct nst_firmware_smmuv3){
		.base = 0x10000000,
		.model = NST_SMMUV3_MODEL_HI161X,
		.coherent = true,
		.event_gsiv = 0x6a,
		.has_msis = true,
		.msi_device_id = 7,
		.rids = rids,
		.num_rids = 2,
	};
}

/* Arm DEN 0049E.e, written out by hand: one ITS, one unit with a window, one root complex. */
static const uint8_t one_unit[] = {
	'I', 'O', 'R', 'T', 0x44, 1, 0, 0, 6, 0xa9, 'B', 'O', 'C', 'H', 'S', ' ',
	'B', 'X', 'P', 'C', ' ', ' ', ' ', ' ', 0, 1, 0, 0, 'N', 'S', 'T', 'R', 1, 0, 0, 0,
	4, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0,
	/* 0x30 ITS group */
	0, 0x18, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
	/* 0x48 SMMUv3 */
	4, 0x6c, 0, 5, 1, 0, 0, 0, 2, 0, 0, 0, 0x44, 0, 0, 0,
	0, 0, 0, 0x10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	1, 0, 0, 0, 0x6a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
	0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0x30, 0, 0, 0, 1, 0, 0, 0,
	/* 0xb4 reserved memory range: device memory, not to be remapped */
	6, 0x44, 0, 3, 2, 0, 0, 0, 1, 0, 0, 0, 0x1c, 0, 0, 0,
	4, 0, 0, 0, 1, 0, 0, 0, 0x30, 0, 0, 0,
	0, 0, 0, 0, 0xef, 0xff, 0, 0, 0x10, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* 0xf8 root complex */
	2, 0x4c, 0, 3, 3, 0, 0, 0, 2, 0, 0, 0, 0x24, 0, 0, 0,
	1, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0, 5, 0, 0, 0, 48, 0, 0, 0,
	0, 0, 0, 0, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0,
	0x10, 0, 0, 0, 0xef, 0xff, 0, 0, 0x10, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0,
};

static void exact_bytes(void **state)
{
	static const struct nst_rid_range upper = { 0x10, 0xffff };
	struct nst_firmware_smmuv3 unit = make_unit();
	struct nst_iort_root root = { 5, 48, true, true, &unit, 1 };
	const struct nst_iort_params params = { OEM, its, 1, &root, 1 };
	void *table;
	size_t size;

	unit.rids = &upper;
	unit.num_rids = 1;
	unit.windows = &window;
	unit.num_windows = 1;
	assert_int_equal(nst_iort_build(&params, &table, &size), 0);
	assert_int_equal(size, sizeof(one_unit));
	assert_memory_equal(table, one_unit, size);
	free(table);
}

/* ---- a reader */

struct reader {
	const uint8_t *table;
	size_t size;
};

static uint32_t word(const struct reader *r, size_t at)
{
	assert_true(at + 4 <= r->size);
	return (uint32_t)le_load(r->table + at, 4);
}

/* The node of @type with number @n among these; 0 = there is none. */
static uint32_t find_node(const struct reader *r, unsigned int type, unsigned int n)
{
	uint32_t at = word(r, 40);

	for (uint32_t left = word(r, 36); left; left--) {
		if (r->table[at] == type && !n--)
			return at;
		at += (uint32_t)le_load(r->table + at + 1, 2);
	}
	assert_int_equal(at, r->size);
	return 0;
}

/* Follow @id out of @node: the node it gets to, and as which id. 0 = nowhere. */
static uint32_t follow(const struct reader *r, uint32_t node, uint32_t id, uint32_t *out)
{
	uint32_t at = node + word(r, node + 12), to = 0;

	for (uint32_t left = word(r, node + 8); left; left--, at += 20) {
		if (word(r, at + 16) & 1)
			continue; /* a single mapping is of the node itself */
		if (id < word(r, at) || id > word(r, at) + word(r, at + 4))
			continue;
		assert_int_equal(to, 0);
		to = word(r, at + 12);
		*out = word(r, at + 8) + id - word(r, at);
	}
	return to;
}

static void assert_sum(const struct reader *r)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < r->size; i++)
		sum += r->table[i];
	assert_int_equal(sum, 0);
	assert_int_equal(word(r, 4), r->size);
}

/* Which unit has @rid, or none: by looking at every range. */
static int owner(const struct nst_iort_root *root, uint32_t rid)
{
	for (size_t u = 0; u < root->num_units; u++)
		for (size_t i = 0; i < root->units[u].num_rids; i++)
			if (rid >= root->units[u].rids[i].first && rid <= root->units[u].rids[i].last)
				return (int)u;
	return -1;
}

static void check_requesters(const struct reader *r, const struct nst_iort_root *root, unsigned int n,
			     unsigned int first_unit)
{
	uint32_t complex = find_node(r, 2, n), group = find_node(r, 0, 0);

	assert_int_equal(word(r, complex + 28), root->segment);
	assert_int_equal(r->table[complex + 32], root->address_bits);
	assert_int_equal(word(r, complex + 24), root->ats);
	assert_int_equal(r->table[complex + 23], root->canwbs ? 7 : 3);
	for (uint32_t rid = 0; rid <= 0xffff; rid++) {
		uint32_t id = ~0u, to = follow(r, complex, rid, &id);
		int unit = owner(root, rid);

		assert_int_equal(id, rid);
		if (unit >= 0) {
			assert_int_equal(to, find_node(r, 4, first_unit + (unsigned int)unit));
			to = follow(r, to, id, &id);
			assert_int_equal(id, rid);
		}
		assert_int_equal(to, group);
	}
}

/* Windows are for exactly the stream ids of their unit. */
static void check_windows(const struct reader *r, const struct nst_firmware_smmuv3 *unit, uint32_t smmu)
{
	uint32_t rmr = 0;

	for (unsigned int n = 0; (rmr = find_node(r, 6, n)); n++)
		if (word(r, rmr + word(r, rmr + 12) + 12) == smmu)
			break;
	assert_int_equal(!!rmr, unit->num_windows && unit->num_rids);
	if (!rmr)
		return;
	assert_int_equal(word(r, rmr + 16), 1 << 2);
	assert_int_equal(word(r, rmr + 20), unit->num_windows);
	assert_int_equal(word(r, rmr + 8), unit->num_rids);
	for (uint32_t i = 0; i < unit->num_rids; i++) {
		uint32_t at = rmr + word(r, rmr + 12) + 20 * i;

		assert_int_equal(word(r, at + 8), unit->rids[i].first);
		assert_int_equal(word(r, at + 4), unit->rids[i].last - unit->rids[i].first);
		assert_int_equal(word(r, at + 12), smmu);
	}
	for (uint32_t i = 0; i < unit->num_windows; i++) {
		uint32_t at = rmr + word(r, rmr + 24) + 20 * i;

		assert_int_equal(le_load(r->table + at, 8), unit->windows[i].base);
		assert_int_equal(le_load(r->table + at + 8, 8), unit->windows[i].size);
	}
}

static void check_unit(const struct reader *r, const struct nst_firmware_smmuv3 *unit, unsigned int n)
{
	uint32_t at = find_node(r, 4, n), own = word(r, at + 64);

	assert_int_equal(le_load(r->table + at + 16, 8), unit->base);
	assert_int_equal(word(r, at + 24), (unit->coherent ? 1 : 0) | (unit->has_msis ? 0x10 : 0));
	assert_int_equal(word(r, at + 40), unit->model);
	assert_int_equal(word(r, at + 44), unit->event_gsiv);
	assert_int_equal(word(r, at + 48), unit->pri_gsiv);
	assert_int_equal(word(r, at + 52), unit->gerror_gsiv);
	assert_int_equal(word(r, at + 56), unit->sync_gsiv);
	if (unit->has_msis) {
		at += word(r, at + 12) + 20 * own;
		assert_int_equal(word(r, at + 16), 1);
		assert_int_equal(word(r, at + 8), unit->msi_device_id);
		assert_int_equal(word(r, at + 12), find_node(r, 0, 0));
	}
	check_windows(r, unit, find_node(r, 4, n));
}

enum { MAX_UNITS = 3, MAX_RIDS = 6 };

struct random_root {
	struct nst_iort_root root;
	struct nst_firmware_smmuv3 units[MAX_UNITS];
	struct nst_rid_range rids[MAX_UNITS][MAX_RIDS];
	struct nst_gpa_range windows[MAX_UNITS][2];
};

/* Disjoint ranges, dealt out to units from a random start, so that they are in no order. */
static void make_random(struct random_root *t, uint64_t *seed)
{
	uint32_t at = test_random(seed) % 3;

	*t = (struct random_root){ .root = {
		.segment = (uint32_t)test_random(seed), .address_bits = 1 + test_random(seed) % 64,
		.ats = test_random(seed) & 1, .canwbs = test_random(seed) & 1,
		.units = t->units, .num_units = test_random(seed) % (MAX_UNITS + 1),
	} };
	for (size_t u = 0; u < t->root.num_units; u++) {
		struct nst_firmware_smmuv3 *unit = &t->units[u];

		*unit = (struct nst_firmware_smmuv3){
			.base = test_random(seed) & -0x10000ULL,
			.model = test_random(seed) % 3, .coherent = test_random(seed) & 1,
			.event_gsiv = (uint32_t)test_random(seed), .pri_gsiv = 1, .gerror_gsiv = 2,
			.sync_gsiv = 3, .has_msis = test_random(seed) & 1,
			.msi_device_id = (uint32_t)test_random(seed),
			.rids = t->rids[u], .windows = t->windows[u],
			.num_windows = test_random(seed) % 3,
		};
		for (size_t i = 0; i < unit->num_windows; i++)
			t->windows[u][i] = (struct nst_gpa_range){
				(test_random(seed) >> 1) & -0x10000ULL, 0x10000 << i };
	}
	while (t->root.num_units && at < 0x10000) {
		size_t u = test_random(seed) % t->root.num_units;
		uint32_t last = at + (uint32_t)(test_random(seed) % 0x3000);

		last = MIN(last, 0xffff);
		if (t->units[u].num_rids == MAX_RIDS)
			break;
		t->rids[u][t->units[u].num_rids++] = (struct nst_rid_range){ at, last };
		at = last + 1 + (test_random(seed) & 1 ? 0 : test_random(seed) % 0x1000);
	}
	for (size_t u = 0; u < t->root.num_units; u++)
		if (t->units[u].num_rids > 1) {
			size_t other = test_random(seed) % t->units[u].num_rids;
			struct nst_rid_range first = t->rids[u][0];

			t->rids[u][0] = t->rids[u][other];
			t->rids[u][other] = first;
		}
}

static void every_requester_gets_where_it_should(void **state)
{
	static struct random_root t[2];
	uint64_t seed = 5;

	for (int round = 0; round < 16; round++) {
		uint32_t ids[3] = { 4, 5, 6 };
		unsigned int n = 0;
		struct nst_iort_root roots[2];
		struct nst_iort_params params = { OEM, ids, 1 + round % 3, roots, 1 + round % 2 };
		struct reader r;
		void *table;

		for (size_t i = 0; i < params.num_roots; i++) {
			make_random(&t[i], &seed);
			roots[i] = t[i].root;
		}
		assert_int_equal(nst_iort_build(&params, &table, &r.size), 0);
		r.table = table;
		assert_sum(&r);
		assert_int_equal(word(&r, find_node(&r, 0, 0) + 16), params.num_its);
		assert_int_equal(word(&r, find_node(&r, 0, 0) + 20), 4);
		for (unsigned int i = 0; i < params.num_roots; i++) {
			check_requesters(&r, &roots[i], i, n);
			for (size_t u = 0; u < roots[i].num_units; u++)
				check_unit(&r, &roots[i].units[u], n++);
		}
		assert_int_equal(find_node(&r, 4, n), 0);
		free(table);
	}
}

static void edges_of_a_segment(void **state)
{
	static const struct nst_rid_range rows[][2] = {
		{ { 0, 0 }, { 0xffff, 0xffff } }, { { 1, 1 }, { 0xfffe, 0xfffe } },
		{ { 0, 0x7fff }, { 0x8000, 0xffff } }, { { 0, 0x7ffe }, { 0x8000, 0xfffe } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		struct nst_iort_root root = { 0, 64, false, false, &unit, 1 };
		const struct nst_iort_params params = { OEM, its, 1, &root, 1 };
		struct reader r;
		void *table;

		unit.rids = rows[i];
		assert_int_equal(nst_iort_build(&params, &table, &r.size), 0);
		r.table = table;
		check_requesters(&r, &root, 0, 0);
		free(table);
	}
}

/* ---- limits */

struct limit {
	const char *what;
	void (*change)(struct nst_iort_params *p, struct nst_iort_root *root, struct nst_firmware_smmuv3 *unit);
};

static const struct nst_rid_range overlap[] = { { 0x10, 0x1f }, { 0x1f, 0x20 } };
static const struct nst_rid_range twice[] = { { 0x10, 0x1f }, { 0x10, 0x1f } };
static const struct nst_rid_range backwards = { 2, 1 };
static const struct nst_rid_range inside[] = { { 0x100, 0x1ff }, { 0, 0xffff } };
static const struct nst_gpa_range odd_base = { 0x8001000, 0x10000 };
static const struct nst_gpa_range odd_size = { 0x8000000, 0x1000 };
static const struct nst_gpa_range empty = { 0x8000000, 0 };
static const struct nst_gpa_range wraps = { -0x10000ULL, 0x20000 };
static uint32_t many_its[16384];
static struct nst_rid_range many_rids[3275];

#define CHANGE(name, statement)                                                                    \
	static void name(struct nst_iort_params *p, struct nst_iort_root *root, struct nst_firmware_smmuv3 *unit)    \
	{                                                                                          \
		statement;                                                                         \
	}
#define RIDS(array) (unit->rids = (array), unit->num_rids = ARRAY_SIZE(array))
#define WINDOW(w) (unit->windows = &(w), unit->num_windows = 1)
CHANGE(no_its, p->num_its = 0)
CHANGE(many, (p->its = many_its, p->num_its = 16378))
CHANGE(too_many, (p->its = many_its, p->num_its = 16379))
CHANGE(wrap_its, p->num_its = SIZE_MAX / 4 + 1)
CHANGE(odd_unit, unit->base |= 0x8000)
CHANGE(no_width, root->address_bits = 0)
CHANGE(wide, root->address_bits = 65)
CHANGE(rid_overlap, RIDS(overlap))
CHANGE(rid_twice, RIDS(twice))
CHANGE(rid_backwards, (unit->rids = &backwards, unit->num_rids = 1))
CHANGE(rid_inside, RIDS(inside))
CHANGE(rid_many, (unit->rids = many_rids, unit->num_rids = 1636))
CHANGE(rid_too_many, (unit->rids = many_rids, unit->num_rids = 1637))
CHANGE(rid_wrap, unit->num_rids = SIZE_MAX / 2 + 2)
CHANGE(window_base, WINDOW(odd_base))
CHANGE(window_size, WINDOW(odd_size))
CHANGE(window_empty, WINDOW(empty))
CHANGE(window_wraps, WINDOW(wraps))
CHANGE(window_many, (WINDOW(window), unit->num_windows = SIZE_MAX / 20))
CHANGE(nothing, )

static void limits(void **state)
{
	static const struct {
		const char *what;
		void (*change)(struct nst_iort_params *p, struct nst_iort_root *root, struct nst_firmware_smmuv3 *unit);
		int ret;
	} rows[] = {
		{ "nothing", nothing, 0 },
		{ "no ITS", no_its, -EINVAL },
		{ "as many ITSs as a length can say", many, 0 },
		{ "one more", too_many, -EINVAL },
		{ "a size that wraps round", wrap_its, -EINVAL },
		{ "a unit between 64 KiB pages", odd_unit, -EINVAL },
		{ "addresses of no bits", no_width, -EINVAL },
		{ "of 65", wide, -EINVAL },
		{ "ranges with one requester in common", rid_overlap, -EINVAL },
		{ "a range twice", rid_twice, -EINVAL },
		{ "a range that ends before it begins", rid_backwards, -EINVAL },
		{ "a range within another", rid_inside, -EINVAL },
		{ "as many ranges as a length can say", rid_many, 0 },
		{ "one more", rid_too_many, -EINVAL },
		{ "a count that wraps round", rid_wrap, -EINVAL },
		{ "a window between 64 KiB pages", window_base, -EINVAL },
		{ "with an odd end", window_size, -EINVAL },
		{ "of nothing", window_empty, -EINVAL },
		{ "beyond the last address", window_wraps, -EINVAL },
		{ "windows without number", window_many, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(many_rids); i++)
		many_rids[i] = (struct nst_rid_range){ (uint16_t)(2 * i + 1), (uint16_t)(2 * i + 1) };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		struct nst_iort_root root = { 0, 64, false, false, &unit, 1 };
		struct nst_iort_params params = { OEM, its, 1, &root, 1 };
		void *table = NULL;
		size_t size = 77;
		int ret;

		rows[i].change(&params, &root, &unit);
		ret = nst_iort_build(&params, &table, &size);
		if (ret != rows[i].ret)
			print_error("%s: %d\n", rows[i].what, ret);
		assert_int_equal(ret, rows[i].ret);
		if (ret) {
			assert_null(table);
			assert_int_equal(size, 77);
		}
		free(table);
	}
}

static void no_memory(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	struct nst_iort_root root = { 0, 64, false, false, &unit, 1 };
	const struct nst_iort_params params = { OEM, its, 1, &root, 1 };
	void *table = NULL;
	unsigned int n;
	size_t size;

	for (n = 1;; n++) {
		alloc_fail_nth(n);
		if (!nst_iort_build(&params, &table, &size))
			break;
		assert_null(table);
		assert_int_equal(alloc_fail_left(), 0);
	}
	alloc_fail_nth(0);
	assert_int_equal(n, 4);
	free(table);
}

/* Debian 12's iasl knows no memory ranges, so there are none. */
static void iasl_reads_it_back(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	struct nst_iort_root root = { 0, 48, true, true, &unit, 1 };
	const struct nst_iort_params params = { OEM, its, 1, &root, 1 };
	static char text[65536];
	const char *at = text;
	static const char *const spans[][3] = { /* input, count less one, node */
		{ "00000000", "0000000F", "00000030" }, { "00000010", "0000000F", "00000048" },
		{ "00000020", "000001DF", "00000030" }, { "00000200", "000000FF", "00000048" },
		{ "00000300", "0000FCFF", "00000030" },
	};
	size_t size;
	void *table;

	assert_int_equal(nst_iort_build(&params, &table, &size), 0);
	iasl_disassemble(table, size, text, sizeof(text));
	free(table);
	iasl_expect(&at, "Signature", "\"IORT\"");
	iasl_expect(&at, "Oem ID", "\"BOCHS \"");
	iasl_expect(&at, "Oem Table ID", "\"BXPC    \"");
	iasl_expect(&at, "Oem Revision", "00000100");
	iasl_expect(&at, "Node Count", "00000003");
	iasl_expect(&at, "Type", "00");
	iasl_expect(&at, "ItsCount", "00000001");
	iasl_expect(&at, "Type", "04");
	iasl_expect(&at, "Mapping Count", "00000002");
	iasl_expect(&at, "Base Address", "0000000010000000");
	iasl_expect(&at, "COHACC Override", "1");
	iasl_expect(&at, "Model", "00000001");
	iasl_expect(&at, "Event GSIV", "0000006A");
	iasl_expect(&at, "Sync GSIV", "00000000");
	iasl_expect(&at, "Device ID Mapping Index", "00000001");
	iasl_expect(&at, "ID Count", "0000FFFF");
	iasl_expect(&at, "Single Mapping", "0");
	iasl_expect(&at, "Output Base", "00000007");
	iasl_expect(&at, "Single Mapping", "1");
	iasl_expect(&at, "Type", "02");
	iasl_expect(&at, "Cache Coherency", "00000001");
	iasl_expect(&at, "ATS Attribute", "00000001");
	iasl_expect(&at, "Memory Size Limit", "30");
	for (size_t i = 0; i < ARRAY_SIZE(spans); i++) {
		iasl_expect(&at, "Input base", spans[i][0]);
		iasl_expect(&at, "ID Count", spans[i][1]);
		iasl_expect(&at, "Output Base", spans[i][0]);
		iasl_expect(&at, "Output Reference", spans[i][2]);
	}
	assert_null(strstr(at, "Input base"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_bytes),
		cmocka_unit_test(every_requester_gets_where_it_should),
		cmocka_unit_test(edges_of_a_segment),
		cmocka_unit_test(limits),
		cmocka_unit_test(no_memory),
		IASL_TEST(iasl_reads_it_back),
	};

	return cmocka_run_group_tests_name("iort", tests, NULL, NULL);
}
