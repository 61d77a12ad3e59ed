// SPDX-License-Identifier: BSD-3-Clause
/* The replays of recordings, by the runner of the conformance suite. [GROUP] */
#include "../conformance/rig.h"

int main(int argc, char **argv)
{
	const struct rig_options rig = { .in_process = true, .iommu = "vtd" };
	const struct suite_options suite = { .group = argc > 1 ? argv[1] : NULL };

	return rig_init(&rig) ? 2 : suite_run(&suite);
}
