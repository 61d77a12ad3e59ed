// SPDX-License-Identifier: BSD-3-Clause
/*
 * The IO Remapping Table. Nodes refer to each other by their offset in the table, so all are placed
 * before any is written: the ITS group, then each unit with its windows, then the root
 * complexes. Layouts: Arm DEN 0049E.e, under the names that it gives the nodes.
 */
#include "base/alloc.h"
#include "base/bits.h"
#include "base/endian.h"
#include "firmware/acpi.h"

#include <errno.h>
#include <string.h>

struct iort_header {
	struct acpi_header acpi;
	le32 num_nodes, nodes_offset, reserved;
};
_Static_assert(sizeof(struct iort_header) == 48, "IORT header");

/* Structures need not be aligned in the table, so they are built aside and copied there. */
struct node {
	uint8_t type;
	uint8_t length[2];
	uint8_t revision;
	le32 id, num_mappings, mappings_offset;
};
_Static_assert(sizeof(struct node) == 16, "node header");

struct mapping {
	le32 input, count_minus_1, output, node, flags;
};
_Static_assert(sizeof(struct mapping) == 20, "ID mapping");

struct its_group {
	struct node node;
	le32 count; /* the ids follow */
};

struct smmuv3 {
	struct node node;
	uint8_t base[8];
	le32 flags, reserved;
	uint8_t vatos[8];
	le32 model, event_gsiv, pri_gsiv, gerror_gsiv, sync_gsiv, proximity, msi_mapping;
};
_Static_assert(sizeof(struct smmuv3) == 68, "SMMUv3 node");

struct root_complex {
	struct node node;
	le32 coherent;
	uint8_t hints, reserved[2], memory_flags;
	le32 ats, segment;
	uint8_t address_bits, reserved2[3];
};
_Static_assert(sizeof(struct root_complex) == 36, "root complex node");

struct rmr { /* Reserved Memory Range */
	struct node node;
	le32 flags, num_ranges, ranges_offset;
};
_Static_assert(sizeof(struct rmr) == 28, "RMR node");

struct rmr_range {
	uint8_t base[8], size[8];
	le32 reserved;
};
_Static_assert(sizeof(struct rmr_range) == 20, "memory range descriptor");

enum { IORT_REVISION = 6 };
enum { TYPE_ITS_GROUP = 0, TYPE_ROOT_COMPLEX = 2, TYPE_SMMUV3 = 4, TYPE_RMR = 6 };
enum { REVISION_ITS_GROUP = 1, REVISION_ROOT_COMPLEX = 3, REVISION_SMMUV3 = 5, REVISION_RMR = 3 };
enum { MAPPING_SINGLE = 1 << 0 };
enum { SMMU_COHACC_OVERRIDE = 1 << 0, SMMU_MSI_MAPPING_VALID = 1 << 4 };
enum { MEMORY_CPM = 1 << 0, MEMORY_DACS = 1 << 1, MEMORY_CANWBS = 1 << 2 };
enum { RMR_DEVICE_NGNRE = 1 << 2 }; /* attributes in bits 9:2; not to be remapped */
enum { ALL_RIDS = 0xffff };
#define PAGE_SIZE_64K 0x10000ULL

/* The requester ids of one segment, in order: those of a unit, or of none. */
struct span {
	uint32_t first, last;
	uint32_t node; /* offset of what they go to */
};

struct builder {
	uint8_t *table; /* NULL: only sizes are wanted */
	size_t at;
	uint32_t num_nodes;
	uint32_t its;	/* offset of the group */
	uint32_t *smmu; /* offsets of the units of all roots, in order */
	struct span *spans;
};

static void put(struct builder *b, const void *bytes, size_t size)
{
	if (b->table)
		memcpy(b->table + b->at, bytes, size);
	b->at += size;
}

static void put_mapping(struct builder *b, uint32_t first, uint32_t last, uint32_t output,
			uint32_t node, uint32_t flags)
{
	struct mapping mapping = {
		.input = le32_make(first),
		.count_minus_1 = le32_make(last - first),
		.output = le32_make(output),
		.node = le32_make(node),
		.flags = le32_make(flags),
	};

	put(b, &mapping, sizeof(mapping));
}

/* A node's header; @body is all of its fixed part, @size all of it. Not more than a length can say.
 */
static int make_node(struct builder *b, uint8_t type, uint8_t revision, size_t size, size_t body,
		     size_t num_mappings, struct node *out)
{
	if (size > UINT16_MAX)
		return -EINVAL;
	*out = (struct node){
		.type = type,
		.revision = revision,
		.id = le32_make(b->num_nodes++),
		.num_mappings = le32_make((uint32_t)num_mappings),
		.mappings_offset = le32_make(num_mappings ? (uint32_t)body : 0),
	};
	le_store(out->length, sizeof(out->length), size);
	return 0;
}

