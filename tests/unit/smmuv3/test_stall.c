// SPDX-License-Identifier: BSD-3-Clause
/*
 * Transactions of emulated devices that stall: which do, what the guest is told, and everything
 * that ends the waiting. Words are as SMMUv3 IHI0070G.b s7.3 has them, written out.
 */
#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#define RID 0x25
#define OTHER 0x26
#define CD_AT GPA_CDTAB
#define ASID 7
#define AT_A (PROBE_IOVA + 1 * PAGE_SIZE_4K)
#define NOT_THERE 0x5000ULL
#define STALL (1ULL << 31)
enum { RETRY = NST_STALL_RETRY, ABORT = NST_STALL_ABORT, TERMINATED = NST_STALL_TERMINATED };

/* Streams RID and OTHER have stage 1, by one CD that lets faults stall. */
static struct rig *rig_stalling(void)
{
	struct rig *rig =
		rig_create(&(struct rig_options){ .ssid_bits = 8, .features = NST_SMMUV3_STALLS });

	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	*mem64(rig, CD_AT) |= CD_S;
	guest_ste(rig, RID)[0] = STE_S1(CD_AT);
	guest_ste(rig, OTHER)[0] = STE_S1(CD_AT);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	return rig;
}

/* An access that must stall. */
static unsigned int stall(struct nst_notifier *n, uint64_t iova)
{
	unsigned int tag = 0x10000;
	uint64_t gpa;

	err(EINPROGRESS, waiting(n, NST_NO_PASID, iova, true, &gpa, &tag));
	assert_true(tag < 0x10000);
	return tag;
}

/* The answer to @tag has come, and no other. */
static void expect_answer(struct rig *rig, unsigned int *answers, unsigned int tag, int answer)
{
	assert_int_equal(rig->stall_answers, ++*answers);
	assert_int_equal(rig->stall_tag, tag);
	assert_int_equal(rig->stall_answer, answer);
}

static void the_guest_decides(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	uint64_t event[4], gpa;
	unsigned int answers = 0, tag = stall(n, NOT_THERE + 0x123), other;

	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0x10 | (uint64_t)RID << 32);
	assert_int_equal(event[1], tag | STALL | 2ULL << 40); /* a write, CLASS = IN */
	assert_int_equal(event[2], NOT_THERE + 0x123);
	assert_int_equal(event[3], 0);
	assert_int_equal(event_type(rig), 0);
	assert_int_equal(rig->stall_answers, 0);
	/* what names no waiting transaction has no effect */
	cmdq_run(rig, CMD_RESUME(OTHER) | RESUME_RETRY, tag);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag ^ 1);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag + 256);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, 0xffff);
	cmdq_run(rig, CMD_RESUME(RID | 0x10000) | RESUME_RETRY, tag);
	cmdq_run(rig, CMD_STALL_TERM(OTHER), 0);
	cmdq_run(rig, CMD_STALL_TERM(RID | 0x10000), 0);
	assert_int_equal(rig->stall_answers, 0);
	/* the page comes: no invalidation is owed for what was not there */
	guest_map(rig, rig->root_a, NOT_THERE, GPA_DATA);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	expect_answer(rig, &answers, tag, RETRY);
	ok(waiting(n, NST_NO_PASID, NOT_THERE + 0x123, true, &gpa, &other));
	assert_int_equal(gpa, GPA_DATA + 0x123);
	/* once */
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	assert_int_equal(rig->stall_answers, answers);
	/* no, whatever AB says; answers may come in any order */
	for (uint64_t ab = 0; ab < 2; ab++) {
		tag = stall(n, 0x7000);
		other = stall(n, 0x8000);
		assert_int_not_equal(tag, other);
		cmdq_run(rig, CMD_RESUME(RID) | ab << 13, other);
		expect_answer(rig, &answers, other, ABORT);
		cmdq_run(rig, CMD_RESUME(RID) | ab << 13, tag);
		expect_answer(rig, &answers, tag, ABORT);
	}
	assert_int_equal(rig_stats(rig).stalls, 5);
	assert_int_equal(rig_stats(rig).stall_answers, 5);
	rig_destroy(rig);
}

