// SPDX-License-Identifier: BSD-3-Clause
/* See preload.h; what is here before main() is only the session and the marks. */
#include "frontend/preload/leaks.h"
#include "frontend/preload/preload.h"

#include "frontend/preload/session.h"
#include "host/soft/soft.h"
#include "host/soft/vfio/device.h"
#include "host/soft/mmap.h"

#include <nestor/trace_host.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MARK_NONE, MARK_HOST, MARK_PLACEHOLDER };

#define CDEV_DIRECTORY "/dev/vfio/devices/"

_Atomic uint8_t preload_marks[PRELOAD_MAX_FDS];

/*
 * @making is held while the host is made and while a placeholder becomes a device; it
 * comes before every lock of the host. Once @host is there it, @front and @pid stay.
 */
static struct {
	struct preload_session *session; /* NULL: the library does nothing */
	struct nst_log log;
	struct mutex making;
	_Atomic(struct soft_host *) host;
	struct nst_host *front;		     /* where calls go: the host, or a trace of it */
	pid_t pid;			     /* of the process that made the host */
	char paths[PRELOAD_MAX_DEVICES][64]; /* of the devices' cdevs */
	struct nst_soft_stats before;	     /* what earlier processes have counted */
	atomic_flag publishing;
} preload = { .making = { PTHREAD_MUTEX_INITIALIZER }, .publishing = ATOMIC_FLAG_INIT };

static void set_mark(int fd, unsigned int mark)
{
	atomic_store_explicit(&preload_marks[fd], (uint8_t)mark, memory_order_relaxed);
}

static struct soft_host *current_host(void)
{
	return atomic_load_explicit(&preload.host, memory_order_acquire);
}

bool preload_owns_marked(int fd)
{
	return !current_host() || preload.pid == getpid();
}

/* --- before main() ------------------------------------------------------------------------- */

static void write_message(void *opaque, enum nst_log_level level, const char *message)
{
	static const char *const names[] = { "error: ", "warning: ", "", "debug: " };
	char line[600];
	int n = snprintf(line, sizeof(line), "nestor: %s%s\n", names[level], message);

	if (write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1)) < 0)
		return; /* there is nobody to tell */
}

static struct preload_session *map_session(int fd)
{
	struct preload_session *session;
	struct stat st;

