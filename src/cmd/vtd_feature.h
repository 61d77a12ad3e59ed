/* SPDX-License-Identifier: BSD-3-Clause */
/* What --offer takes: a VT-d unit's offers to emulated devices, by name. */
#ifndef CMD_VTD_FEATURE_H
#define CMD_VTD_FEATURE_H

/* Add @name to @features, of enum nst_vtd_feature: -1, or EXIT_USAGE, the user having been told. */
int vtd_feature_take(const char *name, unsigned int *features);

#endif
