// SPDX-License-Identifier: BSD-3-Clause
/*
 * The Arm SMMUv3 driver as personality of the host: two kinds of domain, nested HWPTs
 * made of the guest's STE words, vIOMMUs that take the guest's commands, and events that
 * go back to the guest.
 *
 * A plain domain is stage 1 (tagged with an ASID), a nesting parent stage 2 (with a VMID,
 * which every vIOMMU on it shares). They get their tag when they are made and keep it, so
 * nothing has to be flushed when a device leaves: only when the tag is given back. What the
 * unit reports is in smmuv3_event.c.
 *
 * What a device is called in events is fixed when a nested HWPT is attached: a vDEVICE
 * that changes later is seen at the next attach of another HWPT.
 *
 * Order of checks and error codes: Linux 7.2
 * drivers/iommu/arm/arm-smmu-v3/{arm-smmu-v3,arm-smmu-v3-iommufd}.c.
 */
#include "host/soft/smmuv3/smmuv3.h"

#include "host/soft/hwpt.h"
#include "host/soft/viommu.h"
#include "spec/smmu_caps.h"
#include "spec/smmu_tables.h"

#include <errno.h>

#define STAGE_1_LAST ((1ULL << 48) - 1)
#define STAGE_2_LAST ((1ULL << 48) - 1)
#define COMMAND_BATCH 63
#define QUIRK_MAX_COMMANDS (4U << 20 >> 4) /* what the kernel can allocate in one piece */
#define FIRST_TAG 1 /* 0 is the driver's own: bypass, and PASIDs of the kernel */

/* --- what the unit can do ------------------------------------------------------------- */

static bool smmuv3_has_dirty_tracking(const struct soft_device *dev)
{
	struct smmu_hw_idr idr = smmu_hw_idr(smmuv3_of(dev)->stalls);

	return FIELD_GET(SMMU_IDR0_HTTU, idr.idr[0]) == SMMU_HTTU_ACCESS_DIRTY;
}

static void smmuv3_hw_info(struct soft_iommu *iommu, union soft_hw_info *info)
{
	struct smmu_hw_idr idr = smmu_hw_idr(to_smmuv3(iommu)->stalls);

	info->smmuv3 = (struct iommu_hw_info_arm_smmuv3){ .iidr = idr.iidr, .aidr = idr.aidr };
	for (unsigned int i = 0; i < ARRAY_SIZE(idr.idr); i++)
		info->smmuv3.idr[i] = idr.idr[i];
}

/* --- domains -------------------------------------------------------------------------- */

static int smmuv3_paging_init(const struct soft_device *dev, uint32_t flags,
			      struct soft_hwpt_paging *paging)
{
	struct soft_smmuv3 *smmu = smmuv3_of(dev);
	int tag;

	/* stage 2 has neither dirty bits nor PASIDs */
	if ((flags & IOMMU_HWPT_ALLOC_NEST_PARENT) && flags != IOMMU_HWPT_ALLOC_NEST_PARENT)
		return -EOPNOTSUPP;
	tag = tag_pool_get(paging->nest_parent ? &smmu->vmids : &smmu->asids);
	if (tag < 0)
		return tag;
	paging->hwpt.tag = (uint32_t)tag;
	paging->aperture_last = paging->nest_parent ? STAGE_2_LAST : STAGE_1_LAST;
	return 0;
}

void smmuv3_issue(struct soft_smmuv3 *smmu, struct smmu_cmd cmd)
{
	if (smmu_hw_command(smmu->hw, (struct sanitizer_object){ 0 }, &cmd))
		log_error(smmu->iommu.log, "soft: the unit refuses a command of its driver");
}

static struct smmu_cmd make_tlbi(enum smmu_opcode op, uint32_t vmid)
{
	return (struct smmu_cmd){ .qw[0] = le64_make(FIELD_PREP(SMMU_CMD_0_OP, op) |
						     FIELD_PREP(SMMU_TLBI_0_VMID, vmid)) };
}

