// SPDX-License-Identifier: BSD-3-Clause
/*
 * See smmu_hw.h. What an access meets, in this order (SMMUv3 IHI0070G.b s7.3.22 Event queue
 * record priorities): the entry of its stream, its SSID against that entry, and then the
 * domain of the driver, stage 2 alone, or both stages (smmu_hw_walk.c).
 */
#include "host/soft/smmuv3/smmu_hw_impl.h"

#include "base/alloc.h"
#include "base/sorted.h"
#include "endpoint/endpoint.h"
#include "spec/smmu_caps.h"

#include <errno.h>
#include <string.h>

enum { TLB_CAPACITY = 65536, QUEUE_LG2 = 19, LARGEST_PAGE_LG2 = 30 };

int smmu_hw_create(const struct smmu_hw_setup *config, struct smmu_hw **out)
{
	struct smmu_hw *hw = alloc_object(struct smmu_hw);
	int ret;

	if (!hw)
		return -ENOMEM;
	ret = iotlb_create(TLB_CAPACITY, smmu_tlb_shifts, SMMU_TLB_NUM_CLASSES, SMMU_TLB_ALL_LEAVES,
			   &hw->tlb);
	if (ret) {
		free(hw);
		return ret;
	}
	hw->config = *config;
	rwlock_init(&hw->dma_lock);
	mutex_init(&hw->cache_lock);
	mutex_init(&hw->stall_lock);
	pthread_cond_init(&hw->resumed, NULL);
	*out = hw;
	return 0;
}

void smmu_hw_destroy(struct smmu_hw *hw)
{
	if (!hw)
		return;
	for (size_t sid = 0; sid < ARRAY_SIZE(hw->streams); sid++) {
		if (hw->streams[sid])
			free(hw->streams[sid]->ssids);
		free(hw->streams[sid]);
	}
	iotlb_destroy(hw->tlb);
	rwlock_fini(&hw->dma_lock);
	mutex_fini(&hw->cache_lock);
	pthread_cond_destroy(&hw->resumed);
	mutex_fini(&hw->stall_lock);
	free(hw);
}

/*
 * SMMUv3.1 with what later ones brought for guests: ranges (RIL), page sizes that may change
 * in place (BBML), S2FWB, without which Linux gives no vIOMMU. Not there: page requests in a
 * queue (endpoints hand them to the driver part), split-stage ATS, 52-bit addresses, small
 * tables, EL2 streams.
 */
struct smmu_hw_idr smmu_hw_idr(bool stalls)
{
	uint32_t model = stalls ? SMMU_STALL_MODEL_BOTH : SMMU_STALL_MODEL_NONE;

	return (struct smmu_hw_idr){
		.idr = {
			[0] = SMMU_IDR0_S2P | SMMU_IDR0_S1P |
			      FIELD_PREP(SMMU_IDR0_TTF, SMMU_TTF_AARCH64) | SMMU_IDR0_COHACC |
			      FIELD_PREP(SMMU_IDR0_HTTU, SMMU_HTTU_ACCESS_DIRTY) |
			      SMMU_IDR0_ATS | SMMU_IDR0_NS1ATS | SMMU_IDR0_ASID16 |
			      SMMU_IDR0_VMID16 | SMMU_IDR0_CD2L |
			      FIELD_PREP(SMMU_IDR0_TTENDIAN, SMMU_TTENDIAN_LITTLE) |
			      FIELD_PREP(SMMU_IDR0_STALL_MODEL, model) |
			      SMMU_IDR0_TERM_MODEL |
			      FIELD_PREP(SMMU_IDR0_ST_LEVEL, SMMU_ST_LEVEL_2),
			[1] = FIELD_PREP(SMMU_IDR1_SIDSIZE, SMMU_SID_BITS) |
			      FIELD_PREP(SMMU_IDR1_SSIDSIZE, SMMU_SSID_BITS) |
			      FIELD_PREP(SMMU_IDR1_EVENTQS, QUEUE_LG2) |
			      FIELD_PREP(SMMU_IDR1_CMDQS, QUEUE_LG2),
			[3] = SMMU_IDR3_HAD | SMMU_IDR3_XNX | SMMU_IDR3_FWB | SMMU_IDR3_RIL |
			      FIELD_PREP(SMMU_IDR3_BBML, 2),
			[5] = FIELD_PREP(SMMU_IDR5_OAS, SMMU_OAS_48_BIT) | SMMU_IDR5_GRAN4K |
			      SMMU_IDR5_GRAN16K | SMMU_IDR5_GRAN64K |
			      FIELD_PREP(SMMU_IDR5_STALL_MAX, stalls ? SMMU_HW_STALL_MAX : 0),
		},
		.aidr = FIELD_PREP(SMMU_AIDR_MINOR, 1),
	};
}

