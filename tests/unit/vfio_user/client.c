// SPDX-License-Identifier: BSD-3-Clause
/* See client.h. */
#include "client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

const char qemu_version[] =
	"{\"capabilities\":{\"pgsizes\":4096,\"max_msg_fds\":16,\"max_dma_maps\":65535,"
	"\"max_data_xfer_size\":1048576,\"migration\":{\"max_bitmap_size\":268435456,"
	"\"pgsize\":4096},\"write_multiple\":true}}";

/* ---- the device */

static int device_read(void *opaque, unsigned int region, uint64_t offset, void *buf, size_t size)
{
	struct fixture *f = opaque;

	f->reads++;
	if (f->fail_with)
		return f->fail_with;
	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		memcpy(buf, f->config + offset, size);
	else if (region == 0)
		memcpy(buf, f->bar0 + offset, size);
	else
		memset(buf, (int)(offset >> 12), size);
	return 0;
}

static int device_write(void *opaque, unsigned int region, uint64_t offset, const void *buf,
			size_t size)
{
	struct fixture *f = opaque;

	f->writes++;
	if (f->fail_with)
		return f->fail_with;
	memcpy((region == VFIO_PCI_CONFIG_REGION_INDEX ? f->config : f->bar0) + offset, buf, size);
	if (f->on_write)
		f->on_write(f);
	return 0;
}

static int device_map(void *opaque, struct nst_vfu_dma *dma)
{
	struct fixture *f = opaque;
	unsigned int i = f->num_maps;

	f->map_calls++;
	if (f->fail_with)
		return f->fail_with;
	assert_true(f->num_maps < MAX_MODEL);
	f->maps[i].gpa = dma->gpa.v;
	f->maps[i].size = dma->size;
	f->maps[i].prot = dma->prot;
	f->maps[i].has_fd = dma->fd >= 0;
	f->num_maps++;
	if (f->keep_fds) {
		f->kept[0] = dma->fd;
		dma->fd = -1;
	}
	return 0;
}

static int device_unmap(void *opaque, nst_gpa gpa, uint64_t size)
{
	struct fixture *f = opaque;

	f->unmap_calls++;
	if (f->fail_with)
		return f->fail_with;
	for (unsigned int i = 0; i < f->num_maps; i++) {
		if (f->maps[i].gpa == gpa.v && f->maps[i].size == size) {
			f->maps[i] = f->maps[--f->num_maps];
			return 0;
		}
	}
	fail_msg("unmap of what is not mapped");
	return -ENOENT;
}

static int device_set_irqs(void *opaque, const struct nst_vfu_irqs *irqs)
{
	struct fixture *f = opaque;

	f->irq_calls++;
	f->irqs = *irqs;
	f->irq_fds = 0;
	if (f->fail_with)
		return f->fail_with;
	for (uint32_t i = 0; irqs->eventfds && i < irqs->count; i++) {
		if (irqs->eventfds[i] < 0)
			continue;
		f->irq_fds++;
		if (f->keep_fds) {
			f->kept[irqs->start + i] = irqs->eventfds[i];
			irqs->eventfds[i] = -1;
		}
	}
	if (irqs->data)
		memcpy(f->irq_data, irqs->data, irqs->count);
	return 0;
}

static int device_reset(void *opaque)
{
	struct fixture *f = opaque;

	f->resets++;
	return f->fail_with;
}

static void device_connected(void *opaque)
{
	struct fixture *f = opaque;

	f->connects++;
	assert_true(nst_vfu_is_connected(f->vfu));
}

static void device_disconnected(void *opaque, int err)
{
	struct fixture *f = opaque;
	uint32_t word = 0;

	f->disconnects++;
	f->last_err = err;
	assert_int_equal(f->num_maps, 0);
	assert_false(nst_vfu_is_connected(f->vfu));
	assert_int_equal(nst_vfu_dma_write(f->vfu, (nst_gpa){ 0 }, &word, 4), -ENOTCONN);
}

static const struct nst_vfu_ops device_ops = {
	.region_read = device_read,
	.region_write = device_write,
	.dma_map = device_map,
	.dma_unmap = device_unmap,
	.set_irqs = device_set_irqs,
	.reset = device_reset,
	.connected = device_connected,
	.disconnected = device_disconnected,
};

