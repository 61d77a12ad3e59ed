// SPDX-License-Identifier: BSD-3-Clause
/*
 * Nodes of a device tree: the bindings of Linux 7.2, iommu/arm,smmu-v3.yaml, pci/pci-iommu.txt,
 * reserved-memory/reserved-memory.yaml, interrupt-controller/arm,gic-v3.yaml.
 *
 * libfdt does it in the VMM's own tree: cells, phandles, and what is there already are read
 * from it instead of being parameters. All is done in a copy, which takes the tree's place when
 * nothing has failed. Offsets of nodes move when something is put in before them, so they do not
 * outlive the function that has looked them up.
 */
#include "base/alloc.h"
#include "base/bits.h"

#include <nestor/firmware.h>

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

enum { MAX_RIDS = 0x10000, FIRST_SPI = 32, LAST_SPI = 1019 };
enum { GIC_SPI = 0, EDGE_RISING = 1 };
enum { MEMORY_32 = 0x02000000, MEMORY_64 = 0x03000000 }; /* first cell of a PCI address */
#define PAGE_SIZE_64K 0x10000ULL

/* What libfdt says, as an errno; what is not an error stays as it is. */
static int to_errno(int ret)
{
	switch (ret) {
	case -FDT_ERR_NOSPACE:
		return -ENOSPC;
	case -FDT_ERR_NOTFOUND:
		return -ENOENT;
	case -FDT_ERR_EXISTS:
		return -EEXIST;
	default:
		return ret < 0 ? -EINVAL : ret;
	}
}

/* ---- before anything is changed */

static int check_window(const struct nst_gpa_range *w)
{
	return w->size && IS_ALIGNED(w->base, PAGE_SIZE_64K) &&
			       IS_ALIGNED(w->size, PAGE_SIZE_64K) &&
			       w->base + (w->size - 1) >= w->base
		       ? 0
		       : -EINVAL;
}

static int check(const struct nst_firmware_smmuv3 *unit)
{
	int ret = 0;

	if (!IS_ALIGNED(unit->base, PAGE_SIZE_64K) || unit->num_rids > MAX_RIDS)
		return -EINVAL;
	for (size_t i = 0; i < unit->num_rids; i++)
		if (unit->rids[i].first > unit->rids[i].last)
			return -EINVAL;
	for (size_t i = 0; i < unit->num_windows && !ret; i++)
		ret = check_window(&unit->windows[i]);
	return ret;
}

/* ---- the unit's node */

/* The node with @phandle, if it has @what: a number of at least @least. *@value gets that. */
static int find_with_cells(const void *fdt, uint32_t phandle, const char *what, uint32_t least,
			   uint32_t *value)
{
	int node = fdt_node_offset_by_phandle(fdt, phandle), size;
	const fdt32_t *cells = node < 0 ? NULL : fdt_getprop(fdt, node, what, &size);

	if (node < 0)
		return node == -FDT_ERR_BADPHANDLE ? -ENOENT : to_errno(node);
	if (!cells || size != sizeof(*cells) || fdt32_ld(cells) < least)
		return -EINVAL;
	*value = fdt32_ld(cells);
	return 0;
}

/* Which GIC: the one given, or the root's. */
static int find_gic(const void *fdt, uint32_t given, uint32_t *gic)
{
	const fdt32_t *parent;
	int size;

	*gic = given;
	if (given)
		return 0;
	parent = fdt_getprop(fdt, 0, "interrupt-parent", &size);
	if (!parent || size != sizeof(*parent))
		return -ENOENT;
	*gic = fdt32_ld(parent);
	return 0;
}

static int put_wire(void *fdt, int node, const char *name, uint32_t gsiv, uint32_t cells)
{
	int ret;

	if (gsiv < FIRST_SPI || gsiv > LAST_SPI)
		return -EINVAL;
	ret = fdt_appendprop_u32(fdt, node, "interrupts", GIC_SPI);
	if (!ret)
		ret = fdt_appendprop_u32(fdt, node, "interrupts", gsiv - FIRST_SPI);
	if (!ret)
		ret = fdt_appendprop_u32(fdt, node, "interrupts", EDGE_RISING);
	for (uint32_t i = 3; i < cells && !ret; i++)
		ret = fdt_appendprop_u32(fdt, node, "interrupts", 0);
	if (!ret)
		ret = fdt_appendprop_string(fdt, node, "interrupt-names", name);
	return to_errno(ret);
}

