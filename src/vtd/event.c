// SPDX-License-Identifier: BSD-3-Clause
/*
 * Faults and interrupts: VT-d 4.1 s7.2 Fault Logging and s7.3 Fault Reporting.
 *
 * The unit has three events, each with a control register that holds a mask (IM) and a
 * pending bit (IP), and registers that say where its MSI goes. An event that comes
 * while masked stays pending, and is delivered when software clears the mask; it is
 * forgotten when software clears what caused it first.
 */
#include "vtd/unit.h"

#include "base/log.h"

struct event {
	enum vtd_reg control, data, addr, upper_addr;
};

static const struct event fault_event = { VTD_FECTL, VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR };
static const struct event completion_event = { VTD_IECTL, VTD_IEDATA, VTD_IEADDR, VTD_IEUADDR };
static const struct event page_event = { VTD_PECTL, VTD_PEDATA, VTD_PEADDR, VTD_PEUADDR };

static void deliver(struct vtd_unit *u, const struct event *event)
{
	uint64_t address = vtd_reg_get(&u->regs, event->addr) |
			   vtd_reg_get(&u->regs, event->upper_addr) << 32;

	u->send_msi(u->opaque, address, (uint32_t)vtd_reg_get(&u->regs, event->data));
}

static void raise(struct vtd_unit *u, const struct event *event)
{
	if (vtd_reg_get(&u->regs, event->control) & VTD_EVENT_IM)
		vtd_reg_update(&u->regs, event->control, 0, VTD_EVENT_IP);
	else
		deliver(u, event);
}

/* Software wrote the mask: what waited for it goes out. */
static void unmask(struct vtd_unit *u, const struct event *event)
{
	uint64_t control = vtd_reg_get(&u->regs, event->control);

	if ((control & VTD_EVENT_IM) || !(control & VTD_EVENT_IP))
		return;
	vtd_reg_update(&u->regs, event->control, VTD_EVENT_IP, 0);
	deliver(u, event);
}

void vtd_status_raise(struct vtd_unit *u, uint64_t bits)
{
	uint64_t before = vtd_reg_update(&u->regs, VTD_FSTS, 0, bits);

	if (!(before & VTD_FSTS_EVENTS))
		raise(u, &fault_event);
}

void vtd_completion_raise(struct vtd_unit *u)
{
	uint64_t before = vtd_reg_update(&u->regs, VTD_ICS, 0, VTD_ICS_IWC);

	if (!(before & VTD_ICS_IWC))
		raise(u, &completion_event);
}

void vtd_page_status_raise(struct vtd_unit *u, uint64_t bits)
{
	uint64_t before = vtd_reg_update(&u->regs, VTD_PRS, 0, bits);

	if (!(before & (VTD_PRS_PPR | VTD_PRS_PRO)))
		raise(u, &page_event);
}

static enum vtd_reg frcd_hi(unsigned int index)
{
	return VTD_FRCD0_HI + 2 * index;
}

static uint64_t make_frcd_hi(const struct vtd_fault *fault)
{
	uint64_t hi = VTD_FRCD_HI_F | (fault->write ? 0 : VTD_FRCD_HI_T1) |
		      FIELD_PREP(VTD_FRCD_HI_FR, fault->reason) |
		      FIELD_PREP(VTD_FRCD_HI_AT, fault->address_type) |
		      FIELD_PREP(VTD_FRCD_HI_SID, fault->rid);

	if (fault->pasid == NST_NO_PASID)
		return hi;
	return hi | VTD_FRCD_HI_PP | FIELD_PREP(VTD_FRCD_HI_PV, fault->pasid) |
	       (fault->privileged ? VTD_FRCD_HI_PRIV : 0) | (fault->exec ? VTD_FRCD_HI_EXE : 0);
}

/* Of an interrupt the record's lower half is its index, of a DMA request just where it went. */
static bool is_of_interrupt(enum vtd_fault_reason reason)
{
	return reason >= VTD_FAULT_IR_REQUEST_RESERVED && reason <= VTD_FAULT_IR_SOURCE;
}

/*
 * s7.2.1: while a record is pending, hardware may leave out others of its requester. A device
 * that is refused again and again takes one register so, and the others remain for other devices.
 * What says something else than that (a reason, a PASID) is recorded.
 */
static bool is_pending(struct vtd_unit *u, uint64_t lo, uint64_t hi, enum vtd_fault_reason reason)
{
	for (unsigned int i = 0; i < VTD_FRCD_COUNT; i++)
		if (vtd_reg_get(&u->regs, frcd_hi(i)) == hi &&
		    (!is_of_interrupt(reason) || vtd_reg_get(&u->regs, frcd_hi(i) - 1) == lo))
			return true;
	return false;
}

/*
 * s7.2.1 Primary Fault Logging: the registers are a ring, which software reads from FRI
 * on up to the first free one. So the place is the next in turn, not the first free: one
 * that software has already passed it would not look at again.
 */
