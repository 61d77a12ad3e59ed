/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the NVM Express Base Specification 1.4 lays down and this controller
 * uses: registers, queue entries, data structures, opcodes and status codes.
 * Section numbers below are of that document. Values only; no behaviour.
 */
#ifndef ENDPOINT_NVME_SPEC_H
#define ENDPOINT_NVME_SPEC_H

#include "base/bits.h"
#include "base/endian.h"

/* s3.1 Register definition: byte offsets in BAR0 */
#define NVME_REG_CAP 0x00
#define NVME_REG_VS 0x08
#define NVME_REG_INTMS 0x0c
#define NVME_REG_INTMC 0x10
#define NVME_REG_CC 0x14
#define NVME_REG_CSTS 0x1c
#define NVME_REG_AQA 0x24
#define NVME_REG_ASQ 0x28
#define NVME_REG_ACQ 0x30
#define NVME_REG_DOORBELLS 0x1000

#define NVME_CAP_MQES GENMASK64(15, 0)
#define NVME_CAP_CQR BIT64(16)
#define NVME_CAP_TO GENMASK64(31, 24)
#define NVME_CAP_CSS GENMASK64(44, 37)
#define NVME_CAP_CSS_NVM 1
#define NVME_CAP_MPSMIN GENMASK64(51, 48)
#define NVME_CAP_MPSMAX GENMASK64(55, 52)

#define NVME_VS_1_4 0x00010400

#define NVME_CC_EN BIT64(0)
#define NVME_CC_CSS GENMASK64(6, 4)
#define NVME_CC_MPS GENMASK64(10, 7)
#define NVME_CC_AMS GENMASK64(13, 11)
#define NVME_CC_SHN GENMASK64(15, 14)
#define NVME_CC_IOSQES GENMASK64(19, 16)
#define NVME_CC_IOCQES GENMASK64(23, 20)
#define NVME_CC_WRITABLE                                                                       \
	(NVME_CC_EN | NVME_CC_CSS | NVME_CC_MPS | NVME_CC_AMS | NVME_CC_SHN | NVME_CC_IOSQES | \
	 NVME_CC_IOCQES)
#define NVME_SQES_LG2 6
#define NVME_CQES_LG2 4

#define NVME_CSTS_RDY BIT64(0)
#define NVME_CSTS_CFS BIT64(1)
#define NVME_CSTS_SHST GENMASK64(3, 2)
#define NVME_SHST_NONE 0
#define NVME_SHST_BUSY 1
#define NVME_SHST_DONE 2

#define NVME_AQA_ASQS GENMASK64(11, 0)
#define NVME_AQA_ACQS GENMASK64(27, 16)
#define NVME_AQA_WRITABLE (NVME_AQA_ASQS | NVME_AQA_ACQS)
#define NVME_QUEUE_BASE_WRITABLE (~0xfffULL)

/* s4.2 Submission queue entry, s4.6 completion queue entry */
struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags;
	le16 cid;
	le32 nsid;
	le64 reserved;
	le64 mptr;
	le64 prp1, prp2;
	le32 cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_sqe) == 64, "s4.2");
#define NVME_SQE_FUSE GENMASK64(1, 0)
#define NVME_SQE_PSDT GENMASK64(7, 6)

struct nvme_cqe {
	le32 result;
	le32 reserved;
	le16 sq_head, sqid;
	le16 cid;
	le16 status; /* bit 0 is the phase tag */
};
_Static_assert(sizeof(struct nvme_cqe) == 16, "s4.6");
#define NVME_CQE_PHASE BIT64(0)

