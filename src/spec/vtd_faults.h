/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault reasons a remapping unit records: VT-d 4.1 s7.1.3 Fault Reason Encodings,
 * those of DMA requests, and s5.1.4.1 Interrupt Remapping Fault Conditions. Used by the
 * vIOMMU for its fault records and by the software IOMMU to say why it refused a request.
 */
#ifndef SPEC_VTD_FAULTS_H
#define SPEC_VTD_FAULTS_H

enum vtd_fault_reason {
	VTD_FAULT_NONE = 0,
	/* legacy mode */
	VTD_FAULT_LEGACY_ROOT_NOT_PRESENT = 0x01,
	VTD_FAULT_LEGACY_CONTEXT_NOT_PRESENT = 0x02,
	VTD_FAULT_LEGACY_CONTEXT_INVALID = 0x03, /* a type or width the unit does not have */
	VTD_FAULT_LEGACY_ADDRESS = 0x04,	 /* more bits than the tables translate */
	VTD_FAULT_LEGACY_WRITE = 0x05,
	VTD_FAULT_LEGACY_READ = 0x06,
	VTD_FAULT_LEGACY_TABLE_ACCESS = 0x07,
	VTD_FAULT_LEGACY_ROOT_ACCESS = 0x08,
	VTD_FAULT_LEGACY_CONTEXT_ACCESS = 0x09,
	VTD_FAULT_LEGACY_ROOT_RESERVED = 0x0a,
	VTD_FAULT_LEGACY_CONTEXT_RESERVED = 0x0b,
	VTD_FAULT_LEGACY_TABLE_RESERVED = 0x0c,
	VTD_FAULT_LEGACY_DEVICE_TLB = 0x0d, /* ATS request, and TT does not allow it */
	VTD_FAULT_LEGACY_INTERRUPT_RANGE = 0x0e,
	/* interrupt remapping */
	VTD_FAULT_IR_REQUEST_RESERVED = 0x20,
	VTD_FAULT_IR_INDEX = 0x21, /* past the end of the table */
	VTD_FAULT_IR_NOT_PRESENT = 0x22,
	VTD_FAULT_IR_ACCESS = 0x23, /* entry could not be read */
	VTD_FAULT_IR_ENTRY_RESERVED = 0x24,
	VTD_FAULT_IR_COMPATIBILITY = 0x25, /* a request in compatibility format is blocked */
	VTD_FAULT_IR_SOURCE = 0x26,	   /* SVT: not for this requester */
	/* root and context tables */
	VTD_FAULT_RTA_TTM = 0x30,     /* reserved translation table mode */
	VTD_FAULT_RTA_PASID = 0x31,   /* legacy mode, and a request with PASID */
	VTD_FAULT_ROOT_ACCESS = 0x38, /* root entry could not be read */
	VTD_FAULT_ROOT_NOT_PRESENT = 0x39,
	VTD_FAULT_ROOT_RESERVED = 0x3a,
	VTD_FAULT_CONTEXT_ACCESS = 0x40,
	VTD_FAULT_CONTEXT_NOT_PRESENT = 0x41,
	VTD_FAULT_CONTEXT_RESERVED = 0x42,
	VTD_FAULT_CONTEXT_DEVICE_TLB = 0x44, /* ATS request with DTE clear */
	VTD_FAULT_CONTEXT_PASIDE = 0x45,     /* request with PASID, and PASIDE clear */
	VTD_FAULT_CONTEXT_PDTS = 0x46,	     /* its PASID is outside the directory */
	VTD_FAULT_CONTEXT_RID_PASID = 0x48,  /* RID_PASID is */
	/* PASID directory and table */
	VTD_FAULT_PASID_DIR_ACCESS = 0x50,
	VTD_FAULT_PASID_DIR_NOT_PRESENT = 0x51,
	VTD_FAULT_PASID_DIR_RESERVED = 0x52,
	VTD_FAULT_PASID_TABLE_ACCESS = 0x58,
	VTD_FAULT_PASID_NOT_PRESENT = 0x59,
	VTD_FAULT_PASID_RESERVED = 0x5a,
	VTD_FAULT_PASID_TYPE = 0x5b, /* PGTT or widths this unit does not offer */
	VTD_FAULT_PASID_SRE = 0x5d,  /* a privileged request, and SRE clear */
	/* first-stage tables */
	VTD_FAULT_FS_ACCESS = 0x70,
	VTD_FAULT_FS_NOT_PRESENT = 0x71,
	VTD_FAULT_FS_RESERVED = 0x72,
	VTD_FAULT_FSPTPTR_ACCESS = 0x73,
	/* the second stage under a first-stage table */
	VTD_FAULT_FS_NESTED_ADDRESS = 0x74, /* a first-stage table outside the second stage */
	VTD_FAULT_FSPTPTR_NESTED_READ = 0x75,
	VTD_FAULT_FS_NESTED_READ = 0x76,
	VTD_FAULT_FS_NESTED_WRITE = 0x77, /* A/D could not be set */
	/* second-stage tables */
	VTD_FAULT_SS_ACCESS = 0x78,
	VTD_FAULT_SS_NOT_PRESENT = 0x79,
	VTD_FAULT_SS_RESERVED = 0x7a,
	VTD_FAULT_SSPTPTR_ACCESS = 0x7b,
	/* the request against the tables */
	VTD_FAULT_NOT_CANONICAL = 0x80,
	VTD_FAULT_FS_PRIVILEGE = 0x81,
	VTD_FAULT_ADDRESS = 0x83,	 /* more bits than the second stage translates */
	VTD_FAULT_NESTED_ADDRESS = 0x84, /* the same of what the first stage said */
	VTD_FAULT_WRITE = 0x85,
	VTD_FAULT_READ = 0x86,
	VTD_FAULT_SM_INTERRUPT_RANGE = 0x87,
	VTD_FAULT_FS_BIT_UPDATE = 0x91, /* A/D could not be set */
};

#endif
