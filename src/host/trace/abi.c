// SPDX-License-Identifier: BSD-3-Clause
/* See abi.h. The structures are those of <linux/iommufd.h> and <linux/vfio.h>. */
#include "host/trace/abi.h"

#include "base/bits.h"

#include <linux/iommufd.h>
#include <linux/vfio.h>

/* clang-format off */
#define F(type, member, direction, form, names) \
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), \
	  ABI_##direction, ABI_##form, names }
#define END { .name = NULL }
#define N(prefix, suffix) { prefix##suffix, #suffix }

static const struct abi_name map_flags[] = {
	N(IOMMU_IOAS_MAP_, FIXED_IOVA), N(IOMMU_IOAS_MAP_, WRITEABLE), N(IOMMU_IOAS_MAP_, READABLE), END };
static const struct abi_name hwpt_flags[] = {
	N(IOMMU_HWPT_ALLOC_, NEST_PARENT), N(IOMMU_HWPT_ALLOC_, DIRTY_TRACKING),
	N(IOMMU_HWPT_, FAULT_ID_VALID), N(IOMMU_HWPT_ALLOC_, PASID), END };
static const struct abi_name hwpt_data[] = {
	N(IOMMU_HWPT_DATA_, NONE), N(IOMMU_HWPT_DATA_, VTD_S1), N(IOMMU_HWPT_DATA_, ARM_SMMUV3), END };
static const struct abi_name s1_flags[] = {
	N(IOMMU_VTD_S1_, SRE), N(IOMMU_VTD_S1_, EAFE), N(IOMMU_VTD_S1_, WPE), END };
static const struct abi_name invalidate_data[] = {
	N(IOMMU_HWPT_INVALIDATE_DATA_, VTD_S1), N(IOMMU_VIOMMU_INVALIDATE_DATA_, ARM_SMMUV3), END };
static const struct abi_name leaf_flag[] = { N(IOMMU_VTD_INV_FLAGS_, LEAF), END };
static const struct abi_name hw_types[] = {
	N(IOMMU_HW_INFO_TYPE_, NONE), N(IOMMU_HW_INFO_TYPE_, INTEL_VTD),
	N(IOMMU_HW_INFO_TYPE_, ARM_SMMUV3), END };
static const struct abi_name hw_caps[] = {
	{ IOMMU_HW_CAP_DIRTY_TRACKING, "DIRTY_TRACKING" }, { IOMMU_HW_CAP_PCI_PASID_EXEC, "PASID_EXEC" },
	{ IOMMU_HW_CAP_PCI_PASID_PRIV, "PASID_PRIV" }, { 8, "ATS_NOT_SUPPORTED" }, END };
static const struct abi_name options[] = {
	{ IOMMU_OPTION_RLIMIT_MODE, "RLIMIT_MODE" }, { IOMMU_OPTION_HUGE_PAGES, "HUGE_PAGES" }, END };
static const struct abi_name option_ops[] = { N(IOMMU_OPTION_OP_, SET), N(IOMMU_OPTION_OP_, GET), END };
static const struct abi_name attach_flags[] = { { VFIO_DEVICE_ATTACH_PASID, "PASID" }, END };
static const struct abi_name device_flags[] = {
	N(VFIO_DEVICE_FLAGS_, RESET), N(VFIO_DEVICE_FLAGS_, PCI), END };
static const struct abi_name region_flags[] = {
	N(VFIO_REGION_INFO_FLAG_, READ), N(VFIO_REGION_INFO_FLAG_, WRITE),
	N(VFIO_REGION_INFO_FLAG_, MMAP), N(VFIO_REGION_INFO_FLAG_, CAPS), END };
static const struct abi_name region_names[] = {
	{ 0, "BAR0" }, { 1, "BAR1" }, { 2, "BAR2" }, { 3, "BAR3" }, { 4, "BAR4" }, { 5, "BAR5" },
	{ 6, "ROM" }, { 7, "CONFIG" }, { 8, "VGA" }, END };
