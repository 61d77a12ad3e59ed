/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host between a unit under test and the software host, which counts, watches and fails
 * calls. Each kind of unit has a struct rig of its own, with one of these in it.
 */
#ifndef TESTS_UNIT_RIG_HOST_H
#define TESTS_UNIT_RIG_HOST_H

#include "test.h"

#include "base/bits.h"
#include "base/lock.h"

#include <nestor/host.h>
#include <nestor/soft_host.h>

#include <linux/iommufd.h>
#include <stdbool.h>
#include <sys/types.h>

#define ok(call) assert_int_equal((call), 0)
#define err(code, call) assert_int_equal((call), -(code))

enum { RIG_MAX_REQUESTS = 32, RIG_MAX_IDS = 1 << 18 };

struct rig;

/*
 * Sees every ioctl before the software host does: 0 lets it pass, a negative errno is
 * returned instead, 1 answers "done" without doing it.
 */
typedef int rig_hook(struct rig *rig, unsigned long request, void *arg);

struct rig_host {
	struct nst_host base;
	struct nst_host *inner;
	struct rig *rig;
	rig_hook *hook;
	ssize_t (*read_hook)(struct rig *rig, void *buf, size_t count); /* in place of reading */
	struct mutex lock;
	struct {
		unsigned long request;
		unsigned int count;
	} calls[RIG_MAX_REQUESTS];
	unsigned int total;		/* ioctls and opens */
	/* the fail_nth-th call from now on fails with fail_errno; of fail_request if not 0 */
	unsigned int fail_nth;
	unsigned long fail_request, failed_request;
	int fail_errno;
	bool fail_all;			/* and all later ones of that request too */
	int open_fds;
	unsigned int failed_destroys;
	int live_objects;			/* made and not destroyed, by IOMMU_DESTROY */
	int live_reporting;			/* the same of vIOMMUs and what is in them */
	bool is_reporting[RIG_MAX_IDS];		/* by id */
};

void rig_host_init(struct rig_host *h, struct rig *rig, const struct nst_soft_config *soft);
void rig_host_fini(struct rig_host *h);

/* Objects of both kinds. */
static inline int rig_host_objects(const struct rig_host *h)
{
	return h->live_objects + h->live_reporting;
}

unsigned int rig_calls(struct rig_host *h, unsigned long request);
void rig_fail(struct rig_host *h, unsigned long request, unsigned int nth, int errnum);
void rig_fail_from_now_on(struct rig_host *h, unsigned long request, int errnum);
void rig_fail_stop(struct rig_host *h);

#endif
