// SPDX-License-Identifier: BSD-3-Clause
/*
 * The bus of an emulated device: DMA in pieces by the guest's tables, ATS, groups of page requests,
 * and that no access by an old translation comes after its invalidation.
 */
#include "../vtd/translate_world.h"

#include "base/alloc.h"
#include "endpoint/endpoint.h"
#include "frontend/emulated_bus.h"

#include <pthread.h>
#include <stdatomic.h>

#define DTE 4ULL
#define PRE (1ULL << 4)
#define PAGE_QUEUE 0x10000ULL
#define OTHER 0xa00000ULL

struct device {
	struct world *w;
	uint64_t root;
	struct endpoint ep;
	struct emulated_bus bus;
	struct endpoint_ops ops;
	/* what came */
	unsigned int messages, interrupts, kicks, invalidates, answers;
	uint64_t address, first, last;
	uint32_t data, pasid;
	struct endpoint_page_response answer;
};

static struct device *of(struct endpoint *ep)
{
	return container_of(ep, struct device, ep);
}

static void message(void *opaque, uint64_t address, uint32_t data)
{
	struct device *d = opaque;

	d->messages++;
	d->address = address;
	d->data = data;
}

static void interrupt(void *opaque, unsigned int vector)
{
	((struct device *)opaque)->interrupts += vector;
}

static void kick(void *opaque)
{
	((struct device *)opaque)->kicks++;
}

static void ats_invalidate(struct endpoint *ep, uint32_t pasid, nst_iova iova, nst_iova last)
{
	struct device *d = of(ep);

	d->invalidates++;
	d->pasid = pasid;
	d->first = iova.v;
	d->last = last.v;
}

static void page_response(struct endpoint *ep, const struct endpoint_page_response *response)
{
	struct device *d = of(ep);

	d->answers++;
	d->answer = *response;
}

static const struct emulated_bus_ops bus_ops = {
	.message = message,
	.interrupt = interrupt,
	.kick = kick,
};

static void begin(struct device *d, bool listen)
{
	*d = (struct device){
		.w = create(0),
		.ops = { .ats_invalidate = ats_invalidate, .page_response = page_response },
	};
	d->root = first_stage(d->w);
	set_entry(d->w, 5, 1, 1, d->root, 0);
	at(d->w, CONTEXT + RID * 32)[0] |= DTE | PRE;
	set(d->w, 0xd0, 8, PAGE_QUEUE);
	enable(d->w, 1);
	d->ep.ops = &d->ops;
	emulated_bus_init(&d->bus, &d->ep, d->w->viommu, nst_vm_mem(d->w->vm), RID, &bus_ops, d);
	if (listen)
		assert_int_equal(emulated_bus_listen(&d->bus), 0);
}

static void end(struct device *d)
{
	emulated_bus_fini(&d->bus);
	destroy(d->w);
}

static int dma(struct device *d, uint64_t iova, bool write, void *buf, size_t size)
{
	const struct endpoint_dma_request req = {
		.iova = { iova }, .pasid = NO, .write = write, .buf = buf, .size = size,
	};

	return d->bus.bus.ops->dma(&d->bus.bus, &req);
}

