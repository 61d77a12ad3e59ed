// SPDX-License-Identifier: BSD-3-Clause
/* See tables.h. */
#include "cmd/tables.h"

#include "base/bits.h"
#include "base/endian.h"
#include "cmd/layout.h"
#include "firmware/acpi.h"
#include "firmware/dsdt.h"

#include <nestor/firmware.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ADDRESS_WIDTH = 48 };

/* Of QEMU's "virt". */
#define VIRT_MEMORY 0x40000000ULL
enum { MEMORY_STEP = 2 << 20, DSDT_MAX_BYTES = 1 << 20 };
/* Firmware takes what it needs from the end of memory down; not more than this. */
enum { FIRMWARE_BYTES = 128 << 20 };

/* --- the DSDT ----------------------------------------------------------------------------- */

/* A software host raises interrupts by event descriptors, a PC's chipset untranslated. */
static bool host_msis_are_translated(const struct server *s, const struct run_options *o)
{
	return s->kind == HOST_KERNEL && o->machine->table == MACHINE_TABLE_INITRAMFS;
}

bool tables_want_dsdt(const struct tables *t, const struct server *s, const struct run_options *o)
{
	return !t->dsdt && host_msis_are_translated(s, o);
}

static bool is_dsdt(const struct acpi_header *header)
{
	uint32_t length = le32_get(header->length);

	return !memcmp(header->signature, "DSDT", 4) && !memcmp(header->oem_id, "BOCHS ", 6) &&
	       length > sizeof(*header) && length <= DSDT_MAX_BYTES;
}

/* The table that begins in the page at @gpa; all of it is to be there, with the right sum. */
static bool take_from_page(struct tables *t, struct nst_mem *mem, uint64_t gpa)
{
	uint8_t page[PAGE_SIZE_4K], sum = 0;
	struct acpi_header header;
	void *table;
	size_t size;

	if (nst_mem_read(mem, (nst_gpa){ gpa }, page, sizeof(page)))
		return false;
	for (unsigned int at = 0; at < sizeof(page); at += 8) {
		if (memcmp(&page[at], "DSDT", 4) ||
		    nst_mem_read(mem, (nst_gpa){ gpa + at }, &header, sizeof(header)) ||
		    !is_dsdt(&header))
			continue;
		size = le32_get(header.length);
		table = malloc(size);
		if (!table)
			return false;
		if (!nst_mem_read(mem, (nst_gpa){ gpa + at }, table, size)) {
			for (size_t i = 0; i < size; i++)
				sum += ((uint8_t *)table)[i];
			if (!sum) {
				t->dsdt = table;
				t->dsdt_size = size;
				return true;
			}
		}
		free(table);
		sum = 0;
	}
	return false;
}

bool tables_take_dsdt(struct tables *t, const struct server *s)
{
	struct nst_mem *mem = nst_vm_mem(s->vm);
	uint64_t end = VIRT_MEMORY, last;
	uint8_t byte;

	while (!nst_mem_read(mem, (nst_gpa){ end }, &byte, 1))
		end += MEMORY_STEP;
	last = end - MIN(end - VIRT_MEMORY, (uint64_t)FIRMWARE_BYTES);
	for (uint64_t gpa = end; gpa > last; gpa -= PAGE_SIZE_4K)
		if (take_from_page(t, mem, gpa - PAGE_SIZE_4K))
			return true;
	return false;
}

void tables_fini(struct tables *t)
{
	free(t->dsdt);
	t->dsdt = NULL;
}

/* --- a PC --------------------------------------------------------------------------------- */

/* The devices of unit @u. */
static size_t make_scopes(const struct server *s, unsigned int u, struct nst_dmar_scope *scopes)
{
	size_t count = 0;

	for (unsigned int i = 0; i < s->num_devices; i++)
		if (s->devices[i].option.unit == u)
			scopes[count++] = layout_scope(&s->devices[i].option, i);
	return count;
}

static int make_dmar(const struct tables *t, const struct server *s, int *out)
{
	struct nst_dmar_scope scopes[RUN_MAX_UNITS][RUN_MAX_DEVICES];
	struct nst_dmar_unit units[RUN_MAX_UNITS];
	struct nst_dmar_params params = {
		.address_width = ADDRESS_WIDTH,
		.units = units,
		.num_units = s->num_units,
	};
	void *table;
	size_t size;
	int ret;

	for (unsigned int u = 0; u < s->num_units; u++)
		units[u] = (struct nst_dmar_unit){
			.base = t->bars[u],
			.scopes = scopes[u],
			.num_scopes = make_scopes(s, u, scopes[u]),
		};
	ret = nst_dmar_build(&params, &table, &size);
	if (ret)
		return ret;
	*out = memfd_create("nestor-dmar", MFD_CLOEXEC);
	if (*out < 0 || write(*out, table, size) != (ssize_t)size)
		ret = -errno;
	free(table);
	return ret;
}