static struct smmu_stream *make_stream(struct smmu_hw *hw, nst_rid sid) REQUIRES(hw->dma_lock)
{
	if (!hw->streams[sid])
		hw->streams[sid] = alloc_object(struct smmu_stream);
	return hw->streams[sid];
}

int smmu_hw_set_ste(struct smmu_hw *hw, nst_rid sid, const struct smmu_hw_ste *ste)
{
	struct smmu_hw_ste abort_ste = { .config = SMMU_HW_ABORT };
	struct smmu_stream *stream;

	if (ste && ste->config == SMMU_HW_NESTED && ste->map.dirty)
		return -EINVAL;
	if (ste && ste->map.stalls && !hw->config.stalls)
		return -EINVAL;
	rwlock_write(&hw->dma_lock);
	stream = ste ? make_stream(hw, sid) : hw->streams[sid];
	if (stream) {
		stream->ste = ste ? *ste : abort_ste;
		stream->s1 = smmu_decode_s1(stream->ste.s1, hw->config.stalls);
		smmu_forget_cds(stream);
	}
	rwlock_write_end(&hw->dma_lock);
	return ste && !stream ? -ENOMEM : 0;
}

/* The index of @ssid among the stream's, or of the first above it. */
static size_t ssid_index(const struct smmu_stream *stream, uint32_t ssid)
{
	return LOWER_BOUND(stream->num_ssids, i, stream->ssids[i].ssid < ssid);
}

static const struct smmu_hw_map *find_ssid(const struct smmu_stream *stream, uint32_t ssid)
{
	size_t i = ssid_index(stream, ssid);

	return i < stream->num_ssids && stream->ssids[i].ssid == ssid ? &stream->ssids[i].map
								      : NULL;
}

static void remove_ssid(struct smmu_stream *stream, uint32_t ssid)
{
	size_t i = ssid_index(stream, ssid);

	if (!find_ssid(stream, ssid))
		return;
	stream->num_ssids--;
	memmove(&stream->ssids[i], &stream->ssids[i + 1],
		(stream->num_ssids - i) * sizeof(*stream->ssids));
}

static int put_ssid(struct smmu_stream *stream, uint32_t ssid, const struct smmu_hw_map *map)
{
	size_t i = ssid_index(stream, ssid);
	struct smmu_ssid_map *ssids;

	if (!find_ssid(stream, ssid)) {
		ssids = alloc_resize(stream->ssids, stream->num_ssids + 1, sizeof(*ssids));
		if (!ssids)
			return -ENOMEM;
		memmove(&ssids[i + 1], &ssids[i], (stream->num_ssids - i) * sizeof(*ssids));
		stream->ssids = ssids;
		stream->num_ssids++;
	}
	stream->ssids[i] = (struct smmu_ssid_map){ ssid, *map };
	return 0;
}

int smmu_hw_set_ssid(struct smmu_hw *hw, nst_rid sid, uint32_t ssid, const struct smmu_hw_map *map)
{
	struct smmu_stream *stream;
	int ret = 0;

	if (map && (ssid >> SMMU_SSID_BITS || (map->stalls && !hw->config.stalls)))
		return -EINVAL;
	rwlock_write(&hw->dma_lock);
	stream = map ? make_stream(hw, sid) : hw->streams[sid];
	if (map)
		ret = stream ? put_ssid(stream, ssid, map) : -ENOMEM;
	else if (stream)
		remove_ssid(stream, ssid);
	rwlock_write_end(&hw->dma_lock);
	return ret;
}