/* s4.6.1 Status field, as in bits 15:1 of the entry shifted down: SC 7:0, SCT 10:8 */
enum nvme_status {
	NVME_OK = 0x000,
	NVME_INVALID_OPCODE = 0x001,
	NVME_INVALID_FIELD = 0x002,
	NVME_DATA_TRANSFER_ERROR = 0x004,
	NVME_INTERNAL_ERROR = 0x006,
	NVME_ABORT_REQUESTED = 0x007,
	NVME_INVALID_NAMESPACE = 0x00b,
	NVME_COMMAND_SEQUENCE = 0x00c,
	NVME_INVALID_PRP_OFFSET = 0x013,
	NVME_WRITE_PROTECTED = 0x020,
	NVME_LBA_OUT_OF_RANGE = 0x080,
	NVME_CAPACITY_EXCEEDED = 0x081,
	NVME_NAMESPACE_NOT_READY = 0x082,
	NVME_INVALID_CQ = 0x100,
	NVME_INVALID_QID = 0x101,
	NVME_INVALID_QUEUE_SIZE = 0x102,
	NVME_AER_LIMIT = 0x105,
	NVME_INVALID_VECTOR = 0x108,
	NVME_INVALID_LOG_PAGE = 0x109,
	NVME_INVALID_QUEUE_DELETION = 0x10c,
	NVME_FEATURE_NOT_SAVEABLE = 0x10d,
	NVME_FEATURE_NOT_CHANGEABLE = 0x10e,
	NVME_FEATURE_NOT_NS_SPECIFIC = 0x10f,
	NVME_WRITE_FAULT = 0x280,
	NVME_UNRECOVERED_READ = 0x281,
	NVME_COMPARE_FAILURE = 0x285,
	NVME_MORE = 0x2000,
	NVME_DNR = 0x4000,
};
#define NVME_STATUS_CODE 0x7ff

/* s5 Admin commands, s6 NVM commands */
enum nvme_admin_opcode {
	NVME_ADMIN_DELETE_SQ = 0x00,
	NVME_ADMIN_CREATE_SQ = 0x01,
	NVME_ADMIN_GET_LOG = 0x02,
	NVME_ADMIN_DELETE_CQ = 0x04,
	NVME_ADMIN_CREATE_CQ = 0x05,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_ASYNC_EVENT = 0x0c,
};

enum nvme_io_opcode {
	NVME_IO_FLUSH = 0x00,
	NVME_IO_WRITE = 0x01,
	NVME_IO_READ = 0x02,
	NVME_IO_COMPARE = 0x05,
	NVME_IO_WRITE_ZEROES = 0x08,
	NVME_IO_DATASET_MGMT = 0x09,
};

#define NVME_NSID_ALL 0xffffffffU

/* s5.3, s5.4 Create I/O queue */
#define NVME_CREATE_QID GENMASK64(15, 0)
#define NVME_CREATE_QSIZE GENMASK64(31, 16)
#define NVME_CREATE_PC BIT64(0)
#define NVME_CREATE_CQ_IEN BIT64(1)
#define NVME_CREATE_CQ_IV GENMASK64(31, 16)
#define NVME_CREATE_SQ_CQID GENMASK64(31, 16)

/* s5.1 Abort */
#define NVME_ABORT_SQID GENMASK64(15, 0)
#define NVME_ABORT_CID GENMASK64(31, 16)

/* s5.2.1 Asynchronous event: result DW0 */
#define NVME_EVENT_INFO GENMASK64(15, 8)
#define NVME_EVENT_LOG GENMASK64(23, 16)
enum nvme_event_type { NVME_EVENT_ERROR, NVME_EVENT_SMART, NVME_EVENT_TYPES };
#define NVME_EVENT_INVALID_DOORBELL 0
#define NVME_EVENT_INVALID_DOORBELL_VALUE 1
#define NVME_EVENT_TEMPERATURE 1

/* s5.14 Get Log Page */
#define NVME_GET_LOG_LID GENMASK64(7, 0)
#define NVME_GET_LOG_RAE BIT64(15)
#define NVME_GET_LOG_NUMDL GENMASK64(31, 16)
#define NVME_GET_LOG_NUMDU GENMASK64(15, 0)
enum nvme_log_id {
	NVME_LOG_ERROR = 0x01,
	NVME_LOG_SMART = 0x02,
	NVME_LOG_FIRMWARE = 0x03,
	NVME_LOG_EFFECTS = 0x05,
};

struct nvme_error_entry {
	le64 count;
	le16 sqid, cid;
	le16 status;   /* as in the completion, phase included */
	le16 location; /* byte 7:0 and bit 10:8 of the bad field; 0xffff: none */
	le64 lba;
	le32 nsid;
	uint8_t vendor, trtype, reserved1[2];
	le64 specific;
	uint8_t reserved2[24];
};
_Static_assert(sizeof(struct nvme_error_entry) == 64, "s5.14.1.1");

struct nvme_u128 {
	le64 low, high;
};

