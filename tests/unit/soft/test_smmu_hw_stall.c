// SPDX-License-Identifier: BSD-3-Clause
/*
 * Accesses that stall: which do, what their records say, what answers do to them, and that
 * nothing waits for ever. Each access is a thread of its own; the test is the software that
 * answers. What an answer must not do is seen by what the access does in the end.
 */
#include "smmu_rig.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { OTHER_SID = 0x0128, RETRY = 1 << 12, ABORT = 1 << 13, RAZ_WI = 0, MAX_RECORDS = 1024 };
enum { F_TRANSLATION = 0x10, F_ADDR_SIZE = 0x11, F_ACCESS = 0x12, F_PERMISSION = 0x13 };

/* Qword 1 of a record. */
#define STALL (1ULL << 31)
#define STAG 0xffffULL
#define PNU (1ULL << 33)
#define RNW (1ULL << 35)
#define S2 (1ULL << 39)
#define CLASS (3ULL << 40)
#define CLASS_CD 0ULL
#define CLASS_TT (1ULL << 40)
#define CLASS_IN (2ULL << 40)

#define S1STALLD (1ULL << 27) /* of a guest's entry, qword 1 */
#define HOLE (1ULL << 40)     /* an IPA where there is nothing */

struct software {
	struct rig *rig;
	struct smmu_hw *own, *of_rig; /* of the rig: without stalls */
	pthread_mutex_t lock;
	pthread_cond_t came;
	struct smmu_event records[MAX_RECORDS];
	unsigned int count, taken;
	atomic_bool forbidden; /* may_stall() */
};

static void take_record(void *opaque, nst_rid sid, const struct smmu_event *event)
{
	struct software *s = opaque;

	pthread_mutex_lock(&s->lock);
	s->records[s->count++ % MAX_RECORDS] = *event;
	pthread_cond_signal(&s->came);
	pthread_mutex_unlock(&s->lock);
	/* no lock of the unit is held: a driver may use it */
	smmu_hw_map_begin(s->own);
	smmu_hw_map_end(s->own, false);
}

static bool may_stall(void *opaque, nst_rid sid)
{
	struct software *s = opaque;

	return !atomic_load(&s->forbidden);
}

static const struct smmu_hw_ops ops = { .event = take_record, .may_stall = may_stall };

static int setup(void **state)
{
	struct software *s = test_calloc(1, sizeof(*s));
	struct smmu_hw_setup unit = { .check = true, .stalls = true, .ops = &ops, .opaque = s };

	if (rig_setup((void **)&s->rig))
		return -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->came, NULL);
	unit.sanitizer = s->rig->sanitizer;
	if (smmu_hw_create(&unit, &s->own))
		return -1;
	s->of_rig = s->rig->hw;
	s->rig->hw = s->own;
	s->rig->cd[0] |= C_S;
	rig_write_cd(s->rig, RIG_CDS, s->rig->cd);
	rig_set_ste(s->rig, RIG_SID, &s->rig->ste);
	rig_set_ste(s->rig, OTHER_SID, &s->rig->ste);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct software *s = *state;

	assert_int_equal(s->count, s->taken); /* every record was looked at */
	s->rig->hw = s->of_rig;
	smmu_hw_destroy(s->own);
	rig_teardown((void **)&s->rig);
	pthread_cond_destroy(&s->came);
	pthread_mutex_destroy(&s->lock);
	test_free(s);
	return 0;
}

/* --- an access, and its record ------------------------------------------------------------ */

struct access {
	struct smmu_hw *hw;
	nst_rid sid;
	struct endpoint_dma_request req;
	uint64_t word;
	int ret;
	pthread_t thread;
};

static void *do_access(void *arg)
{
	struct access *a = arg;

	a->ret = smmu_hw_dma(a->hw, a->sid, &a->req);
	return NULL;
}

