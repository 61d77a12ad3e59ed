// SPDX-License-Identifier: BSD-3-Clause
/* See server.h. */
#include "cmd/server.h"

#include "base/bits.h"
#include "cmd/cmd.h"
#include "cmd/layout.h"
#include "passthrough/pci_cdev.h"

#include <nestor/trace_host.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 64 << 20, END_TIMEOUT_MS = 5000 };

static int fail(const char *what, int err)
{
	complain("%s: %s", what, strerror(-err));
	return EXIT_FAILED;
}

static void found_unshared(void *opaque)
{
	struct server *server = opaque;

	server->unshared = true;
}

/*
 * The socket must have a name for the moment of bind(); QEMU connects through a
 * descriptor of it, so the name goes again at once and cannot be left behind.
 */
static int unname_socket(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	unlink(path);
	return fd < 0 ? -errno : fd;
}

static int make_unit(struct server *s, unsigned int u, const struct machine *machine,
		     const char *dir)
{
	struct server_unit *unit = &s->units[u];
	char path[108];
	struct iommu_function_config config = {
		.vm = s->vm,
		.memory_mapped = u > 0,
		.features = s->features,
		.socket_path = path,
		.log = s->log,
		.unshared = found_unshared,
		.opaque = s,
	};
	int ret;

	snprintf(path, sizeof(path), "%s/iommu%u", dir, u);
	ret = machine->create_iommu(&config, &unit->iommu);
	if (ret)
		return fail("cannot serve the IOMMU", ret);
	s->num_units++;
	unit->socket = unname_socket(path);
	return unit->socket < 0 ? fail("cannot serve the IOMMU", unit->socket) : -1;
}

/* --- devices ------------------------------------------------------------------------------ */

static struct nst_viommu *viommu_of(const struct server_device *d)
{
	return iommu_function_viommu(d->server->units[d->option.unit].iommu);
}

static int listen_for_request(struct server_device *d)
{
	if (!nst_device_irq_count(d->dev, VFIO_PCI_REQ_IRQ_INDEX))
		return 0;
	return nst_device_set_irqs(d->dev, VFIO_PCI_REQ_IRQ_INDEX,
				   VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 1,
				   &d->request, NULL);
}

static int open_device(struct server_device *d)
{
	/* A software host's devices have MSIs too, which need not be hidden at a port. */
	const struct nst_device_config config = {
		.path = d->cdev,
		.hide_msix = d->server->kind == HOST_SOFT || d->option.place == PLACE_PORT,
		.vpasid_offset = d->option.vpasid_offset,
	};
	int ret;

	ret = nst_device_open(d->server->vm, &config, &d->dev);
	if (ret)
		return ret;
	d->num_reserved = nst_device_reserved(d->dev, d->reserved, SERVER_MAX_RESERVED);
	d->num_reserved = MIN(d->num_reserved, (unsigned int)SERVER_MAX_RESERVED);
	ret = listen_for_request(d);
	if (ret) {
		nst_device_close(d->dev);
		d->dev = NULL;
	}
	return ret;
}

static int attach_device(struct server_device *d)
{
	return nst_viommu_attach(viommu_of(d), d->rid, d->dev);
}

static void close_device(struct server_device *d)
{
	struct nst_device *dev = d->dev;

	if (!dev)
		return;
	if (d->function)
		device_function_set_device(d->function, NULL);
	d->dev = NULL;
	nst_viommu_detach_device(viommu_of(d), dev);
	nst_device_close(dev);
}

int server_plug(struct server *s, unsigned int i)
{
	struct server_device *d = &s->devices[i];
	int ret = d->dev ? 0 : open_device(d);

	if (ret || device_function_device(d->function))
		return ret;
	ret = attach_device(d);
	if (ret) {
		close_device(d);
		return ret;
	}
	device_function_set_device(d->function, d->dev);
	return 0;
}

void server_unplug(struct server *s, unsigned int i)
{
	if (s->devices[i].option.place == PLACE_PORT && !s->devices[i].connected)
		close_device(&s->devices[i]);
}

int server_take(struct server *s, unsigned int i, bool pulled)
{
	int ret = nst_soft_remove_device(s->host, s->devices[i].cdev, pulled);

	s->devices[i].taken = true;
	return ret < 0 ? ret : 0;
}

static void connected(void *opaque)
{
	struct server_device *d = opaque;
	int ret = server_plug(d->server, (unsigned int)(d - d->server->devices));

	d->connected = true;
	if (ret)
		complain("%s cannot be plugged in: %s", d->option.description, strerror(-ret));
}