/* qemu.md 4.2 (6): there nothing stalls. Retried before it is mended, it stalls again. */
static void qemu_6_stalls_are_served(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	unsigned int answers = 0, tag;

	for (int i = 0; i < 1000; i++) {
		uint64_t event[4];

		tag = stall(n, NOT_THERE);
		assert_true(event_take(rig, event));
		cmdq_run(rig, CMD_RESUME(event[0] >> 32) | RESUME_RETRY, event[1] & 0xffff);
		expect_answer(rig, &answers, tag, RETRY);
	}
	rig_destroy(rig);
}

static void faults_of_the_page_alone_stall(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	uint64_t *pte = guest_pte(rig, rig->root_a, PROBE_IOVA), event[4], gpa;
	static const struct {
		uint64_t pte;
		unsigned int type;
	} cases[] = {
		{ 0, 0x10 },
		{ 1ULL << 46 | PTE_PAGE, 0x11 },
		{ AT_A | (PTE_PAGE & ~0x400ULL), 0x12 },
		{ AT_A | PTE_PAGE | 1 << 7, 0x13 },
	};
	unsigned int tag = 0;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		*pte = cases[i].pte;
		cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
		for (int record = 0; record < 2; record++) { /* CD.R says nothing */
			*mem64(rig, CD_AT) ^= 1ULL << 45;
			cmdq_run(rig, CMD_CFGI_ALL, 31);
			tag = stall(n, PROBE_IOVA);
			assert_true(event_take(rig, event));
			assert_int_equal(event[0] & 0xff, cases[i].type);
			assert_int_equal(event[1] & (STALL | 0xffff), STALL | tag);
			cmdq_run(rig, CMD_RESUME(RID), tag);
			/* who cannot wait is refused, and the guest is told */
			err(EFAULT, emulated(rig, RID, NST_NO_PASID, PROBE_IOVA, true, &gpa));
			assert_true(event_take(rig, event));
			assert_int_equal(event[0] & 0xff, cases[i].type);
			assert_int_equal(event[1], 2ULL << 40);
		}
	}
	/* a table that is no memory, a bad CD, a bad entry */
	*mem64(rig, rig->root_a) = GPA_NOTHING | 3;
	cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
	err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
	assert_int_equal(event_type(rig), 0xb);
	*mem64(rig, CD_AT) &= ~(1ULL << 31);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
	assert_int_equal(event_type(rig), 0xa);
	guest_ste(rig, RID)[0] = STE_ABORT;
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
	assert_int_equal(event_type(rig), 0);
	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	reg32_set(rig, REG_GBPA, GBPA_UPDATE | GBPA_ABORT);
	err(EFAULT, waiting(n, NST_NO_PASID, PROBE_IOVA, true, &gpa, &tag));
	assert_int_equal(rig->stall_answers, 8);
	rig_destroy(rig);
}

