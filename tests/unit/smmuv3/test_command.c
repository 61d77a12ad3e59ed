// SPDX-License-Identifier: BSD-3-Clause
/*
 * smmu_command_decode(), against a table of its own: every opcode there is, every bit of each
 * command, and every feature that makes one legal.
 */
#include "rig.h"

/* Of the fields of a command: what it is called in both, and what is handed to the host. */
struct row {
	const char *name;
	unsigned int op;
	int what;		   /* -1: illegal, whatever it says */
	uint64_t fields0, fields1; /* meaningful; other bits change nothing */
	uint64_t host0, host1;	   /* handed to the host */
	uint64_t illegal0;	   /* each of these alone makes it illegal */
};

#define SID 0xffffffff00000000ULL
#define SSID 0x00000000fffff000ULL
#define ASID 0xffff000000000000ULL
#define VMID 0x0000ffff00000000ULL
#define RANGE0 (0x1fULL << 12 | 0x1fULL << 20)
#define ADDR 0xfffffffffffff000ULL
#define IPA 0x000ffffffffff000ULL
#define SSEC (1ULL << 10)

static const struct row rows[] = {
	{ "PREFETCH_CONFIG", 0x01, SMMU_DO_NOTHING, 0, 0, 0, 0, SSEC },
	{ "PREFETCH_ADDR", 0x02, SMMU_DO_NOTHING, 0, 0, 0, 0, SSEC },
	{ "CFGI_STE", 0x03, SMMU_DO_CFGI_STE, SID, 0, 0, 0, SSEC },
	{ "CFGI_STE_RANGE", 0x04, SMMU_DO_CFGI_STE, SID, 0x1f, 0, 0, SSEC },
	{ "CFGI_CD", 0x05, SMMU_DO_CFGI_CD, SID | SSID, 1, SID | SSID, 1, SSEC },
	{ "CFGI_CD_ALL", 0x06, SMMU_DO_CFGI_CDS, SID, 0, SID, 0, SSEC },
	{ "CFGI_VMS_PIDM", 0x07, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_NH_ALL", 0x10, SMMU_DO_TLBI_NH, VMID, 0, 0, 0, 0 },
	{ "TLBI_NH_ASID", 0x11, SMMU_DO_TLBI_ASID, VMID | ASID, 0, ASID, 0, 0 },
	{ "TLBI_NH_VA", 0x12, SMMU_DO_TLBI_VA, VMID | ASID | RANGE0, ADDR | 0xf01, ASID | RANGE0,
	  ADDR | 0xf01, 0 },
	{ "TLBI_NH_VAA", 0x13, SMMU_DO_TLBI_VAA, VMID | RANGE0, ADDR | 0xf01, RANGE0, ADDR | 0xf01,
	  0 },
	{ "TLBI_EL3_ALL", 0x18, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_EL3_VA", 0x1a, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_EL2_ALL", 0x20, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_EL2_ASID", 0x21, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_EL2_VA", 0x22, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_EL2_VAA", 0x23, -1, 0, 0, 0, 0, 0 },
	{ "TLBI_S12_VMALL", 0x28, SMMU_DO_TLBI_VM, VMID, 0, 0, 0, 0 },
	{ "TLBI_S2_IPA", 0x2a, SMMU_DO_TLBI_IPA, VMID | RANGE0, IPA | 0xf01, 0, 0, 0 },
	{ "TLBI_NSNH_ALL", 0x30, SMMU_DO_TLBI_ALL, 0, 0, 0, 0, 0 },
	{ "ATC_INV", 0x40, SMMU_DO_ATC_INV, SID | SSID | 0xa00, 0x3f | ADDR, SID | SSID | 0xa00,
	  ADDR | 0x3f, SSEC },
	{ "PRI_RESP", 0x41, SMMU_DO_PRI_RESP, SID | 1 << 11, 0x31ff, 0, 0, SSEC },
	{ "RESUME", 0x44, SMMU_DO_RESUME, SID | 1 << 12, 0xffff, 0, 0, SSEC },
	{ "STALL_TERM", 0x45, SMMU_DO_STALL_TERM, SID, 0, 0, 0, SSEC },
	{ "SYNC", 0x46, SMMU_DO_SYNC, 0xffffffff00003000ULL, 0x000ffffffffffffcULL, 0, 0, 0 },
};

/* MSIs, ATS, PRI, stage 2, 16-bit ASIDs and VMIDs, substreams of 20 bits, RIL, stalls */
static const struct smmu_idr every = {
	.idr = { 0x0c44301b | 1u << 10 | 1u << 16, 0x02730010 | 20 << 6, 0, 0x1404, 0, 0x74 },
};

static enum smmu_cerror decode(uint64_t qw0, uint64_t qw1, const struct smmu_idr *idr,
			       struct smmu_command *c)
{
	const struct smmu_cmd raw = { { le64_make(qw0), le64_make(qw1) } };

	return smmu_command_decode(&raw, idr, c);
}

static const struct row *row_of(unsigned int op)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].op == op)
			return &rows[i];
	return NULL;
}

