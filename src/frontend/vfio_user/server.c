// SPDX-License-Identifier: BSD-3-Clause
/*
 * See server.h: making and ending a server and its connections.
 *
 * One epoll descriptor watches the listening socket and the connection, and is what the
 * caller polls. Everything is level-triggered, so a call that stops early loses nothing.
 */
#include "frontend/vfio_user/server.h"

#include "base/alloc.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int watch(struct nst_vfu *vfu, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(vfu->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* ---- connections */

static int connection_begin(struct nst_vfu *vfu, int sock)
{
	int err = watch(vfu, sock);

	if (err) {
		close(sock);
		return err;
	}
	vfu->sock = sock;
	vfu->state = VFU_NEW;
	vfu->refused = 0;
	vfu->client = (struct version_caps){ 0 };
	vfu_tx_open(vfu, sock);
	mutex_lock(&vfu->lock);
	vfu->stats.connections++;
	mutex_unlock(&vfu->lock);
	return 0;
}

void vfu_disconnect(struct nst_vfu *vfu, int err)
{
	bool negotiated = vfu->state == VFU_READY;

	if (vfu->state == VFU_NONE)
		return;
	vfu->state = VFU_NONE;
	vfu_tx_close(vfu); /* other threads do not use the socket from here on */
	close(vfu->sock);  /* leaves the epoll set */
	vfu->sock = -1;
	vfu_rx_reset(vfu);
	vfu_dma_abandon(vfu);
	vfu_dma_unmap_all(vfu, true);
	if (err)
		log_error(vfu->log, "vfio-user: the connection is broken: %s", strerror(-err));
	else
		log_info(vfu->log, "vfio-user: the client has gone");
	if (negotiated && vfu->ops.disconnected)
		vfu->ops.disconnected(vfu->opaque, err);
}

static int accept_client(struct nst_vfu *vfu)
{
	int sock = accept4(vfu->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (sock < 0) {
		bool gone = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;

		return gone ? 0 : -errno;
	}
	if (vfu->state == VFU_NONE)
		return connection_begin(vfu, sock);
	log_warn(vfu->log, "vfio-user: %s is busy: refused a second client", vfu->path);
	mutex_lock(&vfu->lock);
	vfu->stats.clients_refused++;
	mutex_unlock(&vfu->lock);
	close(sock);
	return 0;
}

static int serve(struct nst_vfu *vfu)
{
	int ret;

	vfu_tx_flush(vfu);
	ret = vfu_receive(vfu);
	if (ret == VFU_NO_MEMORY)
		return -ENOMEM;
	if (ret)
		vfu_disconnect(vfu, ret == VFU_END ? 0 : ret);
	return 0;
}

/*
 * The connection comes before the listening socket: a client that left and came back is
 * not its own rival. One that has left with messages still unread is let to its end first.
 */
static int process(struct nst_vfu *vfu)
{
	struct epoll_event events[2];
	bool knock = false, hung_up = false;
	int n = epoll_wait(vfu->epoll_fd, events, (int)ARRAY_SIZE(events), 0);
	int ret = 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (events[i].data.fd == vfu->listen_fd)
			knock = true;
		else
			hung_up = events[i].events & EPOLLHUP;
	}
	if (vfu->state != VFU_NONE)
		ret = serve(vfu);
	if (knock && (vfu->state == VFU_NONE || !hung_up)) {
		int err = accept_client(vfu);

		ret = ret ? ret : err;
	}
	return ret;
}

int nst_vfu_process(struct nst_vfu *vfu)
{
	int ret;

	assert(!vfu->processing);
	if (vfu->processing)
		return -EBUSY;
	vfu->processing = true;
	ret = process(vfu);
	vfu->processing = false;
	return ret;
}

int nst_vfu_fd(const struct nst_vfu *vfu)
{
	return vfu->epoll_fd;
}

bool nst_vfu_is_connected(const struct nst_vfu *vfu)
{
	struct nst_vfu *self = (struct nst_vfu *)vfu; /* for its lock alone */
	bool connected;

	mutex_lock(&self->lock);
	connected = self->connected;
	mutex_unlock(&self->lock);
	return connected;
}

void nst_vfu_get_stats(const struct nst_vfu *vfu, struct nst_vfu_stats *out)
{
	struct nst_vfu *self = (struct nst_vfu *)vfu;

	mutex_lock(&self->lock);
	*out = self->stats;
	mutex_unlock(&self->lock);
}

/* ---- making and ending a server */

static int check_region(const struct nst_vfu_region *r)
{
	const uint32_t known = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
			       VFIO_REGION_INFO_FLAG_MMAP;

	if ((r->flags & ~known) || r->size > INT64_MAX || r->num_areas > MAX_AREAS)
		return -EINVAL;
	if (!(r->flags & VFIO_REGION_INFO_FLAG_MMAP))
		return r->num_areas ? -EINVAL : 0;
	if (!r->size || r->fd < 0 || r->fd_offset > INT64_MAX - r->size)
		return -EINVAL;
	if (!IS_ALIGNED(r->fd_offset, PAGE_SIZE_4K) || (r->num_areas && !r->areas))
		return -EINVAL;
	for (unsigned int i = 0; i < r->num_areas; i++) {
		const struct nst_vfu_area *a = &r->areas[i];

		if (!a->size || !IS_ALIGNED(a->offset | a->size, PAGE_SIZE_4K) ||
		    !range_fits(a->offset, a->size, r->size))
			return -EINVAL;
	}
	return 0;
}

