/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device that does one DMA when a register is read: for scripts without rings.
 *
 * Registers, values and identity are those of QEMU's iommu-testdev (since QEMU 11.0,
 * docs/specs/iommu-testdev.rst there), so that a test written for one runs on the
 * other. Set GVA, LEN and ATTRS, write 1 to DBELL, read TRIGGERING: the pattern is
 * written, read back and compared before that read returns, and RESULT says how it went.
 *
 * What differs, because an endpoint reaches memory by DMA only, as hardware does:
 *  - QEMU reads back from system memory at GPA. Here it is read back by DMA at GVA; GPA
 *    keeps its value and means nothing. MISMATCH so says that the device does not see
 *    what it wrote, not that it wrote to a wrong place: that, the test must look for
 *    at GPA itself. RD_FAIL says that the IOMMU refused the read.
 *  - Without Bus Master Enable nothing is written: TX_FAIL.
 *  - No request on this bus is Secure. The rule that `secure` and `space` agree is kept
 *    (BAD_ATTRS), otherwise ATTRS is a register without effect.
 *  - LEN above ITD_LEN_MAX is BAD_LEN: the work of one register access is bounded.
 */
#ifndef ENDPOINT_TESTDEV_H
#define ENDPOINT_TESTDEV_H

#include "endpoint/endpoint.h"
#include "endpoint/endpoint_options.h"

#define ITD_PCI_VENDOR 0x1b36
#define ITD_PCI_DEVICE 0x0005
#define ITD_PCI_CLASS 0x00ff00 /* QEMU's PCI_CLASS_OTHERS: "unclassified" */
#define ITD_PCI_SUBVENDOR 0x1af4
#define ITD_PCI_SUBDEVICE 0x1100

/* BAR0. All registers have 32 bits; whatever is not listed reads 0. */
enum {
	ITD_REG_DMA_TRIGGERING = 0x00, /* RO: reading does the DMA; the value is 0 */
	ITD_REG_DMA_GVA_LO = 0x04,
	ITD_REG_DMA_GVA_HI = 0x08,
	ITD_REG_DMA_LEN = 0x0c, /* bytes */
	ITD_REG_DMA_RESULT = 0x10,
	ITD_REG_DMA_DBELL = 0x14, /* WO */
	ITD_REG_DMA_ATTRS = 0x18,
	ITD_REG_DMA_GPA_LO = 0x1c,
	ITD_REG_DMA_GPA_HI = 0x20,
	ITD_BAR_SIZE = 0x1000,
};

#define ITD_DMA_DBELL_ARM 1u
#define ITD_DMA_WRITE_VAL 0x12345678u /* the pattern, least significant byte first */
#define ITD_LEN_MAX (16u << 20)

#define ITD_ATTRS_SECURE 0x1u
#define ITD_ATTRS_SPACE 0x6u /* Arm: 0 secure, 1 non-secure, 2 root, 3 realm */
#define ITD_ATTRS_SPACE_SECURE 0u
#define ITD_ATTRS_SPACE_NONSECURE 1u
#define ITD_ATTRS_SPACE_VALID 0x8u
#define ITD_ATTRS_RESET 0x2u

/* RESULT; 0: what was read is what was written */
#define ITD_DMA_RESULT_IDLE 0xffffffffu
#define ITD_DMA_RESULT_BUSY 0xfffffffeu /* armed */
#define ITD_DMA_ERR_BAD_LEN 0xdead0001u
#define ITD_DMA_ERR_TX_FAIL 0xdead0002u
#define ITD_DMA_ERR_RD_FAIL 0xdead0003u
#define ITD_DMA_ERR_MISMATCH 0xdead0004u
#define ITD_DMA_ERR_NOT_ARMED 0xdead0005u
#define ITD_DMA_ERR_BAD_ATTRS 0xdead0006u

int testdev_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		   char **err_text);

#endif