static void dma_in_pieces(void **state)
{
	struct device d;
	uint8_t out[0x1800], in[sizeof(out)];
	uint64_t wide = UINT64_MAX - 3;

	begin(&d, true);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	*fs_pte(d.w, d.root, IOVA + 0x1000) = OTHER | 7;
	assert_int_equal(dma(&d, IOVA + 0x400, true, out, sizeof(out)), 0);
	assert_memory_equal(d.w->bytes + DATA + 0x400, out, 0xc00);
	assert_memory_equal(d.w->bytes + OTHER, out + 0xc00, 0xc00);
	assert_int_equal(dma(&d, IOVA + 0x400, false, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(d.bus.bytes_read, sizeof(in));
	assert_int_equal(d.bus.bytes_written, sizeof(out));
	/* what is before a fault is transferred, as on a real bus */
	memset(d.w->bytes + OTHER, 0, 4096);
	assert_int_equal(dma(&d, IOVA + 0x1f00, true, out, 0x200), -EFAULT);
	assert_memory_equal(d.w->bytes + OTHER + 0xf00, out, 0x100);
	/* not around the end of the addresses, though both pages are there */
	*fs_pte(d.w, d.root, wide) = OTHER | 7;
	*fs_pte(d.w, d.root, 0) = OTHER | 7;
	assert_int_equal(dma(&d, wide, true, out, 4), 0);
	assert_int_equal(dma(&d, wide, true, out, 8), -EFAULT);
	/* translated, but to no memory */
	*fs_pte(d.w, d.root, IOVA + 0x5000) = BEYOND | 7;
	assert_int_equal(dma(&d, IOVA + 0x5000, true, out, 8), -EFAULT);
	assert_int_equal(d.bus.bytes_written, sizeof(out) + 0x100 + 4);
	end(&d);
}

static void other_attributes(void **state)
{
	struct device d;
	uint64_t word = 0x1122334455667788, got;
	struct endpoint_dma_request req = {
		.iova = { IOVA }, .pasid = 5, .write = true, .buf = &word, .size = 8,
	};

	begin(&d, true);
	assert_int_equal(d.bus.bus.ops->dma(&d.bus.bus, &req), 0);
	memcpy(&got, d.w->bytes + DATA, 8);
	assert_int_equal(got, word);
	req.privileged = true; /* SRE is off */
	assert_int_equal(d.bus.bus.ops->dma(&d.bus.bus, &req), -EFAULT);
	req.pasid = 6;
	req.privileged = false;
	assert_int_equal(d.bus.bus.ops->dma(&d.bus.bus, &req), -EFAULT);
	/* translated: as it is */
	req = (struct endpoint_dma_request){
		.iova = { OTHER }, .pasid = NO, .write = true, .translated = true, .buf = &word, .size = 8,
	};
	assert_int_equal(d.bus.bus.ops->dma(&d.bus.bus, &req), 0);
	memcpy(&got, d.w->bytes + OTHER, 8);
	assert_int_equal(got, word);
	end(&d);
}

static void messages(void **state)
{
	struct device d;
	uint32_t data = 0x4021;
	uint64_t wide = 1;

	begin(&d, true);
	assert_int_equal(dma(&d, 0xfee01000, true, &data, 4), 0);
	assert_int_equal(d.messages, 1);
	assert_int_equal(d.address, 0xfee01000);
	assert_int_equal(d.data, 0x4021);
	assert_int_equal(dma(&d, 0xfee01000, true, &wide, 8), -EFAULT);
	assert_int_equal(dma(&d, 0xfee01000, false, &data, 4), -EFAULT);
	assert_int_equal(d.messages, 1);
	d.bus.bus.ops->interrupt(&d.bus.bus, 3);
	d.bus.bus.ops->kick(&d.bus.bus);
	assert_int_equal(d.interrupts, 3);
	assert_int_equal(d.kicks, 1);
	end(&d);
}

static void translations(void **state)
{
	struct device d;
	struct endpoint_ats_request req = { .iova = { IOVA + 8 }, .pasid = NO, .write = true };
	struct endpoint_ats_reply reply;

	begin(&d, true);
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), 0);
	assert_int_equal(reply.translated.v, DATA);
	assert_int_equal(reply.size, 4096);
	assert_true(reply.read && reply.write);
	assert_int_equal(*fs_pte(d.w, d.root, IOVA) & 0x60, 0x60); /* and dirty */
	*fs_pte(d.w, d.root, IOVA + 0x1000) = OTHER | 7;
	req.iova.v = IOVA + 0x1000;
	req.write = false; /* No Write */
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), 0);
	assert_true(reply.read && !reply.write);
	assert_int_equal(*fs_pte(d.w, d.root, IOVA + 0x1000) & 0x60, 0x20);
	req.iova.v = IOVA + 0x7000; /* not there: no right, no failure */
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), 0);
	assert_false(reply.read || reply.write);
	req.iova.v = 0xfee00000;
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), -EFAULT);
	req = (struct endpoint_ats_request){ .iova = { IOVA }, .pasid = 6 };
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), -EFAULT);

	/* of one page without PASID; of everything of PASID 5; of every PASID */
	invalidate(d.w, 3 | (uint64_t)RID << 32, IOVA);
	assert_int_equal(d.invalidates, 1);
	assert_int_equal(d.pasid, NO);
	assert_int_equal(d.first, IOVA);
	assert_int_equal(d.last, IOVA + 0xfff);
	invalidate(d.w, 8 | RID << 16 | 5ULL << 32, 0x7ffffffffffff800);
	assert_int_equal(d.pasid, 5);
	assert_int_equal(d.last, UINT64_MAX);
	invalidate(d.w, 8 | RID << 16 | 5ULL << 32, 0x7ffffffffffff801);
	assert_int_equal(d.pasid, ENDPOINT_EVERY_PASID);
	assert_int_equal(d.invalidates, 3);
	end(&d);
}

