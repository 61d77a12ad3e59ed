// SPDX-License-Identifier: BSD-3-Clause
/*
 * The tracing host: it changes nothing of what the inner host does, and what it writes is
 * what was asked and answered, as text and as JSON.
 */
#include "test.h"

#include <nestor/soft_host.h>
#include <nestor/trace_host.h>

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct rig {
	struct nst_host *host;
	char path[64];	 /* of an NVMe device */
	char last[4096]; /* record, without its time if it is text */
	unsigned int count;
	bool json;
	int disk;
};

static void take(void *opaque, const char *record)
{
	struct rig *rig = opaque;
	double t;
	int used = 0;

	if (!rig->json)
		assert_int_equal(sscanf(record, "%lf %n", &t, &used), 1);
	snprintf(rig->last, sizeof(rig->last), "%s", record + used);
	rig->count++;
}

static struct rig *open_rig(bool json)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct nst_soft_config soft = { .synchronous = true };
	struct nst_trace_config trace = { .write = take, .opaque = rig, .json = json };
	struct nst_host *inner;
	char description[64];

	rig->json = json;
	rig->disk = memfd_create("disk", 0);
	assert_int_equal(ftruncate(rig->disk, 1 << 20), 0);
	assert_int_equal(nst_host_soft_create(&soft, &inner), 0);
	snprintf(description, sizeof(description), "nvme,file=/proc/self/fd/%d", rig->disk);
	assert_int_equal(
		nst_soft_add_device(inner, description, rig->path, sizeof(rig->path), NULL), 0);
	assert_int_equal(nst_host_trace_create(inner, &trace, &rig->host), 0);
	return rig;
}

static void close_rig(struct rig *rig)
{
	nst_host_destroy(rig->host);
	close(rig->disk);
	free(rig);
}

static int call(struct rig *rig, int fd, unsigned long request, void *arg)
{
	return rig->host->ops->ioctl(rig->host, fd, request, arg);
}

/* The last record, with the descriptor it names as %d. */
static void expect(struct rig *rig, const char *fmt, int fd)
{
	char text[1024];

	snprintf(text, sizeof(text), fmt, fd);
	assert_string_equal(rig->last, text);
}

static void calls_as_text(void **state)
{
	struct rig *rig = open_rig(false);
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_ioas_map map = { .size = sizeof(map),
				      .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
					       64,
				      .ioas_id = 7,
				      .length = 0x1000,
				      .iova = 0x2000 };
	struct vfio_irq_info irq = { .argsz = sizeof(irq), .index = 1 };
	int fd = rig->host->ops->open(rig->host, "/dev/iommu", O_RDWR);
	int dev;
	uint8_t id[4];

	assert_true(fd >= 0);
	expect(rig, "open(path=/dev/iommu, flags=0x2) = %d", fd);
	assert_int_equal(call(rig, fd, IOMMU_IOAS_ALLOC, &alloc), 0);
	expect(rig, "IOMMU_IOAS_ALLOC(fd=%d) = 0 (out_ioas_id=1)", fd);
	assert_int_equal(call(rig, fd, IOMMU_IOAS_MAP, &map), -EOPNOTSUPP);
	expect(rig,
	       "IOMMU_IOAS_MAP(fd=%d, flags=FIXED_IOVA|READABLE|0x40, ioas_id=7, user_va=0x0, length=0x1000, iova=0x2000) = -EOPNOTSUPP",
	       fd);
	assert_int_equal(call(rig, fd, 0x1234, NULL), -ENOTTY);
	expect(rig, "ioctl(fd=%d, request=0x1234) = -ENOTTY", fd);

	dev = rig->host->ops->open(rig->host, rig->path, O_RDWR);
	assert_int_equal(call(rig, dev, VFIO_DEVICE_BIND_IOMMUFD,
			      &(struct vfio_device_bind_iommufd){ .argsz = 24, .iommufd = fd }),
			 0);
	assert_int_equal(call(rig, dev, VFIO_DEVICE_GET_IRQ_INFO, &irq), 0);
	expect(rig,
	       "VFIO_DEVICE_GET_IRQ_INFO(fd=%d, index=MSI) = 0 (flags=EVENTFD|NORESIZE, count=8)",
	       dev);
	assert_int_equal(rig->host->ops->pread(rig->host, dev, id, 4, (off_t)7 << 40), 4);
	expect(rig, "pread(fd=%d, region=7, offset=0x0, count=4) = 4 (data=53 4e 01 00)", dev);
	assert_int_equal(rig->host->ops->close(rig->host, dev), 0);
	expect(rig, "close(fd=%d) = 0", dev);
	assert_int_equal(rig->host->ops->close(rig->host, fd), 0);
	assert_int_equal(rig->count, 10);
	close_rig(rig);
}

