// SPDX-License-Identifier: BSD-3-Clause
/*
 * See machine.h. An access is cut into what is memory, copied at once, and naturally
 * aligned pieces of at most 8 bytes of everything else, as a bus would carry them.
 */
#include "frontend/qtest/machine.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "frontend/qtest/machine_state.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#define ECAM_SIZE (256ULL << 20)
enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };
#define CONFIG_ADDRESS_ENABLE BIT64(31)

enum { LOG_ENTRIES = 255, LOG_WORDS = PAGE_SIZE_4K / 4 };

/* Where things are. What has no bytes is not there. */
struct map {
	uint64_t memory, ecam, unit, unit_size, log;
	uint64_t interrupts, interrupts_size;
	bool ports;
};

static const struct map maps[] = {
	[QTEST_VTD] = { .memory = 0,
			.ecam = 0xb0000000,
			.unit = QTEST_UNIT,
			.unit_size = NST_VTD_MMIO_SIZE,
			.log = 0xfed91000,
			.interrupts = 0xfee00000,
			.interrupts_size = 0x100000,
			.ports = true },
	[QTEST_SMMUV3] = { .memory = 0x40000000,
			   .ecam = 0x4010000000,
			   .unit = 0x09050000,
			   .unit_size = NST_SMMUV3_MMIO_SIZE,
			   .log = 0x0b000000 },
};

/* Numbers of the SMMUv3's wires at virt's interrupt controller: SPIs. */
static const uint8_t smmuv3_wires[] = {
	[NST_SMMUV3_IRQ_EVENTQ] = 74,
	[NST_SMMUV3_IRQ_CMD_SYNC] = 76,
	[NST_SMMUV3_IRQ_GERROR] = 77,
	[NST_SMMUV3_IRQ_PRIQ] = 75,
};

struct qtest_machine {
	const struct nst_log *log;
	const struct map *map;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	uint8_t *memory;
	uint64_t memory_size;
	struct qtest_function functions[QTEST_MAX_FUNCTIONS];
	unsigned int num_functions;
	uint32_t config_address;
	uint32_t interrupts[LOG_WORDS]; /* the log's page */
};

struct nst_mem *machine_mem(struct qtest_machine *m)
{
	return nst_vm_mem(m->vm);
}

struct nst_viommu *machine_viommu(struct qtest_machine *m)
{
	return m->viommu;
}

uint64_t machine_memory(const struct qtest_machine *m, uint64_t *size)
{
	*size = m->memory_size;
	return m->map->memory;
}

static void log_interrupt(struct qtest_machine *m, uint64_t address, uint32_t data)
{
	uint32_t *entry = &m->interrupts[4 + 4 * (m->interrupts[0] % LOG_ENTRIES)];

	entry[0] = (uint32_t)address;
	entry[1] = (uint32_t)(address >> 32);
	entry[2] = data;
	entry[3] = ++m->interrupts[0];
}

void machine_interrupt(struct qtest_machine *m, uint64_t address, uint32_t data)
{
	le32 bytes = le32_make(data);

	if (address - m->map->interrupts < m->map->interrupts_size)
		log_interrupt(m, address, data);
	else if (nst_mem_write(machine_mem(m), (nst_gpa){ address }, &bytes, sizeof(bytes)))
		log_warn(m->log, "qtest: an interrupt's address 0x%llx is nothing",
			 (unsigned long long)address);
}

void machine_message(struct qtest_machine *m, uint64_t address, uint32_t data)
{
	log_interrupt(m, address, data);
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
	machine_interrupt(opaque, address, data);
}

static void pulse(void *opaque, enum nst_smmuv3_irq irq)
{
	log_interrupt(opaque, 0, smmuv3_wires[irq]);
}

static int make_memory(struct qtest_machine *m, uint64_t size)
{
	if (!size || !IS_ALIGNED(size, PAGE_SIZE_4K) || size > QTEST_MAX_MEMORY)
		return -EINVAL;
	m->memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->memory == MAP_FAILED) {
		m->memory = NULL;
		return -ENOMEM;
	}
	m->memory_size = size;
	return nst_vm_map(m->vm, (nst_gpa){ m->map->memory }, size, m->memory, true);
}

/* The SMMUv3 has wires, as virt's has. */
static int make_unit(struct qtest_machine *m, const struct qtest_machine_config *config)
{
	if (config->unit == QTEST_VTD)
		return nst_vtd_create(&(struct nst_vtd_config){ .vm = m->vm,
								.log = config->log,
								.features = config->features,
								.send_msi = send_msi,
								.opaque = m },
				      &m->viommu);
	return nst_smmuv3_create(&(struct nst_smmuv3_config){ .vm = m->vm,
							      .log = config->log,
							      .features = config->features,
							      .pulse = pulse,
							      .opaque = m },
				 &m->viommu);
}

