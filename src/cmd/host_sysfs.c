// SPDX-License-Identifier: BSD-3-Clause
/* See host_sysfs.h. What a VMM looks for there: QEMU 11.1 hw/vfio/iommufd.c. */
#include "cmd/host_sysfs.h"

#include "frontend/preload/session.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int make_top(struct host_sysfs *sysfs)
{
	const char *base = getenv("TMPDIR");
	int n = snprintf(sysfs->directory, sizeof(sysfs->directory), "%s/nestor-host-XXXXXX",
			 base && *base == '/' ? base : "/tmp");

	if (n < (int)sizeof(sysfs->directory) && mkdtemp(sysfs->directory))
		return 0;
	sysfs->directory[0] = '\0';
	return -1;
}

/* "vfioN/vfio-dev/vfioN", from the top down. */
static int make_directories(const char *directory, unsigned int device)
{
	char *path;
	int ret = asprintf(&path, "%s/vfio-dev/vfio%u", directory, device);

	if (ret < 0)
		return -1;
	for (char *end = path + strlen(directory); end && ret >= 0; end = strchr(end + 1, '/')) {
		char was = *end;

		*end = '\0';
		ret = mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
		*end = was;
	}
	if (ret >= 0)
		ret = mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
	free(path);
	return ret;
}

static int write_number(const char *directory, unsigned int device)
{
	char *path;
	FILE *f;
	int ret;

	if (asprintf(&path, "%s/vfio-dev/vfio%u/dev", directory, device) < 0)
		return -1;
	f = fopen(path, "we");
	free(path);
	if (!f)
		return -1;
	ret = fprintf(f, "%u:%u\n", PRELOAD_CDEV_MAJOR, device);
	return fclose(f) || ret < 0 ? -1 : 0;
}

char *host_sysfs_device(struct host_sysfs *sysfs, unsigned int device)
{
	char *directory;

	if (!sysfs->directory[0] && make_top(sysfs))
		return NULL;
	if (asprintf(&directory, "%s/vfio%u", sysfs->directory, device) < 0)
		return NULL;
	if (!make_directories(directory, device) && !write_number(directory, device))
		return directory;
	free(directory);
	return NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void host_sysfs_remove(struct host_sysfs *sysfs)
{
	if (sysfs->directory[0])
		nftw(sysfs->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	sysfs->directory[0] = '\0';
}