/* In the binding's order; it has no list of one, and no holes: the first @n are what there is. */
static int put_wires(void *fdt, int node, const struct nst_fdt_place *place,
		     const struct nst_firmware_smmuv3 *unit)
{
	const struct {
		const char *name;
		uint32_t gsiv;
	} wires[] = {
		{ "eventq", unit->event_gsiv },
		{ "gerror", unit->gerror_gsiv },
		{ "priq", unit->pri_gsiv },
		{ "cmdq-sync", unit->sync_gsiv },
	};
	uint32_t gic, cells;
	size_t n = 0;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(wires); i++)
		n += !!wires[i].gsiv;
	if (n < 2)
		return n ? -EINVAL : 0;
	ret = find_gic(fdt, place->gic, &gic);
	if (!ret)
		ret = find_with_cells(fdt, gic, "#interrupt-cells", 3, &cells);
	if (!ret && place->gic)
		ret = to_errno(fdt_setprop_u32(fdt, node, "interrupt-parent", gic));
	for (size_t i = 0; i < n && !ret; i++)
		ret = put_wire(fdt, node, wires[i].name, wires[i].gsiv, cells);
	return ret;
}

/* The ITS of an ITS that takes no device id (#msi-cells = 0) could not tell us from others. */
static int put_msi_parent(void *fdt, int node, const struct nst_fdt_place *place,
			  const struct nst_firmware_smmuv3 *unit)
{
	uint32_t cells;
	int ret;

	if (!unit->has_msis)
		return 0;
	ret = find_with_cells(fdt, place->its, "#msi-cells", 1, &cells);
	if (!ret && cells != 1)
		ret = -EINVAL;
	if (!ret)
		ret = to_errno(fdt_setprop_u32(fdt, node, "msi-parent", place->its));
	if (!ret)
		ret = to_errno(fdt_appendprop_u32(fdt, node, "msi-parent", unit->msi_device_id));
	return ret;
}

static const char *model_property(enum nst_smmuv3_model model)
{
	switch (model) {
	case NST_SMMUV3_MODEL_HI161X:
		return "hisilicon,broken-prefetch-cmd";
	case NST_SMMUV3_MODEL_CN99XX:
		return "cavium,cn9900-broken-page1-regspace";
	default:
		return NULL;
	}
}

/* A phandle that nobody has: @wanted, or the next one. */
static int choose_phandle(const void *fdt, uint32_t wanted, uint32_t *out)
{
	int node;

	if (!wanted)
		return to_errno(fdt_generate_phandle(fdt, out));
	node = fdt_node_offset_by_phandle(fdt, wanted);
	*out = wanted;
	return node >= 0 ? -EEXIST : node == -FDT_ERR_NOTFOUND ? 0 : -EINVAL;
}

static int put_unit(void *fdt, const struct nst_fdt_place *place,
		    const struct nst_firmware_smmuv3 *unit, uint32_t *phandle)
{
	const char *model = model_property(unit->model);
	char name[32];
	int node, ret;

	ret = choose_phandle(fdt, place->phandle, phandle);
	if (ret)
		return ret;
	snprintf(name, sizeof(name), "iommu@%" PRIx64, unit->base);
	node = fdt_add_subnode(fdt, 0, name);
	if (node < 0)
		return to_errno(node);
	ret = fdt_setprop_string(fdt, node, "compatible", "arm,smmu-v3");
	if (!ret) /* both pages */
		ret = fdt_appendprop_addrrange(fdt, 0, node, "reg", unit->base, 2 * PAGE_SIZE_64K);
	if (!ret)
		ret = fdt_setprop_u32(fdt, node, "#iommu-cells", 1);
	if (!ret && unit->coherent)
		ret = fdt_setprop_empty(fdt, node, "dma-coherent");
	if (!ret && model)
		ret = fdt_setprop_empty(fdt, node, model);
	if (!ret)
		ret = fdt_setprop_u32(fdt, node, "phandle", *phandle);
	ret = to_errno(ret);
	if (!ret)
		ret = put_wires(fdt, node, place, unit);
	return ret ? ret : put_msi_parent(fdt, node, place, unit);
}

/* ---- the host bridge's */

struct map_entry {
	fdt32_t first, node, output, count;
};

static int find_bridge(const void *fdt, const struct nst_fdt_place *place)
{
	int node = fdt_path_offset(fdt, place->bridge), size;
	const char *type = node < 0 ? NULL : fdt_getprop(fdt, node, "device_type", &size);

	if (node < 0)
		return node == -FDT_ERR_BADPATH ? -ENOENT : to_errno(node);
	return type && size == sizeof("pci") && !memcmp(type, "pci", sizeof("pci")) ? node
										    : -EINVAL;
}

