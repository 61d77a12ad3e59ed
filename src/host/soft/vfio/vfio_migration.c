// SPDX-License-Identifier: BSD-3-Clause
/*
 * The states of a device that can migrate, and the arcs between them:
 *
 *	RUNNING <--> RUNNING_P2P <--> STOP <--> STOP_COPY	reading the state
 *	   ^             ^              ^           ^
 *	   v             v              v           |
 *	PRE_COPY <-> PRE_COPY_P2P   RESUMING        |		writing it
 *	                 \--------------------------/
 *
 * A caller names the state it wants; the way there is one of these arcs after another. The
 * endpoint is suspended in all states but RUNNING and PRE_COPY: the _P2P states, in which a
 * device must not reach for others, are here as quiet as STOP. Only in the two copying
 * states and in RESUMING is there a data file. ERROR is in the table, but no failure here
 * leaves a device so that a reset is the only way on: it stays where it had got to.
 *
 * Source: Linux 7.2 include/uapi/linux/vfio.h and drivers/vfio/vfio_main.c.
 */
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include <errno.h>

/* --- the way ------------------------------------------------------------------------------- */

enum {
	E = VFIO_DEVICE_STATE_ERROR,
	S = VFIO_DEVICE_STATE_STOP,
	R = VFIO_DEVICE_STATE_RUNNING,
	C = VFIO_DEVICE_STATE_STOP_COPY,
	I = VFIO_DEVICE_STATE_RESUMING,
	RP = VFIO_DEVICE_STATE_RUNNING_P2P,
	P = VFIO_DEVICE_STATE_PRE_COPY,
	PP = VFIO_DEVICE_STATE_PRE_COPY_P2P,
};

/* [from][to]: the first step. */
static const uint8_t way[VFIO_DEVICE_STATE_NR][VFIO_DEVICE_STATE_NR] = {
	/* clang-format off */
	/* to:   E  S   R   C   I   RP  P   PP */
	[E]  = {  E, E,  E,  E,  E,  E,  E,  E  },
	[S]  = {  E, S,  RP, C,  I,  RP, RP, RP },
	[R]  = {  E, RP, R,  RP, RP, RP, P,  RP },
	[C]  = {  E, S,  S,  C,  S,  S,  E,  E  },
	[I]  = {  E, S,  S,  S,  I,  S,  S,  S  },
	[RP] = {  E, S,  R,  S,  S,  RP, R,  PP },
	[P]  = {  E, R,  R,  PP, R,  R,  P,  PP },
	[PP] = {  E, RP, RP, C,  RP, RP, P,  PP },
	/* clang-format on */
};

bool soft_migration_next(uint32_t from, uint32_t to, uint32_t *next)
{
	if (from >= VFIO_DEVICE_STATE_NR || to >= VFIO_DEVICE_STATE_NR || way[from][to] == E)
		return false;
	*next = way[from][to];
	return true;
}

/* --- the arcs ------------------------------------------------------------------------------ */

static void suspend(struct soft_device *dev)
{
	dev->ep->ops->migration->suspend(dev->ep);
}

static int resume(struct soft_device *dev)
{
	return dev->ep->ops->migration->resume(dev->ep);
}

static void end_transfer(struct soft_migration *mig)
{
	if (!mig->file)
		return;
	soft_migration_file_disable(mig->file);
	soft_migration_file_put(mig->file);
	mig->file = NULL;
}

static int begin_transfer(struct soft_device *dev, bool saving, struct soft_migration_file **file)
	REQUIRES(&dev->lock)
{
	struct soft_migration *mig = dev->migration;
	int err = soft_migration_file_create(dev, saving, &mig->file);

	if (!err)
		*file = soft_migration_file_hold(mig->file);
	return err;
}

static int copy_from_stop(struct soft_device *dev, struct soft_migration_file **file)
	REQUIRES(&dev->lock)
{
	int err = begin_transfer(dev, true, file);

	if (err)
		return err;
	err = soft_migration_file_finish(dev->migration->file, dev);
	if (!err)
		return 0;
	end_transfer(dev->migration);
	soft_migration_file_put(*file);
	*file = NULL;
	return err;
}

static int take_state(struct soft_device *dev) REQUIRES(&dev->lock)
{
	int err = soft_migration_file_load(dev->migration->file, dev);

	if (!err)
		end_transfer(dev->migration);
	return err;
}

#define ARC(from, to) ((from)*VFIO_DEVICE_STATE_NR + (to))

static int go(struct soft_device *dev, uint32_t from, uint32_t to,
	      struct soft_migration_file **file) REQUIRES(&dev->lock)
{
	switch (ARC(from, to)) {
	case ARC(PP, C):
		return soft_migration_file_finish(dev->migration->file, dev);
	case ARC(S, C):
		return copy_from_stop(dev, file);
	case ARC(R, P):
	case ARC(RP, PP):
		return begin_transfer(dev, true, file);
	case ARC(S, I):
		return begin_transfer(dev, false, file);
	case ARC(I, S):
		return take_state(dev);
	case ARC(C, S):
	case ARC(P, R):
	case ARC(PP, RP):
		end_transfer(dev->migration);
		return 0;
	case ARC(R, RP):
	case ARC(P, PP):
		suspend(dev);
		return 0;
	case ARC(RP, R):
	case ARC(PP, P):
		return resume(dev);
	default: /* between RUNNING_P2P and STOP: suspended already, and still */
		return 0;
	}
}

int soft_migration_set(struct soft_device *dev, uint32_t state, struct soft_migration_file **file)
{
	struct soft_migration *mig = dev->migration;
	uint32_t next;
	int err = 0;

	*file = NULL;
	while (!err && mig->state != state) {
		if (!soft_migration_next(mig->state, state, &next))
			return -EINVAL;
		err = go(dev, mig->state, next, file);
		log_debug(dev->host->log, "soft: migration state %u to %u: %d", mig->state, next,
			  err);
		if (!err)
			mig->state = next;
	}
	soft_worker_run_pending(dev);
	return err;
}

void soft_migration_reset(struct soft_device *dev)
{
	if (!dev->migration)
		return;
	end_transfer(dev->migration);
	dev->migration->state = VFIO_DEVICE_STATE_RUNNING;
}
