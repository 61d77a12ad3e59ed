// SPDX-License-Identifier: BSD-3-Clause
/*
 * Units in a device tree like that of QEMU's virt: against dtc, which decompiles it and checks it,
 * against a reader of its own that follows every requester id the way an operating system does, and
 * with every size of tree that is too small.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/bits.h"

#include <nestor/firmware.h>

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { GIC = 0x8002, ITS = 0x8003, ROOM = 16384 };

#define BRIDGE "/pcie@10000000"

static const struct nst_rid_range rids[] = { { 0x200, 0x2ff }, { 0x10, 0x1f } };
static const struct nst_fdt_place at_bridge = { .bridge = BRIDGE, .its = ITS };

static struct nst_firmware_smmuv3 make_unit(void)
{
	return (struct nst_firmware_smmuv3){
		.base = 0x9050000,
		.coherent = true,
		.has_msis = true,
		.msi_device_id = 7,
		.rids = rids,
		.num_rids = 2,
	};
}

static void prop_cells(void *fdt, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t value[16];

	for (size_t i = 0; i < n; i++)
		value[i] = cpu_to_fdt32(cells[i]);
	assert_int_equal(fdt_property(fdt, name, value, (int)(n * sizeof(*value))), 0);
}
#define CELLS(fdt, name, ...)                                                                      \
	prop_cells(fdt, name, (uint32_t[]){ __VA_ARGS__ },                                         \
		   sizeof((uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

/* Into @tree of ROOM bytes; as small as it can be. */
static void make_tree(void *tree, unsigned int gic_cells, unsigned int msi_cells)
{
	assert_int_equal(fdt_create(tree, ROOM), 0);
	assert_int_equal(fdt_finish_reservemap(tree), 0);
	fdt_begin_node(tree, "");
	CELLS(tree, "#address-cells", 2);
	CELLS(tree, "#size-cells", 2);
	CELLS(tree, "interrupt-parent", GIC);
	fdt_begin_node(tree, "intc@8000000");
	CELLS(tree, "phandle", GIC);
	fdt_property(tree, "interrupt-controller", NULL, 0);
	CELLS(tree, "#interrupt-cells", gic_cells);
	CELLS(tree, "#address-cells", 2);
	CELLS(tree, "#size-cells", 2);
	fdt_property(tree, "ranges", NULL, 0);
	CELLS(tree, "reg", 0, 0x8000000, 0, 0x10000);
	fdt_begin_node(tree, "msi-controller@8080000");
	CELLS(tree, "phandle", ITS);
	fdt_property(tree, "msi-controller", NULL, 0);
	CELLS(tree, "#msi-cells", msi_cells);
	CELLS(tree, "reg", 0, 0x8080000, 0, 0x20000);
	fdt_end_node(tree);
	fdt_end_node(tree);
	fdt_begin_node(tree, "pcie@10000000");
	CELLS(tree, "msi-map", 0, ITS, 0, 0x10000);
	CELLS(tree, "reg", 0x40, 0x10000000, 0, 0x10000000);
	CELLS(tree, "ranges", 0x2000000, 0, 0x10000000, 0, 0x10000000, 0, 0x2eff0000);
	CELLS(tree, "bus-range", 0, 0xff);
	CELLS(tree, "#address-cells", 3);
	CELLS(tree, "#size-cells", 2);
	fdt_property_string(tree, "device_type", "pci");
	fdt_end_node(tree);
	fdt_end_node(tree);
	assert_int_equal(fdt_finish(tree), 0);
}

/* One with room. */
static void *new_tree(void)
{
	void *tree = calloc(1, ROOM);

	make_tree(tree, 3, 1);
	assert_int_equal(fdt_open_into(tree, tree, ROOM), 0);
	return tree;
}

/* ---- by dtc */

static char text[65536];