/* A nested HWPT on the device: structures behind pointers are shown. */
static void structures_behind_pointers_as_json(void **state)
{
	struct rig *rig = open_rig(true);
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct iommu_hwpt_alloc parent = { .size = sizeof(parent),
					   .flags = IOMMU_HWPT_ALLOC_NEST_PARENT };
	struct iommu_hwpt_vtd_s1 s1 = { .flags = 5, .pgtbl_addr = 0xabc000, .addr_width = 48 };
	struct iommu_hwpt_alloc nested = { .size = sizeof(nested),
					   .data_type = IOMMU_HWPT_DATA_VTD_S1,
					   .data_len = sizeof(s1),
					   .data_uptr = (uintptr_t)&s1 };
	struct iommu_hwpt_vtd_s1_invalidate entries[40] = { { .addr = 0x1000, .npages = 2 } };
	struct iommu_hwpt_invalidate invalidate = { .size = sizeof(invalidate),
						    .data_uptr = (uintptr_t)entries,
						    .entry_len = sizeof(entries[0]),
						    .entry_num = 40 };
	struct json_object *record, *in, *out, *list;
	int fd = rig->host->ops->open(rig->host, "/dev/iommu", O_RDWR);
	int dev = rig->host->ops->open(rig->host, rig->path, O_RDWR);

	bind.iommufd = fd;
	assert_int_equal(call(rig, fd, IOMMU_IOAS_ALLOC, &ioas), 0);
	assert_int_equal(call(rig, dev, VFIO_DEVICE_BIND_IOMMUFD, &bind), 0);
	parent.dev_id = nested.dev_id = bind.out_devid;
	parent.pt_id = ioas.out_ioas_id;
	assert_int_equal(call(rig, fd, IOMMU_HWPT_ALLOC, &parent), 0);
	nested.pt_id = parent.out_hwpt_id;
	assert_int_equal(call(rig, fd, IOMMU_HWPT_ALLOC, &nested), 0);

	record = json_tokener_parse(rig->last);
	assert_non_null(record);
	assert_string_equal(json_object_get_string(json_object_object_get(record, "call")),
			    "IOMMU_HWPT_ALLOC");
	assert_int_equal(json_object_get_int(json_object_object_get(record, "result")), 0);
	in = json_object_object_get(record, "in");
	assert_string_equal(json_object_get_string(json_object_object_get(in, "data_type")),
			    "VTD_S1");
	list = json_object_object_get(in, "data");
	assert_int_equal(json_object_array_length(list), 1);
	list = json_object_array_get_idx(list, 0);
	assert_string_equal(json_object_get_string(json_object_object_get(list, "flags")),
			    "SRE|WPE");
	assert_string_equal(json_object_get_string(json_object_object_get(list, "pgtbl_addr")),
			    "0xabc000");
	out = json_object_object_get(record, "out");
	assert_int_equal(json_object_get_int(json_object_object_get(out, "out_hwpt_id")),
			 nested.out_hwpt_id);
	json_object_put(record);

	/* of many entries the first eight are shown */
	invalidate.hwpt_id = nested.out_hwpt_id;
	assert_int_equal(call(rig, fd, IOMMU_HWPT_INVALIDATE, &invalidate), 0);
	record = json_tokener_parse(rig->last);
	assert_non_null(record);
	in = json_object_object_get(record, "in");
	list = json_object_object_get(in, "entries");
	assert_int_equal(json_object_array_length(list), 8);
	json_object_put(record);
	rig->host->ops->close(rig->host, dev);
	rig->host->ops->close(rig->host, fd);
	close_rig(rig);
}

