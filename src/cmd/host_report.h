/* SPDX-License-Identifier: BSD-3-Clause */
/* What the software host counted in a command: as a table for people, as JSON for programs. */
#ifndef CMD_HOST_REPORT_H
#define CMD_HOST_REPORT_H

#include "frontend/preload/session.h"

void host_report_print(const struct preload_session *session);
/* @status: of the command. 0, or a negative errno. */
int host_report_write(const struct preload_session *session, int status, const char *file);

#endif