void smmu_hw_map_begin(struct smmu_hw *hw) NO_LOCK_ANALYSIS
{
	rwlock_write(&hw->dma_lock);
}

void smmu_hw_map_end(struct smmu_hw *hw, bool flush) NO_LOCK_ANALYSIS
{
	if (flush)
		iotlb_flush_all(hw->tlb);
	rwlock_write_end(&hw->dma_lock);
}

void smmu_hw_drop_invalidation(struct smmu_hw *hw, uint64_t after_dma_write_bytes)
{
	drop_hook_set(&hw->drop, after_dma_write_bytes);
}

/* Where the addresses of @a end; NULL: the stream is SMMU_HW_ABORT for it. */
static const struct smmu_hw_map *map_of(const struct smmu_stream *stream,
					const struct smmu_access *a)
{
	const struct smmu_hw_map *map = NULL;

	if (a->ssv && stream->ste.config != SMMU_HW_NESTED)
		map = find_ssid(stream, a->ssid);
	return map || stream->ste.config == SMMU_HW_ABORT ? map : &stream->ste.map;
}

static bool refuse(struct smmu_fault *fault, enum smmu_event_type type)
{
	*fault = (struct smmu_fault){ .type = type, .cls = SMMU_CLASS_IN };
	return false;
}

/* s5.2 Config = 0b000: no event; the number is for the log. */
static bool refuse_silently(struct smmu_fault *fault)
{
	*fault = (struct smmu_fault){ .type = SMMU_E_ABORTED, .silent = true };
	return false;
}

const struct mem_range *smmu_find_ipa(const struct smmu_hw_map *map, uint64_t ipa, bool write,
				      enum smmu_event_class cls, struct smmu_fault *fault)
{
	uint64_t left;
	const struct mem_range *r = range_map_find(map->s2, ipa, &left);

	if (r && (r->perm & (write ? RANGE_WRITE : RANGE_READ)))
		return r;
	*fault = (struct smmu_fault){
		.type = r ? SMMU_F_PERMISSION : SMMU_F_TRANSLATION,
		.may_stall = map->stalls,
		.s2 = true,
		.cls = cls,
		.ipa = ipa,
	};
	return NULL;
}

/* Through one map alone. @stage1: it stands for stage 1 tables, so the fault is theirs. */
static bool translate_flat(const struct smmu_hw_map *map, const struct smmu_access *a, bool stage1,
			   struct smmu_translation *t, struct smmu_fault *fault)
{
	const struct mem_range *r;
	bool track = map->dirty && map->dirty->enabled;

	if (!stage1 && a->address >> SMMU_OUTPUT_BITS)
		return refuse(fault, SMMU_F_ADDR_SIZE);
	r = smmu_find_ipa(map, a->address, a->write, SMMU_CLASS_IN, fault);
	if (!r && stage1) {
		fault->s2 = false;
		fault->ipa = 0;
	}
	if (!r)
		return false;
	if (track && a->write && !a->peek)
		dirty_map_mark(map->dirty, a->address);
	t->host = smmu_host_of(r, a->address);
	t->left = r->last - a->address;
	t->left += t->left != UINT64_MAX;
	t->page_lg2 = smmu_contiguous_lg2(r, a->address, track ? PAGE_SHIFT_4K : LARGEST_PAGE_LG2);
	return true;
}

/* May it have a CD: s5.2 S1CDMax and S1DSS. *@bypass: it needs none, stage 2 is all. */
static bool check_substream(const struct smmu_s1_config *s1, const struct smmu_access *a,
			    bool *bypass, struct smmu_fault *fault)
{
	bool disabled;

	*bypass = false;
	if (!s1->legal)
		return refuse(fault, SMMU_C_BAD_STE);
	if (a->ssv && (!s1->cd_max || a->ssid >> s1->cd_max))
		return refuse(fault, SMMU_C_BAD_SUBSTREAMID);
	if (!s1->cd_max)
		return true;
	*bypass = !a->ssv && s1->dss == SMMU_S1DSS_BYPASS;
	/* CD 0 serves requests without an SSID, or those with SSID 0, not both */
	disabled = a->ssv ? !a->ssid && s1->dss == SMMU_S1DSS_SSID0
			  : s1->dss != SMMU_S1DSS_SSID0 && !*bypass;
	return disabled ? refuse(fault, SMMU_F_STREAM_DISABLED) : true;
}