static void begin_request(struct software *s, struct access *a, nst_rid sid,
			  const struct endpoint_dma_request *req)
{
	a->hw = s->rig->hw;
	a->sid = sid;
	a->req = *req;
	if (!a->req.buf) {
		a->req.buf = &a->word;
		a->req.size = sizeof(a->word);
	}
	assert_int_equal(pthread_create(&a->thread, NULL, do_access, a), 0);
}

static void begin(struct software *s, struct access *a, nst_rid sid, uint64_t va)
{
	begin_request(s, a, sid,
		      &(struct endpoint_dma_request){ .iova = { va }, .pasid = NST_NO_PASID });
}

static int end(struct access *a)
{
	assert_int_equal(pthread_join(a->thread, NULL), 0);
	return a->ret;
}

static struct smmu_event next_record(struct software *s)
{
	struct smmu_event event;

	pthread_mutex_lock(&s->lock);
	while (s->count == s->taken)
		pthread_cond_wait(&s->came, &s->lock);
	event = s->records[s->taken++ % MAX_RECORDS];
	pthread_mutex_unlock(&s->lock);
	return event;
}

/* A stall of @sid: its STAG. The other fields of qword 1 are @fields. */
static unsigned int stalled(struct software *s, nst_rid sid, unsigned int type, uint64_t fields,
			    uint64_t va)
{
	struct smmu_event event = next_record(s);
	uint64_t qw1 = le64_get(event.qw[1]);

	assert_int_equal(le64_get(event.qw[0]) & 0xff, type);
	assert_int_equal(le64_get(event.qw[0]) >> 32, sid);
	assert_int_equal(qw1 & ~STAG, fields | STALL);
	assert_int_equal(le64_get(event.qw[2]), va);
	return (unsigned int)(qw1 & STAG);
}

static void terminated(struct software *s, unsigned int type)
{
	struct smmu_event event = next_record(s);

	assert_int_equal(le64_get(event.qw[0]) & 0xff, type);
	assert_int_equal(le64_get(event.qw[1]) & (STALL | STAG), 0);
}

static void resume(struct software *s, nst_rid sid, unsigned int stag, uint64_t action)
{
	assert_int_equal(rig_command(s->rig, 0x44 | action | (uint64_t)sid << 32, stag), 0);
}

static void stall_term(struct software *s, nst_rid sid)
{
	assert_int_equal(rig_command(s->rig, 0x45 | (uint64_t)sid << 32, 0), 0);
}

/* An access that stalls and is given up: its STAG stays taken. */
static unsigned int abandon_one(struct software *s, nst_rid sid)
{
	struct access a = { 0 };
	unsigned int stag;

	begin(s, &a, sid, 0x9000);
	stag = stalled(s, sid, F_TRANSLATION, RNW | CLASS_IN, 0x9000);
	smmu_hw_may_stall(s->own, sid, false);
	assert_int_equal(end(&a), -EFAULT);
	smmu_hw_may_stall(s->own, sid, true);
	return stag;
}

/* --- tests ---------------------------------------------------------------------------------- */

/*
 * s5.5: what becomes of a fault of stage 1. Rows: the unit without stalls and with, each with
 * S1STALLD 0 and 1; columns: ARS from 000 to 111. C_BAD_STE, C_BAD_CD, silent, recorded, waits.
 */
static const char outcomes[2][2][9] = { { "ccccscrc", "eeeeeeee" }, { "ccccswrw", "ccccscrc" } };
static const struct {
	unsigned int type;
	uint64_t bits, ipa;
	bool write;
} faults[] = {
	{ F_TRANSLATION, 0, 0, false },		  { F_TRANSLATION, 0, 0, true },
	{ F_ADDR_SIZE, D_RW, 1ULL << 46, false }, { F_ACCESS, D_RW & ~D_AF, 0x5000, true },
	{ F_PERMISSION, D_READ, 0x5000, true },
};

