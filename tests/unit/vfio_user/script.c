// SPDX-License-Identifier: BSD-3-Clause
/* See script.h. */
#include "script.h"

#include <string.h>
#include <unistd.h>

static struct reply reply;

static void add(struct fixture *f, struct script *s, uint16_t command, uint32_t flags,
		const void *payload, size_t size)
{
	s->size += make_message(f, s->bytes + s->size, command, flags, payload, size);
	s->ends[s->count++] = s->size;
}

static void add_fds(struct script *s, int fd, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		s->fds[s->count - 1][i] = fd;
	s->num_fds[s->count - 1] = n;
}

void script_init(struct fixture *f, struct script *s)
{
	const struct wire_dma_map ram = { 32, 3, 0x1000, 0, 0x3000 }, rom = { 32, 1, 0, 0x8000, 0x1000 };
	const struct wire_dma_unmap unmap = { 24, 0, 0, 0x3000 };
	const struct wire_device_info info = { .argsz = 16 };
	const struct vfio_region_info region = { .argsz = 64, .index = 0 };
	const struct vfio_irq_info irq = { .argsz = 16, .index = 1 };
	const struct wire_irq_set set = { 20, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
					  1, 0, 3 };
	const struct wire_region_access read = { 0, 7, 64 }, bad = { 0, 9, 8 };
	struct { struct wire_region_access access; uint8_t data[40]; } write = { { 16, 0, 40 }, { 9 } };
	uint8_t version[300] = { 0 };

	*s = (struct script){ .memory = make_memfd(0x4000), .event = make_eventfd() };
	f->next_id = 100;
	memcpy(version + 4, qemu_version, strlen(qemu_version) + 1);
	add(f, s, WIRE_VERSION, 0, version, 4 + strlen(qemu_version) + 1);
	add(f, s, WIRE_DMA_MAP, 0, &ram, sizeof(ram));
	add_fds(s, s->memory, 1);
	add(f, s, WIRE_DMA_MAP, 0, &rom, sizeof(rom));
	add(f, s, WIRE_GET_INFO, 0, &info, sizeof(info));
	add(f, s, WIRE_GET_REGION_INFO, 0, &region, sizeof(region));
	add(f, s, WIRE_GET_IRQ_INFO, 0, &irq, sizeof(irq));
	add(f, s, WIRE_SET_IRQS, 0, &set, sizeof(set));
	add_fds(s, s->event, 3);
	add(f, s, WIRE_REGION_WRITE, 0, &write, sizeof(write));
	add(f, s, WIRE_REGION_READ, 0, &read, sizeof(read));
	write.access.offset = 200;
	add(f, s, WIRE_REGION_WRITE, WIRE_NO_REPLY, &write, sizeof(write));
	add(f, s, WIRE_REGION_READ, 0, &bad, sizeof(bad));
	add(f, s, 77, 0, &write, sizeof(write));
	add(f, s, WIRE_RESET, 0, NULL, 0);
	add(f, s, WIRE_DMA_UNMAP, 0, &unmap, sizeof(unmap));
}

void script_fini(struct script *s)
{
	close(s->memory);
	close(s->event);
}

unsigned int script_message_of(const struct script *s, size_t byte)
{
	unsigned int m = 0;

	while (byte >= s->ends[m])
		m++;
	return m;
}

void answers_collect(struct fixture *f, struct answers *a)
{
	while (client_has_bytes(f)) {
		client_receive(f, &reply);
		assert_true(a->size + reply.header.size <= sizeof(a->bytes));
		memcpy(a->bytes + a->size, &reply.header, sizeof(reply.header));
		memcpy(a->bytes + a->size + sizeof(reply.header), reply.payload, reply.size);
		a->size += reply.header.size;
		if (reply.fd >= 0) {
			close(reply.fd);
			a->fds++;
		}
	}
}

static void check_device(const struct fixture *f)
{
	assert_int_equal(f->num_maps, 1);
	assert_int_equal(f->maps[0].gpa, 0x8000);
	assert_int_equal(f->map_calls, 2);
	assert_int_equal(f->irq_calls, 1);
	assert_int_equal(f->irq_fds, 3);
	assert_int_equal(f->writes, 2);
	assert_int_equal(f->reads, 1);
	assert_int_equal(f->resets, 1);
	assert_int_equal(f->bar0[16], 9);
	assert_int_equal(f->bar0[200], 9);
}

void forget_calls(struct fixture *f)
{
	f->map_calls = f->unmap_calls = f->irq_calls = f->writes = f->reads = f->resets = 0;
	memset(f->bar0, 0, sizeof(f->bar0));
}

/* One message at a time, each answered before the next. */
static void play_in_turns(struct fixture *f, const struct script *s, struct answers *a)
{
	size_t at = 0;

	client_connect(f);
	for (unsigned int m = 0; m < s->count; m++) {
		client_send(f, s->bytes + at, s->ends[m] - at, s->fds[m], s->num_fds[m]);
		at = s->ends[m];
		pump(f);
		answers_collect(f, a);
	}
	check_device(f);
	client_close(f);
	forget_calls(f);
}

void script_oracle(struct fixture *f, struct script *s, struct answers *a)
{
	script_init(f, s);
	*a = (struct answers){ 0 };
	play_in_turns(f, s, a);
	assert_int_equal(a->fds, 1);
}

void answers_check(struct fixture *f, const struct answers *want, struct answers *got)
{
	pump(f);
	answers_collect(f, got);
	assert_int_equal(got->size, want->size);
	assert_memory_equal(got->bytes, want->bytes, want->size);
	assert_int_equal(got->fds, want->fds);
	check_device(f);
	client_close(f);
	forget_calls(f);
}