static const struct abi_name irq_names[] = {
	{ 0, "INTX" }, { 1, "MSI" }, { 2, "MSIX" }, { 3, "ERR" }, { 4, "REQ" }, END };
static const struct abi_name irq_flags[] = {
	N(VFIO_IRQ_INFO_, EVENTFD), N(VFIO_IRQ_INFO_, MASKABLE), N(VFIO_IRQ_INFO_, AUTOMASKED),
	N(VFIO_IRQ_INFO_, NORESIZE), END };
static const struct abi_name set_irqs_flags[] = {
	N(VFIO_IRQ_SET_, DATA_NONE), N(VFIO_IRQ_SET_, DATA_BOOL), N(VFIO_IRQ_SET_, DATA_EVENTFD),
	N(VFIO_IRQ_SET_, ACTION_MASK), N(VFIO_IRQ_SET_, ACTION_UNMASK), N(VFIO_IRQ_SET_, ACTION_TRIGGER), END };
static const struct abi_name feature_flags[] = {
	N(VFIO_DEVICE_FEATURE_, GET), N(VFIO_DEVICE_FEATURE_, SET), N(VFIO_DEVICE_FEATURE_, PROBE), END };

static const struct abi_name viommu_types[] = {
	N(IOMMU_VIOMMU_TYPE_, ARM_SMMUV3), N(IOMMU_VIOMMU_TYPE_, TEGRA241_CMDQV), END };
static const struct abi_name veventq_types[] = {
	N(IOMMU_VEVENTQ_TYPE_, ARM_SMMUV3), N(IOMMU_VEVENTQ_TYPE_, TEGRA241_CMDQV), END };
static const struct abi_name hw_queue_types[] = { N(IOMMU_HW_QUEUE_TYPE_, TEGRA241_CMDQV), END };
static const struct abi_name vfio_ioas_ops[] = {
	N(IOMMU_VFIO_IOAS_, GET), N(IOMMU_VFIO_IOAS_, SET), N(IOMMU_VFIO_IOAS_, CLEAR), END };
static const struct abi_name mig_states[] = {
	N(VFIO_DEVICE_STATE_, ERROR), N(VFIO_DEVICE_STATE_, STOP), N(VFIO_DEVICE_STATE_, RUNNING),
	N(VFIO_DEVICE_STATE_, STOP_COPY), N(VFIO_DEVICE_STATE_, RESUMING), N(VFIO_DEVICE_STATE_, RUNNING_P2P),
	N(VFIO_DEVICE_STATE_, PRE_COPY), N(VFIO_DEVICE_STATE_, PRE_COPY_P2P), END };
static const struct abi_name mig_flags[] = {
	N(VFIO_MIGRATION_, STOP_COPY), N(VFIO_MIGRATION_, P2P), N(VFIO_MIGRATION_, PRE_COPY), END };

static const struct abi_field none[] = { END };
static const struct abi_field destroy[] = { F(iommu_destroy, id, IN, DEC, NULL), END };
static const struct abi_field ioas_alloc[] = { F(iommu_ioas_alloc, out_ioas_id, OUT, DEC, NULL), END };
static const struct abi_field iova_ranges[] = {
	F(iommu_ioas_iova_ranges, ioas_id, IN, DEC, NULL), F(iommu_ioas_iova_ranges, num_iovas, INOUT, DEC, NULL),
	F(iommu_ioas_iova_ranges, out_iova_alignment, OUT, HEX, NULL), END };
static const struct abi_field iova_range[] = {
	F(iommu_iova_range, start, OUT, HEX, NULL), F(iommu_iova_range, last, OUT, HEX, NULL), END };
static const struct abi_field allow_iovas[] = {
	F(iommu_ioas_allow_iovas, ioas_id, IN, DEC, NULL), F(iommu_ioas_allow_iovas, num_iovas, IN, DEC, NULL), END };
static const struct abi_field ioas_map[] = {
	F(iommu_ioas_map, flags, IN, FLAGS, map_flags), F(iommu_ioas_map, ioas_id, IN, DEC, NULL),
	F(iommu_ioas_map, user_va, IN, HEX, NULL), F(iommu_ioas_map, length, IN, HEX, NULL),
	F(iommu_ioas_map, iova, INOUT, HEX, NULL), END };