static void configure(struct software *s, unsigned int ars, bool stalld)
{
	uint64_t cd[8];

	memcpy(cd, s->rig->cd, sizeof(cd));
	cd[0] &= ~(C_A | C_R | C_S | 7ULL << 32);
	cd[0] |= 4ULL << 32; /* 44 bits */
	cd[0] |= (ars & 4 ? C_A : 0) | (ars & 2 ? C_R : 0) | (ars & 1 ? C_S : 0);
	rig_write_cd(s->rig, RIG_CDS, cd);
	s->rig->ste.s1[1] = (s->rig->ste.s1[1] & ~S1STALLD) | (stalld ? S1STALLD : 0);
	rig_set_ste(s->rig, RIG_SID, &s->rig->ste);
	rig_tlbi_all(s->rig);
}

static void expect_outcome(struct software *s, size_t fault, char outcome)
{
	const uint64_t fields = CLASS_IN | (faults[fault].write ? 0 : RNW);
	const struct endpoint_dma_request req = { .iova = { 0x3678 },
						  .pasid = NST_NO_PASID,
						  .write = faults[fault].write };
	struct access a = { 0 };
	unsigned int stag;

	rig_map(s->rig, 0x3000, faults[fault].ipa, 3, faults[fault].bits);
	rig_tlbi_all(s->rig);
	begin_request(s, &a, RIG_SID, &req);
	if (outcome == 'w') {
		stag = stalled(s, RIG_SID, faults[fault].type, fields, 0x3678);
		rig_map(s->rig, 0x3000, 0x5000, 3, D_RW);
		rig_tlbi_all(s->rig);
		resume(s, RIG_SID, stag, RETRY);
		assert_int_equal(end(&a), 0);
		return;
	}
	assert_int_equal(end(&a), -EFAULT);
	if (s->rig->hw == s->own && outcome != 's')
		terminated(s, outcome == 'e' ? 0x04 : outcome == 'c' ? 0x0a : faults[fault].type);
	if (s->rig->hw == s->of_rig)
		assert_int_equal(rig_take_event(s->rig), outcome == 'e'	  ? 0x04
							 : outcome == 'c' ? 0x0a
							 : outcome == 's' ? 0
									  : faults[fault].type);
	assert_int_equal(s->count, s->taken);
}

static void fault_configuration(void **state)
{
	struct software *s = *state;

	for (int stalls = 0; stalls < 2; stalls++)
		for (unsigned int row = 0; row < 16; row++)
			for (size_t fault = 0; fault < ARRAY_SIZE(faults); fault++) {
				s->rig->hw = stalls ? s->own : s->of_rig;
				configure(s, row & 7, row >> 3);
				expect_outcome(s, fault, outcomes[stalls][row >> 3][row & 7]);
			}
	s->rig->hw = s->own;
}

static void answers(void **state)
{
	static const uint64_t refusals[] = { ABORT, RAZ_WI }; /* TERM_MODEL = 1 */
	struct software *s = *state;
	struct access a = { 0 };
	unsigned int stag;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		begin(s, &a, RIG_SID, 0x3008);
		stag = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3008);
		assert_int_equal(rig_stats(s->rig).faults, i);
		/* for others, or for nobody: without effect */
		resume(s, OTHER_SID, stag, ABORT);
		resume(s, RIG_SID, stag + 1, ABORT);
		resume(s, RIG_SID, stag + 256, ABORT);
		resume(s, RIG_SID, 0xffff, ABORT);
		stall_term(s, OTHER_SID);
		/* it is as if it had just come: it may stall again */
		resume(s, RIG_SID, stag, RETRY);
		stag = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3008);
		resume(s, RIG_SID, stag, refusals[i]);
		assert_int_equal(end(&a), -EFAULT);
		assert_int_equal(rig_stats(s->rig).faults, i + 1);
	}
	/* after all this nothing is left of it: the same once more, and now mended */
	begin(s, &a, RIG_SID, 0x3008);
	stag = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3008);
	resume(s, OTHER_SID, stag, ABORT);
	resume(s, RIG_SID, stag + 256, ABORT);
	stall_term(s, OTHER_SID);
	rig_mark(s->rig, 0x5008, 0x1234);
	rig_map(s->rig, 0x3000, 0x5000, 3, D_RW);
	resume(s, RIG_SID, stag, RETRY | ABORT); /* Ab is ignored */
	assert_int_equal(end(&a), 0);
	assert_int_equal(a.word, 0x1234);
	resume(s, RIG_SID, stag, ABORT);
	assert_int_equal(rig_stats(s->rig).faults, 2);
}

