// SPDX-License-Identifier: BSD-3-Clause
/*
 * "nestor qtest": a machine without a processor, for scripts that speak QEMU's qtest
 * protocol (frontend/qtest). One thread, one connection: stdin and stdout, or one client
 * of a socket; the machine ends with it.
 */
#include "cmd/cmd.h"
#include "cmd/host_choice.h"
#include "cmd/vtd_feature.h"
#include "endpoint/endpoint.h"
#include "frontend/qtest/session.h"

#include <nestor/soft_host.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char help[] =
	"usage: nestor qtest [OPTION...]\n"
	"\n"
	"A machine without a processor, with an IOMMU and PCI devices behind it, for scripts that\n"
	"speak QEMU's qtest protocol. docs/qtest.md has its map.\n"
	"\n"
	"  --emulated        the devices are the machine's own; the unit translates for them\n"
	"                    (the default)\n"
	"  --passthrough     the devices are those of a software host, passed through; nested\n"
	"                    tables of the host translate for them\n"
	"  --device testdev[,mode=emulated|passthrough]\n"
	"                    a device, the first at 00:01.0; again for more (default: one); with a\n"
	"                    mode, of that kind whatever the others are\n"
	"  --host soft|/dev/iommu\n"
	"                    whose devices are passed through: those of a software host (the\n"
	"                    default), or of this machine by its kernel\n"
	"  --device 0000:3d:00.0\n"
	"                    with --host /dev/iommu: a PCI device of this machine that vfio-pci\n"
	"                    has; also by its VFIO device, /dev/vfio/devices/vfio0\n"
	"  --offer FEATURE   what the unit offers beyond first-stage tables of four levels:\n"
	"                    second-stage, nested or five-level; and no-caching-mode, as silicon;\n"
	"                    again for more. Of an SMMUv3 beyond stage 1: stage-2\n"
	"  --memory SIZE     memory of the machine, with M or G (default: 256M)\n"
	"  --load FILE       go on as the machine that \"nestor_save\" wrote there; the other options\n"
	"                    are to be the same\n"
	"  --save FILE       where \"nestor_save\" writes\n"
	"  --socket PATH     listen there, for one client, instead of stdin and stdout\n"
	"  --viommu vtd|smmuv3\n"
	"                    the kind of IOMMU: VT-d on a machine like QEMU's q35 (the default), or an\n"
	"                    Arm SMMUv3 on one like its virt\n"
	"  --verbose         what Nestor does, step by step, on stderr\n"
	"  --help\n"
	"\n"
	"Exit status: 0 the script ended, 1 the connection failed, 2 the command line or what it\n"
	"names is wrong.\n";

enum {
	OPT_EMULATED = 256,
	OPT_PASSTHROUGH,
	OPT_DEVICE,
	OPT_HOST,
	OPT_OFFER,
	OPT_MEMORY,
	OPT_LOAD,
	OPT_SAVE,
	OPT_SOCKET,
	OPT_VIOMMU,
	OPT_VERBOSE,
	OPT_HELP,
};

static const struct option longopts[] = {
	{ "emulated", no_argument, NULL, OPT_EMULATED },
	{ "passthrough", no_argument, NULL, OPT_PASSTHROUGH },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "host", required_argument, NULL, OPT_HOST },
	{ "offer", required_argument, NULL, OPT_OFFER },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "load", required_argument, NULL, OPT_LOAD },
	{ "save", required_argument, NULL, OPT_SAVE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "viommu", required_argument, NULL, OPT_VIOMMU },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

enum mode { AS_OTHERS, EMULATED, PASSTHROUGH };

static const char *const units[] = { [QTEST_VTD] = "vtd", [QTEST_SMMUV3] = "smmuv3" };
/* What can nest a unit's tables. */
static const enum nst_soft_iommu host_iommus[] = {
	[QTEST_VTD] = NST_SOFT_VTD,
	[QTEST_SMMUV3] = NST_SOFT_SMMUV3,
};

struct device_choice {
	enum mode mode;	  /* parse() leaves no AS_OTHERS */
	const char *name; /* of this machine's device; NULL: one is made */
};

