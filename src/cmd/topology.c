// SPDX-License-Identifier: BSD-3-Clause
/* See topology.h. */
#include "cmd/topology.h"

#include "cmd/cmd.h"
#include "cmd/layout.h"
#include "cmd/qemu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void finish(struct topology *t, const char *error)
{
	bool asked = t->user == (int)t->device;

	t->state = TOPOLOGY_IDLE;
	if (asked && error)
		control_say(t->control, "error: %s", error);
	else if (asked)
		control_say(t->control, "ok");
	else if (error)
		complain("device %u: %s", t->device, error);
	if (asked)
		t->user = -1;
}

/* Commands of the guest wait for the answer: what they are about may have moved. */
static void hold(struct topology *t, bool on)
{
	for (unsigned int u = 0; u < t->server->num_units; u++)
		iommu_function_hold(t->server->units[u].iommu, on);
}

void topology_ask(struct topology *t)
{
	if (!t->qmp.ready || t->asked)
		return;
	t->asked = !qmp_execute(&t->qmp, "query-pci", NULL);
	if (t->asked)
		t->server->buses_asked = false;
}

static void take_function(void *opaque, const struct qmp_function *f)
{
	struct topology *t = opaque;
	struct server *s = t->server;

	for (unsigned int u = 0; u < s->num_units; u++)
		if (!strcmp(f->id, layout_unit_id(u).text))
			t->bars[u] = f->bar0;
	for (unsigned int i = 0; i < s->num_devices; i++) {
		if (!server_has_bus(s, i) ||
		    strcmp(f->id, layout_bus_id(&s->devices[i].option, i).text))
			continue;
		t->buses[i] = f->secondary;
		server_take_bus(s, i, f->secondary);
	}
}

/* The port's number is known: our side first, since QEMU asks for everything at once. */
static void plug(struct topology *t)
{
	char json[QEMU_DEVICE_JSON];
	int ret = server_plug(t->server, t->device);

	if (ret) {
		finish(t, strerror(-ret));
		return;
	}
	qemu_device_json(t->server, t->device, json);
	t->state = TOPOLOGY_PLUGGING;
	if (qmp_execute(&t->qmp, "device_add", json)) {
		server_unplug(t->server, t->device);
		finish(t, "QEMU is ending");
	}
}

static void take_buses(struct topology *t)
{
	t->asked = false;
	server_renumber(t->server);
	if (t->state == TOPOLOGY_LOOKING && !t->server->buses_asked)
		plug(t);
}

static void take_done(void *opaque, const char *command, const char *error)
{
	struct topology *t = opaque;

	if (!strcmp(command, "query-pci")) {
		take_buses(t);
	} else if (!strcmp(command, "device_del") && t->state == TOPOLOGY_UNPLUGGING && error) {
		finish(t, error);
	} else if (!strcmp(command, "device_add") && t->state == TOPOLOGY_PLUGGING) {
		if (error)
			server_unplug(t->server, t->device);
		finish(t, error);
	}
}

static void take_event(void *opaque, const char *name, const char *device)
{
	struct topology *t = opaque;

	if (t->state != TOPOLOGY_UNPLUGGING || strcmp(device, layout_device_id(t->device).text))
		return;
	if (!strcmp(name, "DEVICE_DELETED"))
		t->deleted = true;
	else if (!strcmp(name, "DEVICE_UNPLUG_GUEST_ERROR"))
		finish(t, "the guest does not let go of it");
}

static void take_ready(void *opaque)
{
	topology_ask(opaque);
}

static const struct qmp_ops qmp_ops = {
	.ready = take_ready,
	.function = take_function,
	.done = take_done,
	.event = take_event,
};

int topology_init(struct topology *t, struct server *server, struct control *control, int monitor)
{
	*t = (struct topology){ .server = server, .control = control, .user = -1 };
	return qmp_init(&t->qmp, monitor, &qmp_ops, t);
}

void topology_fini(struct topology *t)
{
	qmp_fini(&t->qmp);
	if (!t->server)
		return;
	hold(t, false);
	if (t->user >= 0) {
		t->device = (unsigned int)t->user;
		finish(t, "QEMU has ended");
	}
	t->server = NULL;
}

int topology_read(struct topology *t)
{
	return qmp_read(&t->qmp);
}