/* What the inner host answers with EFAULT must not crash the trace, in either form. */
static void bad_pointers(void **state)
{
	for (int json = 0; json < 2; json++) {
		struct rig *rig = open_rig(json);
		struct iommu_hwpt_invalidate invalidate = { .size = sizeof(invalidate),
							    .data_uptr = 8,
							    .entry_len = 24,
							    .entry_num = 1U << 19 };
		int fd = rig->host->ops->open(rig->host, "/dev/iommu", O_RDWR);

		assert_int_equal(call(rig, fd, IOMMU_HWPT_ALLOC, NULL), -EFAULT);
		assert_non_null(strstr(rig->last, "EFAULT"));
		assert_int_equal(call(rig, fd, IOMMU_HWPT_ALLOC, (void *)16), -EFAULT);
		assert_int_equal(call(rig, fd, IOMMU_HWPT_INVALIDATE, &invalidate), -ENOENT);
		if (json) {
			struct json_object *record = json_tokener_parse(rig->last);

			assert_non_null(record);
			json_object_put(record);
		}
		rig->host->ops->close(rig->host, fd);
		close_rig(rig);
	}
}

/* All of <linux/iommufd.h>, and the calls of VFIO a VMM makes: none is a bare number. */
static void every_call_has_a_name(void **state)
{
	struct rig *rig = open_rig(false);
	int fd = rig->host->ops->open(rig->host, "/dev/iommu", O_RDWR);

	for (unsigned int nr = IOMMUFD_CMD_BASE; nr <= IOMMUFD_CMD_HW_QUEUE_ALLOC; nr++) {
		uint64_t arg[16] = { 4 };

		call(rig, fd, _IO(IOMMUFD_TYPE, nr), arg);
		assert_ptr_equal(strstr(rig->last, "IOMMU_"), rig->last);
	}
	for (unsigned int nr = VFIO_BASE; nr <= VFIO_BASE + 20; nr++) {
		uint64_t arg[16] = { 4 };
		bool is_group = nr >= VFIO_BASE + 3 && nr <= VFIO_BASE + 6;
		bool is_graphics = nr == VFIO_BASE + 15 || nr == VFIO_BASE + 16;

		if (is_group || is_graphics || nr > VFIO_BASE + 17)
			continue;
		call(rig, fd, _IO(VFIO_TYPE, nr), arg);
		assert_ptr_equal(strstr(rig->last, "VFIO_"), rig->last);
	}
	rig->host->ops->close(rig->host, fd);
	close_rig(rig);
}

#define FEATURE_BYTES \
	(sizeof(struct vfio_device_feature) + sizeof(struct vfio_device_feature_mig_state))

/* A payload of another kind than the first that the call can have. */
static void guest_entries_and_migration_states(void **state)
{
	struct rig *rig = open_rig(false);
	struct iommu_hwpt_arm_smmuv3 ste = { .ste = { 0xb, 0x4000 } };
	struct iommu_hwpt_alloc nested = { .size = sizeof(nested),
					   .data_type = IOMMU_HWPT_DATA_ARM_SMMUV3,
					   .data_len = sizeof(ste),
					   .data_uptr = (uintptr_t)&ste };
	const struct vfio_device_feature header = { .argsz = FEATURE_BYTES,
						    .flags = VFIO_DEVICE_FEATURE_SET |
							     VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE };
	const struct vfio_device_feature_mig_state state_wanted = {
		.device_state = VFIO_DEVICE_STATE_STOP_COPY
	};
	uint8_t feature[FEATURE_BYTES] __attribute__((aligned(8)));
	int fd = rig->host->ops->open(rig->host, "/dev/iommu", O_RDWR);
	int dev = rig->host->ops->open(rig->host, rig->path, O_RDWR);

	assert_int_equal(call(rig, fd, IOMMU_HWPT_ALLOC, &nested), -ENOENT);
	assert_non_null(strstr(rig->last, "data_type=ARM_SMMUV3"));
	assert_non_null(strstr(rig->last, "data=[{qw0=0xb, qw1=0x4000}]"));
	memcpy(feature, &header, sizeof(header));
	memcpy(feature + sizeof(header), &state_wanted, sizeof(state_wanted));
	assert_int_equal(call(rig, dev, VFIO_DEVICE_FEATURE, feature), -EINVAL); /* not bound */
	assert_non_null(strstr(rig->last, "data=[{device_state=STOP_COPY}]"));
	rig->host->ops->close(rig->host, dev);
	rig->host->ops->close(rig->host, fd);
	close_rig(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_as_text),
		cmocka_unit_test(structures_behind_pointers_as_json),
		cmocka_unit_test(bad_pointers),
		cmocka_unit_test(every_call_has_a_name),
		cmocka_unit_test(guest_entries_and_migration_states),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
