// SPDX-License-Identifier: BSD-3-Clause
/*
 * "nestor run": one guest, from the command line to the report.
 *
 *	1. make our side: the host, devices, vIOMMU, vfio-user functions
 *	2. a dry run of QEMU, without a kernel: where does firmware put the IOMMU's BAR?
 *	3. write the table that says so: a DMAR, or an IORT
 *	4. run QEMU with the guest, and serve it until it ends
 *	5. report
 *
 * One thread and one loop over descriptors: connections, QEMU's end (pidfd), signals,
 * the monitor, the console, the control socket. Devices of the software host work on threads of
 *their own.
 */
#include "base/bits.h"
#include "cmd/cmd.h"
#include "cmd/console.h"
#include "cmd/control.h"
#include "cmd/layout.h"
#include "cmd/qemu.h"
#include "cmd/report.h"
#include "cmd/tables.h"
#include "cmd/topology.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { PROBE_TIMEOUT_S = 30, PROBE_INTERVAL_NS = 20 * 1000 * 1000 };

/* What a descriptor is; values below server_poll_count() are the server's. */
enum source {
	SOURCE_SIGNAL = 100,
	SOURCE_QEMU,
	SOURCE_MONITOR,
	SOURCE_CONSOLE,
	SOURCE_TIMER,
	SOURCE_CONTROL,
	SOURCE_CLIENT,
};

/* Why the loop ended. */
enum outcome {
	OUTCOME_NONE,
	OUTCOME_QEMU_ENDED,
	OUTCOME_SIGNAL,
	OUTCOME_PLACED,
	OUTCOME_TIMEOUT,
	OUTCOME_UNSHARED,
	OUTCOME_FAILED,
};

struct run {
	struct run_options options;
	struct qemu qemu;
	struct server server;
	struct console console;
	struct control control;
	struct topology topology;
	bool probing;
	struct tables tables;
	int epoll, signals, timer, pidfd, dmar, initrd, console_pipe[2];
	unsigned int ticks, max_ticks; /* of the timer; 0 = no limit */
	pid_t pid;
	int signal; /* that ended us */
};

static int watch(struct run *run, int fd, uint32_t source)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };

	return epoll_ctl(run->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static void set_timer(struct run *run, long interval_ns, long interval_s, unsigned int max_ticks)
{
	struct itimerspec spec = {
		.it_interval = { .tv_sec = interval_s, .tv_nsec = interval_ns },
		.it_value = { .tv_sec = interval_s, .tv_nsec = interval_ns },
	};

	run->ticks = 0;
	run->max_ticks = max_ticks;
	timerfd_settime(run->timer, 0, &spec, NULL);
}

static enum outcome take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != sizeof(info))
		return OUTCOME_NONE;
	run->signal = (int)info.ssi_signo;
	return OUTCOME_SIGNAL;
}

static enum outcome take_tick(struct run *run)
{
	uint64_t n;

	if (read(run->timer, &n, sizeof(n)) != sizeof(n))
		return OUTCOME_NONE;
	run->ticks += (unsigned int)n;
	if (run->max_ticks && run->ticks >= run->max_ticks)
		return OUTCOME_TIMEOUT;
	if (run->probing)
		topology_ask(&run->topology);
	return OUTCOME_NONE;
}

static void take_console(struct run *run)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(run->console_pipe[0], buf, sizeof(buf))) > 0)
		console_take(&run->console, buf, (size_t)n);
}

static enum outcome take_monitor(struct run *run)
{
	if (topology_read(&run->topology))
		topology_fini(&run->topology); /* QEMU is ending */
	else if (run->probing && topology_is_placed(&run->topology) &&
		 (!tables_want_dsdt(&run->tables, &run->server, &run->options) ||
		  tables_take_dsdt(&run->tables, &run->server)))
		return OUTCOME_PLACED;
	return OUTCOME_NONE;
}

static void take_client(struct run *run)
{
	int fd = control_accept(&run->control);

	if (fd >= 0 && watch(run, fd, SOURCE_CLIENT))
		complain("nobody listens to the control socket: %s", strerror(errno));
}

static void take_commands(struct run *run)
{
	const char *line;

	while ((line = control_read(&run->control)))
		topology_command(&run->topology, line);
}

static enum outcome take_connection(struct run *run, unsigned int i)
{
	int ret = server_process(&run->server, i);

	if (ret) {
		complain("serving QEMU failed: %s", strerror(-ret));
		return OUTCOME_FAILED;
	}
	return run->server.unshared ? OUTCOME_UNSHARED : OUTCOME_NONE;
}