static int put_its(struct builder *b, const struct nst_iort_params *params)
{
	struct its_group its = { .count = le32_make((uint32_t)params->num_its) };
	int ret;

	if (!params->num_its || params->num_its > UINT16_MAX)
		return -EINVAL;
	b->its = (uint32_t)b->at;
	ret = make_node(b, TYPE_ITS_GROUP, REVISION_ITS_GROUP,
			sizeof(its) + params->num_its * sizeof(le32), 0, 0, &its.node);
	if (ret)
		return ret;
	put(b, &its, sizeof(its));
	for (size_t i = 0; i < params->num_its; i++) {
		le32 id = le32_make(params->its[i]);

		put(b, &id, sizeof(id));
	}
	return 0;
}

/* Mapping 0 is for the MSIs of devices, mapping 1 for the unit's own. */
static int put_smmu(struct builder *b, const struct nst_firmware_smmuv3 *unit)
{
	size_t num_mappings = unit->has_msis ? 2 : 1;
	struct smmuv3 smmu = {
		.flags = le32_make((unit->coherent ? SMMU_COHACC_OVERRIDE : 0) |
				   (unit->has_msis ? SMMU_MSI_MAPPING_VALID : 0)),
		.model = le32_make(unit->model),
		.event_gsiv = le32_make(unit->event_gsiv),
		.pri_gsiv = le32_make(unit->pri_gsiv),
		.gerror_gsiv = le32_make(unit->gerror_gsiv),
		.sync_gsiv = le32_make(unit->sync_gsiv),
		.msi_mapping = le32_make(unit->has_msis ? 1 : 0),
	};
	int ret;

	if (!IS_ALIGNED(unit->base, PAGE_SIZE_64K))
		return -EINVAL;
	ret = make_node(b, TYPE_SMMUV3, REVISION_SMMUV3,
			sizeof(smmu) + num_mappings * sizeof(struct mapping), sizeof(smmu),
			num_mappings, &smmu.node);
	if (ret)
		return ret;
	le_store(smmu.base, sizeof(smmu.base), unit->base);
	put(b, &smmu, sizeof(smmu));
	put_mapping(b, 0, ALL_RIDS, 0, b->its, 0);
	if (unit->has_msis)
		put_mapping(b, 0, 0, unit->msi_device_id, b->its, MAPPING_SINGLE);
	return 0;
}

static int put_range(struct builder *b, const struct nst_gpa_range *window)
{
	struct rmr_range range = { 0 };

	if (!window->size || !IS_ALIGNED(window->base, PAGE_SIZE_64K) ||
	    !IS_ALIGNED(window->size, PAGE_SIZE_64K) ||
	    window->base + (window->size - 1) < window->base)
		return -EINVAL;
	le_store(range.base, sizeof(range.base), window->base);
	le_store(range.size, sizeof(range.size), window->size);
	put(b, &range, sizeof(range));
	return 0;
}

static int put_windows(struct builder *b, const struct nst_firmware_smmuv3 *unit, uint32_t smmu)
{
	size_t ranges = sizeof(struct rmr) + unit->num_rids * sizeof(struct mapping);
	struct rmr rmr = {
		.flags = le32_make(RMR_DEVICE_NGNRE),
		.num_ranges = le32_make((uint32_t)unit->num_windows),
		.ranges_offset = le32_make((uint32_t)ranges),
	};
	int ret;

	if (!unit->num_windows || !unit->num_rids)
		return 0;
	if (unit->num_windows > UINT16_MAX)
		return -EINVAL;
	ret = make_node(b, TYPE_RMR, REVISION_RMR,
			ranges + unit->num_windows * sizeof(struct rmr_range), sizeof(rmr),
			unit->num_rids, &rmr.node);
	if (ret)
		return ret;
	put(b, &rmr, sizeof(rmr));
	for (size_t i = 0; i < unit->num_rids; i++) /* an input id has no meaning here */
		put_mapping(b, 0, (uint32_t)(unit->rids[i].last - unit->rids[i].first),
			    unit->rids[i].first, smmu, 0);
	for (size_t i = 0; i < unit->num_windows && !ret; i++)
		ret = put_range(b, &unit->windows[i]);
	return ret;
}

