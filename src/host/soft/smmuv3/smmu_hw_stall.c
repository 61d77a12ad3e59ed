// SPDX-License-Identifier: BSD-3-Clause
/*
 * Transactions that stall: SMMUv3 IHI0070G.b s3.12.2 Stall model. The thread that brought one
 * gives out its event record and waits, with no lock held, until software has answered.
 *
 *	        the fault                  CMD_RESUME, CMD_STALL_TERM
 *	STAG free -----> taken, waited for ----------------------------> free
 *	                        |                                         ^
 *	                        | may_stall(false)                        |
 *	                        +-----------> taken, by nobody -----------+
 *
 * So a STAG names one transaction until it is answered, even if its device has given it up: an
 * answer never meets another one. What finds no STAG, or may not wait, is terminated at once,
 * which s3.12 Fault models leaves to the unit, with a record that says so (Stall = 0).
 */
#include "host/soft/smmuv3/smmu_hw_impl.h"

static bool is_stopped(const struct smmu_hw *hw, nst_rid sid) REQUIRES(hw->stall_lock)
{
	return hw->no_stalls[sid / 64] & BIT64(sid % 64);
}

/* Software has answered, or nobody wants to know: @stalled waits no longer. */
static void wake(struct smmu_stalled *stalled, bool retry)
{
	if (stalled->wait)
		*stalled->wait = (struct smmu_wait){ .over = true, .retry = retry };
	stalled->wait = NULL;
}

enum { NO_STAG = SMMU_HW_STALL_MAX };

/* The lowest that is free, if the stream may have one more, or NO_STAG. */
static unsigned int take_stag(struct smmu_hw *hw, nst_rid sid, struct smmu_wait *wait)
{
	unsigned int of_stream = 0, stag = NO_STAG;

	mutex_lock(&hw->stall_lock);
	for (unsigned int i = 0; i < SMMU_HW_STALL_MAX; i++) {
		const struct smmu_stalled *stalled = &hw->stalled[i];

		of_stream += stalled->taken && stalled->sid == sid;
		if (!stalled->taken)
			stag = MIN(stag, i);
	}
	if (of_stream >= SMMU_STREAM_STALL_MAX || is_stopped(hw, sid))
		stag = NO_STAG;
	if (stag != NO_STAG)
		hw->stalled[stag] = (struct smmu_stalled){ true, sid, wait };
	mutex_unlock(&hw->stall_lock);
	return stag;
}

static bool can_stall(struct smmu_hw *hw, nst_rid sid, const struct smmu_fault *fault)
{
	const struct smmu_hw_ops *ops = hw->config.ops;

	return fault->may_stall && ops->event && ops->may_stall &&
	       ops->may_stall(hw->config.opaque, sid);
}

bool smmu_stall(struct smmu_hw *hw, const struct smmu_access *a, struct smmu_fault *fault)
{
	struct smmu_wait wait = { 0 };
	struct smmu_event event;
	unsigned int stag;

	stag = can_stall(hw, a->sid, fault) ? take_stag(hw, a->sid, &wait) : NO_STAG;
	if (stag == NO_STAG)
		return false;
	event = smmu_make_event(a, fault);
	event.qw[1].raw |= le64_make(SMMU_EVENT_1_STALL | FIELD_PREP(SMMU_EVENT_1_STAG, stag)).raw;
	hw->config.ops->event(hw->config.opaque, a->sid, &event);
	mutex_lock(&hw->stall_lock);
	while (!wait.over)
		pthread_cond_wait(&hw->resumed, &hw->stall_lock.m);
	mutex_unlock(&hw->stall_lock);
	if (wait.retry)
		*fault = (struct smmu_fault){ 0 };
	else
		fault->silent = true;
	return wait.retry;
}

/* s4.7.1: without effect if the STAG is not this stream's. */
void smmu_resume(struct smmu_hw *hw, uint64_t sid, unsigned int stag, bool retry)
{
	struct smmu_stalled *stalled = &hw->stalled[stag % SMMU_HW_STALL_MAX];

	mutex_lock(&hw->stall_lock);
	if (stag < SMMU_HW_STALL_MAX && stalled->taken && stalled->sid == sid) {
		wake(stalled, retry);
		stalled->taken = false;
		pthread_cond_broadcast(&hw->resumed);
	}
	mutex_unlock(&hw->stall_lock);
}

/* Terminate what waits of @sid; with @answered its STAGs are free again. */
static void terminate(struct smmu_hw *hw, uint64_t sid, bool answered) REQUIRES(hw->stall_lock)
{
	for (unsigned int i = 0; i < SMMU_HW_STALL_MAX; i++) {
		struct smmu_stalled *stalled = &hw->stalled[i];

		if (!stalled->taken || stalled->sid != sid)
			continue;
		wake(stalled, false);
		stalled->taken = !answered;
	}
	pthread_cond_broadcast(&hw->resumed);
}

void smmu_stall_term(struct smmu_hw *hw, uint64_t sid)
{
	mutex_lock(&hw->stall_lock);
	terminate(hw, sid, true);
	mutex_unlock(&hw->stall_lock);
}

void smmu_hw_may_stall(struct smmu_hw *hw, nst_rid sid, bool may)
{
	mutex_lock(&hw->stall_lock);
	if (may) {
		hw->no_stalls[sid / 64] &= ~BIT64(sid % 64);
	} else {
		hw->no_stalls[sid / 64] |= BIT64(sid % 64);
		terminate(hw, sid, false);
	}
	mutex_unlock(&hw->stall_lock);
}
