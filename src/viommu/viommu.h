/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a kind of vIOMMU implements; the public functions of nestor/viommu.h call it.
 */
#ifndef VIOMMU_VIOMMU_H
#define VIOMMU_VIOMMU_H

#include <nestor/viommu.h>

/* As a saved state names them. */
enum viommu_kind { VIOMMU_VTD = 1, VIOMMU_SMMUV3 = 2 };

struct viommu_ops {
	void (*destroy)(struct nst_viommu *viommu);
	int (*attach)(struct nst_viommu *viommu, nst_rid rid, struct nst_device *dev, bool alias);
	void (*detach)(struct nst_viommu *viommu, nst_rid rid);
	void (*detach_device)(struct nst_viommu *viommu, struct nst_device *dev);
	int (*renumber)(struct nst_viommu *viommu, const struct nst_rid_move *moves, size_t count);
	uint64_t (*mmio_read)(struct nst_viommu *viommu, uint64_t offset, unsigned int size);
	void (*mmio_write)(struct nst_viommu *viommu, uint64_t offset, unsigned int size,
			   uint64_t value);
	int (*translate)(struct nst_viommu *viommu, const struct nst_translate_request *req,
			 struct nst_translation *out);
	/* the next six: NULL if there are none */
	int (*notify)(struct nst_viommu *viommu, const struct nst_notifier_config *config,
		      struct nst_notifier **out);
	void (*unnotify)(struct nst_notifier *notifier);
	void (*replay)(struct nst_notifier *notifier);
	int (*page_request)(struct nst_notifier *notifier, uint32_t pasid, unsigned int group,
			    const struct nst_page *pages, size_t count,
			    enum nst_page_answer *answer);
	int (*ats_translate)(struct nst_viommu *viommu, const struct nst_ats_request *req,
			     struct nst_ats_entry *entries, unsigned int max, unsigned int *count,
			     enum nst_ats_status *status);
	int (*translate_or_stall)(struct nst_notifier *notifier,
				  const struct nst_translate_request *req,
				  struct nst_translation *out, unsigned int *tag);
	void (*reset)(struct nst_viommu *viommu);
	int (*fd)(struct nst_viommu *viommu);
	void (*process)(struct nst_viommu *viommu);
	void (*expire_page_requests)(struct nst_viommu *viommu); /* NULL: there are none */
	/* NULL: interrupts are not remapped */
	int (*remap_msi)(struct nst_viommu *viommu, nst_rid rid, uint64_t address, uint32_t data,
			 unsigned int flags, struct nst_interrupt *out);
	int (*remap_ioapic)(struct nst_viommu *viommu, nst_rid rid, uint64_t entry,
			    unsigned int flags, struct nst_interrupt *out);
	int (*msi_doorbell)(struct nst_viommu *viommu, nst_rid rid, nst_iova address,
			    nst_gpa *doorbell);
	int (*save)(struct nst_viommu *viommu, void **data, size_t *size);
	int (*restore)(struct nst_viommu *viommu, const void *data, size_t size);
	void (*get_stats)(struct nst_viommu *viommu, struct nst_viommu_stats *stats);
};

/* First member of every unit. */
struct nst_viommu {
	const struct viommu_ops *ops;
};

/* First member of every notifier. */
struct nst_notifier {
	struct nst_viommu *viommu;
	struct nst_notifier_config config;
};

#endif
