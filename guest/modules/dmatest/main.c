// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver for dmatest, Nestor's simulated DMA engine: shared virtual addressing.
 *
 *	open   a free queue, bound to the caller's address space (or to what the caller shares of
 *	       it: space.c); its PASID goes into every descriptor. Rings are in memory of the
 *	       kernel's own, without PASID
 *	close  or the end of the process: the queue is disabled, which ends its DMA; then
 *	       the address space is unbound, which waits for page requests on their way
 *
 * The file holds the address space (mmget), so that a process that ends closes it first, while
 * the PASID is still good. The other way round works in theory: the IOMMU driver lets go of the
 * PASID when the address space goes, and unbinding waits for page requests later. But Linux
 * 7.2 does not: intel_pasid_tear_down_entry() has cleared the entry's present bit before
 * intel_pasid_clear_entry() looks for it to set FPD, the mark without which the later call
 * returns at once; a page request on its way is then freed twice.
 *
 * PASID, ATS and PRI are enabled by the IOMMU driver. The device may go while files are
 * open: stop() has then done what a close would do, and the files say ENODEV.
 *
 * Locks: dmatest.lock (queue[], gone) > dmatest_queue.lock (the rest of a queue).
 */
#include <linux/bitfield.h>
#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include "dmatest_ioctl.h"
#include "space.h"

/* Registers; see docs/dmatest.md. */
#define REG_ID 0x000
#define ID 0x54414d44
#define REG_CAPS 0x008
#define CAPS_QUEUES GENMASK(6, 0)
#define REG_CTRL 0x010
#define CTRL_RESET 1
#define REG_PRG_PAGES 0x018
#define REG_STATS 0x200
#define REG_QUEUE(q) (0x1000 + 0x40 * (q))
#define Q_CTRL 0x00
#define Q_CTRL_ENABLE 1
#define Q_STATUS 0x04
#define Q_STATUS_RUNNING 1
#define Q_RING 0x08
#define Q_CPL 0x10
#define Q_SIZE 0x18
#define Q_PASID 0x1c
#define Q_VECTOR 0x20
#define Q_TAIL 0x28
#define Q_CPL_HEAD 0x30

struct dmatest_desc {
	__le32 control;
	__le32 pasid;
	__le64 address[2];
	__le32 length;
	__le32 tag;
	__le64 seed;
	__le64 reserved[3];
};
static_assert(sizeof(struct dmatest_desc) == 64);

#define DESC_OPERATION GENMASK(7, 0)
#define DESC_PASID BIT(8)
#define DESC_ATS BIT(10)
#define DESC_PRI BIT(11)
#define DESC_INTERRUPT BIT(12)
#define OPERATION_FIRST 2
#define OPERATION_LAST 6

struct dmatest_cpl {
	__le64 fault;
	__le64 checksum;
	__le32 done;
	__le32 page_requests;
	__le32 tag;
	__le32 status; /* written last */
};
static_assert(sizeof(struct dmatest_cpl) == 32);

#define CPL_STATUS GENMASK(7, 0)
#define CPL_PHASE BIT(31)

#define MAX_QUEUES 64
#define ENTRIES 64

struct dmatest_rings {
	struct dmatest_desc desc[ENTRIES];
	struct dmatest_cpl cpl[ENTRIES];
};

/* Lives as long as its file. */
struct dmatest_queue {
	struct dmatest *dev;
	unsigned int index;
	struct mm_struct *mm; /* holds a user of it */
	struct mutex lock; /* protects: the rest */
	struct dmatest_space space;
	bool works; /* not stopped */
	struct dmatest_rings *rings;
	dma_addr_t rings_dma;
	unsigned int tail, cpl_head, submitted;
	bool phase;
};

struct dmatest {
	struct kref refs; /* the driver's, and one of each file */
	struct miscdevice misc;
	char name[16];
	int number;
	struct pci_dev *pdev;
	void __iomem *regs;
	unsigned int queues, vectors;
	struct mutex lock; /* protects: queue[], gone */
	struct dmatest_queue *queue[MAX_QUEUES];
	bool gone;
	/* Of each queue, counted up when there may be something new. */
	atomic_t events[MAX_QUEUES];
	wait_queue_head_t waiters[MAX_QUEUES];
};

static DEFINE_IDA(numbers);

static uint prg_pages = 1;
module_param(prg_pages, uint, 0444);
MODULE_PARM_DESC(prg_pages, "Pages in a group of page requests, 1 to 16");

static void dmatest_free(struct kref *refs)
{
	kfree(container_of(refs, struct dmatest, refs));
}

static void notify(struct dmatest *dev, unsigned int queue)
{
	atomic_inc(&dev->events[queue]);
	wake_up_all(&dev->waiters[queue]);
}

