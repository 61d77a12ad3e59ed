/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine without a processor: memory, a VT-d unit and PCI functions on bus 0, moved by
 * a script through session.h. Its map is that of QEMU's q35 as far as it goes:
 *
 *	0		memory
 *	0xb0000000	ECAM, 256 buses
 *	0xfed90000	the unit's registers
 *	0xfed91000	the interrupt log, see below
 *	0xfee00000	interrupts: a 4-byte write is logged
 *	elsewhere	BARs, where configuration space says; ones where nothing is
 *	ports 0xcf8, 0xcfc	PCI configuration
 *
 * The interrupt log is for scripts, which no interrupt reaches: the word at 0 counts the
 * messages since start, or since it was last written; the n-th (from 0) stands at
 * 16 + 16 * (n % 255): address (8 bytes), data (4), n + 1 (4).
 */
#ifndef FRONTEND_QTEST_MACHINE_H
#define FRONTEND_QTEST_MACHINE_H

#include <nestor/viommu.h>

#define QTEST_ECAM 0xb0000000ULL
#define QTEST_UNIT 0xfed90000ULL
#define QTEST_INTERRUPT_LOG 0xfed91000ULL
/* Functions stand in devices 1 to 16 of bus 0, in the order in which they are added. */
enum { QTEST_MAX_FUNCTIONS = 16 };

struct qtest_machine;
struct endpoint;

struct qtest_machine_config {
	struct nst_host *host; /* NULL: emulated functions only */
	const struct nst_log *log;
	uint64_t memory;       /* bytes, whole pages, below QTEST_ECAM */
	unsigned int features; /* enum nst_vtd_feature */
};

/* Errors: -EINVAL (memory), -ENOMEM, or what nst_vm_create() and nst_vm_map() give. */
NST_MUST_CHECK int machine_create(const struct qtest_machine_config *config,
				  struct qtest_machine **out);
void machine_destroy(struct qtest_machine *m);

/* Takes @ep, on failure too. -ENOSPC. */
NST_MUST_CHECK int machine_add_emulated(struct qtest_machine *m, struct endpoint *ep);
/* By its path on the host. Errors: -ENOSPC, or nst_device_open()'s, nst_viommu_attach()'s. */
NST_MUST_CHECK int machine_add_passthrough(struct qtest_machine *m, const char *path);

/*
 * Everything of the machine, for one of equal memory and functions: see state.c. @data is to
 * be freed with free(3). Errors: -ENOMEM.
 */
NST_MUST_CHECK int machine_save(struct qtest_machine *m, void **data, size_t *size);
/*
 * Errors: -EINVAL (not such a stream, damaged), -EPROTONOSUPPORT (another version), -EOPNOTSUPP
 * (of another machine): nothing has changed; or nst_viommu_restore()'s: memory has.
 */
NST_MUST_CHECK int machine_restore(struct qtest_machine *m, const void *data, size_t size);

/* What a processor would do. Any address, any size. */
void machine_read(struct qtest_machine *m, uint64_t address, void *buf, size_t size);
void machine_write(struct qtest_machine *m, uint64_t address, const void *buf, size_t size);
/* @size is 1, 2 or 4. */
uint32_t machine_in(struct qtest_machine *m, uint16_t port, unsigned int size);
void machine_out(struct qtest_machine *m, uint16_t port, unsigned int size, uint32_t value);

uint64_t machine_memory(const struct qtest_machine *m);

/* For function.c. A message: logged if it is for the interrupt range, else it is a write. */
struct nst_mem *machine_mem(struct qtest_machine *m);
struct nst_viommu *machine_viommu(struct qtest_machine *m);
void machine_interrupt(struct qtest_machine *m, uint64_t address, uint32_t data);

#endif
