// SPDX-License-Identifier: BSD-3-Clause
/* See nvme_side.h. */
#include "nvme_side.h"

#include "base/bits.h"
#include "endpoint/nvme_spec.h"

#include <linux/pci_regs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRIES = 16, ADMIN_SQ = 0, ADMIN_CQ = 1, IO_SQ = 2, IO_CQ = 3 };

static uint64_t page_iova(unsigned int page)
{
	return SIDE_IOVA + page * PAGE;
}

void side_open(struct side *s, const char *file, const char *options, uint8_t *memory)
{
	const struct nst_soft_config config = { .synchronous = true, .check = true };
	char description[256], *why = NULL;

	*s = (struct side){ .memory = memory };
	ok(nst_host_soft_create(&config, &s->rig.host));
	snprintf(description, sizeof(description), "nvme,file=%s,queues=2%s", file, options);
	ok(nst_soft_add_device(s->rig.host, description, s->rig.path, sizeof(s->rig.path), &why));
	rig_bind(&s->rig);
	s->ioas = ioas_alloc(&s->rig);
	ok(ioas_map(&s->rig, s->ioas, memory, SIDE_PAGES * PAGE, SIDE_IOVA, RW));
	ok(attach_id(&s->rig, s->ioas));
	enable_bus_master(&s->rig);
}

void side_close(struct side *s)
{
	nst_host_destroy(s->rig.host);
}

/* --- migration ------------------------------------------------------------------------------ */

static int state_call(struct side *s, uint32_t mode, struct vfio_device_feature_mig_state *mig)
{
	uint64_t space[2] = { 0 };
	struct vfio_device_feature hdr = { .argsz = sizeof(space),
					   .flags = mode | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE };
	int ret;

	memcpy(space, &hdr, sizeof(hdr));
	memcpy(&space[1], mig, sizeof(*mig));
	ret = call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, space);
	memcpy(mig, &space[1], sizeof(*mig));
	return ret;
}

int side_set_state(struct side *s, uint32_t state, int *fd)
{
	struct vfio_device_feature_mig_state mig = { .device_state = state, .data_fd = 12345 };
	int ret = state_call(s, VFIO_DEVICE_FEATURE_SET, &mig);

	*fd = mig.data_fd;
	return ret;
}

uint32_t side_state(struct side *s)
{
	struct vfio_device_feature_mig_state mig = { .data_fd = 12345 };

	ok(state_call(s, VFIO_DEVICE_FEATURE_GET, &mig));
	assert_int_equal(mig.data_fd, -1);
	return mig.device_state;
}

void side_go(struct side *s, uint32_t state, int *fd)
{
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_RESET, NULL));
	assert_int_equal(side_state(s), VFIO_DEVICE_STATE_RUNNING);
	ok(side_set_state(s, state, fd));
	assert_int_equal(side_state(s), state);
}

long side_read(struct side *s, int fd, void *buf, size_t count)
{
	return s->rig.host->ops->read(s->rig.host, fd, buf, count);
}

long side_write(struct side *s, int fd, const void *buf, size_t count)
{
	return s->rig.host->ops->write(s->rig.host, fd, buf, count);
}

size_t side_drain(struct side *s, int fd, uint8_t *stream, long end)
{
	size_t size = 0;
	long n;

	while ((n = side_read(s, fd, stream + size, MIN(1000, SIDE_STREAM_MAX - size))) > 0)
		size += (size_t)n;
	assert_int_equal(n, end);
	return size;
}

size_t side_save(struct side *s, uint8_t *stream)
{
	size_t size;
	int fd;

	ok(side_set_state(s, VFIO_DEVICE_STATE_STOP_COPY, &fd));
	size = side_drain(s, fd, stream, 0);
	ok(host_close(&s->rig, fd));
	return size;
}

int side_load(struct side *s, int fd, const uint8_t *stream, size_t size)
{
	long n = side_write(s, fd, stream, size);
	int none;

	if (n != (long)size)
		return (int)n;
	return side_set_state(s, VFIO_DEVICE_STATE_STOP, &none);
}

/* --- the driver ------------------------------------------------------------------------------ */

static void set_register(struct side *s, unsigned int reg, uint32_t value)
{
	assert_int_equal(s->rig.host->ops->pwrite(s->rig.host, s->rig.dev, &value, 4, reg), 4);
}