struct options {
	enum qtest_unit unit;
	enum host_kind host;
	bool passthrough, verbose;
	unsigned int num_devices;
	unsigned int features[2]; /* by enum qtest_unit */
	struct device_choice devices[QTEST_MAX_FUNCTIONS];
	bool need_host, named; /* a device to pass through, one of this machine */
	uint64_t memory;
	const char *socket, *load, *save;
};

static int take_offer(struct options *o, const char *name)
{
	if (strcmp(name, "stage-2"))
		return vtd_feature_take(name, &o->features[QTEST_VTD]);
	o->features[QTEST_SMMUV3] |= NST_SMMUV3_STAGE2;
	return -1;
}

static int take_device(struct options *o, const char *text)
{
	static const char *const names[] = {
		[AS_OTHERS] = "testdev",
		[EMULATED] = "testdev,mode=emulated",
		[PASSTHROUGH] = "testdev,mode=passthrough",
	};

	if (o->num_devices == QTEST_MAX_FUNCTIONS) {
		complain("too many devices: there can be %d", QTEST_MAX_FUNCTIONS);
		return EXIT_USAGE;
	}
	for (enum mode mode = AS_OTHERS; mode <= PASSTHROUGH; mode++) {
		if (strcmp(text, names[mode]))
			continue;
		o->devices[o->num_devices++].mode = mode;
		return -1;
	}
	if (host_choice_is_name(text)) {
		o->devices[o->num_devices++] = (struct device_choice){ PASSTHROUGH, text };
		return -1;
	}
	complain("--device %s is not known here; there is \"testdev\", and with --host "
		 "/dev/iommu a device of this machine, such as 0000:00:02.0",
		 text);
	return EXIT_USAGE;
}

static int take_memory(struct options *o, const char *text)
{
	char *end;
	unsigned long long n;
	unsigned int shift;

	errno = 0;
	n = strtoull(text, &end, 10);
	shift = *end == 'G' ? 30 : 20;
	if (errno || end == text || (*end != 'M' && *end != 'G') || end[1] || !n ||
	    n > QTEST_MAX_MEMORY >> shift) {
		complain("--memory takes a size from 1M to %lluM, not \"%s\"",
			 QTEST_MAX_MEMORY >> 20, text);
		return EXIT_USAGE;
	}
	o->memory = (uint64_t)n << shift;
	return -1;
}

static int take_unit(struct options *o, const char *name)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(name, units[i]))
			continue;
		o->unit = (enum qtest_unit)i;
		return -1;
	}
	complain("--viommu %s is not known; there are \"vtd\" and \"smmuv3\"", name);
	return EXIT_USAGE;
}