struct nvme_smart_log {
	uint8_t critical_warning;
	uint8_t temperature[2]; /* kelvin, not aligned */
	uint8_t spare, spare_threshold, used, reserved1[26];
	struct nvme_u128 data_read, data_written; /* thousands of 512 bytes, rounded up */
	struct nvme_u128 host_reads, host_writes;
	struct nvme_u128 busy_minutes, power_cycles, power_on_hours, unsafe_shutdowns;
	struct nvme_u128 media_errors, error_entries;
	le32 warning_minutes, critical_minutes;
	uint8_t reserved2[512 - 200];
};
_Static_assert(sizeof(struct nvme_smart_log) == 512, "s5.14.1.2");
#define NVME_SMART_TEMPERATURE BIT64(1)

struct nvme_firmware_log {
	uint8_t active_slot, reserved1[7];
	char slots[7][8];
	uint8_t reserved2[512 - 64];
};
_Static_assert(sizeof(struct nvme_firmware_log) == 512, "s5.14.1.3");

struct nvme_effects_log {
	le32 admin[256], io[256];
	uint8_t reserved[2048];
};
_Static_assert(sizeof(struct nvme_effects_log) == 4096, "s5.14.1.5");
#define NVME_EFFECT_SUPPORTED BIT64(0)
#define NVME_EFFECT_CHANGES_DATA BIT64(1)

/* s5.15 Identify */
#define NVME_IDENTIFY_SIZE 4096
#define NVME_IDENTIFY_CNS GENMASK64(7, 0)
#define NVME_IDENTIFY_CSI GENMASK64(31, 24)
enum nvme_cns {
	NVME_CNS_NAMESPACE = 0x00,
	NVME_CNS_CONTROLLER = 0x01,
	NVME_CNS_ACTIVE_LIST = 0x02,
	NVME_CNS_DESCRIPTORS = 0x03,
	NVME_CNS_NVM_NAMESPACE = 0x05, /* NVMe 2.0; Linux asks any controller for 06h */
	NVME_CNS_NVM_CONTROLLER = 0x06,
};

struct nvme_power_state {
	le16 max_power; /* centiwatts */
	uint8_t reserved1[2];
	le32 entry_latency_us, exit_latency_us;
	uint8_t reserved2[20];
};
_Static_assert(sizeof(struct nvme_power_state) == 32, "s5.15.2.2");

struct nvme_id_ctrl {
	le16 vid, ssvid;
	char sn[20], mn[40], fr[8];
	uint8_t rab, ieee[3], cmic, mdts;
	le16 cntlid;
	le32 ver, rtd3r, rtd3e, oaes, ctratt;
	le16 rrls;
	uint8_t reserved1[9], cntrltype, fguid[16];
	le16 crdt[3];
	uint8_t reserved2[122];
	le16 oacs; /* byte 256 */
	uint8_t acl, aerl, frmw, lpa, elpe, npss, avscc, apsta;
	le16 wctemp, cctemp, mtfa;
	le32 hmpre, hmmin;
	uint8_t tnvmcap[16], unvmcap[16];
	le32 rpmbs;
	le16 edstt;
	uint8_t dsto, fwug;
	le16 kas, hctma, mntmt, mxtmt;
	le32 sanicap, hmminds;
	le16 hmmaxd, nsetidmax, endgidmax;
	uint8_t anatt, anacap;
	le32 anagrpmax, nanagrpid, pels;
	uint8_t reserved3[156];
	uint8_t sqes, cqes; /* byte 512 */
	le16 maxcmd;
	le32 nn;
	le16 oncs, fuses;
	uint8_t fna, vwc;
	le16 awun, awupf;
	uint8_t nvscc, nwpc;
	le16 acwu, reserved4;
	le32 sgls, mnan;
	uint8_t reserved5[224];
	char subnqn[256]; /* byte 768 */
	uint8_t reserved6[1024];
	struct nvme_power_state psd[32]; /* byte 2048 */
	uint8_t vendor[1024];
};
_Static_assert(sizeof(struct nvme_id_ctrl) == NVME_IDENTIFY_SIZE, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, cntrltype) == 111, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, oacs) == 256, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, pels) == 352, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, sqes) == 512, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, sgls) == 536, "s5.15.2.2");
_Static_assert(offsetof(struct nvme_id_ctrl, subnqn) == 768, "s5.15.2.2");

