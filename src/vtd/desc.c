// SPDX-License-Identifier: BSD-3-Clause
/* See desc.h. One function per descriptor type, named after its section of VT-d 4.1. */
#include "vtd/desc.h"

#include <string.h>

#define DESC_TYPE_LOW GENMASK64(3, 0)
#define DESC_TYPE_HIGH GENMASK64(11, 9)
#define DESC_TYPE_MASK (DESC_TYPE_LOW | DESC_TYPE_HIGH)
#define DESC_G GENMASK64(5, 4)
#define DESC_DID GENMASK64(31, 16)
#define DESC_PASID GENMASK64(51, 32)

#define DESC_ADDR GENMASK64(63, 12) /* qword 1 */
#define DESC_IH BIT64(6)
#define DESC_AM GENMASK64(5, 0)
#define DESC_ADDR_FIELDS (DESC_ADDR | DESC_IH | DESC_AM)

/*
 * The largest range one descriptor may name. CAP.MAMV says it for second-stage
 * translations only; a PASID-based descriptor may have any mask (VT-d 4.1 s11.4.2).
 */
enum { MAX_ADDRESS_MASK = 18, EVERY_ADDRESS_MASK = 64 - PAGE_SHIFT_4K };

typedef unsigned int decode_fn(const uint64_t *qw, struct vtd_desc *d);

static bool others_set(const uint64_t *qw, uint64_t fields0, uint64_t fields1)
{
	return (qw[0] & ~(fields0 | DESC_TYPE_MASK)) | (qw[1] & ~fields1) | qw[2] | qw[3];
}

/* Address, mask and hint of the two IOTLB descriptors; both call it for their page scope. */
static unsigned int decode_pages(uint64_t qw1, struct vtd_desc *d)
{
	unsigned int am = FIELD_GET(DESC_AM, qw1);

	d->scope = VTD_SCOPE_PAGES;
	d->npages = BIT64(am);
	d->addr = qw1 & DESC_ADDR & ~((d->npages << PAGE_SHIFT_4K) - 1);
	d->leaf = qw1 & DESC_IH;
	return 0;
}

/* s6.5.2.1 Context-cache Invalidate Descriptor */
static unsigned int decode_context(const uint64_t *qw, struct vtd_desc *d)
{
	static const uint16_t ignored_bits[4] = { 0, 4, 6, 7 };

	if (others_set(qw, DESC_G | DESC_DID | GENMASK64(49, 32), 0))
		return VTD_IQEI_RESERVED;
	switch (FIELD_GET(DESC_G, qw[0])) {
	case 1:
		d->scope = VTD_SCOPE_GLOBAL;
		break;
	case 2:
		d->scope = VTD_SCOPE_DOMAIN;
		break;
	case 3:
		d->scope = VTD_SCOPE_DEVICE;
		break;
	default:
		return VTD_IQEI_RESERVED;
	}
	d->did = FIELD_GET(DESC_DID, qw[0]);
	d->sid = FIELD_GET(GENMASK64(47, 32), qw[0]);
	d->sid_ignore = ignored_bits[FIELD_GET(GENMASK64(49, 48), qw[0])];
	return 0;
}

/* s6.5.2.3 IOTLB Invalidate Descriptor */
static unsigned int decode_iotlb(const uint64_t *qw, struct vtd_desc *d)
{
	/* bits 7:6 ask for draining, which is always done */
	if (others_set(qw, GENMASK64(7, 4) | DESC_DID, DESC_ADDR_FIELDS))
		return VTD_IQEI_RESERVED;
	d->did = FIELD_GET(DESC_DID, qw[0]);
	switch (FIELD_GET(DESC_G, qw[0])) {
	case 1:
		d->scope = VTD_SCOPE_GLOBAL;
		return 0;
	case 2:
		d->scope = VTD_SCOPE_DOMAIN;
		return 0;
	case 3:
		return FIELD_GET(DESC_AM, qw[1]) > MAX_ADDRESS_MASK ? VTD_IQEI_RESERVED
								    : decode_pages(qw[1], d);
	default:
		return VTD_IQEI_RESERVED;
	}
}

