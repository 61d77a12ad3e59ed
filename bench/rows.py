# SPDX-License-Identifier: BSD-3-Clause
#
# What is measured. A row is a name in a figure, a target, and for each side ("nestor", "qemu", "floor") a
# function that takes one sample; smaller is better.
import statistics
import subprocess
import time

import machine
import nic
import smmuv3
import vtd
from machine import Wrong

SAMPLE_NS = 8e6     # CPU time that a sample should take


class Tools:
    """What there is to measure with: nestor, the directory of the C benchmarks, QEMU of each architecture."""
    def __init__(self, build, with_qemu, tiny):
        self.build, self.tiny = build, tiny
        self.nestor = str(build / "nestor")
        self.qemu = {name: machine.find_qemu(f"qemu-system-{name}") if with_qemu else None
                     for name in ("x86_64", "aarch64")}
        self.scenes, self.key = {}, None
        found = self.qemu["x86_64"] or self.qemu["aarch64"]
        self.version = machine.qemu_version(found) if found else None

    def open(self, key, makers):
        """The scenes of these makers by side; rows with one key share them."""
        if self.key == key:
            return self.scenes
        self.close()
        try:
            for side, make in makers.items():
                self.scenes[side] = make()
        except BaseException:
            self.close()
            raise
        self.key = key
        return self.scenes

    def close(self):
        scenes, self.scenes, self.key = self.scenes, {}, None
        for scene in scenes.values():
            scene.close()