static void identified(void *opaque)
{
	struct server_device *d = opaque;

	if (d->option.place != PLACE_SLOT)
		d->server->buses_asked = true;
}

static void disconnected(void *opaque)
{
	struct server_device *d = opaque;

	d->connected = false;
	server_unplug(d->server, (unsigned int)(d - d->server->devices));
}

static int serve_device(struct server_device *d, const char *dir)
{
	struct server *s = d->server;
	char path[108];
	int ret;

	snprintf(path, sizeof(path), "%s/device%u", dir, (unsigned int)(d - s->devices));
	ret = device_function_create(&(struct device_function_config){ .dev = d->dev,
								       .socket_path = path,
								       .log = s->log,
								       .connected = connected,
								       .identified = identified,
								       .disconnected = disconnected,
								       .opaque = d },
				     &d->function);
	if (ret)
		return fail("cannot serve the device", ret);
	d->socket = unname_socket(path);
	return d->socket < 0 ? fail("cannot serve the device", d->socket) : -1;
}

/* Under any of its names: once we have it the kernel would only say that it is taken. */
static bool is_there(const struct server *s, const char *name)
{
	struct pci_cdev cdev;

	if (pci_cdev_find("", name, &cdev))
		snprintf(cdev.path, sizeof(cdev.path), "%s", name);
	for (unsigned int i = 0; i < s->num_devices; i++)
		if (!strcmp(s->devices[i].cdev, cdev.path))
			return true;
	return false;
}

/* A device of the kernel's. */
static int find_device(struct server_device *d, const char *wanted, enum nst_soft_iommu iommu)
{
	struct host_device found;
	int status;

	if (is_there(d->server, d->option.description))
		return complain("--device %s is there twice", wanted), EXIT_USAGE;
	status = host_choice_find(d->server->host, d->option.description, iommu, &found);
	if (status >= 0)
		return status;
	snprintf(d->cdev, sizeof(d->cdev), "%s", found.path);
	return -1;
}

static int check_device(const struct server_device *d, const char *wanted)
{
	bool named = host_choice_is_name(d->option.description);

	if (named == (d->server->kind == HOST_KERNEL))
		return -1;
	if (named)
		complain("%s is a device of this machine: it needs --host /dev/iommu",
			 d->option.description);
	else
		complain("--device %s is for the software host; --host /dev/iommu takes devices of "
			 "this machine, such as 0000:3d:00.0",
			 wanted);
	return EXIT_USAGE;
}

static int add_device(struct server_device *d, const char *wanted)
{
	char *why = NULL;
	int ret = nst_soft_add_device(d->server->host, d->option.description, d->cdev,
				      sizeof(d->cdev), &why);

	if (ret)
		complain("--device %s: %s", wanted, why ? why : strerror(-ret));
	free(why);
	return ret ? EXIT_USAGE : -1;
}

/* The bus number of a device on a port would have to follow the guest. */
static bool can_be_emulated(const struct server_device *d, const char *wanted)
{
	if (d->option.place == PLACE_PORT)
		complain("--device %s: an emulated device is in a slot (at=slot)", wanted);
	else if (d->option.vpasid_offset)
		complain("--device %s: vpasid-offset is for devices that are passed through",
			 wanted);
	else
		return true;
	return false;
}

static int emulate_device(struct server_device *d, const char *wanted, const char *dir)
{
	struct server *s = d->server;
	char path[108], *why = NULL;
	struct endpoint_function_config config = {
		.viommu = viommu_of(d),
		.rid = d->rid,
		.vm = s->vm,
		.socket_path = path,
		.log = s->log,
	};
	struct endpoint *ep;
	int ret;

	if (!can_be_emulated(d, wanted))
		return EXIT_USAGE;
	ret = endpoint_create(d->option.description, s->log, &ep, &why);
	if (ret)
		complain("--device %s: %s", wanted, why ? why : strerror(-ret));
	free(why);
	if (ret)
		return EXIT_USAGE;
	snprintf(path, sizeof(path), "%s/device%u", dir, (unsigned int)(d - s->devices));
	ret = endpoint_function_create(&config, ep, &d->emulated);
	if (ret)
		return fail("cannot serve the device", ret);
	d->socket = unname_socket(path);
	return d->socket < 0 ? fail("cannot serve the device", d->socket) : -1;
}

static int fail_device(const struct server_device *d, const char *what, int err)
{
	if (d->server->kind == HOST_SOFT)
		return fail(what, err);
	host_choice_explain(d->option.description, err);
	return EXIT_FAILED;
}