static void smmuv3_paging_fini(struct soft_iommu *iommu, struct soft_hwpt_paging *paging)
{
	struct soft_smmuv3 *smmu = to_smmuv3(iommu);

	if (!paging->nest_parent) {
		tag_pool_put(&smmu->asids, paging->hwpt.tag);
		return;
	}
	smmuv3_issue(smmu, make_tlbi(SMMU_CMD_TLBI_S12_VMALL, paging->hwpt.tag));
	tag_pool_put(&smmu->vmids, paging->hwpt.tag);
}

static int smmuv3_check_map(const struct soft_hwpt_paging *paging, unsigned int perm)
{
	return 0;
}

static unsigned int smmuv3_tags_in_use(struct soft_iommu *iommu)
{
	struct soft_smmuv3 *smmu = to_smmuv3(iommu);

	return tag_pool_count(&smmu->vmids) + tag_pool_count(&smmu->asids);
}

/* --- nested HWPTs --------------------------------------------------------------------- */

static enum smmu_ste_config config_of(const struct soft_hwpt_nested *nested)
{
	return FIELD_GET(SMMU_STE_0_CONFIG, le64_get(nested->ste[0]));
}

/* 0, or -EIO: words that a guest may not choose. An entry that is not valid is all zero. */
static int check_ste(le64 ste[2])
{
	uint64_t qw0 = le64_get(ste[0]), qw1 = le64_get(ste[1]);

	if (!(qw0 & SMMU_STE_0_V)) {
		ste[0] = ste[1] = le64_make(0);
		return 0;
	}
	if ((qw0 & ~SMMU_STE_0_GUEST) || (qw1 & ~SMMU_STE_1_GUEST))
		return -EIO;
	switch (FIELD_GET(SMMU_STE_0_CONFIG, qw0)) {
	case SMMU_STE_ABORT:
	case SMMU_STE_BYPASS:
	case SMMU_STE_S1:
		break;
	default:
		return -EIO;
	}
	return FIELD_GET(SMMU_STE_1_EATS, qw1) > SMMU_EATS_FULL ? -EIO : 0;
}

static int vsmmu_nested_init(struct soft_viommu *viommu, const struct iommu_hwpt_alloc *cmd,
			     struct soft_hwpt_nested *nested)
{
	struct iommu_hwpt_arm_smmuv3 data;

	if (cmd->flags & ~(uint32_t)IOMMU_HWPT_FAULT_ID_VALID)
		return -EOPNOTSUPP;
	if (cmd->data_type != IOMMU_HWPT_DATA_ARM_SMMUV3 || cmd->data_len != sizeof(data))
		return -EINVAL;
	if (soft_copy_from_user(&data, soft_user_ptr(cmd->data_uptr), sizeof(data)))
		return -EFAULT;
	for (unsigned int i = 0; i < ARRAY_SIZE(nested->ste); i++)
		nested->ste[i] = (le64){ data.ste[i] };
	return check_ste(nested->ste);
}

/* --- attachments ---------------------------------------------------------------------- */

static bool ssids_in_use(const struct soft_bound *bound)
{
	for (size_t i = 0; i < bound->num_attachments; i++)
		if (bound->attachments[i].pasid != SOFT_RID_PASID)
			return true;
	return false;
}

/* What @hwpt leads to. Of devices that can stall the driver lets every domain stall. */
static struct smmu_hw_map make_map(struct soft_hwpt *hwpt)
{
	struct soft_hwpt_paging *paging = soft_hwpt_to_paging(hwpt);

	return (struct smmu_hw_map){
		.domain = soft_hwpt_name(hwpt),
		.s2 = &paging->ioas->areas,
		.dirty = paging->dirty_tracking ? &paging->dirty : NULL,
		.stalls = to_smmuv3(paging->iommu)->stalls,
	};
}

static struct smmu_hw_ste make_nested_ste(struct soft_hwpt_nested *nested)
{
	struct smmu_hw_ste ste = { .config = SMMU_HW_ABORT, .map = make_map(&nested->hwpt) };

