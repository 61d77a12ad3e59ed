// SPDX-License-Identifier: BSD-3-Clause
/* See vtd_feature.h. */
#include "cmd/vtd_feature.h"

#include "cmd/cmd.h"

#include <nestor/viommu.h>

#include <string.h>

static const struct {
	const char *name;
	unsigned int feature;
} features[] = {
	{ "second-stage", NST_VTD_SECOND_STAGE },
	{ "nested", NST_VTD_NESTED },
	{ "five-level", NST_VTD_FIVE_LEVEL },
	{ "no-caching-mode", NST_VTD_NO_CACHING_MODE },
};

int vtd_feature_take(const char *name, unsigned int *out)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (strcmp(name, features[i].name))
			continue;
		*out |= features[i].feature;
		return -1;
	}
	complain("--offer is second-stage, nested, five-level or no-caching-mode, not \"%s\"",
		 name);
	return EXIT_USAGE;
}
