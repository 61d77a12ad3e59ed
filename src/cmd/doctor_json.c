// SPDX-License-Identifier: BSD-3-Clause
/* See doctor_report.h. Everything is text but for the numbers of devices and the exit status. */
#include "cmd/doctor_report.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_checks(struct json_object *o, const struct verdict *v)
{
	struct json_object *checks = json_object_new_object();

	for (unsigned int i = 0; i < v->num_checks; i++) {
		const struct check *check = &v->checks[i];
		struct json_object *one = json_object_new_object();

		add_text(one, "state", check_state_name(check->state));
		add_text(one, "value", check->value);
		if (*check->advice)
			add_text(one, "advice", check->advice);
		json_object_object_add(checks, check->key, one);
	}
	json_object_object_add(o, "checks", checks);
}

static struct json_object *device(const struct diagnosis *d)
{
	struct json_object *o = json_object_new_object();
	const struct verdict *v = &d->verdict;

	add_text(o, "device", d->name);
	add_text(o, "id", d->what);
	add_text(o, "nesting", v->nesting == CHECK_OK ? "yes" : check_state_name(v->nesting));
	add_text(o, "reason", v->reason);
	add_text(o, "advice", v->advice);
	add_checks(o, v);
	return o;
}

int doctor_print_json(const struct verdict *machine, const struct diagnosis *devices,
		      unsigned int num_devices, int status)
{
	struct json_object *o = json_object_new_object(), *all = json_object_new_array(), *m;
	const char *text = NULL;
	int ret = -ENOMEM;

	m = json_object_new_object();
	if (o && all && m) {
		add_checks(m, machine);
		json_object_object_add(o, "machine", m);
		for (unsigned int i = 0; i < num_devices; i++)
			json_object_array_add(all, device(&devices[i]));
		json_object_object_add(o, "devices", all);
		json_object_object_add(o, "exit_status", json_object_new_int(status));
		text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
								 JSON_C_TO_STRING_NOSLASHESCAPE);
	}
	if (text)
		ret = puts(text) < 0 || fflush(stdout) ? -EIO : 0;
	json_object_put(o);
	return ret;
}
