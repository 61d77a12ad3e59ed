// SPDX-License-Identifier: BSD-3-Clause
/* See run_options.h. */
#include "cmd/run_options.h"

#include "cmd/cmd.h"
#include "cmd/vtd_feature.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"usage: nestor run [OPTION...] [-- QEMU-ARGUMENT...]\n"
	"\n"
	"Boots a Linux guest in QEMU (vfio-user-pci, 10.1 or newer). Its IOMMU is Nestor's, its\n"
	"devices are passed through to it from the software host, and all their DMA is\n"
	"translated by the guest's tables nested on the host's.\n"
	"\n"
	"  --device DESC     a device to pass through; again for more. DESC is\n"
	"                      nvme,file=IMAGE[,serial=S][,readonly=on]\n"
	"                      dmatest[,queues=N][,pasid-bits=N][,ats=off][,pri=off]\n"
	"                      testdev\n"
	"                    and, of a device with PASIDs, vpasid-offset=N: where in its\n"
	"                    configuration space the guest sees that capability (0xff8);\n"
	"                    at=PLACE: slot (on the root bus, the default) or port (on a PCIe\n"
	"                    root port: it can be unplugged); plugged=off: the port is empty\n"
	"                    until \"plug N\"; unit=N: the IOMMU it is behind (0)\n"
	"                    (default: an NVMe disk of 64 MiB in memory)\n"
	"  --viommu KIND     the guest's IOMMU, and with it what machine it is: vtd (default), an\n"
	"                    Intel VT-d unit in a PC, or smmuv3, an Arm SMMUv3 in QEMU's \"virt\"\n"
	"                    machine with UEFI; again for more of that kind\n"
	"  --kernel FILE     bzImage or, on Arm, Image (default: the one scripts/setup fetched)\n"
	"  --initrd FILE     (default: the one scripts/setup made)\n"
	"  --append WORDS    added to the kernel command line, which begins\n"
	"                      " MACHINE_PC_APPEND "\n"
	"                    and on Arm\n"
	"                      " MACHINE_VIRT_APPEND "\n"
	"  --job NAME        run a job of the default initrd instead of a shell, and exit with 0\n"
	"                    only if the guest says its success word: demo, io, verify,\n"
	"                    replug, reboot, powercut, disks, hotplug, faults (with --device\n"
	"                    nvme,file=IMAGE --device dmatest), event (on Arm, with --device\n"
	"                    testdev), pasid, sva (which wants --device dmatest,queues=64\n"
	"                    --append no5lvl)\n"
	"  --report FILE     write what happened as JSON\n"
	"  --trace FILE      write every call to the host with its structures decoded; JSON lines\n"
	"                    if FILE ends in .jsonl\n"
	"  --quiet           show progress instead of the guest's console\n"
	"  --timeout SECONDS end the guest, and fail, after that long\n"
	"  --memory SIZE     guest memory as QEMU's -m takes it (default: 512M)\n"
	"  --cpus N          (default: 2)\n"
	"  --accel NAME      QEMU accelerator: tcg (default) or kvm\n"
	"  --qemu FILE       the QEMU to use (default: qemu-system-x86_64, or -aarch64, on PATH\n"
	"                    if it is new enough, else the one scripts/setup fetched)\n"
	"  --control PATH    a socket that takes commands in lines: \"unplug N\" and \"plug N\",\n"
	"                    of the Nth --device, counted from 0; \"withdraw N\", the host asks\n"
	"                    for it back; \"pull N\", it is pulled out of its slot. \"ok\" when\n"
	"                    it is done\n"
	"  --emulated        no host and nothing passed through: the devices are emulated, and the\n"
	"                    IOMMU, a VT-d, translates for them itself. With --offer nested the\n"
	"                    guest's kernel can nest on it: it is hardware to a host in a guest\n"
	"  --offer FEATURE   what it offers then beyond first-stage tables of four levels:\n"
	"                    second-stage, nested or five-level; and no-caching-mode, as silicon\n"
	"                    is; again for more\n"
	"  --host soft|/dev/iommu\n"
	"                    the host that translates, and has the devices: software (the\n"
	"                    default), or the running kernel. Then DESC names a PCI device of this\n"
	"                    machine that vfio-pci has, 0000:3d:00.0, or its VFIO device,\n"
	"                    /dev/vfio/devices/vfio0; at=, plugged= and unit= as above\n"
	"  --strict-abi      a host that has only what Linux 7.2 has: it reports no faults of DMA\n"
	"                    that the guest's tables refuse (docs/vtd-veventq.md)\n"
	"  --no-check        do not verify every IOTLB hit against the tables\n"
	"  --drop-invalidation-after BYTES\n"
	"                    for testing the test bench: lose one invalidation after devices\n"
	"                    have written that many bytes\n"
	"  --verbose         what Nestor does, step by step\n"
	"  --help\n"
	"\n"
	"Exit status: 0 success, 1 the guest or QEMU failed, 2 the command line or what it names\n"
	"is wrong, 128 + N ended by signal N.\n";