int machine_create(const struct qtest_machine_config *config, struct qtest_machine **out)
{
	struct qtest_machine *m = alloc_object(struct qtest_machine);
	int ret;

	if (!m)
		return -ENOMEM;
	m->log = config->log;
	m->map = &maps[config->unit];
	ret = nst_vm_create(config->host, config->log, &m->vm);
	if (!ret)
		ret = make_memory(m, config->memory);
	if (!ret)
		ret = make_unit(m, config);
	if (ret) {
		machine_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

void machine_destroy(struct qtest_machine *m)
{
	if (!m)
		return;
	nst_viommu_destroy(m->viommu);
	for (unsigned int i = 0; i < m->num_functions; i++) {
		nst_device_close(m->functions[i].dev);
		function_fini(&m->functions[i]);
	}
	nst_vm_destroy(m->vm);
	if (m->memory)
		munmap(m->memory, m->memory_size);
	free(m);
}

static struct qtest_function *next_function(struct qtest_machine *m)
{
	unsigned int n = m->num_functions;
	struct qtest_function *f = &m->functions[n];

	if (n == QTEST_MAX_FUNCTIONS)
		return NULL;
	*f = (struct qtest_function){
		.machine = m,
		.rid = (nst_rid)((n % QTEST_SLOTS + 1) << 3 | n / QTEST_SLOTS),
	};
	return f;
}

int machine_add_emulated(struct qtest_machine *m, struct endpoint *ep)
{
	struct qtest_function *f = next_function(m);

	if (!f) {
		endpoint_destroy(ep);
		return -ENOSPC;
	}
	function_init_emulated(f, ep);
	m->num_functions++;
	return 0;
}

int machine_add_passthrough(struct qtest_machine *m, const char *path)
{
	struct qtest_function *f = next_function(m);
	struct nst_device_config config = { .path = path };
	struct nst_device *dev;
	int ret;

	if (!f)
		return -ENOSPC;
	ret = nst_device_open(m->vm, &config, &dev);
	if (ret)
		return ret;
	ret = nst_viommu_attach(m->viommu, f->rid, dev);
	if (ret) {
		nst_device_close(dev);
		return ret;
	}
	function_init_passthrough(f, dev);
	m->num_functions++;
	return 0;
}

/* --- configuration space ------------------------------------------------------------------ */

/* Function of bus, device and function number in the bits that ECAM has them at, or NULL. */
static struct qtest_function *function_at(struct qtest_machine *m, uint64_t ecam)
{
	for (unsigned int i = 0; i < m->num_functions; i++)
		if (m->functions[i].rid == ecam >> 12)
			return &m->functions[i];
	return NULL;
}

static uint64_t config_read(struct qtest_machine *m, uint64_t ecam, unsigned int size)
{
	struct qtest_function *f = function_at(m, ecam);

	return f ? function_config_read(f, ecam & 0xfff, size) : UINT64_MAX;
}

static void config_write(struct qtest_machine *m, uint64_t ecam, unsigned int size, uint64_t value)
{
	struct qtest_function *f = function_at(m, ecam);

	if (f)
		function_config_write(f, ecam & 0xfff, size, value);
}

/* Is @port of the data register, and enabled? *@ecam gets what it leads to. */
static bool config_data(const struct qtest_machine *m, uint16_t port, unsigned int size,
			uint64_t *ecam)
{
	uint32_t address = m->config_address;

	*ecam = (address & 0xffff00) << 4 | (address & 0xfc) | (port & 3);
	return m->map->ports && (address & CONFIG_ADDRESS_ENABLE) && port >= CONFIG_DATA &&
	       port + size <= CONFIG_DATA + 4;
}

uint32_t machine_in(struct qtest_machine *m, uint16_t port, unsigned int size)
{
	uint64_t ecam;

	if (m->map->ports && port == CONFIG_ADDRESS && size == 4)
		return m->config_address;
	if (!config_data(m, port, size, &ecam) || !IS_ALIGNED(ecam, size))
		return UINT32_MAX >> (32 - 8 * size);
	return (uint32_t)(config_read(m, ecam, size) & UINT32_MAX >> (32 - 8 * size));
}

void machine_out(struct qtest_machine *m, uint16_t port, unsigned int size, uint32_t value)
{
	uint64_t ecam;

	if (port == CONFIG_ADDRESS && size == 4)
		m->config_address = value;
	else if (config_data(m, port, size, &ecam) && IS_ALIGNED(ecam, size))
		config_write(m, ecam, size, value);
}

/* --- memory-mapped accesses --------------------------------------------------------------- */

/* The BAR that @address is in: its function and number; or NULL. */
static struct qtest_function *find_bar(struct qtest_machine *m, uint64_t address, unsigned int *bar)
{
	for (unsigned int i = 0; i < m->num_functions; i++) {
		struct qtest_function *f = &m->functions[i];

		for (*bar = 0; *bar < FUNCTION_NUM_BARS; ++*bar)
			if (f->bars[*bar] && address - f->bars[*bar] < f->bar_sizes[*bar])
				return f;
	}
	return NULL;
}

/*
 * An access may leave work of the unit behind; for a script it is over when the access is. What a
 * host does in its own time (a kernel's events, interrupts) is there when a script looks for it.
 */
static void finish_work(struct qtest_machine *m)
{
	struct pollfd work = { .fd = nst_viommu_fd(m->viommu), .events = POLLIN };

	while (poll(&work, 1, 0) > 0)
		nst_viommu_process(m->viommu);
	for (unsigned int i = 0; i < m->num_functions; i++)
		function_take_interrupts(&m->functions[i]);
}

static uint64_t read_piece(struct qtest_machine *m, uint64_t address, unsigned int size)
{
	struct qtest_function *f;
	unsigned int bar;
	uint64_t value;

	if (address - m->map->ecam < ECAM_SIZE)
		return config_read(m, address - m->map->ecam, size);
	if (address - m->map->unit < m->map->unit_size || address - m->map->log < PAGE_SIZE_4K)
		finish_work(m);
	if (address - m->map->unit < m->map->unit_size)
		return nst_viommu_mmio_read(m->viommu, address - m->map->unit, size);
	if (address - m->map->log < PAGE_SIZE_4K)
		return le_load((uint8_t *)m->interrupts + (address - m->map->log), size);
	f = find_bar(m, address, &bar);
	if (!f)
		return UINT64_MAX;
	value = function_bar_read(f, bar, address - f->bars[bar], size);
	finish_work(m); /* testdev's DMA is done in a read */
	return value;
}

static void write_piece(struct qtest_machine *m, uint64_t address, unsigned int size,
			uint64_t value)
{
	struct qtest_function *f;
	unsigned int bar;

	if (address - m->map->ecam < ECAM_SIZE) {
		config_write(m, address - m->map->ecam, size, value);
	} else if (address - m->map->unit < m->map->unit_size) {
		nst_viommu_mmio_write(m->viommu, address - m->map->unit, size, value);
		finish_work(m);
	} else if (address - m->map->log < PAGE_SIZE_4K) {
		memset(m->interrupts, 0, sizeof(m->interrupts));
	} else if (address - m->map->interrupts < m->map->interrupts_size) {
		if (size == 4)
			machine_interrupt(m, address, (uint32_t)value);
	} else {
		f = find_bar(m, address, &bar);
		if (!f)
			return;
		function_bar_write(f, bar, address - f->bars[bar], size, value);
		finish_work(m);
	}
}

static unsigned int piece_size(uint64_t address, size_t left)
{
	unsigned int size = 8;

	while (size > left || !IS_ALIGNED(address, (uint64_t)size))
		size /= 2;
	return size;
}

void machine_read(struct qtest_machine *m, uint64_t address, void *buf, size_t size)
{
	uint8_t *out = buf;
	size_t n;

	for (; size; size -= n, address += n, out += n) {
		if (address - m->map->memory < m->memory_size) {
			n = MIN(size, m->memory_size - (address - m->map->memory));
			if (!nst_mem_read(machine_mem(m), (nst_gpa){ address }, out, n))
				continue;
			memset(out, 0xff, n);
		} else {
			n = piece_size(address, size);
			le_store(out, (unsigned int)n, read_piece(m, address, (unsigned int)n));
		}
	}
}

void machine_write(struct qtest_machine *m, uint64_t address, const void *buf, size_t size)
{
	const uint8_t *in = buf;
	size_t n;

	for (; size; size -= n, address += n, in += n) {
		if (address - m->map->memory < m->memory_size) {
			n = MIN(size, m->memory_size - (address - m->map->memory));
			if (nst_mem_write(machine_mem(m), (nst_gpa){ address }, in, n))
				log_error(m->log, "qtest: the machine's memory is gone");
		} else {
			n = piece_size(address, size);
			write_piece(m, address, (unsigned int)n, le_load(in, (unsigned int)n));
		}
	}
}

/* --- save and restore --------------------------------------------------------------------- */

static struct machine_parts parts_of(struct qtest_machine *m)
{
	return (struct machine_parts){
		.viommu = m->viommu,
		.memory = m->memory,
		.memory_size = m->memory_size,
		.functions = m->functions,
		.num_functions = m->num_functions,
		.config_address = &m->config_address,
		.interrupts = m->interrupts,
	};
}

int machine_save(struct qtest_machine *m, void **data, size_t *size)
{
	const struct machine_parts parts = parts_of(m);

	return machine_parts_save(&parts, data, size);
}

int machine_restore(struct qtest_machine *m, const void *data, size_t size)
{
	const struct machine_parts parts = parts_of(m);
	int ret = machine_parts_restore(&parts, data, size);

	if (!ret)
		finish_work(m);
	return ret;
}