static enum outcome dispatch(struct run *run, uint32_t source)
{
	switch (source) {
	case SOURCE_SIGNAL:
		return take_signal(run);
	case SOURCE_QEMU:
		return OUTCOME_QEMU_ENDED;
	case SOURCE_MONITOR:
		return take_monitor(run);
	case SOURCE_CONSOLE:
		take_console(run);
		return OUTCOME_NONE;
	case SOURCE_TIMER:
		return take_tick(run);
	case SOURCE_CONTROL:
		take_client(run);
		return OUTCOME_NONE;
	case SOURCE_CLIENT:
		take_commands(run);
		return OUTCOME_NONE;
	default:
		return take_connection(run, source);
	}
}

static enum outcome loop(struct run *run)
{
	struct epoll_event events[32];
	enum outcome outcome = OUTCOME_NONE;

	while (!outcome) {
		int n = epoll_wait(run->epoll, events, 32, -1);

		if (n < 0 && errno != EINTR)
			return OUTCOME_FAILED;
		for (int i = 0; i < n && !outcome; i++) {
			outcome = dispatch(run, events[i].data.u32);
			topology_step(&run->topology);
		}
	}
	return outcome;
}

/* Start QEMU with a monitor, and watch both. */
static int start(struct run *run, struct qemu_run *how)
{
	int ends[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return -errno;
	how->server = &run->server;
	how->monitor = ends[1];
	ret = topology_init(&run->topology, &run->server, &run->control, ends[0]);
	if (!ret)
		ret = watch(run, ends[0], SOURCE_MONITOR);
	if (!ret)
		run->pid = qemu_start(&run->qemu, &run->options, how, &run->pidfd);
	close(ends[1]);
	if (ret || run->pid < 0)
		return ret ? ret : run->pid;
	return watch(run, run->pidfd, SOURCE_QEMU);
}

/* End QEMU if it has not ended, and let the server see the ends of its connections. */
static int stop(struct run *run, bool gently)
{
	int status = qemu_end(run->pid, run->pidfd, gently);

	close(run->pidfd); /* which also takes it out of the epoll set */
	run->pidfd = -1;
	server_see_end(&run->server);
	return status;
}

static int bad_outcome(struct run *run, enum outcome outcome, const char *when,
		       unsigned int seconds)
{
	switch (outcome) {
	case OUTCOME_SIGNAL:
		return 128 + run->signal;
	case OUTCOME_TIMEOUT:
		complain("no end %s after %u seconds", when, seconds);
		return EXIT_FAILED;
	case OUTCOME_UNSHARED: /* said where it was found out */
		return EXIT_FAILED;
	default:
		complain("QEMU ended %s; what it said is above", when);
		return EXIT_FAILED;
	}
}

/* -1 when everything is placed, else the status to exit with. */
static int probe(struct run *run)
{
	struct qemu_run how = { .probe = true, .dmar = -1, .initrd = -1, .console = -1 };
	enum outcome outcome = OUTCOME_FAILED;
	unsigned int seconds = MAX(run->options.timeout_s, (unsigned int)PROBE_TIMEOUT_S);
	int ret;

	run->probing = true;
	ret = start(run, &how);
	if (!ret) {
		set_timer(run, PROBE_INTERVAL_NS, 0, seconds * (1000000000 / PROBE_INTERVAL_NS));
		outcome = loop(run);
	}
	run->probing = false;
	for (unsigned int u = 0; u < run->server.num_units; u++)
		run->tables.bars[u] = run->topology.bars[u];
	for (unsigned int i = 0; i < run->server.num_devices; i++)
		run->tables.rids[i] = run->server.devices[i].rid;
	if (run->pidfd >= 0)
		stop(run, false);
	topology_fini(&run->topology);
	if (ret)
		return complain("cannot start QEMU: %s", strerror(-ret)), EXIT_FAILED;
	return outcome == OUTCOME_PLACED ? -1
					 : bad_outcome(run, outcome, "in its dry run", seconds);
}

static int boot(struct run *run)
{
	struct qemu_run how = {
		.dmar = run->dmar,
		.initrd = run->initrd,
		.console = run->console_pipe[1],
	};
	enum outcome outcome = OUTCOME_FAILED;
	struct termios terminal;
	bool has_terminal = !run->options.quiet && !tcgetattr(0, &terminal);
	int ret, status;

	ret = start(run, &how);
	if (ret)
		return complain("cannot start QEMU: %s", strerror(-ret)), EXIT_FAILED;
	set_timer(run, 0, run->options.timeout_s ? 1 : 0, run->options.timeout_s);
	outcome = loop(run);
	status = stop(run, outcome != OUTCOME_QEMU_ENDED && has_terminal);
	topology_fini(&run->topology);
	take_console(run);
	if (has_terminal)
		tcsetattr(0, TCSANOW, &terminal);
	if (outcome != OUTCOME_QEMU_ENDED)
		return bad_outcome(run, outcome, "of the guest", run->options.timeout_s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return EXIT_OK;
	if (WIFSIGNALED(status))
		complain("QEMU was killed by signal %d", WTERMSIG(status));
	else
		complain("QEMU ended with status %d", WEXITSTATUS(status));
	return EXIT_FAILED;
}

static int verdict(struct run *run, int status)
{
	if (status != EXIT_OK || !run->options.job)
		return status;
	if (run->console.ok && !run->console.failed)
		return EXIT_OK;
	complain(run->console.failed ? "the guest reports a failure"
				     : "the guest ended without its success word");
	return EXIT_FAILED;
}

static int report(struct run *run, int status)
{
	struct report r;
	bool ok = run->options.job ? run->console.ok && !run->console.failed : status == EXIT_OK;
	int ret = 0;

	report_collect(&r, &run->server, ok, run->console.boot_seconds);
	report_print(&r);
	if (run->options.report)
		ret = report_write(&r, run->options.report);
	if (!ret)
		return status;
	complain("cannot write the report %s: %s", run->options.report, strerror(-ret));
	return EXIT_FAILED;
}

static int guest(struct run *run)
{
	int status, ret;

	progress("looking where firmware puts the IOMMU");
	status = probe(run);
	if (status >= 0)
		return status;
	progress("registers at 0x%llx; booting Linux", (unsigned long long)run->tables.bars[0]);
	ret = tables_make(&run->tables, &run->server, &run->options, &run->dmar, &run->initrd);
	if (ret)
		return complain("cannot make the firmware's table: %s",
				ret == -ENOENT ? "QEMU's DSDT is not as that of QEMU 11.1, so the "
						 "host's MSIs would not reach the guest"
					       : strerror(-ret)),
		       EXIT_FAILED;
	status = verdict(run, boot(run));
	if (status != EXIT_OK && run->options.quiet)
		console_show_end(&run->console);
	return report(run, status);
}

/* Before any thread is made: they are to inherit the mask. */
static int make_descriptors(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	run->signals = signalfd(-1, &set, SFD_CLOEXEC);
	run->epoll = epoll_create1(EPOLL_CLOEXEC);
	run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (run->signals < 0 || run->epoll < 0 || run->timer < 0 ||
	    pipe2(run->console_pipe, O_CLOEXEC | O_NONBLOCK) ||
	    watch(run, run->signals, SOURCE_SIGNAL) || watch(run, run->timer, SOURCE_TIMER) ||
	    watch(run, run->console_pipe[0], SOURCE_CONSOLE)) {
		complain("cannot begin: %s", strerror(errno));
		return EXIT_FAILED;
	}
	return -1;
}

static int watch_server(struct run *run)
{
	for (unsigned int i = 0; i < server_poll_count(&run->server); i++)
		if (watch(run, server_poll_fd(&run->server, i), i))
			return complain("cannot begin: %s", strerror(errno)), EXIT_FAILED;
	return -1;
}

static int watch_control(struct run *run)
{
	int ret = control_init(&run->control, run->options.control);

	if (ret) {
		complain("no control socket at %s: %s", run->options.control, strerror(-ret));
		return EXIT_USAGE;
	}
	if (run->options.control && watch(run, run->control.listener, SOURCE_CONTROL))
		return complain("cannot begin: %s", strerror(errno)), EXIT_FAILED;
	return -1;
}

static int run_with_server(struct run *run)
{
	const struct nst_log *log = cmd_log(run->options.verbose ? NST_LOG_DEBUG : NST_LOG_WARN);
	int status = server_init(&run->server, &run->options, log);

	if (status < 0)
		status = watch_server(run);
	if (status < 0)
		status = watch_control(run);
	if (status < 0)
		status = guest(run);
	control_fini(&run->control);
	tables_fini(&run->tables);
	server_fini(&run->server);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run run = {
		.epoll = -1,
		.signals = -1,
		.timer = -1,
		.pidfd = -1,
		.dmar = -1,
		.initrd = -1,
		.console_pipe = { -1, -1 },
		.control = { .listener = -1, .client = -1 },
		.topology.qmp.fd = -1,
	};
	int status = run_options_parse(argc, argv, &run.options);

	if (status < 0)
		status = qemu_find(run.options.qemu, run.options.machine, &run.qemu);
	if (status < 0)
		status = make_descriptors(&run);
	if (status < 0) {
		console_init(&run.console, run.options.quiet);
		status = run_with_server(&run);
	}
	qemu_fini(&run.qemu);
	run_options_fini(&run.options);
	return status;
}
