// SPDX-License-Identifier: BSD-3-Clause
/*
 * Events as a host's queue gives them, by a host that has nothing else: random ones with gaps
 * among them, each found once and every gap counted; numbers that wrap; what is cut off.
 */
#include "test.h"

#include "base/bits.h"
#include "viommu/veventq.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* --- a host with a queue --------------------------------------------------------------------- */

struct fake {
	struct nst_host base;
	uint8_t bytes[1 << 16];
	size_t at, end;
	int error;
};

static ssize_t fake_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	struct fake *f = container_of(host, struct fake, base);
	size_t n = MIN(count, f->end - f->at);

	if (f->error)
		return -f->error;
	memcpy(buf, &f->bytes[f->at], n);
	f->at += n;
	return (ssize_t)n;
}

static const struct nst_host_ops ops = { .read = fake_read };

static void put(struct fake *f, uint32_t flags, uint32_t sequence)
{
	const struct iommufd_vevent_header header = { .flags = flags, .sequence = sequence };

	memcpy(&f->bytes[f->end], &header, sizeof(header));
	f->end += sizeof(header);
}

/* With its number as its contents, over and over. */
static void put_event(struct fake *f, uint32_t sequence, uint32_t event_bytes)
{
	put(f, 0, sequence);
	for (uint32_t i = 0; i < event_bytes; i += 4, f->end += 4)
		memcpy(&f->bytes[f->end], &sequence, 4);
}

static bool is_event(const void *event, uint32_t sequence, uint32_t event_bytes)
{
	for (uint32_t i = 0; i < event_bytes; i += 4)
		if (memcmp((const uint8_t *)event + i, &sequence, 4))
			return false;
	return true;
}

/* --- tests ----------------------------------------------------------------------------------- */

static void all_events_and_all_losses(void **state)
{
	static const uint32_t sizes[] = { 24, 32 };
	uint64_t random = 1;

	for (int round = 0; round < 200; round++) {
		struct fake f = { .base.ops = &ops };
		struct iommufd iommufd = { .host = &f.base };
		uint32_t size = sizes[round % 2], lost = 0, number = INT_MAX - 100;
		struct veventq q = { .depth = 1024, .event_bytes = size, .next_sequence = number };
		uint32_t numbers[300], taken = 0, found = 0;
		struct veventq_batch batch;
		struct veventq_item item;

		for (int i = 0; i < 300; i++) {
			uint32_t gap = test_random(&random) % 4 ? 0 : test_random(&random) % 50;

			numbers[i] = (number + gap) & INT_MAX;
			lost += gap;
			put_event(&f, numbers[i], size);
			number = numbers[i] + 1;
		}
		while (veventq_read(&q, &iommufd, NULL, &batch)) {
			unsigned int of_this = 0;

			for (; veventq_next(&q, &batch, &item); of_this++) {
				assert_true(is_event(item.event, numbers[taken++], size));
				found += item.lost;
			}
			assert_in_range(of_this, 1, VEVENTQ_EVENTS_PER_READ);
		}
		assert_int_equal(taken, 300);
		assert_int_equal(found, lost);
	}
}

/* A header that says "lost" has no event, and the number of the last that was lost. */
static void a_header_alone(void **state)
{
	struct fake f = { .base.ops = &ops };
	struct iommufd iommufd = { .host = &f.base };
	struct veventq q = { .depth = 8, .event_bytes = 24, .next_sequence = INT_MAX };
	struct veventq_batch batch;
	struct veventq_item item;

	put_event(&f, INT_MAX, 24);
	put(&f, IOMMU_VEVENTQ_FLAG_LOST_EVENTS, 2);
	put_event(&f, 3, 24);
	assert_true(veventq_read(&q, &iommufd, NULL, &batch));
	assert_true(veventq_next(&q, &batch, &item));
	assert_int_equal(item.lost, 0);
	assert_true(veventq_next(&q, &batch, &item));
	assert_int_equal(item.lost, 3); /* 0, 1 and 2 */
	assert_null(item.event);
	assert_true(veventq_next(&q, &batch, &item));
	assert_int_equal(item.lost, 0);
	assert_true(is_event(item.event, 3, 24));
	assert_false(veventq_next(&q, &batch, &item));
	assert_false(veventq_read(&q, &iommufd, NULL, &batch));
}

/* Not one byte of what is behind the end, which an earlier read has left there. */
static void what_is_cut_off_is_no_event(void **state)
{
	for (size_t cut = 0; cut < 32; cut++) {
		struct fake f = { .base.ops = &ops };
		struct iommufd iommufd = { .host = &f.base };
		struct veventq q = { .depth = 8, .event_bytes = 24 };
		struct veventq_batch batch;
		struct veventq_item item;

		for (uint32_t i = 0; i < 2; i++)
			put_event(&f, i, 24);
		assert_true(veventq_read(&q, &iommufd, NULL, &batch));
		assert_true(veventq_next(&q, &batch, &item));
		f.at = 0;
		f.end = 32 + cut;
		q.next_sequence = 0;
		assert_true(veventq_read(&q, &iommufd, NULL, &batch));
		assert_true(veventq_next(&q, &batch, &item));
		assert_false(veventq_next(&q, &batch, &item));
		assert_int_equal(q.next_sequence, 1); /* nor is it counted */
	}
}

static void a_queue_that_cannot_be_read(void **state)
{
	struct fake f = { .base.ops = &ops, .error = EAGAIN };
	struct iommufd iommufd = { .host = &f.base };
	struct veventq q = { .depth = 8, .event_bytes = 24 };
	struct veventq_batch batch;
	struct veventq_item item;

	assert_false(veventq_read(&q, &iommufd, NULL, &batch));
	assert_false(veventq_next(&q, &batch, &item));
	f.error = EIO;
	assert_false(veventq_read(&q, &iommufd, NULL, &batch));
	assert_false(veventq_next(&q, &batch, &item));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_events_and_all_losses),
		cmocka_unit_test(a_header_alone),
		cmocka_unit_test(what_is_cut_off_is_no_event),
		cmocka_unit_test(a_queue_that_cannot_be_read),
	};

	return cmocka_run_group_tests_name("vEVENTQs as they are read", tests, NULL, NULL);
}