static int copy_config(struct nst_vfu *vfu, const struct nst_vfu_config *config)
{
	uint32_t most = 0;

	if (!config->ops)
		return -EINVAL;
	vfu->ops = *config->ops;
	vfu->opaque = config->opaque;
	vfu->log = config->log;
	vfu->no_reset = config->no_reset;
	for (unsigned int i = 0; i < NST_VFU_NUM_REGIONS; i++) {
		const struct nst_vfu_region *r = &config->regions[i];
		struct nst_vfu_area *areas = NULL;

		if (check_region(r))
			return -EINVAL;
		if (r->num_areas) {
			areas = alloc_array(r->num_areas, sizeof(*areas));
			if (!areas)
				return -ENOMEM;
			memcpy(areas, r->areas, r->num_areas * sizeof(*areas));
		}
		vfu->regions[i] = *r;
		vfu->regions[i].areas = areas;
	}
	for (unsigned int i = 0; i < NST_VFU_NUM_IRQS; i++) {
		if (config->irq_counts[i] > MAX_IRQS)
			return -EINVAL;
		vfu->irq_counts[i] = config->irq_counts[i];
		most = MAX(most, config->irq_counts[i]);
	}
	vfu->no_eventfds = alloc_array(most, sizeof(int));
	if (!vfu->no_eventfds)
		return -ENOMEM;
	for (uint32_t i = 0; i < most; i++)
		vfu->no_eventfds[i] = -1;
	return 0;
}

/*
 * Only its owner may connect. The mode is set on the socket before bind(2) makes the
 * name: umask(2) would change it for every thread, chmod(2) after bind would be late.
 */
static int listen_at(struct nst_vfu *vfu, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int err;

	if (!path || !*path)
		return -EINVAL;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	vfu->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (vfu->listen_fd < 0 || fchmod(vfu->listen_fd, 0600) < 0)
		return -errno;
	vfu->path = alloc_array(strlen(path) + 1, 1);
	if (!vfu->path)
		return -ENOMEM;
	if (bind(vfu->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		err = -errno;
		free(vfu->path);
		vfu->path = NULL;
		return err;
	}
	memcpy(vfu->path, path, strlen(path) + 1);
	if (lstat(path, &st) == 0) {
		vfu->path_dev = st.st_dev;
		vfu->path_ino = st.st_ino;
	}
	if (listen(vfu->listen_fd, 4) < 0)
		return -errno;
	return watch(vfu, vfu->listen_fd);
}

static int make(const struct nst_vfu_config *config, struct nst_vfu **out)
{
	struct nst_vfu *vfu = alloc_object(struct nst_vfu);
	int err;

	if (!vfu)
		return -ENOMEM;
	mutex_init(&vfu->lock);
	vfu->listen_fd = vfu->sock = -1;
	mutex_lock(&vfu->lock);
	vfu->tx_sock = -1;
	for (unsigned int i = 0; i < DMA_PENDING; i++)
		vfu->pending[i].id = (uint16_t)i;
	mutex_unlock(&vfu->lock);
	range_map_init(&vfu->maps);
	vfu->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = vfu->epoll_fd < 0 ? -errno : copy_config(vfu, config);
	if (err) {
		nst_vfu_destroy(vfu);
		return err;
	}
	*out = vfu;
	return 0;
}

int nst_vfu_create(const struct nst_vfu_config *config, struct nst_vfu **out)
{
	struct nst_vfu *vfu;
	int err = make(config, &vfu);

	if (err)
		return err;
	err = listen_at(vfu, config->socket_path);
	if (err) {
		nst_vfu_destroy(vfu);
		return err;
	}
	log_info(vfu->log, "vfio-user: listening on %s", vfu->path);
	*out = vfu;
	return 0;
}

int vfu_create_connected(const struct nst_vfu_config *config, int sock, struct nst_vfu **out)
{
	struct nst_vfu *vfu;
	int err = make(config, &vfu);

	if (err) {
		close(sock);
		return err;
	}
	err = connection_begin(vfu, sock);
	if (err) {
		nst_vfu_destroy(vfu);
		return err;
	}
	*out = vfu;
	return 0;
}

void nst_vfu_set_region_fd(struct nst_vfu *vfu, unsigned int region, int fd)
{
	assert(region < NST_VFU_NUM_REGIONS);
	assert(vfu->regions[region].flags & VFIO_REGION_INFO_FLAG_MMAP);
	vfu->regions[region].fd = fd;
}

static void remove_path(struct nst_vfu *vfu)
{
	struct stat st;

	/* Somebody may have put another one in its place. */
	if (lstat(vfu->path, &st) == 0 && st.st_dev == vfu->path_dev && st.st_ino == vfu->path_ino)
		unlink(vfu->path);
	free(vfu->path);
}

void nst_vfu_destroy(struct nst_vfu *vfu)
{
	if (!vfu)
		return;
	assert(!vfu->processing);
	if (vfu->processing) {
		log_error(vfu->log, "vfio-user: a callback tried to destroy its server");
		return;
	}
	vfu->processing = true;
	vfu_disconnect(vfu, 0);
	if (vfu->path)
		remove_path(vfu);
	if (vfu->listen_fd >= 0)
		close(vfu->listen_fd);
	if (vfu->epoll_fd >= 0)
		close(vfu->epoll_fd);
	for (unsigned int i = 0; i < NST_VFU_NUM_REGIONS; i++)
		free((void *)vfu->regions[i].areas);
	free(vfu->no_eventfds);
	free(vfu->rx.payload);
	range_map_fini(&vfu->maps);
	mutex_fini(&vfu->lock);
	free(vfu);
}
