// SPDX-License-Identifier: BSD-3-Clause
/*
 * An NVMe controller from its options:
 *	file=PATH	the disk, a regular file (needed)
 *	readonly=on|off	off; on: the namespace is write-protected
 *	lba=512|4096	512 bytes per block
 *	queues=N	8 pairs of I/O queues, at most 64
 *	msix=on|off	on; MSI with 8 vectors is always there
 *	incoming=on|off	off; on: the destination of a migration, see nvme_backend.h
 *	serial=TEXT	20 printable characters; made from the file's identity if not given.
 *			The namespace UUID and the NQN are derived from it.
 */
#include "endpoint/nvme.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct settings {
	const char *file, *serial;
	bool readonly, msix, incoming;
	unsigned long lba, queues;
};

static int check_serial(const char *serial, char **err_text)
{
	size_t length = strlen(serial);

	for (const char *p = serial; *p; p++)
		if (*p < ' ' || *p > '~')
			length = 0;
	if (length < 1 || length > 20)
		return endpoint_fail(err_text, -EINVAL,
				     "The device option serial is \"%s\", it must be 1 to 20 "
				     "printable ASCII characters.",
				     serial);
	return 0;
}

static int parse(struct endpoint_options *opts, struct settings *s, char **err_text)
{
	int err;

	*s = (struct settings){ .msix = true, .lba = 512, .queues = 8 };
	s->file = endpoint_options_string(opts, "file");
	s->serial = endpoint_options_string(opts, "serial");
	err = endpoint_options_bool(opts, "readonly", &s->readonly, err_text);
	if (!err)
		err = endpoint_options_bool(opts, "msix", &s->msix, err_text);
	if (!err)
		err = endpoint_options_bool(opts, "incoming", &s->incoming, err_text);
	if (!err)
		err = endpoint_options_number(opts, "lba", 512, 4096, &s->lba, err_text);
	if (!err)
		err = endpoint_options_number(opts, "queues", 1, NVME_IO_QUEUES_MAX, &s->queues,
					      err_text);
	if (!err)
		err = endpoint_options_finish(opts,
					      "file, readonly, lba, queues, msix, serial and "
					      "incoming",
					      err_text);
	if (!err && s->lba != 512 && s->lba != 4096)
		err = endpoint_fail(err_text, -EINVAL,
				    "The device option lba is %lu, it must be 512 or 4096.",
				    s->lba);
	if (!err && (!s->file || !*s->file))
		err = endpoint_fail(err_text, -EINVAL,
				    "The device nvme needs a disk file: nvme,file=PATH.");
	if (!err && s->serial)
		err = check_serial(s->serial, err_text);
	return err;
}

/* FNV-1a, twice with different starts: a stable name, not a secret. */
static uint64_t hash_text(const char *text, uint64_t hash)
{
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
	return hash ^ hash >> 29;
}

static void set_identity(struct nvme_ctrl *c, const char *serial)
{
	if (serial)
		snprintf(c->serial, sizeof(c->serial), "%s", serial);
	else
		snprintf(c->serial, sizeof(c->serial), "NST%016" PRIX64, c->disk.identity);
	le_store(&c->uuid[0], 8, hash_text(c->serial, 0xcbf29ce484222325));
	le_store(&c->uuid[8], 8, hash_text(c->serial, 0x84222325cbf29ce4));
	/* RFC 9562: version 8 (the bits mean what their maker likes), variant 10b. */
	c->uuid[6] = (c->uuid[6] & 0x0f) | 0x80;
	c->uuid[8] = (c->uuid[8] & 0x3f) | 0x80;
}

static void build_config(struct nvme_ctrl *c, bool msix)
{
	struct pci_config *cfg = &c->ep.config;

	pci_config_init(cfg, NVME_PCI_VENDOR, NVME_PCI_DEVICE, 0x010802, 1);
	pci_config_set_bar(cfg, 0, NVME_BAR_SIZE, true);
	pci_config_add_power(cfg);
	pci_config_add_msi(cfg, NVME_MSI_VECTORS);
	pci_config_add_express(cfg);
	c->vectors = NVME_MSI_VECTORS;
	if (msix) {
		c->vectors = MAX(c->io_queues + 1, NVME_MSI_VECTORS);
		pci_config_add_msix(cfg, c->vectors, 0, NVME_MSIX_TABLE, NVME_MSIX_PBA);
	}
	c->ep.bar_sizes[0] = NVME_BAR_SIZE;
}

int nvme_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		char **err_text)
{
	struct settings s;
	struct nvme_ctrl *c;
	int err = parse(opts, &s, err_text);

	if (err)
		return err;
	c = alloc_object(struct nvme_ctrl);
	if (!c)
		return -ENOMEM;
	c->ep.ops = &nvme_ops;
	c->ep.log = log;
	c->io_queues = (unsigned int)s.queues;
	c->lba_lg2 = ilog2_u64(s.lba);
	build_config(c, s.msix);
	nvme_init(c);
	err = nvme_backend_open(&c->disk, s.file, s.readonly, s.incoming, s.lba, err_text);
	if (!err) {
		c->bounce = alloc_array(NVME_TRANSFER_MAX, 1);
		if (!c->bounce)
			err = -ENOMEM;
	}
	if (err) {
		nvme_fini(c);
		return err;
	}
	c->blocks = c->disk.size_bytes >> c->lba_lg2;
	clock_gettime(CLOCK_MONOTONIC, &c->created);
	set_identity(c, s.serial);
	log_info(log, "nvme: %s, %" PRIu64 " blocks of %lu bytes, serial %s%s", s.file, c->blocks,
		 s.lba, c->serial, s.readonly ? ", read-only" : "");
	*out = &c->ep;
	return 0;
}
