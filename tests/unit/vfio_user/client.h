/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The other end: a device behind a vfio-user server that remembers what was done to it,
 * and a client that speaks the protocol byte by byte. Both live in one thread; `pump`
 * runs the server until it has nothing more to do, and fails if that never happens.
 */
#ifndef TESTS_VFIO_USER_CLIENT_H
#define TESTS_VFIO_USER_CLIENT_H

#include "test.h"

#include "base/bits.h"
#include "frontend/vfio_user/server.h"

#include <nestor/vfio_user.h>

enum {
	BAR0_SIZE = 0x4000,		/* one page of it, the second, may be mapped */
	BAR2_SIZE = 0x200000,		/* read-only, for large transfers */
	BAR4_SIZE = 0x1000,		/* all of it may be mapped */
	CONFIG_SIZE = 256,
	MSI_VECTORS = 32,
	MAX_MODEL = 64,
};

/* What QEMU 11.1.3 says (reference/vfio-user.md 3.1). */
extern const char qemu_version[];

struct fixture {
	struct nst_vfu *vfu;
	char dir[64], path[96];
	int sock;			/* the client's end, -1 = none */
	unsigned int fds_at_start;
	uint16_t next_id;
	int bar_fd;

	/* The device. */
	uint8_t bar0[BAR0_SIZE], config[CONFIG_SIZE];
	struct { uint64_t gpa, size; int prot; bool has_fd; } maps[MAX_MODEL];
	unsigned int num_maps, map_calls, unmap_calls, resets, connects, disconnects, reads, writes;
	int last_err;			/* of the last disconnected() */
	int fail_with;			/* what the callbacks return, 0 = they work */
	bool keep_fds;
	int kept[MSI_VECTORS];
	struct nst_vfu_irqs irqs;	/* the last; .eventfds is not valid */
	unsigned int irq_calls, irq_fds;
	uint8_t irq_data[MSI_VECTORS];
	void (*on_write)(struct fixture *f);
	char log[512];			/* the last message above INFO */
	unsigned int log_lines;
};

/* cmocka fixtures: a listening server; the same with a client past VERSION. */
int listening(void **state);
int connected(void **state);
int close_all(void **state);	/* and fails if a descriptor or the socket's name is left */

void fill_config(struct fixture *f, struct nst_vfu_config *config);
void create_server(struct fixture *f);
unsigned int count_fds(void);
int make_memfd(size_t size);
int make_eventfd(void);

void pump(struct fixture *f);
void client_connect(struct fixture *f);
void client_close(struct fixture *f);	/* closes and lets the server notice */

/* ---- raw bytes */
void client_send(struct fixture *f, const void *bytes, size_t size, const int *fds, size_t num_fds);
bool client_has_bytes(struct fixture *f);
bool client_at_end(struct fixture *f);	/* the server has closed */

/* ---- messages. All pump. */
struct reply {
	struct wire_header header;
	uint8_t payload[BAR2_SIZE];
	size_t size;		/* of the payload */
	int fd;			/* that came with it, or -1: the caller's to close */
};

/* Builds header + payload in @out, returns the length. */
size_t make_message(struct fixture *f, uint8_t *out, uint16_t command, uint32_t flags,
		    const void *payload, size_t size);
void client_receive(struct fixture *f, struct reply *reply);
/* Send one command and receive its reply; checks id, command, type and error = @err. */
void client_call(struct fixture *f, uint16_t command, const void *payload, size_t size, int fd,
		 int err, struct reply *reply);
void client_version(struct fixture *f, const char *json);
/* Both return the errno in the reply. */
int client_map(struct fixture *f, uint64_t gpa, uint64_t size, int fd, uint64_t offset);
int client_unmap(struct fixture *f, uint64_t gpa, uint64_t size);
/* Answer a DMA message of the server's with @err or @data. */
void client_answer(struct fixture *f, const struct reply *request, int err, const void *data,
		   size_t size);

#endif
