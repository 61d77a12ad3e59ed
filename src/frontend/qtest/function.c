// SPDX-License-Identifier: BSD-3-Clause
/* See function.h. */
#include "frontend/qtest/function.h"

#include "base/bits.h"
#include "base/endian.h"
#include "frontend/qtest/machine.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>

/* --- DMA of an emulated device ------------------------------------------------------------ */

/* As many bytes as one translation covers: how many, or a negative errno. */
static ssize_t dma_piece(struct qtest_function *f, const struct endpoint_dma_request *req,
			 size_t done)
{
	const struct nst_translate_request tr = {
		.rid = f->rid,
		.pasid = req->pasid,
		.iova = { req->iova.v + done },
		.write = req->write,
		.privileged = req->privileged,
	};
	struct nst_translation to;
	uint8_t *buf = (uint8_t *)req->buf + done;
	size_t size = req->size - done;
	int ret = nst_viommu_translate(machine_viommu(f->machine), &tr, &to);

	if (ret)
		return ret;
	size = MIN(size, to.size);
	if (to.interrupt) {
		if (req->size != sizeof(uint32_t))
			return -EFAULT;
		machine_interrupt(f->machine, to.gpa.v, (uint32_t)le_load(buf, 4));
		return (ssize_t)size;
	}
	ret = req->write ? nst_mem_write(machine_mem(f->machine), to.gpa, buf, size)
			 : nst_mem_read(machine_mem(f->machine), to.gpa, buf, size);
	return ret ? ret : (ssize_t)size;
}

static int bus_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct qtest_function *f = container_of(bus, struct qtest_function, bus);
	size_t done = 0;

	if (range_overflows(req->iova.v, req->size))
		return -EFAULT;
	while (done < req->size) {
		ssize_t n = dma_piece(f, req, done);

		if (n < 0)
			return -EFAULT;
		done += (size_t)n;
	}
	return 0;
}

/* The machine offers neither ATS nor page requests, and its models work without threads. */
static int bus_translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			 struct endpoint_ats_reply *reply)
{
	return -EFAULT;
}

static void bus_page_request(struct endpoint_bus *bus, const struct endpoint_page_request *req)
{
}

static void bus_interrupt(struct endpoint_bus *bus, unsigned int vector)
{
}

static void bus_kick(struct endpoint_bus *bus)
{
}

static const struct endpoint_bus_ops bus_ops = {
	.dma = bus_dma,
	.translate = bus_translate,
	.page_request = bus_page_request,
	.interrupt = bus_interrupt,
	.kick = bus_kick,
};

void function_init_emulated(struct qtest_function *f, struct endpoint *ep)
{
	f->ep = ep;
	f->bus.ops = &bus_ops;
	ep->bus = &f->bus;
	for (unsigned int i = 0; i < FUNCTION_NUM_BARS; i++)
		f->bar_sizes[i] = ep->bar_sizes[i];
}

void function_init_passthrough(struct qtest_function *f, struct nst_device *dev)
{
	f->dev = dev;
	for (unsigned int i = 0; i < FUNCTION_NUM_BARS; i++)
		f->bar_sizes[i] = nst_device_region(dev, VFIO_PCI_BAR0_REGION_INDEX + i).size;
}

void function_fini(struct qtest_function *f)
{
	endpoint_destroy(f->ep);
}

/* --- configuration space ------------------------------------------------------------------ */

static uint64_t device_read(struct qtest_function *f, unsigned int region, uint64_t offset,
			    unsigned int size)
{
	uint8_t buf[8];

	if (nst_device_read(f->dev, region, offset, buf, size))
		return UINT64_MAX >> (64 - 8 * size);
	return le_load(buf, size);
}

static void device_write(struct qtest_function *f, unsigned int region, uint64_t offset,
			 unsigned int size, uint64_t value)
{
	uint8_t buf[8];

	le_store(buf, size, value);
	/* A write the device does not take is lost, as on a bus. */
	(void)!nst_device_write(f->dev, region, offset, buf, size);
}

uint64_t function_config_read(struct qtest_function *f, uint64_t offset, unsigned int size)
{
	uint8_t buf[8];

	if (!f->ep)
		return device_read(f, VFIO_PCI_CONFIG_REGION_INDEX, offset, size);
	pci_config_read(&f->ep->config, offset, buf, size);
	return le_load(buf, size);
}

/* Where each BAR is now; memory BARs that are switched off, or at 0, are nowhere. */
static void locate_bars(struct qtest_function *f)
{
	bool on = function_config_read(f, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;

	for (unsigned int i = 0; i < FUNCTION_NUM_BARS; i++) {
		uint64_t at = PCI_BASE_ADDRESS_0 + 4 * i;
		uint64_t low = function_config_read(f, at, 4);

		f->bars[i] = 0;
		if (!on || !f->bar_sizes[i] || (low & PCI_BASE_ADDRESS_SPACE_IO))
			continue;
		f->bars[i] = low & ~0xfULL;
		if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
			f->bars[i] |= function_config_read(f, at + 4, 4) << 32;
	}
}

void function_config_write(struct qtest_function *f, uint64_t offset, unsigned int size,
			   uint64_t value)
{
	uint8_t buf[8];

	le_store(buf, size, value);
	if (!f->ep)
		device_write(f, VFIO_PCI_CONFIG_REGION_INDEX, offset, size, value);
	else if (pci_config_write(&f->ep->config, offset, buf, size))
		f->ep->ops->reset(f->ep);
	locate_bars(f);
}

uint64_t function_bar_read(struct qtest_function *f, unsigned int bar, uint64_t offset,
			   unsigned int size)
{
	return f->ep ? f->ep->ops->bar_read(f->ep, bar, offset, size)
		     : device_read(f, VFIO_PCI_BAR0_REGION_INDEX + bar, offset, size);
}

void function_bar_write(struct qtest_function *f, unsigned int bar, uint64_t offset,
			unsigned int size, uint64_t value)
{
	if (f->ep)
		f->ep->ops->bar_write(f->ep, bar, offset, size, value);
	else
		device_write(f, VFIO_PCI_BAR0_REGION_INDEX + bar, offset, size, value);
}