	if (config_of(nested) == SMMU_STE_ABORT)
		return ste;
	ste.vmid = (uint16_t)nested->parent->hwpt.tag;
	ste.ats = FIELD_GET(SMMU_STE_1_EATS, le64_get(nested->ste[1])) == SMMU_EATS_FULL;
	if (config_of(nested) == SMMU_STE_BYPASS) {
		ste.config = SMMU_HW_BYPASS;
		return ste;
	}
	ste.config = SMMU_HW_NESTED;
	for (unsigned int i = 0; i < ARRAY_SIZE(ste.s1); i++)
		ste.s1[i] = le64_get(nested->ste[i]);
	return ste;
}

/* --- device TLBs: of a stream whose entry changes, of all of them after an unmap */

static void forget_translations(struct soft_smmuv3 *smmu, nst_rid sid)
{
	soft_ats_invalidate(smmu->iommu.host, sid, ENDPOINT_EVERY_PASID, 0, UINT64_MAX);
}

/* The entry of @sid has changed, and now has ATS or not. */
static void switch_ats(struct soft_smmuv3 *smmu, nst_rid sid, bool ats)
{
	uint64_t bit = BIT64(sid % 64);
	bool had;

	mutex_lock(&smmu->ats_lock);
	had = smmu->ats[sid / 64] & bit;
	if (ats)
		smmu->ats[sid / 64] |= bit;
	else
		smmu->ats[sid / 64] &= ~bit;
	smmu->num_ats += ats;
	smmu->num_ats -= had;
	mutex_unlock(&smmu->ats_lock);
	if (had)
		forget_translations(smmu, sid);
}

static unsigned int count_ats(struct soft_smmuv3 *smmu)
{
	unsigned int count;

	mutex_lock(&smmu->ats_lock);
	count = smmu->num_ats;
	mutex_unlock(&smmu->ats_lock);
	return count;
}

static uint64_t ats_of_64(struct soft_smmuv3 *smmu, unsigned int word)
{
	uint64_t bits;

	mutex_lock(&smmu->ats_lock);
	bits = smmu->ats[word];
	mutex_unlock(&smmu->ats_lock);
	return bits;
}

/* Streams that get ATS meanwhile have nothing old to forget. */
static void forget_all_translations(struct soft_smmuv3 *smmu)
{
	if (!count_ats(smmu))
		return;
	for (unsigned int word = 0; word < NUM_SIDS / 64; word++)
		for (uint64_t bits = ats_of_64(smmu, word); bits; bits &= bits - 1)
			forget_translations(
				smmu, (nst_rid)(64 * word + (unsigned int)__builtin_ctzll(bits)));
}

/* --- attaching */

static void set_vmaster(struct soft_smmuv3 *smmu, const struct soft_bound *bound,
			struct vmaster vmaster)
{
	struct mutex *lock = &bound->dev->host->fault_lock;

	mutex_lock(lock);
	smmu->vmasters[bound->dev->rid] = vmaster;
	mutex_unlock(lock);
}

/* A device whose stage 1 is the guest's has to have a name there. */
static int attach_nested(struct soft_bound *bound, struct soft_hwpt_nested *nested)
{
	struct soft_smmuv3 *smmu = smmuv3_of(bound->dev);
	struct soft_vdevice *vdevice = soft_vdevice_of(nested->viommu, bound);
	struct smmu_hw_ste ste = make_nested_ste(nested);
	struct vmaster vmaster = { 0 };
	int err;

	if (ssids_in_use(bound))
		return -EBUSY;
	if (config_of(nested) == SMMU_STE_S1 && !vdevice)
		return -ENOENT;
	if (vdevice)
		vmaster = (struct vmaster){ nested->viommu, (uint32_t)vdevice->virt_id };
	ste.ats = ste.ats && bound->dev->has_ats;
	err = smmu_hw_set_ste(smmu->hw, bound->dev->rid, &ste);
	if (err)
		return err;
	set_vmaster(smmu, bound, vmaster);
	switch_ats(smmu, bound->dev->rid, ste.ats);
	return 0;
}