/* What dtc makes of @tree, and complains of. */
static void decompile(const void *tree)
{
	char path[] = "/tmp/nestor-dtc-XXXXXX", command[64];
	int fd = mkstemp(path), ret;
	FILE *dtc;
	size_t n;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, tree, fdt_totalsize(tree)), fdt_totalsize(tree));
	close(fd);
	snprintf(command, sizeof(command), "dtc -I dtb -O dts %s 2>&1", path);
	dtc = popen(command, "r");
	assert_non_null(dtc);
	n = fread(text, 1, sizeof(text) - 1, dtc);
	text[n] = 0;
	ret = pclose(dtc);
	if (ret)
		print_error("%s\n", text);
	assert_int_equal(ret, 0);
	unlink(path);
	if (strstr(text, "Warning"))
		print_error("%s\n", text);
	assert_null(strstr(text, "Warning"));
	assert_null(strstr(text, "ERROR"));
}

/* The lines of the node called @name, as dtc writes them. */
static void assert_node(const char *name, const char *lines)
{
	const char *at = strstr(text, name);
	char expected[2048];

	snprintf(expected, sizeof(expected), "%s {\n%s", name, lines);
	assert_non_null(at);
	if (strncmp(at, expected, strlen(expected)) != 0)
		print_error("%.800s\nexpected:\n%s\n", at, expected);
	assert_int_equal(strncmp(at, expected, strlen(expected)), 0);
}

static void dtc_reads_a_unit_with_msis(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	uint32_t phandle = 0;
	void *tree = new_tree();

	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, &phandle), 0);
	assert_int_equal(phandle, 0x8004);
	decompile(tree);
	free(tree);
	assert_node("iommu@9050000", "\t\tmsi-parent = <0x8003 0x07>;\n"
				     "\t\tphandle = <0x8004>;\n"
				     "\t\tdma-coherent;\n"
				     "\t\t#iommu-cells = <0x01>;\n"
				     "\t\treg = <0x00 0x9050000 0x00 0x20000>;\n"
				     "\t\tcompatible = \"arm,smmu-v3\";\n"
				     "\t};\n");
	assert_node("pcie@10000000", "\t\tiommu-map = <0x200 0x8004 0x200 0x100 0x10 0x8004 0x10 0x10>;\n"
				     "\t\tmsi-map = <0x00 0x8003 0x00 0x10000>;\n");
}

static void dtc_reads_wired_interrupts(void **state)
{
	static const char *const wires[] = {
		"interrupts = <0x00 0x4a 0x01 0x00 0x4d 0x01>;\n",
		"interrupts = <0x00 0x4a 0x01 0x00 0x4d 0x01 0x00 0x4b 0x01>;\n",
		"interrupts = <0x00 0x4a 0x01 0x00 0x4d 0x01 0x00 0x4b 0x01 0x00 0x4c 0x01>;\n",
	};
	static const char *const names[] = {
		"interrupt-names = \"eventq\\0gerror\";\n",
		"interrupt-names = \"eventq\\0gerror\\0priq\";\n",
		"interrupt-names = \"eventq\\0gerror\\0priq\\0cmdq-sync\";\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wires); i++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		struct nst_fdt_place place = at_bridge;
		void *tree = new_tree();

		unit.has_msis = unit.coherent = false;
		unit.event_gsiv = 106;
		unit.gerror_gsiv = 109;
		unit.pri_gsiv = i > 0 ? 107 : 0;
		unit.sync_gsiv = i > 1 ? 108 : 0;
		place.ats = i == 1;
		place.gic = i == 2 ? GIC : 0;
		place.phandle = 0x77;
		assert_int_equal(nst_fdt_add_smmuv3(tree, &place, &unit, NULL), 0);
		decompile(tree);
		free(tree);
		assert_non_null(strstr(text, wires[i]));
		assert_non_null(strstr(text, names[i]));
		assert_non_null(strstr(text, "iommu-map = <0x200 0x77 0x200 0x100 0x10 0x77"));
		assert_null(strstr(text, "dma-coherent"));
		assert_null(strstr(text, "msi-parent"));
		assert_int_equal(!!strstr(text, "ats-supported;"), i == 1);
		assert_int_equal(!!strstr(text, "interrupt-parent = <0x8002>;\n\t\tphandle = <0x77>"), i == 2);
	}
}