static void substreams_and_rights(void **state)
{
	struct software *s = *state;
	struct access a = { 0 };
	struct smmu_event event;
	unsigned int n = 0;

	rig_make_s1(s->rig->ste.s1, RIG_CDS, 0, 4, 2);
	rig_write_cd(s->rig, RIG_CDS + 5 * 64, s->rig->cd);
	rig_set_ste(s->rig, RIG_SID, &s->rig->ste);
	for (unsigned int privileged = 0; privileged < 2; privileged++) {
		const struct endpoint_dma_request req = {
			.iova = { 0x3010 }, .pasid = 5, .write = true, .privileged = privileged
		};

		begin_request(s, &a, RIG_SID, &req);
		event = next_record(s);
		assert_int_equal(le64_get(event.qw[0]),
				 F_TRANSLATION | 1ULL << 11 | 5ULL << 12 | (uint64_t)RIG_SID << 32);
		assert_int_equal(le64_get(event.qw[1]), STALL | CLASS_IN | (privileged ? PNU : 0));
		assert_int_equal(le64_get(event.qw[2]), 0x3010);
		assert_int_equal(le64_get(event.qw[3]), 0);
		resume(s, RIG_SID, 0, ABORT);
		assert_int_equal(end(&a), -EFAULT);
		assert_int_equal(rig_stats(s->rig).faults, ++n);
	}
}

static void two_devices_at_once(void **state)
{
	struct software *s = *state;
	struct access a = { 0 }, b = { 0 };
	unsigned int first, second;

	begin(s, &a, RIG_SID, 0x3000);
	first = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000);
	begin(s, &b, OTHER_SID, 0x4000);
	second = stalled(s, OTHER_SID, F_TRANSLATION, RNW | CLASS_IN, 0x4000);
	assert_int_not_equal(first, second);
	/* others are not held up */
	rig_mark(s->rig, 0x6000, 77);
	rig_map(s->rig, 0x7000, 0x6000, 3, D_RW);
	assert_int_equal(rig_read(s->rig, 0x7000), 77);
	rig_map(s->rig, 0x3000, 0x6000, 3, D_RW);
	resume(s, OTHER_SID, first, RETRY);
	resume(s, OTHER_SID, second, ABORT);
	assert_int_equal(end(&b), -EFAULT);
	resume(s, RIG_SID, first, RETRY);
	assert_int_equal(end(&a), 0);
	assert_int_equal(a.word, 77);
}

/* What was done before the fault is done once; the retry goes on where it stopped. */
static void in_the_middle_of_a_transfer(void **state)
{
	static uint8_t out[3 * 4096];
	struct software *s = *state;
	struct access a = { 0 };
	unsigned int stag;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 4096);
	rig_map(s->rig, 0x10000, 0x100000, 3, D_RW);
	rig_map(s->rig, 0x12000, 0x104000, 3, D_RW);
	begin_request(s, &a, RIG_SID,
		      &(struct endpoint_dma_request){ .iova = { 0x10000 },
						      .pasid = NST_NO_PASID,
						      .write = true,
						      .buf = out,
						      .size = sizeof(out) });
	stag = stalled(s, RIG_SID, F_TRANSLATION, CLASS_IN, 0x11000);
	assert_memory_equal(s->rig->ram + 0x100000, out, 4096);
	s->rig->ram[0x100000] ^= 0xff; /* the guest's again */
	rig_map(s->rig, 0x11000, 0x102000, 3, D_RW);
	resume(s, RIG_SID, stag, RETRY);
	assert_int_equal(end(&a), 0);
	assert_int_equal(s->rig->ram[0x100000], out[0] ^ 0xff);
	assert_memory_equal(s->rig->ram + 0x102000, out + 4096, 4096);
	assert_memory_equal(s->rig->ram + 0x104000, out + 8192, 4096);
	assert_int_equal(rig_stats(s->rig).dma_write_bytes, sizeof(out));
	assert_int_equal(rig_stats(s->rig).faults, 0);
}

