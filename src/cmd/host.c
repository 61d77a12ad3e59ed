// SPDX-License-Identifier: BSD-3-Clause
/*
 * "nestor host": a command with the preloaded library, from the command line to the report.
 *
 *	1. check the devices
 *	2. write them into the session, with a placeholder descriptor for each
 *	3. replace "nestor:N" in the arguments by the placeholders' numbers, and
 *	   "sysfsdev=nestor:N" by directories made for it
 *	4. run the command, and wait: signals that end us go to it, its status is ours
 *	5. report what the session holds
 *
 * Apart from such directories nothing lies in the file system: session and placeholders
 * are memfds.
 */
#include "cmd/cmd.h"
#include "cmd/host_options.h"
#include "cmd/host_report.h"
#include "cmd/host_sysfs.h"
#include "cmd/qemu.h"
#include "cmd/trace_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACEHOLDER "nestor:"
#define SYSFS_KEY "sysfsdev="

struct host {
	struct host_options options;
	struct preload_session *session;
	int session_fd;
	struct trace_file trace;
	struct host_sysfs sysfs;
	struct qemu tree; /* to be tried if the command is a QEMU that is not on PATH */
	bool has_tree;
	char library[4096];
	sigset_t old_mask;
};

static int fail(const char *what)
{
	complain("%s: %s", what, strerror(errno));
	return EXIT_FAILED;
}

/* --- the session ---------------------------------------------------------------------------- */

static int make_placeholder(struct preload_device *dev, const char *description)
{
	struct stat st;

	dev->fd = memfd_create("nestor-device", 0);
	if (dev->fd < 0 || fstat(dev->fd, &st))
		return fail("cannot make a placeholder for a device");
	dev->st_dev = st.st_dev;
	dev->st_ino = st.st_ino;
	if (strlen(description) >= sizeof(dev->description)) {
		complain("--device %s: the path is too long", description);
		return EXIT_USAGE;
	}
	strcpy(dev->description, description);
	return -1;
}

/* Without CLOEXEC: the command inherits it. */
static int make_session(struct host *h)
{
	const struct host_options *o = &h->options;
	struct preload_session *s = MAP_FAILED;
	int status = -1;

	h->session_fd = memfd_create("nestor-session", 0);
	if (h->session_fd >= 0 && !ftruncate(h->session_fd, sizeof(*s)))
		s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, h->session_fd, 0);
	if (s == MAP_FAILED)
		return fail("cannot make the session");
	h->session = s;
	s->magic = PRELOAD_MAGIC;
	s->size = sizeof(*s);
	s->log_level = o->verbose ? NST_LOG_DEBUG : NST_LOG_WARN;
	s->iommu = o->iommu;
	s->check = o->check;
	s->quirks = o->quirks;
	s->stalls = o->stalls;
	s->strict_abi = o->strict_abi;
	s->trace_fd = h->trace.fd < 0 && o->verbose ? STDERR_FILENO : h->trace.fd;
	s->trace_json = h->trace.json;
	for (; s->num_devices < o->num_devices && status < 0; s->num_devices++)
		status = make_placeholder(&s->devices[s->num_devices], o->devices[s->num_devices]);
	return status;
}

/* --- arguments ------------------------------------------------------------------------------ */

/* Is the placeholder at @at a word of its own, in VMMs' ways to write options? */
static bool is_word(const char *argument, const char *at, const char *end)
{
	return (at == argument || strchr("=,\"' ", at[-1])) && strchr(",\"' ", *end);
}

/* What stands for device @n at @at: a directory or the number of its descriptor. */
static int put_device(struct host *h, FILE *f, const char *argument, const char *at,
		      unsigned long n)
{
	size_t key = strlen(SYSFS_KEY);
	char *directory;

	if ((size_t)(at - argument) < key || memcmp(at - key, SYSFS_KEY, key)) {
		fprintf(f, "%d", h->session->devices[n].fd);
		return -1;
	}
	directory = host_sysfs_device(&h->sysfs, (unsigned int)n);
	if (!directory)
		return fail("cannot make a directory for " SYSFS_KEY PLACEHOLDER "N");
	fputs(directory, f);
	free(directory);
	return -1;
}