/* CD.S, by substream; S1STALLD makes it illegal, and goes to the host. */
static void tables_say_what_stalls(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	uint64_t event[4], gpa;
	unsigned int tag;
	struct smmu_table_fault fault;
	struct smmu_stream s;
	struct smmu_ste ste = { .qw = { { htole64(STE_S1(CD_AT)) }, { htole64(STE1_S1STALLD) } } };
	struct smmu_idr idr = rig_unit(rig)->idr;

	guest_ste(rig, RID)[0] = STE_S1(CD_AT) | STE_CDMAX(2);
	guest_ste(rig, RID)[1] = 2; /* SSID 0 is that of requests without */
	guest_write_cd(rig, CD_AT + 64, rig->root_a, ASID);
	guest_write_cd(rig, CD_AT + 128, rig->root_a, ASID);
	*mem64(rig, CD_AT + 128) |= CD_S;
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	stall(n, NOT_THERE);
	assert_int_equal(event_type(rig), 0x10);
	err(EFAULT, waiting(n, 1, NOT_THERE, true, &gpa, &tag));
	assert_int_equal(event_type(rig), 0x10);
	err(EINPROGRESS, waiting(n, 2, NOT_THERE, false, &gpa, &tag));
	assert_true(event_take(rig, event));
	assert_int_equal(event[0], 0x10 | 1ULL << 11 | 2ULL << 12 | (uint64_t)RID << 32);
	assert_int_equal(event[1], tag | STALL | 1ULL << 35 | 2ULL << 40);
	guest_ste(rig, RID)[1] = 2 | STE1_S1STALLD;
	cmdq_run(rig, CMD_CFGI_STE(RID), 1);
	err(EFAULT, waiting(n, 2, NOT_THERE, false, &gpa, &tag));
	assert_int_equal(event_type(rig), 0xa); /* C_BAD_CD */
	err(EFAULT, waiting(n, 1, NOT_THERE, false, &gpa, &tag));
	assert_int_equal(event_type(rig), 0x10);
	assert_true(smmu_ste_decode(&ste, &idr, &s, &fault));
	assert_int_equal(le64toh(s.ste.ste[1]), STE1_S1STALLD);
	ste.qw[1] = le64_make(0);
	assert_true(smmu_ste_decode(&ste, &idr, &s, &fault));
	assert_int_equal(s.ste.ste[1], 0);
	rig_destroy(rig);
}

static void commands_are_illegal_where_nothing_stalls(void **state)
{
	struct rig *rig = rig_create(&(struct rig_options){ 0 });
	static const uint64_t commands[] = { CMD_RESUME(RID), CMD_STALL_TERM(RID) };
	unsigned int tag;
	uint64_t gpa;

	guest_enable(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	guest_ste(rig, RID)[0] = STE_S1(CD_AT);
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	err(EFAULT, waiting(rig_listen(rig, RID), NST_NO_PASID, NOT_THERE, false, &gpa, &tag));
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		uint32_t at = rig->prod;

		cmdq_put(rig, commands[i], 0);
		cmdq_kick(rig);
		assert_int_equal(cmdq_error(rig), 1); /* CERROR_ILL */
		assert_int_equal(cmdq_cons(rig), at);
		*mem64(rig, GPA_CMDQ + (at & 0xff) * 16) = CMD_SYNC;
		cmdq_ack(rig);
		assert_int_equal(cmdq_cons(rig), rig->prod);
	}
	rig_destroy(rig);
	rig = rig_stalling(); /* nor may they be of the secure state: SSec */
	cmdq_put(rig, CMD_RESUME(RID) | 1 << 10, 0);
	cmdq_kick(rig);
	assert_int_equal(cmdq_error(rig), 1);
	rig_destroy(rig);
}

/* --- what ends the waiting ------------------------------------------------------------------- */

static void a_stream_is_terminated(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID), *other = rig_listen(rig, OTHER);
	unsigned int answers = 0, tag, of_other = stall(other, NOT_THERE);

	tag = stall(n, NOT_THERE);
	cmdq_run(rig, CMD_STALL_TERM(RID), 0);
	expect_answer(rig, &answers, tag, TERMINATED);
	cmdq_run(rig, CMD_RESUME(RID), tag); /* over */
	assert_int_equal(rig->stall_answers, answers);
	cmdq_run(rig, CMD_RESUME(OTHER) | RESUME_RETRY, of_other);
	expect_answer(rig, &answers, of_other, RETRY);
	stall(n, NOT_THERE);
	stall(n, NOT_THERE);
	stall(other, NOT_THERE);
	cmdq_run(rig, CMD_STALL_TERM(RID), 0);
	assert_int_equal(rig->stall_answers, answers + 2);
	rig_destroy(rig);
}

