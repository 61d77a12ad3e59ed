// SPDX-License-Identifier: BSD-3-Clause
/*
 * What the kernel's driver does not have yet (docs/vtd-veventq.md): a vIOMMU type, and in its
 * vEVENTQ the requests that the guest's own tables refuse.
 *
 *	refused by the first stage	reported, with the reason of the fault record
 *	refused because the device, or	reported as PASID entry not present: the guest
 *	its PASID, is on nothing	attached it to nothing, and its tables say why
 *	refused by the second stage	not reported: the host's memory map is no
 *					table of the guest's
 *
 * Whose requests: those of a device with a vDEVICE, however its nested HWPT was made. Without a
 * vEVENTQ, or with a full one, a report is dropped there (veventq.c).
 */
#include "host/soft/vtd/vtd_event.h"

#include "host/soft/vfio/device.h"
#include "spec/vtd_faults.h"
#include "spec/vtd_veventq.h"

static int nested_init(struct soft_viommu *viommu, const struct iommu_hwpt_alloc *cmd,
		       struct soft_hwpt_nested *nested)
{
	return soft_vtd_nested_init(cmd, nested);
}

const struct soft_viommu_ops soft_vtd_viommu_ops = {
	.size = sizeof(struct soft_viommu),
	.virt_id_last = UINT16_MAX,
	.nested_init = nested_init,
};

static bool is_of_guest(const struct vtd_hw_fault *fault)
{
	return fault->stage == VTD_HW_FAULT_FIRST_STAGE || fault->stage == VTD_HW_FAULT_NO_ENTRY;
}

static struct soft_device *find_device(struct soft_host *host, nst_rid rid)
{
	struct soft_device *dev = NULL;

	mutex_lock(&host->lock);
	for (size_t i = 0; i < host->num_devices && !dev; i++)
		if (host->devices[i]->rid == rid)
			dev = host->devices[i];
	mutex_unlock(&host->lock);
	return dev;
}

void soft_vtd_report_fault(void *opaque, const struct vtd_hw_fault *fault)
{
	struct soft_host *host = opaque;
	struct soft_device *dev = is_of_guest(fault) ? find_device(host, fault->rid) : NULL;
	bool has_pasid = fault->pasid != NST_NO_PASID;
	struct x_iommu_vevent_intel_vtd event = {
		.flags = (fault->write ? X_IOMMU_VEVENT_VTD_WRITE : 0) |
			 (fault->privileged ? X_IOMMU_VEVENT_VTD_PRIV : 0) |
			 (has_pasid ? X_IOMMU_VEVENT_VTD_PASID : 0),
		.pasid = has_pasid ? fault->pasid : 0,
		.reason = fault->reason,
		.addr = fault->iova,
	};

	if (!dev)
		return;
	mutex_lock(&host->fault_lock);
	if (dev->vdevice) {
		event.virt_rid = (uint32_t)dev->vdevice->virt_id;
		if (soft_viommu_report_event(dev->vdevice->viommu, X_IOMMU_VEVENTQ_TYPE_INTEL_VTD,
					     &event, sizeof(event)))
			log_debug(host->log, "soft: no vEVENTQ for a fault of device %04x",
				  fault->rid);
	}
	mutex_unlock(&host->fault_lock);
}
