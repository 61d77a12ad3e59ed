// SPDX-License-Identifier: BSD-3-Clause
/*
 * See nestor/trace_host.h. A call is written down in two halves: what goes in is read
 * before the inner host sees it, since the same structure is then overwritten with what
 * comes out. The caller's memory may be bad, which is for the inner host to say; here it
 * is read as another process would read it, and what cannot be read is not shown.
 */
#include <nestor/trace_host.h>

#include "base/alloc.h"
#include "base/bits.h"
#include "base/lock.h"
#include "host/trace/abi.h"
#include "host/trace/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { SHOWN_ELEMENTS = 8, SHOWN_BYTES = 8, STRUCT_MAX = 128, VFIO_REGION_SHIFT = 40 };

struct trace_host {
	struct nst_host base;
	struct nst_host *inner;
	struct nst_trace_config config;
	struct timespec start;
	struct mutex lock; /* one record at a time; outermost of the sink's, nothing else inside */
};

static struct trace_host *to_trace(struct nst_host *host)
{
	return container_of(host, struct trace_host, base);
}

static void begin(struct trace_host *t, struct record *r, const char *call)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	record_begin(r, t->config.json,
		     (double)(now.tv_sec - t->start.tv_sec) +
			     1e-9 * (double)(now.tv_nsec - t->start.tv_nsec),
		     call);
}

static void end(struct trace_host *t, struct record *r)
{
	mutex_lock(&t->lock);
	t->config.write(t->config.opaque, record_end(r));
	mutex_unlock(&t->lock);
}

static bool peek(void *to, uint64_t from, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)(uintptr_t)from, size };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* As much of the structure at @arg as there is: its own size field has the last word. */
static size_t peek_struct(const struct abi_call *call, const void *arg, uint8_t *to)
{
	uint32_t size;

	if (!call->size || !peek(&size, (uintptr_t)arg, sizeof(size)))
		return 0;
	size = MIN(size, call->size);
	return peek(to, (uintptr_t)arg, size) ? size : 0;
}

static uint64_t member(const uint8_t *structure, int16_t offset, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, structure + offset, size);
	return value;
}

/* Is it this kind of payload that the call has, and is what says so all there? */
static bool has_payload(const struct abi_call *call, const struct abi_payload *p,
			const uint8_t *structure, size_t available, enum abi_direction direction)
{
	size_t needed = p->pointer >= 0 ? (size_t)p->pointer + sizeof(uint64_t) : call->size;

	if (p->direction != direction || available < needed)
		return false;
	return p->type < 0 || (member(structure, p->type, 4) & p->type_mask) == p->type_value;
}

static void record_payload(struct record *r, const struct abi_payload *p, const void *arg,
			   const uint8_t *structure, size_t available, enum abi_direction direction)
{
	uint8_t element[STRUCT_MAX];
	uint64_t at;
	size_t count, shown;

	count = p->count >= 0 ? member(structure, p->count, 4) : 1;
	at = p->pointer >= 0 ? member(structure, p->pointer, 8) : (uintptr_t)arg + available;
	shown = MIN(count, (size_t)SHOWN_ELEMENTS);
	if (!at || !count)
		return;
	record_array_begin(r, p->name);
	for (size_t i = 0; i < shown; i++) {
		if (!peek(element, at + i * p->element_size, p->element_size))
			break;
		record_array_next(r);
		record_fields(r, p->fields, element, p->element_size, direction);
		record_array_element_end(r);
	}
	record_array_end(r, count - shown);
}

static void record_half(struct record *r, const struct abi_call *call, const void *arg,
			enum abi_direction direction)
{
	uint8_t structure[STRUCT_MAX] = { 0 };
	size_t available = peek_struct(call, arg, structure);

	record_fields(r, call->fields, structure, available, direction);
	for (const struct abi_payload *p = call->payload; p; p = p->next)
		if (has_payload(call, p, structure, available, direction))
			record_payload(r, p, arg, structure, available, direction);
}

static bool has_output(const struct abi_call *call)
{
	for (const struct abi_payload *p = call->payload; p; p = p->next)
		if (p->direction & ABI_OUT)
			return true;
	for (const struct abi_field *f = call->fields; f->name; f++)
		if (f->direction & ABI_OUT)
			return true;
	return false;
}

static int trace_ioctl(struct nst_host *host, int fd, unsigned long request, void *arg)
{
	struct trace_host *t = to_trace(host);
	const struct abi_call *call = abi_find(request);
	struct record r;
	int ret;

	begin(t, &r, call ? call->name : "ioctl");
	record_open(&r, "in");
	record_number(&r, "fd", fd);
	if (call)
		record_half(&r, call, arg, ABI_IN);
	else
		record_hex(&r, "request", request);
	record_close(&r);
	ret = t->inner->ops->ioctl(t->inner, fd, request, arg);
	record_result(&r, ret);
	if (call && ret >= 0 && has_output(call)) {
		record_open(&r, "out");
		record_half(&r, call, arg, ABI_OUT);
		record_close(&r);
	}
	end(t, &r);
	return ret;
}

static int trace_open(struct nst_host *host, const char *path, int flags)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	int ret;

	begin(t, &r, "open");
	record_open(&r, "in");
	record_string(&r, "path", path);
	record_hex(&r, "flags", (unsigned int)flags);
	record_close(&r);
	ret = t->inner->ops->open(t->inner, path, flags);
	record_result(&r, ret);
	end(t, &r);
	return ret;
}

