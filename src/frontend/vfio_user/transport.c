// SPDX-License-Identifier: BSD-3-Clause
/*
 * Bytes to messages and back, never waiting.
 *
 * Receiving: first exactly a header, then exactly the rest. Reading further would mix the
 * descriptors of two messages, for recvmsg(2) tells with which call a descriptor came, not
 * with which byte.
 *
 * Sending: one sendmsg(2) per message. QEMU 11.1 gives a stream up when it finds a part of
 * a header, which can only happen if a header is not at the start of what is sent.
 */
#include "frontend/vfio_user/server.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- sending */

struct tx_msg *vfu_tx_new(size_t payload_size)
{
	size_t size = sizeof(struct wire_header) + payload_size;
	struct tx_msg *msg = alloc_array(1, sizeof(*msg) + size);

	if (msg) {
		msg->size = size;
		msg->fd = -1;
	}
	return msg;
}

static void drop_all_locked(struct nst_vfu *vfu) REQUIRES(vfu->lock)
{
	struct tx_msg *next;

	for (struct tx_msg *msg = vfu->tx_head; msg; msg = next) {
		next = msg->next;
		free(msg);
	}
	vfu->tx_head = vfu->tx_tail = NULL;
	vfu->tx_bytes = 0;
}

/*
 * Watch for room when something waits for it. Also to be called again soon when a message
 * waits for memory, or when another thread found the peer gone: a socket that is writable,
 * or shut down, is ready at once.
 */
static void arm_locked(struct nst_vfu *vfu) REQUIRES(vfu->lock)
{
	struct epoll_event event = { .data.fd = vfu->tx_sock };

	if (vfu->tx_sock < 0)
		return;
	if (vfu->want_in)
		event.events |= EPOLLIN;
	if (vfu->tx_head || vfu->retry || vfu->tx_error)
		event.events |= EPOLLOUT;
	if (event.events == vfu->armed)
		return;
	if (epoll_ctl(vfu->epoll_fd, EPOLL_CTL_MOD, vfu->tx_sock, &event) == 0)
		vfu->armed = event.events;
}

static ssize_t send_some(int sock, struct tx_msg *msg)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { msg->bytes + msg->sent, msg->size - msg->sent };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (msg->fd >= 0 && !msg->sent) {
		struct cmsghdr *cmsg = &control.align;

		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(cmsg), &msg->fd, sizeof(int));
		hdr.msg_control = control.bytes;
		hdr.msg_controllen = sizeof(control.bytes);
	}
	return sendmsg(sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void flush_locked(struct nst_vfu *vfu) REQUIRES(vfu->lock)
{
	while (vfu->tx_head && !vfu->tx_error) {
		struct tx_msg *msg = vfu->tx_head;
		ssize_t n = send_some(vfu->tx_sock, msg);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM))
			return;
		if (n < 0) {
			vfu->tx_error = -errno;
			drop_all_locked(vfu);
			return;
		}
		msg->sent += (size_t)n;
		vfu->tx_bytes -= (size_t)n;
		if (msg->sent < msg->size)
			continue;
		vfu->tx_head = msg->next;
		if (!vfu->tx_head)
			vfu->tx_tail = NULL;
		free(msg);
	}
}

void vfu_tx_post_locked(struct nst_vfu *vfu, struct tx_msg *msg)
{
	if (vfu->tx_error || vfu->tx_sock < 0) {
		free(msg);
		return;
	}
	tx_header(msg)->size = (uint32_t)msg->size;
	msg->next = NULL;
	if (vfu->tx_tail)
		vfu->tx_tail->next = msg;
	else
		vfu->tx_head = msg;
	vfu->tx_tail = msg;
	vfu->tx_bytes += msg->size;
	flush_locked(vfu);
	arm_locked(vfu);
}

void vfu_tx_flush(struct nst_vfu *vfu)
{
	mutex_lock(&vfu->lock);
	flush_locked(vfu);
	arm_locked(vfu);
	mutex_unlock(&vfu->lock);
}

void vfu_tx_open(struct nst_vfu *vfu, int sock)
{
	mutex_lock(&vfu->lock);
	vfu->tx_sock = sock;
	vfu->tx_error = 0;
	vfu->retry = false;
	vfu->want_in = true;
	vfu->armed = EPOLLIN;
	mutex_unlock(&vfu->lock);
}

void vfu_tx_close(struct nst_vfu *vfu)
{
	mutex_lock(&vfu->lock);
	vfu->tx_sock = -1;
	vfu->connected = false;
	drop_all_locked(vfu);
	mutex_unlock(&vfu->lock);
}

/* ---- receiving */

void vfu_rx_reset(struct nst_vfu *vfu)
{
	for (unsigned int i = 0; i < vfu->rx.num_fds; i++) {
		if (vfu->rx.fds[i] >= 0)
			close(vfu->rx.fds[i]);
	}
	vfu->rx.num_fds = 0;
	vfu->rx.got = 0;
	vfu->rx.ready = false;
	if (vfu->rx.room > RX_KEEP) {
		free(vfu->rx.payload);
		vfu->rx.payload = NULL;
		vfu->rx.room = 0;
	}
}

