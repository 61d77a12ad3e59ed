// SPDX-License-Identifier: BSD-3-Clause
/* See probe.h. All objects go with the descriptors. */
#include "cmd/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>

static void ask(const struct iommufd *iommufd, uint32_t dev_id, struct probe *p)
{
	uint32_t ioas_id, parent_id, viommu_id;

	p->info = iommufd_get_hw_info(iommufd, dev_id, &p->hw);
	if (p->info)
		return;
	p->parent = iommufd_ioas_alloc(iommufd, &ioas_id);
	if (!p->parent)
		p->parent = iommufd_hwpt_alloc_paging(iommufd, dev_id, ioas_id,
						      IOMMU_HWPT_ALLOC_NEST_PARENT, &parent_id);
	if (!p->parent && p->hw.type == IOMMU_HW_INFO_TYPE_ARM_SMMUV3)
		p->viommu = iommufd_viommu_alloc(iommufd, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, dev_id,
						 parent_id, &viommu_id);
}

void probe_device(struct nst_host *host, const char *cdev, struct probe *out)
{
	struct probe p = { .open_cdev = -ECANCELED,
			   .bind = -ECANCELED,
			   .info = -ECANCELED,
			   .parent = -ECANCELED,
			   .viommu = -ECANCELED };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommufd iommufd;
	int fd;

	p.open_iommufd = iommufd_open(host, &iommufd);
	if (!p.open_iommufd) {
		fd = host->ops->open(host, cdev, O_RDWR | O_CLOEXEC);
		p.open_cdev = fd < 0 ? fd : 0;
		if (fd >= 0) {
			bind.iommufd = iommufd.fd;
			p.bind = host->ops->ioctl(host, fd, VFIO_DEVICE_BIND_IOMMUFD, &bind);
			if (!p.bind)
				ask(&iommufd, bind.out_devid, &p);
			host->ops->close(host, fd);
		}
		iommufd_close(&iommufd);
	}
	*out = p;
}
