/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the vfio-user server: one object, four files.
 *
 *	server.c	life cycle, listening socket, nst_vfu_process()
 *	transport.c	bytes to messages (with their descriptors), the outgoing queue
 *	commands.c	what each command does
 *	dma.c		the client's maps, and messages that we send to the client
 *
 * A connection:
 *
 *	              accept            VERSION            end, error
 *	NONE ----------------> NEW ----------------> READY ----------> NONE
 *	  ^                      | anything but VERSION      @disconnected
 *	  +----------------------+
 *
 * A message is received into rx exactly to its last byte, so that a descriptor that comes
 * with any of its bytes is its own. It is then carried out in two steps: first everything
 * that needs memory (the reply among it), then the command itself. If the first step
 * fails the message stays where it is, nst_vfu_process() returns -ENOMEM, and the next
 * call begins the step again: a shortage of memory delays a command and changes nothing.
 *
 * Memory is bounded whatever the peer does: one message in rx, and no further command is
 * taken while TX_HIGH_WATER bytes or more of replies wait for a peer that does not read.
 *
 * Threads: one at a time is in nst_vfu_process(), and what is not said to be guarded is
 * its own. nst_vfu_dma_write(), nst_vfu_dma_read(), nst_vfu_get_stats() and
 * nst_vfu_is_connected() may be called from any thread; they and the loop share what
 * `lock` protects. `lock` is a leaf: nothing but the log is called with it held, and no
 * callback ever is.
 */
#ifndef VFIO_USER_SERVER_H
#define VFIO_USER_SERVER_H

#include "base/lock.h"
#include "frontend/vfio_user/version.h"
#include "frontend/vfio_user/wire.h"
#include "base/range_map.h"

#include <nestor/vfio_user.h>

enum {
	TX_HIGH_WATER = 64 << 10, /* bytes of unsent replies above which no command is taken */
	RX_KEEP = 8 << 10,	  /* a receive buffer up to this is kept for the next message */
	MESSAGES_PER_CALL = 256,  /* then nst_vfu_process() lets its caller do something else */
	MAX_AREAS = 64,		  /* per region */
	MAX_IRQS = 2048,	  /* per index: what MSI-X can have */
	DMA_PENDING_LG2 = 7,
	DMA_PENDING = 1 << DMA_PENDING_LG2, /* unanswered messages to the client */
	DMA_WRITE_MAX = 64,
	DMA_READ_MAX = 4096,
};

/* A message on its way out. @fd goes with its first byte, -1 = none; it is not ours to close. */
struct tx_msg {
	struct tx_msg *next;
	size_t size, sent;
	int fd;
	_Alignas(8) uint8_t bytes[];
};

static inline struct wire_header *tx_header(struct tx_msg *msg)
{
	return (struct wire_header *)(void *)msg->bytes;
}

static inline void *tx_payload(struct tx_msg *msg)
{
	return msg->bytes + sizeof(struct wire_header);
}

/* A message of ours that the client has not answered. The id tells the slot. */
struct dma_pending {
	bool used;
	uint16_t id, command;
	uint32_t size;
	nst_gpa gpa;
	void (*done)(void *opaque, int err, const void *data, size_t size);
	void *opaque;
};

enum vfu_state { VFU_NONE, VFU_NEW, VFU_READY };

struct nst_vfu {
	/* Fixed from creation to destruction, but for the descriptors of regions. */
	struct nst_vfu_ops ops;
	void *opaque;
	const struct nst_log *log;
	bool no_reset;
	struct nst_vfu_region regions[NST_VFU_NUM_REGIONS]; /* areas are ours */
	uint32_t irq_counts[NST_VFU_NUM_IRQS];
	int *no_eventfds; /* as many -1 as the largest index has vectors */
	char *path;
	uint64_t path_dev, path_ino; /* the socket we made: nothing else is unlinked */
	int epoll_fd, listen_fd;

	/* The thread in nst_vfu_process(). */
	enum vfu_state state;
	int sock;
	bool processing; /* also: we are below a callback */
	struct version_caps client;
	struct range_map maps; /* .hva and .owner are not used */
	uint64_t refused;      /* commands of this client */
	struct {
		_Alignas(8) struct wire_header header;
		uint8_t *payload; /* of header.size - sizeof(header) bytes */
		size_t room, got; /* @got counts from the first byte of the header */
		bool ready;	  /* header checked, @payload large enough */
		int fds[WIRE_MAX_FDS];
		unsigned int num_fds;
	} rx;

