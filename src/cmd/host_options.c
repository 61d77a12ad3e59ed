// SPDX-License-Identifier: BSD-3-Clause
/* See host_options.h. */
#include "cmd/host_options.h"

#include "cmd/cmd.h"
#include "endpoint/endpoint_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: nestor host [OPTION...] [--] COMMAND [ARGUMENT...]\n"
	"\n"
	"Runs COMMAND, a VMM, with /dev/iommu and VFIO devices served by the software host in its\n"
	"own process: a VMM that can nest translation on hardware does so here without any.\n"
	"\n"
	"  --device DESC     a simulated device; again for more. DESC is\n"
	"                      nvme,file=IMAGE[,serial=S][,readonly=on][,msix=off][,incoming=on]\n"
	"                      dmatest[,queues=N][,pasid-bits=N][,ats=off][,pri=off]\n"
	"                      testdev\n"
	"  --iommu KIND      the IOMMU of the host: vtd (default), smmuv3, amd (without nesting),\n"
	"                    or selftest (for the kernel's own tests of iommufd)\n"
	"  --check           the IOMMU sanitizer: verify every IOTLB hit against the tables, name\n"
	"                    DMA after unmap and while blocked, and say which iommufd objects the\n"
	"                    command had left at its end\n"
	"  --quirks          where Linux 7.2 does not keep its own rules, do as it does\n"
	"  --stalls          with smmuv3: devices can stall, faults of theirs wait in fault queues\n"
	"  --strict-abi      with vtd: refuse what Linux 7.2 does not have (docs/vtd-veventq.md)\n"
	"  --trace FILE      write every call to the software host with its structures decoded;\n"
	"                    JSON lines if FILE ends in .jsonl\n"
	"  --report FILE     write what happened as JSON\n"
	"  --quiet           no table at the end\n"
	"  --verbose         what devices do, and without --trace the calls, on stderr\n"
	"  --help\n"
	"\n"
	"In the arguments, \"nestor:N\" stands for an open descriptor of device N, from 0, and\n"
	"\"sysfsdev=nestor:N\" for one of a directory like the device's in sysfs:\n"
	"\n"
	"  nestor host --check --device nvme,file=disk.img -- qemu-system-x86_64 -M q35 ... \\\n"
	"    -device intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off \\\n"
	"    -object iommufd,id=iommufd0 \\\n"
	"    -device vfio-pci,id=disk0,iommufd=iommufd0,fd=nestor:0\n"
	"\n"
	"The devices are /dev/vfio/devices/vfio0 and so on, too. If there is no "
	"qemu-system-x86_64\n"
	"on PATH, the one that scripts/setup fetched is taken.\n"
	"\n"
	"Exit status: that of COMMAND (128 + N if signal N ended it), 2 if it was not started\n"
	"because the command line or what it names is wrong.\n";

enum {
	OPT_DEVICE = 256,
	OPT_IOMMU,
	OPT_CHECK,
	OPT_QUIRKS,
	OPT_STALLS,
	OPT_STRICT_ABI,
	OPT_TRACE,
	OPT_REPORT,
	OPT_QUIET,
	OPT_VERBOSE,
	OPT_HELP
};

static const struct option longopts[] = {
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "iommu", required_argument, NULL, OPT_IOMMU },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "quirks", no_argument, NULL, OPT_QUIRKS },
	{ "stalls", no_argument, NULL, OPT_STALLS },
	{ "strict-abi", no_argument, NULL, OPT_STRICT_ABI },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "report", required_argument, NULL, OPT_REPORT },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int out_of_memory(void)
{
	complain("out of memory");
	return EXIT_FAILED;
}

static int refuse_device(const char *description, const char *why)
{
	complain("--device %s: %s", description, why);
	return EXIT_USAGE;
}

/* ",key=value" with the commas of the value doubled. */
static void put_option(FILE *out, const char *key, const char *directory, const char *value)
{
	const char *parts[] = { directory ? directory : "", directory ? "/" : "", value };

	fprintf(out, ",%s=", key);
	for (unsigned int i = 0; i < 3; i++)
		for (const char *p = parts[i]; *p; p++)
			fputs(*p == ',' ? ",," : (char[]){ *p, '\0' }, out);
}