enum {
	OPT_DEVICE = 256,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_APPEND,
	OPT_JOB,
	OPT_REPORT,
	OPT_TRACE,
	OPT_QUIET,
	OPT_TIMEOUT,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_ACCEL,
	OPT_QEMU,
	OPT_VIOMMU,
	OPT_CONTROL,
	OPT_EMULATED,
	OPT_OFFER,
	OPT_HOST,
	OPT_STRICT_ABI,
	OPT_NO_CHECK,
	OPT_DROP,
	OPT_VERBOSE,
	OPT_HELP,
};

static const struct option longopts[] = {
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "job", required_argument, NULL, OPT_JOB },
	{ "report", required_argument, NULL, OPT_REPORT },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "accel", required_argument, NULL, OPT_ACCEL },
	{ "qemu", required_argument, NULL, OPT_QEMU },
	{ "viommu", required_argument, NULL, OPT_VIOMMU },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "emulated", no_argument, NULL, OPT_EMULATED },
	{ "offer", required_argument, NULL, OPT_OFFER },
	{ "host", required_argument, NULL, OPT_HOST },
	{ "strict-abi", no_argument, NULL, OPT_STRICT_ABI },
	{ "no-check", no_argument, NULL, OPT_NO_CHECK },
	{ "drop-invalidation-after", required_argument, NULL, OPT_DROP },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static int refuse(const char *why, const char *value)
{
	complain(why, value);
	return EXIT_USAGE;
}

static int parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
			uint64_t *out)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || n < min || n > max) {
		complain("%s takes a number from %llu to %llu, not \"%s\"", option,
			 (unsigned long long)min, (unsigned long long)max, text);
		return EXIT_USAGE;
	}
	*out = n;
	return -1;
}

static int take_viommu(struct run_options *o, const char *kind)
{
	const struct machine *machine = machine_find(kind);

	if (!machine)
		return refuse("--viommu is vtd or smmuv3, not \"%s\"", kind);
	if (o->num_units && machine != o->machine)
		return refuse("the IOMMUs of a guest are all of one kind: \"%s\" is of another",
			      kind);
	if (o->num_units++ == RUN_MAX_UNITS)
		return refuse("too many IOMMUs: \"%s\" is the 5th", kind);
	o->machine = machine;
	return -1;
}