/* SMMUEN, reset: whoever waits does so no more, and no STAG is left taken. */
static void the_end_of_the_unit_ends_all(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	unsigned int answers = 0, tag = stall(n, NOT_THERE);

	cr0_set(rig, CR0_CMDQEN | CR0_EVENTQEN);
	expect_answer(rig, &answers, tag, TERMINATED);
	cr0_set(rig, CR0_ALL);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	assert_int_equal(rig->stall_answers, answers);
	tag = stall(n, NOT_THERE);
	nst_viommu_reset(rig->viommu);
	expect_answer(rig, &answers, tag, TERMINATED);
	guest_setup(rig);
	guest_write_cd(rig, CD_AT, rig->root_a, ASID);
	*mem64(rig, CD_AT) |= CD_S;
	guest_ste(rig, RID)[0] = STE_S1(CD_AT);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(event_type(rig), 0);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	assert_int_equal(rig->stall_answers, answers);
	assert_int_equal(stall(n, NOT_THERE), 0);
	rig_destroy(rig);
}

/* What the guest was told of keeps its STAG till it is answered, though nobody waits. */
static void a_device_that_leaves(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	unsigned int tag = stall(n, NOT_THERE), next;

	rig_listen_end(rig, n);
	n = rig_listen(rig, RID); /* another one, in its place */
	next = stall(n, NOT_THERE);
	assert_int_not_equal(next, tag);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tag);
	assert_int_equal(rig->stall_answers, 0);
	assert_int_equal(stall(n, NOT_THERE), tag); /* free again */
	rig_destroy(rig);
}

/* --- bounds ---------------------------------------------------------------------------------- */

/* What finds no place is refused at once, and the record says that it does not wait. */
static void places_are_limited(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *streams[4];
	static const nst_rid rids[] = { RID, OTHER, 0x30, 0x31 };
	bool seen[256] = { false };
	uint64_t event[4], gpa;
	unsigned int tag;

	for (unsigned int i = 0; i < 4; i++) {
		guest_ste(rig, rids[i])[0] = STE_S1(CD_AT);
		streams[i] = rig_listen(rig, rids[i]);
	}
	cmdq_run(rig, CMD_CFGI_ALL, 31);
	for (unsigned int i = 0; i < 4; i++) {
		for (int count = 0; count < 64; count++) {
			tag = stall(streams[i], NOT_THERE);
			assert_true(tag < 256 && !seen[tag]);
			seen[tag] = true;
			assert_true(event_take(rig, event));
		}
		err(EFAULT, waiting(streams[i], NST_NO_PASID, NOT_THERE, true, &gpa, &tag));
		assert_true(event_take(rig, event));
		assert_int_equal(event[1], 2ULL << 40);
	}
	cmdq_run(rig, CMD_RESUME(rids[1]), 100);
	assert_int_equal(rig->stall_answers, 1);
	assert_int_equal(stall(streams[1], NOT_THERE), 100);
	assert_true(event_take(rig, event));
	cmdq_run(rig, CMD_STALL_TERM(rids[2]), 0);
	assert_int_equal(rig->stall_answers, 65);
	stall(streams[2], NOT_THERE);
	rig_destroy(rig);
}

static uint32_t prod(struct rig *rig)
{
	return reg32(rig, REG_EVENTQ_PROD);
}

