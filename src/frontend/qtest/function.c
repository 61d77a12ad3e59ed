// SPDX-License-Identifier: BSD-3-Clause
/* See function.h. */
#include "frontend/qtest/function.h"

#include "base/bits.h"
#include "base/endian.h"
#include "frontend/qtest/machine.h"

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- an emulated device ------------------------------------------------------------------- */

static void message(void *opaque, uint64_t address, uint32_t data)
{
	struct qtest_function *f = opaque;

	machine_interrupt(f->machine, address, data);
}

/* The models that are here have neither interrupts nor anything to do on a thread. */
static void no_interrupt(void *opaque, unsigned int vector)
{
}

static void no_thread(void *opaque)
{
}

static const struct emulated_bus_ops bus_ops = {
	.message = message,
	.interrupt = no_interrupt,
	.kick = no_thread,
};

void function_init_emulated(struct qtest_function *f, struct endpoint *ep)
{
	f->ep = ep;
	emulated_bus_init(&f->bus, ep, machine_viommu(f->machine), machine_mem(f->machine), f->rid,
			  &bus_ops, f);
	for (unsigned int i = 0; i < FUNCTION_NUM_BARS; i++)
		f->bar_sizes[i] = ep->bar_sizes[i];
}

/* --- a device that is passed through ------------------------------------------------------ */

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

static uint64_t read_config(struct qtest_function *f, uint64_t offset, unsigned int size)
{
	return device_read(f, VFIO_PCI_CONFIG_REGION_INDEX, offset, size);
}

/* PCIe 6.0 s7.5.1.1.11 Capabilities Pointer: where the capability @id is, or 0. A list that goes in
 * a circle ends too. */
static uint16_t find_capability(struct qtest_function *f, uint8_t id)
{
	uint64_t at = PCI_CAPABILITY_LIST;

	if (!(read_config(f, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST))
		return 0;
	for (unsigned int n = 0; n < 48; n++) {
		at = read_config(f, at, 1) & ~3ULL;
		if (at < PCI_STD_HEADER_SIZEOF)
			return 0;
		if (read_config(f, at, 1) == id)
			return (uint16_t)at;
		at += PCI_CAP_LIST_NEXT;
	}
	return 0;
}

void function_init_passthrough(struct qtest_function *f, struct nst_device *dev)
{
	f->dev = dev;
	f->msi_fd = -1;
	for (unsigned int i = 0; i < FUNCTION_NUM_BARS; i++)
		f->bar_sizes[i] = nst_device_region(dev, VFIO_PCI_BAR0_REGION_INDEX + i).size;
	if (nst_device_irq_count(dev, VFIO_PCI_MSI_IRQ_INDEX))
		f->msi_cap = find_capability(f, PCI_CAP_ID_MSI);
}

void function_fini(struct qtest_function *f)
{
	if (f->ep) {
		endpoint_destroy(f->ep);
		emulated_bus_fini(&f->bus);
	}
	if (f->dev && f->msi_fd >= 0)
		close(f->msi_fd);
}

/* --- its interrupts ----------------------------------------------------------------------- */

static int set_msi(struct qtest_function *f, int fd)
{
	uint32_t data = fd >= 0 ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE;

	return nst_device_set_irqs(f->dev, VFIO_PCI_MSI_IRQ_INDEX,
				   data | VFIO_IRQ_SET_ACTION_TRIGGER, 0, fd >= 0, &fd, NULL);
}

/*
 * Software has written @flags to the capability: the host's kernel lets the bit that enables it be
 * set only once it has an eventfd. If it takes none, the bit stays 0, as software can see.
 */
static void switch_msi(struct qtest_function *f, uint16_t flags)
{
	bool on = flags & PCI_MSI_FLAGS_ENABLE;
	int fd;

	if (on == (f->msi_fd >= 0))
		return;
	if (!on) {
		(void)!set_msi(f, -1); /* whatever comes yet, nobody listens */
		close(f->msi_fd);
		f->msi_fd = -1;
		return;
	}
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return;
	if (set_msi(f, fd)) {
		close(fd);
		return;
	}
	f->msi_fd = fd;
	device_write(f, VFIO_PCI_CONFIG_REGION_INDEX, f->msi_cap + PCI_MSI_FLAGS, 2, flags);
}

/* The bytes of a write to configuration space that are the flags of MSI, if they are among them. */
static void look_for_msi(struct qtest_function *f, uint64_t offset, unsigned int size,
			 uint64_t value)
{
	uint64_t flags = f->msi_cap + PCI_MSI_FLAGS;

	if (f->msi_cap && offset <= flags && flags - offset < size)
		switch_msi(f, (uint16_t)(value >> 8 * (flags - offset)));
}

void function_take_interrupts(struct qtest_function *f)
{
	uint64_t count, address, at = f->msi_cap;
	uint32_t data;
	bool wide;

	if (!f->dev || f->msi_fd < 0 || read(f->msi_fd, &count, sizeof(count)) != sizeof(count))
		return;
	wide = read_config(f, at + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_64BIT;
	address = read_config(f, at + PCI_MSI_ADDRESS_LO, 4);
	if (wide)
		address |= read_config(f, at + PCI_MSI_ADDRESS_HI, 4) << 32;
	data = (uint32_t)read_config(f, at + (wide ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32), 2);
	for (count = MIN(count, FUNCTION_MAX_MESSAGES); count; count--)
		machine_message(f->machine, address, data);
}

/* --- configuration space ------------------------------------------------------------------ */

uint64_t function_config_read(struct qtest_function *f, uint64_t offset, unsigned int size)
{
	uint8_t buf[8];

	if (!f->ep)
		return read_config(f, offset, size);
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
	if (f->dev)
		look_for_msi(f, offset, size, value);
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