/* @argument with devices in the place of placeholders, in *@out; itself if it has none. */
static int replace(struct host *h, char *argument, char **out)
{
	const struct preload_session *s = h->session;
	int status = -1;
	char *text = NULL, *from = argument, *at = argument;
	size_t size;
	FILE *f = NULL;

	while ((at = strstr(at, PLACEHOLDER))) {
		char *digits = at + strlen(PLACEHOLDER), *end = digits;
		unsigned long n;

		if (!isdigit((unsigned char)*digits)) {
			at = digits;
			continue;
		}
		n = strtoul(digits, &end, 10);
		if (!is_word(argument, at, end)) {
			at = end;
			continue;
		}
		if (n >= s->num_devices) {
			complain("\"%s\": there is no device %.*s; --device was given %u times",
				 argument, (int)(end - digits), digits, s->num_devices);
			if (f)
				fclose(f);
			free(text);
			return EXIT_USAGE;
		}
		if (!f && !(f = open_memstream(&text, &size)))
			return fail("cannot begin");
		fprintf(f, "%.*s", (int)(at - from), from);
		status = put_device(h, f, argument, at, n);
		if (status >= 0)
			break;
		from = at = end;
	}
	*out = argument;
	if (!f)
		return -1;
	fputs(from, f);
	if (fclose(f))
		return fail("cannot begin");
	if (status >= 0) {
		free(text);
		return status;
	}
	*out = text; /* stays: the command's argument */
	return -1;
}

static int replace_all(struct host *h)
{
	int status = -1;

	for (char **word = h->options.command; *word && status < 0; word++)
		status = replace(h, *word, word);
	return status;
}

/* --- the library ---------------------------------------------------------------------------- */

/* Beside this program in a build directory, else where it is installed relative to it. */
static int find_library(struct host *h)
{
	char self[2048];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	if (strrchr(self, '/'))
		*strrchr(self, '/') = '\0';
	snprintf(h->library, sizeof(h->library), "%s/" PRELOAD_LIBRARY, self);
	if (access(h->library, R_OK))
		snprintf(h->library, sizeof(h->library), "%s%s" NESTOR_LIBDIR "/" PRELOAD_LIBRARY,
			 NESTOR_LIBDIR[0] == '/' ? "" : self,
			 NESTOR_LIBDIR[0] == '/' ? "" : "/../");
	if (access(h->library, R_OK)) {
		complain("%s is not there: a build with sanitizers has none, otherwise build or "
			 "install again",
			 h->library);
		return EXIT_FAILED;
	}
	/* the dynamic loader takes these for the end of the name; a descriptor has no name */
	if (strpbrk(h->library, ": ")) {
		int fd = open(h->library, O_RDONLY);

		if (fd < 0)
			return fail(h->library);
		snprintf(h->library, sizeof(h->library), "/proc/self/fd/%d", fd);
	}
	return -1;
}

static int set_environment(const struct host *h)
{
	const char *others = getenv("LD_PRELOAD");
	char *list, number[16];

	if (asprintf(&list, "%s%s%s", h->library, others && *others ? ":" : "",
		     others ? others : "") < 0)
		return -1;
	snprintf(number, sizeof(number), "%d", h->session_fd);
	if (setenv("LD_PRELOAD", list, 1) || setenv(PRELOAD_SESSION_VARIABLE, number, 1))
		return -1;
	free(list);
	return 0;
}

/* --- the command ---------------------------------------------------------------------------- */

/* The tree's QEMU with the command's arguments. Returns only if it cannot be started. */
static void exec_tree(const struct host *h)
{
	char **arguments = h->options.command + 1;
	size_t count = 0;
	char **words;

	while (arguments[count])
		count++;
	words = calloc(h->tree.argc + count + 1, sizeof(*words));
	if (!words)
		return;
	memcpy(words, h->tree.argv, h->tree.argc * sizeof(*words));
	memcpy(words + h->tree.argc, arguments, count * sizeof(*words));
	execv(words[0], words);
}