/*
 * Take the descriptors that came with @msg. Whatever is wrong, each of them is in rx.fds
 * or closed. A truncated list has lost some: the message cannot be carried out.
 */
static int take_fds(struct nst_vfu *vfu, struct msghdr *msg)
{
	unsigned int seen = 0;
	int err = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++, seen++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (vfu->rx.num_fds < WIRE_MAX_FDS) {
				vfu->rx.fds[vfu->rx.num_fds++] = fd;
			} else {
				close(fd);
				err = -EMSGSIZE;
			}
		}
	}
	/* Room for all that are allowed, and yet cut: too many, or we may not open more. */
	if (!err && (msg->msg_flags & MSG_CTRUNC))
		err = seen < WIRE_MAX_FDS ? -EMFILE : -EMSGSIZE;
	return err;
}

/* As recvmsg(2) into rx at @to: the count, 0 at the end of the stream, negative errno. */
static ssize_t receive_some(struct nst_vfu *vfu, void *to, size_t size)
{
	union {
		char bytes[CMSG_SPACE(WIRE_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { to, size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;
	int err;

	do {
		n = recvmsg(vfu->sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0) /* a client that ends with an answer unread has ended all the same */
		return errno == ECONNRESET ? 0 : -errno;
	err = take_fds(vfu, &msg);
	return err ? err : n;
}

/* The header is here: may the rest come, and where to? */
static int prepare_payload(struct nst_vfu *vfu)
{
	size_t size;
	int err = wire_header_check(&vfu->rx.header);

	if (err)
		return err;
	size = vfu->rx.header.size - sizeof(vfu->rx.header);
	if (size > vfu->rx.room) {
		size_t room = MAX(size, (size_t)512);
		void *payload = alloc_array(room, 1);

		if (!payload)
			return VFU_NO_MEMORY;
		free(vfu->rx.payload);
		vfu->rx.payload = payload;
		vfu->rx.room = room;
	}
	vfu->rx.ready = true;
	return 0;
}

/* One more piece of the message in rx. 1: it is whole; 0: not yet; negative errno. */
static int receive_piece(struct nst_vfu *vfu, bool *end)
{
	const size_t head = sizeof(vfu->rx.header);
	size_t want = vfu->rx.ready ? vfu->rx.header.size : head;

	if (vfu->rx.got < want) {
		uint8_t *to = vfu->rx.got < head ? (uint8_t *)&vfu->rx.header + vfu->rx.got
						 : vfu->rx.payload + (vfu->rx.got - head);
		ssize_t n = receive_some(vfu, to, want - vfu->rx.got);

		if (n < 0)
			return (int)n;
		if (n == 0) {
			*end = true;
			return vfu->rx.got ? -ECONNRESET : 0;
		}
		vfu->rx.got += (size_t)n;
	}
	return vfu->rx.got == want && vfu->rx.ready;
}

static int finish_message(struct nst_vfu *vfu)
{
	int ret;

	if ((vfu->rx.header.flags & WIRE_TYPE_MASK) == WIRE_TYPE_REPLY) {
		if (vfu->state != VFU_READY)
			return -EPROTO;
		vfu_dma_reply(vfu);
		ret = 0;
	} else {
		ret = vfu_command(vfu);
	}
	if (ret == 0)
		vfu_rx_reset(vfu);
	return ret;
}

static bool may_receive(struct nst_vfu *vfu, bool retry)
{
	bool room;

	mutex_lock(&vfu->lock);
	room = vfu->tx_bytes < TX_HIGH_WATER;
	vfu->retry = retry;
	vfu->want_in = room;
	arm_locked(vfu);
	mutex_unlock(&vfu->lock);
	return room;
}

static int tx_error(struct nst_vfu *vfu)
{
	int err;

	mutex_lock(&vfu->lock);
	err = vfu->tx_error;
	mutex_unlock(&vfu->lock);
	return err;
}

int vfu_receive(struct nst_vfu *vfu)
{
	unsigned int messages = 0;
	bool end = false;

	while (messages < MESSAGES_PER_CALL && may_receive(vfu, false)) {
		int ret = 0;

		if (vfu->rx.got == sizeof(vfu->rx.header) && !vfu->rx.ready)
			ret = prepare_payload(vfu);
		if (!ret)
			ret = receive_piece(vfu, &end);
		if (ret > 0 && vfu->rx.ready) {
			ret = finish_message(vfu);
			messages++;
		}
		if (ret == VFU_NO_MEMORY) {
			(void)may_receive(vfu, true);
			return VFU_NO_MEMORY;
		}
		/* A peer that only stopped reading would never get an answer again. */
		if (ret == -EAGAIN)
			return tx_error(vfu);
		if (ret < 0)
			return ret;
		if (end)
			return VFU_END;
	}
	return 0;
}
