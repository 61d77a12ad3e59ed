// SPDX-License-Identifier: BSD-3-Clause
/*
 * Several threads on one host: mapping, attaching, invalidating, interrupts, opening and
 * closing, while devices do DMA on their own threads. What is checked is that a transfer
 * either faults or reaches memory that was mapped, and, under the thread sanitizer, that
 * nothing races.
 */
#include "rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define IOVA 0x100000ULL

struct race {
	struct rig *rig;
	atomic_bool stop;
	uint32_t ioas, parent, nested[2];
	struct guest guest;
	uint64_t root;
};

static void start(struct race *r, bool synchronous)
{
	const struct nst_soft_config config = { .synchronous = synchronous, .check = true };

	*r = (struct race){ .rig = rig_create(&config, true) };
	guest_init(&r->guest, 1 << 20);
	r->root = guest_table(&r->guest);
	guest_map(&r->guest, r->root, IOVA, 0x2000);
	guest_map(&r->guest, r->root, IOVA + PAGE, 0x3000);
	r->ioas = ioas_alloc(r->rig);
	ok(ioas_map(r->rig, r->ioas, r->guest.memory, 1 << 20, 0, RW));
	ok(hwpt_alloc(r->rig, r->rig->devid, r->ioas, NEST | PASID, &r->parent));
	ok(hwpt_alloc_nested(r->rig, r->parent, PASID, r->root, &r->nested[0]));
	ok(hwpt_alloc_nested(r->rig, r->parent, PASID, r->root, &r->nested[1]));
	enable_bus_master(r->rig);
}

static void finish(struct race *r)
{
	rig_destroy(r->rig);
	guest_fini(&r->guest);
}

static void *mapper(void *opaque)
{
	struct race *r = opaque;

	while (!atomic_load(&r->stop)) {
		uint64_t length = PAGE;

		ok(ioas_map(r->rig, r->ioas, r->guest.memory, PAGE, 1ULL << 30, RW));
		ok(ioas_unmap(r->rig, r->ioas, 1ULL << 30, &length));
	}
	return NULL;
}

static void *attacher(void *opaque)
{
	struct race *r = opaque;

	for (unsigned int i = 0; !atomic_load(&r->stop); i++) {
		ok(attach_id(r->rig, i & 1 ? r->parent : r->nested[i >> 1 & 1]));
		ok(attach_pasid(r->rig, 1 + i % 3, r->nested[i & 1]));
		if (i % 5 == 0) {
			ok(detach_pasid(r->rig, 1 + i % 3));
			ok(detach(r->rig));
		}
	}
	return NULL;
}

static void *flusher(void *opaque)
{
	struct race *r = opaque;

	for (unsigned int i = 0; !atomic_load(&r->stop); i++) {
		ok(flush_page(r->rig, r->nested[i & 1], IOVA));
		ok(flush_all(r->rig, r->nested[i & 1]));
	}
	return NULL;
}

static void *opener(void *opaque)
{
	struct race *r = opaque;

	while (!atomic_load(&r->stop)) {
		struct rig other = *r->rig;
		uint32_t id;

		other.iommu = host_open(r->rig, "/dev/iommu");
		other.dev = host_open(r->rig, r->rig->path);
		id = ioas_alloc(&other);
		ok(destroy(&other, id));
		err(EINVAL, bind_device(&other, other.dev, other.iommu, NULL));
		ok(host_close(&other, other.dev));
		ok(host_close(&other, other.iommu));
	}
	return NULL;
}

static void run_threads(struct race *r, void *(*const *mains)(void *), size_t count,
			void (*meanwhile)(struct race *))
{
	pthread_t threads[8];

	for (size_t i = 0; i < count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], r), 0);
	for (int i = 0; i < 500; i++)
		meanwhile(r);
	atomic_store(&r->stop, true);
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

/* A transfer now: done by the register write itself. */
static void transfer_now(struct race *r)
{
	uint64_t value;
	int ret = dma_read(r->rig, NO_PASID, IOVA, &value);

	assert_true(ret == 0 || ret == -EFAULT);
	ret = dma_read(r->rig, 1, IOVA + PAGE, &value);
	assert_true(ret == 0 || ret == -EFAULT);
}

static void all_at_once_synchronous(void **state)
{
	void *(*const mains[])(void *) = { mapper, attacher, flusher, opener };
	struct race r;

	start(&r, true);
	run_threads(&r, mains, 4, transfer_now);
	finish(&r);
}

