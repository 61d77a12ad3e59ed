// SPDX-License-Identifier: BSD-3-Clause
/* See server.h. */
#include "cmd/server.h"

#include "cmd/cmd.h"
#include "cmd/qemu.h"

#include <nestor/trace_host.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 64 << 20 };

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

static int make_iommu(struct server *s, const char *dir, const struct nst_log *log)
{
	char path[108];
	int ret;

	snprintf(path, sizeof(path), "%s/iommu", dir);
	ret = iommu_function_create_vtd(&(struct iommu_function_config){ .vm = s->vm,
									 .socket_path = path,
									 .log = log,
									 .unshared = found_unshared,
									 .opaque = s },
					&s->iommu);
	if (ret)
		return fail("cannot serve the IOMMU", ret);
	s->iommu_socket = unname_socket(path);
	return s->iommu_socket < 0 ? fail("cannot serve the IOMMU", s->iommu_socket) : -1;
}

/*
 * The one option of a device that is not the device's own: cut out of @description, a
 * copy of what the user gave. -1, or the status to exit with.
 */
static int take_vpasid_offset(char *description, uint16_t *offset)
{
	static const char key[] = ",vpasid-offset=";
	char *option = strstr(description, key), *end;
	unsigned long value;

	if (!option)
		return -1;
	value = strtoul(option + sizeof(key) - 1, &end, 0);
	if (end == option + sizeof(key) - 1 || (*end && *end != ',') || !value ||
	    value > UINT16_MAX) {
		complain("--device: vpasid-offset takes an offset such as 0xff8, not \"%s\"",
			 option + sizeof(key) - 1);
		return EXIT_USAGE;
	}
	*offset = (uint16_t)value;
	memmove(option, end, strlen(end) + 1);
	return -1;
}

static int add_device(struct server *s, const char *wanted, struct nst_device_config *config,
		      char *cdev, size_t size)
{
	char *description = strdup(wanted), *why = NULL;
	int status = description ? take_vpasid_offset(description, &config->vpasid_offset)
				 : fail("cannot add a device", -ENOMEM);
	int ret = status < 0 ? nst_soft_add_device(s->host, description, cdev, size, &why) : 0;

	if (ret) {
		complain("--device %s: %s", wanted, why ? why : strerror(-ret));
		status = EXIT_USAGE;
	}
	free(why);
	free(description);
	return status;
}

static int make_device(struct server *s, const char *description, const char *dir,
		       const struct nst_log *log)
{
	unsigned int i = s->num_devices;
	nst_rid rid = (nst_rid)((QEMU_FIRST_DEVICE_SLOT + i) << 3);
	char cdev[64], path[108];
	struct nst_device_config config = { .path = cdev, .hide_msix = true };
	int ret, status;

	status = add_device(s, description, &config, cdev, sizeof(cdev));
	if (status >= 0)
		return status;
	ret = nst_device_open(s->vm, &config, &s->devices[i]);
	if (ret)
		return fail(cdev, ret);
	s->num_devices++;
	ret = nst_viommu_attach(iommu_function_viommu(s->iommu), rid, s->devices[i]);
	if (ret)
		return fail("cannot put the device behind the IOMMU", ret);
	snprintf(path, sizeof(path), "%s/device%u", dir, i);
	ret = device_function_create(s->devices[i], path, log, &s->functions[i]);
	if (ret)
		return fail("cannot serve the device", ret);
	s->device_sockets[i] = unname_socket(path);
	return s->device_sockets[i] < 0 ? fail("cannot serve the device", s->device_sockets[i])
					: -1;
}

/* Without any --device, the guest gets a disk that lasts as long as it does. */
static int default_device(struct server *s, struct run_options *o)
{
	if (o->num_devices)
		return -1;
	s->scratch_disk = memfd_create("nestor-scratch-disk", MFD_CLOEXEC);
	if (s->scratch_disk < 0 || ftruncate(s->scratch_disk, SCRATCH_BYTES))
		return fail("no memory for a scratch disk", -errno);
	snprintf(s->scratch_description, sizeof(s->scratch_description),
		 "nvme,file=/proc/self/fd/%d", s->scratch_disk);
	o->devices[o->num_devices++] = s->scratch_description;
	return -1;
}