static void ask(struct device *d, unsigned int group, uint64_t iova, bool write, bool last)
{
	const struct endpoint_page_request req = {
		.iova = { iova }, .pasid = 5, .group = group, .read = !write, .write = write, .last = last,
	};

	d->bus.bus.ops->page_request(&d->bus.bus, &req);
}

static void respond(struct device *d, unsigned int group, unsigned int code)
{
	invalidate(d->w, 9 | 1 << 4 | (uint64_t)code << 12 | RID << 16 | 5ULL << 32,
		   (uint64_t)group << 3);
}

static void page_requests(void **state)
{
	struct device d;
	uint64_t *queue;

	begin(&d, true);
	queue = at(d.w, PAGE_QUEUE);
	ask(&d, 7, IOVA + 0x1000, false, false);
	ask(&d, 8, IOVA + 0x9000, true, false); /* two at a time */
	assert_int_equal(reg(d.w, 0xc8, 8), 0); /* nothing before a group is whole */
	ask(&d, 7, IOVA + 0x2000, false, true);
	assert_int_equal(reg(d.w, 0xc8, 8), 64);
	assert_int_equal(queue[1], (IOVA + 0x1000) | 7 << 3 | 1);
	assert_int_equal(queue[5], (IOVA + 0x2000) | 7 << 3 | 4 | 1);
	ask(&d, 8, IOVA + 0xa000, true, true);
	assert_int_equal(queue[9], (IOVA + 0x9000) | 8 << 3 | 2);
	assert_int_equal(queue[13], (IOVA + 0xa000) | 8 << 3 | 4 | 2);
	assert_int_equal(d.answers, 0);
	respond(&d, 8, 0);
	assert_int_equal(d.answers, 1);
	assert_int_equal(d.answer.group, 8);
	assert_int_equal(d.answer.pasid, 5);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_SUCCESS);
	respond(&d, 7, 1);
	assert_int_equal(d.answer.group, 7);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_INVALID);
	ask(&d, 7, IOVA, false, true);
	respond(&d, 7, 15);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_FAILURE);
	assert_int_equal(d.answers, 3);

	/* answers that are no guest's: it does not let the device ask; too many pages; the same index */
	ask(&d, 9, IOVA, false, true);
	ask(&d, 9, IOVA, false, true);
	assert_int_equal(d.answers, 4);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_FAILURE);
	for (unsigned int i = 0; i < 600; i++)
		ask(&d, 10, IOVA, false, i == 599);
	assert_int_equal(d.answers, 5);
	assert_int_equal(d.answer.group, 10);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_FAILURE);
	at(d.w, CONTEXT + RID * 32)[0] &= ~PRE;
	invalidate(d.w, 1 | 1 << 4, 0);
	ask(&d, 11, IOVA, false, true);
	assert_int_equal(d.answer.group, 11);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_INVALID);
	ask(&d, 12, IOVA, false, false); /* never whole: nothing is left of it (sanitizers look) */
	end(&d);
}