/* s7.2.1: such a record waits for room; it is no overflow. */
static void records_wait_for_room(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	uint64_t event[4], gpa;
	unsigned int tags[40], answers = 0;

	for (unsigned int i = 0; i < 40; i++)
		tags[i] = stall(n, i * PAGE_SIZE_4K);
	assert_int_equal(prod(rig), 32); /* full; no OVFLG */
	assert_int_equal(rig_stats(rig).stalls, 32);
	/* an event of another kind is one that is lost, as ever */
	err(EFAULT, emulated(rig, RID, NST_NO_PASID, NOT_THERE, true, &gpa));
	assert_int_equal(prod(rig), 32 | 1u << 31);
	reg32_set(rig, REG_EVENTQ_CONS, 1u << 31); /* seen */
	/* what the guest has not heard of it cannot answer; nor what is not its stream's */
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tags[33]);
	assert_int_equal(rig->stall_answers, 0);
	for (unsigned int i = 0; i < 40; i++) {
		assert_true(event_take(rig, event));
		assert_int_equal(event[1] & 0xffff, tags[i]);
		assert_int_equal(event[2], i * PAGE_SIZE_4K);
	}
	assert_false(event_take(rig, event));
	assert_int_equal(rig_stats(rig).stalls, 40);
	cmdq_run(rig, CMD_RESUME(RID) | RESUME_RETRY, tags[33]);
	expect_answer(rig, &answers, tags[33], RETRY);
	rig_destroy(rig);
}

/* ... or for the queue to be there: EVENTQEN, and an error that is seen. */
static void records_wait_for_the_queue(void **state)
{
	struct rig *rig = rig_stalling();
	struct nst_notifier *n = rig_listen(rig, RID);
	unsigned int answers = 0, first, second;
	uint64_t event[4];

	cr0_set(rig, CR0_CMDQEN | CR0_SMMUEN);
	first = stall(n, NOT_THERE);
	second = stall(n, NOT_THERE);
	assert_int_equal(prod(rig), 0);
	/* terminated before anybody has heard of it: no record at all */
	rig_listen(rig, OTHER);
	stall(rig->notifiers[1], NOT_THERE);
	cmdq_run(rig, CMD_STALL_TERM(OTHER), 0);
	answers = rig->stall_answers;
	assert_int_equal(answers, 1);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_NOTHING | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	assert_int_equal((reg32(rig, REG_GERROR) ^ reg32(rig, REG_GERRORN)) & 4, 4);
	assert_int_equal(prod(rig), 0);
	cr0_set(rig, CR0_CMDQEN | CR0_SMMUEN);
	reg64_set(rig, REG_EVENTQ_BASE, GPA_EVENTQ | EVENTQ_LG2);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(prod(rig), 0); /* the error is active */
	cmdq_ack(rig);
	assert_int_equal(prod(rig), 2);
	assert_true(event_take(rig, event));
	assert_int_equal(event[1] & 0xffff, first);
	assert_true(event_take(rig, event));
	assert_int_equal(event[1] & 0xffff, second);
	/* its device leaves before it is recorded: as if it had never been */
	cr0_set(rig, CR0_CMDQEN | CR0_SMMUEN);
	rig_listen_end(rig, rig->notifiers[1]);
	n = rig_listen(rig, OTHER);
	first = stall(n, NOT_THERE);
	rig_listen_end(rig, n);
	cr0_set(rig, CR0_ALL);
	assert_int_equal(prod(rig), 2);
	n = rig_listen(rig, OTHER);
	assert_int_equal(stall(n, NOT_THERE), first);
	rig_destroy(rig);
}

/* --- beside commands ------------------------------------------------------------------------- */

struct racer {
	struct nst_notifier *n;
	int ret;
	uint64_t gpa;
};

static void *race(void *arg)
{
	struct racer *r = arg;
	unsigned int tag;

	r->ret = waiting(r->n, NST_NO_PASID, NOT_THERE, true, &r->gpa, &tag);
	return NULL;
}

/*
 * A fault that was found before the guest had a command carried out is looked at again after it:
 * what the guest then does to end such transactions would not meet it.
 */