	if (fstat(fd, &st) || (uint64_t)st.st_size != sizeof(*session))
		return NULL;
	session = mmap(NULL, sizeof(*session), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (session == MAP_FAILED)
		return NULL;
	if (session->magic == PRELOAD_MAGIC && session->size == sizeof(*session))
		return session;
	munmap(session, sizeof(*session));
	return NULL;
}

/* The device whose placeholder @fd is, or -1. */
static int find_placeholder(const struct preload_session *session, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	for (unsigned int i = 0; i < session->num_devices; i++)
		if (st.st_dev == session->devices[i].st_dev &&
		    st.st_ino == session->devices[i].st_ino)
			return (int)i;
	return -1;
}

/* By its number, unless a program between the launcher and us has closed it. */
static void mark_placeholder(const struct preload_session *session, int fd, int device)
{
	if (fd >= 0 && fd < PRELOAD_MAX_FDS && find_placeholder(session, fd) == device)
		set_mark(fd, MARK_PLACEHOLDER + (unsigned int)device);
}

bool preload_adopts(int fd)
{
	int device;

	if (!preload.session || (unsigned int)fd >= PRELOAD_MAX_FDS || !preload_owns_marked(fd))
		return false;
	device = find_placeholder(preload.session, fd);
	if (device >= 0)
		set_mark(fd, MARK_PLACEHOLDER + (unsigned int)device);
	return device >= 0;
}

__attribute__((constructor)) static void begin(void)
{
	const char *number = getenv(PRELOAD_SESSION_VARIABLE);
	struct preload_session *session;

	if (!number)
		return;
	session = map_session(atoi(number));
	if (!session)
		return;
	preload.log.write = write_message;
	preload.log.level = (enum nst_log_level)session->log_level;
	for (unsigned int i = 0; i < session->num_devices; i++)
		mark_placeholder(session, session->devices[i].fd, (int)i);
	atomic_fetch_add(&session->loads, 1);
	preload.session = session;
}

/* --- the host ------------------------------------------------------------------------------ */

/* One process at a time: two hosts would have the same disks. Without devices any number. */
static int claim_session(struct preload_session *session)
{
	int32_t me = getpid(), owner = atomic_load(&session->owner);

	if (!session->num_devices)
		return 0;

	if (owner && owner != me && (!kill(owner, 0) || errno != ESRCH)) {
		log_error(&preload.log,
			  "the software host is in use by the process %d of the command", owner);
		return -EBUSY;
	}
	return atomic_compare_exchange_strong(&session->owner, &owner, me) ? 0 : -EBUSY;
}

static int add_devices(struct nst_host *host, const struct preload_session *session)
{
	for (unsigned int i = 0; i < session->num_devices; i++) {
		char *why = NULL;
		int err = nst_soft_add_device(host, session->devices[i].description,
					      preload.paths[i], sizeof(preload.paths[i]), &why);

		if (err) {
			log_error(&preload.log, "--device %s: %s", session->devices[i].description,
				  why ? why : strerror(-err));
			free(why);
			return err;
		}
	}
	return 0;
}

static int make_front(struct nst_host *host, struct nst_host **out)
{
	struct nst_trace_config config = {
		.write = nst_trace_write_fd,
		.opaque = &preload.session->trace_fd,
		.json = preload.session->trace_json,
	};

	*out = host;
	return preload.session->trace_fd < 0 ? 0 : nst_host_trace_create(host, &config, out);
}

static int make_host(struct soft_host **out) REQUIRES(&preload.making)
{
	struct preload_session *session = preload.session;
	struct nst_soft_config config = { .log = &preload.log,
					  .iommu = (enum nst_soft_iommu)session->iommu,
					  .check = session->check,
					  .quirks = session->quirks,
					  .stalls = session->stalls,
					  .strict_abi = session->strict_abi };
	struct nst_host *host = NULL, *front = NULL;
	int err = claim_session(session);

	if (err)
		return err;
	err = nst_host_soft_create(&config, &host);
	if (!err)
		err = add_devices(host, session);
	if (!err)
		err = make_front(host, &front);
	if (err) {
		nst_host_destroy(host);
		atomic_store(&session->owner, 0);
		return err;
	}
	preload.before = session->stats;
	preload.pid = getpid();
	session->begun++;
	*out = to_soft_host(host);
	preload.front = front;
	atomic_store_explicit(&preload.host, *out, memory_order_release);
	return 0;
}

static int get_host(struct soft_host **out)
{
	int err = 0;

	*out = current_host();
	if (*out)
		return 0;
	mutex_lock(&preload.making);
	*out = current_host();
	if (!*out)
		err = make_host(out);
	mutex_unlock(&preload.making);
	return err;
}

/* --- what the launcher is told ------------------------------------------------------------- */

static void publish(struct soft_host *host)
{
	const struct nst_soft_stats *before = &preload.before;
	struct nst_soft_stats now;

	if (atomic_flag_test_and_set(&preload.publishing))
		return; /* somebody else is at it */
	nst_soft_get_stats(&host->base, &now);
	preload.session->stats = (struct nst_soft_stats){
		.dma_read_bytes = before->dma_read_bytes + now.dma_read_bytes,
		.dma_write_bytes = before->dma_write_bytes + now.dma_write_bytes,
		.iotlb_hits = before->iotlb_hits + now.iotlb_hits,
		.iotlb_misses = before->iotlb_misses + now.iotlb_misses,
		.s1_walks = before->s1_walks + now.s1_walks,
		.nested_hwpts = before->nested_hwpts + now.nested_hwpts,
		.invalidate_calls = before->invalidate_calls + now.invalidate_calls,
		.invalidate_entries = before->invalidate_entries + now.invalidate_entries,
		.faults = before->faults + now.faults,
		.stale_hits = before->stale_hits + now.stale_hits,
		.dma_after_unmap = before->dma_after_unmap + now.dma_after_unmap,
		.dma_while_blocked = before->dma_while_blocked + now.dma_while_blocked,
	};
	atomic_flag_clear(&preload.publishing);
}

/*
 * At exit other threads may still be at work, so the host stays. What the program left open
 * the system closes, as it would with the kernel's descriptors.
 */
__attribute__((destructor)) static void end(void)
{
	struct soft_host *host = current_host();

	if (!host || preload.pid != getpid())
		return;
	publish(host);
	leaks_count(host, preload.session);
	preload.session->ended++;
	atomic_store(&preload.session->owner, 0);
}

/* --- open and close ------------------------------------------------------------------------ */

bool preload_serves(const char *path)
{
	if (!preload.session || !path || strncmp(path, "/dev/", 5))
		return false;
	return !strcmp(path, "/dev/iommu") ||
	       !strncmp(path, CDEV_DIRECTORY, sizeof(CDEV_DIRECTORY) - 1);
}

int preload_access(const char *path, int mode)
{
	bool is_there = !strcmp(path, "/dev/iommu");
	char cdev[64];

	for (unsigned int i = 0; i < preload.session->num_devices && !is_there; i++) {
		snprintf(cdev, sizeof(cdev), CDEV_DIRECTORY "vfio%u", i);
		is_there = !strcmp(path, cdev);
	}
	if (!is_there)
		return -ENOENT;
	return mode & X_OK ? -EACCES : 0;
}

int preload_open(const char *path, int flags)
{
	struct soft_host *host = current_host();
	int ret;

	if (host && preload.pid != getpid())
		return -ENXIO; /* a copy of the host whose devices live in the parent */
	ret = get_host(&host);
	if (ret)
		return ret;
	ret = preload.front->ops->open(preload.front, path, flags);
	if (ret >= PRELOAD_MAX_FDS) {
		preload.front->ops->close(preload.front, ret);
		ret = -EMFILE;
	}
	if (ret >= 0)
		set_mark(ret, MARK_HOST);
	return ret;
}

static int become_device(struct soft_host *host, int fd, unsigned int device)
	REQUIRES(&preload.making)
{
	const struct nst_host_ops *ops = preload.front->ops;
	int opened = ops->open(preload.front, preload.paths[device], O_RDWR | O_CLOEXEC);
	struct soft_file *file;
	int err;

	if (opened < 0)
		return opened;
	file = soft_file_get(host, opened);
	err = file ? soft_file_set(host, fd, file) : -EBADF;
	if (err && file)
		soft_file_put(file);
	ops->close(preload.front, opened);
	if (!err)
		set_mark(fd, MARK_HOST);
	log_debug(&preload.log, "placeholder %d becomes %s: %d", fd, preload.paths[device], err);
	return err;
}

/* The host of a descriptor that is ours; a placeholder becomes its device. */
static int get_file_host(int fd, struct soft_host **out)
{
	unsigned int mark;
	int err = get_host(out);

	if (err || atomic_load_explicit(&preload_marks[fd], memory_order_relaxed) == MARK_HOST)
		return err;
	mutex_lock(&preload.making);
	mark = atomic_load_explicit(&preload_marks[fd], memory_order_relaxed);
	if (mark >= MARK_PLACEHOLDER)
		err = become_device(*out, fd, mark - MARK_PLACEHOLDER);
	mutex_unlock(&preload.making);
	return err;
}

void preload_fstat(int fd, struct stat *st)
{
	struct soft_host *host = current_host();
	struct soft_file *file = host ? soft_file_get(host, fd) : NULL;
	const struct soft_device *dev = file ? soft_file_to_device(file) : NULL;
	unsigned int number = 0;

	if (dev) {
		mutex_lock(&host->lock);
		while (host->devices[number] != dev)
			number++;
		mutex_unlock(&host->lock);
		st->st_mode = S_IFCHR | 0600;
		st->st_rdev = makedev(PRELOAD_CDEV_MAJOR, number);
	}
	if (file)
		soft_file_put(file);
}

int preload_close(int fd)
{
	struct soft_host *host = current_host();
	unsigned int mark = atomic_load_explicit(&preload_marks[fd], memory_order_relaxed);
	int ret;

	set_mark(fd, MARK_NONE);
	if (mark != MARK_HOST)
		return close(fd) ? -errno : 0;
	ret = preload.front->ops->close(preload.front, fd);
	publish(host);
	return ret;
}

/* The system already did what it does; the host is told that the numbers changed. */
int preload_duplicated(int fd, int newfd)
{
	struct soft_file *file = NULL;
	struct soft_host *host;
	bool from_us = preload_owns(fd);
	int err = 0;

	if (fd == newfd || (!from_us && !preload_owns(newfd)))
		return 0;
	if (from_us) {
		err = newfd < PRELOAD_MAX_FDS ? get_file_host(fd, &host) : -EMFILE;
		if (!err)
			file = soft_file_get(host, fd);
	}
	if (newfd < PRELOAD_MAX_FDS)
		set_mark(newfd, file ? MARK_HOST : MARK_NONE);
	host = current_host();
	if (!err && host)
		err = soft_file_set(host, newfd, file);
	if (err && file)
		soft_file_put(file);
	log_debug(&preload.log, "%d is a duplicate of %d: %d", newfd, fd, err);
	return err;
}

/* --- calls on a descriptor ----------------------------------------------------------------- */

static int migration_fd(const struct vfio_device_feature *feature)
{
	const uint32_t set_state = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
	struct vfio_device_feature_mig_state state;

	if (feature->flags != set_state)
		return -1;
	memcpy(&state, feature->data, sizeof(state));
	return state.data_fd;
}

static int selftest_fd(const struct selftest_cmd *cmd, int ret)
{
	if (cmd->op == SELFTEST_CREATE_ACCESS)
		return (int)cmd->create_access.out_fd;
	return cmd->op == SELFTEST_DMABUF_GET ? ret : -1;
}

/* The descriptor that an ioctl, which returned @ret, has made; -1: none. */
static int returned_fd(unsigned long request, const void *arg, int ret)
{
	switch (request) {
	case IOMMU_FAULT_QUEUE_ALLOC:
		return (int)((const struct iommu_fault_alloc *)arg)->out_fault_fd;
	case IOMMU_VEVENTQ_ALLOC:
		return (int)((const struct iommu_veventq_alloc *)arg)->out_veventq_fd;
	case VFIO_DEVICE_FEATURE:
		return migration_fd(arg);
	case SELFTEST_CMD:
		return selftest_fd(arg, ret);
	default:
		return -1;
	}
}

/* It is ours, if its number can be remembered. */
static void mark_returned(int fd)
{
	if (fd < PRELOAD_MAX_FDS)
		set_mark(fd, MARK_HOST);
	else
		log_warn(&preload.log, "descriptor %d is too high to be served", fd);
}

int preload_ioctl(int fd, unsigned long request, void *arg)
{
	struct soft_host *host;
	int ret = get_file_host(fd, &host), made;

	if (!ret) {
		ret = preload.front->ops->ioctl(preload.front, fd, request, arg);
		made = ret < 0 ? -1 : returned_fd(request, arg, ret);
		if (made >= 0)
			mark_returned(made);
		publish(host);
	}
	return ret;
}

ssize_t preload_read(int fd, void *buf, size_t count)
{
	struct soft_host *host;
	int err = get_file_host(fd, &host);

	return err ? err : preload.front->ops->read(preload.front, fd, buf, count);
}

ssize_t preload_write(int fd, const void *buf, size_t count)
{
	struct soft_host *host;
	int err = get_file_host(fd, &host);

	return err ? err : preload.front->ops->write(preload.front, fd, buf, count);
}

ssize_t preload_pread(int fd, void *buf, size_t count, off_t offset)
{
	struct soft_host *host;
	ssize_t ret = get_file_host(fd, &host);

	if (!ret)
		ret = preload.front->ops->pread(preload.front, fd, buf, count, offset);
	return ret;
}

ssize_t preload_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	struct soft_host *host;
	ssize_t ret = get_file_host(fd, &host);

