// SPDX-License-Identifier: BSD-3-Clause
/*
 * See vm.h. A mapping appears in three places, always in this order, and goes in the
 * opposite one: this process (mmap), the IOAS (devices), nst_mem (the vIOMMU). Shadows
 * (shadow.h) take from it what they want while it is there.
 */
#include "passthrough/vm.h"
#include "passthrough/shadow.h"

#include "base/alloc.h"
#include "base/bits.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int open_host(struct nst_vm *vm, struct nst_host *host)
{
	int ret = iommufd_open(host, &vm->iommufd);

	if (ret)
		return ret;
	ret = iommufd_ioas_alloc(&vm->iommufd, &vm->ioas_id);
	if (ret)
		iommufd_close(&vm->iommufd);
	return ret;
}

int nst_vm_create(struct nst_host *host, const struct nst_log *log, struct nst_vm **out)
{
	struct nst_vm *vm = alloc_object(struct nst_vm);
	int ret;

	if (!vm)
		return -ENOMEM;
	vm->log = log;
	vm->max_shadow_runs = SHADOW_MAX_RUNS;
	mutex_init(&vm->lock);
	ret = host ? open_host(vm, host) : 0;
	if (ret)
		goto free_vm;
	ret = nst_mem_create(&vm->mem);
	if (ret)
		goto close;
	*out = vm;
	return 0;
close:
	if (host)
		iommufd_close(&vm->iommufd); /* and with it the IOAS */
free_vm:
	mutex_fini(&vm->lock);
	free(vm);
	return ret;
}

void nst_vm_destroy(struct nst_vm *vm)
{
	if (!vm)
		return;
	nst_vm_unmap_all(vm);
	nst_mem_destroy(vm->mem);
	if (vm->iommufd.host) {
		iommufd_destroy(&vm->iommufd, vm->ioas_id);
		iommufd_close(&vm->iommufd);
	}
	while (vm->mappings) { /* those that could not be unmapped: nobody is left to use them */
		struct vm_mapping *m = vm->mappings;

		vm->mappings = m->next;
		if (m->owned)
			munmap(m->hva, m->size);
		free(m);
	}
	mutex_fini(&vm->lock);
	free(vm);
}

struct nst_mem *nst_vm_mem(struct nst_vm *vm)
{
	return vm->mem;
}

static int check_file(int fd, uint64_t size, uint64_t offset)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	/* Memory past the end of the file would be a SIGBUS at the guest's first touch. */
	if (S_ISREG(st.st_mode) && !range_fits(offset, size, (uint64_t)st.st_size))
		return -EINVAL;
	return 0;
}

/* After an error someone may still reach the memory; call again. */
static int unmap_mapping(struct nst_vm *vm, struct vm_mapping *m) REQUIRES(vm->lock)
{
	int ret = m->in_mem ? nst_mem_remove(vm->mem, (nst_gpa){ m->gpa }, m->size) : 0;

	if (!ret)
		m->in_mem = false;
	if (!ret)
		ret = vm_shadows_memory_gone(vm, m);
	if (!ret && m->in_ioas)
		ret = iommufd_ioas_unmap(&vm->iommufd, vm->ioas_id, m->gpa, m->size);
	if (ret) {
		log_error(vm->log, "memory at 0x%llx stays mapped: %s", (unsigned long long)m->gpa,
			  strerror(-ret));
		return ret;
	}
	if (m->owned)
		munmap(m->hva, m->size);
	return 0;
}

/* @fd is -1 for memory the caller has at @m->hva. */
static int map_locked(struct nst_vm *vm, struct vm_mapping *m, int fd, uint64_t offset,
		      bool writable) REQUIRES(vm->lock)
{
	int ret = 0;

	m->in_ioas = writable && vm->iommufd.host;
	if (m->in_ioas && fd >= 0)
		ret = iommufd_ioas_map_file(&vm->iommufd, vm->ioas_id, m->gpa, m->size, fd, offset,
					    true);
	else if (m->in_ioas)
		ret = iommufd_ioas_map(&vm->iommufd, vm->ioas_id, m->gpa, m->size, m->hva,
				       IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE);
	if (ret)
		return ret;
	ret = nst_mem_add(vm->mem, (nst_gpa){ m->gpa }, m->size, m->hva, writable);
	if (ret) {
		if (m->in_ioas)
			iommufd_ioas_unmap(&vm->iommufd, vm->ioas_id, m->gpa, m->size);
		return ret;
	}
	m->in_mem = true;
	m->writable = writable;
	m->next = vm->mappings;
	vm->mappings = m;
	vm_shadows_memory_added(vm);
	return 0;
}

static int map(struct nst_vm *vm, const struct vm_mapping *wanted, int fd, uint64_t offset,
	       bool writable)
{
	struct vm_mapping *m = alloc_object(struct vm_mapping);
	int ret;

	if (!m)
		return -ENOMEM;
	*m = *wanted;
	mutex_lock(&vm->lock);
	ret = map_locked(vm, m, fd, offset, writable);
	mutex_unlock(&vm->lock);
	if (ret)
		free(m);
	return ret;
}

static bool aligned(uint64_t gpa, uint64_t size, uint64_t offset)
{
	return size && IS_ALIGNED(gpa | size | offset, PAGE_SIZE_4K) && !range_overflows(gpa, size);
}

int nst_vm_map(struct nst_vm *vm, nst_gpa gpa, uint64_t size, void *hva, bool writable)
{
	struct vm_mapping m = { .gpa = gpa.v, .size = size, .hva = hva };

	if (!aligned(gpa.v, size, (uintptr_t)hva))
		return -EINVAL;
	return map(vm, &m, -1, 0, writable);
}

int nst_vm_map_file(struct nst_vm *vm, nst_gpa gpa, uint64_t size, int fd, uint64_t offset,
		    bool writable)
{
	struct vm_mapping m = { .gpa = gpa.v, .size = size, .owned = true };
	int ret;

	if (!aligned(gpa.v, size, offset))
		return -EINVAL;
	ret = check_file(fd, size, offset);
	if (ret)
		return ret;
	m.hva = mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd,
		     (off_t)offset);
	if (m.hva == MAP_FAILED)
		return -errno;
	ret = map(vm, &m, fd, offset, writable);
	if (ret)
		munmap(m.hva, size);
	return ret;
}

static int unmap_locked(struct nst_vm *vm, uint64_t gpa, uint64_t size) REQUIRES(vm->lock)
{
	for (struct vm_mapping **link = &vm->mappings; *link; link = &(*link)->next) {
		struct vm_mapping *m = *link;
		int ret;

		if (m->gpa != gpa || m->size != size)
			continue;
		ret = unmap_mapping(vm, m);
		if (ret)
			return ret;
		*link = m->next;
		free(m);
		return 0;
	}
	return -ENOENT;
}

int nst_vm_unmap(struct nst_vm *vm, nst_gpa gpa, uint64_t size)
{
	int ret;

	mutex_lock(&vm->lock);
	ret = unmap_locked(vm, gpa.v, size);
	mutex_unlock(&vm->lock);
	return ret;
}

void nst_vm_unmap_all(struct nst_vm *vm)
{
	struct vm_mapping **link = &vm->mappings;

	mutex_lock(&vm->lock);
	while (*link) {
		struct vm_mapping *m = *link;

		if (unmap_mapping(vm, m)) {
			link = &m->next;
			continue;
		}
		*link = m->next;
		free(m);
	}
	mutex_unlock(&vm->lock);
}
