/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A plugged-in device: what vfio-pci and the host know of it, its interrupts, its thread, and
 * the opens of its cdev.
 */
#ifndef HOST_SOFT_DEVICE_H
#define HOST_SOFT_DEVICE_H

#include "base/worker.h"
#include "endpoint/endpoint.h"
#include "host/soft/attach.h"

/* Interrupt vectors to eventfds, as vfio-pci keeps them. */
struct soft_irqs {
	struct mutex lock;
	int active GUARDED_BY(lock);		 /* VFIO_PCI_MSI(X)_IRQ_INDEX, or -1 */
	unsigned int allocated GUARDED_BY(lock); /* vectors the driver asked for */
	int *fds GUARDED_BY(lock);		 /* our duplicates, -1 = none */
	unsigned int max;			 /* length of fds */
	int err_fd GUARDED_BY(lock), req_fd GUARDED_BY(lock);
};

#define SOFT_MSI_CAP_MAX 24
#define SOFT_MAX_HEADER_FIXES 16

/* A dword of configuration space that the driver sees otherwise than the device. */
struct soft_header_fix {
	uint16_t offset;
	uint32_t value;
};

/* Where page requests with a PASID (SOFT_RID_PASID: without) go. */
struct soft_fault_handler {
	uint32_t pasid;
	uint32_t dev_id;	  /* what the device is called there */
	struct soft_fault *fault; /* NULL: to nobody */
	bool is_nested;		  /* the HWPT that says so */
};

struct soft_vfio_file;
struct soft_partial_request;
struct soft_migration;

struct soft_device {
	struct soft_host *host;
	struct endpoint *ep;
	struct endpoint_bus bus;
	nst_rid rid;

	/* fixed when plugged in */
	uint16_t config_size;
	bool has_flr, has_ats, has_pri, pasid_exec, pasid_priv;
	uint16_t ats_cap, pri_cap, pasid_cap; /* 0 = not there */
	unsigned int max_pasid_lg2;	      /* 0 = no PASIDs */
	struct soft_header_fix fixes[SOFT_MAX_HEADER_FIXES];
	unsigned int num_fixes;

	struct mutex bind_lock;
	struct soft_vfio_file *owner GUARDED_BY(bind_lock);

	/* by soft_host.lock: */
	bool removed;	    /* nobody can open it any more */
	unsigned int opens; /* files of its cdev */

	struct mutex lock;
	bool pulled GUARDED_BY(lock);			       /* out of its slot: dead */
	uint8_t msi_shadow[SOFT_MSI_CAP_MAX] GUARDED_BY(lock); /* the MSI capability as seen */
	unsigned int msi_cap_size;
	struct soft_migration *migration; /* vfio.h, by lock; NULL: the endpoint cannot */

	/* by soft_host.fault_lock: */
	struct soft_fault_handler *handlers;
	size_t num_handlers, max_handlers;
	struct soft_partial_request *partials;
	struct soft_vdevice *vdevice; /* or NULL; changed with soft_ctx.lock held too */

	struct soft_irqs irqs;
	struct worker worker; /* started and ended by bind_lock */
};

/* Not plugged in yet: has no requester id. */
NST_MUST_CHECK int soft_device_create(struct soft_host *host, struct endpoint *ep,
				      struct soft_device **out);
void soft_device_destroy(struct soft_device *dev); /* and its endpoint */
/* Of the unit: the device @rid forgets translations, as endpoint_ops.ats_invalidate. */
void soft_ats_invalidate(struct soft_host *host, nst_rid rid, uint32_t pasid, uint64_t iova,
			 uint64_t last) EXCLUDES(&host->lock);
/* To power-on, then as the kernel leaves a device that it opens: decoding on, no bus master. */
void soft_device_power_on(struct soft_device *dev) EXCLUDES(&dev->lock);
/* It is out of its slot: after this it neither transfers nor interrupts. */
void soft_device_pull(struct soft_device *dev) EXCLUDES(&dev->lock);
/* Function-level reset that keeps what the driver wrote to configuration space. */
void soft_device_reset(struct soft_device *dev) REQUIRES(&dev->lock);

/* config.c: configuration space as vfio-pci shows it; @size 1, 2 or 4, aligned. */
void soft_config_init(struct soft_device *dev) EXCLUDES(&dev->lock);
void soft_config_reset(struct soft_device *dev) REQUIRES(&dev->lock);
void soft_config_read(struct soft_device *dev, unsigned int offset, void *buf, unsigned int size)
	REQUIRES(&dev->lock);
void soft_config_write(struct soft_device *dev, unsigned int offset, const void *buf,
		       unsigned int size) REQUIRES(&dev->lock);
bool soft_config_decodes_memory(struct soft_device *dev) REQUIRES(&dev->lock);
unsigned int soft_config_msi_vectors(const struct soft_device *dev);
unsigned int soft_config_msix_vectors(const struct soft_device *dev);
void soft_config_set_msix_enable(struct soft_device *dev, bool enable) REQUIRES(&dev->lock);

void soft_worker_init(struct soft_device *dev);
NST_MUST_CHECK int soft_worker_start(struct soft_device *dev) REQUIRES(&dev->bind_lock);
/* The device whose own thread this is, or NULL. */
struct soft_device *soft_worker_device(void);
/* On a synchronous host: do what was kicked. */
void soft_worker_run_pending(struct soft_device *dev) REQUIRES(&dev->lock);

NST_MUST_CHECK int soft_irqs_init(struct soft_irqs *irqs, unsigned int max);
void soft_irqs_fini(struct soft_irqs *irqs);
void soft_irqs_signal(struct soft_irqs *irqs, unsigned int vector);
void soft_irqs_request(struct soft_irqs *irqs); /* that the device be closed */
void soft_irqs_disable_all(struct soft_device *dev) EXCLUDES(&dev->lock);
bool soft_irqs_is_active(struct soft_irqs *irqs, int index);
uint32_t soft_irqs_count(const struct soft_device *dev, uint32_t index);
NST_MUST_CHECK int soft_vfio_set_irqs(struct soft_device *dev, void *arg) EXCLUDES(&dev->lock);

/* An open of a cdev. @bound and @ctx are set before @granted and then stay. */
struct soft_vfio_file {
	struct soft_file file;
	struct soft_device *dev;
	atomic_bool granted;
	struct soft_ctx *ctx;
	struct soft_bound *bound;
	/* by the device's lock: */
	bool low_power;
	int wake_fd; /* if low_power: to be signalled when it ends, or -1 */
};

/* One of the device's opens, counted by the caller, is the file's until that is released. */
NST_MUST_CHECK int soft_vfio_open(struct soft_device *dev, struct soft_file **out);
/* host.c: one open less. */
void soft_device_put(struct soft_device *dev) EXCLUDES(&dev->host->lock);
/* The device @file is a cdev of, or NULL. */
struct soft_device *soft_file_to_device(struct soft_file *file);
ssize_t soft_vfio_pread(struct soft_file *file, void *buf, size_t count, uint64_t offset);
ssize_t soft_vfio_pwrite(struct soft_file *file, const void *buf, size_t count, uint64_t offset);
NST_MUST_CHECK int soft_vfio_get_region_info(struct soft_device *dev, void *arg);

static inline struct soft_vfio_file *to_soft_vfio_file(struct soft_file *file)
{
	return container_of(file, struct soft_vfio_file, file);
}

#endif