/* --- Arm ---------------------------------------------------------------------------------- */

/* The devices of unit @u; of one on a port, all that the bus there can have. */
static size_t make_rids(const struct tables *t, const struct server *s, unsigned int u,
			struct nst_rid_range *rids)
{
	size_t count = 0;

	for (unsigned int i = 0; i < s->num_devices; i++)
		if (s->devices[i].option.unit == u)
			rids[count++] = (struct nst_rid_range){
				.first = t->rids[i],
				.last = server_has_bus(s, i) ? t->rids[i] | 0xff : t->rids[i],
			};
	return count;
}

enum { MAX_WINDOWS = RUN_MAX_DEVICES * SERVER_MAX_RESERVED };
#define WINDOW_STEP 0x10000ULL /* an RMR's */

static bool has_window(const struct nst_gpa_range *windows, size_t count, uint64_t base,
		       uint64_t size)
{
	for (size_t i = 0; i < count; i++)
		if (windows[i].base == base && windows[i].size == size)
			return true;
	return false;
}

/*
 * What the hosts of unit @u's devices keep: in it are the doorbells of their MSIs. Devices of one
 * VM share its address space, so one's windows are the others' too.
 */
static size_t make_windows(const struct server *s, const struct run_options *o, unsigned int u,
			   struct nst_gpa_range *windows)
{
	size_t count = 0;

	for (unsigned int i = 0; i < s->num_devices && host_msis_are_translated(s, o); i++) {
		const struct server_device *d = &s->devices[i];

		for (unsigned int r = 0; r < d->num_reserved && d->option.unit == u; r++) {
			uint64_t base = ALIGN_DOWN(d->reserved[r].base, WINDOW_STEP);
			uint64_t end = d->reserved[r].base + d->reserved[r].size;
			uint64_t size = ALIGN_UP(end - base, WINDOW_STEP);

			if (!has_window(windows, count, base, size))
				windows[count++] = (struct nst_gpa_range){ base, size };
		}
	}
	return count;
}

static int make_iort(const struct tables *t, const struct server *s, const struct run_options *o,
		     void **table, size_t *size)
{
	static const uint32_t its = 0; /* the id that QEMU gives it */
	struct nst_rid_range rids[RUN_MAX_UNITS][RUN_MAX_DEVICES];
	struct nst_gpa_range windows[RUN_MAX_UNITS][MAX_WINDOWS];
	struct nst_firmware_smmuv3 units[RUN_MAX_UNITS];
	struct nst_iort_root root = {
		.address_bits = 64,
		.ats = true,
		.canwbs = true,
		.units = units,
		.num_units = s->num_units,
	};
	struct nst_iort_params params = {
		/* only a newer revision of QEMU's own takes its place */
		.oem = { .id = "BOCHS", .table_id = "BXPC", .revision = 0x100 },
		.its = &its,
		.num_its = 1,
		.roots = &root,
		.num_roots = 1,
	};

	for (unsigned int u = 0; u < s->num_units; u++)
		units[u] = (struct nst_firmware_smmuv3){
			.base = t->bars[u],
			.model = NST_SMMUV3_MODEL_HI161X, /* MSIs pass by it untranslated */
			.coherent = true,
			.has_msis = true, /* by our DMA messages, which QEMU gives the id 0 */
			.rids = rids[u],
			.num_rids = make_rids(t, s, u, rids[u]),
			.windows = windows[u],
			.num_windows = make_windows(s, o, u, windows[u]),
		};
	return nst_iort_build(&params, table, size);
}

static int make_initrd(const struct tables *t, const struct server *s, const struct run_options *o,
		       int *out)
{
	struct machine_file files[2] = { { .name = "iort.aml" }, { .name = "dsdt.aml" } };
	unsigned int count = 1;
	void *iort;
	int ret;

	if (host_msis_are_translated(s, o)) {
		ret = t->dsdt ? dsdt_keep_boot_configuration(t->dsdt, t->dsdt_size) : -ENOENT;
		if (ret)
			return ret;
		files[1].data = t->dsdt;
		files[1].size = t->dsdt_size;
		count = 2;
	}
	ret = make_iort(t, s, o, &iort, &files[0].size);
	if (ret)
		return ret;
	files[0].data = iort;
	*out = machine_make_initramfs(o->initrd, files, count);
	free(iort);
	return *out < 0 ? *out : 0;
}

int tables_make(struct tables *t, const struct server *s, const struct run_options *o, int *dmar,
		int *initrd)
{
	if (o->machine->table == MACHINE_TABLE_QEMU)
		return make_dmar(t, s, dmar);
	return make_initrd(t, s, o, initrd);
}