class Micro:
    """The C benchmarks: bench.h."""
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def sample(self, name, what, operations):
        self.process.stdin.write(f"{name} {what} {operations}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[:1] != ["ok"]:
            raise Wrong(f"\"{name}\", {what}: " + (answer[0] if answer else "the program has ended"))
        return float(answer[1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Row:
    """
    The target: @least, how many times smaller than QEMU's; or @most_floors, at most so many times the floor.
    """
    unit = "ns"
    rounds = None   # samples, if not as many as of others
    exactly = None  # a target too

    def __init__(self, figure, name, least=None, most_floors=None, x=None):
        self.figure, self.name, self.least, self.most_floors, self.x = figure, name, least, most_floors, x

    def samplers(self, tools):
        raise NotImplementedError

    def finish(self, tools):
        """Did it do what it should? Raises Wrong."""


class Queue(Row):
    """
    A kind of descriptor or command, or several in turn: CPU time of one, or of one of each, by the difference of large
    and small batches, so that the doorbell and the protocol drop out.
    """
    def __init__(self, figure, name, unit, kinds, devices=1, pages=0, **target):
        super().__init__(figure, name, x=pages if figure.endswith("entries") else None, **target)
        self.kinds, self.devices, self.pages = kinds, devices, pages
        self.module, self.architecture = unit, "x86_64" if unit is vtd else "aarch64"
        self.capacity = 1024 if unit is vtd else 256    # of QEMU's IOTLB, which is emptied when it is full

    def sampler(self, tools, scene):
        kinds = len(self.kinds)
        small, probe, times = 2 * kinds, 64 * kinds, 1
        each = max((scene.cost(probe, 1) - scene.cost(small, 1)) / (probe - small), 4)
        large = probe
        if not tools.tiny:
            large = int(min(max(SAMPLE_NS / each, probe), scene.limit)) // kinds * kinds
            times = int(min(max(SAMPLE_NS / each / large, 1), 16))

        def sample():
            return max(scene.cost(large, times) - scene.cost(small, times), 1) / times / (large - small) * kinds
        return sample

    def samplers(self, tools):
        makers = {"nestor": lambda: self.module.Scene("nestor", tools.nestor, self.devices, self.pages)}
        qemu = tools.qemu[self.architecture]
        if qemu and self.pages <= self.capacity:
            makers["qemu"] = lambda: self.module.Scene("qemu", qemu, self.devices, self.pages)
        scenes = tools.open((self.architecture, self.devices, self.pages), makers)
        for scene in scenes.values():
            scene.fill(self.kinds)
        return {side: self.sampler(tools, scene) for side, scene in scenes.items()}

    def finish(self, tools):
        for scene in tools.scenes.values():
            scene.check(self.pages > 0)


def queue_rows(tiny):
    def v(figure, name, *kinds, **more):
        return Queue(f"VT-d {figure}", name, vtd, kinds, **more)

    def s(figure, name, *kinds, **more):
        return Queue(f"SMMUv3 {figure}", name, smmuv3, kinds, **more)

    for name, kinds in (("wait with status", ["wait"]), ("PASID-IOTLB, page", ["pasid-iotlb page"]),
                        ("PASID-IOTLB, PASID", ["pasid-iotlb PASID"]), ("IOTLB, domain", ["iotlb domain"]),
                        ("IOTLB, page", ["iotlb page"]), ("IOTLB, global", ["iotlb global"]),
                        ("page and wait: a strict unmap", ["pasid-iotlb page", "wait"])):
        yield v("descriptors", name, *kinds, least=3)
    for name, kind, least in (("PASID cache, domain", "pasid-cache domain", 40), ("PASID cache, PASID", "pasid-cache PASID", 40),
                              ("PASID cache, global", "pasid-cache global", None),
                              ("context cache, global", "context global", 20), ("context cache, device", "context device", None)):
        yield v("with 64 devices", name, kind, devices=3 if tiny else 64, least=least)
    for pages in (64, 128) if tiny else (16, 128, 1000, 8192, 65536):
        for name, kind in (("page", "pasid-iotlb page"), ("PASID", "pasid-iotlb PASID"), ("domain", "iotlb domain")):
            yield v("against IOTLB entries", f"{name}, {pages} held", kind, pages=pages,
                    least=40 if name == "page" and pages == 1000 else None)
    for name, kinds in (("SYNC", ["SYNC"]), ("TLBI_NH_VA", ["TLBI_NH_VA"]),
                        ("TLBI_NH_VA with range fields", ["TLBI_NH_VA with range fields"]),
                        ("TLBI_NH_ASID", ["TLBI_NH_ASID"]), ("TLBI_NSNH_ALL", ["TLBI_NSNH_ALL"]), ("CFGI_STE", ["CFGI_STE"]),
                        ("CFGI_CD", ["CFGI_CD"]), ("CFGI_CD_ALL", ["CFGI_CD_ALL"]),
                        ("page and SYNC: a strict unmap", ["TLBI_NH_VA with range fields", "SYNC"])):
        yield s("commands", name, *kinds, least=3)
    for pages in (64, 128) if tiny else (16, 128, 250, 2000):
        for name, kind in (("page", "TLBI_NH_VA"), ("ASID", "TLBI_NH_ASID"), ("page of every ASID", "TLBI_NH_VAA")):
            yield s("against IOTLB entries", f"{name}, {pages} held", kind, pages=pages)


class InProcess(Row):
    """CPU time of a function of the library. @floor: the C row's own, or another row that is one."""
    def __init__(self, figure, name, row, operations, floor="floor", qemu=None, **target):
        super().__init__(figure, name, **target)
        self.row, self.operations, self.floor, self.qemu = row, operations, floor, qemu

    def samplers(self, tools):
        makers = {"micro": lambda: Micro(tools.build / "bench/bench_micro")}
        if self.qemu and tools.qemu["x86_64"]:
            makers |= {"off": lambda: nic.Sender(tools.qemu["x86_64"], False), "on": lambda: nic.Sender(tools.qemu["x86_64"], True)}
        scenes = tools.open("micro and nic" if self.qemu else "micro", makers)
        count = min(self.operations, 256) if tools.tiny else self.operations
        take = scenes["micro"].sample
        sides = {"nestor": lambda: take(self.row, "own", count)}
        if self.floor == "floor":
            sides["floor"] = lambda: take(self.row, "floor", count)
        elif self.floor:
            sides["floor"] = lambda: take(self.floor, "own", count)
        if self.qemu and "on" in scenes:
            sides["qemu"] = lambda: self.qemu(scenes["off"], scenes["on"], 1000 if tools.tiny else nic.LARGE)
        for side in sides.values():
            side()  # the first one of each finds caches cold and pages not there
        return sides


def in_process_rows():
    figure = "VT-d translation for emulated devices"
    for name, operations, more in (
            ("hit", 400000, {"least": 3, "qemu": nic.hit}),
            ("hit, two threads", 400000, {"floor": "translate: hit", "most_floors": 1.05}),
            ("miss, 4 levels, pages in turn", 100000, {"least": 4, "qemu": nic.miss}),
            ("miss, 4 levels, pages at random", 50000, {}),
            ("miss, nested 4 on 4, pages in turn", 50000, {}),
            ("miss, nested 4 on 4, pages at random", 30000, {"most_floors": 2})):
        yield InProcess(figure, name, f"translate: {name}", operations, **more)
    figure = "Software host"
    for name, operations in (("4 KiB DMA, IOTLB hit", 50000), ("4 KiB DMA, IOTLB miss", 50000),
                             ("IOMMU_HWPT_INVALIDATE, 1 page", 50000), ("IOMMU_HWPT_INVALIDATE, 64 pages", 5000)):
        yield InProcess(figure, name, f"software host: {name}", operations)


    figure = "Passed-through devices on the software host"
    one = "passthrough: one PASID changes on 64 devices, 1 present on each"
    yield InProcess(figure, "a PASID of all 64, 1 present on each", one, 100, floor=None)
    yield InProcess(figure, "a PASID of all 64, 1000 present on each", one.replace("1 present", "1000 present"), 100, floor=one,
                    most_floors=1.25)
    yield InProcess(figure, "all PASIDs of 64 devices, 1000 in a table of each",
                    "passthrough: all PASIDs of 64 devices, 1000 in a table of each", 2, floor=None)
    yield InProcess(figure, "all PASIDs of 64 devices, 1000 in one table",
                    "passthrough: all PASIDs of 64 devices, 1000 in one table", 2, floor=None)
    row = InProcess("Calls of the host", "100 pages of a domain of 64 devices, a doorbell",
                    "passthrough: calls of the host for 100 pages of a domain of 64 devices", 10, floor=None)
    row.unit, row.exactly = "IOMMU_HWPT_INVALIDATE", 1
    yield row


class Memory(Row):
    """What @small has less than @large, in bytes, for each of @by: anonymous memory of the process, after its guest is set up."""
    unit = "bytes"
    rounds = 3

    def __init__(self, figure, name, small, large, by, peer=True):
        super().__init__(figure, name)
        self.small, self.large, self.by, self.peer = small, large, by, peer

    def sample(self, side, found, settle):
        sizes = []
        for devices, pages in (self.small, self.large):
            scene = vtd.Scene(side, found, devices, pages)
            try:
                time.sleep(settle)  # QEMU frees what it had in between a little later
                with open(f"/proc/{scene.machine.pid}/status") as f:
                    sizes += [int(line.split()[1]) * 1024 for line in f if line.startswith("RssAnon")]
            finally:
                scene.close()
        return max(sizes[1] - sizes[0], 0) / self.by

    def samplers(self, tools):
        settle = 0 if tools.tiny else 1
        sides = {"nestor": lambda: self.sample("nestor", tools.nestor, 0)}
        if self.peer and tools.qemu["x86_64"]:
            sides["qemu"] = lambda: self.sample("qemu", tools.qemu["x86_64"], settle)
        return sides


def memory_rows(tiny):
    many = 3 if tiny else 64
    yield Memory("Memory, VT-d", "a device", (1, 0), (many, 0), many - 1)
    pages = 512 if tiny else 65536
    few = 256 if tiny else machine.NUM_BUFFERS
    yield Memory("Memory, VT-d", f"a page in the IOTLB, {pages} held", (1, few), (1, pages), pages - few, peer=False)


def all_rows(tiny):
    return [*queue_rows(tiny), *in_process_rows(), *memory_rows(tiny)]


def summary(samples):
    return {"median": statistics.median(samples), "min": min(samples), "max": max(samples), "samples": samples}
