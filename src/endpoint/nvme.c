// SPDX-License-Identifier: BSD-3-Clause
/*
 * The NVMe controller's BAR and life cycle (see nvme.h for the states).
 *
 * BAR0: registers at 0, doorbells at 1000h (stride 4), MSI-X table at 2000h, PBA
 * at 3000h. Registers are made of aligned 32-bit words. A read of any size and
 * alignment gives the bytes of those words. A write takes effect if it is one
 * aligned word, or an aligned pair of words below 1000h (low word first); any
 * other write is ignored. Words without a register read 0 and ignore writes. The
 * MSI-X table is memory: whoever emulates the interrupts keeps its meaning.
 */
#include "endpoint/nvme.h"

#include "base/alloc.h"
#include "base/log.h"
#include "endpoint/registers.h"

#define CAP_VALUE                                                                   \
	(FIELD_PREP(NVME_CAP_MQES, NVME_QUEUE_ENTRIES_MAX - 1) | NVME_CAP_CQR |     \
	 FIELD_PREP(NVME_CAP_TO, 20) | FIELD_PREP(NVME_CAP_CSS, NVME_CAP_CSS_NVM) | \
	 FIELD_PREP(NVME_CAP_MPSMAX, NVME_MPSMAX))

/* Stop run() at its next command or chunk boundary and keep it stopped: after this no DMA is
 * under way and run()'s own fields may be touched. The lock is released while waiting. */
static void nvme_quiesce(struct nvme_ctrl *c) REQUIRES(c->lock)
{
	atomic_store(&c->stop, true);
	endpoint_may_wait(&c->ep, false);
	while (c->running)
		pthread_cond_wait(&c->idle, &c->lock.m);
	endpoint_may_wait(&c->ep, true);
}

static void nvme_release(struct nvme_ctrl *c) REQUIRES(c->lock)
{
	atomic_store(&c->stop, false);
}

void nvme_fatal(struct nvme_ctrl *c, const char *why)
{
	log_warn(c->ep.log, "nvme: fatal: %s", why);
	mutex_lock(&c->lock);
	c->csts |= NVME_CSTS_CFS;
	mutex_unlock(&c->lock);
}

static const char *bad_configuration(const struct nvme_ctrl *c) REQUIRES(c->lock)
{
	if (FIELD_GET(NVME_CC_CSS, c->cc))
		return "CC.CSS selects a command set there is not";
	if (FIELD_GET(NVME_CC_AMS, c->cc))
		return "CC.AMS selects an arbitration there is not";
	if (FIELD_GET(NVME_CC_MPS, c->cc) > NVME_MPSMAX)
		return "CC.MPS is above CAP.MPSMAX";
	if (!FIELD_GET(NVME_AQA_ASQS, c->aqa) || !FIELD_GET(NVME_AQA_ACQS, c->aqa))
		return "AQA gives an admin queue fewer than 2 entries";
	if (!IS_ALIGNED(c->asq | c->acq, PAGE_SIZE_4K << FIELD_GET(NVME_CC_MPS, c->cc)))
		return "ASQ or ACQ is not aligned to CC.MPS";
	return NULL;
}

static void enable(struct nvme_ctrl *c) REQUIRES(c->lock)
{
	const char *bad = bad_configuration(c);

	c->csts = 0;
	if (bad) {
		log_warn(c->ep.log, "nvme: not enabled: %s", bad);
		c->csts = NVME_CSTS_CFS;
		return;
	}
	nvme_quiesce(c);
	c->page_bytes = (uint32_t)(PAGE_SIZE_4K << FIELD_GET(NVME_CC_MPS, c->cc));
	nvme_features_reset(c);
	nvme_queues_start(c);
	c->csts = NVME_CSTS_RDY;
	nvme_release(c);
	log_debug(c->ep.log, "nvme: enabled, CC %08x", c->cc);
}