static int make_device(struct server *s, const char *wanted, const struct run_options *o,
		       const char *dir)
{
	unsigned int i = s->num_devices;
	struct server_device *d = &s->devices[i];
	int ret, status;

	d->server = s;
	d->request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->request < 0)
		return fail("cannot open a device", -errno);
	status = device_option_parse(wanted, s->num_units, &d->option);
	s->num_devices++;
	d->rid = d->next_rid = layout_rid(&d->option, i, 0);
	if (status < 0 && !s->host)
		return emulate_device(d, wanted, dir);
	if (status < 0)
		status = check_device(d, wanted);
	if (status < 0)
		status = s->kind == HOST_KERNEL ? find_device(d, wanted, o->machine->host_iommu)
						: add_device(d, wanted);
	if (status >= 0)
		return status;
	ret = open_device(d);
	if (ret)
		return fail_device(d, d->cdev, ret);
	if (!d->option.unplugged)
		ret = attach_device(d);
	if (ret)
		return fail_device(d, "cannot put the device behind the IOMMU", ret);
	status = serve_device(d, dir);
	if (status < 0 && d->option.unplugged) { /* it was there to be described */
		device_function_set_device(d->function, NULL);
		close_device(d);
	}
	return status;
}

/* --- numbers of buses --------------------------------------------------------------------- */

bool server_has_bus(const struct server *s, unsigned int i)
{
	return s->devices[i].option.place != PLACE_SLOT;
}

void server_take_bus(struct server *s, unsigned int i, unsigned int number)
{
	s->devices[i].next_rid = layout_rid(&s->devices[i].option, i, (uint8_t)number);
}

/* Those of each unit at once: they may have swapped. */
void server_renumber(struct server *s)
{
	for (unsigned int u = 0; u < s->num_units; u++) {
		struct nst_rid_move moves[RUN_MAX_DEVICES];
		size_t count = 0;

		for (unsigned int i = 0; i < s->num_devices; i++) {
			struct server_device *d = &s->devices[i];

			if (d->option.unit != u || d->rid == d->next_rid)
				continue;
			d->rid = d->next_rid;
			if (d->dev)
				moves[count++] = (struct nst_rid_move){ d->dev, d->rid };
		}
		if (count &&
		    nst_viommu_renumber(iommu_function_viommu(s->units[u].iommu), moves, count))
			complain("a device could not follow the number of its bus");
	}
}

/* --- all of it ---------------------------------------------------------------------------- */

/* Without any --device, the guest gets a disk that lasts as long as it does. */
static int make_devices(struct server *s, const struct run_options *o, const char *dir)
{
	char scratch[64];
	int status = -1;

	for (unsigned int i = 0; status < 0 && i < o->num_devices; i++)
		status = make_device(s, o->devices[i], o, dir);
	if (o->num_devices)
		return status;
	s->scratch_disk = memfd_create("nestor-scratch-disk", MFD_CLOEXEC);
	if (s->scratch_disk < 0 || ftruncate(s->scratch_disk, SCRATCH_BYTES))
		return fail("no memory for a scratch disk", -errno);
	snprintf(scratch, sizeof(scratch), "nvme,file=/proc/self/fd/%d", s->scratch_disk);
	return make_device(s, scratch, o, dir);
}

static int make_host(struct server *s, const struct run_options *o, const struct nst_log *log)
{
	struct nst_soft_config config = {
		.log = log,
		.iommu = o->machine->host_iommu,
		.check = o->check,
		.strict_abi = o->strict_abi,
	};
	struct nst_trace_config trace = {
		.write = nst_trace_write_fd,
		.opaque = &s->trace.fd,
		.json = s->trace.json,
	};
	int ret = 0, status = host_choice_open(o->host, &config, &s->host);

	if (status >= 0)
		return status;
	s->front = s->host;
	if (o->drop_after)
		nst_soft_drop_invalidation(s->host, o->drop_after);
	if (s->trace.fd >= 0)
		ret = nst_host_trace_create(s->host, &trace, &s->front);
	return ret ? fail("cannot trace the host", ret) : -1;
}

static int make_all(struct server *s, const struct run_options *o, const char *dir)
{
	int ret, status;

	s->features = o->features;
	status = trace_file_open(o->trace, &s->trace);
	if (status < 0 && !o->emulated)
		status = make_host(s, o, s->log);
	if (status >= 0)
		return status;
	ret = nst_vm_create(s->front, s->log, &s->vm);
	if (ret)
		return fail("cannot make a VM on the host", ret);
	for (unsigned int u = 0; status < 0 && u < o->num_units; u++)
		status = make_unit(s, u, o->machine, dir);
	return status < 0 ? make_devices(s, o, dir) : status;
}