	if (!ret) {
		ret = preload.front->ops->pwrite(preload.front, fd, buf, count, offset);
		publish(host);
	}
	return ret;
}

void *preload_mmap(size_t length, int prot, int flags, int fd, off_t offset, int *err)
{
	struct soft_host *host;
	void *mapped = NULL;

	*err = get_file_host(fd, &host);
	if (!*err)
		mapped = preload.front->ops->mmap(preload.front, length, prot, flags, fd, offset,
						  err);
	return mapped;
}

bool preload_maps(const void *addr, size_t length)
{
	struct soft_host *host = current_host();

	return host && preload.pid == getpid() && soft_is_mapped(host, addr, length);
}

int preload_munmap(void *addr, size_t length)
{
	return preload.front->ops->munmap(preload.front, addr, length);
}

/* --- KVM ----------------------------------------------------------------------------------- */

static bool is_kvm_vfio_device(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 &&
	       !strcmp(target, "anon_inode:kvm-vfio");
}

bool preload_is_kvm_vfio(int kvm_fd, const void *arg)
{
	struct kvm_device_attr attr;
	int32_t fd;

	return preload.session && !soft_copy_from_user(&attr, arg, sizeof(attr)) &&
	       attr.group == KVM_DEV_VFIO_FILE &&
	       (attr.attr == KVM_DEV_VFIO_FILE_ADD || attr.attr == KVM_DEV_VFIO_FILE_DEL) &&
	       !soft_copy_from_user(&fd, soft_user_ptr(attr.addr), sizeof(fd)) &&
	       preload_owns(fd) && is_kvm_vfio_device(kvm_fd);
}