static void dtc_reads_windows(void **state)
{
	static const struct nst_rid_range device[] = { { 0x10, 0x10 }, { 0x1b, 0x1b } };
	static const struct nst_gpa_range windows[] = { { 0x8000000, 0x100000 },
							      { 0x1200000000, 0x10000 } };
	struct nst_firmware_smmuv3 unit = make_unit();
	void *tree = new_tree();

	unit.rids = device;
	unit.windows = windows;
	unit.num_windows = 2;
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
	decompile(tree);
	assert_node("device@2", "\t\t\tmemory-region = <0x8006 0x8007>;\n"
				  "\t\t\tphandle = <0x8005>;\n"
				  "\t\t\treg = <0x1000 0x00 0x00 0x00 0x00>;\n");
	assert_node("device@3,3", "\t\t\tmemory-region = <0x8006 0x8007>;\n"
				    "\t\t\tphandle = <0x8008>;\n"
				    "\t\t\treg = <0x1b00 0x00 0x00 0x00 0x00>;\n");
	assert_node("reserved-memory", "\t\t#address-cells = <0x02>;\n"
				       "\t\t#size-cells = <0x02>;\n"
				       "\t\tranges;\n");
	assert_node("iommu-window@8000000",
		    "\t\t\tiommu-addresses = <0x8005 0x2000000 0x00 0x8000000 0x00 0x100000 "
		    "0x8008 0x2000000 0x00 0x8000000 0x00 0x100000>;\n"
		    "\t\t\tphandle = <0x8006>;\n"
		    "\t\t\treg = <0x00 0x8000000 0x00 0x100000>;\n"
		    "\t\t\tno-map;\n");
	assert_node("iommu-window@1200000000",
		    "\t\t\tiommu-addresses = <0x8005 0x3000000 0x12 0x00 0x00 0x10000 "
		    "0x8008 0x3000000 0x12 0x00 0x00 0x10000>;\n");
	free(tree);
}

/* ---- by a reader */

/* As an operating system looks up a requester: the phandle of its unit and its stream id; 0: none. */
static uint32_t follow(const void *tree, uint32_t rid, uint32_t *sid)
{
	int size;
	const fdt32_t *map = fdt_getprop(tree, fdt_path_offset(tree, BRIDGE), "iommu-map", &size);
	uint32_t found = 0;

	for (const fdt32_t *m = map; m && m < map + size / 4; m += 4) {
		uint32_t first = fdt32_to_cpu(m[0]), count = fdt32_to_cpu(m[3]);

		if (rid < first || rid - first >= count)
			continue;
		assert_int_equal(found, 0);
		found = fdt32_to_cpu(m[1]);
		*sid = fdt32_to_cpu(m[2]) + rid - first;
	}
	return found;
}

enum { UNITS = 3, RANGES = 6 };

static void every_requester_gets_where_it_should(void **state)
{
	uint64_t seed = 3;

	for (int round = 0; round < 20; round++) {
		struct nst_rid_range ranges[UNITS][RANGES];
		struct nst_firmware_smmuv3 units[UNITS];
		uint32_t phandles[UNITS], next = test_random(&seed) % 3, owner[0x10000] = { 0 };
		void *tree = new_tree();

		for (size_t u = 0; u < UNITS; u++) {
			units[u] = make_unit();
			units[u].base = 0x10000000 + u * 0x20000;
			units[u].rids = ranges[u];
			units[u].num_rids = 0;
		}
		for (size_t i = 0; i < UNITS * RANGES && next <= 0xffff; i++) {
			struct nst_firmware_smmuv3 *unit = &units[i % UNITS];
			uint32_t last = next + (uint32_t)(test_random(&seed) % 0x2000);

			last = MIN(last, 0xffff);
			ranges[i % UNITS][unit->num_rids++] =
				(struct nst_rid_range){ (nst_rid)next, (nst_rid)last };
			for (uint32_t rid = next; rid <= last; rid++)
				owner[rid] = 1 + i % UNITS;
			next = last + 1 + (test_random(&seed) & 1 ? 0 : test_random(&seed) % 0x100);
		}
		for (size_t u = 0; u < UNITS; u++)
			assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &units[u], &phandles[u]), 0);
		assert_int_not_equal(phandles[0], phandles[1]);
		for (uint32_t rid = 0; rid <= 0xffff; rid++) {
			uint32_t sid = 0, unit = follow(tree, rid, &sid);

			assert_int_equal(unit, owner[rid] ? phandles[owner[rid] - 1] : 0);
			if (unit)
				assert_int_equal(sid, rid);
		}
		free(tree);
	}
}

