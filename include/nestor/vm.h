/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a virtual machine has on a host: its memory, mapped for this process and in
 * an IOAS of the host, and the devices passed through to it.
 */
#ifndef NESTOR_VM_H
#define NESTOR_VM_H

#include <nestor/host.h>
#include <nestor/log.h>
#include <nestor/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nst_vm;

/**
 * nst_vm_create() - open the host's iommufd and make an IOAS for the guest's memory.
 * @host must outlive the VM. NULL: there is none, because the VM has emulated devices only.
 * Errors: -ENOMEM, or what opening /dev/iommu gives
 * (-ENOENT: no iommufd in this kernel; -EACCES: no permission).
 */
NST_MUST_CHECK NST_API int nst_vm_create(struct nst_host *host, const struct nst_log *log,
					 struct nst_vm **out);

/** nst_vm_destroy() - every device of the VM must be closed. @vm may be NULL. */
NST_API void nst_vm_destroy(struct nst_vm *vm);

/**
 * nst_vm_map_file() - guest memory that is @size bytes of @fd from @offset.
 * The file is mapped into this process and into the IOAS; @fd may be closed after.
 * Memory that devices may not write (!@writable) is kept out of the IOAS: hosts with
 * Intel erratum 772415 cannot have it in a nesting parent.
 * Errors: -EINVAL (not page aligned, or past the end of the file), -EEXIST, -ENOMEM,
 * or what mmap(2) and IOMMU_IOAS_MAP_FILE give. Nothing is mapped then.
 */
NST_MUST_CHECK NST_API int nst_vm_map_file(struct nst_vm *vm, nst_gpa gpa, uint64_t size, int fd,
					   uint64_t offset, bool writable);

/** nst_vm_map() - the same for memory the caller has at @hva, and keeps there. */
NST_MUST_CHECK NST_API int nst_vm_map(struct nst_vm *vm, nst_gpa gpa, uint64_t size, void *hva,
				      bool writable);

/**
 * nst_vm_unmap() - exactly what one map call mapped. When it returns, neither a device
 * nor this library touches the memory any more. Errors: -ENOENT; -ENOMEM or the host's,
 * and then the memory is still in use, and the call may be repeated.
 */
NST_API int nst_vm_unmap(struct nst_vm *vm, nst_gpa gpa, uint64_t size);

/** nst_vm_unmap_all() - everything, as when the VMM has gone. */
NST_API void nst_vm_unmap_all(struct nst_vm *vm);

/** nst_vm_mem() - the guest memory as this process sees it. */
NST_API struct nst_mem *nst_vm_mem(struct nst_vm *vm);

#ifdef __cplusplus
}
#endif
#endif