static int take_option(int opt, struct run_options *o, const char **append)
{
	uint64_t n = 0;
	int status;

	switch (opt) {
	case OPT_DEVICE:
		if (o->num_devices == RUN_MAX_DEVICES)
			return refuse("too many devices: \"%s\" is the 17th", optarg);
		o->devices[o->num_devices++] = optarg;
		return -1;
	case OPT_KERNEL:
	case OPT_INITRD: {
		char **file = opt == OPT_KERNEL ? &o->kernel : &o->initrd;

		free(*file);
		*file = strdup(optarg);
		return -1;
	}
	case OPT_APPEND:
		*append = optarg;
		return -1;
	case OPT_JOB:
		if (strspn(optarg, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(optarg))
			return refuse("a job is a plain name, not \"%s\"", optarg);
		o->job = optarg;
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
	case OPT_TIMEOUT:
		status = parse_number("--timeout", optarg, 1, 86400, &n);
		o->timeout_s = (unsigned int)n;
		return status;
	case OPT_MEMORY:
		o->memory = optarg;
		return -1;
	case OPT_CPUS:
		o->cpus = optarg;
		return parse_number("--cpus", optarg, 1, 255, &n);
	case OPT_ACCEL:
		o->accel = optarg;
		if (strcmp(optarg, "tcg") && strcmp(optarg, "kvm"))
			return refuse("--accel is tcg or kvm, not \"%s\"", optarg);
		return -1;
	case OPT_QEMU:
		o->qemu = optarg;
		return -1;
	case OPT_VIOMMU:
		return take_viommu(o, optarg);
	case OPT_CONTROL:
		o->control = optarg;
		return -1;
	case OPT_EMULATED:
		o->emulated = true;
		return -1;
	case OPT_OFFER:
		return vtd_feature_take(optarg, &o->features);
	case OPT_HOST:
		return host_choice_parse(optarg, &o->host);
	case OPT_STRICT_ABI:
		o->strict_abi = true;
		return -1;
	case OPT_NO_CHECK:
		o->check = false;
		return -1;
	case OPT_DROP:
		return parse_number("--drop-invalidation-after", optarg, 1, UINT64_MAX,
				    &o->drop_after);
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

/* A boot file that was named, or the default from the cache; it must be readable. */
static int settle_file(char **file, const char *in_cache, const char *what, const char *option,
		       const struct machine *machine)
{
	bool named = *file;

	if (!named)
		*file = cache_path(in_cache);
	if (!*file) {
		complain("there is no cache to find a %s in: set HOME or NESTOR_CACHE, or give %s",
			 what, option);
		return EXIT_USAGE;
	}
	if (!access(*file, R_OK))
		return -1;
	if (named)
		complain("the %s %s cannot be read: %s", what, *file, strerror(errno));
	else
		complain("there is no %s at %s: run \"scripts/setup %s\", or give %s", what, *file,
			 machine->part, option);
	return EXIT_USAGE;
}

static int settle_append(struct run_options *o, const char *append)
{
	if (asprintf(&o->append, "%s%s%s%s%s", o->machine->append, o->job ? " nestor.job=" : "",
		     o->job ? o->job : "", append ? " " : "", append ? append : "") >= 0)
		return -1;
	o->append = NULL;
	complain("out of memory");
	return EXIT_FAILED;
}

/* What is about a host, or for none. */
static int check_emulated(const struct run_options *o)
{
	if (o->features && !o->emulated)
		return refuse("%s is for emulated devices: give --emulated too", "--offer");
	if (!o->emulated)
		return -1;
	if (o->machine != &machine_pc)
		return refuse("--emulated needs --viommu vtd, not \"%s\"", o->machine->viommu);
	if (o->trace || o->strict_abi || o->drop_after || o->host != HOST_SOFT)
		return refuse("%s is about the host, and with --emulated there is none",
			      o->trace		     ? "--trace"
			      : o->host != HOST_SOFT ? "--host"
			      : o->strict_abi	     ? "--strict-abi"
						     : "--drop-invalidation-after");
	return -1;
}

/* What there is for one kind of host only. */
static int check_host(const struct run_options *o)
{
	const char *soft = !o->check	   ? "--no-check"
			   : o->strict_abi ? "--strict-abi"
			   : o->drop_after ? "--drop-invalidation-after"
					   : NULL;

	if (o->host == HOST_SOFT)
		return -1;
	if (soft)
		return refuse("%s is for the software host, not for --host /dev/iommu", soft);
	if (!o->num_devices)
		return refuse("--host /dev/iommu needs a --device of this machine, such as %s",
			      "0000:3d:00.0");
	return -1;
}

int run_options_parse(int argc, char **argv, struct run_options *o)
{
	const char *append = NULL;
	int opt, status;

	*o = (struct run_options){
		.machine = &machine_pc,
		.memory = "512M",
		.cpus = "2",
		.accel = "tcg",
		.check = true,
	};
	while ((opt = getopt_long(argc, argv, "+", longopts, NULL)) != -1) {
		status = take_option(opt, o, &append);
		if (status >= 0)
			return status;
	}
	if (optind < argc && strcmp(argv[optind - 1], "--"))
		return refuse("\"%s\" is no option; arguments for QEMU go after \"--\"",
			      argv[optind]);
	o->extra = argv + optind;
	o->num_units += !o->num_units;
	status = check_emulated(o);
	if (status < 0)
		status = check_host(o);
	if (status < 0)
		status = settle_file(&o->kernel, o->machine->kernel, "guest kernel", "--kernel",
				     o->machine);
	if (status < 0)
		status = settle_file(&o->initrd, o->machine->initrd, "guest initramfs", "--initrd",
				     o->machine);
	return status < 0 ? settle_append(o, append) : status;
}

void run_options_fini(struct run_options *o)
{
	free(o->kernel);
	free(o->initrd);
	free(o->append);
}