static void submit(struct side *s, unsigned int qid, struct nvme_sqe sqe)
{
	uint8_t *sq = s->memory + (qid ? IO_SQ : ADMIN_SQ) * PAGE;

	sqe.cid = le16_make(++s->driver.next_cid);
	memcpy(sq + s->driver.tail[qid] * sizeof(sqe), &sqe, sizeof(sqe));
	s->driver.tail[qid] = (uint16_t)((s->driver.tail[qid] + 1) % ENTRIES);
	set_register(s, NVME_REG_DOORBELLS + 8 * qid, s->driver.tail[qid]);
}

static int reap(struct side *s, unsigned int qid)
{
	uint8_t *cq = s->memory + (qid ? IO_CQ : ADMIN_CQ) * PAGE;
	struct nvme_cqe cqe;

	memcpy(&cqe, cq + s->driver.head[qid] * sizeof(cqe), sizeof(cqe));
	if ((le16_get(cqe.status) & NVME_CQE_PHASE) != s->driver.phase[qid])
		return -1;
	s->driver.head[qid] = (uint16_t)((s->driver.head[qid] + 1) % ENTRIES);
	s->driver.phase[qid] ^= !s->driver.head[qid];
	set_register(s, NVME_REG_DOORBELLS + 8 * qid + 4, s->driver.head[qid]);
	return le16_get(cqe.status) >> 1;
}

static void create_queue(struct side *s, uint8_t opcode, unsigned int page, uint32_t cdw11)
{
	submit(s, 0,
	       (struct nvme_sqe){ .opcode = opcode,
				  .prp1 = le64_make(page_iova(page)),
				  .cdw10 = le32_make((ENTRIES - 1) << 16 | 1),
				  .cdw11 = le32_make(cdw11) });
	assert_int_equal(reap(s, 0), 0);
}

void side_start(struct side *s)
{
	memset(s->memory, 0, SIDE_DATA * PAGE);
	memset(&s->driver, 0, sizeof(s->driver));
	s->driver.phase[0] = s->driver.phase[1] = 1;
	enable_bus_master(&s->rig);
	set_register(s, NVME_REG_CC, 0);
	set_register(s, NVME_REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	bar_set(&s->rig, NVME_REG_ASQ, page_iova(ADMIN_SQ));
	bar_set(&s->rig, NVME_REG_ACQ, page_iova(ADMIN_CQ));
	set_register(s, NVME_REG_CC, 0x460001);
	create_queue(s, NVME_ADMIN_CREATE_CQ, IO_CQ, 1 << 16 | 3);
	create_queue(s, NVME_ADMIN_CREATE_SQ, IO_SQ, 1 << 16 | 1);
}

void side_submit(struct side *s, bool write, uint32_t lba, unsigned int page)
{
	submit(s, 1,
	       (struct nvme_sqe){ .opcode = write ? NVME_IO_WRITE : NVME_IO_READ,
				  .nsid = le32_make(1),
				  .prp1 = le64_make(page_iova(page)),
				  .cdw10 = le32_make(lba) });
}

int side_reap(struct side *s)
{
	return reap(s, 1);
}

/* --- two of them, and one disk --------------------------------------------------------------- */

static struct scene *open_scene(const char *options_b)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	int fd = mkstemp(strcpy(scene->image, "/tmp/nestor-migration-XXXXXX"));

	assert_true(fd >= 0 && !ftruncate(fd, SIDE_BLOCKS * 512));
	close(fd);
	scene->memory = mmap(NULL, SIDE_PAGES * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(scene->memory, MAP_FAILED);
	side_open(&scene->a, scene->image, ",serial=one", scene->memory);
	side_open(&scene->b, scene->image, options_b, scene->memory);
	return scene;
}

struct scene *scene_open(void)
{
	return open_scene(",serial=one,incoming=on");
}

struct scene *scene_open_foreign(void)
{
	return open_scene(",serial=two,incoming=on");
}

void scene_close(struct scene *scene)
{
	side_close(&scene->a);
	side_close(&scene->b);
	munmap(scene->memory, SIDE_PAGES * PAGE);
	unlink(scene->image);
	free(scene);
}
