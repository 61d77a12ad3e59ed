// SPDX-License-Identifier: BSD-3-Clause
/* See unit.h. */
#include "unit.h"

#include "base/bits.h"
#include "passthrough/device.h"

#include <endian.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Long enough for any machine; only a case that fails waits for it. */
enum { EVENT_TIMEOUT_MS = 20000 };

/* --- the host in between --------------------------------------------------------------------- */

static struct counting_host *to_counting_host(struct nst_host *host)
{
	return container_of(host, struct counting_host, base);
}

static void count_objects(struct counting_host *h, unsigned long request)
{
	if (request == IOMMU_IOAS_ALLOC || request == IOMMU_HWPT_ALLOC ||
	    request == IOMMU_VIOMMU_ALLOC || request == IOMMU_VDEVICE_ALLOC ||
	    request == IOMMU_VEVENTQ_ALLOC)
		h->objects++;
	else if (request == IOMMU_DESTROY)
		h->objects--;
	if (request == IOMMU_VEVENTQ_ALLOC)
		h->fds++;
}

static void spoil_cds(const struct iommu_hwpt_invalidate *cmd)
{
	struct iommu_viommu_arm_smmuv3_invalidate *entries = (void *)(uintptr_t)cmd->data_uptr;

	for (uint32_t i = 0; i < cmd->entry_num; i++)
		if ((le64toh(entries[i].cmd[0]) & 0xff) == CFGI_CD)
			entries[i].cmd[0] = htole64(CFGI_CD | CMD0_SID(0xffff));
}

static int counted_ioctl(struct nst_host *host, int fd, unsigned long request, void *arg)
{
	struct counting_host *h = to_counting_host(host);
	int ret;

	if (h->spoil_cds && request == IOMMU_HWPT_INVALIDATE)
		spoil_cds(arg);
	ret = h->inner->ops->ioctl(h->inner, fd, request, arg);
	h->calls++;
	if (request == IOMMU_HWPT_INVALIDATE)
		h->invalidations++;
	if (ret < 0)
		h->failed++;
	else
		count_objects(h, request);
	/* what is not destroyed when it should be is never */
	if (request == IOMMU_DESTROY)
		assert_int_equal(ret, 0);
	return ret;
}

static int counted_open(struct nst_host *host, const char *path, int flags)
{
	struct counting_host *h = to_counting_host(host);
	int ret = h->inner->ops->open(h->inner, path, flags);

	h->calls++;
	h->fds += ret >= 0;
	return ret;
}

static int counted_close(struct nst_host *host, int fd)
{
	struct counting_host *h = to_counting_host(host);

	h->calls++;
	h->fds--;
	return h->inner->ops->close(h->inner, fd);
}

static ssize_t counted_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	struct counting_host *h = to_counting_host(host);

	h->calls++;
	return h->inner->ops->read(h->inner, fd, buf, count);
}

static ssize_t counted_write(struct nst_host *host, int fd, const void *buf, size_t count)
{
	struct counting_host *h = to_counting_host(host);

	h->calls++;
	return h->inner->ops->write(h->inner, fd, buf, count);
}

static ssize_t counted_pread(struct nst_host *host, int fd, void *buf, size_t count, off_t offset)
{
	struct counting_host *h = to_counting_host(host);

	h->calls++;
	return h->inner->ops->pread(h->inner, fd, buf, count, offset);
}

static ssize_t counted_pwrite(struct nst_host *host, int fd, const void *buf, size_t count,
			      off_t offset)
{
	struct counting_host *h = to_counting_host(host);

	h->calls++;
	return h->inner->ops->pwrite(h->inner, fd, buf, count, offset);
}

static const struct nst_host_ops counting_ops = {
	.open = counted_open,
	.close = counted_close,
	.ioctl = counted_ioctl,
	.read = counted_read,
	.write = counted_write,
	.pread = counted_pread,
	.pwrite = counted_pwrite,
};

/* --- life ------------------------------------------------------------------------------------ */

static void open_device(struct unit *u, unsigned int i, const char *path)
{
	const struct nst_device_config config = { .path = path };
	const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	ok(nst_device_open(u->vm, &config, &u->devices[i]));
	ok(nst_device_write(u->devices[i], VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &command,
			    sizeof(command)));
	u->rids[i] = i ? 0 : 0x10; /* 0 is an ordinary StreamID */
	ok(nst_viommu_attach(u->viommu, u->rids[i], u->devices[i]));
}

static void to_tap(void *opaque, enum nst_log_level level, const char *message)
{
	printf("# log: %s\n", message);
}

