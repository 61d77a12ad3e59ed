// SPDX-License-Identifier: BSD-3-Clause
/*
 * How the cost of an operation grows with what there is: devices, PASIDs, cached pages, virtual
 * processors. Each curve is the CPU time of one operation of a VT-d unit at 1, 4, 16, ... of
 * something, and the exponent fitted to it: 0, it costs the same whatever there is; 1, it is
 * proportional.
 *
 *	bench_scale [--json FILE]
 *
 * The host half is not what is measured: a host in between answers attachments and
 * invalidations at once, and counts them; everything else is the software host's, so that devices
 * are opened and offered as they are. Every point checks by these counts, and by the status
 * that the guest's wait descriptor writes, that the operations were carried out.
 */
#include "base/bits.h"

#include <nestor/soft_host.h>
#include <nestor/viommu.h>

#include <err.h>
#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE 4096ULL
#define MEMORY_BYTES (256ULL << 20)
#define ROOT_AT 0x1000ULL
#define QUEUE_AT 0x2000ULL
#define STATUS_AT 0x3000ULL
#define TABLE_A 0x4000ULL /* first-stage tables with nothing in them: no device does DMA */
#define TABLE_B 0x5000ULL
#define DATA_AT 0x6000ULL
#define CONTEXTS_AT 0x100000ULL	 /* a page for each half bus */
#define DIRS_AT (16ULL << 20)	 /* directory and table of PASIDs, of each device */
#define BIG_DIR_AT (64ULL << 20) /* the directory and tables of many PASIDs */
#define BIG_TABLES_AT (65ULL << 20)
#define STAGE1_AT (160ULL << 20) /* what emulated devices' pages are mapped by */

enum { GCMD = 0x18, RTADDR = 0x20, FSTS = 0x34, IQT = 0x88, IQA = 0x90 };
#define GCMD_TE (1u << 31)
#define GCMD_SRTP (1u << 30)
#define GCMD_QIE (1u << 26)

#define PASIDE (1ULL << 3)
#define PDTS(n) ((uint64_t)(n) << 9)
#define FIRST_STAGE (1ULL | 2ULL << 2 | 1ULL << 6)
#define DESC_PIOTLB_PAGE(did, pasid) (0x6ULL | 3ULL << 4 | (did) << 16 | (pasid) << 32)
#define DESC_PASID(did, pasid) (0x7ULL | 1ULL << 4 | (did) << 16 | (pasid) << 32)
#define DESC_PASID_GLOBAL (0x7ULL | 3ULL << 4)
#define DESC_WAIT(status) (0x5ULL | 1ULL << 5 | (uint64_t)(status) << 32)

#define FAKE_HWPT 0x40000000u /* ids of the host in between */
#define EMULATED_RID 0xff00

enum { MAX_POINTS = 10, REPEATS = 5, MAX_THREADS = 512 };
#define MIN_SAMPLE_NS 4000000.0

/* --- the host in between ------------------------------------------------------------------ */

struct quick_host {
	struct nst_host base;
	struct nst_host *inner;
	uint32_t next_hwpt;
	uint64_t attaches, invalidates, allocs;
};

static struct quick_host *to_quick(struct nst_host *host)
{
	return container_of(host, struct quick_host, base);
}

static int quick_open(struct nst_host *host, const char *path, int flags)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->open(inner, path, flags);
}

static int quick_close(struct nst_host *host, int fd)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->close(inner, fd);
}

static int quick_ioctl(struct nst_host *host, int fd, unsigned long request, void *arg)
{
	struct quick_host *h = to_quick(host);
	struct iommu_hwpt_alloc *alloc = arg;
	struct vfio_device_attach_iommufd_pt *attach = arg;
	struct iommu_destroy *destroy = arg;

	switch (request) {
	case IOMMU_HWPT_ALLOC:
		if (alloc->data_type == IOMMU_HWPT_DATA_NONE)
			break;
		h->allocs++;
		alloc->out_hwpt_id = FAKE_HWPT + h->next_hwpt++;
		return 0;
	case IOMMU_DESTROY:
		if (destroy->id < FAKE_HWPT)
			break;
		return 0;
	case IOMMU_HWPT_INVALIDATE:
		h->invalidates++;
		return 0;
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		h->attaches++;
		if (attach->pt_id < FAKE_HWPT && !(attach->flags & VFIO_DEVICE_ATTACH_PASID))
			break;
		return 0;
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		return 0;
	}
	return h->inner->ops->ioctl(h->inner, fd, request, arg);
}

static ssize_t quick_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->read(inner, fd, buf, count);
}

