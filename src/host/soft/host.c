// SPDX-License-Identifier: BSD-3-Clause
/*
 * The software host: which descriptors there are, and the entry points of the seam.
 *
 * Every open file has a real descriptor, so that poll(2) takes it and its number is
 * nobody else's: an eventfd that is always readable and writable, which is what the
 * kernel's descriptors look like to poll. The file behind a number is found in a table;
 * each call holds a reference, so close() in the middle of a call only takes the number.
 */
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/mmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CDEV_PREFIX "/dev/vfio/devices/vfio"
#define DEVICES_PER_BUS 31 /* device 0 is left out, as the host bridge is there usually */
#define MAX_DEVICES (256 * DEVICES_PER_BUS)

/* --- files ------------------------------------------------------------------------------ */

struct soft_file *soft_file_get(struct soft_host *host, int fd)
{
	struct soft_file *file = NULL;

	mutex_lock(&host->lock);
	if (fd >= 0 && (size_t)fd < host->num_files)
		file = host->files[fd];
	if (file)
		atomic_fetch_add(&file->refs, 1);
	mutex_unlock(&host->lock);
	return file;
}

struct soft_file *soft_file_get_of(struct soft_host *host, int fd, const struct soft_file_ops *ops)
{
	struct soft_file *file = NULL;

	mutex_lock(&host->lock);
	if (fd >= 0 && (size_t)fd < host->num_files && host->files[fd] &&
	    host->files[fd]->ops == ops)
		file = host->files[fd];
	if (file)
		atomic_fetch_add(&file->refs, 1);
	mutex_unlock(&host->lock);
	return file;
}

void soft_file_put(struct soft_file *file)
{
	if (atomic_fetch_sub(&file->refs, 1) == 1)
		file->ops->release(file);
}

static int grow_files(struct soft_host *host, size_t need) REQUIRES(&host->lock)
{
	size_t count = MAX(need, 2 * host->num_files);
	struct soft_file **files;

	if (need <= host->num_files)
		return 0;
	files = alloc_resize(host->files, count, sizeof(*files));
	if (!files)
		return -ENOMEM;
	for (size_t i = host->num_files; i < count; i++)
		files[i] = NULL;
	host->files = files;
	host->num_files = count;
	return 0;
}

int soft_file_exchange(struct soft_host *host, int fd, struct soft_file *file,
		       struct soft_file **old)
{
	int err = 0;

	*old = NULL;
	mutex_lock(&host->lock);
	if (file)
		err = grow_files(host, (size_t)fd + 1);
	if (!err && (size_t)fd < host->num_files) {
		*old = host->files[fd];
		host->files[fd] = file;
	}
	mutex_unlock(&host->lock);
	return err;
}

int soft_file_set(struct soft_host *host, int fd, struct soft_file *file)
{
	struct soft_file *old;
	int err = soft_file_exchange(host, fd, file, &old);

	if (old)
		soft_file_put(old);
	return err;
}

/* There is something at the number if somebody closed it behind our back. */
int soft_file_install(struct soft_host *host, struct soft_file *file, int flags,
		      struct soft_file **old)
{
	int fd = eventfd(1, flags & O_CLOEXEC ? EFD_CLOEXEC : 0);
	int err;

	if (fd < 0)
		return -errno;
	err = soft_file_exchange(host, fd, file, old);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* Take the file of @fd out of the table, with the table's reference. */
static struct soft_file *remove_file(struct soft_host *host, int fd)
{
	struct soft_file *file = NULL;

	mutex_lock(&host->lock);
	if (fd >= 0 && (size_t)fd < host->num_files) {
		file = host->files[fd];
		host->files[fd] = NULL;
	}
	mutex_unlock(&host->lock);
	return file;
}

static struct soft_device *find_device(struct soft_host *host, const char *path)
{
	struct soft_device *dev = NULL;
	unsigned int number;
	char canonical[64];