static const struct abi_field ioas_map_file[] = {
	F(iommu_ioas_map_file, flags, IN, FLAGS, map_flags), F(iommu_ioas_map_file, ioas_id, IN, DEC, NULL),
	F(iommu_ioas_map_file, fd, IN, SIGNED, NULL), F(iommu_ioas_map_file, start, IN, HEX, NULL),
	F(iommu_ioas_map_file, length, IN, HEX, NULL), F(iommu_ioas_map_file, iova, INOUT, HEX, NULL), END };
static const struct abi_field ioas_copy[] = {
	F(iommu_ioas_copy, flags, IN, FLAGS, map_flags), F(iommu_ioas_copy, dst_ioas_id, IN, DEC, NULL),
	F(iommu_ioas_copy, src_ioas_id, IN, DEC, NULL), F(iommu_ioas_copy, length, IN, HEX, NULL),
	F(iommu_ioas_copy, dst_iova, INOUT, HEX, NULL), F(iommu_ioas_copy, src_iova, IN, HEX, NULL), END };
static const struct abi_field ioas_unmap[] = {
	F(iommu_ioas_unmap, ioas_id, IN, DEC, NULL), F(iommu_ioas_unmap, iova, IN, HEX, NULL),
	F(iommu_ioas_unmap, length, INOUT, HEX, NULL), END };
static const struct abi_field option[] = {
	F(iommu_option, option_id, IN, ENUM, options), F(iommu_option, op, IN, ENUM, option_ops),
	F(iommu_option, object_id, IN, DEC, NULL), F(iommu_option, val64, INOUT, DEC, NULL), END };
static const struct abi_field hwpt_alloc[] = {
	F(iommu_hwpt_alloc, flags, IN, FLAGS, hwpt_flags), F(iommu_hwpt_alloc, dev_id, IN, DEC, NULL),
	F(iommu_hwpt_alloc, pt_id, IN, DEC, NULL), F(iommu_hwpt_alloc, data_type, IN, ENUM, hwpt_data),
	F(iommu_hwpt_alloc, data_len, IN, DEC, NULL), F(iommu_hwpt_alloc, fault_id, IN, DEC, NULL),
	F(iommu_hwpt_alloc, out_hwpt_id, OUT, DEC, NULL), END };
static const struct abi_field vtd_s1[] = {
	F(iommu_hwpt_vtd_s1, flags, IN, FLAGS, s1_flags), F(iommu_hwpt_vtd_s1, pgtbl_addr, IN, HEX, NULL),
	F(iommu_hwpt_vtd_s1, addr_width, IN, DEC, NULL), END };
static const struct abi_field hw_info[] = {
	F(iommu_hw_info, flags, IN, HEX, NULL), F(iommu_hw_info, dev_id, IN, DEC, NULL),
	F(iommu_hw_info, data_len, INOUT, DEC, NULL), F(iommu_hw_info, out_data_type, OUT, ENUM, hw_types),
	F(iommu_hw_info, out_max_pasid_log2, OUT, DEC, NULL),
	F(iommu_hw_info, out_capabilities, OUT, FLAGS, hw_caps), END };
static const struct abi_field hw_info_vtd[] = {
	F(iommu_hw_info_vtd, flags, OUT, HEX, NULL), F(iommu_hw_info_vtd, cap_reg, OUT, HEX, NULL),
	F(iommu_hw_info_vtd, ecap_reg, OUT, HEX, NULL), END };
static const struct abi_field set_dirty[] = {
	F(iommu_hwpt_set_dirty_tracking, flags, IN, HEX, NULL),
	F(iommu_hwpt_set_dirty_tracking, hwpt_id, IN, DEC, NULL), END };