/* Does the bridge map one of @rids already, by this unit's earlier ranges or another's? */
static int is_mapped(const void *fdt, int bridge, const struct nst_rid_range *rids)
{
	int size;
	const struct map_entry *map = fdt_getprop(fdt, bridge, "iommu-map", &size);

	if (!map)
		return size == -FDT_ERR_NOTFOUND ? 0 : -EINVAL;
	if ((size_t)size % sizeof(*map))
		return -EINVAL;
	for (size_t i = 0; i < (size_t)size / sizeof(*map); i++) {
		uint64_t first = fdt32_ld(&map[i].first);
		uint64_t end = first + fdt32_ld(&map[i].count);

		if (first <= rids->last && rids->first < end)
			return 1;
	}
	return 0;
}

static int put_map(void *fdt, const struct nst_fdt_place *place,
		   const struct nst_firmware_smmuv3 *unit, uint32_t phandle)
{
	int bridge = find_bridge(fdt, place), ret = bridge < 0 ? bridge : 0;

	for (size_t i = 0; i < unit->num_rids && !ret; i++) {
		const struct nst_rid_range *rids = &unit->rids[i];
		struct map_entry entry = {
			.first = cpu_to_fdt32(rids->first),
			.node = cpu_to_fdt32(phandle),
			.output = cpu_to_fdt32(rids->first),
			.count = cpu_to_fdt32((uint32_t)rids->last - rids->first + 1),
		};

		ret = is_mapped(fdt, bridge, rids);
		if (ret)
			return ret < 0 ? ret : -EEXIST;
		ret = to_errno(fdt_appendprop(fdt, bridge, "iommu-map", &entry, sizeof(entry)));
	}
	if (!ret && place->ats)
		ret = to_errno(fdt_setprop_empty(fdt, bridge, "ats-supported"));
	return ret;
}

/* ---- windows: a device's node names a region, which names the device and its addresses there */

/* The phandle of @node, made if there is none. */
static int need_phandle(void *fdt, int node, uint32_t *phandle)
{
	int ret;

	*phandle = fdt_get_phandle(fdt, node);
	if (*phandle)
		return 0;
	ret = choose_phandle(fdt, 0, phandle);
	return ret ? ret : to_errno(fdt_setprop_u32(fdt, node, "phandle", *phandle));
}

static uint32_t root_bus(const void *fdt, int bridge)
{
	int size;
	const fdt32_t *range = fdt_getprop(fdt, bridge, "bus-range", &size);

	return range && size == 2 * sizeof(*range) ? fdt32_ld(range) : 0;
}

/* The node of the device with @rid, made if there is none. Its address begins with the rid. */
static int need_device(void *fdt, int bridge, nst_rid rid)
{
	fdt32_t reg[5] = { cpu_to_fdt32((uint32_t)rid << 8) };
	char name[32];
	int node, ret;

	fdt_for_each_subnode(node, fdt, bridge)
	{
		int size;
		const fdt32_t *has = fdt_getprop(fdt, node, "reg", &size);

		if (has && size >= (int)sizeof(*has) &&
		    (fdt32_ld(has) & 0xffff00) == (uint32_t)rid << 8)
			return node;
	}
	if (rid & 7)
		snprintf(name, sizeof(name), "device@%x,%x", rid >> 3 & 0x1f, rid & 7);
	else
		snprintf(name, sizeof(name), "device@%x", rid >> 3 & 0x1f);
	node = fdt_add_subnode(fdt, bridge, name);
	if (node < 0)
		return to_errno(node);
	ret = fdt_setprop(fdt, node, "reg", reg, sizeof(reg));
	return ret ? to_errno(ret) : node;
}

static int need_reserved_memory(void *fdt)
{
	int node = fdt_path_offset(fdt, "/reserved-memory"), ret;

	if (node != -FDT_ERR_NOTFOUND)
		return to_errno(node);
	node = fdt_add_subnode(fdt, 0, "reserved-memory");
	if (node < 0)
		return to_errno(node);
	ret = fdt_setprop_empty(fdt, node, "ranges"); /* each is put before the others */
	if (!ret)
		ret = fdt_setprop_u32(fdt, node, "#size-cells", (uint32_t)fdt_size_cells(fdt, 0));
	if (!ret)
		ret = fdt_setprop_u32(fdt, node, "#address-cells",
				      (uint32_t)fdt_address_cells(fdt, 0));
	return ret ? to_errno(ret) : node;
}