/* STE.S2S is for stage 2, CD.S for stage 1. */
static void each_stage_has_its_own(void **state)
{
	struct software *s = *state;
	struct access a = { 0 };
	struct smmu_hw_ste ste = s->rig->ste;
	uint64_t *upper;

	/* S without S2S: the page is not there; the table; the descriptor */
	rig_map(s->rig, 0x3000, HOLE, 3, D_RW);
	assert_int_equal(rig_read(s->rig, 0x3000), RIG_FAULT);
	terminated(s, F_TRANSLATION);
	/* S2S: the same stalls */
	ste.map.stalls = true;
	rig_set_ste(s->rig, RIG_SID, &ste);
	begin(s, &a, RIG_SID, 0x3000);
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | S2 | CLASS_IN, 0x3000), ABORT);
	assert_int_equal(end(&a), -EFAULT);
	rig_map(s->rig, 0x40000000, 0x5000, 3, D_RW);
	upper = rig_slot(s->rig, 0x40000000, 2);
	rig_store(upper, HOLE | D_VALID | D_TABLE);
	begin(s, &a, RIG_SID, 0x40000000);
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | S2 | CLASS_TT, 0x40000000),
	       ABORT);
	assert_int_equal(end(&a), -EFAULT);
	rig_make_s1(ste.s1, HOLE, 0, 0, 0);
	rig_set_ste(s->rig, RIG_SID, &ste);
	begin(s, &a, RIG_SID, 0x3000);
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | S2 | CLASS_CD, 0x3000), ABORT);
	assert_int_equal(end(&a), -EFAULT);
	/* S2S without S */
	rig_make_s1(ste.s1, RIG_CDS, 0, 0, 0);
	s->rig->cd[0] &= ~C_S;
	rig_write_cd(s->rig, RIG_CDS, s->rig->cd);
	rig_set_ste(s->rig, RIG_SID, &ste);
	assert_int_equal(rig_read(s->rig, 0x9000), RIG_FAULT);
	terminated(s, F_TRANSLATION);
}

static void without_a_guest(void **state)
{
	struct software *s = *state;
	struct smmu_hw_ste ste = { .config = SMMU_HW_BYPASS,
				   .map = { .s2 = &s->rig->s2, .stalls = true } };
	struct smmu_hw_map map = ste.map;
	struct access a = { 0 };

	rig_set_ste(s->rig, RIG_SID, &ste);
	begin(s, &a, RIG_SID, HOLE);
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | S2 | CLASS_IN, HOLE), ABORT);
	assert_int_equal(end(&a), -EFAULT);
	assert_int_equal(rig_read(s->rig, 1ULL << 48), RIG_FAULT); /* s3.12: always terminated */
	terminated(s, F_ADDR_SIZE);
	ste.config = SMMU_HW_PAGING;
	rig_set_ste(s->rig, RIG_SID, &ste);
	begin(s, &a, RIG_SID, HOLE);
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, HOLE), ABORT);
	assert_int_equal(end(&a), -EFAULT);
	ste.map.stalls = false;
	rig_set_ste(s->rig, RIG_SID, &ste);
	assert_int_equal(rig_read(s->rig, HOLE), RIG_FAULT);
	terminated(s, F_TRANSLATION);
	assert_int_equal(smmu_hw_set_ssid(s->own, RIG_SID, 3, &map), 0);
	begin_request(s, &a, RIG_SID,
		      &(struct endpoint_dma_request){ .iova = { HOLE }, .pasid = 3 });
	resume(s, RIG_SID, stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, HOLE), ABORT);
	assert_int_equal(end(&a), -EFAULT);
	/* a unit without stalls has neither bit, and neither command */
	s->rig->hw = s->of_rig;
	ste.map.stalls = true;
	assert_int_equal(smmu_hw_set_ste(s->of_rig, RIG_SID, &ste), -EINVAL);
	assert_int_equal(smmu_hw_set_ssid(s->of_rig, RIG_SID, 3, &map), -EINVAL);
	assert_int_equal(rig_command(s->rig, 0x44, 0), -EINVAL);
	assert_int_equal(rig_command(s->rig, 0x45, 0), -EINVAL);
	s->rig->hw = s->own;
}

