/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vfio-user server for one PCI function on one UNIX socket.
 *
 * The VMM's vfio-user client (QEMU's vfio-user-pci) connects; the server turns
 * its messages into the callbacks below. It starts no thread: the caller polls
 * nst_vfu_fd() and calls nst_vfu_process(). Several functions are several
 * servers, in one thread or many.
 *
 * Source: the vfio-user protocol specification, version 0.1, as QEMU 11.1 uses it.
 */
#ifndef NESTOR_VFIO_USER_H
#define NESTOR_VFIO_USER_H

#include <nestor/log.h>
#include <nestor/types.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NST_VFU_NUM_REGIONS 9	/* BAR0..5, ROM, config, VGA: VFIO_PCI_NUM_REGIONS */
#define NST_VFU_NUM_IRQS 5	/* INTx, MSI, MSI-X, ERR, REQ: VFIO_PCI_NUM_IRQS */
#define NST_VFU_NUM_COMMANDS 19 /* of the protocol, by number; 0 stands for any other */

struct nst_vfu;

/** An area of a region that the client may map; page aligned. */
struct nst_vfu_area {
	uint64_t offset, size;
};

/**
 * struct nst_vfu_region - one region as the client sees it.
 * @size: bytes, 0 for a region that is not there.
 * @flags: VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP.
 * @fd: what the client maps when @flags has MMAP; -1 otherwise. Stays the caller's.
 * @fd_offset: where the region begins in @fd.
 * @areas: @num_areas areas that may be mapped; none = all of it.
 */
struct nst_vfu_region {
	uint64_t size;
	uint32_t flags;
	int fd;
	uint64_t fd_offset;
	const struct nst_vfu_area *areas;
	unsigned int num_areas;
};

/**
 * struct nst_vfu_dma - a range of guest memory the client announces.
 * @prot: PROT_READ | PROT_WRITE.
 * @fd: file that backs it, or -1 (another device's BAR, ROM): reachable only by
 *	nst_vfu_dma_write(). The callee may keep it by setting it to -1; otherwise
 *	the server closes it after the callback.
 */
struct nst_vfu_dma {
	nst_gpa gpa;
	uint64_t size;
	int prot;
	int fd;
	uint64_t fd_offset;
};

/**
 * struct nst_vfu_irqs - VFIO_DEVICE_SET_IRQS as it came, checked.
 * @index, @flags, @start, @count: as in struct vfio_irq_set; start + count never
 *	exceeds the count configured for the index.
 * @eventfds: for DATA_EVENTFD, @count descriptors, -1 = none. A callee that keeps
 *	one sets its place to -1; the server closes the rest. They are O_NONBLOCK.
 * @data: for DATA_BOOL, @count bytes.
 */
struct nst_vfu_irqs {
	uint32_t index, flags, start, count;
	int *eventfds;
	const uint8_t *data;
};

/**
 * struct nst_vfu_ops - what the function does. All are called from within
 * nst_vfu_process(), return 0 or a negative errno, and may be NULL where the
 * function has nothing to say (the client then gets -ENOTSUP, or success for
 * @dma_map, @dma_unmap and @reset).
 *
 * @region_read, @region_write: @offset + @size is inside the region. A failed read
 *	gives the client all-ones.
 * @dma_map: not 0 makes the client's command fail, after which QEMU 11.1 aborts: refuse
 *	only what cannot be used. A file that is too short for its range, or not open for
 *	what it allows, never gets here.
 * @dma_unmap: exactly a range that was mapped; a command for everything, and the end of
 *	the connection, call it once for each. Not 0 keeps the mapping, but not at the end.
 * @connected: after version negotiation.
 * @disconnected: the peer is gone; every mapping it made has been unmapped before.
 *	@err is 0 for an orderly end, else what broke the protocol. The server
 *	listens on and a new client may connect.
 */
struct nst_vfu_ops {
	int (*region_read)(void *opaque, unsigned int region, uint64_t offset, void *buf,
			   size_t size);
	int (*region_write)(void *opaque, unsigned int region, uint64_t offset, const void *buf,
			    size_t size);
	int (*dma_map)(void *opaque, struct nst_vfu_dma *dma);
	int (*dma_unmap)(void *opaque, nst_gpa gpa, uint64_t size);
	int (*set_irqs)(void *opaque, const struct nst_vfu_irqs *irqs);
	int (*reset)(void *opaque);
	void (*connected)(void *opaque);
	void (*disconnected)(void *opaque, int err);
};