void unit_init(struct unit *u, struct rig *rig, unsigned int num_devices)
{
	static const struct nst_log log = { to_tap, NULL, NST_LOG_ERROR };
	struct nst_smmuv3_config config = { .log = &log };
	char second[sizeof(rig->path)];

	*u = (struct unit){
		.rig = rig,
		.host = { .base = { &counting_ops }, .inner = rig->host },
	};
	ok(host_close(rig, rig->dev));
	ok(host_close(rig, rig->iommu));
	ok(nst_vm_create(&u->host.base, &log, &u->vm));
	smmu_guest_init(&u->guest, UNIT_MEMORY);
	ok(nst_vm_map(u->vm, (nst_gpa){ 0 }, UNIT_MEMORY, u->guest.memory, true));
	config.vm = u->vm;
	ok(nst_smmuv3_create(&config, &u->viommu));
	open_device(u, 0, rig->path);
	if (num_devices > 1) {
		rig_add_device(rig, false, second, sizeof(second));
		open_device(u, 1, second);
	}
	unit_use(u, 0);
}

void unit_fini(struct unit *u, const char *name)
{
	nst_viommu_destroy(u->viommu);
	for (unsigned int i = 0; i < UNIT_DEVICES; i++)
		nst_device_close(u->devices[i]);
	nst_vm_destroy(u->vm);
	assert_int_equal(u->host.objects, 0);
	assert_int_equal(u->host.fds, 0);
	smmu_guest_fini(&u->guest);
	printf("# unit.%s: %u calls of the host, %u of them IOMMU_HWPT_INVALIDATE\n", name,
	       u->host.calls, u->host.invalidations);
}

void unit_use(struct unit *u, unsigned int device)
{
	u->rig->dev = u->devices[device]->fd;
}

uint8_t *unit_memory(struct unit *u, uint64_t gpa)
{
	assert_true(gpa < UNIT_MEMORY);
	return u->guest.memory + gpa;
}

/* --- registers and queues -------------------------------------------------------------------- */

uint32_t unit_get(struct unit *u, enum unit_reg reg)
{
	return (uint32_t)nst_viommu_mmio_read(u->viommu, reg, 4);
}

void unit_set(struct unit *u, enum unit_reg reg, uint32_t value)
{
	nst_viommu_mmio_write(u->viommu, reg, 4, value);
}

void unit_cr0(struct unit *u, uint32_t value)
{
	unit_set(u, UNIT_CR0, value);
	assert_int_equal(unit_get(u, UNIT_CR0ACK), value);
}

static uint64_t *words(struct unit *u, uint64_t gpa)
{
	return (uint64_t *)(void *)unit_memory(u, gpa);
}

void unit_enable(struct unit *u)
{
	memset(unit_memory(u, UNIT_STRTAB), 0, 64 << UNIT_STRTAB_LG2);
	if (u->two_level) {
		*words(u, UNIT_L1) = UNIT_STRTAB | 9; /* SPAN: 256 entries */
		nst_viommu_mmio_write(u->viommu, UNIT_STRTAB_BASE, 8, UNIT_L1);
		unit_set(u, UNIT_STRTAB_CFG, 1u << 16 | 8u << 6 | 16);
	} else {
		nst_viommu_mmio_write(u->viommu, UNIT_STRTAB_BASE, 8, UNIT_STRTAB);
		unit_set(u, UNIT_STRTAB_CFG, UNIT_STRTAB_LG2);
	}
	u->prod = 0;
	nst_viommu_mmio_write(u->viommu, UNIT_CMDQ_BASE, 8, UNIT_CMDQ | UNIT_CMDQ_LG2);
	unit_set(u, UNIT_CMDQ_PROD, 0);
	unit_set(u, UNIT_CMDQ_CONS, 0);
	unit_cr0(u, CR0_CMDQEN);
	unit_run(u, CFGI_ALL, 31);
	unit_run(u, TLBI_NSNH_ALL, 0);
	nst_viommu_mmio_write(u->viommu, UNIT_EVENTQ_BASE, 8, UNIT_EVENTQ | UNIT_EVENTQ_LG2);
	unit_set(u, UNIT_EVENTQ_PROD, 0);
	unit_set(u, UNIT_EVENTQ_CONS, 0);
	unit_cr0(u, CR0_CMDQEN | CR0_EVENTQEN);
	unit_cr0(u, CR0_ALL);
}