static int take_option(int opt, struct options *o)
{
	switch (opt) {
	case OPT_EMULATED:
		o->passthrough = false;
		return -1;
	case OPT_PASSTHROUGH:
		o->passthrough = true;
		return -1;
	case OPT_DEVICE:
		return take_device(o, optarg);
	case OPT_HOST:
		return host_choice_parse(optarg, &o->host);
	case OPT_OFFER:
		return take_offer(o, optarg);
	case OPT_MEMORY:
		return take_memory(o, optarg);
	case OPT_LOAD:
		o->load = optarg;
		return -1;
	case OPT_SAVE:
		o->save = optarg;
		return -1;
	case OPT_SOCKET:
		o->socket = optarg;
		return -1;
	case OPT_VIOMMU:
		return take_unit(o, optarg);
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

static bool named_before(const struct options *o, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (o->devices[i].name && o->devices[j].name &&
		    !strcmp(o->devices[i].name, o->devices[j].name))
			return true;
	return false;
}

/* Are the devices those of the host? */
static int check_devices(struct options *o)
{
	for (unsigned int i = 0; i < o->num_devices; i++) {
		struct device_choice *d = &o->devices[i];

		if (d->mode == AS_OTHERS)
			d->mode = o->passthrough ? PASSTHROUGH : EMULATED;
		o->need_host |= d->mode == PASSTHROUGH;
		o->named |= d->name != NULL;
		if (d->name && o->host != HOST_KERNEL) {
			complain("%s is a device of this machine: it needs --host /dev/iommu",
				 d->name);
			return EXIT_USAGE;
		}
		if (named_before(o, i)) {
			complain("--device %s is there twice", d->name);
			return EXIT_USAGE;
		}
		if (!d->name && d->mode == PASSTHROUGH && o->host == HOST_KERNEL) {
			complain("a testdev cannot be passed through with --host /dev/iommu, only "
				 "emulated: name a device of this machine, such as 0000:00:02.0");
			return EXIT_USAGE;
		}
	}
	if (o->host == HOST_KERNEL && !o->named) {
		complain("--host /dev/iommu needs a --device of this machine, such as "
			 "0000:00:02.0");
		return EXIT_USAGE;
	}
	if (o->named && (o->load || o->save)) {
		complain("a machine with a device of --host /dev/iommu cannot be saved: --load "
			 "and --save are for testdev");
		return EXIT_USAGE;
	}
	return -1;
}

/* -1 if there is something to run, else the status to exit with. */
static int parse(int argc, char **argv, struct options *o)
{
	int opt, status = -1;

	*o = (struct options){ .memory = 256 << 20 };
	while (status < 0 && (opt = getopt_long(argc, argv, "+", longopts, NULL)) != -1)
		status = take_option(opt, o);
	if (status >= 0)
		return status;
	if (optind < argc) {
		complain("\"%s\" is no option", argv[optind]);
		return EXIT_USAGE;
	}
	if (!o->num_devices)
		o->num_devices = 1;
	status = check_devices(o);
	if (status >= 0)
		return status;
	if (o->unit != QTEST_VTD && o->features[QTEST_VTD]) {
		complain("--offer names what only a VT-d unit has; an SMMUv3 has \"stage-2\"");
		return EXIT_USAGE;
	}
	if (o->unit != QTEST_SMMUV3 && o->features[QTEST_SMMUV3]) {
		complain("--offer stage-2 is for --viommu smmuv3");
		return EXIT_USAGE;
	}
	if (o->need_host && (o->features[QTEST_VTD] & ~NST_VTD_FIVE_LEVEL)) {
		complain("--passthrough devices cannot have the features that --offer names");
		return EXIT_USAGE;
	}
	return -1;
}

/* --- the machine -------------------------------------------------------------------------- */

/* A device that is made, for the software host or the machine itself. */
static int add_made(struct qtest_machine *m, enum mode mode, struct nst_host *host,
		    const struct nst_log *log)
{
	struct endpoint *ep;
	char path[64];
	int ret;

	if (mode == PASSTHROUGH) {
		ret = nst_soft_add_device(host, "testdev", path, sizeof(path), NULL);
		return ret ? ret : machine_add_passthrough(m, path);
	}
	ret = endpoint_create("testdev", log, &ep, NULL);
	return ret ? ret : machine_add_emulated(m, ep);
}

/* -1, or the status to exit with, the user having been told. */
static int add_device(struct qtest_machine *m, const struct device_choice *d, struct nst_host *host,
		      const struct qtest_machine_config *config)
{
	struct host_device found;
	int ret, status;

	if (!d->name) {
		ret = add_made(m, d->mode, host, config->log);
		if (!ret)
			return -1;
		complain("cannot make the machine: %s", strerror(-ret));
		return EXIT_FAILED;
	}
	status = host_choice_find(host, d->name, host_iommus[config->unit], &found);
	if (status >= 0)
		return status;
	ret = machine_add_passthrough(m, found.path);
	if (!ret)
		return -1;
	host_choice_explain(d->name, ret);
	return EXIT_FAILED;
}

static int make_machine(const struct options *o, struct nst_host *host, const struct nst_log *log,
			struct qtest_machine **out)
{
	const struct qtest_machine_config config = {
		.unit = o->unit,
		.host = host,
		.log = log,
		.memory = o->memory,
		.features = o->features[o->unit],
	};
	int ret = machine_create(&config, out), status = -1;

	if (ret) {
		*out = NULL;
		complain("cannot make the machine: %s", strerror(-ret));
		return EXIT_FAILED;
	}
	for (unsigned int i = 0; i < o->num_devices && status < 0; i++)
		status = add_device(*out, &o->devices[i], host, &config);
	return status;
}

/* All of @path's bytes, to be freed. */
static int read_file(const char *path, void **data, size_t *size)
{
	FILE *f = fopen(path, "rbe");
	struct stat st;
	int ret = 0;

	if (!f)
		return -errno;
	if (fstat(fileno(f), &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode))
		ret = -EINVAL;
	*size = ret ? 0 : (size_t)st.st_size;
	*data = ret ? NULL : malloc(*size + 1);
	if (!ret && !*data)
		ret = -ENOMEM;
	if (!ret && fread(*data, 1, *size, f) != *size) {
		free(*data);
		ret = -EIO;
	}
	fclose(f);
	return ret;
}

static int load(struct qtest_machine *m, const char *path)
{
	void *data = NULL;
	size_t size = 0;
	int ret = read_file(path, &data, &size);

	if (!ret) {
		ret = machine_restore(m, data, size);
		free(data);
	}
	if (ret)
		complain("cannot load the machine from %s: %s", path, strerror(-ret));
	return ret;
}

/* --- the connection ----------------------------------------------------------------------- */

static int send_output(struct qtest_session *s, int fd)
{
	size_t size;
	const char *data = session_output(s, &size);

	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
		data += n;
		size -= (size_t)n;
	}
	session_output_sent(s);
	return 0;
}

static int serve(struct qtest_session *s, int in, int out)
{
	char buf[65536];
	int ret = 0;

	while (!ret) {
		ssize_t n = read(in, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? 0 : -errno;
		if (!n)
			return 0;
		ret = session_input(s, buf, (size_t)n);
		if (!ret)
			ret = send_output(s, out);
	}
	return ret;
}

/* The one client of a socket that has its name for no longer than it takes to come. */
static int accept_client(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, client = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		client = -errno;
		close(fd);
		return client;
	}
	if (!listen(fd, 1))
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	if (client < 0)
		client = -errno;
	close(fd);
	unlink(path);
	return client;
}

static int run(const struct options *o, struct qtest_machine *m)
{
	struct qtest_session *s;
	int in = STDIN_FILENO, out = STDOUT_FILENO, ret = session_create(m, &s);

	if (ret)
		return complain("cannot begin: %s", strerror(-ret)), EXIT_FAILED;
	if (o->save)
		session_save_to(s, o->save);
	if (o->socket) {
		in = out = accept_client(o->socket);
		if (in < 0) {
			complain("cannot listen at %s: %s", o->socket, strerror(-in));
			session_destroy(s);
			return EXIT_USAGE;
		}
	}
	ret = serve(s, in, out);
	if (ret)
		complain("the connection failed: %s", strerror(-ret));
	if (o->socket)
		close(in);
	session_destroy(s);
	return ret ? EXIT_FAILED : EXIT_OK;
}

int cmd_qtest(int argc, char **argv)
{
	struct nst_soft_config soft = { .check = true, .synchronous = true };
	struct qtest_machine *machine = NULL;
	struct nst_host *host = NULL;
	struct options options;
	int status = parse(argc, argv, &options);

	if (status >= 0)
		return status;
	signal(SIGPIPE, SIG_IGN);
	soft.iommu = host_iommus[options.unit];
	soft.log = cmd_log(options.verbose ? NST_LOG_DEBUG : NST_LOG_WARN);
	if (options.need_host)
		status = host_choice_open(options.host, &soft, &host);
	if (status < 0)
		status = make_machine(&options, host, soft.log, &machine);
	if (status < 0 && options.load && load(machine, options.load))
		status = EXIT_USAGE;
	if (status < 0)
		status = run(&options, machine);
	machine_destroy(machine);
	nst_host_destroy(host);
	return status;
}