static ssize_t quick_write(struct nst_host *host, int fd, const void *buf, size_t count)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->write(inner, fd, buf, count);
}

static ssize_t quick_pread(struct nst_host *host, int fd, void *buf, size_t count, off_t offset)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->pread(inner, fd, buf, count, offset);
}

static ssize_t quick_pwrite(struct nst_host *host, int fd, const void *buf, size_t count,
			    off_t offset)
{
	struct nst_host *inner = to_quick(host)->inner;

	return inner->ops->pwrite(inner, fd, buf, count, offset);
}

static const struct nst_host_ops quick_ops = {
	.open = quick_open,
	.close = quick_close,
	.ioctl = quick_ioctl,
	.read = quick_read,
	.write = quick_write,
	.pread = quick_pread,
	.pwrite = quick_pwrite,
};

/* --- a VM with a unit and devices ----------------------------------------------------------- */

struct scale {
	struct quick_host host;
	struct nst_vm *vm;
	struct nst_viommu *viommu;
	struct nst_device **devices;
	unsigned int num_devices;
	uint8_t *memory;
	uint64_t tail;
	uint32_t status;
	unsigned int n; /* of what the curve is over */
	bool flip;
};

static uint64_t *at(struct scale *s, uint64_t gpa)
{
	return (uint64_t *)(s->memory + gpa);
}

/* Device @i has the requester id @i, and tables of its own. */
static uint64_t *pasid_entry(struct scale *s, unsigned int i)
{
	return at(s, DIRS_AT + i * 2 * PAGE + PAGE);
}

static void set_stage1(uint64_t *entry, uint64_t root, uint64_t did)
{
	entry[1] = did;
	entry[2] = root;
	entry[0] = FIRST_STAGE;
}

static uint64_t *context_entry(struct scale *s, unsigned int rid)
{
	return at(s, CONTEXTS_AT + (rid >> 7) * PAGE + (rid & 0x7f) * 32);
}

static void make_context(struct scale *s, unsigned int rid, uint64_t word)
{
	uint64_t *root = at(s, ROOT_AT + (rid >> 8) * 16 + (rid >> 7 & 1) * 8);

	*root = (CONTEXTS_AT + (rid >> 7) * PAGE) | 1;
	context_entry(s, rid)[0] = word;
}

static void add_device(struct scale *s)
{
	struct nst_device_config config;
	unsigned int i = s->num_devices++;
	char path[64];

	if (nst_soft_add_device(s->host.inner, "dmatest,ats=off,pasid-bits=20", path, sizeof(path),
				NULL))
		errx(1, "no device %u", i);
	config = (struct nst_device_config){ .path = path };
	if (nst_device_open(s->vm, &config, &s->devices[i]) ||
	    nst_viommu_attach(s->viommu, (nst_rid)i, s->devices[i]))
		errx(1, "device %u cannot be put behind the unit", i);
	*at(s, DIRS_AT + i * 2 * PAGE) = (DIRS_AT + i * 2 * PAGE + PAGE) | 1;
	make_context(s, i, (DIRS_AT + i * 2 * PAGE) | 1);
}

/* Runs the unit until it has nothing to do, as a VMM's loop. */
static void settle(struct scale *s)
{
	struct pollfd p = { .fd = nst_viommu_fd(s->viommu), .events = POLLIN };

	while (poll(&p, 1, 0) == 1)
		nst_viommu_process(s->viommu);
}

static void put(struct scale *s, uint64_t qw0, uint64_t qw1)
{
	uint64_t *desc = at(s, QUEUE_AT + s->tail);

	desc[0] = qw0;
	desc[1] = qw1;
	desc[2] = desc[3] = 0;
	s->tail = (s->tail + 32) % PAGE;
}

/* One descriptor and a wait; true: the wait is done. */
static bool run(struct scale *s, uint64_t qw0, uint64_t qw1)
{
	put(s, qw0, qw1);
	put(s, DESC_WAIT(++s->status), STATUS_AT);
	nst_viommu_mmio_write(s->viommu, IQT, 8, s->tail);
	if (*(volatile uint32_t *)at(s, STATUS_AT) != s->status)
		settle(s);
	return *(volatile uint32_t *)at(s, STATUS_AT) == s->status;
}

static void no_msi(void *opaque, uint64_t address, uint32_t data)
{
}

static void enable(struct scale *s)
{
	nst_viommu_mmio_write(s->viommu, RTADDR, 8, ROOT_AT | 1 << 10);
	nst_viommu_mmio_write(s->viommu, GCMD, 4, GCMD_SRTP);
	nst_viommu_mmio_write(s->viommu, IQA, 8, QUEUE_AT | 1 << 11);
	nst_viommu_mmio_write(s->viommu, GCMD, 4, GCMD_QIE);
	nst_viommu_mmio_write(s->viommu, GCMD, 4, GCMD_QIE | GCMD_TE);
	settle(s);
}