static void disable(struct nvme_ctrl *c) REQUIRES(c->lock)
{
	nvme_quiesce(c);
	nvme_queues_stop(c);
	c->want_shutdown = false;
	c->csts = 0;
	c->intms = 0;
	nvme_release(c);
	log_debug(c->ep.log, "nvme: disabled");
}

/* Returns true if run() is needed. */
static bool write_cc(struct nvme_ctrl *c, uint32_t value) REQUIRES(c->lock)
{
	uint32_t old = c->cc;

	c->cc = value & (uint32_t)NVME_CC_WRITABLE;
	if ((c->cc & NVME_CC_EN) && !(old & NVME_CC_EN))
		enable(c);
	else if (!(c->cc & NVME_CC_EN) && (old & NVME_CC_EN))
		disable(c);
	if (FIELD_GET(NVME_CC_SHN, c->cc) && FIELD_GET(NVME_CSTS_SHST, c->csts) == NVME_SHST_NONE) {
		c->csts |= (uint32_t)FIELD_PREP(NVME_CSTS_SHST, NVME_SHST_BUSY);
		c->want_shutdown = true;
		return true;
	}
	return false;
}

static uint32_t read_word(const struct nvme_ctrl *c, uint64_t offset) REQUIRES(c->lock)
{
	switch (offset) {
	case NVME_REG_CAP:
		return (uint32_t)CAP_VALUE;
	case NVME_REG_CAP + 4:
		return (uint32_t)(CAP_VALUE >> 32);
	case NVME_REG_VS:
		return NVME_VS_1_4;
	case NVME_REG_INTMS:
	case NVME_REG_INTMC:
		return c->intms;
	case NVME_REG_CC:
		return c->cc;
	case NVME_REG_CSTS:
		return c->csts;
	case NVME_REG_AQA:
		return c->aqa;
	case NVME_REG_ASQ:
		return (uint32_t)c->asq;
	case NVME_REG_ASQ + 4:
		return (uint32_t)(c->asq >> 32);
	case NVME_REG_ACQ:
		return (uint32_t)c->acq;
	case NVME_REG_ACQ + 4:
		return (uint32_t)(c->acq >> 32);
	default:
		return 0;
	}
}

/* Returns true if run() is needed. */
static bool write_word(struct nvme_ctrl *c, uint64_t offset, uint32_t value) REQUIRES(c->lock)
{
	switch (offset) {
	case NVME_REG_INTMS:
		c->intms |= value;
		break;
	case NVME_REG_INTMC:
		c->intms &= ~value;
		break;
	case NVME_REG_CC:
		return write_cc(c, value);
	case NVME_REG_AQA:
		c->aqa = value & (uint32_t)NVME_AQA_WRITABLE;
		break;
	case NVME_REG_ASQ:
	case NVME_REG_ASQ + 4:
		register_set_half(&c->asq, offset != NVME_REG_ASQ, value, NVME_QUEUE_BASE_WRITABLE);
		break;
	case NVME_REG_ACQ:
	case NVME_REG_ACQ + 4:
		register_set_half(&c->acq, offset != NVME_REG_ACQ, value, NVME_QUEUE_BASE_WRITABLE);
		break;
	}
	return false;
}

static uint64_t nvme_bar_read(struct endpoint *ep, unsigned int bar, uint64_t offset,
			      unsigned int size)
{
	struct nvme_ctrl *c = to_nvme(ep);
	uint8_t bytes[16] = { 0 };
	uint64_t base = ALIGN_DOWN(offset, 4ULL);

	if (bar != 0 || !range_fits(offset, size, NVME_BAR_SIZE))
		return UINT64_MAX >> (64 - 8 * size);
	if (offset >= NVME_MSIX_TABLE)
		return le_load(&c->msix_area[offset - NVME_MSIX_TABLE], size);
	mutex_lock(&c->lock);
	for (unsigned int i = 0; i < 3; i++)
		le_store(&bytes[4 * i], 4, read_word(c, base + 4 * i));
	mutex_unlock(&c->lock);
	return le_load(&bytes[offset - base], size);
}