/* --- queues ------------------------------------------------------------------------------ */

static void __iomem *queue_regs(struct dmatest_queue *q)
{
	return q->dev->regs + REG_QUEUE(q->index);
}

static bool is_running(struct dmatest_queue *q)
{
	return readl(queue_regs(q) + Q_STATUS) & Q_STATUS_RUNNING;
}

static int start(struct dmatest_queue *q)
{
	struct device *device = &q->dev->pdev->dev;
	void __iomem *regs = queue_regs(q);
	int err;

	q->rings = dma_alloc_coherent(device, sizeof(*q->rings), &q->rings_dma, GFP_KERNEL);
	if (!q->rings)
		return -ENOMEM;
	err = dmatest_space_open(&q->space, device);
	if (err) {
		dma_free_coherent(device, sizeof(*q->rings), q->rings, q->rings_dma);
		return err;
	}
	q->works = true;
	q->mm = current->mm;
	q->phase = true;
	lo_hi_writeq(q->rings_dma + offsetof(struct dmatest_rings, desc), regs + Q_RING);
	lo_hi_writeq(q->rings_dma + offsetof(struct dmatest_rings, cpl), regs + Q_CPL);
	writel(ENTRIES, regs + Q_SIZE);
	writel(0, regs + Q_PASID);
	writel(q->index % q->dev->vectors, regs + Q_VECTOR);
	writel(Q_CTRL_ENABLE, regs + Q_CTRL);
	return 0;
}

/* After this the device reaches neither the rings nor the address space. */
static void stop(struct dmatest_queue *q)
{
	void __iomem *regs = queue_regs(q);

	lockdep_assert_held(&q->dev->lock);
	mutex_lock(&q->lock);
	if (q->works) {
		writel(0, regs + Q_CTRL);
		readl(regs + Q_CTRL); /* the write has arrived, and with it the end of DMA */
		dmatest_space_close(&q->space);
		dma_free_coherent(&q->dev->pdev->dev, sizeof(*q->rings), q->rings, q->rings_dma);
		q->works = false;
	}
	mutex_unlock(&q->lock);
}

static int dmatest_open(struct inode *inode, struct file *file)
{
	struct dmatest *dev = container_of(file->private_data, struct dmatest, misc);
	struct dmatest_queue *q = kzalloc(sizeof(*q), GFP_KERNEL);
	int err;

	if (!q)
		return -ENOMEM;
	mutex_init(&q->lock);
	q->dev = dev;
	mutex_lock(&dev->lock);
	while (q->index < dev->queues && dev->queue[q->index])
		q->index++;
	err = dev->gone ? -ENODEV : q->index == dev->queues ? -EBUSY : start(q);
	if (!err) {
		mmget(q->mm);
		dev->queue[q->index] = q;
		kref_get(&dev->refs);
		file->private_data = q;
	}
	mutex_unlock(&dev->lock);
	if (err)
		kfree(q);
	return err;
}

static int dmatest_release(struct inode *inode, struct file *file)
{
	struct dmatest_queue *q = file->private_data;
	struct dmatest *dev = q->dev;

	mutex_lock(&dev->lock);
	stop(q);
	dev->queue[q->index] = NULL;
	mutex_unlock(&dev->lock);
	mmput(q->mm);
	kfree(q);
	kref_put(&dev->refs, dmatest_free);
	return 0;
}

/* --- operations ---------------------------------------------------------------------------- */

static struct dmatest_desc make_desc(struct dmatest_queue *q, const struct dmatest_submit *s)
{
	u32 control = FIELD_PREP(DESC_OPERATION, s->operation) | DESC_PASID | DESC_INTERRUPT;

	control |= s->flags & DMATEST_WITH_ATS ? DESC_ATS : 0;
	control |= s->flags & DMATEST_WITH_PRI ? DESC_PRI : 0;
	return (struct dmatest_desc){
		.control = cpu_to_le32(control),
		.pasid = cpu_to_le32(q->space.pasid),
		.address = { cpu_to_le64(s->address[0]), cpu_to_le64(s->address[1]) },
		.length = cpu_to_le32(s->length),
		.tag = cpu_to_le32(s->tag),
		.seed = cpu_to_le64(s->seed),
	};
}

static int submit_locked(struct dmatest_queue *q, const struct dmatest_submit *s)
{
	if (!q->works)
		return -ENODEV;
	if (!is_running(q))
		return -EIO;
	/* no more than the ring of completions holds: one entry of a ring stays unused */
	if (q->submitted == ENTRIES - 1)
		return -EAGAIN;
	q->rings->desc[q->tail] = make_desc(q, s);
	q->tail = (q->tail + 1) % ENTRIES;
	q->submitted++;
	writel(q->tail, queue_regs(q) + Q_TAIL);
	return 0;
}

