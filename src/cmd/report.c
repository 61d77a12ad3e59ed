// SPDX-License-Identifier: BSD-3-Clause
/* See report.h. */
#include "cmd/report.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

/* Of several units the sums: every member is a counter. */
static void add_unit(struct nst_viommu_stats *sum, struct nst_viommu *viommu)
{
	enum { COUNTERS = sizeof(*sum) / sizeof(uint64_t) };
	uint64_t one[COUNTERS], all[COUNTERS];
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(viommu, &stats);
	memcpy(one, &stats, sizeof(one));
	memcpy(all, sum, sizeof(all));
	for (unsigned int i = 0; i < COUNTERS; i++)
		all[i] += one[i];
	memcpy(sum, all, sizeof(all));
}

/* There is no host: what one would have counted of the device. */
static void add_emulated(struct nst_soft_stats *sum, const struct server_device *d)
{
	uint64_t bytes_read, bytes_written;

	endpoint_function_count(d->emulated, &bytes_read, &bytes_written);
	sum->dma_read_bytes += bytes_read;
	sum->dma_write_bytes += bytes_written;
}

void report_collect(struct report *report, const struct server *server, bool guest_ok,
		    double boot_seconds)
{
	*report = (struct report){ .guest_ok = guest_ok, .boot_seconds = boot_seconds };
	report->host_counts = server->kind == HOST_SOFT;
	for (unsigned int u = 0; u < server->num_units; u++)
		add_unit(&report->viommu, iommu_function_viommu(server->units[u].iommu));
	if (!report->host_counts) {
		report->host.invalidate_calls = report->viommu.host_invalidate_calls;
		report->host.invalidate_entries = report->viommu.host_invalidate_entries;
		return;
	}
	if (server->host) {
		nst_soft_get_stats(server->host, &report->host);
		return;
	}
	report->host.s1_walks = report->viommu.walks;
	for (unsigned int i = 0; i < server->num_devices; i++)
		add_emulated(&report->host, &server->devices[i]);
}

/* What the host refused and then reported, the unit has recorded too. */
static uint64_t all_faults(const struct report *r)
{
	uint64_t units = r->viommu.faults + r->viommu.queue_errors;

	return r->host_counts ? r->host.faults + units - r->viommu.host_faults : units;
}

static void row(const char *what, unsigned long long n, const char *note)
{
	fprintf(stderr, "  %-34s %12llu  %s\n", what, n, note);
}

void report_print(const struct report *r)
{
	fputs("\n", stderr);
	if (r->boot_seconds >= 0)
		fprintf(stderr, "  %-34s %12.2f  s\n", "guest boot time", r->boot_seconds);
	if (r->host_counts) {
		row("memory read by DMA", r->host.dma_read_bytes, "bytes");
		row("memory written by DMA", r->host.dma_write_bytes, "bytes");
		row("walks of the guest's tables", r->host.s1_walks, "");
		row("IOTLB hits", r->host.iotlb_hits, "");
	}
	row("nested HWPTs made", r->viommu.nested_hwpts, "");
	row("shadowed second-stage tables", r->viommu.shadow_domains, "");
	row("  host calls to keep them so", r->viommu.shadow_calls, "");
	row("guest invalidation descriptors", r->viommu.invalidation_descriptors, "");
	row("  of them wait descriptors", r->viommu.wait_descriptors, "");
	row("host invalidation calls", r->host.invalidate_calls, "");
	row("  entries in them", r->host.invalidate_entries, "");
	if (r->viommu.page_requests || r->viommu.page_responses) {
		row("page requests taken", r->viommu.page_requests, "groups");
		row("page responses given", r->viommu.page_responses, "");
	}
	row("faults", all_faults(r), "");
	row("  of them reported to the guest", r->viommu.host_faults, "");
	row("  lost on the way to it", r->viommu.lost_host_faults, "");
	if (r->host_counts) {
		row("stale IOTLB entries used", r->host.stale_hits, "");
		row("DMA after unmap", r->host.dma_after_unmap, "");
		row("DMA while blocked", r->host.dma_while_blocked, "");
	}
	fputs("\n", stderr);
}

static void add(struct json_object *object, const char *key, uint64_t n)
{
	json_object_object_add(object, key, json_object_new_uint64(n));
}

/* What a software host counts, and a kernel does not. */
static void add_counted(struct json_object *object, const struct report *r, const char *key,
			uint64_t n)
{
	json_object_object_add(object, key, r->host_counts ? json_object_new_uint64(n) : NULL);
}

/* With the two digits that the guest gave; null if it gave none. */
static struct json_object *seconds(double s)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%.2f", s);
	return s < 0 ? NULL : json_object_new_double_s(s, digits);
}

int report_write(const struct report *r, const char *file)
{
	struct json_object *o = json_object_new_object();
	int ret;

	if (!o)
		return -ENOMEM;
	json_object_object_add(o, "guest_ok", json_object_new_boolean(r->guest_ok));
	json_object_object_add(o, "boot_seconds", seconds(r->boot_seconds));
	add_counted(o, r, "dma_read_bytes", r->host.dma_read_bytes);
	add_counted(o, r, "dma_write_bytes", r->host.dma_write_bytes);
	add_counted(o, r, "s1_walks", r->host.s1_walks);
	add(o, "nested_hwpts", r->viommu.nested_hwpts);
	add(o, "shadow_domains", r->viommu.shadow_domains);
	add(o, "shadow_calls", r->viommu.shadow_calls);
	add(o, "invalidation_descriptors", r->viommu.invalidation_descriptors);
	add(o, "wait_descriptors", r->viommu.wait_descriptors);
	add(o, "host_invalidate_calls", r->host.invalidate_calls);
	add(o, "host_invalidate_entries", r->host.invalidate_entries);
	add(o, "page_requests", r->viommu.page_requests);
	add(o, "page_responses", r->viommu.page_responses);
	add(o, "faults", all_faults(r));
	add(o, "host_faults", r->viommu.host_faults);
	add(o, "lost_host_faults", r->viommu.lost_host_faults);
	add_counted(o, r, "stale_hits", r->host.stale_hits);
	add_counted(o, r, "dma_after_unmap", r->host.dma_after_unmap);
	add_counted(o, r, "dma_while_blocked", r->host.dma_while_blocked);
	errno = 0;
	ret = json_object_to_file_ext(file, o, JSON_C_TO_STRING_PRETTY);
	json_object_put(o);
	return ret ? (errno ? -errno : -EIO) : 0;
}
