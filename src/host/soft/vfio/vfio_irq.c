// SPDX-License-Identifier: BSD-3-Clause
/*
 * Interrupts: which eventfd each vector signals, and VFIO_DEVICE_SET_IRQS.
 *
 * MSI and MSI-X are alternatives; whichever the driver set up first stays until it is
 * disabled. The number of MSI vectors is fixed when MSI is enabled, MSI-X vectors may be
 * added later. ERR and REQ are single eventfds. REQ says that the host wants the device
 * back; nothing here ever signals ERR but the caller's own loopback test. There is no
 * legacy interrupt.
 *
 * Signalling holds only soft_irqs.lock, so a device thread never waits for a caller
 * that is in the middle of a register access.
 *
 * Source: Linux 7.2 drivers/vfio/{vfio_main,pci/vfio_pci_intrs}.c.
 */
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/vfio/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NONE_ACTIVE (-1)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void soft_eventfd_signal(int fd)
{
	const uint64_t one = 1;

	/* a counter that is full has been signalled */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

int soft_irqs_init(struct soft_irqs *irqs, unsigned int max)
{
	int *fds = alloc_array(max, sizeof(*fds));

	if (!fds)
		return -ENOMEM;
	for (unsigned int i = 0; i < max; i++)
		fds[i] = -1;
	mutex_init(&irqs->lock);
	mutex_lock(&irqs->lock);
	irqs->fds = fds;
	irqs->max = max;
	irqs->active = NONE_ACTIVE;
	irqs->err_fd = -1;
	irqs->req_fd = -1;
	mutex_unlock(&irqs->lock);
	return 0;
}

static void close_vectors(struct soft_irqs *irqs) REQUIRES(&irqs->lock)
{
	for (unsigned int i = 0; i < irqs->max; i++)
		close_fd(&irqs->fds[i]);
	irqs->active = NONE_ACTIVE;
	irqs->allocated = 0;
}

static void close_all(struct soft_irqs *irqs) REQUIRES(&irqs->lock)
{
	close_vectors(irqs);
	close_fd(&irqs->err_fd);
	close_fd(&irqs->req_fd);
}

void soft_irqs_fini(struct soft_irqs *irqs)
{
	mutex_lock(&irqs->lock);
	close_all(irqs);
	free(irqs->fds);
	irqs->fds = NULL;
	mutex_unlock(&irqs->lock);
	mutex_fini(&irqs->lock);
}

void soft_irqs_disable_all(struct soft_device *dev)
{
	mutex_lock(&dev->lock);
	mutex_lock(&dev->irqs.lock);
	close_all(&dev->irqs);
	mutex_unlock(&dev->irqs.lock);
	soft_config_set_msix_enable(dev, false);
	mutex_unlock(&dev->lock);
}

void soft_irqs_signal(struct soft_irqs *irqs, unsigned int vector)
{
	mutex_lock(&irqs->lock);
	if (irqs->active != NONE_ACTIVE && vector < irqs->max)
		soft_eventfd_signal(irqs->fds[vector]);
	mutex_unlock(&irqs->lock);
}

void soft_irqs_request(struct soft_irqs *irqs)
{
	mutex_lock(&irqs->lock);
	soft_eventfd_signal(irqs->req_fd);
	mutex_unlock(&irqs->lock);
}

bool soft_irqs_is_active(struct soft_irqs *irqs, int index)
{
	bool is_active;

	mutex_lock(&irqs->lock);
	is_active = irqs->active == index;
	mutex_unlock(&irqs->lock);
	return is_active;
}

uint32_t soft_irqs_count(const struct soft_device *dev, uint32_t index)
{
	switch (index) {
	case VFIO_PCI_MSI_IRQ_INDEX:
		return soft_config_msi_vectors(dev);
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return soft_config_msix_vectors(dev);
	case VFIO_PCI_ERR_IRQ_INDEX:
		return dev->ep->config.express_cap ? 1 : 0;
	case VFIO_PCI_REQ_IRQ_INDEX:
		return 1;
	default:
		return 0;
	}
}

/* --- eventfds of the caller ---------------------------------------------------------------- */

int soft_eventfd_get(int32_t fd, int *out)
{
	static const char expected[] = "anon_inode:[eventfd]";
	char path[64], target[64] = "";
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", own);
	if (readlink(path, target, sizeof(target) - 1) > 0 && strcmp(target, expected)) {
		close(own);
		return -EINVAL;
	}
	*out = own;
	return 0;
}

/* One vector: what it had goes, also if the new one is refused. */
static int set_vector(struct soft_irqs *irqs, unsigned int vector, int32_t fd, bool resizable)
	REQUIRES(&irqs->lock)
{
	close_fd(&irqs->fds[vector]);
	if (fd < 0)
		return 0;
	if (!resizable && vector >= irqs->allocated)
		return -EINVAL;
	return soft_eventfd_get(fd, &irqs->fds[vector]);
}

static int set_block(struct soft_irqs *irqs, unsigned int start, unsigned int count,
		     const int32_t *fds, bool resizable) REQUIRES(&irqs->lock)
{
	unsigned int done = 0;
	int err = 0;

	while (done < count && !err) {
		err = set_vector(irqs, start + done, fds[done], resizable);
		done++;
	}
	for (unsigned int i = 0; err && i < done; i++)
		close_fd(&irqs->fds[start + i]);
	return err;
}

/* --- VFIO_DEVICE_SET_IRQS ------------------------------------------------------------------ */

/* A checked request. @data: @count eventfds or bytes, by the type of data in the flags. */
struct request {
	uint32_t flags, index, start, count;
	const void *data;
};

static bool should_trigger(const struct request *req, unsigned int i)
{
	return (req->flags & VFIO_IRQ_SET_DATA_NONE) || ((const uint8_t *)req->data)[i];
}

static int trigger_vectors_locked(struct soft_irqs *irqs, const struct request *req)
	REQUIRES(&irqs->lock)
{
	bool is_msix = req->index == VFIO_PCI_MSIX_IRQ_INDEX;
	bool is_active = irqs->active == (int)req->index;
	int err;

	if (is_active && !req->count && (req->flags & VFIO_IRQ_SET_DATA_NONE)) {
		close_vectors(irqs);
		return 0;
	}
	if (!is_active && irqs->active != NONE_ACTIVE)
		return -EINVAL;
	if (req->flags & VFIO_IRQ_SET_DATA_EVENTFD) {
		if (is_active)
			return set_block(irqs, req->start, req->count, req->data, is_msix);
		irqs->active = (int)req->index;
		irqs->allocated = req->start + req->count;
		err = set_block(irqs, req->start, req->count, req->data, is_msix);
		if (err)
			close_vectors(irqs);
		return err;
	}
	if (!is_active)
		return -EINVAL;
	for (unsigned int i = 0; i < req->count; i++)
		if (should_trigger(req, i))
			soft_eventfd_signal(irqs->fds[req->start + i]);
	return 0;
}

static int trigger_vectors(struct soft_device *dev, const struct request *req)
{
	struct soft_irqs *irqs = &dev->irqs;
	bool msix_on;
	int err;

	mutex_lock(&dev->lock);
	mutex_lock(&irqs->lock);
	err = trigger_vectors_locked(irqs, req);
	msix_on = irqs->active == VFIO_PCI_MSIX_IRQ_INDEX;
	mutex_unlock(&irqs->lock);
	soft_config_set_msix_enable(dev, msix_on);
	mutex_unlock(&dev->lock);
	return err;
}

/* ERR and REQ: one eventfd each. */
static int set_single(int *fd, const struct request *req)
{
	int fresh;
	int32_t wanted;
	int err;

	if (req->flags & VFIO_IRQ_SET_DATA_NONE) {
		if (*fd < 0)
			return -EINVAL;
		if (req->count)
			soft_eventfd_signal(*fd);
		else
			close_fd(fd);
		return 0;
	}
	if (!req->count)
		return -EINVAL;
	if (req->flags & VFIO_IRQ_SET_DATA_BOOL) {
		if (should_trigger(req, 0))
			soft_eventfd_signal(*fd);
		return 0;
	}
	memcpy(&wanted, req->data, sizeof(wanted));
	if (wanted == -1) {
		close_fd(fd);
	} else if (wanted >= 0) {
		err = soft_eventfd_get(wanted, &fresh);
		if (err)
			return err;
		close_fd(fd);
		*fd = fresh;
	}
	return 0;
}

static int trigger_single(struct soft_irqs *irqs, const struct request *req)
{
	int err;

	if (req->start || req->count > 1)
		return -EINVAL;
	mutex_lock(&irqs->lock);
	err = set_single(req->index == VFIO_PCI_ERR_IRQ_INDEX ? &irqs->err_fd : &irqs->req_fd, req);
	mutex_unlock(&irqs->lock);
	return err;
}

/* No index can be masked, so only the trigger action leads anywhere. */
static int dispatch(struct soft_device *dev, const struct request *req)
{
	if ((req->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;
	switch (req->index) {
	case VFIO_PCI_MSI_IRQ_INDEX:
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return trigger_vectors(dev, req);
	case VFIO_PCI_ERR_IRQ_INDEX:
	case VFIO_PCI_REQ_IRQ_INDEX:
		return trigger_single(&dev->irqs, req);
	default:
		return -ENOTTY;
	}
}

/* The size of one element of data, or a negative errno. */
static int data_size(const struct vfio_irq_set *hdr)
{
	switch (hdr->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		return sizeof(uint8_t);
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return sizeof(int32_t);
	default:
		return -EINVAL;
	}
}

static int check_header(const struct soft_device *dev, const struct vfio_irq_set *hdr)
{
	const uint32_t known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
	uint32_t max;
	int size;

	if (hdr->argsz < sizeof(*hdr) || hdr->index >= VFIO_PCI_NUM_IRQS ||
	    hdr->count >= UINT32_MAX - hdr->start || (hdr->flags & ~known))
		return -EINVAL;
	max = soft_irqs_count(dev, hdr->index);
	if (hdr->start >= max || hdr->start + hdr->count > max)
		return -EINVAL;
	size = data_size(hdr);
	if (size < 0)
		return size;
	return hdr->argsz - sizeof(*hdr) < (uint64_t)hdr->count * (unsigned int)size ? -EINVAL : 0;
}

int soft_vfio_set_irqs(struct soft_device *dev, void *arg)
{
	CLEANUP(free_ptr) void *data = NULL;
	struct vfio_irq_set hdr;
	struct request req;
	size_t bytes;
	int err;

	if (soft_copy_from_user(&hdr, arg, sizeof(hdr)))
		return -EFAULT;
	err = check_header(dev, &hdr);
	if (err)
		return err;
	bytes = (size_t)hdr.count * (size_t)data_size(&hdr);
	if (bytes) {
		data = alloc_array(1, bytes);
		if (!data)
			return -ENOMEM;
		if (soft_copy_from_user(data, soft_user_ptr((uintptr_t)arg + sizeof(hdr)), bytes))
			return -EFAULT;
	}
	req = (struct request){ hdr.flags, hdr.index, hdr.start, hdr.count, data };
	return dispatch(dev, &req);
}