/* ---- limits */

struct limit {
	const char *what;
	void (*change)(void *tree, struct nst_fdt_place *place, struct nst_firmware_smmuv3 *unit);
	int ret;
};

static const struct nst_rid_range overlap[] = { { 0x10, 0x1f }, { 0x1f, 0x20 } };
static const struct nst_rid_range overlap_below[] = { { 0x20, 0x2f }, { 0x10, 0x20 } };
static const struct nst_rid_range beside[] = { { 0x10, 0x1f }, { 0x20, 0x20 } };
static const struct nst_rid_range backwards = { 2, 1 };
static const struct nst_rid_range device = { 0x10, 0x10 }, far_device = { 0x110, 0x110 };
static const struct nst_gpa_range window = { 0x8000000, 0x100000 };
static const struct nst_gpa_range odd_base = { 0x8001000, 0x10000 };
static const struct nst_gpa_range odd_size = { 0x8000000, 0x1000 };
static const struct nst_gpa_range empty = { 0x8000000, 0 };
static const struct nst_gpa_range wraps = { -0x10000ULL, 0x20000 };

#define CHANGE(name, statement)                                                                    \
	static void name(void *tree, struct nst_fdt_place *place,                                  \
			 struct nst_firmware_smmuv3 *unit)                                         \
	{                                                                                          \
		statement;                                                                         \
	}
static void set_wires(struct nst_firmware_smmuv3 *unit, uint32_t event, uint32_t gerror, uint32_t pri,
		      uint32_t sync)
{
	unit->event_gsiv = event;
	unit->gerror_gsiv = gerror;
	unit->pri_gsiv = pri;
	unit->sync_gsiv = sync;
}

static void set_window(struct nst_firmware_smmuv3 *unit, const struct nst_gpa_range *w,
		       const struct nst_rid_range *d)
{
	unit->rids = d;
	unit->num_rids = 1;
	unit->windows = w;
	unit->num_windows = 1;
}

#define RIDS(array) (unit->rids = (array), unit->num_rids = ARRAY_SIZE(array))
CHANGE(nothing, )
CHANGE(odd_unit, unit->base |= 0x8000)
CHANGE(no_rids, unit->num_rids = 0)
CHANGE(rid_backwards, (unit->rids = &backwards, unit->num_rids = 1))
CHANGE(rid_overlap, RIDS(overlap))
CHANGE(rid_overlap_below, RIDS(overlap_below))
CHANGE(rid_beside, RIDS(beside))
CHANGE(rid_wrap, unit->num_rids = SIZE_MAX / 2)
CHANGE(one_wire, set_wires(unit, 106, 0, 0, 0))
CHANGE(hole, set_wires(unit, 106, 107, 0, 108))
CHANGE(first_hole, set_wires(unit, 106, 0, 107, 0))
CHANGE(low_wire, set_wires(unit, 31, 107, 0, 0))
CHANGE(first_wire, set_wires(unit, 32, 1019, 0, 0))
CHANGE(high_wire, set_wires(unit, 32, 1020, 0, 0))
CHANGE(no_bridge, place->bridge = "/pcie@20000000")
CHANGE(bad_bridge, place->bridge = "pcie")
CHANGE(wrong_bridge, place->bridge = "/intc@8000000")
CHANGE(no_its, place->its = 0)
CHANGE(wrong_its, place->its = GIC)
CHANGE(missing_its, place->its = 0x9999)
CHANGE(wrong_gic, (set_wires(unit, 106, 107, 0, 0), place->gic = ITS))
CHANGE(missing_gic, (set_wires(unit, 106, 107, 0, 0), place->gic = 0x9999))
CHANGE(taken_phandle, place->phandle = ITS)
CHANGE(bad_phandle, place->phandle = ~0u)
CHANGE(node_there, fdt_add_subnode(tree, 0, "iommu@9050000"))
CHANGE(bad_map, fdt_setprop_u32(tree, fdt_path_offset(tree, BRIDGE), "iommu-map", 1))
CHANGE(narrow_root, fdt_setprop_u32(tree, 0, "#address-cells", 1); unit->base = 1ULL << 32)
CHANGE(window_base, set_window(unit, &odd_base, &device))
CHANGE(window_size, set_window(unit, &odd_size, &device))
CHANGE(window_empty, set_window(unit, &empty, &device))
CHANGE(window_wraps, set_window(unit, &wraps, &device))
CHANGE(window_bus, set_window(unit, &window, &far_device))
CHANGE(window_range, set_window(unit, &window, &rids[1]))
CHANGE(window_without_reg,
       set_window(unit, &window, &device);
       fdt_add_subnode(tree, fdt_add_subnode(tree, 0, "reserved-memory"), "iommu-window@8000000"))