static void interrupt_all(struct nvme_ctrl *c, uint64_t vectors)
{
	for (; vectors; vectors &= vectors - 1)
		endpoint_interrupt(&c->ep, (unsigned int)__builtin_ctzll(vectors));
}

static void write_registers(struct nvme_ctrl *c, uint64_t offset, unsigned int size, uint64_t value)
{
	uint64_t unmasked = 0;
	bool kick = false;

	mutex_lock(&c->lock);
	for (unsigned int i = 0; i < size; i += 4)
		kick |= write_word(c, offset + i, (uint32_t)(value >> (8 * i)));
	if (!c->suspended)
		unmasked = nvme_unmasked_locked(c);
	mutex_unlock(&c->lock);
	interrupt_all(c, unmasked);
	if (kick)
		endpoint_kick(&c->ep);
}

static void write_doorbell(struct nvme_ctrl *c, uint64_t offset, uint32_t value)
{
	bool kick;

	mutex_lock(&c->lock);
	kick = nvme_doorbell_locked(c, offset, value);
	mutex_unlock(&c->lock);
	if (kick)
		endpoint_kick(&c->ep);
}

static unsigned int msix_vectors(const struct nvme_ctrl *c)
{
	return c->ep.config.msix_cap ? c->vectors : 0;
}

static void nvme_bar_write(struct endpoint *ep, unsigned int bar, uint64_t offset,
			   unsigned int size, uint64_t value)
{
	struct nvme_ctrl *c = to_nvme(ep);

	if (bar != 0 || !range_fits(offset, size, NVME_BAR_SIZE))
		return;
	if (offset >= NVME_MSIX_TABLE)
		msix_table_write(c->msix_area, msix_vectors(c), offset - NVME_MSIX_TABLE, size,
				 value);
	else if (size < 4 || !IS_ALIGNED(offset, size))
		return;
	else if (offset < NVME_REG_DOORBELLS)
		write_registers(c, offset, size, value);
	else if (size == 4)
		write_doorbell(c, offset - NVME_REG_DOORBELLS, (uint32_t)value);
}

static void power_on(struct nvme_ctrl *c) REQUIRES(c->lock)
{
	c->cc = c->csts = c->aqa = c->intms = 0;
	c->asq = c->acq = 0;
	c->want_shutdown = c->suspended = false;
	c->page_bytes = PAGE_SIZE_4K;
	nvme_features_reset(c);
	nvme_queues_stop(c);
	msix_table_reset(c->msix_area, msix_vectors(c));
}

static void nvme_reset(struct endpoint *ep)
{
	struct nvme_ctrl *c = to_nvme(ep);

	mutex_lock(&c->lock);
	nvme_quiesce(c);
	power_on(c);
	nvme_release(c);
	mutex_unlock(&c->lock);
	pci_config_reset(&ep->config);
}

void nvme_init(struct nvme_ctrl *c)
{
	mutex_init(&c->lock);
	pthread_cond_init(&c->idle, NULL);
	atomic_init(&c->stop, false);
	mutex_lock(&c->lock);
	power_on(c);
	mutex_unlock(&c->lock);
}

void nvme_fini(struct nvme_ctrl *c)
{
	nvme_backend_close(&c->disk);
	free(c->bounce);
	pthread_cond_destroy(&c->idle);
	mutex_fini(&c->lock);
	free(c);
}

static void nvme_destroy(struct endpoint *ep)
{
	struct nvme_ctrl *c = to_nvme(ep);

	mutex_lock(&c->lock);
	nvme_quiesce(c);
	mutex_unlock(&c->lock);
	nvme_fini(c);
}

const struct endpoint_ops nvme_ops = {
	.model = "nvme",
	.migration = &nvme_migration_ops,
	.bar_read = nvme_bar_read,
	.bar_write = nvme_bar_write,
	.run = nvme_run,
	.reset = nvme_reset,
	.destroy = nvme_destroy,
};