int server_init(struct server *s, const struct run_options *o, const struct nst_log *log)
{
	const char *tmp = getenv("TMPDIR");
	char dir[80];
	int status;

	*s = (struct server){ .log = log, .kind = o->host, .scratch_disk = -1, .trace.fd = -1 };
	for (unsigned int i = 0; i < RUN_MAX_DEVICES; i++)
		s->devices[i].socket = s->devices[i].request = -1;
	for (unsigned int u = 0; u < RUN_MAX_UNITS; u++)
		s->units[u].socket = -1;
	if (!tmp || !*tmp || strlen(tmp) > sizeof(dir) - sizeof("/nestor-XXXXXX"))
		tmp = "/tmp";
	snprintf(dir, sizeof(dir), "%s/nestor-XXXXXX", tmp);
	if (!mkdtemp(dir)) {
		complain("cannot make a directory in %s: %s", tmp, strerror(errno));
		return EXIT_FAILED;
	}
	status = make_all(s, o, dir);
	rmdir(dir);
	return status;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void server_fini(struct server *s)
{
	for (unsigned int i = 0; i < s->num_devices; i++) {
		close_fd(s->devices[i].socket);
		endpoint_function_destroy(s->devices[i].emulated);
		device_function_destroy(s->devices[i].function);
		s->devices[i].function = NULL;
	}
	for (unsigned int u = 0; u < s->num_units; u++) {
		close_fd(s->units[u].socket);
		iommu_function_destroy(s->units[u].iommu);
	}
	for (unsigned int i = 0; i < s->num_devices; i++) {
		nst_device_close(s->devices[i].dev);
		close_fd(s->devices[i].request);
		device_option_fini(&s->devices[i].option);
	}
	nst_vm_destroy(s->vm);
	nst_host_destroy(s->front);
	trace_file_close(&s->trace);
	close_fd(s->scratch_disk);
}

/* Connections of the IOMMUs and of the devices, requests for devices, work of the IOMMUs. */
unsigned int server_poll_count(const struct server *s)
{
	return 2 * (s->num_units + s->num_devices);
}

static unsigned int num_connections(const struct server *s)
{
	return s->num_units + s->num_devices;
}

static struct nst_viommu *work_of(const struct server *s, unsigned int i)
{
	return iommu_function_viommu(s->units[i - num_connections(s) - s->num_devices].iommu);
}

/* The device that descriptor @i asks for, or NULL: it is another one. */
static struct server_device *requested_by(struct server *s, unsigned int i)
{
	i -= num_connections(s);
	return i < s->num_devices ? &s->devices[i] : NULL;
}

static struct nst_vfu *vfu_of(const struct server *s, unsigned int i)
{
	const struct server_device *d;

	if (i < s->num_units)
		return iommu_function_vfu(s->units[i].iommu);
	d = &s->devices[i - s->num_units];
	return d->emulated ? endpoint_function_vfu(d->emulated) : device_function_vfu(d->function);
}

int server_poll_fd(const struct server *s, unsigned int i)
{
	unsigned int n = num_connections(s);

	if (i < n)
		return nst_vfu_fd(vfu_of(s, i));
	return i - n < s->num_devices ? s->devices[i - n].request : nst_viommu_fd(work_of(s, i));
}

static void take_request(struct server_device *d)
{
	uint64_t count;

	if (read(d->request, &count, sizeof(count)) == sizeof(count))
		d->requested = true;
}

int server_process(struct server *s, unsigned int i)
{
	if (i < num_connections(s))
		return nst_vfu_process(vfu_of(s, i));
	if (requested_by(s, i))
		take_request(requested_by(s, i));
	else
		nst_viommu_process(work_of(s, i));
	return 0;
}

/* Those of QEMU, connected; @fds gets what to poll for them. */
static nfds_t connections(const struct server *s, struct pollfd *fds)
{
	nfds_t count = 0;

	for (unsigned int i = 0; i < s->num_units + s->num_devices; i++)
		if (nst_vfu_is_connected(vfu_of(s, i)))
			fds[count++] =
				(struct pollfd){ .fd = server_poll_fd(s, i), .events = POLLIN };
	return count;
}

void server_see_end(struct server *s)
{
	struct pollfd fds[RUN_MAX_UNITS + RUN_MAX_DEVICES];
	nfds_t count;

	do {
		for (unsigned int i = 0; i < server_poll_count(s); i++)
			(void)server_process(s, i);
		count = connections(s, fds);
	} while (count && poll(fds, count, END_TIMEOUT_MS) > 0);
	if (count)
		complain("%u connections of QEMU outlive it", (unsigned int)count);
}
