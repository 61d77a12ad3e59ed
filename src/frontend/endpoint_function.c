// SPDX-License-Identifier: BSD-3-Clause
/* See endpoint_function.h. */
#include "frontend/endpoint_function.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "base/worker.h"
#include "frontend/emulated_bus.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VECTORS = 32 }; /* of MSI */

struct endpoint_function {
	struct endpoint *ep;
	struct emulated_bus bus;
	struct worker worker;
	struct nst_vfu *vfu;
	const struct nst_log *log;
	unsigned int vectors;
	struct mutex irq_lock;				/* a leaf */
	int eventfds[MAX_VECTORS] GUARDED_BY(irq_lock); /* -1: none */
};

/* --- interrupts ------------------------------------------------------------------------------- */

static void signal_vector(struct endpoint_function *f, unsigned int vector) REQUIRES(f->irq_lock)
{
	const uint64_t one = 1;

	/* a counter that is full has been signalled */
	if (f->eventfds[vector] >= 0 && write(f->eventfds[vector], &one, sizeof(one)) < 0)
		return;
}

static void set_vector(struct endpoint_function *f, unsigned int vector, int fd)
	REQUIRES(f->irq_lock)
{
	if (f->eventfds[vector] >= 0)
		close(f->eventfds[vector]);
	f->eventfds[vector] = fd;
}

static void interrupt(void *opaque, unsigned int vector)
{
	struct endpoint_function *f = opaque;

	mutex_lock(&f->irq_lock);
	if (vector < f->vectors)
		signal_vector(f, vector);
	mutex_unlock(&f->irq_lock);
}

static void set_msi(struct endpoint_function *f, const struct nst_vfu_irqs *irqs)
	REQUIRES(f->irq_lock)
{
	bool none = irqs->flags & VFIO_IRQ_SET_DATA_NONE;

	for (unsigned int i = 0; none && !irqs->count && i < f->vectors; i++)
		set_vector(f, i, -1);
	for (unsigned int i = 0; i < irqs->count; i++) {
		if (irqs->flags & VFIO_IRQ_SET_DATA_EVENTFD) {
			set_vector(f, irqs->start + i, irqs->eventfds[i]);
			irqs->eventfds[i] = -1;
		} else if (none || irqs->data[i]) {
			signal_vector(f, irqs->start + i);
		}
	}
}