static int compare_spans(const void *a, const void *b)
{
	const struct span *left = a, *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

/*
 * The requester ids of @root's units in order, and between them those of no unit. @smmu are
 * the units' offsets. Returns how many spans that makes, or -EINVAL.
 */
static int make_spans(struct builder *b, const struct nst_iort_root *root, const uint32_t *smmu)
{
	struct span *spans = b->spans;
	size_t taken = 0, n;
	uint32_t next = 0;

	for (size_t u = 0; u < root->num_units; u++)
		for (size_t i = 0; i < root->units[u].num_rids; i++)
			spans[taken++] = (struct span){ root->units[u].rids[i].first,
							root->units[u].rids[i].last, smmu[u] };
	qsort(spans, taken, sizeof(*spans), compare_spans);
	n = taken;
	for (size_t i = 0; i < taken; i++) {
		if (spans[i].first > spans[i].last || spans[i].first < next)
			return -EINVAL;
		if (spans[i].first > next)
			spans[n++] = (struct span){ next, spans[i].first - 1, b->its };
		next = spans[i].last + 1;
	}
	if (next <= ALL_RIDS)
		spans[n++] = (struct span){ next, ALL_RIDS, b->its };
	qsort(spans, n, sizeof(*spans), compare_spans);
	return (int)n;
}

static int put_root(struct builder *b, const struct nst_iort_root *root, const uint32_t *smmu)
{
	struct root_complex complex = {
		.coherent = le32_make(1),
		.memory_flags =
			(uint8_t)(MEMORY_CPM | MEMORY_DACS | (root->canwbs ? MEMORY_CANWBS : 0)),
		.ats = le32_make(root->ats),
		.segment = le32_make(root->segment),
		.address_bits = (uint8_t)root->address_bits,
	};
	int ret, n;

	if (root->address_bits < 1 || root->address_bits > 64)
		return -EINVAL;
	n = make_spans(b, root, smmu);
	if (n < 0)
		return n;
	ret = make_node(b, TYPE_ROOT_COMPLEX, REVISION_ROOT_COMPLEX,
			sizeof(complex) + (size_t)n * sizeof(struct mapping), sizeof(complex),
			(size_t)n, &complex.node);
	if (ret)
		return ret;
	put(b, &complex, sizeof(complex));
	for (int i = 0; i < n; i++)
		put_mapping(b, b->spans[i].first, b->spans[i].last, b->spans[i].first,
			    b->spans[i].node, 0);
	return 0;
}

/* Everything after the header, to the table or, without one, only for its size. */
static int put_nodes(struct builder *b, const struct nst_iort_params *params)
{
	size_t n = 0;
	int ret;

	b->at = sizeof(struct iort_header);
	b->num_nodes = 0;
	ret = put_its(b, params);
	for (size_t r = 0; r < params->num_roots; r++)
		for (size_t u = 0; u < params->roots[r].num_units && !ret; u++) {
			const struct nst_firmware_smmuv3 *unit = &params->roots[r].units[u];

			b->smmu[n++] = (uint32_t)b->at;
			ret = put_smmu(b, unit);
			if (!ret)
				ret = put_windows(b, unit, b->smmu[n - 1]);
		}
	n = 0;
	for (size_t r = 0; r < params->num_roots && !ret; r++) {
		ret = put_root(b, &params->roots[r], &b->smmu[n]);
		n += params->roots[r].num_units;
	}
	return ret;
}

/* What put_nodes() works with: all the units, and the spans of the root that has most. */
static int make_room(struct builder *b, const struct nst_iort_params *params)
{
	size_t units = 0, most = 0;

	for (size_t r = 0; r < params->num_roots; r++) {
		const struct nst_iort_root *root = &params->roots[r];
		size_t ranges = 0;

		for (size_t u = 0; u < root->num_units; u++) {
			if (root->units[u].num_rids > UINT16_MAX)
				return -EINVAL;
			ranges += root->units[u].num_rids;
		}
		units += root->num_units;
		most = MAX(most, ranges);
	}
	b->smmu = alloc_array(units + 1, sizeof(*b->smmu));
	b->spans = b->smmu ? alloc_array(2 * most + 1, sizeof(*b->spans)) : NULL;
	return b->spans ? 0 : -ENOMEM;
}

static int build(struct builder *b, const struct nst_iort_params *params)
{
	struct iort_header *header;
	int ret = make_room(b, params);

	if (!ret)
		ret = put_nodes(b, params);
	if (ret)
		return ret;
	b->table = alloc_array(1, b->at);
	if (!b->table)
		return -ENOMEM;
	ret = put_nodes(b, params); /* as before, since nothing has changed */
	header = (struct iort_header *)b->table;
	header->num_nodes = le32_make(b->num_nodes);
	header->nodes_offset = le32_make(sizeof(*header));
	acpi_finish(&header->acpi, "IORT", IORT_REVISION, &params->oem, b->at);
	return ret;
}

int nst_iort_build(const struct nst_iort_params *params, void **table, size_t *size)
{
	struct builder b = { 0 };
	int ret = build(&b, params);

	free(b.smmu);
	free(b.spans);
	if (ret) {
		free(b.table);
		return ret;
	}
	*table = b.table;
	*size = b.at;
	return 0;
}