CHANGE(no_end, ((char *)tree)[fdt_off_dt_struct(tree) + fdt_size_dt_struct(tree) - 1] = 4)
CHANGE(window_fits, set_window(unit, &window, &device))

static void limits(void **state)
{
	static const struct limit rows[] = {
		{ "nothing", nothing, 0 },
		{ "a unit between 64 KiB pages", odd_unit, -EINVAL },
		{ "no requesters", no_rids, 0 },
		{ "a range that ends before it begins", rid_backwards, -EINVAL },
		{ "ranges with one requester in common", rid_overlap, -EEXIST },
		{ "the other way round", rid_overlap_below, -EEXIST },
		{ "ranges beside each other", rid_beside, 0 },
		{ "ranges without number", rid_wrap, -EINVAL },
		{ "one wire", one_wire, -EINVAL },
		{ "wires with a hole", hole, -EINVAL },
		{ "with an earlier one", first_hole, -EINVAL },
		{ "a wire below the first", low_wire, -EINVAL },
		{ "the first wire and the last", first_wire, 0 },
		{ "a wire above the last", high_wire, -EINVAL },
		{ "no bridge", no_bridge, -ENOENT },
		{ "a bridge that is no path", bad_bridge, -ENOENT },
		{ "a bridge that is none", wrong_bridge, -EINVAL },
		{ "no ITS", no_its, -ENOENT },
		{ "an ITS that is none", wrong_its, -EINVAL },
		{ "an ITS that is not there", missing_its, -ENOENT },
		{ "a GIC that is none", wrong_gic, -EINVAL },
		{ "a GIC that is not there", missing_gic, -ENOENT },
		{ "a phandle that is taken", taken_phandle, -EEXIST },
		{ "a phandle that is none", bad_phandle, -EINVAL },
		{ "a node that is there", node_there, -EEXIST },
		{ "a map that is none", bad_map, -EINVAL },
		{ "an address that the root has no cells for", narrow_root, -EINVAL },
		{ "a window between 64 KiB pages", window_base, -EINVAL },
		{ "with an odd end", window_size, -EINVAL },
		{ "of nothing", window_empty, -EINVAL },
		{ "beyond the last address", window_wraps, -EINVAL },
		{ "of a device on another bus", window_bus, -EOPNOTSUPP },
		{ "of many devices", window_range, -EOPNOTSUPP },
		{ "whose node has no size", window_without_reg, -EEXIST },
		{ "a tree without end", no_end, -EINVAL },
		{ "of one device", window_fits, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		struct nst_fdt_place place = at_bridge;
		void *tree = new_tree(), *before = malloc(ROOM);
		uint32_t phandle = 77;
		int ret;

		rows[i].change(tree, &place, &unit);
		memcpy(before, tree, ROOM);
		ret = nst_fdt_add_smmuv3(tree, &place, &unit, &phandle);
		if (ret != rows[i].ret)
			print_error("%s: %d\n", rows[i].what, ret);
		assert_int_equal(ret, rows[i].ret);
		if (ret) {
			assert_memory_equal(tree, before, ROOM);
			assert_int_equal(phandle, 77);
		}
		free(tree);
		free(before);
	}
}

/* An ITS that takes no device id, and GICs of other cells than three. */
static void cells_of_controllers(void **state)
{
	static const struct {
		unsigned int gic, msi;
		int wired, msis;
	} rows[] = { { 3, 0, 0, -EINVAL }, { 2, 1, -EINVAL, 0 }, { 4, 2, 0, -EINVAL }, { 4, 1, 0, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nst_firmware_smmuv3 unit = make_unit(), wired = unit;
		void *tree = calloc(1, ROOM);
		int size;

		make_tree(tree, rows[i].gic, rows[i].msi);
		assert_int_equal(fdt_open_into(tree, tree, ROOM), 0);
		unit.num_rids = 0;
		unit.base += 0x20000;
		assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), rows[i].msis);
		wired.has_msis = false;
		wired.event_gsiv = 106;
		wired.gerror_gsiv = 107;
		assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &wired, NULL), rows[i].wired);
		if (!rows[i].wired)
			assert_non_null(fdt_getprop(tree, fdt_path_offset(tree, "/iommu@9050000"),
						    "interrupts", &size));
		if (!rows[i].wired)
			assert_int_equal(size, 2 * 4 * rows[i].gic);
		free(tree);
	}
}