static void keep_log(void *opaque, enum nst_log_level level, const char *message)
{
	struct fixture *f = opaque;

	if (level > NST_LOG_WARN)
		return;
	f->log_lines++;
	snprintf(f->log, sizeof(f->log), "%s", message);
}

void fill_config(struct fixture *f, struct nst_vfu_config *config)
{
	static const struct nst_vfu_area area = { 0x1000, 0x1000 };
	static struct nst_log log;	/* one fixture at a time */

	log = (struct nst_log){ keep_log, f, NST_LOG_DEBUG };
	*config = (struct nst_vfu_config){
		.socket_path = f->path,
		.regions = {
			[0] = { BAR0_SIZE, 7, f->bar_fd, 0x2000, &area, 1 },
			[2] = { BAR2_SIZE, VFIO_REGION_INFO_FLAG_READ, -1, 0, NULL, 0 },
			[4] = { BAR4_SIZE, 7, f->bar_fd, 0, NULL, 0 },
			[VFIO_PCI_CONFIG_REGION_INDEX] = { CONFIG_SIZE, 3, -1, 0, NULL, 0 },
		},
		.irq_counts = { [VFIO_PCI_MSI_IRQ_INDEX] = MSI_VECTORS,
				[VFIO_PCI_ERR_IRQ_INDEX] = 1 },
		.ops = &device_ops,
		.opaque = f,
		.log = &log,
	};
}

/* ---- fixtures */

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int make_memfd(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

int make_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void create_server(struct fixture *f)
{
	struct nst_vfu_config config;

	fill_config(f, &config);
	assert_int_equal(nst_vfu_create(&config, &f->vfu), 0);
}

int listening(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->fds_at_start = count_fds();
	f->sock = -1;
	f->bar_fd = make_memfd(BAR0_SIZE + 0x2000);
	strcpy(f->dir, "/tmp/nestor-vfu-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	create_server(f);
	*state = f;
	return 0;
}

int connected(void **state)
{
	listening(state);
	client_connect(*state);
	client_version(*state, qemu_version);
	return 0;
}

int close_all(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	if (f->sock >= 0)
		close(f->sock);
	nst_vfu_destroy(f->vfu);
	close(f->bar_fd);
	assert_int_equal(f->num_maps, 0);
	assert_int_equal(f->connects, f->disconnects);
	assert_int_equal(lstat(f->path, &st), -1);
	assert_int_equal(rmdir(f->dir), 0);
	assert_int_equal(count_fds(), f->fds_at_start);
	free(f);
	return 0;
}

/* ---- the client */

void pump(struct fixture *f)
{
	for (int i = 0; i < 100000; i++) {
		struct pollfd p = { nst_vfu_fd(f->vfu), POLLIN, 0 };

		if (poll(&p, 1, 0) == 0)
			return;
		(void)!nst_vfu_process(f->vfu);
	}
	fail_msg("the server is never done");
}

void client_connect(struct fixture *f)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(address.sun_path, f->path, strlen(f->path) + 1);
	assert_int_equal(connect(f->sock, (struct sockaddr *)&address, sizeof(address)), 0);
	pump(f);
}

void client_close(struct fixture *f)
{
	close(f->sock);
	f->sock = -1;
	pump(f);
}

void client_send(struct fixture *f, const void *bytes, size_t size, const int *fds, size_t num_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)bytes, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (num_fds) {
		struct cmsghdr *c = (void *)control;

		c->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(c), fds, num_fds * sizeof(int));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(f->sock, &msg, MSG_NOSIGNAL), size);
}

static short client_events(struct fixture *f)
{
	struct pollfd p = { f->sock, POLLIN, 0 };

	poll(&p, 1, 0);
	return p.revents;
}

