// SPDX-License-Identifier: BSD-3-Clause
/* See device_option.h. Options that are ours are cut out of a copy; the rest is the device's. */
#include "cmd/device_option.h"

#include "cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The value of ",@key=" in @description, cut out of it; NULL if it is not there. To be freed. */
static char *cut(char *description, const char *key)
{
	size_t length = strlen(key);

	for (char *at = strchr(description, ','); at; at = strchr(at + 1, ',')) {
		char *value = at + 1 + length + 1, *end, *copy;

		if (strncmp(at + 1, key, length) || at[1 + length] != '=')
			continue;
		end = value + strcspn(value, ",");
		copy = strndup(value, (size_t)(end - value));
		memmove(at, end, strlen(end) + 1);
		return copy;
	}
	return NULL;
}

static bool number(const char *text, unsigned long max, unsigned long *out)
{
	char *end;

	errno = 0;
	*out = strtoul(text, &end, 0);
	return !errno && end != text && !*end && *text != '-' && *out <= max;
}

static bool take_vpasid_offset(struct device_option *o, const char *value, unsigned int num_units)
{
	unsigned long n;

	if (!number(value, UINT16_MAX, &n) || !n) {
		complain("--device: vpasid-offset takes an offset such as 0xff8, not \"%s\"",
			 value);
		return false;
	}
	o->vpasid_offset = (uint16_t)n;
	return true;
}

/*
 * The unit can serve devices behind a bridge (nst_viommu_attach_alias()), but Linux in scalable
 * mode fills in the context entry of the device's own name only, which no request carries.
 */
static bool take_at(struct device_option *o, const char *value, unsigned int num_units)
{
	bool good = false;

	if (!strcmp(value, "bridge"))
		complain("--device: at=bridge cannot work: behind a PCI bridge requests carry the "
			 "bridge's requester id, for which Linux in scalable mode makes no "
			 "context entry; there are slot and port");
	else if (strcmp(value, "slot") && strcmp(value, "port"))
		complain("--device: at takes slot or port, not \"%s\"", value);
	else
		good = true;
	o->place = strcmp(value, "port") ? PLACE_SLOT : PLACE_PORT;
	return good;
}

static bool take_unit(struct device_option *o, const char *value, unsigned int num_units)
{
	unsigned long n;

	if (!number(value, num_units - 1, &n)) {
		complain("--device: there is no unit %s; give --viommu once for each, "
			 "the first is unit 0",
			 value);
		return false;
	}
	o->unit = (unsigned int)n;
	return true;
}

static bool take_plugged(struct device_option *o, const char *value, unsigned int num_units)
{
	if (strcmp(value, "on") && strcmp(value, "off")) {
		complain("--device: plugged takes on or off, not \"%s\"", value);
		return false;
	}
	o->unplugged = !strcmp(value, "off");
	return true;
}

static const struct {
	const char *key;
	bool (*take)(struct device_option *o, const char *value, unsigned int num_units);
} keys[] = {
	{ "vpasid-offset", take_vpasid_offset },
	{ "at", take_at },
	{ "unit", take_unit },
	{ "plugged", take_plugged },
};

int device_option_parse(const char *text, unsigned int num_units, struct device_option *o)
{
	*o = (struct device_option){ .description = strdup(text) };
	if (!o->description)
		return complain("out of memory"), EXIT_FAILED;
	for (unsigned int i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char *value = cut(o->description, keys[i].key);
		bool good = !value || keys[i].take(o, value, num_units);

		free(value);
		if (!good)
			return EXIT_USAGE;
	}
	if (!o->unplugged || o->place == PLACE_PORT)
		return -1;
	complain("--device %s: only a device on a port (at=port) can be plugged in later", text);
	return EXIT_USAGE;
}

void device_option_fini(struct device_option *o)
{
	free(o->description);
	o->description = NULL;
}