/* A window that is there already: of the same size for one device more, of another not. */
static void windows_of_two_units(void **state)
{
	static const struct nst_rid_range two = { 0x18, 0x18 };
	static const struct nst_gpa_range larger = { 0x8000000, 0x200000 };
	struct nst_firmware_smmuv3 unit = make_unit();
	void *tree = new_tree();
	int size;

	set_window(&unit, &window, &device);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
	unit.base += 0x20000;
	set_window(&unit, &larger, &two);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), -EEXIST);
	set_window(&unit, &window, &two);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
	fdt_getprop(tree, fdt_path_offset(tree, "/reserved-memory/iommu-window@8000000"),
		    "iommu-addresses", &size);
	assert_int_equal(size, 2 * 24);
	free(tree);
}

/* The node of a device that the VMM has put there. */
static void window_of_a_device_with_a_node(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	const fdt32_t reg[5] = { cpu_to_fdt32(0x1000) };
	void *tree = new_tree();
	int node = fdt_add_subnode(tree, fdt_path_offset(tree, BRIDGE), "ethernet@2"), size;

	fdt_setprop(tree, node, "reg", reg, sizeof(reg));
	fdt_setprop_u32(tree, node, "phandle", 0x9000);
	set_window(&unit, &window, &device);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
	assert_int_equal(fdt_path_offset(tree, BRIDGE "/device@2"), -FDT_ERR_NOTFOUND);
	node = fdt_path_offset(tree, BRIDGE "/ethernet@2");
	assert_non_null(fdt_getprop(tree, node, "memory-region", &size));
	assert_int_equal(size, 4);
	assert_int_equal(fdt_get_phandle(tree, node), 0x9000);
	free(tree);
}

static void models(void **state)
{
	static const char *const names[] = { NULL, "hisilicon,broken-prefetch-cmd",
					     "cavium,cn9900-broken-page1-regspace" };

	for (unsigned int model = 0; model < ARRAY_SIZE(names); model++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		void *tree = new_tree();

		unit.model = model;
		assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
		for (unsigned int i = 1; i < ARRAY_SIZE(names); i++)
			assert_int_equal(!!fdt_getprop(tree, fdt_path_offset(tree, "/iommu@9050000"),
						       names[i], NULL), i == model);
		free(tree);
	}
}

/* ---- room */

