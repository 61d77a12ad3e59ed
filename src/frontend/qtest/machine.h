/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A machine without a processor: memory, an IOMMU and PCI functions on bus 0, moved by a
 * script through session.h. Its map is that of a machine of QEMU's as far as it goes:
 *
 *	VT-d: q35	SMMUv3: virt
 *	0		0x40000000	memory
 *	0xb0000000	0x4010000000	ECAM, 256 buses
 *	0xfed90000	0x09050000	the unit's registers
 *	0xfed91000	0x0b000000	the interrupt log, see below
 *	0xfee00000	-		interrupts: a 4-byte write is logged
 *	0xcf8, 0xcfc	-		ports: PCI configuration
 *
 * Elsewhere are BARs, where configuration space says, and ones where nothing is.
 *
 * The interrupt log is for scripts, which no interrupt reaches: the word at 0 counts the
 * messages since start, or since it was last written; the n-th (from 0) stands at
 * 16 + 16 * (n % 255): address (8 bytes), data (4), n + 1 (4). A wired interrupt is a message
 * of address 0, and its number is the data.
 */
#ifndef FRONTEND_QTEST_MACHINE_H
#define FRONTEND_QTEST_MACHINE_H

#include <nestor/viommu.h>

/* Of the machine with a VT-d unit. */
#define QTEST_UNIT 0xfed90000ULL
/* There can be no more memory, on any machine. */
#define QTEST_MAX_MEMORY 0xb0000000ULL
/* In the order in which they are added: 00:01.0, 00:02.0 ... 00:1e.0, then 00:01.1 and so on. */
enum { QTEST_MAX_FUNCTIONS = 64, QTEST_SLOTS = 30 };

struct qtest_machine;
struct endpoint;

enum qtest_unit { QTEST_VTD, QTEST_SMMUV3 };

struct qtest_machine_config {
	enum qtest_unit unit;
	struct nst_host *host; /* NULL: emulated functions only */
	const struct nst_log *log;
	uint64_t memory;       /* bytes, whole pages, up to QTEST_MAX_MEMORY */
	unsigned int features; /* enum nst_vtd_feature, or nst_smmuv3_feature but _ATS */
};

/* Errors: -EINVAL (memory, features), -ENOMEM, or what nst_vm_create() and nst_vm_map() give. */
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

/* Where memory begins. */
uint64_t machine_memory(const struct qtest_machine *m, uint64_t *size);

/* For function.c. A message: logged if it is for the interrupt range, else it is a write. */
struct nst_mem *machine_mem(struct qtest_machine *m);
struct nst_viommu *machine_viommu(struct qtest_machine *m);
void machine_interrupt(struct qtest_machine *m, uint64_t address, uint32_t data);
/* One that the host has delivered already: logged. */
void machine_message(struct qtest_machine *m, uint64_t address, uint32_t data);

#endif