static bool translate_by_guest(struct smmu_hw *hw, struct smmu_stream *stream,
			       const struct smmu_access *a, struct smmu_translation *t,
			       struct smmu_fault *fault) REQUIRES_SHARED(hw->dma_lock)
{
	bool bypass;

	if (!check_substream(&stream->s1, a, &bypass, fault))
		return false;
	if (bypass)
		return translate_flat(&stream->ste.map, a, false, t, fault);
	return smmu_translate_nested(hw, stream, a, t, fault);
}

static bool translate(struct smmu_hw *hw, const struct smmu_access *a, struct smmu_translation *t,
		      struct smmu_fault *fault) REQUIRES_SHARED(hw->dma_lock)
{
	struct smmu_stream *stream = hw->streams[a->sid];
	const struct smmu_hw_map *of_ssid;

	if (!stream)
		return refuse_silently(fault);
	if (stream->ste.config == SMMU_HW_NESTED)
		return translate_by_guest(hw, stream, a, t, fault);
	of_ssid = a->ssv ? find_ssid(stream, a->ssid) : NULL;
	if (of_ssid)
		return translate_flat(of_ssid, a, true, t, fault);
	if (stream->ste.config == SMMU_HW_ABORT)
		return refuse_silently(fault);
	/* a domain of the driver has a table of CDs, of which this one is not valid */
	if (a->ssv)
		return refuse(fault, stream->ste.config == SMMU_HW_PAGING ? SMMU_C_BAD_CD
									  : SMMU_C_BAD_SUBSTREAMID);
	return translate_flat(&stream->ste.map, a, stream->ste.config == SMMU_HW_PAGING, t, fault);
}

static bool holds(const struct mem_range *r, uint64_t host, bool write)
{
	return host - r->hva.v <= r->last - r->start &&
	       (r->perm & (write ? RANGE_WRITE : RANGE_READ));
}

/* The range that has @host in its memory: the one of last time, else they are all looked at. */
static const struct mem_range *find_host(struct smmu_stream *stream, const struct range_map *map,
					 uint64_t host, bool write)
{
	size_t last = atomic_load_explicit(&stream->last_range, memory_order_relaxed);

	if (last < map->count && holds(&map->ranges[last], host, write))
		return &map->ranges[last];
	for (size_t i = 0; i < map->count; i++) {
		if (!holds(&map->ranges[i], host, write))
			continue;
		atomic_store_explicit(&stream->last_range, i, memory_order_relaxed);
		return &map->ranges[i];
	}
	return NULL;
}

/*
 * A translated request: the address is one that a reply gave, or that a guest made up. Only
 * memory that the stream could reach by some address is touched; the hardware that this is
 * a model of has no such check, unless it has a device permission table (s3.24).
 */
static bool use_translated(struct smmu_hw *hw, const struct smmu_access *a,
			   struct smmu_translation *t, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	struct smmu_stream *stream = hw->streams[a->sid];
	const struct smmu_hw_map *map = stream ? map_of(stream, a) : NULL;
	const struct mem_range *r;
	uint64_t offset;

	if (!map)
		return refuse_silently(fault);
	if (!stream->ste.ats)
		return refuse(fault, SMMU_F_TRANSL_FORBIDDEN);
	r = find_host(stream, map->s2, a->address, a->write);
	if (!r)
		return refuse(fault, SMMU_F_TRANSL_FORBIDDEN);
	offset = a->address - r->hva.v;
	/* tracking may have begun after the device was told that it may write */
	if (a->write && map->dirty && map->dirty->enabled)
		dirty_map_mark(map->dirty, r->start + offset);
	t->host = (uint8_t *)(uintptr_t)a->address;
	t->left = r->last - r->start - offset;
	t->left += t->left != UINT64_MAX;
	return true;
}