static int attach_paging(struct soft_bound *bound, struct soft_hwpt_paging *paging)
{
	struct soft_smmuv3 *smmu = smmuv3_of(bound->dev);
	struct smmu_hw_ste ste = {
		.config = paging->nest_parent ? SMMU_HW_BYPASS : SMMU_HW_PAGING,
		.map = make_map(&paging->hwpt),
		.vmid = paging->nest_parent ? (uint16_t)paging->hwpt.tag : 0,
		.ats = bound->dev->has_ats,
	};
	int err;

	if (paging->nest_parent && ssids_in_use(bound))
		return -EBUSY;
	err = smmu_hw_set_ste(smmu->hw, bound->dev->rid, &ste);
	if (err)
		return err;
	set_vmaster(smmu, bound, (struct vmaster){ 0 });
	switch_ats(smmu, bound->dev->rid, ste.ats);
	return 0;
}

/* The context descriptors of SSIDs are there only beside a stage 1 of the driver's own. */
static int attach_ssid(struct soft_bound *bound, uint32_t ssid, struct soft_hwpt *hwpt)
{
	struct smmu_hw_map map;
	struct soft_hwpt *rid = soft_bound_hwpt(bound, SOFT_RID_PASID);

	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		return -EOPNOTSUPP;
	if (soft_hwpt_to_paging(hwpt)->nest_parent)
		return -EINVAL;
	if (rid && (rid->obj.type == SOFT_HWPT_NESTED || soft_hwpt_to_paging(rid)->nest_parent))
		return -EINVAL;
	map = make_map(hwpt);
	return smmu_hw_set_ssid(smmuv3_of(bound->dev)->hw, bound->dev->rid, ssid, &map);
}

static int smmuv3_attach(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *hwpt)
{
	if (pasid != SOFT_RID_PASID)
		return attach_ssid(bound, pasid, hwpt);
	if (hwpt->obj.type == SOFT_HWPT_NESTED)
		return attach_nested(bound, container_of(hwpt, struct soft_hwpt_nested, hwpt));
	return attach_paging(bound, soft_hwpt_to_paging(hwpt));
}

static void smmuv3_detach(struct soft_bound *bound, uint32_t pasid)
{
	struct soft_smmuv3 *smmu = smmuv3_of(bound->dev);
	int err;

	if (pasid != SOFT_RID_PASID) {
		err = smmu_hw_set_ssid(smmu->hw, bound->dev->rid, pasid, NULL);
	} else {
		err = smmu_hw_set_ste(smmu->hw, bound->dev->rid, NULL);
		set_vmaster(smmu, bound, (struct vmaster){ 0 });
		switch_ats(smmu, bound->dev->rid, false);
	}
	if (err)
		log_error(smmu->iommu.log, "soft: an entry could not be cleared");
}

/* The tag stays the domain's, and the guest's ASIDs stay the guest's. */
static void smmuv3_forget(struct soft_bound *bound, uint32_t pasid, struct soft_hwpt *old)
{
}

/* --- vIOMMUs -------------------------------------------------------------------------- */

/*
 * A command of the guest's becomes one of the host's: -EIO if guests may not give it, or
 * if no device has the name.
 */