/*
 * Address and S of the two device-TLB descriptors: with S the lowest address bit that is 0 says
 * how large the range is, and belongs to it, as do the bits below. No such bit: everything.
 */
static void decode_device_pages(uint64_t qw1, bool sized, struct vtd_desc *d)
{
	uint64_t addr = qw1 & DESC_ADDR, ones = addr | (PAGE_SIZE_4K - 1);
	uint64_t low = sized ? (ones ^ (ones + 1)) : PAGE_SIZE_4K - 1;

	d->scope = VTD_SCOPE_PAGES;
	d->addr = addr & ~low;
	d->npages = (low >> PAGE_SHIFT_4K) + 1;
}

/* s6.5.2.5 Device-TLB Invalidate Descriptor */
static unsigned int decode_device_tlb(const uint64_t *qw, struct vtd_desc *d)
{
	if (others_set(qw, GENMASK64(20, 12) | GENMASK64(47, 32) | GENMASK64(63, 52),
		       DESC_ADDR | BIT64(0)))
		return VTD_IQEI_RESERVED;
	d->sid = FIELD_GET(GENMASK64(47, 32), qw[0]);
	decode_device_pages(qw[1], qw[1] & BIT64(0), d);
	return 0;
}

/* s6.5.2.7 Interrupt Entry Cache Invalidate Descriptor */
static unsigned int decode_iec(const uint64_t *qw, struct vtd_desc *d)
{
	uint32_t mask_bits = FIELD_GET(GENMASK64(31, 27), qw[0]);

	if (others_set(qw, BIT64(4) | GENMASK64(31, 27) | GENMASK64(47, 32), 0))
		return VTD_IQEI_RESERVED;
	d->num_irtes = 1u << 16;
	if (!(qw[0] & BIT64(4))) /* global */
		return 0;
	d->num_irtes = 1u << MIN(mask_bits, 16u);
	d->first_irte = FIELD_GET(GENMASK64(47, 32), qw[0]) & ~(d->num_irtes - 1);
	return 0;
}

/* s6.5.2.8 Invalidation Wait Descriptor */
static unsigned int decode_wait(const uint64_t *qw, struct vtd_desc *d)
{
	/* fence (bit 6): everything before a wait is done anyway */
	if (others_set(qw, GENMASK64(7, 4) | GENMASK64(63, 32), GENMASK64(63, 2)))
		return VTD_IQEI_RESERVED;
	d->wait.drain = qw[0] & BIT64(7);
	d->wait.interrupt = qw[0] & BIT64(4);
	d->wait.write_status = qw[0] & BIT64(5);
	d->wait.status = FIELD_GET(GENMASK64(63, 32), qw[0]);
	d->wait.status_addr.v = qw[1] & GENMASK64(63, 2);
	return 0;
}

/* s6.5.2.4 PASID-based-IOTLB Invalidate Descriptor */
static unsigned int decode_pasid_iotlb(const uint64_t *qw, struct vtd_desc *d)
{
	if (others_set(qw, DESC_G | DESC_DID | DESC_PASID, DESC_ADDR_FIELDS))
		return VTD_IQEI_RESERVED;
	d->did = FIELD_GET(DESC_DID, qw[0]);
	d->pasid = FIELD_GET(DESC_PASID, qw[0]);
	switch (FIELD_GET(DESC_G, qw[0])) {
	case 2:
		d->scope = VTD_SCOPE_PASID;
		return 0;
	case 3:
		if (FIELD_GET(DESC_AM, qw[1]) < EVERY_ADDRESS_MASK)
			return decode_pages(qw[1], d);
		d->scope = VTD_SCOPE_PASID;
		return 0;
	default:
		return VTD_IQEI_RESERVED;
	}
}