void vtd_fault_report(struct vtd_unit *u, const struct vtd_fault *fault)
{
	uint64_t fsts = vtd_reg_get(&u->regs, VTD_FSTS);
	uint64_t lo = fault->addr & ~(PAGE_SIZE_4K - 1), hi = make_frcd_hi(fault);
	unsigned int index = u->next_frcd;

	u->faults++;
	log_debug(u->log, "vtd: fault 0x%x of %02x:%02x.%x recorded", fault->reason,
		  fault->rid >> 8, fault->rid >> 3 & 31, fault->rid & 7);
	if ((fsts & VTD_FSTS_PFO) || is_pending(u, lo, hi, fault->reason))
		return;
	if (vtd_reg_get(&u->regs, frcd_hi(index)) & VTD_FRCD_HI_F) {
		vtd_status_raise(u, VTD_FSTS_PFO);
		return;
	}
	u->next_frcd = (index + 1) % VTD_FRCD_COUNT;
	vtd_reg_set(&u->regs, frcd_hi(index) - 1, lo);
	vtd_reg_set(&u->regs, frcd_hi(index), hi);
	if (!(fsts & VTD_FSTS_PPF))
		vtd_reg_update(&u->regs, VTD_FSTS, VTD_FSTS_FRI, FIELD_PREP(VTD_FSTS_FRI, index));
	vtd_status_raise(u, VTD_FSTS_PPF);
}

void vtd_fault_record(struct vtd_unit *u, nst_rid rid, uint32_t pasid, uint64_t addr, bool write,
		      enum vtd_fault_reason reason)
{
	vtd_fault_report(u, &(struct vtd_fault){ .rid = rid,
						 .pasid = pasid,
						 .addr = addr,
						 .write = write,
						 .reason = reason });
}

void vtd_faults_take(struct vtd_unit *u)
{
	struct vtd_fault faults[VTD_POSTED_FAULTS];
	unsigned int count;
	bool lost;

	mutex_lock(&u->posted.lock);
	count = u->posted.count;
	lost = u->posted.lost;
	memcpy(faults, u->posted.faults, count * sizeof(faults[0]));
	u->posted.count = 0;
	u->posted.lost = false;
	mutex_unlock(&u->posted.lock);
	for (unsigned int i = 0; i < count; i++)
		vtd_fault_report(u, &faults[i]);
	if (lost)
		vtd_status_raise(u, VTD_FSTS_PFO);
}

void vtd_faults_forget(struct vtd_unit *u)
{
	mutex_lock(&u->posted.lock);
	u->posted.count = 0;
	u->posted.lost = false;
	mutex_unlock(&u->posted.lock);
}

void vtd_fault_post(struct vtd_unit *u, const struct vtd_fault *fault)
{
	mutex_lock(&u->posted.lock);
	if (u->posted.count < VTD_POSTED_FAULTS)
		u->posted.faults[u->posted.count++] = *fault;
	else
		u->posted.lost = true;
	mutex_unlock(&u->posted.lock);
	if (mutex_trylock(&u->cmd_lock)) {
		vtd_faults_take(u);
		mutex_unlock(&u->cmd_lock);
	} else {
		wakeup_announce(&u->wakeup);
	}
}

/* PPF is the OR of all F bits. An event whose causes are all gone is no longer pending. */
static void update_fault_status(struct vtd_unit *u)
{
	bool any = false;

	for (unsigned int i = 0; i < VTD_FRCD_COUNT; i++)
		any |= !!(vtd_reg_get(&u->regs, frcd_hi(i)) & VTD_FRCD_HI_F);
	if (!any)
		vtd_reg_update(&u->regs, VTD_FSTS, VTD_FSTS_PPF, 0);
	if (!(vtd_reg_get(&u->regs, VTD_FSTS) & VTD_FSTS_EVENTS))
		vtd_reg_update(&u->regs, VTD_FECTL, VTD_EVENT_IP, 0);
}

void vtd_events_written(struct vtd_unit *u, unsigned int hooks)
{
	if (hooks & (VTD_HOOK_FRCD | VTD_HOOK_FSTS))
		update_fault_status(u);
	if (hooks & VTD_HOOK_FECTL)
		unmask(u, &fault_event);
	if ((hooks & VTD_HOOK_ICS) && !(vtd_reg_get(&u->regs, VTD_ICS) & VTD_ICS_IWC))
		vtd_reg_update(&u->regs, VTD_IECTL, VTD_EVENT_IP, 0);
	if (hooks & VTD_HOOK_IECTL)
		unmask(u, &completion_event);
	if ((hooks & VTD_HOOK_PRS) &&
	    !(vtd_reg_get(&u->regs, VTD_PRS) & (VTD_PRS_PPR | VTD_PRS_PRO)))
		vtd_reg_update(&u->regs, VTD_PECTL, VTD_EVENT_IP, 0);
	if (hooks & VTD_HOOK_PECTL)
		unmask(u, &page_event);
}
