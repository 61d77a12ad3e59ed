// SPDX-License-Identifier: BSD-3-Clause
/* See nestor/viommu.h: the public names, for whatever kind of unit it is. */
#include "viommu/viommu.h"

#include <errno.h>

void nst_viommu_destroy(struct nst_viommu *viommu)
{
	if (viommu)
		viommu->ops->destroy(viommu);
}

int nst_viommu_attach(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev)
{
	return viommu->ops->attach(viommu, rid, dev, false);
}

int nst_viommu_attach_alias(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev)
{
	return viommu->ops->attach(viommu, rid, dev, true);
}

void nst_viommu_detach(struct nst_viommu *viommu, nst_rid rid)
{
	viommu->ops->detach(viommu, rid);
}

void nst_viommu_detach_device(struct nst_viommu *viommu, struct nst_device *dev)
{
	viommu->ops->detach_device(viommu, dev);
}

int nst_viommu_renumber(struct nst_viommu *viommu, const struct nst_rid_move *moves, size_t count)
{
	return viommu->ops->renumber(viommu, moves, count);
}

uint64_t nst_viommu_mmio_read(struct nst_viommu *viommu, uint64_t offset, unsigned int size)
{
	return viommu->ops->mmio_read(viommu, offset, size);
}

void nst_viommu_mmio_write(struct nst_viommu *viommu, uint64_t offset, unsigned int size,
			   uint64_t value)
{
	viommu->ops->mmio_write(viommu, offset, size, value);
}

int nst_viommu_translate(struct nst_viommu *viommu, const struct nst_translate_request *req,
			 struct nst_translation *out)
{
	return viommu->ops->translate(viommu, req, out);
}

int nst_viommu_notify(struct nst_viommu *viommu, const struct nst_notifier_config *config,
		      struct nst_notifier **out)
{
	if (config->first.v > config->last.v || !config->map != !config->unmap ||
	    (config->map && config->pasid == NST_EVERY_PASID) ||
	    (config->pasid < NST_EVERY_PASID && config->pasid >> 20))
		return -EINVAL;
	if (!viommu->ops->notify)
		return -EOPNOTSUPP;
	return viommu->ops->notify(viommu, config, out);
}

void nst_notifier_remove(struct nst_notifier *notifier)
{
	if (notifier)
		notifier->viommu->ops->unnotify(notifier);
}

void nst_notifier_replay(struct nst_notifier *notifier)
{
	if (notifier->viommu->ops->replay) /* else it has no map() */
		notifier->viommu->ops->replay(notifier);
}

int nst_notifier_page_request(struct nst_notifier *notifier, uint32_t pasid, unsigned int group,
			      const struct nst_page *pages, size_t count,
			      enum nst_page_answer *answer)
{
	const struct nst_notifier_config *config = &notifier->config;

	if (!count || count > 512 || group > 511 || !config->page_response ||
	    (pasid != NST_NO_PASID && pasid >> 20) ||
	    (config->pasid != NST_EVERY_PASID && config->pasid != pasid))
		return -EINVAL;
	return notifier->viommu->ops->page_request(notifier, pasid, group, pages, count, answer);
}

int nst_notifier_translate(struct nst_notifier *notifier, const struct nst_translate_request *req,
			   struct nst_translation *out, unsigned int *tag)
{
	const struct nst_notifier_config *config = &notifier->config;
	struct nst_viommu *viommu = notifier->viommu;

	if (!config->stall_response || req->rid != config->rid ||
	    (config->pasid != NST_EVERY_PASID && config->pasid != req->pasid))
		return -EINVAL;
	if (!viommu->ops->translate_or_stall)
		return viommu->ops->translate(viommu, req, out);
	return viommu->ops->translate_or_stall(notifier, req, out, tag);
}

int nst_viommu_ats_translate(struct nst_viommu *viommu, const struct nst_ats_request *req,
			     struct nst_ats_entry *entries, unsigned int max, unsigned int *count,
			     enum nst_ats_status *status)
{
	if (!req->pages || !max)
		return -EINVAL;
	if (!viommu->ops->ats_translate)
		return -EOPNOTSUPP;
	return viommu->ops->ats_translate(viommu, req, entries, max, count, status);
}

void nst_viommu_reset(struct nst_viommu *viommu)
{
	viommu->ops->reset(viommu);
}

int nst_viommu_fd(struct nst_viommu *viommu)
{
	return viommu->ops->fd(viommu);
}

void nst_viommu_process(struct nst_viommu *viommu)
{
	viommu->ops->process(viommu);
}

void nst_viommu_expire_page_requests(struct nst_viommu *viommu)
{
	if (viommu->ops->expire_page_requests)
		viommu->ops->expire_page_requests(viommu);
}

int nst_viommu_remap_msi(struct nst_viommu *viommu, nst_rid rid, uint64_t address, uint32_t data,
			 unsigned int flags, struct nst_interrupt *out)
{
	if (!viommu->ops->remap_msi)
		return -EOPNOTSUPP;
	return viommu->ops->remap_msi(viommu, rid, address, data, flags, out);
}

int nst_viommu_remap_ioapic(struct nst_viommu *viommu, nst_rid rid, uint64_t entry,
			    unsigned int flags, struct nst_interrupt *out)
{
	if (!viommu->ops->remap_ioapic)
		return -EOPNOTSUPP;
	return viommu->ops->remap_ioapic(viommu, rid, entry, flags, out);
}

int nst_viommu_msi_doorbell(struct nst_viommu *viommu, nst_rid rid, nst_iova address,
			    nst_gpa *doorbell)
{
	return viommu->ops->msi_doorbell(viommu, rid, address, doorbell);
}

int nst_viommu_save(struct nst_viommu *viommu, void **data, size_t *size)
{
	return viommu->ops->save(viommu, data, size);
}

int nst_viommu_restore(struct nst_viommu *viommu, const void *data, size_t size)
{
	return viommu->ops->restore(viommu, data, size);
}

void nst_viommu_get_stats(struct nst_viommu *viommu, struct nst_viommu_stats *stats)
{
	viommu->ops->get_stats(viommu, stats);
}
