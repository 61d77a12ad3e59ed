// SPDX-License-Identifier: BSD-3-Clause
/*
 * A dmatest device from its options:
 *	queues=N	8 queues, at most 64
 *	pasid-bits=N	20; 0: no PASID capability
 *	ats=on|off	on: an ATS capability
 *	pri=on|off	on, if ats is: a page request capability
 */
#include "endpoint/dmatest.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>

struct settings {
	unsigned long queues, pasid_bits;
	bool ats, pri;
};

static int parse(struct endpoint_options *opts, struct settings *s, char **err_text)
{
	int err;

	*s = (struct settings){ .queues = 8, .pasid_bits = 20, .ats = true };
	err = endpoint_options_number(opts, "queues", 1, DMATEST_QUEUES_MAX, &s->queues, err_text);
	if (!err)
		err = endpoint_options_number(opts, "pasid-bits", 0, 20, &s->pasid_bits, err_text);
	if (!err)
		err = endpoint_options_bool(opts, "ats", &s->ats, err_text);
	s->pri = s->ats;
	if (!err)
		err = endpoint_options_bool(opts, "pri", &s->pri, err_text);
	if (!err)
		err = endpoint_options_finish(opts, "queues, pasid-bits, ats and pri", err_text);
	if (!err && s->pri && !s->ats)
		err = endpoint_fail(err_text, -EINVAL,
				    "The device option pri is \"on\", it needs ats=on: who cannot "
				    "translate never asks for a page.");
	return err;
}

static void build_config(struct dmatest *d)
{
	struct pci_config *cfg = &d->ep.config;

	pci_config_init(cfg, DMATEST_PCI_VENDOR, DMATEST_PCI_DEVICE, DMATEST_PCI_CLASS, 1);
	pci_config_set_bar(cfg, 0, DMATEST_BAR_SIZE, true);
	pci_config_add_power(cfg);
	pci_config_add_msi(cfg, DMATEST_MSI_VECTORS);
	pci_config_add_express(cfg);
	pci_config_add_msix(cfg, d->vectors, 0, DMATEST_MSIX_TABLE, DMATEST_MSIX_PBA);
	if (d->has_ats)
		pci_config_add_ats(cfg);
	if (d->pasid_bits)
		pci_config_add_pasid(cfg, d->pasid_bits);
	if (d->has_pri)
		pci_config_add_pri(cfg, DMATEST_PRI_CAPACITY);
	d->ep.bar_sizes[0] = DMATEST_BAR_SIZE;
}

int dmatest_create(struct endpoint_options *opts, const struct nst_log *log, struct endpoint **out,
		   char **err_text)
{
	struct settings s;
	struct dmatest *d;
	int err = parse(opts, &s, err_text);

	if (err)
		return err;
	d = alloc_object(struct dmatest);
	if (!d)
		return -ENOMEM;
	d->ep.ops = &dmatest_ops;
	d->ep.log = log;
	d->queues = (unsigned int)s.queues;
	d->pasid_bits = (unsigned int)s.pasid_bits;
	d->has_ats = s.ats;
	d->has_pri = s.pri;
	d->vectors = d->queues + 1; /* the last one: the immediate operation's */
	build_config(d);
	dmatest_init(d);
	log_info(log, "dmatest: %u queues, %u PASID bits, ATS %s, PRI %s", d->queues, d->pasid_bits,
		 s.ats ? "on" : "off", s.pri ? "on" : "off");
	*out = &d->ep;
	return 0;
}
