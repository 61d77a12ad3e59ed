/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that hands every call to another host and writes down what was asked and what
 * came back, with the structures decoded: strace for iommufd and VFIO.
 */
#ifndef NESTOR_TRACE_HOST_H
#define NESTOR_TRACE_HOST_H

#include <nestor/host.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct nst_trace_config - where the records go.
 * @write: gets one record, a line without a newline. Called from the thread that made
 *	the call, after it, one at a time; must not call the host.
 * @json: a JSON object per record instead of text for people:
 *	{"t":seconds,"call":name,"fd":n,"in":{...},"result":n or "-EINVAL","out":{...}}
 */
struct nst_trace_config {
	void (*write)(void *opaque, const char *record);
	void *opaque;
	bool json;
};

/**
 * nst_host_trace_create() - wrap @inner, which the new host takes over: destroying it
 * destroys @inner too. Descriptors are @inner's. Errors: -ENOMEM, and @inner stays the
 * caller's.
 */
NST_MUST_CHECK NST_API int nst_host_trace_create(struct nst_host *inner,
						 const struct nst_trace_config *config,
						 struct nst_host **out);

/**
 * nst_trace_write_fd() - a @write that puts each record and a newline into a descriptor,
 * in one system call; @opaque points to it, an int. A record that cannot be written, to a
 * full disk say, is lost.
 */
NST_API void nst_trace_write_fd(void *opaque, const char *record);

#ifdef __cplusplus
}
#endif
#endif