static struct scale *make_scale(unsigned int num_devices)
{
	const struct nst_soft_config soft = { .iommu = NST_SOFT_VTD, .synchronous = true };
	struct nst_vtd_config config = { .send_msi = no_msi };
	struct scale *s = calloc(1, sizeof(*s));

	s->devices = calloc(num_devices, sizeof(struct nst_device *));
	s->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (s->memory == MAP_FAILED)
		err(1, "mmap");
	s->host.base.ops = &quick_ops;
	if (nst_host_soft_create(&soft, &s->host.inner) ||
	    nst_vm_create(&s->host.base, NULL, &s->vm) ||
	    nst_vm_map(s->vm, (nst_gpa){ 0 }, MEMORY_BYTES, s->memory, true))
		errx(1, "no VM");
	config.vm = s->vm;
	if (nst_vtd_create(&config, &s->viommu))
		errx(1, "no unit");
	while (s->num_devices < num_devices)
		add_device(s);
	return s;
}

static void free_scale(struct scale *s)
{
	nst_viommu_destroy(s->viommu);
	for (unsigned int i = 0; i < s->num_devices; i++)
		nst_device_close(s->devices[i]);
	nst_vm_destroy(s->vm);
	nst_host_destroy(s->host.inner);
	munmap(s->memory, MEMORY_BYTES);
	free(s->devices);
	free(s);
}

/* --- curves over devices -------------------------------------------------------------------- */

/* All in one domain, with one table, as two drivers' worth of a VM's plain DMA would be. */
static struct scale *with_devices(unsigned int n)
{
	struct scale *s = make_scale(n);

	for (unsigned int i = 0; i < n; i++)
		set_stage1(pasid_entry(s, i), TABLE_A, 1);
	enable(s);
	if (s->host.allocs != 1 || s->host.attaches < n)
		errx(1, "%u devices of one domain are on %llu HWPTs", n,
		     (unsigned long long)s->host.allocs);
	return s;
}

static bool page_of_a_domain(struct scale *s, unsigned int operations)
{
	uint64_t before = s->host.invalidates;

	for (unsigned int i = 0; i < operations; i++)
		if (!run(s, DESC_PIOTLB_PAGE(1ULL, 0ULL), 0x100000))
			return false;
	return s->host.invalidates - before == operations;
}

/* The first device's entry leads to another table each time. */
static bool entry_of_a_device(struct scale *s, unsigned int operations)
{
	uint64_t before = s->host.attaches;

	for (unsigned int i = 0; i < operations; i++) {
		s->flip = !s->flip;
		set_stage1(pasid_entry(s, 0), s->flip ? TABLE_B : TABLE_A, s->flip ? 2 : 1);
		if (!run(s, DESC_PASID(s->flip ? 1ULL : 2ULL, 0ULL), 0))
			return false;
	}
	return s->host.attaches - before >= operations;
}

static bool all_entries(struct scale *s, unsigned int operations)
{
	uint64_t before = s->host.attaches;

	for (unsigned int i = 0; i < operations; i++)
		if (!run(s, DESC_PASID_GLOBAL, 0))
			return false;
	return s->host.attaches == before;
}

/* --- curves over PASIDs --------------------------------------------------------------------- */

static uint64_t *big_entry(struct scale *s, unsigned int pasid)
{
	return at(s, BIG_TABLES_AT + pasid * 64ULL);
}

/* One device; PASIDs 1 to n of it are attached to one table, of a domain. */
static struct scale *with_pasids(unsigned int n)
{
	struct scale *s = make_scale(1);

	for (unsigned int pasid = 0; pasid <= n; pasid++)
		set_stage1(big_entry(s, pasid), TABLE_A, 1);
	for (unsigned int table = 0; table <= n / 64; table++)
		at(s, BIG_DIR_AT)[table] = (BIG_TABLES_AT + table * PAGE) | 1;
	make_context(s, 0, BIG_DIR_AT | 1 | PASIDE | PDTS(4));
	enable(s);
	if (s->host.attaches < n + 1)
		errx(1, "of %u PASIDs only %llu are attached", n,
		     (unsigned long long)s->host.attaches);
	return s;
}