static void every_opcode(void **state)
{
	struct smmu_command c;

	for (unsigned int op = 0; op < 256; op++) {
		const struct row *r = row_of(op);
		enum smmu_cerror error = decode(op, 0, &every, &c);

		assert_int_equal(error, r && r->what >= 0 ? SMMU_CERROR_NONE : SMMU_CERROR_ILL);
		if (!error)
			assert_int_equal(c.what, r->what);
	}
}

static bool same(const struct smmu_command *a, const struct smmu_command *b)
{
	return a->global == b->global && a->index == b->index && a->answer == b->answer &&
	       a->stag == b->stag && a->retry == b->retry && a->what == b->what &&
	       a->sid == b->sid && a->last_sid == b->last_sid && a->ssid == b->ssid &&
	       a->asid == b->asid && a->vmid == b->vmid && a->first == b->first &&
	       a->last == b->last && a->sync.signal == b->sync.signal &&
	       a->sync.msi_address == b->sync.msi_address && a->sync.msi_data == b->sync.msi_data;
}

/* What a host is told instead, and 0 for nothing: it has no stage 2 of the guest's. */
static uint64_t host_op(const struct row *r)
{
	return r->op == 0x28 ? 0x10 : r->op == 0x2a ? 0 : r->op;
}

/* Every bit that is no field: the command stays what it is, and the host does not see it. */
static void every_bit(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct smmu_command plain, c;

		if (r->what < 0)
			continue;
		ok(decode(r->op, 0, &every, &plain));
		for (unsigned int bit = 8; bit < 128; bit++) {
			uint64_t qw0 = bit < 64 ? 1ULL << bit : 0;
			uint64_t qw1 = bit < 64 ? 0 : 1ULL << (bit - 64);
			enum smmu_cerror error = decode(qw0 | r->op, qw1, &every, &c);

			if (qw0 & r->illegal0) {
				assert_int_equal(error, SMMU_CERROR_ILL);
				continue;
			}
			if ((r->op == 0x12 || r->op == 0x13 || r->op == 0x2a) && (qw1 & 0xc00)) {
				assert_int_equal(error, SMMU_CERROR_ILL); /* TG alone: s4.4.1.1 */
				continue;
			}
			ok(error);
			if (!(qw0 & r->fields0) && !(qw1 & r->fields1))
				assert_true(same(&c, &plain));
			if (r->host0 || r->host1 || (r->op >= 0x10 && r->op < 0x40)) {
				assert_int_equal(le64_get(c.host.qw[0]),
						 host_op(r) | (qw0 & r->host0));
				assert_int_equal(le64_get(c.host.qw[1]), qw1 & r->host1);
			}
		}
	}
}

static void streams(void **state)
{
	struct smmu_command c;
	static const struct {
		unsigned int range;
		uint32_t sid, first, last;
	} cases[] = {
		{ 0, 7, 6, 7 },
		{ 3, 0x12345678, 0x12345670, 0x1234567f },
		{ 15, 0x12345678, 0x12340000, 0x1234ffff },
		{ 30, 5, 0, 0x7fffffff },
		{ 31, 0xdeadbeef, 0, UINT32_MAX },
	};

	ok(decode(0x03 | 0xabcdULL << 32, 1, &every, &c));
	assert_int_equal(c.sid, 0xabcd);
	assert_int_equal(c.last_sid, 0xabcd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ok(decode(0x04 | (uint64_t)cases[i].sid << 32, cases[i].range, &every, &c));
		assert_int_equal(c.sid, cases[i].first);
		assert_int_equal(c.last_sid, cases[i].last);
	}
	ok(decode(0x05 | 0x54321ULL << 12 | 0xabcdULL << 32, 1, &every, &c));
	assert_int_equal(c.ssid, 0x54321);
}

