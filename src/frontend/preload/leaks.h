/* SPDX-License-Identifier: BSD-3-Clause */
/* The iommufd objects that the command still has at its end, by type, for the launcher's report. */
#ifndef FRONTEND_PRELOAD_LEAKS_H
#define FRONTEND_PRELOAD_LEAKS_H

#include "frontend/preload/session.h"

struct soft_host;

void leaks_count(struct soft_host *host, struct preload_session *session);

#endif