static const struct abi_field get_dirty[] = {
	F(iommu_hwpt_get_dirty_bitmap, hwpt_id, IN, DEC, NULL), F(iommu_hwpt_get_dirty_bitmap, flags, IN, HEX, NULL),
	F(iommu_hwpt_get_dirty_bitmap, iova, IN, HEX, NULL), F(iommu_hwpt_get_dirty_bitmap, length, IN, HEX, NULL),
	F(iommu_hwpt_get_dirty_bitmap, page_size, IN, HEX, NULL), END };
static const struct abi_field invalidate[] = {
	F(iommu_hwpt_invalidate, hwpt_id, IN, DEC, NULL), F(iommu_hwpt_invalidate, data_type, IN, ENUM, invalidate_data),
	F(iommu_hwpt_invalidate, entry_len, IN, DEC, NULL), F(iommu_hwpt_invalidate, entry_num, INOUT, DEC, NULL), END };
static const struct abi_field vtd_invalidate[] = {
	F(iommu_hwpt_vtd_s1_invalidate, addr, IN, HEX, NULL), F(iommu_hwpt_vtd_s1_invalidate, npages, IN, HEX, NULL),
	F(iommu_hwpt_vtd_s1_invalidate, flags, IN, FLAGS, leaf_flag), END };
static const struct abi_field fault_alloc[] = {
	F(iommu_fault_alloc, flags, IN, HEX, NULL), F(iommu_fault_alloc, out_fault_id, OUT, DEC, NULL),
	F(iommu_fault_alloc, out_fault_fd, OUT, SIGNED, NULL), END };
static const struct abi_field viommu_alloc[] = {
	F(iommu_viommu_alloc, flags, IN, HEX, NULL), F(iommu_viommu_alloc, type, IN, ENUM, viommu_types),
	F(iommu_viommu_alloc, dev_id, IN, DEC, NULL), F(iommu_viommu_alloc, hwpt_id, IN, DEC, NULL),
	F(iommu_viommu_alloc, out_viommu_id, OUT, DEC, NULL), END };
static const struct abi_field vdevice_alloc[] = {
	F(iommu_vdevice_alloc, viommu_id, IN, DEC, NULL), F(iommu_vdevice_alloc, dev_id, IN, DEC, NULL),
	F(iommu_vdevice_alloc, virt_id, IN, HEX, NULL), F(iommu_vdevice_alloc, out_vdevice_id, OUT, DEC, NULL), END };
static const struct abi_field veventq_alloc[] = {
	F(iommu_veventq_alloc, flags, IN, HEX, NULL), F(iommu_veventq_alloc, viommu_id, IN, DEC, NULL),
	F(iommu_veventq_alloc, type, IN, ENUM, veventq_types), F(iommu_veventq_alloc, veventq_depth, IN, DEC, NULL),
	F(iommu_veventq_alloc, out_veventq_id, OUT, DEC, NULL),
	F(iommu_veventq_alloc, out_veventq_fd, OUT, SIGNED, NULL), END };
static const struct abi_field hw_queue_alloc[] = {
	F(iommu_hw_queue_alloc, flags, IN, HEX, NULL), F(iommu_hw_queue_alloc, viommu_id, IN, DEC, NULL),
	F(iommu_hw_queue_alloc, type, IN, ENUM, hw_queue_types), F(iommu_hw_queue_alloc, index, IN, DEC, NULL),
	F(iommu_hw_queue_alloc, nesting_parent_iova, IN, HEX, NULL), F(iommu_hw_queue_alloc, length, IN, HEX, NULL),
	F(iommu_hw_queue_alloc, out_hw_queue_id, OUT, DEC, NULL), END };
static const struct abi_field vfio_ioas[] = {
	F(iommu_vfio_ioas, ioas_id, INOUT, DEC, NULL), F(iommu_vfio_ioas, op, IN, ENUM, vfio_ioas_ops), END };
