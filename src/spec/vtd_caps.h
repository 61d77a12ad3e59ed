/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VT-d capability registers: VT-d 4.1 s11.4.2 Capability Register and s11.4.3
 * Extended Capability Register. Both halves read them: the software IOMMU reports
 * them through IOMMU_GET_HW_INFO, the vIOMMU derives its own from them.
 */
#ifndef SPEC_VTD_CAPS_H
#define SPEC_VTD_CAPS_H

#include "base/bits.h"

#define VTD_CAP_ND GENMASK64(2, 0) /* domain ids: 2^(4 + 2 * ND) */
#define VTD_CAP_RWBF BIT64(4)
#define VTD_CAP_PLMR BIT64(5)
#define VTD_CAP_PHMR BIT64(6)
#define VTD_CAP_CM BIT64(7)
#define VTD_CAP_SAGAW GENMASK64(12, 8)
#define VTD_CAP_SAGAW_39 BIT64(9)
#define VTD_CAP_SAGAW_48 BIT64(10)
#define VTD_CAP_MGAW GENMASK64(21, 16) /* address bits - 1 */
#define VTD_CAP_ZLR BIT64(22)
#define VTD_CAP_FRO GENMASK64(33, 24) /* 16-byte units */
#define VTD_CAP_SSLPS GENMASK64(37, 34)
#define VTD_CAP_SSLPS_2M BIT64(34)
#define VTD_CAP_SSLPS_1G BIT64(35)
#define VTD_CAP_PSI BIT64(39)
#define VTD_CAP_NFR GENMASK64(47, 40) /* fault recording registers - 1 */
#define VTD_CAP_MAMV GENMASK64(53, 48)
#define VTD_CAP_DWD BIT64(54)
#define VTD_CAP_DRD BIT64(55)
#define VTD_CAP_FS1GP BIT64(56)
#define VTD_CAP_PI BIT64(59)
#define VTD_CAP_FS5LP BIT64(60)
#define VTD_CAP_ECMDS BIT64(61)
#define VTD_CAP_ESIRTPS BIT64(62)
#define VTD_CAP_ESRTPS BIT64(63)

#define VTD_ECAP_C BIT64(0)
#define VTD_ECAP_QI BIT64(1)
#define VTD_ECAP_DT BIT64(2)
#define VTD_ECAP_IR BIT64(3)
#define VTD_ECAP_EIM BIT64(4)
#define VTD_ECAP_PT BIT64(6)
#define VTD_ECAP_SC BIT64(7)
#define VTD_ECAP_IRO GENMASK64(17, 8) /* 16-byte units */
#define VTD_ECAP_MHMV GENMASK64(23, 20)
#define VTD_ECAP_MTS BIT64(25)
#define VTD_ECAP_NEST BIT64(26)
#define VTD_ECAP_PRS BIT64(29)
#define VTD_ECAP_ERS BIT64(30)
#define VTD_ECAP_SRS BIT64(31)
#define VTD_ECAP_NWFS BIT64(33)
#define VTD_ECAP_EAFS BIT64(34)
#define VTD_ECAP_PSS GENMASK64(39, 35) /* PASID bits - 1 */
#define VTD_ECAP_PASID BIT64(40)
#define VTD_ECAP_DIT BIT64(41)
#define VTD_ECAP_PDS BIT64(42)
#define VTD_ECAP_SMTS BIT64(43)
#define VTD_ECAP_VCS BIT64(44)
#define VTD_ECAP_SSADS BIT64(45)
#define VTD_ECAP_SSTS BIT64(46)
#define VTD_ECAP_FSTS BIT64(47)
#define VTD_ECAP_SMPWCS BIT64(48)
#define VTD_ECAP_RPS BIT64(49)

#endif