void unit_put(struct unit *u, uint64_t cmd0, uint64_t cmd1)
{
	uint64_t *at = words(u, UNIT_CMDQ + (u->prod & ((1u << UNIT_CMDQ_LG2) - 1)) * 16);

	at[0] = cmd0;
	at[1] = cmd1;
	u->prod = (u->prod + 1) & ((2u << UNIT_CMDQ_LG2) - 1);
}

void unit_kick(struct unit *u)
{
	unit_set(u, UNIT_CMDQ_PROD, u->prod);
}

void unit_run(struct unit *u, uint64_t cmd0, uint64_t cmd1)
{
	unit_put(u, cmd0, cmd1);
	unit_put(u, CMD_SYNC, 0);
	unit_kick(u);
	assert_int_equal(unit_error(u), 0);
	assert_int_equal(unit_get(u, UNIT_CMDQ_CONS) & 0xfffff, u->prod);
}

unsigned int unit_error(struct unit *u)
{
	if (!((unit_get(u, UNIT_GERROR) ^ unit_get(u, UNIT_GERRORN)) & 1))
		return 0;
	return unit_get(u, UNIT_CMDQ_CONS) >> 24 & 0x7f;
}

void unit_write_ste(struct unit *u, nst_rid rid, uint64_t ste0)
{
	uint64_t *ste = words(u, UNIT_STRTAB + rid * 64u);

	memset(ste, 0, 64);
	ste[1] = STE1_LINUX;
	ste[0] = ste0;
	unit_run(u, CFGI_STE | CMD0_SID(rid), CMD1_LEAF);
}

/* --- events ---------------------------------------------------------------------------------- */

static bool take_event(struct unit *u, uint64_t event[4])
{
	const uint32_t mask = (2u << UNIT_EVENTQ_LG2) - 1;
	uint32_t cons = unit_get(u, UNIT_EVENTQ_CONS);

	nst_viommu_process(u->viommu);
	if (!((cons ^ unit_get(u, UNIT_EVENTQ_PROD)) & mask))
		return false;
	memcpy(event, unit_memory(u, UNIT_EVENTQ + (cons & mask >> 1) * 32), 32);
	unit_set(u, UNIT_EVENTQ_CONS, (cons & 0x80000000) | ((cons + 1) & mask));
	return true;
}

/* On a kernel they come by an interrupt of its IOMMU. */
static void wait_for_host(struct unit *u)
{
	struct pollfd fd = { .fd = nst_viommu_fd(u->viommu), .events = POLLIN };

	if (poll(&fd, 1, EVENT_TIMEOUT_MS) <= 0)
		fail_msg("no event came");
}

void unit_event(struct unit *u, uint64_t event[4])
{
	while (!take_event(u, event))
		wait_for_host(u);
}

static bool overflowed(struct unit *u)
{
	return (unit_get(u, UNIT_EVENTQ_PROD) ^ unit_get(u, UNIT_EVENTQ_CONS)) >> 31;
}

void unit_drain_overflow(struct unit *u)
{
	uint64_t event[4];

	while (!overflowed(u)) {
		wait_for_host(u);
		nst_viommu_process(u->viommu);
	}
	while (take_event(u, event))
		assert_int_equal(event[0] & 0xff, F_TRANSLATION);
	unit_set(u, UNIT_EVENTQ_CONS, unit_get(u, UNIT_EVENTQ_PROD));
	assert_false(overflowed(u));
}

void unit_expect_fault(struct unit *u, enum smmu_event type, nst_rid rid, uint64_t iova)
{
	uint64_t event[4];

	unit_event(u, event);
	assert_int_equal(event[0] & 0xff, type);
	assert_int_equal(event[0] >> 32, rid);
	assert_int_equal(event[0] >> 11 & 1, 0); /* SSV */
	if (type < F_TRANSLATION)
		return;
	assert_int_equal(event[1] >> 35 & 1, 0);	  /* RnW */
	assert_int_equal(event[1] >> 39 & 1, 0);	  /* S2 */
	assert_int_equal(event[1] >> 40 & 3, 2);	  /* CLASS: IN */
	assert_int_equal(event[2] & ~7ULL, iova & ~7ULL); /* InputAddr */
}

void unit_expect_no_event(struct unit *u)
{
	uint64_t event[4];

	if (take_event(u, event))
		fail_msg("event %#llx for %#llx", (unsigned long long)event[0],
			 (unsigned long long)event[2]);
}

/* --- DMA ------------------------------------------------------------------------------------- */

void unit_reaches(struct unit *u, uint64_t iova, uint64_t gpa)
{
	dma_reaches(u->rig, NO_PASID, iova, unit_memory(u, gpa));
}