static const struct abi_field ste[] = { { "qw0", 0, 8, ABI_IN, ABI_HEX, NULL }, { "qw1", 8, 8, ABI_IN, ABI_HEX, NULL }, END };
static const struct abi_field hw_info_smmuv3[] = {
	{ "idr0", 8, 4, ABI_OUT, ABI_HEX, NULL }, { "idr1", 12, 4, ABI_OUT, ABI_HEX, NULL },
	{ "idr2", 16, 4, ABI_OUT, ABI_HEX, NULL }, { "idr3", 20, 4, ABI_OUT, ABI_HEX, NULL },
	{ "idr4", 24, 4, ABI_OUT, ABI_HEX, NULL }, { "idr5", 28, 4, ABI_OUT, ABI_HEX, NULL },
	F(iommu_hw_info_arm_smmuv3, iidr, OUT, HEX, NULL), F(iommu_hw_info_arm_smmuv3, aidr, OUT, HEX, NULL), END };
static const struct abi_field mig_set_state[] = {
	F(vfio_device_feature_mig_state, device_state, IN, ENUM, mig_states), END };
static const struct abi_field mig_state[] = {
	F(vfio_device_feature_mig_state, device_state, OUT, ENUM, mig_states),
	F(vfio_device_feature_mig_state, data_fd, OUT, SIGNED, NULL), END };
static const struct abi_field migration[] = {
	F(vfio_device_feature_migration, flags, OUT, FLAGS, mig_flags), END };
static const struct abi_field vfio_bind[] = {
	F(vfio_device_bind_iommufd, flags, IN, HEX, NULL), F(vfio_device_bind_iommufd, iommufd, IN, SIGNED, NULL),
	F(vfio_device_bind_iommufd, out_devid, OUT, DEC, NULL), END };
static const struct abi_field vfio_attach[] = {
	F(vfio_device_attach_iommufd_pt, flags, IN, FLAGS, attach_flags),
	F(vfio_device_attach_iommufd_pt, pt_id, INOUT, DEC, NULL),
	F(vfio_device_attach_iommufd_pt, pasid, IN, DEC, NULL), END };
static const struct abi_field vfio_detach[] = {
	F(vfio_device_detach_iommufd_pt, flags, IN, FLAGS, attach_flags),
	F(vfio_device_detach_iommufd_pt, pasid, IN, DEC, NULL), END };
static const struct abi_field vfio_info[] = {
	F(vfio_device_info, flags, OUT, FLAGS, device_flags), F(vfio_device_info, num_regions, OUT, DEC, NULL),
	F(vfio_device_info, num_irqs, OUT, DEC, NULL), END };
static const struct abi_field vfio_region[] = {
	F(vfio_region_info, index, IN, ENUM, region_names), F(vfio_region_info, flags, OUT, FLAGS, region_flags),
	F(vfio_region_info, size, OUT, HEX, NULL), F(vfio_region_info, offset, OUT, HEX, NULL), END };
static const struct abi_field vfio_irq[] = {
	F(vfio_irq_info, index, IN, ENUM, irq_names), F(vfio_irq_info, flags, OUT, FLAGS, irq_flags),
	F(vfio_irq_info, count, OUT, DEC, NULL), END };
static const struct abi_field vfio_set_irqs[] = {
	F(vfio_irq_set, flags, IN, FLAGS, set_irqs_flags), F(vfio_irq_set, index, IN, ENUM, irq_names),
	F(vfio_irq_set, start, IN, DEC, NULL), F(vfio_irq_set, count, IN, DEC, NULL), END };
static const struct abi_field eventfd[] = { { "fd", 0, 4, ABI_IN, ABI_SIGNED, NULL }, END };
static const struct abi_field vfio_feature[] = {
	F(vfio_device_feature, flags, IN, FLAGS, feature_flags), F(vfio_device_feature, argsz, IN, DEC, NULL), END };

#define AT(type, member) offsetof(struct type, member)
static const struct abi_payload ste_data = {
	"data", ste, sizeof(struct iommu_hwpt_arm_smmuv3), ABI_IN, AT(iommu_hwpt_alloc, data_uptr), -1,
	AT(iommu_hwpt_alloc, data_type), IOMMU_HWPT_DATA_ARM_SMMUV3, UINT32_MAX, NULL };
