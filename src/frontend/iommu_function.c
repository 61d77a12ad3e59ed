// SPDX-License-Identifier: BSD-3-Clause
/*
 * See iommu_function.h. Bus Master Enable is always set in the configuration space
 * served: firmware's read-modify-write of COMMAND then enables it in the VMM too, and
 * without it the VMM would not deliver our interrupts, which are writes to memory. So is
 * Memory Space Enable, since not every firmware sets it for a function without a driver.
 */
#include "frontend/iommu_function.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "endpoint/pci_config.h"
#include "smmuv3/regs.h"
#include "vtd/regs.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/mman.h>

/* The vendor id that means "nobody's": no driver binds to this function. */
enum { FUNCTION_VENDOR = 0x1eaf, FUNCTION_DEVICE_VTD = 0x0001, FUNCTION_DEVICE_SMMUV3 = 0x0002 };
enum { COMMAND_STICKY = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER };
#define FUNCTION_CLASS 0x060000

/* A guest waits for one command before it gives the next: who fills this does not. */
enum { HELD_MAX = 16 };

/* What differs from one kind of unit to another. */
struct kind {
	uint16_t device_id;
	uint32_t mmio_size;
	/* the driver sets one of @enable_bits in @enable when @root says where its tables are */
	uint64_t enable, enable_bits, root;
	/* of the command queue; and what tells how far things are */
	uint64_t tail, status, queue_status;
	const char *root_name;
	int (*create)(struct iommu_function *f);
};

struct iommu_function {
	const struct kind *kind;
	struct nst_vm *vm;
	bool memory_mapped; /* by another function */
	unsigned int features;
	struct nst_viommu *viommu;
	struct nst_vfu *vfu;
	const struct nst_log *log;
	iommu_function_unshared_fn *unshared;
	void *opaque;
	struct pci_config config;
	/* register writes that wait, in their order */
	bool holding;
	struct {
		uint64_t offset, value;
		unsigned int size;
	} held[HELD_MAX];
	unsigned int num_held;
	/* is the guest's memory shared? asked of the VMM once, about the root table */
	bool asked;
	nst_gpa probe_gpa;
	uint8_t probe_seen[PAGE_SIZE_4K];
};

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
	struct iommu_function *f = opaque;
	le32 bytes = le32_make(data);
	int ret = nst_vfu_dma_write(f->vfu, (nst_gpa){ address }, &bytes, sizeof(bytes));

	if (ret)
		log_warn(f->log, "an IOMMU interrupt is lost: %s", strerror(-ret));
}

static void reset_unit(struct iommu_function *f)
{
	f->num_held = 0;
	nst_viommu_reset(f->viommu);
}

static void config_write(struct iommu_function *f, uint64_t offset, const void *buf, size_t size)
{
	if (pci_config_write(&f->config, offset, buf, size))
		reset_unit(f);
	f->config.bytes[PCI_COMMAND] |= COMMAND_STICKY;
}

static void config_reset(struct iommu_function *f)
{
	pci_config_reset(&f->config);
	f->config.bytes[PCI_COMMAND] |= COMMAND_STICKY;
}

/*
 * The VMM sends the file of private memory too, and the file then holds zeros where the
 * guest has data. Compare what the VMM reads with what we see, before and after.
 */
static void probe_done(void *opaque, int err, const void *data, size_t size)
{
	struct iommu_function *f = opaque;
	uint8_t now[PAGE_SIZE_4K];

	if (err || nst_mem_read(nst_vm_mem(f->vm), f->probe_gpa, now, size))
		return;
	if (!memcmp(data, now, size) || !memcmp(data, f->probe_seen, size))
		return;
	log_error(
		f->log,
		"the guest's memory is not shared with us: the page at 0x%llx differs. Give QEMU \"-object memory-backend-memfd,id=m,size=...,share=on -machine memory-backend=m\"",
		(unsigned long long)f->probe_gpa.v);
	if (f->unshared)
		f->unshared(f->opaque);
}

/* Of a root register; the page that the address is in is looked at. */
#define ROOT_PAGE GENMASK64(51, 12)

