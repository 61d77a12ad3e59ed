// SPDX-License-Identifier: BSD-3-Clause
/*
 * When endpoint run() is called. Normally on a thread of the device, which starts when
 * the device is bound for the first time; on a synchronous host at the end of the
 * register access that kicked. A kick that comes while run() is busy makes it run once
 * more; run() never runs twice at a time and never inside itself.
 */
#include "host/soft/vfio/device.h"

#include <errno.h>
#include <signal.h>

void soft_worker_init(struct soft_worker *worker)
{
	mutex_init(&worker->lock);
	pthread_cond_init(&worker->wake, NULL);
}

static bool take_pending(struct soft_worker *worker) EXCLUDES(&worker->lock)
{
	bool pending;

	mutex_lock(&worker->lock);
	pending = worker->pending;
	worker->pending = false;
	mutex_unlock(&worker->lock);
	return pending;
}

/* Sleep until there is something to do; false: the end. */
static bool wait_for_kick(struct soft_worker *worker) EXCLUDES(&worker->lock)
{
	bool go_on;

	mutex_lock(&worker->lock);
	while (!worker->pending && !worker->stop)
		pthread_cond_wait(&worker->wake, &worker->lock.m);
	worker->pending = false;
	go_on = !worker->stop;
	mutex_unlock(&worker->lock);
	return go_on;
}

static _Thread_local struct soft_device *own_device;

struct soft_device *soft_worker_device(void)
{
	return own_device;
}

static void *worker_main(void *opaque)
{
	struct soft_device *dev = opaque;

	own_device = dev;
	while (wait_for_kick(&dev->worker))
		dev->ep->ops->run(dev->ep);
	return NULL;
}

/* The thread takes no signals: those are for the program we live in. */
int soft_worker_start(struct soft_device *dev)
{
	struct soft_worker *worker = &dev->worker;
	sigset_t all, old;
	int err;

	if (worker->started || dev->host->synchronous || !dev->ep->ops->run)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&worker->thread, NULL, worker_main, dev);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -ENOMEM;
	worker->started = true;
	return 0;
}

void soft_worker_fini(struct soft_worker *worker)
{
	mutex_lock(&worker->lock);
	worker->stop = true;
	pthread_cond_signal(&worker->wake);
	mutex_unlock(&worker->lock);
	if (worker->started)
		pthread_join(worker->thread, NULL);
	pthread_cond_destroy(&worker->wake);
	mutex_fini(&worker->lock);
}

void soft_worker_kick(struct soft_device *dev)
{
	struct soft_worker *worker = &dev->worker;

	mutex_lock(&worker->lock);
	worker->pending = true;
	pthread_cond_signal(&worker->wake);
	mutex_unlock(&worker->lock);
}

void soft_worker_run_pending(struct soft_device *dev)
{
	if (!dev->host->synchronous || !dev->ep->ops->run)
		return;
	while (take_pending(&dev->worker))
		dev->ep->ops->run(dev->ep);
}