/* The sanitizer: does what was asked for still lead where the device TLB says? */
static void check_translated(struct smmu_hw *hw, const struct smmu_access *translated,
			     uint64_t untranslated) REQUIRES_SHARED(hw->dma_lock)
{
	const struct sanitizer_domain *domain =
		&map_of(hw->streams[translated->sid], translated)->domain;
	struct smmu_access a = *translated;
	struct smmu_translation now = { 0 };
	struct smmu_fault fault = { 0 };
	const void *used = (const void *)(uintptr_t)translated->address;

	a.address = untranslated;
	a.peek = true;
	if (translate(hw, &a, &now, &fault) && now.host == used)
		return;
	sanitizer_report_stale(hw->config.sanitizer,
			       &(struct dma_request_id){ a.sid, a.ssv ? a.ssid : NST_NO_PASID,
							 a.address, a.write },
			       domain, SANITIZER_DEVICE_TLB, (struct dma_outcome){ 0, used },
			       (struct dma_outcome){ fault.type, now.host });
}

/* What there is to say of a refused access, while entries cannot change. */
static void describe(struct smmu_hw *hw, const struct smmu_access *a, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	const struct smmu_stream *stream = hw->streams[a->sid];
	const struct smmu_hw_map *map = stream ? map_of(stream, a) : NULL;
	bool two_stages = stream && stream->ste.config == SMMU_HW_NESTED;

	fault->report.reason = fault->type;
	if (!map && stream && !a->ssv)
		map = &stream->ste.map;
	if (!map || !map->domain.hwpt.serial)
		return;
	fault->report.attached = true;
	fault->report.domain = map->domain;
	fault->report.unmapped = fault->type == SMMU_F_TRANSLATION && fault->s2 == two_stages;
	fault->report.ioas_addr = two_stages ? fault->ipa : a->address;
}

/* Out of the locks: @fault goes to the sanitizer and, if it has one, its event to the driver part.
 */
static void report(struct smmu_hw *hw, const struct smmu_access *a, const struct smmu_fault *fault)
{
	struct dma_request_id id = { a->sid, a->ssv ? a->ssid : NST_NO_PASID, a->address,
				     a->write };
	struct smmu_event event;

	sanitizer_report_fault(hw->config.sanitizer, &id, &fault->report);
	if (fault->silent || !hw->config.ops->event)
		return;
	event = smmu_make_event(a, fault);
	hw->config.ops->event(hw->config.opaque, a->sid, &event);
}

static struct smmu_access make_access(nst_rid sid, uint64_t address, uint32_t pasid, bool write,
				      bool privileged)
{
	bool ssv = pasid != NST_NO_PASID;

	return (struct smmu_access){
		.address = address,
		.sid = sid,
		.ssv = ssv,
		.ssid = ssv ? pasid : 0,
		.write = write,
		.privileged = ssv && privileged,
	};
}

/* As much of @left bytes as are of one page; 0 and *@fault if the access is refused. */
static size_t access_page(struct smmu_hw *hw, const struct smmu_access *a,
			  const struct endpoint_dma_request *req, uint64_t untranslated,
			  uint8_t *buf, size_t left, struct smmu_fault *fault)
{
	size_t chunk = MIN(left, PAGE_SIZE_4K - (a->address & (PAGE_SIZE_4K - 1)));
	struct smmu_translation t = { 0 };
	bool ok;

	rwlock_read(&hw->dma_lock);
	ok = req->translated ? use_translated(hw, a, &t, fault) : translate(hw, a, &t, fault);
	if (ok && req->translated && hw->config.check)
		check_translated(hw, a, untranslated);
	if (!ok)
		describe(hw, a, fault);
	chunk = ok ? MIN(chunk, t.left) : 0;
	if (ok && a->write)
		memcpy(t.host, buf, chunk);
	else if (ok)
		memcpy(buf, t.host, chunk);
	rwlock_read_end(&hw->dma_lock);
	return chunk;
}