static int make_host(struct server *s, const struct run_options *o, const struct nst_log *log)
{
	struct nst_soft_config config = { .log = log,
					  .check = o->check,
					  .strict_abi = o->strict_abi };
	struct nst_trace_config trace = {
		.write = nst_trace_write_fd,
		.opaque = &s->trace.fd,
		.json = s->trace.json,
	};
	int ret = nst_host_soft_create(&config, &s->host);

	if (!ret) {
		s->front = s->host;
		if (o->drop_after)
			nst_soft_drop_invalidation(s->host, o->drop_after);
		if (s->trace.fd >= 0)
			ret = nst_host_trace_create(s->host, &trace, &s->front);
	}
	return ret ? fail("cannot make the software host", ret) : -1;
}

static int make_all(struct server *s, struct run_options *o, const struct nst_log *log,
		    const char *dir)
{
	int ret, status;

	status = trace_file_open(o->trace, &s->trace);
	if (status < 0)
		status = make_host(s, o, log);
	if (status >= 0)
		return status;
	ret = nst_vm_create(s->front, log, &s->vm);
	if (ret)
		return fail("cannot make a VM on the software host", ret);
	status = default_device(s, o);
	if (status < 0)
		status = make_iommu(s, dir, log);
	for (unsigned int i = 0; status < 0 && i < o->num_devices; i++)
		status = make_device(s, o->devices[i], dir, log);
	return status;
}

int server_init(struct server *s, struct run_options *o, const struct nst_log *log)
{
	const char *tmp = getenv("TMPDIR");
	char dir[80];
	int status;

	*s = (struct server){ .iommu_socket = -1, .scratch_disk = -1, .trace.fd = -1 };
	for (unsigned int i = 0; i < RUN_MAX_DEVICES; i++)
		s->device_sockets[i] = -1;
	if (!tmp || !*tmp || strlen(tmp) > sizeof(dir) - sizeof("/nestor-XXXXXX"))
		tmp = "/tmp";
	snprintf(dir, sizeof(dir), "%s/nestor-XXXXXX", tmp);
	if (!mkdtemp(dir)) {
		complain("cannot make a directory in %s: %s", tmp, strerror(errno));
		return EXIT_FAILED;
	}
	status = make_all(s, o, log, dir);
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
	close_fd(s->iommu_socket);
	for (unsigned int i = 0; i < RUN_MAX_DEVICES; i++) {
		close_fd(s->device_sockets[i]);
		device_function_destroy(s->functions[i]);
	}
	iommu_function_destroy(s->iommu);
	for (unsigned int i = 0; i < s->num_devices; i++)
		nst_device_close(s->devices[i]);
	nst_vm_destroy(s->vm);
	nst_host_destroy(s->front);
	trace_file_close(&s->trace);
	close_fd(s->scratch_disk);
}

unsigned int server_poll_count(const struct server *s)
{
	return s->num_devices + 2;
}

/* The first is the IOMMU's connection, the last what the IOMMU itself has to do. */
static bool is_iommu_work(const struct server *s, unsigned int i)
{
	return i == s->num_devices + 1;
}

static struct nst_vfu *vfu(const struct server *s, unsigned int i)
{
	return i ? device_function_vfu(s->functions[i - 1]) : iommu_function_vfu(s->iommu);
}

int server_poll_fd(const struct server *s, unsigned int i)
{
	if (is_iommu_work(s, i))
		return nst_viommu_fd(iommu_function_viommu(s->iommu));
	return nst_vfu_fd(vfu(s, i));
}

int server_process(struct server *s, unsigned int i)
{
	if (is_iommu_work(s, i)) {
		nst_viommu_process(iommu_function_viommu(s->iommu));
		return 0;
	}
	return nst_vfu_process(vfu(s, i));
}
