// SPDX-License-Identifier: BSD-3-Clause
/* See dmarig.h. */
#include "dmarig.h"

#include <errno.h>
#include <stdio.h>

static int (*plain_dma)(struct endpoint_bus *bus, const struct endpoint_dma_request *req);

static struct dmarig *to_dmarig(struct endpoint_bus *bus)
{
	return container_of(bus, struct dmarig, r.bus);
}

/* The page of @iova, an identity page for a PASID that has none, or NULL. */
static const struct dm_page *find(struct dmarig *m, uint32_t pasid, uint64_t iova,
				  struct dm_page *identity)
{
	bool any = m->confined;

	for (unsigned int i = 0; i < DM_PAGES; i++) {
		const struct dm_page *page = &m->pages[i];

		if (!page->used || page->pasid != pasid)
			continue;
		any = true;
		if (iova >= page->iova && iova - page->iova < page->size)
			return page;
	}
	*identity =
		(struct dm_page){ true, false, true, true, pasid, iova & ~4095ULL, iova & ~4095ULL,
				  4096 };
	return any ? NULL : identity;
}

static bool allowed(const struct dm_page *page, bool write)
{
	return page && (write ? page->write : page->read);
}

static int iommu_dma(struct endpoint_bus *bus, const struct endpoint_dma_request *req)
{
	struct dmarig *m = to_dmarig(bus);
	uint64_t asked = req->translated ? req->untranslated.v : req->iova.v;
	struct endpoint_dma_request direct = *req;
	const struct dm_page *page;
	struct dm_page identity;
	int err = 0;

	assert_true(req->size >= 1 && (req->iova.v & 4095) + req->size <= 4096);
	assert_true(!req->privileged || req->pasid != NST_NO_PASID);
	pthread_mutex_lock(&m->lock);
	page = find(m, req->pasid, asked, &identity);
	m->last_privileged = req->privileged;
	if (req->translated) {
		m->translated++;
		if (!allowed(page, req->write) || page->to + (asked - page->iova) != req->iova.v)
			atomic_fetch_add(&m->r.violations, 1);
		if (m->refuse_translated)
			err = -EFAULT;
	} else {
		m->untranslated++;
		if (!allowed(page, req->write))
			err = -EFAULT;
		else
			direct.iova.v = page->to + (asked - page->iova);
	}
	if (!err)
		err = plain_dma(bus, &direct);
	pthread_mutex_unlock(&m->lock);
	return err;
}

static int iommu_translate(struct endpoint_bus *bus, const struct endpoint_ats_request *req,
			   struct endpoint_ats_reply *reply)
{
	struct dmarig *m = to_dmarig(bus);
	const struct dm_page *page;
	struct dm_page identity;
	bool refuse;

	assert_int_equal(req->iova.v & 4095, 0);
	pthread_mutex_lock(&m->lock);
	refuse = m->refuse_translation;
	page = find(m, req->pasid, req->iova.v, &identity);
	*reply = (struct endpoint_ats_reply){ .size = 4096 };
	if (page && !page->leaving)
		*reply = (struct endpoint_ats_reply){
			{ page->to }, page->size, page->read, page->write
		};
	pthread_mutex_unlock(&m->lock);
	return refuse ? -EFAULT : 0;
}

static void respond(struct dmarig *m, const struct endpoint_page_request *req,
		    enum endpoint_page_response_code code)
{
	const struct endpoint_page_response resp = { req->pasid, req->group, code };

	m->r.ep->ops->page_response(m->r.ep, &resp);
}

static void iommu_page_request(struct endpoint_bus *bus, const struct endpoint_page_request *req)
{
	struct dmarig *m = to_dmarig(bus);
	enum dm_policy policy;

	assert_int_equal(req->iova.v & 4095, 0);
	assert_true(req->group < 512 && req->read != req->write);
	pthread_mutex_lock(&m->lock);
	m->log[m->logged++ % DM_LOG] = *req;
	policy = m->policy;
	pthread_mutex_unlock(&m->lock);
	if (policy == DM_GRANT) /* the page where its number says, so that all differ */
		dm_map(m, req->pasid, req->iova.v, RIG_BASE + req->iova.v % RIG_SIZE, 4096, DM_RW);
	if (policy == DM_LATER || !req->last)
		return;
	respond(m, req,
		policy == DM_INVALID ? ENDPOINT_PAGE_INVALID
		: policy == DM_FAIL  ? ENDPOINT_PAGE_FAILURE
				     : ENDPOINT_PAGE_SUCCESS);
}