	struct mutex lock; /* leaf; protects: what follows */
	struct tx_msg *tx_head GUARDED_BY(lock), *tx_tail GUARDED_BY(lock);
	size_t tx_bytes GUARDED_BY(lock);
	int tx_sock GUARDED_BY(lock);  /* sock while it may be written to, else -1 */
	int tx_error GUARDED_BY(lock); /* why it may not: negative errno */
	bool retry GUARDED_BY(lock);   /* a message waits for memory, not for bytes */
	bool want_in GUARDED_BY(lock);
	uint32_t armed GUARDED_BY(lock);     /* the events epoll watches on tx_sock */
	bool connected GUARDED_BY(lock);     /* state == VFU_READY, for other threads */
	uint32_t dma_limit GUARDED_BY(lock); /* the client's max_data_xfer_size */
	struct dma_pending pending[DMA_PENDING] GUARDED_BY(lock);
	unsigned int dma_next GUARDED_BY(lock);
	struct nst_vfu_stats stats GUARDED_BY(lock);
};

/*
 * A server without a listening socket, for one client that is connected already: tests
 * and fuzzing. Takes @sock, also when it fails. @config->socket_path is not used.
 */
NST_MUST_CHECK int vfu_create_connected(const struct nst_vfu_config *config, int sock,
					struct nst_vfu **out);

/* ---- server.c */

/* End the connection if there is one: close, unmap, tell. @err as for @disconnected. */
void vfu_disconnect(struct nst_vfu *vfu, int err);

/* ---- transport.c */

void vfu_tx_open(struct nst_vfu *vfu, int sock) EXCLUDES(vfu->lock);
/* Nothing is sent from here on; what waited is dropped. */
void vfu_tx_close(struct nst_vfu *vfu) EXCLUDES(vfu->lock);
/* A message with a zeroed payload of @payload_size bytes, or NULL. */
struct tx_msg *vfu_tx_new(size_t payload_size);
/* Takes @msg. Sends at once what the socket takes. */
void vfu_tx_post_locked(struct nst_vfu *vfu, struct tx_msg *msg) REQUIRES(vfu->lock);
/* Send what waits. */
void vfu_tx_flush(struct nst_vfu *vfu) EXCLUDES(vfu->lock);

/* What the functions below return beside 0 and a negative errno. */
enum {
	VFU_NO_MEMORY = 1, /* nothing was done and nothing is lost: call it again */
	VFU_END,	   /* the peer ended the stream after a whole message */
};

/*
 * Receive and carry out at most MESSAGES_PER_CALL messages. 0: no more for now;
 * VFU_NO_MEMORY, VFU_END; a negative errno: the connection is not usable any more.
 */
int vfu_receive(struct nst_vfu *vfu) EXCLUDES(vfu->lock);
/* Forget the message in rx: close its descriptors. */
void vfu_rx_reset(struct nst_vfu *vfu);

/* ---- commands.c */

/* Carry out the command in rx and queue its reply. 0, VFU_NO_MEMORY, or as vfu_receive(). */
NST_MUST_CHECK int vfu_command(struct nst_vfu *vfu) EXCLUDES(vfu->lock);

/* ---- dma.c */

/* VFU_NO_MEMORY, or 0 or a negative errno for the reply. *@fd becomes -1 if it is kept. */
NST_MUST_CHECK int vfu_dma_map(struct nst_vfu *vfu, const struct wire_dma_map *map, int *fd);
NST_MUST_CHECK int vfu_dma_unmap(struct nst_vfu *vfu, const struct wire_dma_unmap *unmap);
/* Undo every map, last one first. With @forget a map goes whatever the callback says. */
int vfu_dma_unmap_all(struct nst_vfu *vfu, bool forget);
/* The reply in rx. */
void vfu_dma_reply(struct nst_vfu *vfu) EXCLUDES(vfu->lock);
/* Tell every waiting reader that there will be no answer. */
void vfu_dma_abandon(struct nst_vfu *vfu) EXCLUDES(vfu->lock);

#endif