/* The device is made in another process, which may be in another directory by then. */
static int make_absolute(const char *description, char **out)
{
	struct endpoint_options opts;
	char *cwd = getcwd(NULL, 0), *why = NULL;
	size_t size;
	FILE *text;
	int err, status;

	err = endpoint_options_parse(description, &opts, &why);
	if (err) {
		status = refuse_device(description, why ? why : strerror(-err));
		free(why);
		free(cwd);
		return status;
	}
	text = open_memstream(out, &size);
	if (text) {
		fputs(opts.model, text);
		for (size_t i = 0; i < opts.count; i++)
			put_option(text, opts.list[i].key,
				   !strcmp(opts.list[i].key, "file") && opts.list[i].value[0] != '/'
					   ? cwd
					   : NULL,
				   opts.list[i].value);
	}
	endpoint_options_fini(&opts);
	free(cwd);
	if (!text || fclose(text))
		return out_of_memory();
	return -1;
}

static int add_device(struct host_options *o, const char *description)
{
	if (o->num_devices == PRELOAD_MAX_DEVICES)
		return refuse_device(description, "there can be no more than 16 devices");
	if (strlen(description) >= PRELOAD_DESCRIPTION_BYTES / 2)
		return refuse_device("...", "the description is too long");
	return make_absolute(description, &o->devices[o->num_devices++]);
}

static int set_iommu(struct host_options *o, const char *name)
{
	static const char *const names[NST_SOFT_NUM_IOMMUS] = {
		[NST_SOFT_VTD] = "vtd",
		[NST_SOFT_SMMUV3] = "smmuv3",
		[NST_SOFT_AMD] = "amd",
		[NST_SOFT_SELFTEST] = "selftest",
	};

	for (unsigned int i = 0; i < NST_SOFT_NUM_IOMMUS; i++)
		if (!strcmp(name, names[i])) {
			o->iommu = (enum nst_soft_iommu)i;
			return -1;
		}
	complain("--iommu %s: there is no such IOMMU; there are vtd, smmuv3, amd and selftest",
		 name);
	return EXIT_USAGE;
}

static int take_option(int opt, struct host_options *o)
{
	switch (opt) {
	case OPT_IOMMU:
		return set_iommu(o, optarg);
	case OPT_DEVICE:
		return add_device(o, optarg);
	case OPT_CHECK:
		o->check = true;
		return -1;
	case OPT_QUIRKS:
		o->quirks = true;
		return -1;
	case OPT_STALLS:
		o->stalls = true;
		return -1;
	case OPT_STRICT_ABI:
		o->strict_abi = true;
		return -1;
	case OPT_TRACE:
		o->trace = optarg;
		return -1;
	case OPT_REPORT:
		o->report = optarg;
		return -1;
	case OPT_QUIET:
		o->quiet = true;
		return -1;
	case OPT_VERBOSE:
		o->verbose = true;
		return -1;
	case OPT_HELP:
		fputs(help, stdout);
		return EXIT_OK;
	default: /* getopt has said what is wrong */
		return EXIT_USAGE;
	}
}

/* Make them all once, so that what is wrong with one of them is said before COMMAND starts. */
static int try_devices(const struct host_options *o)
{
	struct nst_soft_config config = { .log = cmd_log(NST_LOG_WARN), .iommu = o->iommu };
	struct nst_host *host;
	int ret = nst_host_soft_create(&config, &host), status = -1;

	if (ret)
		return out_of_memory();
	for (unsigned int i = 0; i < o->num_devices && status < 0; i++) {
		char path[64], *why = NULL;

		ret = nst_soft_add_device(host, o->devices[i], path, sizeof(path), &why);
		if (ret)
			status = refuse_device(o->devices[i], why ? why : strerror(-ret));
		free(why);
	}
	nst_host_destroy(host);
	return status;
}

int host_options_parse(int argc, char **argv, struct host_options *o)
{
	int opt, status;

	*o = (struct host_options){ 0 };
	while ((opt = getopt_long(argc, argv, "+", longopts, NULL)) != -1) {
		status = take_option(opt, o);
		if (status >= 0)
			return status;
	}
	if (optind == argc) {
		complain("there is no command to run; \"nestor host --help\" tells how");
		return EXIT_USAGE;
	}
	o->command = argv + optind;
	if (o->stalls && o->iommu != NST_SOFT_SMMUV3) {
		complain("--stalls: only devices behind an SMMUv3 can stall (--iommu smmuv3)");
		return EXIT_USAGE;
	}
	return try_devices(o);
}

void host_options_fini(struct host_options *o)
{
	for (unsigned int i = 0; i < o->num_devices; i++)
		free(o->devices[i]);
}
