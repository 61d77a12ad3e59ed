// SPDX-License-Identifier: BSD-3-Clause
/* A vfio-user client that says anything: the input is its byte stream. The header field that
 * a command leaves unused says how a message goes out: bits 4:0 with how many descriptors,
 * 15:8 in pieces of how many bytes (0 = whole). In the end every map must be undone and no
 * descriptor be open. */
#undef NDEBUG
#include "frontend/vfio_user/server.h"
#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
static struct nst_vfu *vfu;
static uint8_t bar[0x2000];
static int maps, memory, sock;
static size_t left;	/* of the message that is coming back */

static void done(void *o, int err, const void *data, size_t size) { assert(err || size == 64); }
static int map(void *o, struct nst_vfu_dma *dma) { return maps++, 0; }
static int unmap(void *o, nst_gpa gpa, uint64_t size) { return maps--, 0; }
static int irqs(void *o, const struct nst_vfu_irqs *q) { return -(int)(q->count & 1); }
static int rd(void *o, unsigned int region, uint64_t offset, void *buf, size_t size)
{
	return memcpy(buf, bar + offset, size), nst_vfu_dma_read(vfu, (nst_gpa){ offset }, 64, done, o);
}
static int wr(void *o, unsigned int region, uint64_t offset, const void *buf, size_t size)
{
	return memcpy(bar + offset, buf, size), nst_vfu_dma_write(vfu, (nst_gpa){ offset }, buf, size);
}
static const struct nst_vfu_ops ops = { rd, wr, map, unmap, irqs, NULL, NULL, NULL };

static bool say(const uint8_t *data, size_t size, unsigned int num_fds)
{
	_Alignas(8) struct wire_header in[256] = { 0 };
	struct cmsghdr *c = (void *)in;
	struct iovec iov = { (void *)data, size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = num_fds ? c : NULL,
			    .msg_controllen = num_fds ? CMSG_LEN(num_fds * sizeof(int)) : 0 };

	*c = (struct cmsghdr){ CMSG_LEN(num_fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	for (unsigned int i = 0; i < num_fds; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &memory, sizeof(int));
	if (sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	assert(nst_vfu_process(vfu) == 0);
	/* A header is never cut: QEMU would give the stream up. */
	for (ssize_t n; (n = recv(sock, in, MIN(left ? left : 16, sizeof(in)), MSG_DONTWAIT)) > 0;) {
		assert(left || (n == 16 && in->size >= 16 && (in->flags & WIRE_TYPE_MASK) < 2));
		left = left ? left - (size_t)n : in->size - 16;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nst_vfu_config k = { .ops = &ops, .irq_counts = { 1, 32 } };
	int pair[2], lowest;

	memory = memory ? memory : memfd_create("guest", 0);
	assert(ftruncate(memory, 1 << 20) == 0 && (lowest = dup(0)) > 0 && close(lowest) == 0);
	k.regions[0] = (struct nst_vfu_region){ 0x2000, 7, memory, 0,
						&(struct nst_vfu_area){ 0, 4096 }, 1 };
	assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && !vfu_create_connected(&k, pair[0], &vfu));
	sock = pair[1], left = 0;
	for (bool go = true; go && size;) {
		struct wire_header h = { 0 };

		memcpy(&h, data, MIN(size, sizeof(h)));
		size_t n = MIN(MAX(h.size, 1U), size);
		size_t piece = h.error >> 8 & 255 ? h.error >> 8 & 255 : n;
		for (size_t at = 0; go && at < n; at += piece)
			go = say(data + at, MIN(piece, n - at), at ? 0 : h.error & 31);
		data += n, size -= n;
	}
	close(sock);
	nst_vfu_destroy(vfu);
	assert(maps == 0 && dup(0) == lowest && close(lowest) == 0);
	return 0;
}
