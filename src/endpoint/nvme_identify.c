// SPDX-License-Identifier: BSD-3-Clause
/*
 * Identify (NVMe 1.4 s5.15). All of what is reported is built here, from the
 * controller's constants. CNS 05h and 06h are of NVMe 2.0: Linux asks every
 * controller of version 1.1 or later for 06h and logs a refusal.
 */
#include "endpoint/nvme.h"

#include <stdio.h>

/* Space-padded, not terminated, as NVMe wants its strings. */
static void set_string(char *field, size_t size, const char *text)
{
	size_t length = strlen(text);

	memset(field, ' ', size);
	memcpy(field, text, MIN(length, size));
}

static void set_subnqn(const struct nvme_ctrl *c, char *field, size_t size)
{
	const uint8_t *u = c->uuid;

	snprintf(field, size,
		 "nqn.2014-08.org.nvmexpress:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x%02x%02x%02x%02x",
		 u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
		 u[13], u[14], u[15]);
}

static void identify_controller(const struct nvme_ctrl *c, struct nvme_id_ctrl *id)
{
	id->vid = id->ssvid = le16_make(NVME_PCI_VENDOR);
	set_string(id->sn, sizeof(id->sn), c->serial);
	set_string(id->mn, sizeof(id->mn), "Nestor NVMe controller");
	set_string(id->fr, sizeof(id->fr), "1.0");
	id->mdts = NVME_MDTS_LG2;
	id->cntlid = le16_make(1);
	id->ver = le32_make(NVME_VS_1_4);
	id->cntrltype = NVME_CNTRLTYPE_IO;
	id->acl = 3;
	id->aerl = NVME_AER_MAX - 1;
	id->frmw = NVME_FRMW_SLOT1_RO | NVME_FRMW_SLOTS(1);
	id->lpa = NVME_LPA_EFFECTS | NVME_LPA_EXTENDED;
	id->elpe = NVME_ERROR_ENTRIES - 1;
	id->wctemp = le16_make(NVME_KELVIN_WARNING);
	id->cctemp = le16_make(NVME_KELVIN_CRITICAL);
	id->sqes = NVME_SQES_LG2 << 4 | NVME_SQES_LG2;
	id->cqes = NVME_CQES_LG2 << 4 | NVME_CQES_LG2;
	id->nn = le32_make(1);
	id->oncs = le16_make(NVME_ONCS_COMPARE | NVME_ONCS_DSM | NVME_ONCS_WRITE_ZEROES |
			     NVME_ONCS_FEATURE_SELECT);
	id->vwc = NVME_VWC_PRESENT | NVME_VWC_FLUSH_ALL;
	set_subnqn(c, id->subnqn, sizeof(id->subnqn));
	id->psd[0].max_power = le16_make(500);
}

static void identify_namespace(const struct nvme_ctrl *c, struct nvme_id_ns *id)
{
	id->nsze = id->ncap = id->nuse = le64_make(c->blocks);
	id->dlfeat = NVME_DLFEAT_READS_ZERO | NVME_DLFEAT_WRITE_ZEROES_DEAC;
	id->nsattr = c->disk.readonly ? NVME_NSATTR_WRITE_PROTECTED : 0;
	id->lbaf[0].data_lg2 = (uint8_t)c->lba_lg2;
	/* Neither NGUID nor EUI64: both begin with an IEEE number that we have not. */
}

static void identify_descriptors(const struct nvme_ctrl *c, uint8_t *out)
{
	struct nvme_ns_descriptor uuid = { .type = NVME_NIDT_UUID, .length = sizeof(c->uuid) };

	memcpy(out, &uuid, sizeof(uuid));
	memcpy(out + sizeof(uuid), c->uuid, sizeof(c->uuid));
}

/* Fill @out, which is zero. */
static uint16_t build(const struct nvme_ctrl *c, const struct nvme_sqe *sqe, uint8_t *out)
{
	const uint16_t invalid_namespace = NVME_INVALID_NAMESPACE | NVME_DNR;
	uint32_t nsid = le32_get(sqe->nsid);
	uint32_t csi = (uint32_t)FIELD_GET(NVME_IDENTIFY_CSI, le32_get(sqe->cdw11));
	struct nvme_id_ctrl_nvm *nvm = (struct nvme_id_ctrl_nvm *)out;

	switch (FIELD_GET(NVME_IDENTIFY_CNS, le32_get(sqe->cdw10))) {
	case NVME_CNS_NAMESPACE:
		if (nsid != 1)
			return invalid_namespace;
		identify_namespace(c, (struct nvme_id_ns *)out);
		return NVME_OK;
	case NVME_CNS_CONTROLLER:
		identify_controller(c, (struct nvme_id_ctrl *)out);
		return NVME_OK;
	case NVME_CNS_ACTIVE_LIST:
		if (nsid >= NVME_NSID_ALL - 1)
			return invalid_namespace;
		le_store(out, 4, nsid < 1 ? 1 : 0);
		return NVME_OK;
	case NVME_CNS_DESCRIPTORS:
		if (nsid != 1)
			return invalid_namespace;
		identify_descriptors(c, out);
		return NVME_OK;
	case NVME_CNS_NVM_NAMESPACE:
		if (csi)
			break;
		return nsid == 1 ? NVME_OK : invalid_namespace;
	case NVME_CNS_NVM_CONTROLLER:
		if (csi)
			break;
		nvm->dmrl = NVME_DSM_RANGES_MAX - 1;
		return NVME_OK;
	}
	return NVME_INVALID_FIELD | NVME_DNR;
}

uint16_t nvme_identify(struct nvme_ctrl *c, struct nvme_command *cmd)
{
	uint16_t status;

	memset(c->bounce, 0, NVME_IDENTIFY_SIZE);
	status = build(c, &cmd->sqe, c->bounce);
	if (status != NVME_OK)
		return status;
	return nvme_data_out(c, &cmd->sqe, NVME_IDENTIFY_SIZE);
}