static void ranges(void **state)
{
	struct smmu_command c;
	static const struct {
		unsigned int tg, num, scale, ttl;
		uint64_t at, last;
		bool illegal;
	} cases[] = {
		{ 0, 0, 0, 0, 0x5000, 0x5fff, false },
		{ 0, 31, 31, 3, 0x5000, 0x5fff, false }, /* no TG: no range */
		{ 1, 0, 0, 0, 0x5000, 0, true },
		{ 1, 0, 0, 3, 0x5000, 0x5fff, false },
		{ 1, 3, 0, 0, 0x5000, 0x8fff, false },
		{ 1, 0, 9, 2, 0x200000, 0x3fffff, false },
		{ 2, 0, 0, 1, 0x4000, 0, true }, /* 16 KiB have no level 1 */
		{ 2, 0, 0, 3, 0x4000, 0x7fff, false },
		{ 2, 1, 1, 0, 0x4000, 0x13fff, false },
		{ 3, 31, 31, 0, 0x10000, 0x10000 + (32ULL << 47) - 1, false },
		{ 3, 31, 31, 0, 0xffff000000000000, UINT64_MAX, false }, /* does not wrap */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t qw0 = (uint64_t)cases[i].num << 12 | (uint64_t)cases[i].scale << 20;
		uint64_t qw1 = cases[i].at | cases[i].tg << 10 | cases[i].ttl << 8;
		enum smmu_cerror error = decode(0x13 | qw0, qw1, &every, &c);

		assert_int_equal(error, cases[i].illegal ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
		if (error)
			continue;
		assert_int_equal(c.first, cases[i].at);
		assert_int_equal(c.last, cases[i].last);
	}
}

/* Of which VM, and of what: s4.4.2, s4.4.3. All others are of any VM. */
static void vmids(void **state)
{
	static const unsigned int ops[] = { 0x10, 0x11, 0x12, 0x13, 0x28, 0x2a };
	struct smmu_idr idr = every;
	struct smmu_command c;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		ok(decode(ops[i] | 0xabcdULL << 32, 0x5000, &idr, &c));
		assert_int_equal(c.vmid, 0xabcd);
	}
	ok(decode(0x30 | VMID, 0, &idr, &c));
	assert_int_equal(c.vmid, 0);
	ok(decode(0x2a, UINT64_MAX & ~0xf00ULL, &idr, &c));
	assert_int_equal(c.first, IPA);
	assert_int_equal(c.last, IPA | 0xfff);
	ok(decode(0x2a | 3 << 12, 0x5000 | 1 << 10, &idr, &c));
	assert_int_equal(c.first, 0x5000);
	assert_int_equal(c.last, 0x8fff);
	assert_int_equal(decode(0x2a, 0x5000 | 1 << 10, &idr, &c), SMMU_CERROR_ILL);
	idr.idr[3] &= ~(1u << 10); /* RIL */
	ok(decode(0x2a | 3 << 12, 0x5000 | 1 << 10, &idr, &c));
	assert_int_equal(c.last, 0x5fff);
	idr.idr[0] &= ~1u; /* S2P: then there are none */
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		enum smmu_cerror error = decode(ops[i] | 0xabcdULL << 32, 0x5000, &idr, &c);

		assert_int_equal(error, ops[i] >= 0x28 ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
		assert_int_equal(c.vmid, 0);
	}
}