static void unplug(struct topology *t)
{
	char json[64];

	snprintf(json, sizeof(json), "{\"id\":\"%s\"}", layout_device_id(t->device).text);
	t->deleted = false;
	t->state = TOPOLOGY_UNPLUGGING;
	if (qmp_execute(&t->qmp, "device_del", json))
		finish(t, "QEMU is ending");
}

/* What the host asks for is unplugged, one at a time. */
static void give_back(struct topology *t)
{
	struct server *s = t->server;

	for (unsigned int i = 0; i < s->num_devices && t->state == TOPOLOGY_IDLE; i++) {
		struct server_device *d = &s->devices[i];

		if (!d->requested || !t->qmp.ready)
			continue;
		d->requested = false;
		t->device = i;
		if (d->option.place != PLACE_PORT)
			finish(t,
			       "the host asks for it, but QEMU can unplug only what is on a port");
		else if (d->connected)
			unplug(t);
	}
}

void topology_step(struct topology *t)
{
	if (!t->server)
		return;
	if (t->server->buses_asked)
		topology_ask(t);
	hold(t, t->asked || (t->server->buses_asked && t->qmp.ready));
	if (t->state == TOPOLOGY_UNPLUGGING && t->deleted &&
	    !t->server->devices[t->device].connected)
		finish(t, NULL);
	give_back(t);
}

bool topology_is_placed(const struct topology *t)
{
	for (unsigned int u = 0; u < t->server->num_units; u++)
		if (!t->bars[u])
			return false;
	for (unsigned int i = 0; i < t->server->num_devices; i++)
		if (server_has_bus(t->server, i) && !t->buses[i])
			return false;
	return true;
}

/* The rest follows from the host's request; to a device in a slot there is none. */
static void take(struct topology *t, bool pulled)
{
	struct server_device *d = &t->server->devices[t->device];
	int ret = server_take(t->server, t->device, pulled);

	if (ret || d->option.place != PLACE_PORT)
		finish(t, ret ? strerror(-ret) : NULL);
}

/* What a user may say, followed by the number of a device. */
enum { CMD_PLUG, CMD_UNPLUG, CMD_WITHDRAW, CMD_PULL, NUM_COMMANDS };
static const char *const commands[NUM_COMMANDS] = {
	[CMD_PLUG] = "plug",
	[CMD_UNPLUG] = "unplug",
	[CMD_WITHDRAW] = "withdraw",
	[CMD_PULL] = "pull",
};

/* The command, or NUM_COMMANDS. */
static unsigned int parse(const char *line, unsigned int *device)
{
	for (unsigned int c = 0; c < NUM_COMMANDS; c++) {
		size_t length = strlen(commands[c]);
		int end = -1;

		if (!strncmp(line, commands[c], length) &&
		    sscanf(line + length, " %u%n", device, &end) == 1 && line[length] == ' ' &&
		    !line[length + (size_t)end])
			return c;
	}
	return NUM_COMMANDS;
}

/* NULL, or why this cannot be done to device @i now. */
static const char *objection(const struct topology *t, unsigned int command, unsigned int i)
{
	const struct server *s = t->server;

	if (!s)
		return "QEMU is not running";
	if (i >= s->num_devices)
		return "there is no such device; the first --device is 0";
	if (s->devices[i].taken)
		return "the host has taken it away";
	if (s->devices[i].option.place != PLACE_PORT && command != CMD_PULL)
		return "only a device on a port (at=port) can be plugged and unplugged";
	if (!t->qmp.ready)
		return "QEMU is not ready";
	if (t->state != TOPOLOGY_IDLE || t->user >= 0)
		return "another command is under way";
	if (s->devices[i].connected == (command == CMD_PLUG))
		return command == CMD_PLUG ? "it is plugged in" : "it is not plugged in";
	return NULL;
}

void topology_command(struct topology *t, const char *line)
{
	unsigned int i, command = parse(line, &i);
	const char *why;

	if (command == NUM_COMMANDS) {
		control_say(t->control,
			    "error: \"%s\" is not known; there are \"plug N\", \"unplug N\", "
			    "\"withdraw N\" and \"pull N\"",
			    line);
		return;
	}
	why = objection(t, command, i);
	if (why) {
		control_say(t->control, "error: %s", why);
		return;
	}
	t->device = i;
	t->user = (int)i;
	if (command == CMD_PLUG) {
		t->state = TOPOLOGY_LOOKING;
		t->server->buses_asked = true; /* an answer that is under way may be old */
	} else if (command == CMD_UNPLUG) {
		unplug(t);
	} else {
		take(t, command == CMD_PULL);
	}
}