static void every_size_that_is_too_small(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	struct nst_fdt_place place = at_bridge;
	void *small = calloc(1, ROOM), *tree = calloc(1, ROOM), *before = malloc(ROOM);
	unsigned int refused = 0;
	int ret;

	set_window(&unit, &window, &device);
	set_wires(&unit, 106, 107, 108, 109);
	unit.model = NST_SMMUV3_MODEL_HI161X;
	place.ats = true;
	place.gic = GIC;
	make_tree(small, 3, 1);
	for (unsigned int room = fdt_totalsize(small);; room += 4, refused++) {
		assert_int_equal(fdt_open_into(small, tree, (int)room), 0);
		memset((char *)tree + room, 0xee, ROOM - room); /* not ours */
		memcpy(before, tree, ROOM);
		ret = nst_fdt_add_smmuv3(tree, &place, &unit, NULL);
		if (!ret)
			break;
		assert_int_equal(ret, -ENOSPC);
		assert_memory_equal(tree, before, ROOM);
	}
	assert_int_equal(fdt_check_full(tree, fdt_totalsize(tree)), 0);
	assert_non_null(fdt_getprop(tree, fdt_path_offset(tree, "/reserved-memory/iommu-window@8000000"),
				    "iommu-addresses", NULL));
	assert_int_equal(*((uint8_t *)tree + fdt_totalsize(tree)), 0xee);
	assert_in_range(refused, 100, 400); /* some 1 KiB: every step has been the one that fails */
	free(small);
	free(tree);
	free(before);
}

static void no_memory(void **state)
{
	struct nst_firmware_smmuv3 unit = make_unit();
	void *tree = new_tree();

	alloc_fail_nth(1);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), -ENOMEM);
	alloc_fail_nth(0);
	assert_int_equal(nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL), 0);
	free(tree);
}

/* Whatever the bytes are, nothing is read or written outside of them, and an error changes none. */
static void damaged_trees(void **state)
{
	void *whole = new_tree(), *before = malloc(ROOM);
	uint64_t seed = 11;
	unsigned int refused = 0;

	assert_int_equal(fdt_pack(whole), 0);
	assert_int_equal(fdt_open_into(whole, whole, 3072), 0);
	for (int round = 0; round < 4000; round++) {
		struct nst_firmware_smmuv3 unit = make_unit();
		char *tree = malloc(3072);

		memcpy(tree, whole, 3072);
		for (uint64_t n = 1 + test_random(&seed) % 3; n; n--)
			tree[test_random(&seed) % 1400] = (char)test_random(&seed);
		memcpy(tree + 4, (char *)whole + 4, 4); /* totalsize: the caller's word */
		memcpy(before, tree, 3072);
		if (round & 1)
			set_window(&unit, &window, &device);
		if (nst_fdt_add_smmuv3(tree, &at_bridge, &unit, NULL)) {
			assert_memory_equal(tree, before, 3072);
			refused++;
		}
		free(tree);
	}
	assert_in_range(refused, 100, 3900);
	free(whole);
	free(before);
}

static void skipped(void **state)
{
}

int main(void)
{
	int has_dtc = !system("dtc --version >/dev/null 2>&1");
#define DTC_TEST(f)                                                                                \
	(has_dtc ? (struct CMUnitTest)cmocka_unit_test(f)                                          \
		 : (struct CMUnitTest){ #f " # SKIP dtc is not installed", skipped, NULL, NULL, NULL })
	const struct CMUnitTest tests[] = {
		DTC_TEST(dtc_reads_a_unit_with_msis),
		DTC_TEST(dtc_reads_wired_interrupts),
		DTC_TEST(dtc_reads_windows),
		cmocka_unit_test(every_requester_gets_where_it_should),
		cmocka_unit_test(limits),
		cmocka_unit_test(cells_of_controllers),
		cmocka_unit_test(windows_of_two_units),
		cmocka_unit_test(window_of_a_device_with_a_node),
		cmocka_unit_test(models),
		cmocka_unit_test(every_size_that_is_too_small),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(damaged_trees),
	};

	return cmocka_run_group_tests_name("fdt", tests, NULL, NULL);
}