/* Translation requests never stall, nor do translated ones, nor threads that must not wait. */
static void what_does_not_stall(void **state)
{
	struct software *s = *state;
	const struct endpoint_ats_request ats = { .iova = { 0x3000 }, .pasid = NST_NO_PASID };
	struct endpoint_ats_reply reply;
	uint64_t word;
	const struct endpoint_dma_request translated = { .iova = { 0x10 },
							 .pasid = NST_NO_PASID,
							 .translated = true,
							 .buf = &word,
							 .size = sizeof(word) };

	s->rig->ste.ats = true;
	rig_set_ste(s->rig, RIG_SID, &s->rig->ste);
	assert_int_equal(smmu_hw_translate(s->own, RIG_SID, &ats, &reply), 0);
	assert_false(reply.read || reply.write);
	assert_int_equal(smmu_hw_dma(s->own, RIG_SID, &translated), -EFAULT);
	terminated(s, 0x07);
	/* terminated at once, and recorded whatever R says */
	for (int r = 0; r < 2; r++) {
		s->rig->cd[0] = (s->rig->cd[0] & ~C_R) | (r ? C_R : 0);
		rig_write_cd(s->rig, RIG_CDS, s->rig->cd);
		rig_cfgi_cd_all(s->rig);
		atomic_store(&s->forbidden, true);
		assert_int_equal(rig_read(s->rig, 0x3000), RIG_FAULT);
		terminated(s, F_TRANSLATION);
		atomic_store(&s->forbidden, false);
		smmu_hw_may_stall(s->own, RIG_SID, false);
		assert_int_equal(rig_read(s->rig, 0x3000), RIG_FAULT);
		terminated(s, F_TRANSLATION);
		smmu_hw_may_stall(s->own, RIG_SID, true);
	}
	/* one stream's not waiting is not another's */
	smmu_hw_may_stall(s->own, OTHER_SID, false);
	abandon_one(s, RIG_SID);
	resume(s, RIG_SID, 0, ABORT);
}

static void stags_run_out(void **state)
{
	struct software *s = *state;
	struct access a = { 0 };
	bool used[256] = { false };

	for (unsigned int n = 0; n < 256; n++) {
		nst_rid sid = (nst_rid)(0x0200 + n / 64 * 8);
		unsigned int stag;

		rig_set_ste(s->rig, sid, &s->rig->ste);
		stag = abandon_one(s, sid);
		assert_true(stag < 256 && !used[stag]);
		used[stag] = true;
		if (n % 64 != 63)
			continue;
		/* a stream has no more than 64 */
		assert_int_equal(rig_read_as(s->rig, sid, NST_NO_PASID, 0x3000), RIG_FAULT);
		terminated(s, F_TRANSLATION);
	}
	assert_int_equal(rig_read(s->rig, 0x3000), RIG_FAULT); /* the unit has no more than 256 */
	terminated(s, F_TRANSLATION);
	/* what the device gave up is answered: that place can be taken, and by anybody */
	resume(s, 0x0208, 70, RETRY);
	begin(s, &a, RIG_SID, 0x3000);
	assert_int_equal(stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000), 70);
	/* a late answer for the one before is of another stream */
	resume(s, 0x0208, 70, RETRY);
	stall_term(s, 0x0208);
	rig_mark(s->rig, 0x5000, 5);
	rig_map(s->rig, 0x3000, 0x5000, 3, D_RW);
	resume(s, RIG_SID, 70, RETRY);
	assert_int_equal(end(&a), 0);
	assert_int_equal(a.word, 5);
	for (unsigned int n = 0; n < 4; n++)
		stall_term(s, (nst_rid)(0x0200 + n * 8));
	assert_int_equal(abandon_one(s, RIG_SID), 0);
	resume(s, RIG_SID, 0, ABORT);
}