static const struct abi_payload nested_data = {
	"data", vtd_s1, sizeof(struct iommu_hwpt_vtd_s1), ABI_IN, AT(iommu_hwpt_alloc, data_uptr), -1,
	AT(iommu_hwpt_alloc, data_type), IOMMU_HWPT_DATA_VTD_S1, UINT32_MAX, &ste_data };
static const struct abi_payload smmuv3_commands = {
	"entries", ste, sizeof(struct iommu_viommu_arm_smmuv3_invalidate), ABI_IN,
	AT(iommu_hwpt_invalidate, data_uptr), AT(iommu_hwpt_invalidate, entry_num),
	AT(iommu_hwpt_invalidate, data_type), IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3, UINT32_MAX, NULL };
static const struct abi_payload invalidate_entries = {
	"entries", vtd_invalidate, sizeof(struct iommu_hwpt_vtd_s1_invalidate), ABI_IN,
	AT(iommu_hwpt_invalidate, data_uptr), AT(iommu_hwpt_invalidate, entry_num),
	AT(iommu_hwpt_invalidate, data_type), IOMMU_HWPT_INVALIDATE_DATA_VTD_S1, UINT32_MAX, &smmuv3_commands };
static const struct abi_payload smmuv3_info_data = {
	"data", hw_info_smmuv3, sizeof(struct iommu_hw_info_arm_smmuv3), ABI_OUT, AT(iommu_hw_info, data_uptr), -1,
	AT(iommu_hw_info, out_data_type), IOMMU_HW_INFO_TYPE_ARM_SMMUV3, UINT32_MAX, NULL };
static const struct abi_payload info_data = {
	"data", hw_info_vtd, sizeof(struct iommu_hw_info_vtd), ABI_OUT, AT(iommu_hw_info, data_uptr), -1,
	AT(iommu_hw_info, out_data_type), IOMMU_HW_INFO_TYPE_INTEL_VTD, UINT32_MAX, &smmuv3_info_data };
#define FEATURE(op, feature) AT(vfio_device_feature, flags), (op) | (feature), 0x7ffff
static const struct abi_payload migration_data = {
	"data", migration, sizeof(struct vfio_device_feature_migration), ABI_OUT, -1, -1,
	FEATURE(VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION), NULL };
static const struct abi_payload get_state_data = {
	"data", mig_state, sizeof(struct vfio_device_feature_mig_state), ABI_OUT, -1, -1,
	FEATURE(VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), &migration_data };
static const struct abi_payload new_state_data = {
	"data", mig_state, sizeof(struct vfio_device_feature_mig_state), ABI_OUT, -1, -1,
	FEATURE(VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), &get_state_data };
static const struct abi_payload feature_data = {
	"data", mig_set_state, sizeof(struct vfio_device_feature_mig_state), ABI_IN, -1, -1,
	FEATURE(VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE), &new_state_data };
static const struct abi_payload ranges_data = {
	"ranges", iova_range, sizeof(struct iommu_iova_range), ABI_OUT,
	AT(iommu_ioas_iova_ranges, allowed_iovas), AT(iommu_ioas_iova_ranges, num_iovas), -1, 0, 0, NULL };
static const struct abi_payload eventfds_data = {
	"eventfds", eventfd, 4, ABI_IN, -1, AT(vfio_irq_set, count), AT(vfio_irq_set, flags),
	VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_EVENTFD, NULL };

