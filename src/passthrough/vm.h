/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of struct nst_vm, for the files of this folder and the vIOMMUs' attachment
 * code: the iommufd, the IOAS, and the nesting parents devices share.
 */
#ifndef PASSTHROUGH_VM_H
#define PASSTHROUGH_VM_H

#include "base/lock.h"
#include "iommufd/iommufd.h"

#include <nestor/vm.h>

/* A nesting parent HWPT over the IOAS, shared by every device whose host IOMMU takes it. */
struct vm_parent {
	struct vm_parent *next;
	uint32_t hwpt_id;
	unsigned int users;
	bool pasid_capable; /* made for PASID attachments */
};

struct vm_mapping {
	struct vm_mapping *next;
	uint64_t gpa, size;
	void *hva;
	bool owned; /* mmapped here, to be unmapped here */
	bool in_ioas, in_mem;
	bool writable;
};

struct vm_shadow;

struct nst_vm {
	const struct nst_log *log;
	struct iommufd iommufd;
	uint32_t ioas_id;
	struct nst_mem *mem;
	/* protects what follows, and what shadows hold; the host and mem are called with it held */
	struct mutex lock;
	struct vm_mapping *mappings GUARDED_BY(lock);
	struct vm_parent *parents GUARDED_BY(lock);
	struct vm_shadow *shadows GUARDED_BY(lock);
	size_t shadow_runs GUARDED_BY(lock), max_shadow_runs; /* of all shadows; less in tests */
};

#endif