void dm_set_config(struct dmarig *m, unsigned int offset, unsigned int size, uint32_t value)
{
	uint8_t bytes[4];

	le_store(bytes, size, value);
	assert_false(pci_config_write(&m->r.ep->config, offset, bytes, size));
}

uint32_t dm_get_config(struct dmarig *m, unsigned int offset, unsigned int size)
{
	uint8_t bytes[4];

	pci_config_read(&m->r.ep->config, offset, bytes, size);
	return (uint32_t)le_load(bytes, size);
}

void dm_enable_services(struct dmarig *m)
{
	const struct pci_config *cfg = &m->r.ep->config;

	dm_set_config(m, 4, 2, 6);
	if (cfg->pasid_cap)
		dm_set_config(m, cfg->pasid_cap + 6U, 2, 5);
	if (cfg->ats_cap)
		dm_set_config(m, cfg->ats_cap + 6U, 2, 0x8000);
	if (cfg->pri_cap) {
		dm_set_config(m, cfg->pri_cap + 12U, 4, 32);
		dm_set_config(m, cfg->pri_cap + 4U, 2, 1);
	}
}

void dm_open(struct dmarig *m, const char *options, bool threaded)
{
	char description[96];

	memset(m, 0, sizeof(*m));
	snprintf(description, sizeof(description), "dmatest%s", options);
	rig_plug(&m->r, description, threaded);
	m->d = to_dmatest(m->r.ep);
	pthread_mutex_init(&m->lock, NULL);
	plain_dma = m->r.ops.dma;
	m->r.ops.dma = iommu_dma;
	m->r.ops.translate = iommu_translate;
	m->r.ops.page_request = iommu_page_request;
	dm_enable_services(m);
}

void dm_close(struct dmarig *m)
{
	rig_close(&m->r);
	pthread_mutex_destroy(&m->lock);
}

void dm_map(struct dmarig *m, uint32_t pasid, uint64_t iova, uint64_t to, uint64_t size, int rights)
{
	struct dm_page *place = NULL;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < DM_PAGES; i++) {
		struct dm_page *page = &m->pages[i];

		if (page->used && page->pasid == pasid && page->iova == iova)
			place = page;
		else if (!page->used && !place)
			place = page;
	}
	assert_non_null(place);
	*place = (struct dm_page){
		true, false, rights & DM_R, rights & DM_W, pasid, iova, to, size
	};
	pthread_mutex_unlock(&m->lock);
}

/* First no new translation, then the device forgets the old one, then using it is wrong. */
void dm_unmap(struct dmarig *m, uint32_t pasid, uint64_t iova)
{
	struct dm_page *page = NULL;
	nst_iova last;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < DM_PAGES; i++)
		if (m->pages[i].used && m->pages[i].pasid == pasid && m->pages[i].iova == iova)
			page = &m->pages[i];
	assert_non_null(page);
	page->leaving = true;
	last.v = iova + page->size - 1;
	pthread_mutex_unlock(&m->lock);
	m->r.ep->ops->ats_invalidate(m->r.ep, pasid, (nst_iova){ iova }, last);
	pthread_mutex_lock(&m->lock);
	page->used = false;
	pthread_mutex_unlock(&m->lock);
}

void dm_answer(struct dmarig *m, unsigned int logged, enum endpoint_page_response_code code)
{
	assert_true(logged < dm_logged(m));
	respond(m, &m->log[logged], code);
}

unsigned int dm_logged(struct dmarig *m)
{
	unsigned int n;

	pthread_mutex_lock(&m->lock);
	n = m->logged;
	pthread_mutex_unlock(&m->lock);
	return n;
}

struct dmatest_desc dm_desc(uint32_t opcode_and_flags, uint64_t a, uint64_t b, uint32_t length)
{
	return (struct dmatest_desc){
		.control = le32_make(opcode_and_flags),
		.address = { le64_make(a), le64_make(b) },
		.length = le32_make(length),
	};
}

struct dmatest_desc dm_with_pasid(struct dmatest_desc desc, uint32_t pasid)
{
	desc.control = le32_make(le32_get(desc.control) | 0x100);
	desc.pasid = le32_make(pasid);
	return desc;
}