#define CALL(request, type, fields, payload) { request, #request, sizeof(struct type), fields, payload }
static const struct abi_call calls[] = {
	CALL(IOMMU_DESTROY, iommu_destroy, destroy, NULL),
	CALL(IOMMU_IOAS_ALLOC, iommu_ioas_alloc, ioas_alloc, NULL),
	CALL(IOMMU_IOAS_ALLOW_IOVAS, iommu_ioas_allow_iovas, allow_iovas, NULL),
	CALL(IOMMU_IOAS_COPY, iommu_ioas_copy, ioas_copy, NULL),
	CALL(IOMMU_IOAS_IOVA_RANGES, iommu_ioas_iova_ranges, iova_ranges, &ranges_data),
	CALL(IOMMU_IOAS_MAP, iommu_ioas_map, ioas_map, NULL),
	CALL(IOMMU_IOAS_MAP_FILE, iommu_ioas_map_file, ioas_map_file, NULL),
	CALL(IOMMU_IOAS_UNMAP, iommu_ioas_unmap, ioas_unmap, NULL),
	CALL(IOMMU_IOAS_CHANGE_PROCESS, iommu_ioas_change_process, none, NULL),
	CALL(IOMMU_OPTION, iommu_option, option, NULL),
	CALL(IOMMU_HWPT_ALLOC, iommu_hwpt_alloc, hwpt_alloc, &nested_data),
	CALL(IOMMU_GET_HW_INFO, iommu_hw_info, hw_info, &info_data),
	CALL(IOMMU_HWPT_SET_DIRTY_TRACKING, iommu_hwpt_set_dirty_tracking, set_dirty, NULL),
	CALL(IOMMU_HWPT_GET_DIRTY_BITMAP, iommu_hwpt_get_dirty_bitmap, get_dirty, NULL),
	CALL(IOMMU_HWPT_INVALIDATE, iommu_hwpt_invalidate, invalidate, &invalidate_entries),
	CALL(IOMMU_FAULT_QUEUE_ALLOC, iommu_fault_alloc, fault_alloc, NULL),
	CALL(IOMMU_VIOMMU_ALLOC, iommu_viommu_alloc, viommu_alloc, NULL),
	CALL(IOMMU_VDEVICE_ALLOC, iommu_vdevice_alloc, vdevice_alloc, NULL),
	CALL(IOMMU_VEVENTQ_ALLOC, iommu_veventq_alloc, veventq_alloc, NULL),
	CALL(IOMMU_HW_QUEUE_ALLOC, iommu_hw_queue_alloc, hw_queue_alloc, NULL),
	CALL(IOMMU_VFIO_IOAS, iommu_vfio_ioas, vfio_ioas, NULL),
	CALL(VFIO_DEVICE_BIND_IOMMUFD, vfio_device_bind_iommufd, vfio_bind, NULL),
	CALL(VFIO_DEVICE_ATTACH_IOMMUFD_PT, vfio_device_attach_iommufd_pt, vfio_attach, NULL),
	CALL(VFIO_DEVICE_DETACH_IOMMUFD_PT, vfio_device_detach_iommufd_pt, vfio_detach, NULL),
	CALL(VFIO_DEVICE_GET_INFO, vfio_device_info, vfio_info, NULL),
	CALL(VFIO_DEVICE_GET_REGION_INFO, vfio_region_info, vfio_region, NULL),
	CALL(VFIO_DEVICE_GET_IRQ_INFO, vfio_irq_info, vfio_irq, NULL),
	CALL(VFIO_DEVICE_SET_IRQS, vfio_irq_set, vfio_set_irqs, &eventfds_data),
	CALL(VFIO_DEVICE_FEATURE, vfio_device_feature, vfio_feature, &feature_data),
	{ VFIO_DEVICE_RESET, "VFIO_DEVICE_RESET", 0, none, NULL },
	/* these numbers are given twice: to devices, and to containers */
	{ VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO/VFIO_IOMMU_GET_INFO", 0, none, NULL },
	{ VFIO_DEVICE_PCI_HOT_RESET, "VFIO_DEVICE_PCI_HOT_RESET/VFIO_IOMMU_MAP_DMA", 0, none, NULL },
	{ VFIO_IOMMU_UNMAP_DMA, "VFIO_DEVICE_QUERY_GFX_PLANE/VFIO_IOMMU_UNMAP_DMA", 0, none, NULL },
	{ VFIO_GET_API_VERSION, "VFIO_GET_API_VERSION", 0, none, NULL },
	{ VFIO_CHECK_EXTENSION, "VFIO_CHECK_EXTENSION", 0, none, NULL },
	{ VFIO_SET_IOMMU, "VFIO_SET_IOMMU", 0, none, NULL },
};
/* clang-format on */

const struct abi_call *abi_find(unsigned long request)
{
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].request == request)
			return &calls[i];
	return NULL;
}
