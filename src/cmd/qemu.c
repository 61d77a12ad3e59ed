// SPDX-License-Identifier: BSD-3-Clause
/* See qemu.h. */
#include "cmd/qemu.h"

#include "cmd/cmd.h"
#include "cmd/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void push(struct qemu *q, char *word)
{
	q->argv[q->argc++] = word;
}

/* Does this QEMU know vfio-user-pci? It prints the device's options, or fails. */
static bool has_vfio_user(const struct qemu *q)
{
	char *argv[20];
	int status = -1;
	pid_t pid;

	memcpy(argv, q->argv, sizeof(q->argv[0]) * q->argc);
	argv[q->argc] = (char *)"-device";
	argv[q->argc + 1] = (char *)"vfio-user-pci,help";
	argv[q->argc + 2] = NULL;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool push_format(struct qemu *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool push_format(struct qemu *q, const char *fmt, ...)
{
	va_list ap;
	char *word;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&word, fmt, ap);
	va_end(ap);
	if (n < 0)
		return false;
	push(q, word);
	return true;
}

/* The private Debian 13 tree runs through its own dynamic loader, without chroot or root. */
static bool push_tree(const struct machine *machine, const char *tree, struct qemu *q)
{
	bool ok =
		push_format(q, "%s/lib64/ld-linux-x86-64.so.2", tree) &&
		push_format(q, "--library-path") &&
		push_format(q, "%s/lib/x86_64-linux-gnu:%s/usr/lib/x86_64-linux-gnu", tree, tree) &&
		push_format(q, "%s/usr/bin/%s", tree, machine->program) &&
		!access(q->argv[q->argc - 1], X_OK);

	for (const char *const *data = machine->data; *data && ok; data++)
		ok = push_format(q, "-L") && push_format(q, "%s%s", tree, *data);
	return ok;
}

bool qemu_from_tree(const struct machine *machine, struct qemu *q)
{
	char *tree = cache_path(machine->tree);
	bool found;

	*q = (struct qemu){ 0 };
	found = tree && push_tree(machine, tree, q);
	if (!found)
		qemu_fini(q);
	free(tree);
	return found;
}

void qemu_fini(struct qemu *q)
{
	while (q->argc)
		free(q->argv[--q->argc]);
}

int qemu_find(const char *wanted, const struct machine *machine, struct qemu *out)
{
	*out = (struct qemu){ 0 };
	push(out, strdup(wanted ? wanted : machine->program));
	if (has_vfio_user(out))
		return -1;
	qemu_fini(out);
	if (wanted) {
		complain("%s is not a QEMU with the vfio-user-pci device (10.1 or newer)", wanted);
		return EXIT_USAGE;
	}
	if (qemu_from_tree(machine, out) && has_vfio_user(out))
		return -1;
	qemu_fini(out);
	complain(
		"no %s with the vfio-user-pci device (10.1 or newer) on PATH or in the cache: run \"scripts/setup %s\", or give --qemu",
		machine->program, machine->part);
	return EXIT_USAGE;
}

/* Arguments of one run. They are few; a word that does not fit any more is our own bug. */
struct words {
	char *word[128];
	unsigned int count;
};

static void add(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct words *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (w->count + 1 >= sizeof(w->word) / sizeof(w->word[0]) ||
	    vasprintf(&w->word[w->count++], fmt, ap) < 0)
		abort();
	va_end(ap);
}

/*
 * rombar=0: no probing for a ROM that is not there. x-msg-timeout: in milliseconds; after it QEMU
 * gives a function up for good, and 5 seconds, its default, can pass on a machine that is busy or
 * emulated.
 */
static void function_json(char json[QEMU_DEVICE_JSON], const char *id, const char *bus,
			  unsigned int slot, int socket, bool posted_writes)
{
	snprintf(
		json, QEMU_DEVICE_JSON,
		"{\"driver\":\"vfio-user-pci\",\"id\":\"%s\",\"bus\":\"%s\",\"addr\":\"%x.0\",\"rombar\":0,"
		"\"x-msg-timeout\":60000,\"x-no-posted-writes\":%s,\"socket\":{\"type\":\"unix\",\"path\":\"/proc/self/fd/%d\"}}",
		id, bus, slot, posted_writes ? "false" : "true", socket);
}

void qemu_device_json(const struct server *server, unsigned int i, char json[QEMU_DEVICE_JSON])
{
	const struct server_device *d = &server->devices[i];

	function_json(json, layout_device_id(i).text, layout_bus_id(&d->option, i).text,
		      layout_device_slot(&d->option, i), d->socket, true);
}

static void add_machine(struct words *w, const struct run_options *o)
{
	add(w, "-nodefaults");
	add(w, "-no-user-config");
	add(w, "-no-reboot");
	add(w, "-display");
	add(w, "none");
	add(w, "-accel");
	add(w, "%s", o->accel);
	add(w, "-cpu");
	add(w, "max");
	add(w, "-smp");
	add(w, "%s", o->cpus);
	add(w, "-m");
	add(w, "%s", o->memory);
	/* shared, so that the DMA of our devices reaches it */
	add(w, "-object");
	add(w, "memory-backend-memfd,id=ram,size=%s,share=on", o->memory);
	add(w, "-machine");
	add(w, "%s,memory-backend=ram", o->machine->type);
	if (!o->machine->firmware)
		return;
	for (const char *const *data = o->machine->data; *data; data++) {
		add(w, "-L"); /* after those of the tree, if QEMU is from there */
		add(w, "%s", *data);
	}
	add(w, "-bios");
	add(w, "%s", o->machine->firmware);
}

static void add_devices(struct words *w, const struct server *s)
{
	char json[QEMU_DEVICE_JSON];

	for (unsigned int u = 0; u < s->num_units; u++) {
		/* A posted tail write would only be followed by a read that waits for it. */
		function_json(json, layout_unit_id(u).text, "pcie.0", layout_unit_slot(u),
			      s->units[u].socket, false);
		add(w, "-device");
		add(w, "%s", json);
	}
	for (unsigned int i = 0; i < s->num_devices; i++) {
		if (s->devices[i].option.place == PLACE_PORT) {
			/* each a chassis of its own, so that slots need no numbers */
			add(w, "-device");
			add(w, "pcie-root-port,id=%s,bus=pcie.0,addr=%x.0,chassis=%u",
			    layout_bus_id(&s->devices[i].option, i).text, layout_port_slot(i),
			    i + 1);
		}
		if (s->devices[i].option.unplugged)
			continue;
		qemu_device_json(s, i, json);
		add(w, "-device");
		add(w, "%s", json);
	}
}

static void add_boot(struct words *w, const struct run_options *o, const struct qemu_run *run)
{
	add(w, "-chardev");
	if (o->quiet)
		add(w, "null,id=console,logfile=/proc/self/fd/%d", run->console);
	else
		add(w, "stdio,id=console,logfile=/proc/self/fd/%d", run->console);
	add(w, "-serial");
	add(w, "chardev:console");
	if (run->dmar >= 0) {
		add(w, "-acpitable");
		add(w, "file=/proc/self/fd/%d", run->dmar);
	}
	add(w, "-kernel");
	add(w, "%s", o->kernel);
	add(w, "-initrd");
	if (run->initrd >= 0)
		add(w, "/proc/self/fd/%d", run->initrd);
	else
		add(w, "%s", o->initrd);
	add(w, "-append");
	add(w, "%s", o->append);
}

/* Firmware stays in its menu: it must not boot what is on the user's disk. */
static void add_wait(struct words *w)
{
	add(w, "-boot");
	add(w, "menu=on,splash-time=60000"); /* ms, longer than a dry run lasts */
}

static void make_words(struct words *w, const struct qemu *q, const struct run_options *o,
		       const struct qemu_run *run)
{
	for (unsigned int i = 0; i < q->argc; i++)
		add(w, "%s", q->argv[i]);
	add_machine(w, o);
	add_devices(w, run->server);
	if (run->monitor >= 0) {
		add(w, "-chardev");
		add(w, "socket,id=monitor,fd=%d", run->monitor);
		add(w, "-qmp");
		add(w, "chardev:monitor");
	}
	if (run->probe)
		add_wait(w);
	else
		add_boot(w, o, run);
	for (char **extra = o->extra; *extra; extra++)
		add(w, "%s", *extra);
	w->word[w->count] = NULL;
}

/* In the child: only what QEMU is to have survives exec. */
static void keep(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

static void exec_child(struct words *w, const struct run_options *o, const struct qemu_run *run,
		       pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before it could take us along */
		_exit(1);
	for (unsigned int u = 0; u < run->server->num_units; u++)
		keep(run->server->units[u].socket);
	for (unsigned int i = 0; i < run->server->num_devices; i++)
		keep(run->server->devices[i].socket);
	keep(run->dmar);
	keep(run->initrd);
	keep(run->monitor);
	keep(run->console);
	if (run->probe || o->quiet) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, 0);
		dup2(null, 1);
	}
	execvp(w->word[0], w->word);
	complain("cannot start %s: %s", w->word[0], strerror(errno));
	_exit(127);
}

pid_t qemu_start(const struct qemu *qemu, const struct run_options *options,
		 const struct qemu_run *run, int *pidfd)
{
	struct words w = { .count = 0 };
	pid_t parent = getpid(), pid;
	int ret = 0;

	make_words(&w, qemu, options, run);
	pid = fork();
	if (pid == 0)
		exec_child(&w, options, run, parent);
	if (pid < 0)
		ret = -errno;
	while (w.count)
		free(w.word[--w.count]);
	if (ret)
		return ret;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd < 0) {
		ret = -errno;
		qemu_end(pid, -1, false);
		return ret;
	}
	return pid;
}

int qemu_end(pid_t pid, int pidfd, bool gently)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int status = -1;

	if (gently) {
		kill(pid, SIGTERM);
		poll(&ended, 1, 1000);
	}
	kill(pid, SIGKILL); /* a zombie takes no notice, and the pid is ours until waited for */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}