static void terminated_by_stream(void **state)
{
	struct software *s = *state;
	struct access a = { 0 }, b = { 0 }, c = { 0 };
	unsigned int stag;

	begin(s, &a, RIG_SID, 0x3000);
	stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000);
	begin(s, &b, RIG_SID, 0x3000);
	stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000);
	begin(s, &c, OTHER_SID, 0x3000);
	stag = stalled(s, OTHER_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000);
	assert_int_equal(stag, 2);
	/* s4.7.2: first the entry, then the command */
	rig_set_ste(s->rig, RIG_SID, NULL);
	stall_term(s, RIG_SID);
	assert_int_equal(end(&a), -EFAULT);
	assert_int_equal(end(&b), -EFAULT);
	rig_set_ste(s->rig, 0x0200, &s->rig->ste);
	assert_int_equal(abandon_one(s, 0x0200), 0); /* both are free again */
	resume(s, 0x0200, 0, ABORT);
	rig_map(s->rig, 0x3000, 0x5000, 3, D_RW);
	resume(s, OTHER_SID, stag, RETRY);
	assert_int_equal(end(&c), 0);
}

/* A retry meets what is there by then, even another entry. */
static void retried_after_a_change(void **state)
{
	struct software *s = *state;
	const struct smmu_hw_ste bypass = { .config = SMMU_HW_BYPASS, .map.s2 = &s->rig->s2 };
	struct access a = { 0 };
	unsigned int stag;

	begin(s, &a, RIG_SID, 0x3000);
	stag = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x3000);
	rig_mark(s->rig, 0x3000, 0xabcd);
	rig_set_ste(s->rig, RIG_SID, &bypass);
	resume(s, RIG_SID, stag, RETRY);
	assert_int_equal(end(&a), 0);
	assert_int_equal(a.word, 0xabcd);
	rig_set_ste(s->rig, RIG_SID, &s->rig->ste);
	begin(s, &a, RIG_SID, 0x4000);
	stag = stalled(s, RIG_SID, F_TRANSLATION, RNW | CLASS_IN, 0x4000);
	rig_set_ste(s->rig, RIG_SID, NULL);
	resume(s, RIG_SID, stag, RETRY);
	assert_int_equal(end(&a), -EFAULT); /* no event of an entry that aborts */
}

/* --- everybody at once ---------------------------------------------------------------------- */

enum { DEVICES = 3, ACCESSES = 400, PAGES = 8 };

struct device {
	struct software *s;
	nst_rid sid;
	unsigned int good, bad;
	pthread_t thread;
};

static atomic_uint at_work;

static void *work(void *arg)
{
	struct device *d = arg;
	uint64_t seed = d->sid, word = 0;

	for (unsigned int n = 0; n < ACCESSES; n++) {
		const struct endpoint_dma_request req = {
			/* each has its own place in a page */
			.iova = { 0x10000 + (test_random(&seed) % PAGES << 12) + d->sid % 256 },
			.pasid = NST_NO_PASID,
			.write = true,
			.buf = &word,
			.size = sizeof(word),
		};

		if (smmu_hw_dma(d->s->own, d->sid, &req))
			d->bad++;
		else
			d->good++;
	}
	atomic_fetch_sub(&at_work, 1);
	return NULL;
}