static int convert_command(const struct soft_viommu *viommu, struct smmu_cmd *cmd)
{
	uint64_t qw0 = le64_get(cmd->qw[0]);
	const struct soft_vdevice *vdevice;
	uint64_t vmid = FIELD_PREP(SMMU_TLBI_0_VMID, viommu->parent->hwpt.tag);

	switch (FIELD_GET(SMMU_CMD_0_OP, qw0)) {
	case SMMU_CMD_TLBI_NSNH_ALL: /* of this guest */
		*cmd = make_tlbi(SMMU_CMD_TLBI_NH_ALL, viommu->parent->hwpt.tag);
		return 0;
	case SMMU_CMD_TLBI_NH_VA:
	case SMMU_CMD_TLBI_NH_VAA:
	case SMMU_CMD_TLBI_NH_ALL:
	case SMMU_CMD_TLBI_NH_ASID:
		cmd->qw[0] = le64_make((qw0 & ~SMMU_TLBI_0_VMID) | vmid);
		return 0;
	case SMMU_CMD_ATC_INV:
	case SMMU_CMD_CFGI_CD:
	case SMMU_CMD_CFGI_CD_ALL:
		vdevice = soft_vdevice_by_virt_id(viommu, FIELD_GET(SMMU_CFGI_0_SID, qw0));
		if (!vdevice)
			return -EIO;
		cmd->qw[0] = le64_make((qw0 & ~SMMU_CFGI_0_SID) |
				       FIELD_PREP(SMMU_CFGI_0_SID, vdevice->bound->dev->rid));
		return 0;
	default:
		return -EIO;
	}
}

/* An entry of the array, of which the kernel knows the first 16 bytes. */
static int read_command(const struct iommu_hwpt_invalidate *cmd, uint32_t index,
			struct smmu_cmd *out)
{
	uint64_t user = cmd->data_uptr + (uint64_t)index * cmd->entry_len;

	return soft_copy_struct_from_user(out, sizeof(*out), soft_user_ptr(user), cmd->entry_len);
}

/*
 * The whole array is looked at before the first command is given, and *@done counts what was
 * given. (With quirks it counts what was converted: the Linux driver converts a batch and then
 * gives it, so on failure commands since the last whole batch are lost.)
 */
static int give_commands(struct soft_viommu *viommu, struct smmu_cmd *cmds, uint32_t count,
			 uint32_t *done)
{
	struct soft_iommu *iommu = viommu->parent->iommu;
	uint32_t batch = iommu->quirks ? COMMAND_BATCH : 1, given = 0;

	while (*done < count) {
		int err = convert_command(viommu, &cmds[*done]);

		if (err)
			return err;
		++*done;
		if (*done < count && *done - given < batch)
			continue;
		for (; given < *done; given++)
			if (smmu_hw_command(to_smmuv3(iommu)->hw, soft_object_name(&viommu->obj),
					    &cmds[given]))
				return -EIO;
	}
	return 0;
}

static int vsmmu_invalidate(struct soft_viommu *viommu, const struct iommu_hwpt_invalidate *cmd,
			    uint32_t *done)
{
	bool quirks = viommu->parent->iommu->quirks;
	CLEANUP(free_ptr) struct smmu_cmd *cmds = NULL;
	int err = 0;

	if (quirks && cmd->entry_num > QUIRK_MAX_COMMANDS) {
		*done = cmd->entry_num; /* reads as if all were done */
		return -ENOMEM;
	}
	if (cmd->data_type != IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3)
		return -EINVAL;
	if (!cmd->entry_num) /* only asks for the type */
		return quirks ? -EINVAL : 0;
	cmds = alloc_array(cmd->entry_num, sizeof(*cmds));
	if (!cmds)
		return -ENOMEM;
	for (uint32_t i = 0; i < cmd->entry_num && !err; i++)
		err = read_command(cmd, i, &cmds[i]);
	return err ? err : give_commands(viommu, cmds, cmd->entry_num, done);
}

static const struct soft_viommu_ops vsmmu_ops = {
	.size = sizeof(struct soft_viommu),
	.nested_init = vsmmu_nested_init,
	.invalidate = vsmmu_invalidate,
	.virt_id_last = UINT32_MAX,
};

/* Two stages, and memory types that a guest cannot get wrong (S2FWB), are both there. */
static const struct soft_viommu_ops *smmuv3_viommu_ops(const struct soft_device *dev, uint32_t type)
{
	return type == IOMMU_VIOMMU_TYPE_ARM_SMMUV3 ? &vsmmu_ops : NULL;
}

/* --- the unit ------------------------------------------------------------------------- */

static void smmuv3_map_begin(struct soft_iommu *iommu)
{
	smmu_hw_map_begin(to_smmuv3(iommu)->hw);
}