/* The VMM arms the error and request interrupts too; this function never raises either. */
static int set_irqs(void *opaque, const struct nst_vfu_irqs *irqs)
{
	struct endpoint_function *f = opaque;

	if (irqs->index != VFIO_PCI_MSI_IRQ_INDEX)
		return 0;
	if ((irqs->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -EINVAL;
	mutex_lock(&f->irq_lock);
	set_msi(f, irqs);
	mutex_unlock(&f->irq_lock);
	return 0;
}

/* --- configuration space and registers ---------------------------------------------------------
 */

static int reset(void *opaque)
{
	struct endpoint_function *f = opaque;

	f->ep->ops->reset(f->ep);
	return 0;
}

static void load(struct endpoint_function *f, unsigned int bar, uint64_t offset, uint8_t *buf,
		 unsigned int size)
{
	le_store(buf, size, f->ep->ops->bar_read(f->ep, bar, offset, size));
}

static bool is_access(size_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static int region_read(void *opaque, unsigned int region, uint64_t offset, void *buf, size_t size)
{
	struct endpoint_function *f = opaque;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		pci_config_read(&f->ep->config, offset, buf, size);
	else if (is_access(size))
		load(f, region, offset, buf, (unsigned int)size);
	else
		return -EINVAL;
	return 0;
}

static int region_write(void *opaque, unsigned int region, uint64_t offset, const void *buf,
			size_t size)
{
	struct endpoint_function *f = opaque;

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		if (pci_config_write(&f->ep->config, offset, buf, size))
			reset(f);
		return 0;
	}
	if (!is_access(size))
		return -EINVAL;
	f->ep->ops->bar_write(f->ep, region, offset, (unsigned int)size,
			      le_load(buf, (unsigned int)size));
	return 0;
}

/* The VMM is gone: no interrupt, no DMA into memory that is no longer the guest's. */
static void disconnected(void *opaque, int err)
{
	struct endpoint_function *f = opaque;

	if (err)
		log_warn(f->log, "the VMM's connection to a device broke: %s", strerror(-err));
	mutex_lock(&f->irq_lock);
	for (unsigned int i = 0; i < f->vectors; i++)
		set_vector(f, i, -1);
	mutex_unlock(&f->irq_lock);
	reset(f);
}

static const struct nst_vfu_ops vfu_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.set_irqs = set_irqs,
	.reset = reset,
	.disconnected = disconnected,
};

/* --- life ---------------------------------------------------------------------------------------
 */

/* A write to the interrupt range is the VMM's to carry out, as its own of a vector would be. */
static void message(void *opaque, uint64_t address, uint32_t data)
{
	struct endpoint_function *f = opaque;

	le32 bytes = le32_make(data);
	int ret = nst_vfu_dma_write(f->vfu, (nst_gpa){ address }, &bytes, sizeof(bytes));

	if (ret)
		log_warn(f->log, "an interrupt of a device is lost: %s", strerror(-ret));
}

static void kick(void *opaque)
{
	struct endpoint_function *f = opaque;

	worker_kick(&f->worker);
}

static void run(void *opaque)
{
	struct endpoint_function *f = opaque;

	f->ep->ops->run(f->ep);
}

static const struct emulated_bus_ops bus_ops = {
	.message = message,
	.interrupt = interrupt,
	.kick = kick,
};

/* What points to the capability points past it. */
static void hide_msix(struct pci_config *cfg)
{
	unsigned int link = PCI_CAPABILITY_LIST;

	if (!cfg->msix_cap)
		return;
	while (cfg->bytes[link] != cfg->msix_cap)
		link = cfg->bytes[link] + PCI_CAP_LIST_NEXT;
	cfg->bytes[link] = cfg->bytes[cfg->msix_cap + PCI_CAP_LIST_NEXT];
}

static unsigned int msi_vectors(const struct pci_config *cfg)
{
	unsigned int flags;

	if (!cfg->msi_cap)
		return 0;
	flags = (unsigned int)le_load(&cfg->bytes[cfg->msi_cap + PCI_MSI_FLAGS], 2);
	return MIN(1U << FIELD_GET(PCI_MSI_FLAGS_QMASK, flags), (unsigned int)MAX_VECTORS);
}

static int serve(struct endpoint_function *f, const char *socket_path)
{
	const uint32_t access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	struct nst_vfu_config served = {
		.socket_path = socket_path,
		.ops = &vfu_ops,
		.opaque = f,
		.log = f->log,
		.regions[VFIO_PCI_CONFIG_REGION_INDEX] = {
			.size = f->ep->config.express_cap ? PCI_CONFIG_SIZE : PCI_CFG_SPACE_SIZE,
			.fd = -1,
			.flags = access,
		},
		.irq_counts = {
			[VFIO_PCI_MSI_IRQ_INDEX] = f->vectors,
			[VFIO_PCI_ERR_IRQ_INDEX] = 1,
			[VFIO_PCI_REQ_IRQ_INDEX] = 1,
		},
	};

	for (unsigned int bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		served.regions[bar] = (struct nst_vfu_region){
			.size = f->ep->bar_sizes[bar],
			.fd = -1,
			.flags = f->ep->bar_sizes[bar] ? access : 0,
		};
	return nst_vfu_create(&served, &f->vfu);
}

int endpoint_function_create(const struct endpoint_function_config *config, struct endpoint *ep,
			     struct endpoint_function **out)
{
	struct endpoint_function *f = alloc_object(struct endpoint_function);
	int ret;

	if (!f) {
		endpoint_destroy(ep);
		return -ENOMEM;
	}
	f->ep = ep;
	f->log = config->log;
	hide_msix(&ep->config);
	f->vectors = msi_vectors(&ep->config);
	mutex_init(&f->irq_lock);
	for (unsigned int i = 0; i < MAX_VECTORS; i++)
		f->eventfds[i] = -1;
	worker_init(&f->worker, run, f);
	emulated_bus_init(&f->bus, ep, config->viommu, nst_vm_mem(config->vm), config->rid,
			  &bus_ops, f);
	ret = emulated_bus_listen(&f->bus);
	if (!ret && ep->ops->run)
		ret = worker_start(&f->worker);
	if (!ret)
		ret = serve(f, config->socket_path);
	if (ret) {
		endpoint_function_destroy(f);
		return ret;
	}
	*out = f;
	return 0;
}

void endpoint_function_destroy(struct endpoint_function *f)
{
	if (!f)
		return;
	nst_vfu_destroy(f->vfu);
	worker_fini(&f->worker);
	emulated_bus_fini(&f->bus);
	endpoint_destroy(f->ep);
	mutex_fini(&f->irq_lock);
	free(f);
}

struct nst_vfu *endpoint_function_vfu(struct endpoint_function *f)
{
	return f->vfu;
}

void endpoint_function_count(const struct endpoint_function *f, uint64_t *bytes_read,
			     uint64_t *bytes_written)
{
	*bytes_read = atomic_load(&f->bus.bytes_read);
	*bytes_written = atomic_load(&f->bus.bytes_written);
}