static void what_is_not_offered(void **state)
{
	struct smmu_idr idr = every;
	struct smmu_command c;

	idr.idr[3] &= ~(1u << 10); /* RIL: the fields are reserved, and ignored */
	ok(decode(0x12 | RANGE0, 0x5000 | 0xf00, &idr, &c));
	assert_int_equal(c.last, 0x5fff);
	assert_int_equal(le64_get(c.host.qw[0]), 0x12);
	assert_int_equal(le64_get(c.host.qw[1]), 0x5000);
	idr.idr[0] &= ~(1u << 12); /* ASIDs of 8 bits */
	ok(decode(0x11 | 0x1234ULL << 48, 0, &idr, &c));
	assert_int_equal(c.asid, 0x34);
	assert_int_equal(le64_get(c.host.qw[0]), 0x11 | 0x34ULL << 48);
	ok(decode(0x41 | 1 << 11 | 7ULL << 12, 0, &idr, &c));
	assert_int_equal(c.ssid, 7);
	idr.idr[1] &= ~0x7c0u; /* no substreams */
	ok(decode(0x41 | 1 << 11 | 7ULL << 12, 0, &idr, &c));
	assert_int_equal(c.ssid, NST_NO_PASID);
	ok(decode(0x05 | 7ULL << 12 | 9ULL << 32, 1, &idr, &c));
	assert_int_equal(c.ssid, 0);
	assert_int_equal(le64_get(c.host.qw[0]), 0x05 | 9ULL << 32);
	idr.idr[0] &= ~(1u << 10); /* no ATS */
	assert_int_equal(decode(0x40, 0, &idr, &c), SMMU_CERROR_ILL);
	idr.idr[0] &= ~(1u << 16); /* no PRI */
	assert_int_equal(decode(0x41, 0, &idr, &c), SMMU_CERROR_ILL);
	for (uint32_t model = 0; model < 3; model++) { /* STALL_MODEL: stalls are there with 0 */
		idr.idr[0] = (every.idr[0] & ~(3u << 24)) | model << 24;
		assert_int_equal(decode(0x44, 0, &idr, &c),
				 model ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
		assert_int_equal(decode(0x45, 0, &idr, &c),
				 model ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
	}
	idr.idr[0] = every.idr[0] & ~(1u << 13); /* no MSIs */
	ok(decode(0x46 | 1 << 12 | 5ULL << 32, 0x8000, &idr, &c));
	assert_int_equal(c.sync.msi_address, 0);
}

static void syncs_and_device_tlbs(void **state)
{
	struct smmu_command c;

	for (unsigned int cs = 0; cs < 4; cs++) {
		assert_int_equal(decode(0x46 | cs << 12, 0, &every, &c),
				 cs == 3 ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
		if (cs < 3)
			assert_int_equal(c.sync.signal, cs);
	}
	ok(decode(0x46 | 1 << 12 | 0x12345678ULL << 32, 0xf00f000000008ff3ULL, &every, &c));
	assert_int_equal(c.sync.msi_address, 0xf000000008ff0ULL);
	assert_int_equal(c.sync.msi_data, 0x12345678);
	for (unsigned int size = 0; size < 64; size++)
		assert_int_equal(decode(0x40, size, &every, &c),
				 size > 52 ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
}

static void answers_to_page_requests(void **state)
{
	static const int answers[] = { NST_PAGE_FAILURE, NST_PAGE_INVALID, NST_PAGE_SUCCESS };
	struct smmu_command c;

	for (uint64_t resp = 0; resp < 4; resp++) {
		enum smmu_cerror error = decode(0x41 | 5ULL << 12 | 0xabcd1234ULL << 32,
						0xfffffffffffc0e00ULL | resp << 12 | 0x123, &every,
						&c);

		assert_int_equal(error, resp == 3 ? SMMU_CERROR_ILL : SMMU_CERROR_NONE);
		if (error)
			continue;
		assert_int_equal(c.sid, 0xabcd1234);
		assert_int_equal(c.ssid, NST_NO_PASID); /* no SSV */
		assert_int_equal(c.index, 0x123);
		assert_int_equal(c.answer, answers[resp]);
	}
}

static void answers_to_stalls(void **state)
{
	struct smmu_command c;

	/* AC: retry; AB only says how what is not retried ends, which is always the same here */
	for (unsigned int action = 0; action < 4; action++) {
		ok(decode(0x44 | action << 12 | 0xabcdULL << 32, 0xffff000012345678ULL, &every,
			  &c));
		assert_int_equal(c.sid, 0xabcd);
		assert_int_equal(c.stag, 0x5678);
		assert_int_equal(c.retry, action & 1);
	}
	ok(decode(0x45 | 0x12345678ULL << 32, 0, &every, &c));
	assert_int_equal(c.sid, 0x12345678);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_opcode),
		cmocka_unit_test(every_bit),
		cmocka_unit_test(streams),
		cmocka_unit_test(ranges),
		cmocka_unit_test(vmids),
		cmocka_unit_test(what_is_not_offered),
		cmocka_unit_test(syncs_and_device_tlbs),
		cmocka_unit_test(answers_to_page_requests),
		cmocka_unit_test(answers_to_stalls),
	};

	return cmocka_run_group_tests_name("smmuv3 commands", tests, NULL, NULL);
}