#define NVME_CNTRLTYPE_IO 1
#define NVME_LPA_EFFECTS BIT64(1)
#define NVME_LPA_EXTENDED BIT64(2)
#define NVME_FRMW_SLOT1_RO BIT64(0)
#define NVME_FRMW_SLOTS(n) ((n) << 1)
#define NVME_ONCS_COMPARE BIT64(0)
#define NVME_ONCS_DSM BIT64(2)
#define NVME_ONCS_WRITE_ZEROES BIT64(3)
#define NVME_ONCS_FEATURE_SELECT BIT64(4)
#define NVME_VWC_PRESENT BIT64(0)
#define NVME_VWC_FLUSH_ALL (3 << 1) /* Flush takes NSID FFFFFFFFh */

struct nvme_lba_format {
	le16 metadata_bytes;
	uint8_t data_lg2, performance;
};

struct nvme_id_ns {
	le64 nsze, ncap, nuse;
	uint8_t nsfeat, nlbaf, flbas, mc, dpc, dps, nmic, rescap, fpi, dlfeat;
	le16 nawun, nawupf, nacwu, nabsn, nabo, nabspf, noiob;
	uint8_t nvmcap[16];
	le16 npwg, npwa, npdg, npda, nows;
	uint8_t reserved1[18];
	le32 anagrpid;
	uint8_t reserved2[3], nsattr;
	le16 nvmsetid, endgid;
	uint8_t nguid[16], eui64[8];
	struct nvme_lba_format lbaf[16];
	uint8_t reserved3[192];
	uint8_t vendor[3712];
};
_Static_assert(sizeof(struct nvme_id_ns) == NVME_IDENTIFY_SIZE, "s5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, nsattr) == 99, "s5.15.2.1");
_Static_assert(offsetof(struct nvme_id_ns, lbaf) == 128, "s5.15.2.1");
#define NVME_DLFEAT_READS_ZERO 1
#define NVME_DLFEAT_WRITE_ZEROES_DEAC BIT64(3)
#define NVME_NSATTR_WRITE_PROTECTED BIT64(0)

struct nvme_ns_descriptor {
	uint8_t type, length, reserved[2];
};
#define NVME_NIDT_UUID 3

/* NVM Command Set Specification 1.0 s4.1.5.4: Identify, CNS 06h */
struct nvme_id_ctrl_nvm {
	uint8_t vsl, wzsl, wusl, dmrl;
	le32 dmrsl;
	le64 dmsl;
	uint8_t reserved[4080];
};
_Static_assert(sizeof(struct nvme_id_ctrl_nvm) == NVME_IDENTIFY_SIZE, "NVM 1.0 s4.1.5.4");

/* s5.13, s5.21 Get and Set Features */
#define NVME_FEATURE_FID GENMASK64(7, 0)
#define NVME_FEATURE_SEL GENMASK64(10, 8)
#define NVME_FEATURE_SAVE BIT64(31)
enum nvme_feature_id {
	NVME_FEATURE_ARBITRATION = 0x01,
	NVME_FEATURE_POWER = 0x02,
	NVME_FEATURE_TEMPERATURE = 0x04,
	NVME_FEATURE_ERROR_RECOVERY = 0x05,
	NVME_FEATURE_WRITE_CACHE = 0x06,
	NVME_FEATURE_QUEUES = 0x07,
	NVME_FEATURE_COALESCING = 0x08,
	NVME_FEATURE_VECTOR = 0x09,
	NVME_FEATURE_ATOMICITY = 0x0a,
	NVME_FEATURE_EVENTS = 0x0b,
};
enum nvme_feature_select { NVME_SEL_CURRENT, NVME_SEL_DEFAULT, NVME_SEL_SAVED, NVME_SEL_CAPS };
#define NVME_FEATURE_CAP_NS_SPECIFIC BIT64(1)
#define NVME_FEATURE_CAP_CHANGEABLE BIT64(2)
#define NVME_TEMPERATURE_TH GENMASK64(15, 0)
#define NVME_TEMPERATURE_SENSOR GENMASK64(19, 16)
#define NVME_TEMPERATURE_TYPE GENMASK64(21, 20)

/* s6 NVM commands */
#define NVME_RW_NLB GENMASK64(15, 0)
#define NVME_RW_DEAC BIT64(25)
#define NVME_RW_FUA BIT64(30)
#define NVME_DSM_NR GENMASK64(7, 0)
#define NVME_DSM_DEALLOCATE BIT64(2)
#define NVME_DSM_RANGES_MAX 256
struct nvme_dsm_range {
	le32 attributes, blocks;
	le64 slba;
};
_Static_assert(sizeof(struct nvme_dsm_range) == 16, "s6.7");

#endif
