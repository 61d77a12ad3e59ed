// SPDX-License-Identifier: BSD-3-Clause
/* The models there are, and what is the same for all of them. See endpoint.h. */
#include "endpoint/endpoint.h"

#include "base/bits.h"
#include "endpoint/dmatest.h"
#include "endpoint/endpoint_options.h"
#include "endpoint/nvme.h"
#include "endpoint/testdev.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	int (*create)(struct endpoint_options *opts, const struct nst_log *log,
		      struct endpoint **out, char **err_text);
} models[] = {
	{ "nvme", nvme_create },
	{ "dmatest", dmatest_create },
	{ "testdev", testdev_create },
};

int endpoint_create(const char *description, const struct nst_log *log, struct endpoint **out,
		    char **err_text)
{
	struct endpoint_options opts;
	int err;

	if (err_text)
		*err_text = NULL;
	err = endpoint_options_parse(description, &opts, err_text);
	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		if (strcmp(opts.model, models[i].name))
			continue;
		err = models[i].create(&opts, log, out, err_text);
		endpoint_options_fini(&opts);
		return err;
	}
	err = endpoint_fail(err_text, -EINVAL,
			    "There is no device model \"%s\"; there are \"nvme\", "
			    "\"dmatest\" and \"testdev\".",
			    opts.model);
	endpoint_options_fini(&opts);
	return err;
}

void endpoint_destroy(struct endpoint *ep)
{
	if (ep)
		ep->ops->destroy(ep);
}

int endpoint_dma(struct endpoint *ep, const struct endpoint_dma_request *req)
{
	if (!atomic_load(&ep->config.bus_master))
		return -EIO;
	return ep->bus->ops->dma(ep->bus, req);
}

int endpoint_translate(struct endpoint *ep, const struct endpoint_ats_request *req,
		       struct endpoint_ats_reply *reply)
{
	if (!atomic_load(&ep->config.bus_master) || !atomic_load(&ep->config.ats_enabled))
		return -EIO;
	return ep->bus->ops->translate(ep->bus, req, reply);
}