/* Whatever allocation fails, the device gets one answer to each group, or the guest the group. */
static void page_requests_without_memory(void **state)
{
	bool fired = true;

	for (unsigned int nth = 1; fired; nth++) {
		struct device d;
		uint64_t tail;

		begin(&d, true);
		alloc_fail_nth(nth);
		ask(&d, 7, IOVA, false, false);
		ask(&d, 7, IOVA + 0x1000, false, true);
		fired = alloc_fail_left() == 0;
		alloc_fail_nth(0);
		tail = reg(d.w, 0xc8, 8);
		/* of a group that lost its beginning the rest is asked for, or all of it failed */
		assert_int_equal(tail, !fired ? 64 : nth == 1 ? 32 : 0);
		assert_int_equal(d.answers, !tail);
		if (d.answers)
			assert_int_equal(d.answer.code, ENDPOINT_PAGE_FAILURE);
		else
			respond(&d, 7, 0);
		assert_int_equal(d.answers, 1);
		end(&d);
	}
}

/* Who does not listen has DMA, and nothing that would need to be told of invalidations. */
static void without_a_notifier(void **state)
{
	struct device d;
	uint64_t word = 42;
	struct endpoint_ats_request req = { .iova = { IOVA }, .pasid = NO };
	struct endpoint_ats_reply reply;

	begin(&d, false);
	assert_int_equal(dma(&d, IOVA, true, &word, 8), 0);
	assert_int_equal(d.bus.bus.ops->translate(&d.bus.bus, &req, &reply), -EFAULT);
	ask(&d, 1, IOVA, false, true);
	assert_int_equal(d.answers, 1);
	assert_int_equal(d.answer.code, ENDPOINT_PAGE_FAILURE);
	end(&d);
}

/*
 * A thread writes to one address all the time, whose page the guest moves to and fro. When it has
 * invalidated the address, and the unit has said so, the page it was moved from is its own: what
 * it puts there stays.
 */
enum { ROUNDS = 3000, WRITE_BYTES = 2048 };

struct writing {
	struct device d;
	atomic_bool stop;
	atomic_uint writes;
};

static void *write_all_the_time(void *opaque)
{
	struct writing *t = opaque;
	uint8_t bytes[WRITE_BYTES];

	memset(bytes, 0xff, sizeof(bytes));
	while (!atomic_load(&t->stop)) {
		(void)!dma(&t->d, IOVA, true, bytes, sizeof(bytes));
		atomic_fetch_add(&t->writes, 1);
	}
	return NULL;
}

static void no_access_after_its_invalidation(void **state)
{
	static const uint64_t pages[] = { DATA, OTHER };
	static const uint8_t zeros[WRITE_BYTES];
	struct writing t = { 0 };
	pthread_t thread;
	uint64_t *leaf;

	begin(&t.d, true);
	leaf = fs_pte(t.d.w, t.d.root, IOVA);
	assert_int_equal(pthread_create(&thread, NULL, write_all_the_time, &t), 0);
	while (!atomic_load(&t.writes))
		sched_yield();
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint8_t *old = t.d.w->bytes + pages[round % 2];
		unsigned int before = atomic_load(&t.writes);

		__atomic_store_n(leaf, pages[(round + 1) % 2] | 7, __ATOMIC_SEQ_CST);
		invalidate(t.d.w, 6 | 3 << 4 | 1 << 16, IOVA);
		memset(old, 0, WRITE_BYTES);
		while (atomic_load(&t.writes) - before < 3)
			sched_yield();
		assert_memory_equal(old, zeros, WRITE_BYTES);
	}
	atomic_store(&t.stop, true);
	pthread_join(thread, NULL);
	end(&t.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dma_in_pieces),
		cmocka_unit_test(other_attributes),
		cmocka_unit_test(messages),
		cmocka_unit_test(translations),
		cmocka_unit_test(page_requests),
		cmocka_unit_test(page_requests_without_memory),
		cmocka_unit_test(without_a_notifier),
		cmocka_unit_test(no_access_after_its_invalidation),
	};

	return cmocka_run_group_tests_name("emulated bus", tests, NULL, NULL);
}