static void *stop_and_go(void *arg)
{
	struct software *s = arg;
	uint64_t seed = 9;

	while (atomic_load(&at_work)) {
		nst_rid sid = (nst_rid)(0x0200 + test_random(&seed) % DEVICES * 8);

		smmu_hw_may_stall(s->own, sid, false);
		sched_yield();
		smmu_hw_may_stall(s->own, sid, true);
		for (int i = 0; i < 20; i++)
			sched_yield();
	}
	return NULL;
}

static bool try_record(struct software *s, struct smmu_event *event)
{
	bool there;

	pthread_mutex_lock(&s->lock);
	there = s->count != s->taken;
	if (there)
		*event = s->records[s->taken++ % MAX_RECORDS];
	pthread_mutex_unlock(&s->lock);
	return there;
}

/* Answers every stall, once: mended, not mended, or refused. */
static void serve(struct software *s)
{
	struct smmu_event event;
	uint64_t seed = 4;

	for (;;) {
		bool working = atomic_load(&at_work);
		uint64_t va, kind = test_random(&seed) % 4;
		nst_rid sid;

		if (kind == 3)
			rig_map(s->rig, 0x10000 + (test_random(&seed) % PAGES << 12), 0, 3, 0);
		if (kind == 3)
			rig_tlbi_all(s->rig);
		if (!try_record(s, &event)) {
			if (!working)
				break;
			sched_yield();
			continue;
		}
		if (!(le64_get(event.qw[1]) & STALL))
			continue;
		va = le64_get(event.qw[2]);
		sid = (nst_rid)(le64_get(event.qw[0]) >> 32);
		if (kind < 2)
			rig_map(s->rig, va & -4096ULL, 0x200000 + va, 3, D_RW);
		resume(s, sid, (unsigned int)(le64_get(event.qw[1]) & STAG),
		       kind == 2 ? ABORT : RETRY);
	}
}

static void everybody_at_once(void **state)
{
	struct software *s = *state;
	struct device devices[DEVICES];
	unsigned int bad = 0, good = 0;
	pthread_t stopper;

	atomic_store(&at_work, DEVICES);
	for (unsigned int i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){ .s = s, .sid = (nst_rid)(0x0200 + i * 8) };
		rig_set_ste(s->rig, devices[i].sid, &s->rig->ste);
		assert_int_equal(pthread_create(&devices[i].thread, NULL, work, &devices[i]), 0);
	}
	assert_int_equal(pthread_create(&stopper, NULL, stop_and_go, s), 0);
	serve(s);
	assert_int_equal(pthread_join(stopper, NULL), 0);
	for (unsigned int i = 0; i < DEVICES; i++) {
		assert_int_equal(pthread_join(devices[i].thread, NULL), 0);
		good += devices[i].good;
		bad += devices[i].bad;
	}
	assert_int_equal(good + bad, DEVICES * ACCESSES);
	assert_true(good && bad);
	assert_int_equal(rig_stats(s->rig).faults, bad);
	/* none is left: all that there are can be had */
	for (unsigned int n = 0; n < 64; n++)
		assert_int_equal(abandon_one(s, RIG_SID), n);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(fault_configuration),
		TEST(answers),
		TEST(substreams_and_rights),
		TEST(two_devices_at_once),
		TEST(in_the_middle_of_a_transfer),
		TEST(each_stage_has_its_own),
		TEST(without_a_guest),
		TEST(what_does_not_stall),
		TEST(stags_run_out),
		TEST(terminated_by_stream),
		TEST(retried_after_a_change),
		TEST(everybody_at_once),
	};

	return cmocka_run_group_tests_name("smmu_hw_stall", tests, NULL, NULL);
}
