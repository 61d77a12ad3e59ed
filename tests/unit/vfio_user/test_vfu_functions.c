// SPDX-License-Identifier: BSD-3-Clause
/*
 * A vIOMMU as a function, as its client sees it: commands that are held, memory that one
 * function maps for all. The VM has no host: translation is not what this is about.
 */
#include "client.h"

#include "frontend/iommu_function.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR0 = 0 };
enum { REG_GCMD = 0x18, REG_GSTS = 0x1c, REG_RTADDR = 0x20, REG_FSTS = 0x34 };
#define QIE 0x04000000u

struct unit {
	struct fixture client;
	struct nst_vm *vm;
	struct iommu_function *iommu;
	struct reply reply;	/* too large for a stack */
};

static int setup_unit(void **state, bool memory_mapped)
{
	struct unit *u = calloc(1, sizeof(*u));
	struct fixture *f = &u->client;

	f->fds_at_start = count_fds();
	f->sock = -1;
	strcpy(f->dir, "/tmp/nestor-vfu-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	assert_int_equal(nst_vm_create(NULL, NULL, &u->vm), 0);
	assert_int_equal(iommu_function_create_vtd(
				 &(struct iommu_function_config){ .vm = u->vm,
								  .memory_mapped = memory_mapped,
								  .socket_path = f->path },
				 &u->iommu),
			 0);
	f->vfu = iommu_function_vfu(u->iommu);
	client_connect(f);
	client_version(f, qemu_version);
	*state = u;
	return 0;
}

static int first_unit(void **state)
{
	return setup_unit(state, false);
}

static int second_unit(void **state)
{
	return setup_unit(state, true);
}

static int teardown(void **state)
{
	struct unit *u = *state;

	client_close(&u->client);
	iommu_function_destroy(u->iommu);
	nst_vm_destroy(u->vm);
	assert_int_equal(rmdir(u->client.dir), 0);
	assert_int_equal(count_fds(), u->client.fds_at_start);
	free(u);
	return 0;
}

/* An access of @size bytes to BAR0; a read returns the value. */
static uint64_t access_register(struct unit *u, uint16_t command, uint64_t offset,
				unsigned int size, uint64_t value)
{
	struct { struct wire_region_access access; uint64_t value; } msg = {
		.access = { .offset = offset, .region = BAR0, .count = size }, .value = value };

	client_call(&u->client, command, &msg, command == WIRE_REGION_WRITE ? 16 + size : 16, -1, 0,
		    &u->reply);
	value = 0;
	if (command == WIRE_REGION_READ)
		memcpy(&value, u->reply.payload + 16, size);
	return value;
}

static uint32_t read32(struct unit *u, uint64_t offset)
{
	return (uint32_t)access_register(u, WIRE_REGION_READ, offset, 4, 0);
}

static void write32(struct unit *u, uint64_t offset, uint32_t value)
{
	access_register(u, WIRE_REGION_WRITE, offset, 4, value);
}

static void a_command_that_is_held_is_not_done_yet(void **state)
{
	struct unit *u = *state;

	write32(u, REG_RTADDR, 0x5000);		/* no command: at once */
	iommu_function_hold(u->iommu, true);
	write32(u, REG_RTADDR, 0x6000);
	write32(u, REG_GCMD, QIE);
	for (int i = 0; i < 3; i++) {		/* as a driver polls */
		assert_int_equal(read32(u, REG_GSTS), 0);
		assert_int_equal(read32(u, REG_FSTS), 0);
	}
	iommu_function_hold(u->iommu, true);	/* still */
	assert_int_equal(read32(u, REG_GSTS), 0);
	iommu_function_hold(u->iommu, false);
	assert_int_equal(read32(u, REG_GSTS), QIE);
	assert_int_equal(read32(u, REG_RTADDR), 0x6000);
	write32(u, REG_GCMD, 0);		/* and no more */
	assert_int_equal(read32(u, REG_GSTS), 0);
}

/* A guest that does not wait gets its writes in their order, and reads what it wrote. */
static void what_comes_after_a_held_command_stays_behind_it(void **state)
{
	struct unit *u = *state;

	write32(u, REG_GCMD, QIE);
	iommu_function_hold(u->iommu, true);
	write32(u, REG_GCMD, 0);
	write32(u, REG_RTADDR, 0x7000);
	assert_int_equal(read32(u, REG_GSTS), QIE);
	assert_int_equal(read32(u, REG_RTADDR), 0x7000);
	assert_int_equal(read32(u, REG_GSTS), 0);	/* that read has let everything go */
	/* more than are kept: none is lost */
	for (uint32_t i = 0; i < 40; i++) {
		write32(u, REG_GCMD, 0);
		write32(u, REG_RTADDR, 0x1000 * i);
	}
	iommu_function_hold(u->iommu, false);
	assert_int_equal(read32(u, REG_RTADDR), 0x27000);
}

static void a_reset_forgets_what_is_held(void **state)
{
	struct unit *u = *state;

	iommu_function_hold(u->iommu, true);
	write32(u, REG_GCMD, QIE);
	client_call(&u->client, WIRE_RESET, NULL, 0, -1, 0, &u->reply);
	iommu_function_hold(u->iommu, false);
	assert_int_equal(read32(u, REG_GSTS), 0);
}

static void memory_is_mapped(void **state)
{
	struct unit *u = *state;
	int fd = make_memfd(0x4000);
	uint8_t byte;

	assert_int_equal(client_map(&u->client, 0x10000, 0x4000, fd, 0), 0);
	assert_int_equal(nst_mem_read(nst_vm_mem(u->vm), (nst_gpa){ 0x10000 }, &byte, 1), 0);
	assert_int_equal(client_unmap(&u->client, 0x10000, 0x4000), 0);
	assert_int_not_equal(nst_mem_read(nst_vm_mem(u->vm), (nst_gpa){ 0x10000 }, &byte, 1), 0);
	close(fd);
}

/* By the first unit; its mapping stays when the second one's client unmaps the same. */
static void a_second_unit_leaves_the_memory_alone(void **state)
{
	struct unit *u = *state;
	int fd = make_memfd(0x4000);
	uint8_t byte;

	assert_int_equal(nst_vm_map_file(u->vm, (nst_gpa){ 0x10000 }, 0x4000, fd, 0, true), 0);
	assert_int_equal(client_map(&u->client, 0x10000, 0x4000, fd, 0), 0);
	assert_int_equal(client_map(&u->client, 0x20000, 0x4000, fd, 0), 0);
	assert_int_equal(client_unmap(&u->client, 0x10000, 0x4000), 0);
	assert_int_equal(nst_mem_read(nst_vm_mem(u->vm), (nst_gpa){ 0x10000 }, &byte, 1), 0);
	assert_int_not_equal(nst_mem_read(nst_vm_mem(u->vm), (nst_gpa){ 0x20000 }, &byte, 1), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_command_that_is_held_is_not_done_yet, first_unit,
						teardown),
		cmocka_unit_test_setup_teardown(what_comes_after_a_held_command_stays_behind_it,
						first_unit, teardown),
		cmocka_unit_test_setup_teardown(a_reset_forgets_what_is_held, first_unit, teardown),
		cmocka_unit_test_setup_teardown(memory_is_mapped, first_unit, teardown),
		cmocka_unit_test_setup_teardown(a_second_unit_leaves_the_memory_alone, second_unit,
						teardown),
	};

	return cmocka_run_group_tests_name("functions for a VMM", tests, NULL, NULL);
}