static int dmatest_submit(struct dmatest_queue *q, void __user *arg)
{
	struct dmatest_submit s;
	int err;

	if (copy_from_user(&s, arg, sizeof(s)))
		return -EFAULT;
	if (s.operation < OPERATION_FIRST || s.operation > OPERATION_LAST ||
	    (s.flags & ~(DMATEST_WITH_ATS | DMATEST_WITH_PRI)))
		return -EINVAL;
	mutex_lock(&q->lock);
	err = submit_locked(q, &s);
	mutex_unlock(&q->lock);
	return err;
}

/* The next completion; -EAGAIN if there is none yet. */
static int take_locked(struct dmatest_queue *q, struct dmatest_wait *w)
{
	const struct dmatest_cpl *cpl;
	u32 status;

	if (!q->works)
		return -ENODEV;
	if (!q->submitted)
		return -ENOENT;
	cpl = &q->rings->cpl[q->cpl_head];
	status = le32_to_cpu(READ_ONCE(cpl->status));
	if (!!(status & CPL_PHASE) != q->phase)
		return is_running(q) ? -EAGAIN : -EIO;
	dma_rmb();
	w->status = FIELD_GET(CPL_STATUS, status);
	w->done = le32_to_cpu(cpl->done);
	w->tag = le32_to_cpu(cpl->tag);
	w->page_requests = le32_to_cpu(cpl->page_requests);
	w->fault = le64_to_cpu(cpl->fault);
	w->checksum = le64_to_cpu(cpl->checksum);
	w->reserved = 0;
	q->cpl_head = (q->cpl_head + 1) % ENTRIES;
	q->phase ^= !q->cpl_head;
	q->submitted--;
	writel(q->cpl_head, queue_regs(q) + Q_CPL_HEAD);
	return 0;
}

static int dmatest_wait(struct dmatest_queue *q, void __user *arg)
{
	wait_queue_head_t *waiters = &q->dev->waiters[q->index];
	atomic_t *events = &q->dev->events[q->index];
	struct dmatest_wait w;
	long left;
	int seen, err;

	if (copy_from_user(&w, arg, sizeof(w)))
		return -EFAULT;
	left = msecs_to_jiffies(w.timeout_ms);
	for (;;) {
		seen = atomic_read(events);
		mutex_lock(&q->lock);
		err = take_locked(q, &w);
		mutex_unlock(&q->lock);
		if (err != -EAGAIN)
			break;
		if (!left)
			return -ETIME;
		left = wait_event_interruptible_timeout(*waiters, atomic_read(events) != seen,
							left);
		if (left < 0)
			return -EINTR;
	}
	return err ? err : copy_to_user(arg, &w, sizeof(w)) ? -EFAULT : 0;
}

static int dmatest_statistics(struct dmatest_queue *q, void __user *arg)
{
	u64 numbers[sizeof(struct dmatest_statistics) / sizeof(u64)] = {};
	int err = 0;

	mutex_lock(&q->lock);
	if (!q->works)
		err = -ENODEV;
	for (unsigned int i = 0; !err && i < ARRAY_SIZE(numbers); i++)
		numbers[i] = lo_hi_readq(q->dev->regs + REG_STATS + 8 * i);
	mutex_unlock(&q->lock);
	return err ? err : copy_to_user(arg, numbers, sizeof(numbers)) ? -EFAULT : 0;
}

static int dmatest_area(struct dmatest_queue *q, void __user *arg,
			int (*change)(struct dmatest_space *, unsigned long, size_t))
{
	struct dmatest_area area;
	int err;

	if (copy_from_user(&area, arg, sizeof(area)))
		return -EFAULT;
	mutex_lock(&q->lock);
	err = q->works ? change(&q->space, area.address, area.length) : -ENODEV;
	mutex_unlock(&q->lock);
	return err;
}