static int trace_close(struct nst_host *host, int fd)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	int ret;

	begin(t, &r, "close");
	record_open(&r, "in");
	record_number(&r, "fd", fd);
	record_close(&r);
	ret = t->inner->ops->close(t->inner, fd);
	record_result(&r, ret);
	end(t, &r);
	return ret;
}

/* The bytes that were moved, the first few in hexadecimal. */
static void record_bytes(struct record *r, const void *buf, ssize_t count)
{
	uint8_t bytes[SHOWN_BYTES];
	char text[3 * SHOWN_BYTES + 4] = "";
	size_t shown = count < 0 ? 0 : MIN((size_t)count, sizeof(bytes));

	if (!shown || !peek(bytes, (uintptr_t)buf, shown))
		return;
	for (size_t i = 0; i < shown; i++)
		snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
	text[3 * shown - 1] = '\0';
	record_string(r, (size_t)count > shown ? "first" : "data", text);
}

/* @offset < 0: a call without one. VFIO puts a region's index into its upper bits. */
static void begin_transfer(struct trace_host *t, struct record *r, const char *call, int fd,
			   size_t count, off_t offset)
{
	begin(t, r, call);
	record_open(r, "in");
	record_number(r, "fd", fd);
	if (offset >= 0) {
		record_number(r, "region", offset >> VFIO_REGION_SHIFT);
		record_hex(r, "offset", (uint64_t)offset & (BIT64(VFIO_REGION_SHIFT) - 1));
	}
	record_number(r, "count", (int64_t)count);
}

static void end_read(struct trace_host *t, struct record *r, const void *buf, ssize_t ret)
{
	record_close(r);
	record_result(r, ret);
	if (ret > 0) {
		record_open(r, "out");
		record_bytes(r, buf, ret);
		record_close(r);
	}
	end(t, r);
}

static void end_write(struct trace_host *t, struct record *r, const void *buf, size_t count,
		      ssize_t ret)
{
	record_bytes(r, buf, (ssize_t)count);
	record_close(r);
	record_result(r, ret);
	end(t, r);
}

static ssize_t trace_read(struct nst_host *host, int fd, void *buf, size_t count)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	ssize_t ret;

	begin_transfer(t, &r, "read", fd, count, -1);
	ret = t->inner->ops->read(t->inner, fd, buf, count);
	end_read(t, &r, buf, ret);
	return ret;
}

static ssize_t trace_pread(struct nst_host *host, int fd, void *buf, size_t count, off_t offset)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	ssize_t ret;

	begin_transfer(t, &r, "pread", fd, count, offset);
	ret = t->inner->ops->pread(t->inner, fd, buf, count, offset);
	end_read(t, &r, buf, ret);
	return ret;
}

static ssize_t trace_write(struct nst_host *host, int fd, const void *buf, size_t count)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	ssize_t ret;

	begin_transfer(t, &r, "write", fd, count, -1);
	ret = t->inner->ops->write(t->inner, fd, buf, count);
	end_write(t, &r, buf, count, ret);
	return ret;
}

static ssize_t trace_pwrite(struct nst_host *host, int fd, const void *buf, size_t count,
			    off_t offset)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	ssize_t ret;

	begin_transfer(t, &r, "pwrite", fd, count, offset);
	ret = t->inner->ops->pwrite(t->inner, fd, buf, count, offset);
	end_write(t, &r, buf, count, ret);
	return ret;
}

static void *trace_mmap(struct nst_host *host, size_t length, int prot, int flags, int fd,
			off_t offset, int *err)
{
	struct trace_host *t = to_trace(host);
	struct record r;
	void *ret;

	begin_transfer(t, &r, "mmap", fd, length, offset);
	record_hex(&r, "prot", (unsigned int)prot);
	record_close(&r);
	ret = t->inner->ops->mmap(t->inner, length, prot, flags, fd, offset, err);
	record_result(&r, ret ? 0 : *err);
	end(t, &r);
	return ret;
}

static int trace_munmap(struct nst_host *host, void *addr, size_t length)
{
	struct trace_host *t = to_trace(host);

	return t->inner->ops->munmap(t->inner, addr, length);
}

static void trace_destroy(struct nst_host *host)
{
	struct trace_host *t = to_trace(host);

	nst_host_destroy(t->inner);
	mutex_fini(&t->lock);
	free(t);
}

static const struct nst_host_ops trace_ops = {
	.open = trace_open,
	.close = trace_close,
	.ioctl = trace_ioctl,
	.read = trace_read,
	.write = trace_write,
	.pread = trace_pread,
	.pwrite = trace_pwrite,
	.mmap = trace_mmap,
	.munmap = trace_munmap,
	.destroy = trace_destroy,
};

void nst_trace_write_fd(void *opaque, const char *record)
{
	struct iovec parts[] = { { (void *)record, strlen(record) }, { (void *)"\n", 1 } };

	if (writev(*(const int *)opaque, parts, 2) < 0)
		return;
}

int nst_host_trace_create(struct nst_host *inner, const struct nst_trace_config *config,
			  struct nst_host **out)
{
	struct trace_host *t = alloc_object(struct trace_host);

	if (!t)
		return -ENOMEM;
	t->base.ops = &trace_ops;
	t->inner = inner;
	t->config = *config;
	clock_gettime(CLOCK_MONOTONIC, &t->start);
	mutex_init(&t->lock);
	*out = &t->base;
	return 0;
}