static void nothing_stalls_by_tables_of_before(void **state)
{
	struct rig *rig = rig_stalling();
	struct racer r = { .n = rig_listen(rig, RID) };
	struct smmu_unit *u = rig_unit(rig);
	uint64_t walks = atomic_load(&u->xlate.walks);
	uint64_t *pte = guest_pte(rig, rig->root_a, NOT_THERE), there;
	pthread_t thread;

	guest_map(rig, rig->root_a, NOT_THERE, GPA_DATA);
	there = *pte;
	*pte = 0;
	for (int i = 0; i < 2; i++) {
		mutex_lock(&u->cmd_lock); /* a command is under way */
		ok(pthread_create(&thread, NULL, race, &r));
		while (atomic_load(&u->xlate.walks) == walks)
			sched_yield();
		walks = atomic_load(&u->xlate.walks);
		if (!i) {
			__atomic_store_n(pte, there, __ATOMIC_RELEASE);
		} else { /* as a CD without S, and CFGI_CD, make it */
			__atomic_fetch_and(mem64(rig, CD_AT), ~CD_S, __ATOMIC_RELEASE);
			rwlock_write(&u->xlate.lock);
			memset(u->xlate.entries, 0, sizeof(u->xlate.entries));
			rwlock_write_end(&u->xlate.lock);
		}
		mutex_unlock(&u->cmd_lock);
		ok(pthread_join(thread, NULL));
		assert_int_equal(r.ret, i ? -EFAULT : 0);
		assert_int_equal(rig_stats(rig).stalls, 0);
		*pte = 0;
		cmdq_run(rig, CMD_TLBI_NH_ALL, 0);
		walks = atomic_load(&u->xlate.walks);
	}
	rig_destroy(rig);
}

/* --- who may ask ----------------------------------------------------------------------------- */

static void who_may_wait(void **state)
{
	struct rig *rig =
		rig_create(&(struct rig_options){ .features = NST_SMMUV3_STALLS, .stalls = true });
	struct rig_device *d = rig_add_device(rig);
	struct nst_notifier_config config = { .rid = d->rid,
					      .pasid = NST_NO_PASID,
					      .last = { UINT64_MAX } };
	struct nst_translate_request req = { .rid = RID,
					     .pasid = NST_NO_PASID,
					     .iova = { 0x5000 } };
	struct nst_translation out;
	struct nst_notifier *n, *deaf;
	unsigned int tag;

	err(EEXIST, nst_viommu_notify(rig->viommu, &config, &n));
	config.rid = RID;
	ok(nst_viommu_notify(rig->viommu, &config, &deaf));
	err(EINVAL, nst_notifier_translate(deaf, &req, &out, &tag)); /* nobody to answer to */
	n = rig_listen(rig, RID);
	ok(nst_notifier_translate(n, &req, &out, &tag));
	assert_int_equal(out.gpa.v, 0x5000);
	req.rid = RID + 1;
	err(EINVAL, nst_notifier_translate(n, &req, &out, &tag));
	nst_notifier_remove(deaf);
	/* a requester is of one kind */
	nst_viommu_detach(rig->viommu, d->rid);
	err(EEXIST, nst_viommu_attach(rig->viommu, RID, d->dev));
	rig_listen_end(rig, n);
	ok(nst_viommu_attach(rig->viommu, RID, d->dev));
	nst_viommu_detach(rig->viommu, RID);
	d->rid = RID;
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_decides),
		cmocka_unit_test(qemu_6_stalls_are_served),
		cmocka_unit_test(faults_of_the_page_alone_stall),
		cmocka_unit_test(tables_say_what_stalls),
		cmocka_unit_test(commands_are_illegal_where_nothing_stalls),
		cmocka_unit_test(a_stream_is_terminated),
		cmocka_unit_test(the_end_of_the_unit_ends_all),
		cmocka_unit_test(a_device_that_leaves),
		cmocka_unit_test(places_are_limited),
		cmocka_unit_test(records_wait_for_room),
		cmocka_unit_test(records_wait_for_the_queue),
		cmocka_unit_test(nothing_stalls_by_tables_of_before),
		cmocka_unit_test(who_may_wait),
	};

	return cmocka_run_group_tests_name("smmuv3 stalls", tests, NULL, NULL);
}