bool client_has_bytes(struct fixture *f)
{
	char c;

	return (client_events(f) & POLLIN) && recv(f->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

bool client_at_end(struct fixture *f)
{
	char c;

	if (!(client_events(f) & (POLLIN | POLLHUP)))
		return false;
	return recv(f->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

size_t make_message(struct fixture *f, uint8_t *out, uint16_t command, uint32_t flags,
		    const void *payload, size_t size)
{
	struct wire_header header = {
		.id = f->next_id++, .command = command,
		.size = (uint32_t)(sizeof(header) + size), .flags = flags,
	};

	memcpy(out, &header, sizeof(header));
	if (size)
		memcpy(out + sizeof(header), payload, size);
	return sizeof(header) + size;
}

/* Receives what is already there, pumping in between. One descriptor at most. */
static void receive_exactly(struct fixture *f, void *to, size_t size, int *fd)
{
	size_t got = 0;

	for (int i = 0; got < size && i < 10000; i++) {
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
		struct iovec iov = { (char *)to + got, size - got };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(f->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EAGAIN) {
			pump(f);
			continue;
		}
		assert_true(n > 0);
		assert_false(msg.msg_flags & MSG_CTRUNC);
		if (msg.msg_controllen && CMSG_FIRSTHDR(&msg)) {
			assert_int_equal(*fd, -1);
			memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
		}
		got += (size_t)n;
	}
	assert_int_equal(got, size);
}

void client_receive(struct fixture *f, struct reply *reply)
{
	reply->fd = -1;
	receive_exactly(f, &reply->header, sizeof(reply->header), &reply->fd);
	assert_true(reply->header.size >= sizeof(reply->header));
	reply->size = reply->header.size - sizeof(reply->header);
	assert_true(reply->size <= sizeof(reply->payload));
	receive_exactly(f, reply->payload, reply->size, &reply->fd);
}

void client_call(struct fixture *f, uint16_t command, const void *payload, size_t size, int fd,
		 int err, struct reply *reply)
{
	uint8_t message[4096];
	uint16_t id = f->next_id;
	size_t n = make_message(f, message, command, 0, payload, size);

	client_send(f, message, n, &fd, fd >= 0);
	pump(f);
	client_receive(f, reply);
	assert_int_equal(reply->header.id, id);
	assert_int_equal(reply->header.command, command);
	assert_int_equal(reply->header.flags, WIRE_TYPE_REPLY | (err ? WIRE_ERROR : 0));
	assert_int_equal(reply->header.error, err);
	assert_false(client_has_bytes(f));
}

void client_version(struct fixture *f, const char *json)
{
	static struct reply reply;
	uint8_t payload[512] = { 0 };

	memcpy(payload + 4, json, strlen(json) + 1);
	client_call(f, WIRE_VERSION, payload, 4 + strlen(json) + 1, -1, 0, &reply);
}

static int call_errno(struct fixture *f, uint16_t command, const void *payload, size_t size, int fd,
		      size_t reply_size)
{
	static struct reply reply;
	uint8_t message[256];
	size_t n = make_message(f, message, command, 0, payload, size);

	client_send(f, message, n, &fd, fd >= 0);
	pump(f);
	client_receive(f, &reply);
	assert_int_equal(reply.size, reply_size);
	return (int)reply.header.error;
}

int client_map(struct fixture *f, uint64_t gpa, uint64_t size, int fd, uint64_t offset)
{
	struct wire_dma_map map = { sizeof(map), 3, offset, gpa, size };

	return call_errno(f, WIRE_DMA_MAP, &map, sizeof(map), fd, 0);
}

int client_unmap(struct fixture *f, uint64_t gpa, uint64_t size)
{
	struct wire_dma_unmap unmap = { sizeof(unmap), 0, gpa, size };

	return call_errno(f, WIRE_DMA_UNMAP, &unmap, sizeof(unmap), -1, sizeof(unmap));
}

void client_answer(struct fixture *f, const struct reply *request, int err, const void *data,
		   size_t size)
{
	uint8_t message[sizeof(struct wire_header) + sizeof(struct wire_dma_access) + DMA_READ_MAX];
	struct wire_header header = request->header;
	size_t n = sizeof(header) + sizeof(struct wire_dma_access) + size;

	header.flags = WIRE_TYPE_REPLY | (err ? WIRE_ERROR : 0);
	header.error = (uint32_t)err;
	header.size = (uint32_t)n;
	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), request->payload, sizeof(struct wire_dma_access));
	if (size)
		memcpy(message + sizeof(header) + sizeof(struct wire_dma_access), data, size);
	client_send(f, message, n, NULL, 0);
	pump(f);
}