/* In the child; what went wrong is written to @error. */
static void exec_command(const struct host *h, pid_t parent, int error)
{
	sigprocmask(SIG_SETMASK, &h->old_mask, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (h->trace.fd >= 0)
		fcntl(h->trace.fd, F_SETFD, 0); /* the library's, in the command */
	if (getppid() == parent && !set_environment(h)) {
		execvp(h->options.command[0], h->options.command);
		if (errno == ENOENT && h->has_tree)
			exec_tree(h);
	}
	if (write(error, &errno, sizeof(errno)) < 0)
		_exit(126);
	_exit(127);
}

static int not_started(const struct host *h, int err)
{
	if (err == ENOENT && !strcmp(h->options.command[0], machine_pc.program))
		complain("there is no %s on PATH or in the cache: run \"scripts/setup %s\"",
			 machine_pc.program, machine_pc.part);
	else
		complain("%s cannot be started: %s", h->options.command[0], strerror(err));
	return EXIT_USAGE;
}

/* -1 if it runs, with its *@pid, else the status to exit with. */
static int start(struct host *h, pid_t *pid)
{
	pid_t parent = getpid();
	int ends[2], err = 0;
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC))
		return fail("cannot begin");
	*pid = fork();
	if (*pid == 0)
		exec_command(h, parent, ends[1]);
	close(ends[1]);
	if (*pid < 0)
		return fail("cannot begin");
	/* ends without a byte when exec closes the other end */
	do
		n = read(ends[0], &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	close(ends[0]);
	if (n != sizeof(err))
		return -1;
	waitpid(*pid, NULL, 0);
	return not_started(h, err);
}

/* Before the child is there, so that none of them is lost. */
static void block_signals(struct host *h, sigset_t *set)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(set, signals[i]);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_BLOCK, set, &h->old_mask);
}

/* Returns the command's wait status. What a terminal sends, it sends to the command too. */
static int wait_for(pid_t pid, const sigset_t *set)
{
	siginfo_t info;
	int status;

	for (;;) {
		int number = sigwaitinfo(set, &info);

		if (number == SIGCHLD) {
			if (waitpid(pid, &status, WNOHANG) == pid)
				return status;
		} else if (number > 0 && info.si_code != SI_KERNEL) {
			kill(pid, number);
		}
	}
}

static int exit_status(const struct host *h, int status)
{
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	complain("%s was killed by signal %d", h->options.command[0], WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

static int report(const struct host *h, int status)
{
	const struct host_options *o = &h->options;
	int ret = 0;

	if (!atomic_load(&h->session->loads))
		complain("warning: %s did not load " PRELOAD_LIBRARY
			 ": is it static, or for another machine?",
			 o->command[0]);
	else if (!h->session->begun && !o->quiet)
		complain("warning: %s opened neither /dev/iommu nor a device", o->command[0]);
	else if (!o->quiet)
		host_report_print(h->session);
	if (o->report)
		ret = host_report_write(h->session, status, o->report);
	if (!ret)
		return status;
	complain("cannot write the report %s: %s", o->report, strerror(-ret));
	return status ? status : EXIT_FAILED;
}

static int run(struct host *h)
{
	sigset_t set;
	pid_t pid;
	int status;

	block_signals(h, &set);
	status = start(h, &pid);
	if (status >= 0)
		return status;
	return report(h, exit_status(h, wait_for(pid, &set)));
}

int cmd_host(int argc, char **argv)
{
	struct host h = { .session_fd = -1, .trace.fd = -1 };
	int status = host_options_parse(argc, argv, &h.options);

	if (status < 0)
		status = trace_file_open(h.options.trace, &h.trace);
	if (status < 0)
		status = make_session(&h);
	if (status < 0)
		status = replace_all(&h);
	if (status < 0)
		status = find_library(&h);
	if (status < 0) {
		h.has_tree = !strcmp(h.options.command[0], machine_pc.program) &&
			     qemu_from_tree(&machine_pc, &h.tree);
		status = run(&h);
	}
	qemu_fini(&h.tree);
	host_sysfs_remove(&h.sysfs);
	trace_file_close(&h.trace);
	host_options_fini(&h.options);
	return status;
}