/**
 * struct nst_vfu_config - one function.
 * @socket_path: made by nst_vfu_create(), which refuses a path that exists, and
 *	removed by nst_vfu_destroy().
 * @irq_counts: vectors per VFIO_PCI_*_IRQ_INDEX.
 * @no_reset: the client is told that the function cannot be reset.
 */
struct nst_vfu_config {
	const char *socket_path;
	struct nst_vfu_region regions[NST_VFU_NUM_REGIONS];
	uint32_t irq_counts[NST_VFU_NUM_IRQS];
	bool no_reset;
	const struct nst_vfu_ops *ops;
	void *opaque;
	const struct nst_log *log;
};

/**
 * nst_vfu_create() - bind the socket and listen.
 * Errors: -EINVAL (a region or path that cannot be), -EADDRINUSE, -ENAMETOOLONG,
 * -ENOMEM, or what socket(2), bind(2) and listen(2) give.
 */
NST_MUST_CHECK NST_API int nst_vfu_create(const struct nst_vfu_config *config,
					  struct nst_vfu **out);

/** nst_vfu_destroy() - end the connection, undo its mappings, remove the socket. */
NST_API void nst_vfu_destroy(struct nst_vfu *vfu);

/**
 * nst_vfu_set_region_fd() - what the client maps of a region from now on: the same areas of another
 * file, or -1, nothing. For a function whose device goes and comes back. It counts when the client
 * asks, which it does as it connects. The region must have been made with MMAP.
 */
NST_API void nst_vfu_set_region_fd(struct nst_vfu *vfu, unsigned int region, int fd);

/** nst_vfu_fd() - readable whenever nst_vfu_process() has something to do. */
NST_API int nst_vfu_fd(const struct nst_vfu *vfu);

/**
 * nst_vfu_process() - handle what has arrived; never waits for the peer.
 * Returns 0; a broken peer is reported to @disconnected, not here. One thread at a
 * time, and neither this nor nst_vfu_destroy() from within a callback. Errors: -ENOMEM,
 * -EMFILE and the like: nothing is lost, nst_vfu_fd() stays readable, call it again.
 */
NST_API int nst_vfu_process(struct nst_vfu *vfu);

/** Is a client connected and past version negotiation? */
NST_API bool nst_vfu_is_connected(const struct nst_vfu *vfu);

/**
 * nst_vfu_dma_write() - ask the client to write to an address of the guest.
 *
 * The message is queued and sent at once if the socket takes it; the reply is
 * awaited by nst_vfu_process(), and a refusal (bus mastering off, address not
 * there) is counted and logged. Used for MSI: 4 bytes to the MSI address. Any
 * thread, also from within a callback; takes only a leaf lock and never waits. Called
 * from @region_write it is sent before the reply to that write. @size: 1 to 64 bytes.
 * Errors: -ENOTCONN, -EINVAL, -ENOMEM, -EAGAIN (too many unanswered).
 */
NST_API int nst_vfu_dma_write(struct nst_vfu *vfu, nst_gpa gpa, const void *data, size_t size);

/**
 * nst_vfu_dma_read() - read guest memory through the client.
 * @done gets 0 or a negative errno and the bytes, from within nst_vfu_process(), or
 * when the connection ends (-ENOTCONN). Used to find out at start whether guest
 * memory that was announced with a file descriptor is really shared.
 * Errors and threads: as nst_vfu_dma_write(). @size: 1 to 4096 bytes.
 */
NST_MUST_CHECK NST_API int nst_vfu_dma_read(struct nst_vfu *vfu, nst_gpa gpa, size_t size,
					    void (*done)(void *opaque, int err, const void *data,
							 size_t size),
					    void *opaque);

/**
 * struct nst_vfu_stats - since nst_vfu_create(), over all connections.
 * @commands: carried out or refused, by command number: 9 is REGION_READ, 10
 *	REGION_WRITE. [0] counts numbers that the protocol does not know.
 * @posted: those among them that wanted no reply.
 * @refused: those among them that failed.
 * @dma_errors: our DMA writes and reads that the client refused.
 * @stray_replies: replies to nothing we sent.
 * @maps: ranges of guest memory at present.
 */
struct nst_vfu_stats {
	uint64_t connections, clients_refused;
	uint64_t commands[NST_VFU_NUM_COMMANDS];
	uint64_t posted, refused;
	uint64_t dma_writes, dma_reads, dma_errors;
	uint64_t stray_replies;
	uint64_t maps;
};

/** nst_vfu_get_stats() - a consistent copy. Any thread. */
NST_API void nst_vfu_get_stats(const struct nst_vfu *vfu, struct nst_vfu_stats *out);

#ifdef __cplusplus
}
#endif
#endif
