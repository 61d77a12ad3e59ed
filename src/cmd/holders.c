// SPDX-License-Identifier: BSD-3-Clause
/* See holders.h. What belongs to a device lies below its directory in sysfs. */
#include "cmd/holders.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 8 }; /* "virtio0/block/vda/vda1", "nvme/nvme0/nvme0n1/nvme0n1p1" */

static void append(char out[PLATFORM_TEXT], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void append(char out[PLATFORM_TEXT], const char *fmt, ...)
{
	size_t used = strlen(out);
	va_list ap;

	if (used)
		used += (size_t)snprintf(out + used, PLATFORM_TEXT - used, ", ");
	if (used >= PLATFORM_TEXT)
		return;
	va_start(ap, fmt);
	vsnprintf(out + used, PLATFORM_TEXT - used, fmt, ap);
	va_end(ap);
}

/* Where "/dev/@name" is mounted, or swapped to. */
static bool mounted_on(const struct platform *m, const char *name, char where[PLATFORM_NAME])
{
	static const char *const tables[] = { "/proc/self/mounts", "/proc/swaps" };
	char line[1024], source[PLATFORM_PATH], target[PLATFORM_NAME];
	bool found = false;

	for (unsigned int i = 0; i < 2 && !found; i++) {
		FILE *f = platform_open(m, "%s", tables[i]);

		while (f && !found && fgets(line, sizeof(line), f))
			found = sscanf(line, "%511s %63s", source, target) == 2 &&
				!strncmp(source, "/dev/", 5) && !strcmp(source + 5, name);
		if (f)
			fclose(f);
		if (found)
			snprintf(where, PLATFORM_NAME, "%s", i ? "swap" : target);
	}
	return found;
}

static void note(const struct platform *m, const char *subsystem, const char *name,
		 char out[PLATFORM_TEXT])
{
	char where[PLATFORM_NAME];

	if (!strcmp(subsystem, "net"))
		append(out, "network interface %s", name);
	else if (!strcmp(subsystem, "block") && mounted_on(m, name, where))
		append(out, "disk %s (mounted on %s)", name, where);
	else if (!strcmp(subsystem, "block"))
		append(out, "disk %s", name);
}

/* @path: below the root. Symbolic links are not followed: they lead out of the device. */
static void look_below(const struct platform *m, const char *path, unsigned int depth,
		       char out[PLATFORM_TEXT])
{
	char whole[PLATFORM_PATH * 2], below[PLATFORM_PATH], subsystem[PLATFORM_NAME];
	struct dirent *entry;
	DIR *dir;

	snprintf(whole, sizeof(whole), "%s%s", m->root, path);
	dir = opendir(whole);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >=
			    (int)sizeof(below))
			continue;
		if (platform_link(m, subsystem, sizeof(subsystem), "%s/subsystem", below))
			note(m, subsystem, entry->d_name, out);
		/* a device below a bridge is another device */
		if (depth && strcmp(subsystem, "pci"))
			look_below(m, below, depth - 1, out);
	}
	if (dir)
		closedir(dir);
}

void holders_of_driver(const struct platform *m, const char *address, char out[PLATFORM_TEXT])
{
	char path[PLATFORM_PATH];

	out[0] = '\0';
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", address);
	look_below(m, path, DEPTH, out);
}

static bool has_open(const struct platform *m, const char *pid, const struct platform_device *d)
{
	char path[PLATFORM_PATH], group[PLATFORM_NAME + 16], target[PLATFORM_PATH];
	struct dirent *entry;
	bool found = false;
	ssize_t n;
	DIR *dir;

	snprintf(group, sizeof(group), "/dev/vfio/%s", d->group);
	snprintf(path, sizeof(path), "%.384s/proc/%.16s/fd", m->root, pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = (*d->cdev && !strcmp(target, d->cdev)) ||
			(*d->group && !strcmp(target, group));
	}
	if (dir)
		closedir(dir);
	return found;
}

void holders_of_vfio(const struct platform *m, const struct platform_device *d,
		     char out[PLATFORM_TEXT])
{
	char path[PLATFORM_PATH], name[PLATFORM_NAME];
	struct dirent *entry;
	DIR *dir;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%.384s/proc", m->root);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[strspn(entry->d_name, "0123456789")] ||
		    (!*m->root && atoi(entry->d_name) == getpid()) ||
		    !has_open(m, entry->d_name, d))
			continue;
		platform_line(m, name, sizeof(name), "/proc/%.16s/comm", entry->d_name);
		append(out, "process %s (%s)", entry->d_name, name);
	}
	if (dir)
		closedir(dir);
}
