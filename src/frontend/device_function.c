// SPDX-License-Identifier: BSD-3-Clause
/* See device_function.h. */
#include "frontend/device_function.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/log.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>

enum { MAX_AREAS = 16 }; /* of a region; more than a device has */

struct device_function {
	struct nst_device *dev; /* NULL: not there at present */
	struct nst_vfu *vfu;
	bool mappable[NST_VFU_NUM_REGIONS]; /* some of it */
	const struct nst_log *log;
	void (*on_connected)(void *opaque);
	void (*on_identified)(void *opaque);
	void (*on_disconnected)(void *opaque);
	void *opaque;
};

static void call_back(const struct device_function *f, void (*callback)(void *opaque))
{
	if (callback)
		callback(f->opaque);
}

static int region_read(void *opaque, unsigned int region, uint64_t offset, void *buf, size_t size)
{
	struct device_function *f = opaque;

	if (!f->dev)
		return -ENODEV;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX && offset == PCI_VENDOR_ID)
		call_back(f, f->on_identified);
	return nst_device_read(f->dev, region, offset, buf, size);
}

static int region_write(void *opaque, unsigned int region, uint64_t offset, const void *buf,
			size_t size)
{
	struct device_function *f = opaque;

	return f->dev ? nst_device_write(f->dev, region, offset, buf, size) : -ENODEV;
}

static int set_irqs(void *opaque, const struct nst_vfu_irqs *irqs)
{
	struct device_function *f = opaque;

	if (!f->dev)
		return -ENODEV;
	return nst_device_set_irqs(f->dev, irqs->index, irqs->flags, irqs->start, irqs->count,
				   irqs->eventfds, irqs->data);
}

static int reset(void *opaque)
{
	struct device_function *f = opaque;

	return f->dev ? nst_device_reset(f->dev) : -ENODEV;
}

static void connected(void *opaque)
{
	struct device_function *f = opaque;

	call_back(f, f->on_connected);
}

static uint32_t served_irqs(const struct nst_device *dev, unsigned int index)
{
	return index == VFIO_PCI_REQ_IRQ_INDEX ? 0 : nst_device_irq_count(dev, index);
}

/*
 * What cannot be reset goes on with what the last driver told it to do; without Bus
 * Master Enable at least it reaches no memory, and raises no MSI.
 */
static void end_dma(struct device_function *f)
{
	uint8_t command[2];
	int ret = nst_device_read(f->dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, command,
				  sizeof(command));

	command[0] &= (uint8_t)~PCI_COMMAND_MASTER;
	if (!ret)
		ret = nst_device_write(f->dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, command,
				       sizeof(command));
	if (ret)
		log_warn(f->log, "the device's DMA cannot be switched off: %s", strerror(-ret));
}

static void silence(struct device_function *f)
{
	int ret;

	for (unsigned int index = 0; index < VFIO_PCI_NUM_IRQS; index++) {
		if (!served_irqs(f->dev, index))
			continue;
		ret = nst_device_set_irqs(f->dev, index,
					  VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0,
					  0, NULL, NULL);
		if (ret && ret != -EINVAL && ret != -ENOTTY)
			log_warn(f->log, "interrupts stay enabled: %s", strerror(-ret));
	}
	end_dma(f);
	ret = nst_device_can_reset(f->dev) ? reset(f) : 0;
	if (ret)
		log_warn(f->log, "the device cannot be reset: %s", strerror(-ret));
}

/* The VMM is gone: no interrupt, no DMA into memory that is no longer the guest's. */
static void disconnected(void *opaque, int err)
{
	struct device_function *f = opaque;

	if (err)
		log_warn(f->log, "the VMM's connection to a device broke: %s", strerror(-err));
	if (f->dev)
		silence(f);
	call_back(f, f->on_disconnected);
}

static const struct nst_vfu_ops vfu_ops = {
	.region_read = region_read,
	.region_write = region_write,
	.set_irqs = set_irqs,
	.reset = reset,
	.connected = connected,
	.disconnected = disconnected,
};

/* @areas: room for MAX_AREAS, there until nst_vfu_create(). */
static struct nst_vfu_region served_region(const struct nst_device *dev, unsigned int i,
					   struct nst_vfu_area *areas)
{
	struct nst_device_region region = nst_device_region(dev, i);
	struct nst_device_mapping mapping = nst_device_mapping(dev, i);
	struct nst_vfu_region served = {
		.size = region.size,
		.fd = -1,
		.flags = region.flags & (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE),
	};

	if (!mapping.num_areas)
		return served;
	served.flags |= VFIO_REGION_INFO_FLAG_MMAP;
	served.fd = mapping.fd;
	served.fd_offset = mapping.fd_offset;
	served.areas = areas;
	served.num_areas = MIN(mapping.num_areas, (unsigned int)MAX_AREAS);
	for (unsigned int n = 0; n < served.num_areas; n++)
		areas[n] = (struct nst_vfu_area){ mapping.areas[n].offset, mapping.areas[n].size };
	return served;
}

int device_function_create(const struct device_function_config *config,
			   struct device_function **out)
{
	struct device_function *f = alloc_object(struct device_function);
	struct nst_vfu_area areas[NST_VFU_NUM_REGIONS][MAX_AREAS];
	struct nst_vfu_config served = {
		.no_reset = !nst_device_can_reset(config->dev),
		.socket_path = config->socket_path,
		.ops = &vfu_ops,
		.opaque = f,
		.log = config->log,
	};
	int ret;

	if (!f)
		return -ENOMEM;
	*f = (struct device_function){
		.dev = config->dev,
		.log = config->log,
		.on_connected = config->connected,
		.on_identified = config->identified,
		.on_disconnected = config->disconnected,
		.opaque = config->opaque,
	};
	for (unsigned int i = 0; i < NST_VFU_NUM_REGIONS; i++) {
		served.regions[i] = served_region(f->dev, i, areas[i]);
		f->mappable[i] = served.regions[i].num_areas > 0;
	}
	for (unsigned int i = 0; i < NST_VFU_NUM_IRQS; i++)
		served.irq_counts[i] = served_irqs(f->dev, i);
	ret = nst_vfu_create(&served, &f->vfu);
	if (ret) {
		free(f);
		return ret;
	}
	*out = f;
	return 0;
}

void device_function_destroy(struct device_function *f)
{
	if (!f)
		return;
	nst_vfu_destroy(f->vfu);
	free(f);
}

void device_function_set_device(struct device_function *f, struct nst_device *dev)
{
	f->dev = dev;
	for (unsigned int i = 0; i < NST_VFU_NUM_REGIONS; i++)
		if (f->mappable[i])
			nst_vfu_set_region_fd(f->vfu, i, dev ? nst_device_mapping(dev, i).fd : -1);
}

struct nst_device *device_function_device(const struct device_function *f)
{
	return f->dev;
}

struct nst_vfu *device_function_vfu(struct device_function *f)
{
	return f->vfu;
}