	if (sscanf(path, CDEV_PREFIX "%u", &number) != 1)
		return NULL;
	snprintf(canonical, sizeof(canonical), CDEV_PREFIX "%u", number);
	if (strcmp(canonical, path))
		return NULL;
	mutex_lock(&host->lock);
	if (number < host->num_devices)
		dev = host->devices[number];
	mutex_unlock(&host->lock);
	return dev;
}

/* For one more open of its cdev. */
static int get_device(struct soft_host *host, const char *path, struct soft_device **out)
{
	struct soft_device *dev = find_device(host, path);
	int err = 0;

	if (!dev)
		return -ENOENT;
	mutex_lock(&host->lock);
	if (dev->removed)
		err = dev->opens ? -ENODEV : -ENOENT;
	else
		dev->opens++;
	mutex_unlock(&host->lock);
	*out = dev;
	return err;
}

void soft_device_put(struct soft_device *dev)
{
	mutex_lock(&dev->host->lock);
	dev->opens--;
	mutex_unlock(&dev->host->lock);
}

static int open_device(struct soft_host *host, const char *path, struct soft_file **out)
{
	struct soft_device *dev;
	int err = get_device(host, path, &dev);

	if (err)
		return err;
	err = soft_vfio_open(dev, out);
	if (err)
		soft_device_put(dev);
	return err;
}

/* --- the operations of the seam ----------------------------------------------------------- */

static int host_open(struct nst_host *base, const char *path, int flags)
{
	struct soft_host *host = to_soft_host(base);
	struct soft_file *file, *old;
	int ret;

	if (!path)
		return -EFAULT;
	if (!strcmp(path, "/dev/iommu"))
		ret = soft_ctx_open(host, &file);
	else
		ret = open_device(host, path, &file);
	if (ret)
		return ret;
	ret = soft_file_install(host, file, flags, &old);
	if (ret < 0)
		soft_file_put(file);
	else if (old)
		soft_file_put(old);
	return ret;
}

static int host_close(struct nst_host *base, int fd)
{
	struct soft_file *file = remove_file(to_soft_host(base), fd);

	if (!file)
		return -EBADF;
	close(fd);
	soft_file_put(file);
	return 0;
}

static int host_ioctl(struct nst_host *base, int fd, unsigned long request, void *arg)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	int ret;

	if (!file)
		return -EBADF;
	ret = file->ops->ioctl(file, request, arg);
	soft_file_put(file);
	return ret;
}

static ssize_t host_pread(struct nst_host *base, int fd, void *buf, size_t count, off_t offset)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	ssize_t ret = -EINVAL;

	if (!file)
		return -EBADF;
	if (offset >= 0)
		ret = file->ops->is_stream ? -ESPIPE
					   : file->ops->pread(file, buf, count, (uint64_t)offset);
	soft_file_put(file);
	return ret;
}

static ssize_t host_pwrite(struct nst_host *base, int fd, const void *buf, size_t count,
			   off_t offset)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	ssize_t ret = -EINVAL;

	if (!file)
		return -EBADF;
	if (offset >= 0)
		ret = file->ops->is_stream ? -ESPIPE
					   : file->ops->pwrite(file, buf, count, (uint64_t)offset);
	soft_file_put(file);
	return ret;
}

static ssize_t host_read(struct nst_host *base, int fd, void *buf, size_t count)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	ssize_t ret;

	if (!file)
		return -EBADF;
	ret = file->ops->pread(file, buf, count, atomic_load(&file->position));
	if (ret > 0 && !file->ops->is_stream)
		atomic_fetch_add(&file->position, (uint64_t)ret);
	soft_file_put(file);
	return ret;
}

static ssize_t host_write(struct nst_host *base, int fd, const void *buf, size_t count)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	ssize_t ret;

	if (!file)
		return -EBADF;
	ret = file->ops->pwrite(file, buf, count, atomic_load(&file->position));
	if (ret > 0 && !file->ops->is_stream)
		atomic_fetch_add(&file->position, (uint64_t)ret);
	soft_file_put(file);
	return ret;
}