static void smmuv3_map_end(struct soft_iommu *iommu, bool flush)
{
	smmu_hw_map_end(to_smmuv3(iommu)->hw, flush);
	if (flush)
		forget_all_translations(to_smmuv3(iommu));
}

static int smmuv3_dma(struct soft_device *dev, const struct endpoint_dma_request *req)
{
	return smmu_hw_dma(smmuv3_of(dev)->hw, dev->rid, req);
}

static int smmuv3_translate(struct soft_device *dev, const struct endpoint_ats_request *req,
			    struct endpoint_ats_reply *reply)
{
	return smmu_hw_translate(smmuv3_of(dev)->hw, dev->rid, req, reply);
}

static void smmuv3_may_stall(struct soft_device *dev, bool may)
{
	smmu_hw_may_stall(smmuv3_of(dev)->hw, dev->rid, may);
}

static void smmuv3_get_stats(struct soft_iommu *iommu, struct nst_soft_stats *stats)
{
	smmu_hw_get_stats(to_smmuv3(iommu)->hw, stats);
}

static void smmuv3_drop_invalidation(struct soft_iommu *iommu, uint64_t after_dma_write_bytes)
{
	smmu_hw_drop_invalidation(to_smmuv3(iommu)->hw, after_dma_write_bytes);
}

static void smmuv3_destroy(struct soft_iommu *iommu)
{
	struct soft_smmuv3 *smmu = to_smmuv3(iommu);

	smmu_hw_destroy(smmu->hw);
	tag_pool_fini(&smmu->vmids);
	tag_pool_fini(&smmu->asids);
	mutex_fini(&smmu->ats_lock);
	free(smmu);
}

static const struct soft_iommu_ops smmuv3_ops = {
	.destroy = smmuv3_destroy,
	.hw_info_type = IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
	.hw_info_size = sizeof(struct iommu_hw_info_arm_smmuv3),
	.hw_info = smmuv3_hw_info,
	.has_dirty_tracking = smmuv3_has_dirty_tracking,
	.has_ats = true,
	.windows = { { 0x8000000, 0x80fffff } }, /* where the driver maps the doorbells of MSIs */
	.paging_init = smmuv3_paging_init,
	.paging_fini = smmuv3_paging_fini,
	.check_map = smmuv3_check_map,
	.viommu_ops = smmuv3_viommu_ops,
	.user_pasid_table = true,
	.attach = smmuv3_attach,
	.detach = smmuv3_detach,
	.forget = smmuv3_forget,
	.tags_in_use = smmuv3_tags_in_use,
	.map_begin = smmuv3_map_begin,
	.map_end = smmuv3_map_end,
	.dma = smmuv3_dma,
	.translate = smmuv3_translate,
	.may_stall = smmuv3_may_stall,
	.get_stats = smmuv3_get_stats,
	.drop_invalidation = smmuv3_drop_invalidation,
};

int soft_smmuv3_create(const struct nst_soft_config *config, struct soft_host *host,
		       struct soft_iommu **out)
{
	struct soft_smmuv3 *smmu = alloc_object(struct soft_smmuv3);
	struct smmu_hw_setup hw = { .log = config->log,
				    .check = config->check,
				    .stalls = config->stalls,
				    .sanitizer = host->sanitizer,
				    .ops = &smmuv3_hw_ops,
				    .opaque = smmu };
	int err;

	if (!smmu)
		return -ENOMEM;
	err = smmu_hw_create(&hw, &smmu->hw);
	if (err) {
		free(smmu);
		return err;
	}
	smmu->iommu.ops = &smmuv3_ops;
	smmu->iommu.log = config->log;
	smmu->iommu.host = host;
	smmu->stalls = config->stalls;
	tag_pool_init(&smmu->vmids, FIRST_TAG);
	tag_pool_init(&smmu->asids, FIRST_TAG);
	mutex_init(&smmu->ats_lock);
	*out = &smmu->iommu;
	return 0;
}
