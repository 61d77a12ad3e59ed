// SPDX-License-Identifier: BSD-3-Clause
/* See platform.h. The kernel and its command line; devices are in platform_device.c. */
#include "cmd/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static bool path_of(const struct platform *machine, char out[PLATFORM_PATH], const char *fmt,
		    va_list ap)
{
	size_t at = strlen(machine->root);
	int n;

	memcpy(out, machine->root, at);
	n = vsnprintf(out + at, PLATFORM_PATH - at, fmt, ap);
	return n >= 0 && (size_t)n < PLATFORM_PATH - at;
}

FILE *platform_open(const struct platform *machine, const char *fmt, ...)
{
	char path[PLATFORM_PATH];
	va_list ap;
	bool good;

	va_start(ap, fmt);
	good = path_of(machine, path, fmt, ap);
	va_end(ap);
	return good ? fopen(path, "re") : NULL;
}

bool platform_line(const struct platform *machine, char *out, size_t size, const char *fmt, ...)
{
	char path[PLATFORM_PATH];
	va_list ap;
	bool good;
	FILE *f;

	out[0] = '\0';
	va_start(ap, fmt);
	good = path_of(machine, path, fmt, ap);
	va_end(ap);
	f = good ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	good = fgets(out, (int)size, f) != NULL;
	fclose(f);
	out[strcspn(out, "\n")] = '\0';
	return good;
}

bool platform_link(const struct platform *machine, char *out, size_t size, const char *fmt, ...)
{
	char path[PLATFORM_PATH], target[PLATFORM_PATH];
	const char *last;
	ssize_t n = -1;
	va_list ap;

	out[0] = '\0';
	va_start(ap, fmt);
	if (path_of(machine, path, fmt, ap))
		n = readlink(path, target, sizeof(target) - 1);
	va_end(ap);
	if (n <= 0)
		return false;
	target[n] = '\0';
	last = strrchr(target, '/');
	snprintf(out, size, "%s", last ? last + 1 : target);
	return true;
}

bool platform_exists(const struct platform *machine, const char *fmt, ...)
{
	char path[PLATFORM_PATH];
	va_list ap;
	bool there;

	va_start(ap, fmt);
	there = path_of(machine, path, fmt, ap) && !access(path, F_OK);
	va_end(ap);
	return there;
}

/* Everything that comes out of @fd, with a NUL; NULL for want of memory or on an error. */
static char *read_all(int fd)
{
	size_t used = 0, size = 64 * 1024;
	char *text = malloc(size), *more;
	ssize_t n;

	while (text && (n = read(fd, text + used, size - used - 1)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		more = n < 0 ? NULL : text;
		used += n < 0 ? 0 : (size_t)n;
		if (more && size - used < 4096)
			more = realloc(text, size *= 2);
		if (!more)
			free(text);
		text = more;
	}
	if (text)
		text[used] = '\0';
	return text;
}

/* What gzip(1) makes of @fd; NULL if it does not like it, or is not there. */
static char *unpacked(int fd)
{
	int pipes[2], status;
	char *text;
	pid_t child;

	if (pipe2(pipes, O_CLOEXEC))
		return NULL;
	child = fork();
	if (!child) {
		if (dup2(fd, STDIN_FILENO) >= 0 && dup2(pipes[1], STDOUT_FILENO) >= 0)
			execlp("gzip", "gzip", "-dc", (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	text = child < 0 ? NULL : read_all(pipes[0]);
	close(pipes[0]);
	if (child > 0 && (waitpid(child, &status, 0) != child || status)) {
		free(text);
		text = NULL;
	}
	return text;
}

/* The places where distributions and the kernel itself keep it. */
static void read_config(struct platform *m)
{
	static const char *const places[] = { "/boot/config-%s", "/lib/modules/%s/config",
					      "/proc/config.gz" };

	for (unsigned int i = 0; i < 3 && !m->config; i++) {
		char path[PLATFORM_PATH], name[PLATFORM_NAME + 32];
		int fd;

		/* the third takes no release, and printf ignores what it is not asked for */
		snprintf(name, sizeof(name), places[i], m->release);
		if (snprintf(path, sizeof(path), "%s%s", m->root, name) >= (int)sizeof(path))
			return;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		m->config = strstr(name, ".gz") ? unpacked(fd) : read_all(fd);
		m->config_path = m->config ? strdup(name) : NULL;
		close(fd);
	}
}

char platform_config(const struct platform *m, const char *option)
{
	size_t length = strlen(option);

	if (!m->config)
		return '?';
	for (const char *at = m->config; (at = strstr(at, option)); at += length)
		if ((at == m->config || at[-1] == '\n') && at[length] == '=')
			return at[length + 1];
	return 'n';
}

bool platform_parameter(const struct platform *m, const char *key, const char *word)
{
	size_t length = strlen(key), wanted = strlen(word);

	for (const char *at = m->command_line; at && *at;) {
		size_t n = strcspn(at, " ");

		if (n > length && !strncmp(at, key, length) && at[length] == '=')
			for (const char *v = at + length; v < at + n; v += 1 + strcspn(v + 1, ", "))
				if (strcspn(v + 1, ", ") == wanted && !strncmp(v + 1, word, wanted))
					return true;
		at += n + strspn(at + n, " ");
	}
	return false;
}

static unsigned int count_entries(const struct platform *m, const char *directory)
{
	char path[PLATFORM_PATH];
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s%s", m->root, directory) >= (int)sizeof(path))
		return 0;
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

int platform_read(const char *root, struct platform *out)
{
	struct platform m = { 0 };
	char line[4096];

	if (strlen(root) >= sizeof(m.root) - 128)
		return -ENAMETOOLONG;
	strcpy(m.root, root);
	if (platform_line(&m, line, sizeof(line), "/proc/version"))
		sscanf(line, "Linux version %63s", m.release);
	platform_line(&m, line, sizeof(line), "/proc/cmdline");
	m.command_line = strdup(line);
	if (!m.command_line)
		return -ENOMEM;
	read_config(&m);
	m.iommufd = platform_exists(&m, "/dev/iommu");
	m.firmware_seen = platform_exists(&m, "/sys/firmware/acpi/tables");
	m.dmar = platform_exists(&m, "/sys/firmware/acpi/tables/DMAR");
	m.ivrs = platform_exists(&m, "/sys/firmware/acpi/tables/IVRS");
	m.iort = platform_exists(&m, "/sys/firmware/acpi/tables/IORT");
	m.num_iommus = count_entries(&m, "/sys/class/iommu");
	*out = m;
	return 0;
}

void platform_fini(struct platform *m)
{
	free(m->config);
	free(m->config_path);
	free(m->command_line);
	*m = (struct platform){ 0 };
}