int smmu_hw_dma(struct smmu_hw *hw, nst_rid sid, const struct endpoint_dma_request *req)
{
	struct smmu_access a =
		make_access(sid, req->iova.v, req->pasid, req->write, req->privileged);
	struct smmu_fault fault = { 0 };
	uint8_t *buf = req->buf;
	size_t left = req->size;

	if (range_overflows(a.address, left))
		refuse(&fault, SMMU_F_UUT);
	while (left && !fault.type) {
		size_t done = access_page(hw, &a, req, req->untranslated.v + (req->size - left),
					  buf, left, &fault);

		atomic_fetch_add_explicit(req->write ? &hw->dma_write_bytes : &hw->dma_read_bytes,
					  done, memory_order_relaxed);
		if (!done && !smmu_stall(hw, &a, &fault))
			break;
		buf += done;
		a.address += done;
		left -= done;
	}
	if (!fault.type)
		return 0;
	report(hw, &a, &fault);
	return -EFAULT;
}

static bool ats_allowed(struct smmu_hw *hw, const struct smmu_access *a, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	const struct smmu_stream *stream = hw->streams[a->sid];

	if (!stream || !map_of(stream, a))
		return refuse_silently(fault);
	return stream->ste.ats ? true : refuse(fault, SMMU_F_BAD_ATS_TREQ);
}

/*
 * What the request may have of @a's page: asked for reading, then, if the device wants
 * that, for writing, which makes the page dirty.
 */
static bool answer(struct smmu_hw *hw, struct smmu_access *a, bool want_write,
		   struct endpoint_ats_reply *reply, struct smmu_fault *fault)
	REQUIRES_SHARED(hw->dma_lock)
{
	struct smmu_translation read = { 0 }, write = { 0 };
	struct smmu_fault refused = { 0 };
	const uint8_t *host;
	unsigned int lg2;

	*reply = (struct endpoint_ats_reply){ .size = PAGE_SIZE_4K };
	a->write = false;
	reply->read = translate(hw, a, &read, fault) && read.page_lg2;
	a->write = true;
	reply->write = want_write && translate(hw, a, &write, &refused) && write.page_lg2;
	/* the tables changed in between: what was found first is good for reading */
	if (reply->read && reply->write && read.host != write.host)
		reply->write = false;
	if (!reply->read && !reply->write)
		return !fault->type || smmu_event_is_translation(fault->type);
	host = reply->read ? read.host : write.host;
	lg2 = reply->read ? read.page_lg2 : write.page_lg2;
	if (reply->write)
		lg2 = MIN(lg2, write.page_lg2);
	/* on the bus an address and a size are one number: memory may lie askew to the page */
	while (lg2 > PAGE_SHIFT_4K && (((uintptr_t)host ^ a->address) & (BIT64(lg2) - 1)))
		lg2--;
	reply->size = BIT64(lg2);
	reply->translated.v = (uintptr_t)host - (a->address & (reply->size - 1));
	return true;
}

int smmu_hw_translate(struct smmu_hw *hw, nst_rid sid, const struct endpoint_ats_request *req,
		      struct endpoint_ats_reply *reply)
{
	struct smmu_access a =
		make_access(sid, req->iova.v, req->pasid, req->write, req->privileged);
	struct smmu_fault fault = { 0 };
	struct endpoint_ats_reply made;
	bool allowed, ok;

	rwlock_read(&hw->dma_lock);
	allowed = ats_allowed(hw, &a, &fault);
	if (!allowed)
		describe(hw, &a, &fault);
	ok = allowed && answer(hw, &a, req->write, &made, &fault);
	rwlock_read_end(&hw->dma_lock);
	if (!allowed)
		report(hw, &a, &fault);
	if (ok)
		*reply = made;
	return ok ? 0 : -EFAULT;
}

void smmu_hw_get_stats(struct smmu_hw *hw, struct nst_soft_stats *stats)
{
	stats->dma_read_bytes = atomic_load(&hw->dma_read_bytes);
	stats->dma_write_bytes = atomic_load(&hw->dma_write_bytes);
	stats->iotlb_hits = atomic_load(&hw->hits);
	stats->iotlb_misses = atomic_load(&hw->misses);
	stats->s1_walks = atomic_load(&hw->s1_walks);
}