static void *host_mmap(struct nst_host *base, size_t length, int prot, int flags, int fd,
		       off_t offset, int *err)
{
	struct soft_file *file = soft_file_get(to_soft_host(base), fd);
	void *mapped;

	if (!file) {
		*err = -EBADF;
		return NULL;
	}
	mapped = file->ops->mmap(file, length, prot, flags, offset, err);
	soft_file_put(file);
	return mapped;
}

static int host_munmap(struct nst_host *base, void *addr, size_t length)
{
	return soft_munmap(to_soft_host(base), addr, length);
}

/* --- life --------------------------------------------------------------------------------- */

static void close_all_files(struct soft_host *host)
{
	size_t count;

	mutex_lock(&host->lock);
	count = host->num_files;
	mutex_unlock(&host->lock);
	for (size_t fd = 0; fd < count; fd++)
		host_close(&host->base, (int)fd);
}

static void host_destroy(struct nst_host *base)
{
	struct soft_host *host = to_soft_host(base);
	struct soft_device **devices;
	size_t num_devices;

	close_all_files(host);
	soft_munmap_all(host);
	mutex_lock(&host->lock);
	devices = host->devices;
	num_devices = host->num_devices;
	host->num_devices = 0;
	free(host->files);
	mutex_unlock(&host->lock);
	for (size_t i = 0; i < num_devices; i++)
		soft_device_destroy(devices[i]);
	free(devices);
	host->iommu->ops->destroy(host->iommu);
	sanitizer_destroy(host->sanitizer);
	mutex_fini(&host->fault_lock);
	mutex_fini(&host->lock);
	free(host);
}

static const struct nst_host_ops soft_host_ops = {
	.open = host_open,
	.close = host_close,
	.ioctl = host_ioctl,
	.read = host_read,
	.write = host_write,
	.pread = host_pread,
	.pwrite = host_pwrite,
	.mmap = host_mmap,
	.munmap = host_munmap,
	.destroy = host_destroy,
};

static int create_iommu(struct soft_host *host, const struct nst_soft_config *config)
{
	static int (*const create[NST_SOFT_NUM_IOMMUS])(const struct nst_soft_config *config,
							struct soft_host *host,
							struct soft_iommu **out) = {
		[NST_SOFT_VTD] = soft_vtd_create,
		[NST_SOFT_SMMUV3] = soft_smmuv3_create,
		[NST_SOFT_AMD] = soft_amd_create,
		[NST_SOFT_SELFTEST] = soft_mock_create,
	};

	if ((unsigned int)config->iommu >= NST_SOFT_NUM_IOMMUS)
		return -EINVAL;
	if (config->stalls && config->iommu != NST_SOFT_SMMUV3)
		return -EINVAL;
	return create[config->iommu](config, host, &host->iommu);
}

int nst_host_soft_create(const struct nst_soft_config *config, struct nst_host **out)
{
	struct soft_host *host = alloc_object(struct soft_host);
	int err;

	if (!host)
		return -ENOMEM;
	err = sanitizer_create(config, &host->sanitizer);
	if (!err)
		err = create_iommu(host, config);
	if (err) {
		sanitizer_destroy(host->sanitizer);
		free(host);
		return err;
	}
	host->iommu->quirks = config->quirks;
	host->base.ops = &soft_host_ops;
	host->log = config->log;
	host->synchronous = config->synchronous;
	mutex_init(&host->lock);
	mutex_init(&host->fault_lock);
	*out = &host->base;
	return 0;
}

/* --- devices -------------------------------------------------------------------------------- */

/* 00:01.0, 00:02.0, ... 00:1f.0, 01:01.0, ... */
static nst_rid rid_of(size_t number)
{
	return (nst_rid)(number / DEVICES_PER_BUS << 8 | (number % DEVICES_PER_BUS + 1) << 3);
}

