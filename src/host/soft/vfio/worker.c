// SPDX-License-Identifier: BSD-3-Clause
/*
 * When endpoint run() is called. Normally on a thread of the device, which starts when
 * the device is bound for the first time; on a synchronous host at the end of the
 * register access that kicked, and never inside itself.
 */
#include "host/soft/vfio/device.h"

static _Thread_local struct soft_device *own_device;

struct soft_device *soft_worker_device(void)
{
	return own_device;
}

static void run_device(void *opaque)
{
	struct soft_device *dev = opaque;

	own_device = dev;
	dev->ep->ops->run(dev->ep);
}

void soft_worker_init(struct soft_device *dev)
{
	worker_init(&dev->worker, run_device, dev);
}

int soft_worker_start(struct soft_device *dev)
{
	return dev->host->synchronous || !dev->ep->ops->run ? 0 : worker_start(&dev->worker);
}

void soft_worker_run_pending(struct soft_device *dev)
{
	if (!dev->host->synchronous || !dev->ep->ops->run)
		return;
	while (worker_take(&dev->worker))
		dev->ep->ops->run(dev->ep);
}
