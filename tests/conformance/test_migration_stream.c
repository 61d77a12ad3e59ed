// SPDX-License-Identifier: BSD-3-Clause
/*
 * The data file of a migration as a descriptor, and the streams that must be refused: damaged
 * anywhere, cut anywhere, of another device, or with a state that no device can be in.
 */
#include "nvme_side.h"

#include "endpoint/nvme_spec.h"
#include "host/soft/vfio/vfio.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	STOP = VFIO_DEVICE_STATE_STOP,
	RUNNING = VFIO_DEVICE_STATE_RUNNING,
	STOP_COPY = VFIO_DEVICE_STATE_STOP_COPY,
	RESUMING = VFIO_DEVICE_STATE_RESUMING,
	PRE_COPY = VFIO_DEVICE_STATE_PRE_COPY,
	PRE_COPY_P2P = VFIO_DEVICE_STATE_PRE_COPY_P2P,
};

/* --- the data file ------------------------------------------------------------------------------
 */

static short polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	assert_true(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static int precopy_info(struct side *s, int fd, uint32_t argsz, struct vfio_precopy_info *info)
{
	*info = (struct vfio_precopy_info){ .argsz = argsz, .flags = 0x55, .dirty_bytes = 77 };
	return call(&s->rig, fd, VFIO_MIG_GET_PRECOPY_INFO, info);
}

static uint64_t stop_copy_size(struct side *s)
{
	uint64_t space[2] = { 0 };
	struct vfio_device_feature hdr = {
		.argsz = 16, .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE
	};

	memcpy(space, &hdr, sizeof(hdr));
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, space));
	return space[1];
}

static void the_file_that_is_read(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->a;
	struct nst_host *host = s->rig.host;
	uint8_t direct[SIDE_STREAM_MAX], stream[SIDE_STREAM_MAX];
	uint32_t v2[2] = { 8, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 };
	struct vfio_precopy_info info;
	size_t size, initial;
	int fd, none, error = 0;

	size = side_save(s, direct);
	side_go(s, PRE_COPY, &fd);
	assert_int_equal(polled(fd), POLLIN | POLLOUT);
	/* what cannot be done with it */
	err(ESPIPE, (int)host->ops->pread(host, fd, stream, 1, 0));
	err(ESPIPE, (int)host->ops->pwrite(host, fd, stream, 1, 0));
	err(EBADF, (int)side_write(s, fd, stream, 1));
	assert_null(host->ops->mmap(host, PAGE, PROT_READ, MAP_SHARED, fd, 0, &error));
	assert_int_equal(error, -ENODEV);
	err(ENOTTY, call(&s->rig, fd, VFIO_DEVICE_GET_INFO, &info));
	err(EFAULT, (int)side_read(s, fd, (void *)BAD_POINTER, 8));
	assert_int_equal(side_read(s, fd, stream, 0), 0);
	/* how much there is */
	err(EINVAL, precopy_info(s, fd, 23, &info));
	err(EFAULT, call(&s->rig, fd, VFIO_MIG_GET_PRECOPY_INFO, NULL));
	ok(precopy_info(s, fd, 24, &info));
	assert_int_equal(info.flags, 0x55);
	assert_int_equal(info.dirty_bytes, 0);
	initial = (size_t)info.initial_bytes;
	assert_true(initial > 0 && initial < size);
	assert_int_equal(stop_copy_size(s), size - initial);
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_FEATURE, v2));
	assert_int_equal(side_read(s, fd, stream, 5), 5);
	ok(precopy_info(s, fd, 100, &info));
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.initial_bytes, initial - 5);
	/* all of it, for now */
	assert_int_equal(side_drain(s, fd, stream + 5, -ENOMSG), initial - 5);
	assert_int_equal(polled(fd), POLLOUT);
	ok(precopy_info(s, fd, 24, &info));
	assert_int_equal(info.initial_bytes, 0);
	ok(side_set_state(s, PRE_COPY_P2P, &none));
	err(ENOMSG, (int)side_read(s, fd, stream, 1));
	ok(precopy_info(s, fd, 24, &info));
	/* and the rest */
	ok(side_set_state(s, STOP_COPY, &none));
	assert_int_equal(polled(fd), POLLIN | POLLOUT);
	err(EINVAL, precopy_info(s, fd, 24, &info));
	assert_int_equal(side_drain(s, fd, stream + initial, 0), size - initial);
	assert_int_equal(polled(fd), POLLIN | POLLOUT);
	assert_int_equal(side_read(s, fd, stream, 1), 0);
	/* the two ways give the same stream, but for what the reset has counted */
	assert_memory_equal(stream, direct, initial);
	ok(side_set_state(s, RUNNING, &none));
	err(ENODEV, (int)side_read(s, fd, stream, 1));
	err(ENODEV, precopy_info(s, fd, 24, &info));
	assert_int_equal(polled(fd), POLLIN | POLLOUT);
	ok(host_close(&s->rig, fd));
	err(EBADF, (int)side_read(s, fd, stream, 1));
	scene_close(scene);
}