/* Number and requester id are given out here, so that two callers never get the same. */
static int plug(struct soft_host *host, struct soft_device *dev, char *path, size_t path_size)
	REQUIRES(&host->lock)
{
	struct soft_device **devices;
	size_t number = host->num_devices;

	if (number == MAX_DEVICES)
		return -ENOSPC;
	devices = alloc_resize(host->devices, number + 1, sizeof(struct soft_device *));
	if (!devices)
		return -ENOMEM;
	host->devices = devices;
	if ((size_t)snprintf(path, path_size, CDEV_PREFIX "%zu", number) >= path_size)
		return -EINVAL;
	dev->rid = rid_of(number);
	devices[host->num_devices++] = dev;
	return 0;
}

int soft_add_endpoint(struct nst_host *base, struct endpoint *ep, char *path, size_t path_size)
{
	struct soft_host *host = to_soft_host(base);
	struct soft_device *dev;
	int err = -ENODEV;

	if (!host->iommu->ops->has_own_devices)
		err = soft_device_create(host, ep, &dev);
	if (err)
		return err;
	mutex_lock(&host->lock);
	err = plug(host, dev, path, path_size);
	mutex_unlock(&host->lock);
	if (err) {
		dev->ep = NULL; /* stays the caller's */
		ep->bus = NULL;
		soft_device_destroy(dev);
	}
	return err;
}

static void set_err_text(char **err_text, const char *text)
{
	if (err_text)
		*err_text = strdup(text);
}

int nst_soft_add_device(struct nst_host *base, const char *description, char *path,
			size_t path_size, char **err_text)
{
	struct soft_host *host = to_soft_host(base);
	struct endpoint *ep;
	int err = endpoint_create(description, host->log, &ep, err_text);

	if (err)
		return err;
	err = soft_add_endpoint(base, ep, path, path_size);
	if (!err)
		return 0;
	endpoint_destroy(ep);
	if (err == -ENOMEM)
		set_err_text(err_text, "There is no memory for one more device.");
	else if (err == -ENODEV)
		set_err_text(err_text, "This IOMMU has only devices that its driver makes itself.");
	else if (err == -EINVAL)
		set_err_text(err_text, "The buffer for the path of the device is too small.");
	else
		set_err_text(err_text, "The software host is full: no slot is left for a device.");
	return err == -ENOSPC || err == -ENODEV ? -EINVAL : err;
}

int nst_soft_remove_device(struct nst_host *base, const char *path, bool pulled)
{
	struct soft_host *host = to_soft_host(base);
	struct soft_device *dev = find_device(host, path);
	bool was_removed;
	unsigned int opens;

	if (!dev)
		return -ENODEV;
	mutex_lock(&host->lock);
	was_removed = dev->removed;
	dev->removed = true;
	opens = dev->opens;
	mutex_unlock(&host->lock);
	if (was_removed && !opens)
		return -ENODEV;
	if (pulled)
		soft_device_pull(dev);
	soft_irqs_request(&dev->irqs);
	return (int)opens;
}

/* --- statistics ------------------------------------------------------------------------------ */

void nst_soft_get_stats(struct nst_host *base, struct nst_soft_stats *stats)
{
	struct soft_host *host = to_soft_host(base);
	struct nst_soft_stats got = { 0 };

	host->iommu->ops->get_stats(host->iommu, &got);
	sanitizer_get_stats(host->sanitizer, &got);
	got.nested_hwpts = atomic_load(&host->nested_hwpts);
	got.invalidate_calls = atomic_load(&host->invalidate_calls);
	got.invalidate_entries = atomic_load(&host->invalidate_entries);
	*stats = got;
}

void nst_soft_drop_invalidation(struct nst_host *base, uint64_t after_dma_write_bytes)
{
	struct soft_iommu *iommu = to_soft_host(base)->iommu;

	iommu->ops->drop_invalidation(iommu, after_dma_write_bytes);
}