/* A transfer at some time: on the thread of the device. */
static void transfer_later(struct race *r)
{
	bar_set(r->rig, REG_PASID, NO_PASID);
	bar_set(r->rig, REG_IOVA, IOVA);
	bar_set(r->rig, REG_GO, 1);
	bar_get(r->rig, REG_STATUS);
}

static void all_at_once_threaded(void **state)
{
	void *(*const mains[])(void *) = { mapper, attacher, flusher, opener };
	struct race r;

	start(&r, false);
	run_threads(&r, mains, 4, transfer_later);
	finish(&r);
}

/* With nobody attaching meanwhile, every transfer arrives: maps and flushes do not disturb. */
static void transfer_must_work(struct race *r)
{
	static uint64_t serial;
	uint64_t value;

	serial++;
	ok(dma_write(r->rig, NO_PASID, IOVA, serial));
	memcpy(&value, r->guest.memory + 0x2000, sizeof(value));
	assert_int_equal(value, serial);
}

static void maps_and_flushes_do_not_disturb(void **state)
{
	void *(*const mains[])(void *) = { mapper, flusher, flusher };
	struct race r;

	start(&r, true);
	ok(attach_id(r.rig, r.nested[0]));
	run_threads(&r, mains, 3, transfer_must_work);
	finish(&r);
}

static int set_vector(struct rig *rig, uint32_t index, int fd)
{
	const struct vfio_irq_set hdr = { .argsz = sizeof(hdr) + sizeof(int32_t),
					  .flags = VFIO_IRQ_SET_DATA_EVENTFD |
						   VFIO_IRQ_SET_ACTION_TRIGGER,
					  .index = index,
					  .count = 1 };
	const int32_t value = fd;
	uint8_t cmd[sizeof(hdr) + sizeof(value)];

	memcpy(cmd, &hdr, sizeof(hdr));
	memcpy(cmd + sizeof(hdr), &value, sizeof(value));
	return call(rig, rig->dev, VFIO_DEVICE_SET_IRQS, cmd);
}

static void *irq_switcher(void *opaque)
{
	struct race *r = opaque;
	struct vfio_irq_set off = { .argsz = sizeof(off),
				    .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER };

	for (unsigned int i = 0; !atomic_load(&r->stop); i++) {
		int fd = eventfd(0, EFD_NONBLOCK);

		off.index = i & 1 ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX;
		ok(set_vector(r->rig, off.index, fd));
		close(fd);
		ok(set_vector(r->rig, off.index, -1));
		ok(call(r->rig, r->rig->dev, VFIO_DEVICE_SET_IRQS, &off));
	}
	return NULL;
}

static void raise_vector(struct race *r)
{
	bar_set(r->rig, REG_RAISE, 0);
}

static void interrupts_while_switching(void **state)
{
	void *(*const mains[])(void *) = { irq_switcher };
	struct race r;

	start(&r, false);
	run_threads(&r, mains, 1, raise_vector);
	finish(&r);
}

/* On the device's own thread: the transfer is done and seen without another register write. */
static void device_thread_runs(void **state)
{
	struct race r;
	uint64_t runs, value = 0;

	start(&r, false);
	ok(attach_id(r.rig, r.nested[0]));
	runs = bar_get(r.rig, REG_RUNS);
	bar_set(r.rig, REG_VALUE, 0x5a5a);
	bar_set(r.rig, REG_PASID, NO_PASID);
	bar_set(r.rig, REG_IOVA, IOVA + PAGE);
	bar_set(r.rig, REG_STATUS, 0);
	bar_set(r.rig, REG_GO, 2);
	for (int i = 0; i < 10000 && bar_get(r.rig, REG_RUNS) == runs; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	assert_int_equal(bar_get(r.rig, REG_RUNS), runs + 1);
	ok(detach(r.rig)); /* waits for the transfer that has begun */
	memcpy(&value, r.guest.memory + 0x3000, sizeof(value));
	assert_true(value == 0x5a5a || bar_get(r.rig, REG_STATUS) == (uint64_t)-EFAULT);
	finish(&r);
}

static const struct suite_case cases[] = {
	TEST_ALONE(all_at_once_synchronous),
	TEST_ALONE(all_at_once_threaded),
	TEST_ALONE(maps_and_flushes_do_not_disturb),
	TEST_ALONE(interrupts_while_switching),
	TEST_ALONE(device_thread_runs),
};
SUITE_GROUP(threads, cases)
