// SPDX-License-Identifier: BSD-3-Clause
/*
 * See testdev.h. Everything happens inside register accesses, which the host makes one
 * at a time: there is no lock, no run() and no interrupt. An access counts if it is one
 * aligned 32-bit word, or an aligned pair of words (low word first, as a bus splits it);
 * others read 0 and write nothing, as in QEMU.
 */
#include "endpoint/testdev.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "base/log.h"
#include "endpoint/registers.h"

#include <errno.h>
#include <inttypes.h>

struct testdev {
	struct endpoint ep;
	bool armed;
	uint32_t len, result, attrs;
	uint64_t gva, gpa;
	uint8_t pattern[PAGE_SIZE_4K], readback[PAGE_SIZE_4K];
};

static struct testdev *to_testdev(struct endpoint *ep)
{
	return container_of(ep, struct testdev, ep);
}

static bool dma(struct testdev *t, uint64_t done, void *buf, size_t size, bool write)
{
	const struct endpoint_dma_request req = {
		.iova = { t->gva + done },
		.pasid = NST_NO_PASID,
		.write = write,
		.buf = buf,
		.size = size,
	};

	return endpoint_dma(&t->ep, &req) == 0;
}

static bool attrs_disagree(uint32_t attrs)
{
	uint64_t space = FIELD_GET(ITD_ATTRS_SPACE, attrs);

	if (!(attrs & ITD_ATTRS_SPACE_VALID) || space > ITD_ATTRS_SPACE_NONSECURE)
		return false;
	return !!(attrs & ITD_ATTRS_SECURE) != (space == ITD_ATTRS_SPACE_SECURE);
}

/* All is written before the first byte is read, all is read before a mismatch counts. */
static uint32_t write_and_compare(struct testdev *t)
{
	bool same = true;
	size_t size;

	if (range_overflows(t->gva, t->len))
		return ITD_DMA_ERR_TX_FAIL;
	for (uint64_t done = 0; done < t->len; done += size) {
		size = MIN(t->len - done, sizeof(t->pattern));
		if (!dma(t, done, t->pattern, size, true))
			return ITD_DMA_ERR_TX_FAIL;
	}
	for (uint64_t done = 0; done < t->len; done += size) {
		size = MIN(t->len - done, sizeof(t->readback));
		if (!dma(t, done, t->readback, size, false))
			return ITD_DMA_ERR_RD_FAIL;
		same &= memcmp(t->readback, t->pattern, size) == 0;
	}
	return same ? 0 : ITD_DMA_ERR_MISMATCH;
}

static void trigger(struct testdev *t)
{
	if (!t->armed) {
		t->result = ITD_DMA_ERR_NOT_ARMED;
		return;
	}
	t->armed = false;
	if (!t->len || t->len > ITD_LEN_MAX)
		t->result = ITD_DMA_ERR_BAD_LEN;
	else if (attrs_disagree(t->attrs))
		t->result = ITD_DMA_ERR_BAD_ATTRS;
	else
		t->result = write_and_compare(t);
	log_debug(t->ep.log, "testdev: %" PRIu32 " bytes at %" PRIx64 ": %08" PRIx32, t->len,
		  t->gva, t->result);
}

static uint32_t read_word(struct testdev *t, uint64_t offset)
{
	switch (offset) {
	case ITD_REG_DMA_TRIGGERING:
		trigger(t);
		return 0;
	case ITD_REG_DMA_GVA_LO:
		return (uint32_t)t->gva;
	case ITD_REG_DMA_GVA_HI:
		return (uint32_t)(t->gva >> 32);
	case ITD_REG_DMA_LEN:
		return t->len;
	case ITD_REG_DMA_RESULT:
		return t->result;
	case ITD_REG_DMA_ATTRS:
		return t->attrs;
	case ITD_REG_DMA_GPA_LO:
		return (uint32_t)t->gpa;
	case ITD_REG_DMA_GPA_HI:
		return (uint32_t)(t->gpa >> 32);
	default:
		return 0;
	}
}

static void write_word(struct testdev *t, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case ITD_REG_DMA_GVA_LO:
		register_set_half(&t->gva, false, value, UINT64_MAX);
		break;
	case ITD_REG_DMA_GVA_HI:
		register_set_half(&t->gva, true, value, UINT64_MAX);
		break;
	case ITD_REG_DMA_LEN:
		t->len = value;
		break;
	case ITD_REG_DMA_RESULT:
		t->result = value;
		break;
	case ITD_REG_DMA_DBELL:
		t->armed = value & ITD_DMA_DBELL_ARM;
		t->result = t->armed ? ITD_DMA_RESULT_BUSY : ITD_DMA_RESULT_IDLE;
		break;
	case ITD_REG_DMA_ATTRS:
		t->attrs = value;
		break;
	case ITD_REG_DMA_GPA_LO:
		register_set_half(&t->gpa, false, value, UINT64_MAX);
		break;
	case ITD_REG_DMA_GPA_HI:
		register_set_half(&t->gpa, true, value, UINT64_MAX);
		break;
	}
}

static bool counts(unsigned int bar, uint64_t offset, unsigned int size)
{
	return bar == 0 && size >= 4 && IS_ALIGNED(offset, size) &&
	       range_fits(offset, size, ITD_BAR_SIZE);
}

static uint64_t testdev_bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset,
				 unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; counts(bar, offset, size) && i < size; i += 4)
		value |= (uint64_t)read_word(to_testdev(ep), offset + i) << (8 * i);
	return value;
}

static void testdev_bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset,
			      unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; counts(bar, offset, size) && i < size; i += 4)
		write_word(to_testdev(ep), offset + i, (uint32_t)(value >> (8 * i)));
}

static void testdev_reset(struct endpoint *ep)
{
	struct testdev *t = to_testdev(ep);

	t->armed = false;
	t->gva = t->gpa = t->len = 0;
	t->result = ITD_DMA_RESULT_IDLE;
	t->attrs = ITD_ATTRS_RESET;
	pci_config_reset(&ep->config);
}

static void testdev_destroy(struct endpoint *ep)
{
	free(to_testdev(ep));
}

static const struct endpoint_ops testdev_ops = {
	.model = "testdev",
	.bar_read = testdev_bar_read,
	.bar_write = testdev_bar_write,
	.reset = testdev_reset,
	.destroy = testdev_destroy,
};

int testdev_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		   char **err_text)
{
	int err = endpoint_options_finish(opts, "none", err_text);
	struct testdev *t;

	if (err)
		return err;
	t = alloc_object(struct testdev);
	if (!t)
		return -ENOMEM;
	t->ep.ops = &testdev_ops;
	t->ep.log = log;
	t->ep.bar_sizes[0] = ITD_BAR_SIZE;
	pci_config_init(&t->ep.config, ITD_PCI_VENDOR, ITD_PCI_DEVICE, ITD_PCI_CLASS, 0);
	pci_config_set_subsystem(&t->ep.config, ITD_PCI_SUBVENDOR, ITD_PCI_SUBDEVICE);
	pci_config_set_bar(&t->ep.config, 0, ITD_BAR_SIZE, false);
	for (size_t i = 0; i < sizeof(t->pattern); i += 4)
		le_store(&t->pattern[i], 4, ITD_DMA_WRITE_VAL);
	testdev_reset(&t->ep);
	*out = &t->ep;
	return 0;
}