static void probe_shared_memory(struct iommu_function *f)
{
	uint64_t root = nst_viommu_mmio_read(f->viommu, f->kind->root, 8) & ROOT_PAGE;

	f->asked = true;
	f->probe_gpa.v = root;
	if (nst_mem_read(nst_vm_mem(f->vm), f->probe_gpa, f->probe_seen, PAGE_SIZE_4K)) {
		log_warn(f->log, "the IOMMU's %s at 0x%llx is not in memory we were given",
			 f->kind->root_name, (unsigned long long)root);
		return;
	}
	if (nst_vfu_dma_read(f->vfu, f->probe_gpa, PAGE_SIZE_4K, probe_done, f))
		log_warn(f->log, "cannot find out whether the guest's memory is shared");
}

static void release(struct iommu_function *f)
{
	for (unsigned int i = 0; i < f->num_held; i++)
		nst_viommu_mmio_write(f->viommu, f->held[i].offset, f->held[i].size,
				      f->held[i].value);
	f->num_held = 0;
}

void iommu_function_hold(struct iommu_function *f, bool on)
{
	f->holding = on;
	if (!on)
		release(f);
}

/* Those two wait, and behind them everything, so that it stays in order. */
static bool take_held(struct iommu_function *f, uint64_t offset, unsigned int size, uint64_t value)
{
	bool command = offset == f->kind->enable || offset == f->kind->tail;

	if (!f->holding || (!command && !f->num_held))
		return false;
	if (f->num_held == HELD_MAX) {
		release(f);
		return false;
	}
	f->held[f->num_held].offset = offset;
	f->held[f->num_held].size = size;
	f->held[f->num_held++].value = value;
	return true;
}

/* Who reads back what it wrote is to find it; the status registers say what is done. */
static uint64_t register_read(struct iommu_function *f, uint64_t offset, unsigned int size)
{
	if (offset != f->kind->status && offset != f->kind->queue_status)
		release(f);
	return nst_viommu_mmio_read(f->viommu, offset, size);
}

static int region_read(void *opaque, unsigned int region, uint64_t offset, void *buf, size_t size)
{
	struct iommu_function *f = opaque;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		pci_config_read(&f->config, offset, buf, size);
	else if (size <= 8)
		le_store(buf, (unsigned int)size, register_read(f, offset, (unsigned int)size));
	else
		return -EINVAL;
	return 0;
}

static int region_write(void *opaque, unsigned int region, uint64_t offset, const void *buf,
			size_t size)
{
	struct iommu_function *f = opaque;
	uint64_t value;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		config_write(f, offset, buf, size);
		return 0;
	}
	if (size > 8)
		return -EINVAL;
	value = le_load(buf, (unsigned int)size);
	if (offset == f->kind->enable && (value & f->kind->enable_bits) && !f->asked)
		probe_shared_memory(f);
	if (!take_held(f, offset, (unsigned int)size, value))
		nst_viommu_mmio_write(f->viommu, offset, (unsigned int)size, value);
	return 0;
}

static int dma_map(void *opaque, struct nst_vfu_dma *dma)
{
	struct iommu_function *f = opaque;
	int ret;

	if (f->memory_mapped)
		return 0;
	if (dma->fd < 0) { /* a ROM, or another device's BAR: nothing we can reach */
		log_debug(f->log, "memory at 0x%llx (0x%llx bytes) has no file descriptor",
			  (unsigned long long)dma->gpa.v, (unsigned long long)dma->size);
		return 0;
	}
	ret = nst_vm_map_file(f->vm, dma->gpa, dma->size, dma->fd, dma->fd_offset,
			      dma->prot & PROT_WRITE);
	if (ret)
		log_error(f->log, "guest memory at 0x%llx (0x%llx bytes) cannot be mapped: %s",
			  (unsigned long long)dma->gpa.v, (unsigned long long)dma->size,
			  strerror(-ret));
	return ret;
}

static int dma_unmap(void *opaque, nst_gpa gpa, uint64_t size)
{
	struct iommu_function *f = opaque;
	int ret = f->memory_mapped ? 0 : nst_vm_unmap(f->vm, gpa, size);

	return ret == -ENOENT ? 0 : ret; /* it had no file descriptor */
}

/* The VMM arms the error and request interrupts; this function never raises either. */
static int set_irqs(void *opaque, const struct nst_vfu_irqs *irqs)
{
	return 0;
}

static int reset(void *opaque)
{
	struct iommu_function *f = opaque;

	reset_unit(f);
	config_reset(f);
	f->asked = false;
	return 0;
}

static void disconnected(void *opaque, int err)
{
	struct iommu_function *f = opaque;

	if (err)
		log_warn(f->log, "the VMM's connection to the IOMMU broke: %s", strerror(-err));
	reset(f);
}