static void the_file_that_is_written(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->b;
	struct nst_host *host = s->rig.host;
	struct vfio_precopy_info info;
	uint8_t stream[SIDE_STREAM_MAX];
	size_t size = side_save(&scene->a, stream);
	int fd, none;

	side_go(s, RESUMING, &fd);
	err(EBADF, (int)side_read(s, fd, stream, 1));
	err(ENOTTY, precopy_info(s, fd, 24, &info));
	err(ESPIPE, (int)host->ops->pwrite(host, fd, stream, 1, 0));
	err(EFAULT, (int)side_write(s, fd, (void *)BAD_POINTER, 8));
	assert_true(polled(fd) & POLLOUT);
	for (size_t at = 0; at < size; at += 7)
		assert_int_equal(side_write(s, fd, stream + at, MIN(7, size - at)),
				 MIN(7, size - at));
	ok(side_set_state(s, RUNNING, &none));
	err(ENODEV, (int)side_write(s, fd, stream, 1));
	ok(host_close(&s->rig, fd));
	scene_close(scene);
}

/* --- streams that are refused --------------------------------------------------------------------
 */

static void registers(struct side *s, uint32_t regs[12])
{
	for (unsigned int i = 0; i < 12; i++)
		assert_int_equal(
			s->rig.host->ops->pread(s->rig.host, s->rig.dev, &regs[i], 4, 4 * i), 4);
}

static void damaged_streams(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->b;
	uint8_t stream[SIDE_STREAM_MAX];
	uint32_t before[12], after[12];
	size_t size;
	int fd, none;

	side_start(&scene->a);
	size = side_save(&scene->a, stream);
	side_go(s, RESUMING, &fd);
	registers(s, before);
	/* one bit wrong, anywhere; one byte in 13 is tried, and all of both headers */
	for (size_t at = 0; at < size; at += at < 300 ? 1 : 13) {
		uint8_t good = stream[at];

		side_go(s, RESUMING, &fd);
		stream[at] ^= (uint8_t)(1 << at % 8);
		err(EINVAL, side_load(s, fd, stream, size));
		stream[at] = good;
		assert_int_equal(side_state(s), RESUMING);
		ok(host_close(&s->rig, fd));
	}
	/* too short, by any number of bytes */
	for (size_t length = 0; length < size; length += length < 300 ? 1 : 101) {
		side_go(s, RESUMING, &fd);
		err(EINVAL, side_load(s, fd, stream, length));
		/* the rest may still come */
		assert_int_equal(side_write(s, fd, stream + length, size - length), size - length);
		ok(side_set_state(s, STOP, &none));
		ok(host_close(&s->rig, fd));
	}
	/* too long */
	side_go(s, RESUMING, &fd);
	assert_int_equal(side_write(s, fd, stream, size), size);
	err(EINVAL, (int)side_write(s, fd, stream, 1));
	err(EINVAL, side_set_state(s, STOP, &none));
	registers(s, after);
	assert_memory_equal(before, after, sizeof(before));
	/* a reset is the way out, and then all is well again */
	ok(call(&s->rig, s->rig.dev, VFIO_DEVICE_RESET, NULL));
	ok(side_set_state(s, RESUMING, &fd));
	ok(side_load(s, fd, stream, size));
	registers(s, after);
	assert_true(memcmp(before, after, sizeof(before)));
	scene_close(scene);
}

/* A record with the right sum, whose state no controller can be in. */
static void a_state_that_cannot_be(void **state)
{
	struct scene *scene = scene_open();
	struct side *s = &scene->b;
	uint8_t stream[SIDE_STREAM_MAX], *record, *csts;
	uint32_t before[12], after[12];
	size_t size, state_size = (size_t)stop_copy_size(s) - SOFT_RECORD_HEADER_BYTES;
	int fd;

	size = side_save(&scene->a, stream);
	record = stream + size - state_size - SOFT_RECORD_HEADER_BYTES;
	csts = record + SOFT_RECORD_HEADER_BYTES + 4;
	assert_int_equal(*csts, 0);
	*csts = NVME_CSTS_RDY; /* without CC.EN, and without queues */
	soft_record_seal(record, SOFT_RECORD_STATE, state_size);
	side_go(s, RESUMING, &fd);
	registers(s, before);
	err(EINVAL, side_load(s, fd, stream, size));
	registers(s, after);
	assert_memory_equal(before, after, sizeof(before));
	*csts = 0;
	soft_record_seal(record, SOFT_RECORD_STATE, state_size);
	side_go(s, RESUMING, &fd);
	ok(side_load(s, fd, stream, size));
	scene_close(scene);
}

static void a_stream_of_another_device(void **state)
{
	struct scene *scene = scene_open_foreign();
	uint8_t stream[SIDE_STREAM_MAX];
	size_t initial;
	int source, fd, none;

	/* found out while the source still runs */
	side_go(&scene->a, PRE_COPY, &source);
	initial = side_drain(&scene->a, source, stream, -ENOMSG);
	side_go(&scene->b, RESUMING, &fd);
	assert_int_equal(side_write(&scene->b, fd, stream, initial - 1), initial - 1);
	err(EINVAL, (int)side_write(&scene->b, fd, stream + initial - 1, 1));
	err(EINVAL, (int)side_write(&scene->b, fd, stream, 1));
	err(EINVAL, side_set_state(&scene->b, RUNNING, &none));
	assert_int_equal(side_state(&scene->b), RESUMING);
	scene_close(scene);
}

static const struct suite_case cases[] = {
	TEST_ALONE(the_file_that_is_read),
	TEST_ALONE(the_file_that_is_written),
	TEST_ALONE(damaged_streams),
	TEST_ALONE(a_state_that_cannot_be),
	TEST_ALONE(a_stream_of_another_device),
};
SUITE_GROUP(migration_stream, cases)
