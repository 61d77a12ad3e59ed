// SPDX-License-Identifier: BSD-3-Clause
/* What every host has in common: nothing but its end. */
#include <nestor/host.h>

void nst_host_destroy(struct nst_host *host)
{
	if (host)
		host->ops->destroy(host);
}