static const struct nst_vfu_ops vfu_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.set_irqs = set_irqs,
	.reset = reset,
	.disconnected = disconnected,
};

static int serve(struct iommu_function *f, const char *socket_path)
{
	struct nst_vfu_config config = {
		.socket_path = socket_path,
		.ops = &vfu_ops,
		.opaque = f,
		.log = f->log,
		.regions = {
			[VFIO_PCI_BAR0_REGION_INDEX] = {
				.size = f->kind->mmio_size, .fd = -1,
				.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
			},
			[VFIO_PCI_CONFIG_REGION_INDEX] = {
				.size = PCI_CFG_SPACE_SIZE, .fd = -1,
				.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
			},
		},
		.irq_counts = { [VFIO_PCI_ERR_IRQ_INDEX] = 1, [VFIO_PCI_REQ_IRQ_INDEX] = 1 },
	};

	return nst_vfu_create(&config, &f->vfu);
}

static int create_vtd(struct iommu_function *f)
{
	const struct nst_vtd_config config = {
		.vm = f->vm,
		.log = f->log,
		.send_msi = send_msi,
		.opaque = f,
		.features = f->features,
	};

	return nst_vtd_create(&config, &f->viommu);
}

static int create_smmuv3(struct iommu_function *f)
{
	const struct nst_smmuv3_config config = {
		.vm = f->vm,
		.log = f->log,
		.send_msi = send_msi,
		.opaque = f,
		.features = NST_SMMUV3_ATS,
		.ssid_bits = 20,
	};

	return nst_smmuv3_create(&config, &f->viommu);
}

static const struct kind kind_vtd = {
	.device_id = FUNCTION_DEVICE_VTD,
	.mmio_size = NST_VTD_MMIO_SIZE,
	.enable = VTD_OFFSET_GCMD,
	.enable_bits = UINT32_MAX,
	.tail = VTD_OFFSET_IQT,
	.status = VTD_OFFSET_GSTS,
	.queue_status = VTD_OFFSET_FSTS,
	.root = VTD_OFFSET_RTADDR,
	.root_name = "root table",
	.create = create_vtd,
};

static const struct kind kind_smmuv3 = {
	.device_id = FUNCTION_DEVICE_SMMUV3,
	.mmio_size = NST_SMMUV3_MMIO_SIZE,
	.enable = SMMU_OFFSET_CR0,
	.enable_bits = SMMU_CR0_SMMUEN,
	.tail = SMMU_OFFSET_CMDQ_PROD,
	.status = SMMU_OFFSET_CR0ACK,
	.queue_status = SMMU_OFFSET_CMDQ_CONS,
	.root = SMMU_OFFSET_STRTAB_BASE,
	.root_name = "stream table",
	.create = create_smmuv3,
};

static int create(const struct iommu_function_config *config, const struct kind *kind,
		  struct iommu_function **out)
{
	struct iommu_function *f = alloc_object(struct iommu_function);
	int ret;

	if (!f)
		return -ENOMEM;
	*f = (struct iommu_function){
		.kind = kind,
		.vm = config->vm,
		.memory_mapped = config->memory_mapped,
		.features = config->features,
		.log = config->log,
		.unshared = config->unshared,
		.opaque = config->opaque,
	};
	pci_config_init(&f->config, FUNCTION_VENDOR, kind->device_id, FUNCTION_CLASS, 0);
	pci_config_set_bar(&f->config, 0, kind->mmio_size, false);
	config_reset(f);
	ret = kind->create(f);
	if (!ret)
		ret = serve(f, config->socket_path);
	if (ret) {
		iommu_function_destroy(f);
		return ret;
	}
	*out = f;
	return 0;
}

int iommu_function_create_vtd(const struct iommu_function_config *config,
			      struct iommu_function **out)
{
	return create(config, &kind_vtd, out);
}

int iommu_function_create_smmuv3(const struct iommu_function_config *config,
				 struct iommu_function **out)
{
	return create(config, &kind_smmuv3, out);
}

void iommu_function_destroy(struct iommu_function *f)
{
	if (!f)
		return;
	nst_vfu_destroy(f->vfu);
	nst_viommu_destroy(f->viommu);
	free(f);
}

struct nst_viommu *iommu_function_viommu(struct iommu_function *f)
{
	return f->viommu;
}

struct nst_vfu *iommu_function_vfu(struct iommu_function *f)
{
	return f->vfu;
}