/* The region of @window, made if there is none: no memory, so not to be mapped as such. */
static int need_region(void *fdt, const struct nst_gpa_range *window)
{
	int parent = need_reserved_memory(fdt), node, ret, size;
	char name[40];
	const void *has;

	if (parent < 0)
		return parent;
	snprintf(name, sizeof(name), "iommu-window@%" PRIx64, window->base);
	node = fdt_add_subnode(fdt, parent, name);
	if (node >= 0) {
		ret = fdt_setprop_empty(fdt, node, "no-map");
		if (!ret)
			ret = fdt_appendprop_addrrange(fdt, parent, node, "reg", window->base,
						       window->size);
		return ret ? to_errno(ret) : node;
	}
	if (node != -FDT_ERR_EXISTS)
		return to_errno(node);
	node = fdt_subnode_offset(fdt, parent, name);
	has = fdt_getprop(fdt, node, "reg", &size);
	ret = fdt_size_cells(fdt, parent);
	if (ret < 1 || size < ret * 4 ||
	    window->size != (ret == 1 ? fdt32_ld((const fdt32_t *)((const char *)has + size - 4))
				      : fdt64_ld((const fdt64_t *)((const char *)has + size - 8))))
		return -EEXIST;
	return node;
}

/* A PCI address has three cells, a size two. */
static int put_addresses(void *fdt, int region, uint32_t device, const struct nst_gpa_range *window)
{
	fdt32_t cells[6] = {
		cpu_to_fdt32(device),
		cpu_to_fdt32(window->base + window->size - 1 > UINT32_MAX ? MEMORY_64 : MEMORY_32),
		cpu_to_fdt32((uint32_t)(window->base >> 32)),
		cpu_to_fdt32((uint32_t)window->base),
		cpu_to_fdt32((uint32_t)(window->size >> 32)),
		cpu_to_fdt32((uint32_t)window->size),
	};

	return to_errno(fdt_appendprop(fdt, region, "iommu-addresses", cells, sizeof(cells)));
}

static int put_window(void *fdt, const struct nst_fdt_place *place, nst_rid rid,
		      const struct nst_gpa_range *window)
{
	int bridge = find_bridge(fdt, place), device, region, ret;
	uint32_t device_phandle, region_phandle;

	if (root_bus(fdt, bridge) != (uint32_t)rid >> 8)
		return -EOPNOTSUPP;
	device = need_device(fdt, bridge, rid);
	if (device < 0)
		return device;
	ret = need_phandle(fdt, device, &device_phandle);
	if (ret)
		return ret;
	region = need_region(fdt, window);
	if (region < 0)
		return region;
	ret = need_phandle(fdt, region, &region_phandle);
	if (!ret)
		ret = put_addresses(fdt, region, device_phandle, window);
	if (ret)
		return ret;
	device = fdt_node_offset_by_phandle(fdt, device_phandle);
	return to_errno(fdt_appendprop_u32(fdt, device, "memory-region", region_phandle));
}

static int put_windows(void *fdt, const struct nst_fdt_place *place,
		       const struct nst_firmware_smmuv3 *unit)
{
	int ret = 0;

	for (size_t i = 0; i < unit->num_rids && unit->num_windows && !ret; i++) {
		if (unit->rids[i].first != unit->rids[i].last)
			return -EOPNOTSUPP;
		for (size_t w = 0; w < unit->num_windows && !ret; w++)
			ret = put_window(fdt, place, unit->rids[i].first, &unit->windows[w]);
	}
	return ret;
}

int nst_fdt_add_smmuv3(void *fdt, const struct nst_fdt_place *place,
		       const struct nst_firmware_smmuv3 *unit, uint32_t *phandle)
{
	CLEANUP(free_ptr) void *copy = NULL;
	uint32_t own = 0;
	int ret = check(unit), size;

	if (ret)
		return ret;
	if (fdt_check_header(fdt) || fdt_check_full(fdt, fdt_totalsize(fdt)))
		return -EINVAL;
	size = (int)fdt_totalsize(fdt);
	copy = alloc_array(1, (size_t)size);
	if (!copy)
		return -ENOMEM;
	ret = to_errno(fdt_open_into(fdt, copy, size));
	if (!ret)
		ret = put_unit(copy, place, unit, &own);
	if (!ret)
		ret = put_map(copy, place, unit, own);
	if (!ret)
		ret = put_windows(copy, place, unit);
	if (ret)
		return ret;
	memcpy(fdt, copy, (size_t)size);
	if (phandle)
		*phandle = own;
	return 0;
}