static bool entry_of_a_pasid(struct scale *s, unsigned int operations)
{
	uint64_t before = s->host.attaches, pasid = s->n;

	for (unsigned int i = 0; i < operations; i++) {
		s->flip = !s->flip;
		set_stage1(big_entry(s, s->n), s->flip ? TABLE_B : TABLE_A, s->flip ? 2 : 1);
		if (!run(s, DESC_PASID(s->flip ? 1ULL : 2ULL, pasid), 0))
			return false;
	}
	return s->host.attaches - before >= operations;
}

/* --- curves over cached pages --------------------------------------------------------------- */

/* An emulated device whose n pages lead to one page of memory; all are in the IOTLB. */
static struct scale *with_pages(unsigned int n)
{
	struct scale *s = make_scale(0);
	uint64_t pml4 = STAGE1_AT, pdpt = STAGE1_AT + PAGE, pd = STAGE1_AT + 2 * PAGE;

	make_context(s, EMULATED_RID, DIRS_AT | 1);
	*at(s, DIRS_AT) = (DIRS_AT + PAGE) | 1;
	set_stage1(at(s, DIRS_AT + PAGE), pml4, 1);
	at(s, pml4)[0] = pdpt | 0x67;
	at(s, pdpt)[0] = pd | 0x67;
	for (unsigned int page = 0; page < n; page++) {
		uint64_t pt = STAGE1_AT + (3 + page / 512) * PAGE;

		at(s, pd)[page / 512] = pt | 0x67;
		at(s, pt)[page % 512] = DATA_AT | 0x67;
	}
	enable(s);
	return s;
}

static bool translate(struct scale *s, unsigned int page)
{
	const struct nst_translate_request req = {
		.rid = EMULATED_RID,
		.pasid = NST_NO_PASID,
		.iova = { page * PAGE },
		.write = true,
	};
	struct nst_translation to;

	return !nst_viommu_translate(s->viommu, &req, &to) && to.gpa.v == DATA_AT;
}

static uint64_t walks(struct scale *s)
{
	struct nst_viommu_stats stats;

	nst_viommu_get_stats(s->viommu, &stats);
	return stats.walks;
}

static bool fill(struct scale *s)
{
	for (unsigned int page = 0; page < s->n; page++)
		if (!translate(s, page))
			return false;
	return true;
}

static bool hits(struct scale *s, unsigned int operations)
{
	uint64_t before;
	unsigned int page = 0;

	if (!fill(s))
		return false;
	before = walks(s);
	for (unsigned int i = 0; i < operations; i++) {
		if (!translate(s, page))
			return false;
		page = page + 1 == s->n ? 0 : page + 1;
	}
	return walks(s) == before;
}

/* Pages that nobody has cached, so that those cached stay. */
static bool page_beside_the_cached(struct scale *s, unsigned int operations)
{
	uint64_t before;

	if (!fill(s))
		return false;
	before = walks(s);
	for (unsigned int i = 0; i < operations; i++)
		if (!run(s, DESC_PIOTLB_PAGE(1ULL, 0ULL), 0x40000000ULL + i % 4096 * PAGE))
			return false;
	return fill(s) && walks(s) == before;
}

/* --- a curve over virtual processors ---------------------------------------------------------- */

static struct scale *with_threads(unsigned int n)
{
	struct scale *s = make_scale(1);

	enable(s);
	return s;
}

struct ringer {
	pthread_t thread;
	struct scale *s;
	unsigned int operations;
};

/* Of a queue with nothing in it: what the way to it costs. */
static void *ring(void *opaque)
{
	struct ringer *r = opaque;

	for (unsigned int i = 0; i < r->operations; i++) {
		nst_viommu_mmio_write(r->s->viommu, IQT, 8, r->s->tail);
		nst_viommu_mmio_read(r->s->viommu, FSTS, 4);
	}
	return NULL;
}

static bool doorbells(struct scale *s, unsigned int operations)
{
	struct ringer ringers[MAX_THREADS];

	for (unsigned int i = 0; i < s->n; i++) {
		ringers[i] = (struct ringer){ .s = s, .operations = operations / s->n };
		if (i < operations % s->n)
			ringers[i].operations++;
		if (pthread_create(&ringers[i].thread, NULL, ring, &ringers[i]))
			errx(1, "no thread");
	}
	for (unsigned int i = 0; i < s->n; i++)
		pthread_join(ringers[i].thread, NULL);
	return run(s, DESC_PASID_GLOBAL, 0);
}

/* --- measuring ------------------------------------------------------------------------------ */

struct curve {
	const char *name, *over;
	struct scale *(*make)(unsigned int n);
	bool (*run)(struct scale *s, unsigned int operations);
	unsigned int max, least; /* of n; of operations in a sample */
	double ns[MAX_POINTS], exponent;
	unsigned int n[MAX_POINTS], num_points;
};