uint32_t dm_imm(struct dmarig *m, struct dmatest_cpl *cpl)
{
	uint8_t bytes[32];

	for (unsigned int i = 0; i < sizeof(bytes); i += 4)
		le_store(&bytes[i], 4, rig_read(&m->r, 0x140 + i));
	if (cpl)
		memcpy(cpl, bytes, sizeof(bytes));
	return (uint32_t)le_load(&bytes[28], 4);
}

uint32_t dm_go(struct dmarig *m, struct dmatest_desc desc, struct dmatest_cpl *cpl)
{
	for (unsigned int i = 0; i < sizeof(desc); i += 4)
		rig_write(&m->r, 0x100 + i, (uint32_t)le_load((uint8_t *)&desc + i, 4));
	rig_write(&m->r, 0x160, 1);
	return dm_imm(m, cpl);
}

uint32_t dm_qread(struct dmarig *m, unsigned int q, unsigned int reg)
{
	return rig_read(&m->r, 0x1000 + q * 0x40 + reg);
}

void dm_qwrite(struct dmarig *m, unsigned int q, unsigned int reg, uint32_t value)
{
	rig_write(&m->r, 0x1000 + q * 0x40 + reg, value);
}

void dm_queue(struct dmarig *m, unsigned int q, uint32_t entries)
{
	if (!m->q[q].ring) {
		m->q[q].ring = rig_alloc(&m->r, 1024 * 64);
		m->q[q].cpl = rig_alloc(&m->r, 1024 * 32);
	}
	memset(rig_at(&m->r, m->q[q].cpl, 1024 * 32), 0, 1024 * 32);
	m->q[q].size = entries;
	m->q[q].tail = m->q[q].cpl_head = 0;
	m->q[q].phase = true;
	dm_qwrite(m, q, 0x08, (uint32_t)m->q[q].ring);
	dm_qwrite(m, q, 0x0c, (uint32_t)(m->q[q].ring >> 32));
	dm_qwrite(m, q, 0x10, (uint32_t)m->q[q].cpl);
	dm_qwrite(m, q, 0x14, (uint32_t)(m->q[q].cpl >> 32));
	dm_qwrite(m, q, 0x18, entries);
	dm_qwrite(m, q, 0x00, dm_qread(m, q, 0) | 1);
	assert_int_equal(dm_qread(m, q, 4), 1);
}

uint32_t dm_put(struct dmarig *m, unsigned int q, struct dmatest_desc desc)
{
	uint32_t tag = ++m->next_tag;

	desc.tag = le32_make(tag);
	memcpy(rig_at(&m->r, m->q[q].ring + m->q[q].tail * 64ULL, 64), &desc, 64);
	m->q[q].tail = (m->q[q].tail + 1) % m->q[q].size;
	return tag;
}

void dm_ring(struct dmarig *m, unsigned int q)
{
	dm_qwrite(m, q, 0x28, m->q[q].tail);
}

bool dm_poll(struct dmarig *m, unsigned int q, struct dmatest_cpl *cpl)
{
	const uint8_t *at = rig_at(&m->r, m->q[q].cpl + m->q[q].cpl_head * 32ULL, 32);

	if (!!(at[31] & 0x80) != m->q[q].phase)
		return false;
	memcpy(cpl, at, 32);
	cpl->status = le32_make(le32_get(cpl->status) & 0x7fffffff);
	if (++m->q[q].cpl_head == m->q[q].size) {
		m->q[q].cpl_head = 0;
		m->q[q].phase = !m->q[q].phase;
	}
	dm_qwrite(m, q, 0x30, m->q[q].cpl_head);
	return true;
}

uint64_t dm_stat(struct dmarig *m, enum dmatest_stat stat)
{
	return m->r.ep->ops->bar_read(m->r.ep, 0, 0x200 + 8ULL * stat, 8);
}

void dm_fill(uint8_t *bytes, uint64_t seed, size_t size)
{
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0)
			word = test_random(&seed);
		bytes[i] = (uint8_t)(word >> (i % 8 * 8));
	}
}

uint64_t dm_checksum(const uint8_t *bytes, size_t size)
{
	uint64_t sum = 14695981039346656037ULL;

	while (size--) {
		sum ^= *bytes++;
		sum *= 1099511628211ULL;
	}
	return sum;
}