/* s6.5.2.2 PASID-cache Invalidate Descriptor */
static unsigned int decode_pasid_cache(const uint64_t *qw, struct vtd_desc *d)
{
	if (others_set(qw, DESC_G | DESC_DID | DESC_PASID, 0))
		return VTD_IQEI_RESERVED;
	d->did = FIELD_GET(DESC_DID, qw[0]);
	d->pasid = FIELD_GET(DESC_PASID, qw[0]);
	switch (FIELD_GET(DESC_G, qw[0])) {
	case 0:
		d->scope = VTD_SCOPE_DOMAIN;
		return 0;
	case 1:
		d->scope = VTD_SCOPE_PASID;
		return 0;
	case 3:
		d->scope = VTD_SCOPE_GLOBAL;
		return 0;
	default:
		return VTD_IQEI_RESERVED;
	}
}

/* s6.5.2.6 PASID-based-Device-TLB Invalidate Descriptor */
static unsigned int decode_pasid_device_tlb(const uint64_t *qw, struct vtd_desc *d)
{
	if (others_set(qw, GENMASK64(8, 4) | GENMASK64(63, 12), DESC_ADDR | BIT64(11) | BIT64(0)))
		return VTD_IQEI_RESERVED;
	d->sid = FIELD_GET(GENMASK64(31, 16), qw[0]);
	d->pasid = FIELD_GET(DESC_PASID, qw[0]);
	d->global = qw[1] & BIT64(0);
	decode_device_pages(qw[1], qw[1] & BIT64(11), d);
	return 0;
}

/* s7.7.1 Page Group Response Descriptor. Bit 2 of qword 1 once said "last page". */
static unsigned int decode_page_response(const uint64_t *qw, struct vtd_desc *d)
{
	if (others_set(qw, BIT64(4) | GENMASK64(31, 12) | DESC_PASID, GENMASK64(11, 2)))
		return VTD_IQEI_RESERVED;
	d->sid = FIELD_GET(GENMASK64(31, 16), qw[0]);
	d->pasid = FIELD_GET(DESC_PASID, qw[0]);
	d->response.has_pasid = qw[0] & BIT64(4);
	d->response.code = FIELD_GET(GENMASK64(15, 12), qw[0]);
	d->response.group = FIELD_GET(GENMASK64(11, 3), qw[1]);
	return 0;
}

static const struct {
	decode_fn *decode;
	bool wide; /* exists with 256 bits only */
} types[] = {
	[VTD_DESC_CONTEXT] = { decode_context, false },
	[VTD_DESC_IOTLB] = { decode_iotlb, false },
	[VTD_DESC_DEVICE_TLB] = { decode_device_tlb, false },
	[VTD_DESC_IEC] = { decode_iec, false },
	[VTD_DESC_WAIT] = { decode_wait, false },
	[VTD_DESC_PASID_IOTLB] = { decode_pasid_iotlb, true },
	[VTD_DESC_PASID_CACHE] = { decode_pasid_cache, true },
	[VTD_DESC_PASID_DEVICE_TLB] = { decode_pasid_device_tlb, true },
	[VTD_DESC_PAGE_RESPONSE] = { decode_page_response, true },
};

unsigned int vtd_desc_decode(const le64 *words, bool wide, struct vtd_desc *out)
{
	const uint64_t qw[4] = {
		le64_get(words[0]),
		le64_get(words[1]),
		wide ? le64_get(words[2]) : 0,
		wide ? le64_get(words[3]) : 0,
	};
	unsigned int type;

	type = FIELD_GET(DESC_TYPE_LOW, qw[0]) | FIELD_GET(DESC_TYPE_HIGH, qw[0]) << 4;
	if (type >= ARRAY_SIZE(types) || !types[type].decode)
		return VTD_IQEI_TYPE;
	if (types[type].wide && !wide)
		return VTD_IQEI_WIDTH;
	*out = (struct vtd_desc){ .type = type };
	return types[type].decode(qw, out);
}
