#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
#
# iort.py OUT: an IORT for QEMU's "virt" machine with iommu=smmuv3, as that machine describes itself but for
# one bit: the root complex says that device writes are cache coherent whatever their attributes (memory
# access flags, bit 2, CANWBS). Linux lets a VM own stage 1 only if it says so (or the SMMU has S2FWB, which
# QEMU's has not). All requester IDs of segment 0 go to the SMMU, and from there to the ITS.
# Source: Arm DEN 0049, IO Remapping Table.
import struct
import sys

SMMU_BASE = 0x09050000
EVENT_GSIV, PRI_GSIV, GERROR_GSIV, SYNC_GSIV = 106, 107, 109, 108
CCA, CPM, DACS, CANWBS, ADDRESS_BITS = 1, 1, 2, 4, 64


def mapping(output, to):
    """All IDs: input base, number of IDs less one, output base, node, flags."""
    return struct.pack("<IIIII", 0, 0xFFFF, output, to, 0)


def node(kind, revision, identifier, body, maps):
    offset = 16 + len(body) if maps else 0
    data = body + b"".join(maps)
    return struct.pack("<BHBIII", kind, 16 + len(data), revision, identifier, len(maps), offset) + data


def iort():
    its_at = 48
    its = node(0, 1, 0, struct.pack("<II", 1, 0), [])
    smmu_at = its_at + len(its)
    smmu_body = struct.pack("<QIIQIIIIIII", SMMU_BASE, 1, 0, 0, 0, EVENT_GSIV, PRI_GSIV, GERROR_GSIV,
                            SYNC_GSIV, 0, 0)
    smmu = node(4, 4, 1, smmu_body, [mapping(0, its_at)])
    root_body = struct.pack("<IBHBIIB3x", CCA, 0, 0, CPM | DACS | CANWBS, 0, 0, ADDRESS_BITS)
    root = node(2, 3, 2, root_body, [mapping(0, smmu_at)])
    nodes = its + smmu + root
    table = bytearray(struct.pack("<4sIBB6s8sI4sI", b"IORT", its_at + len(nodes), 5, 0, b"BOCHS ", b"BXPC    ",
                                  0x100, b"BXPC", 1))
    table += struct.pack("<III", 3, its_at, 0) + nodes
    table[9] = -sum(table) & 0xFF
    return table


with open(sys.argv[1], "wb") as f:
    f.write(iort())
