// SPDX-License-Identifier: BSD-3-Clause
/*
 * put_unit IN OUT BASE WINDOW RID...: what a VMM does with its own device tree, here with QEMU's of
 * the machine virt. The unit's registers are in a PCI function, so the addresses of functions are
 * to stay as firmware has them. WINDOW is the size of one from 0x8000000 on, or 0.
 */
#include <nestor/firmware.h>

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 1 << 20, MAX_RIDS = 16 };

static char from[ROOM], tree[ROOM];

static int put(uint64_t base, uint64_t window_size, const struct nst_rid_range *rids,
	       size_t num_rids)
{
	const struct nst_gpa_range window = { 0x8000000, window_size };
	const struct nst_firmware_smmuv3 unit = {
		.base = base,
		.coherent = true,
		.has_msis = true, /* QEMU gives our DMA messages the id 0 */
		.rids = rids,
		.num_rids = num_rids,
		.windows = &window,
		.num_windows = window_size ? 1 : 0,
	};
	struct nst_fdt_place place = { .bridge = "/pcie@10000000", .ats = true };
	int its = fdt_path_offset(tree, "/intc@8000000/its@8080000");

	place.its = its < 0 ? 0 : fdt_get_phandle(tree, its);
	if (fdt_setprop_u32(tree, fdt_path_offset(tree, place.bridge), "linux,pci-probe-only", 1))
		return -1;
	return nst_fdt_add_smmuv3(tree, &place, &unit, NULL);
}

int main(int argc, char **argv)
{
	struct nst_rid_range rids[MAX_RIDS];
	size_t num_rids = 0;
	FILE *file;
	int ret;

	if (argc < 5 || argc > 5 + MAX_RIDS)
		return 2;
	for (int i = 5; i < argc; i++, num_rids++)
		rids[num_rids].first = rids[num_rids].last = (nst_rid)strtoul(argv[i], NULL, 0);
	file = fopen(argv[1], "r");
	if (!file || !fread(from, 1, sizeof(from), file) || fclose(file) ||
	    fdt_open_into(from, tree, sizeof(tree)))
		return 2;
	ret = put(strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0), rids, num_rids);
	if (ret) {
		fprintf(stderr, "put_unit: %s\n", strerror(-ret));
		return 1;
	}
	fdt_pack(tree);
	file = fopen(argv[2], "w");
	return !file || fwrite(tree, fdt_totalsize(tree), 1, file) != 1 || fclose(file) ? 2 : 0;
}