#define CURVE(label, thing, maker, runner, most, smallest)                                         \
	{                                                                                          \
		.name = (label), .over = (thing), .make = (maker), .run = (runner), .max = (most), \
		.least = (smallest)                                                                \
	}
static struct curve curves[] = {
	CURVE("a page of a domain is invalidated", "devices of the domain", with_devices,
	      page_of_a_domain, 4096, 1),
	CURVE("a device's table changes", "devices", with_devices, entry_of_a_device, 4096, 1),
	CURVE("every table may have changed", "devices", with_devices, all_entries, 4096, 1),
	CURVE("a PASID's table changes", "PASIDs attached", with_pasids, entry_of_a_pasid, 16384,
	      1),
	CURVE("every table may have changed", "PASIDs attached", with_pasids, all_entries, 16384,
	      1),
	CURVE("a cached translation", "pages cached", with_pages, hits, 65536, 200000),
	CURVE("a page that is not cached is invalidated", "pages cached", with_pages,
	      page_beside_the_cached, 65536, 50000),
	CURVE("a doorbell, and FSTS read", "virtual processors", with_threads, doorbells,
	      MAX_THREADS, 200000),
};

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double sample(const struct curve *c, struct scale *s, unsigned int operations)
{
	double start = cpu_ns();

	if (!c->run(s, operations))
		errx(1, "%s, %s %u: not what should have happened", c->name, c->over, s->n);
	return cpu_ns() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* What comes with a sample whatever its size goes by taking the difference of two. */
static double measure(const struct curve *c, struct scale *s)
{
	unsigned int operations = c->least;
	double ns[REPEATS];

	while (sample(c, s, operations) < MIN_SAMPLE_NS)
		operations *= 2;
	for (int i = 0; i < REPEATS; i++) {
		double small = sample(c, s, operations);

		ns[i] = (sample(c, s, 2 * operations) - small) / operations;
	}
	qsort(ns, REPEATS, sizeof(ns[0]), by_value);
	return ns[REPEATS / 2];
}

/* Least squares of log(ns) over log(n). */
static double fit(const struct curve *c)
{
	double x = 0, y = 0, xx = 0, xy = 0, n = c->num_points;

	for (unsigned int i = 0; i < c->num_points; i++) {
		double lx = log(c->n[i]), ly = log(fmax(c->ns[i], 1e-3));

		x += lx, y += ly, xx += lx * lx, xy += lx * ly;
	}
	return (n * xy - x * y) / (n * xx - x * x);
}

static void take(struct curve *c)
{
	for (unsigned int n = 1; n <= c->max && c->num_points < MAX_POINTS; n *= 4) {
		struct scale *s;

		fprintf(stderr, "\r\033[K[scale] %s: %u %s", c->name, n, c->over);
		s = c->make(n);
		s->n = n;
		c->n[c->num_points] = n;
		c->ns[c->num_points++] = measure(c, s);
		free_scale(s);
	}
	c->exponent = fit(c);
}

/* --- what came out --------------------------------------------------------------------------- */

static void print(const struct curve *c)
{
	printf("\n%s: CPU ns, by %s\n ", c->name, c->over);
	for (unsigned int i = 0; i < c->num_points; i++)
		printf(" %9u", c->n[i]);
	printf("\n ");
	for (unsigned int i = 0; i < c->num_points; i++)
		printf(" %9.0f", c->ns[i]);
	printf("   exponent %.2f\n", c->exponent);
}

static void write_json(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		err(1, "%s", path);
	fprintf(f, "[\n");
	for (size_t k = 0; k < ARRAY_SIZE(curves); k++) {
		const struct curve *c = &curves[k];

		fprintf(f,
			"  {\"operation\": \"%s\", \"over\": \"%s\", \"exponent\": %.3f, \"points\": [",
			c->name, c->over, c->exponent);
		for (unsigned int i = 0; i < c->num_points; i++)
			fprintf(f, "%s[%u, %.1f]", i ? ", " : "", c->n[i], c->ns[i]);
		fprintf(f, "]}%s\n", k + 1 < ARRAY_SIZE(curves) ? "," : "");
	}
	fprintf(f, "]\n");
	if (fclose(f))
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	if (argc != 1 && (argc != 3 || strcmp(argv[1], "--json")))
		errx(2, "usage: bench_scale [--json FILE]");
	for (size_t k = 0; k < ARRAY_SIZE(curves); k++)
		take(&curves[k]);
	fprintf(stderr, "\r\033[K");
	for (size_t k = 0; k < ARRAY_SIZE(curves); k++)
		print(&curves[k]);
	if (argc == 3)
		write_json(argv[2]);
	return 0;
}