static long dmatest_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dmatest_queue *q = file->private_data;

	if (current->mm != q->mm)
		return -EPERM;
	switch (cmd) {
	case DMATEST_IOC_SUBMIT:
		return dmatest_submit(q, (void __user *)arg);
	case DMATEST_IOC_WAIT:
		return dmatest_wait(q, (void __user *)arg);
	case DMATEST_IOC_PASID:
		return put_user(q->space.pasid, (u32 __user *)arg);
	case DMATEST_IOC_STATISTICS:
		return dmatest_statistics(q, (void __user *)arg);
	case DMATEST_IOC_SHARE:
		return dmatest_area(q, (void __user *)arg, dmatest_space_share);
	case DMATEST_IOC_UNSHARE:
		return dmatest_area(q, (void __user *)arg, dmatest_space_unshare);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations dmatest_fops = {
	.owner = THIS_MODULE,
	.open = dmatest_open,
	.release = dmatest_release,
	.unlocked_ioctl = dmatest_ioctl,
};

/* --- the device ---------------------------------------------------------------------------- */

/* Vector n is of the queues n, n + vectors, ... */
static irqreturn_t dmatest_interrupt(int irq, void *opaque)
{
	struct dmatest *dev = opaque;

	for (unsigned int v = 0; v < dev->vectors; v++) {
		if (pci_irq_vector(dev->pdev, v) != irq)
			continue;
		for (unsigned int q = v; q < dev->queues; q += dev->vectors)
			notify(dev, q);
	}
	return IRQ_HANDLED;
}

static void free_interrupts(struct dmatest *dev, unsigned int count)
{
	while (count--)
		free_irq(pci_irq_vector(dev->pdev, count), dev);
	pci_free_irq_vectors(dev->pdev);
}

static int request_interrupts(struct dmatest *dev)
{
	int n = pci_alloc_irq_vectors(dev->pdev, 1, min(dev->queues, 8U),
				      PCI_IRQ_MSIX | PCI_IRQ_MSI);

	if (n < 0)
		return n;
	dev->vectors = n;
	for (unsigned int v = 0; v < dev->vectors; v++) {
		int err = request_irq(pci_irq_vector(dev->pdev, v), dmatest_interrupt, 0, "dmatest",
				      dev);

		if (err) {
			free_interrupts(dev, v);
			return err;
		}
	}
	return 0;
}

static int setup(struct dmatest *dev)
{
	struct pci_dev *pdev = dev->pdev;
	int err = pcim_enable_device(pdev);

	if (err)
		return err;
	dev->regs = pcim_iomap_region(pdev, 0, "dmatest");
	if (IS_ERR(dev->regs))
		return PTR_ERR(dev->regs);
	if (readl(dev->regs + REG_ID) != ID)
		return -ENODEV;
	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (err)
		return err;
	writel(CTRL_RESET, dev->regs + REG_CTRL);
	writel(prg_pages, dev->regs + REG_PRG_PAGES);
	dev->queues = min(FIELD_GET(CAPS_QUEUES, readl(dev->regs + REG_CAPS)), MAX_QUEUES);
	pci_set_master(pdev);
	return request_interrupts(dev);
}

static int add(struct dmatest *dev)
{
	int err;

	dev->number = ida_alloc(&numbers, GFP_KERNEL);
	if (dev->number < 0)
		return dev->number;
	snprintf(dev->name, sizeof(dev->name), "dmatest%d", dev->number);
	err = setup(dev);
	if (err)
		goto free_number;
	pci_set_drvdata(dev->pdev, dev);
	err = misc_register(&dev->misc);
	if (!err)
		return 0;
	free_interrupts(dev, dev->vectors);
free_number:
	ida_free(&numbers, dev->number);
	return err;
}

static int dmatest_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dmatest *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	int err;

	if (!dev)
		return -ENOMEM;
	kref_init(&dev->refs);
	mutex_init(&dev->lock);
	for (unsigned int q = 0; q < MAX_QUEUES; q++)
		init_waitqueue_head(&dev->waiters[q]);
	dev->pdev = pdev;
	dev->misc = (struct miscdevice){
		.minor = MISC_DYNAMIC_MINOR,
		.name = dev->name,
		.fops = &dmatest_fops,
	};
	err = add(dev);
	if (err)
		kref_put(&dev->refs, dmatest_free);
	return err;
}

static void dmatest_remove(struct pci_dev *pdev)
{
	struct dmatest *dev = pci_get_drvdata(pdev);

	misc_deregister(&dev->misc);
	mutex_lock(&dev->lock);
	dev->gone = true;
	for (unsigned int q = 0; q < dev->queues; q++)
		if (dev->queue[q])
			stop(dev->queue[q]);
	mutex_unlock(&dev->lock);
	for (unsigned int q = 0; q < dev->queues; q++)
		notify(dev, q);
	free_interrupts(dev, dev->vectors);
	pci_clear_master(pdev);
	ida_free(&numbers, dev->number);
	kref_put(&dev->refs, dmatest_free);
}

static const struct pci_device_id dmatest_ids[] = {
	{ PCI_DEVICE(0x1234, 0xd3a7) },
	{}
};
MODULE_DEVICE_TABLE(pci, dmatest_ids);

static struct pci_driver dmatest_driver = {
	.name = "dmatest",
	.id_table = dmatest_ids,
	.probe = dmatest_probe,
	.remove = dmatest_remove,
};
module_pci_driver(dmatest_driver);

MODULE_DESCRIPTION("Nestor's DMA engine with shared virtual addressing");
MODULE_LICENSE("GPL");
