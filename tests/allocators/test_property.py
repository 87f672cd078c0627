#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Random programs of operations on every back end, judged by one byte per frame, and shrunk: what fails
is printed as a sequence of calls of which none can be left out. Each program runs in a child of its
own, so a crash, an assertion or a hang is a failure like any other and is cut down as well. Speaks TAP.

hypothesis draws the programs; the shrinking is done here. Its own shrinker works on the bytes it drew,
needs ten times as many runs on programs this long, and left operations in that could go.

usage: test_property.py LIBRARY [SPEC...]

LIBRARY is built from property_shim.c. Programs are the same on every run.
QUIRE_TEST_EFFORT=N: N times the programs (tests/effort.h); QUIRE_PROPERTY_SEED: others than by default.
"""

import ctypes
import gc
import os
import random
import signal
import sys
import time

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError:
    print("1..0 # SKIP python3-hypothesis is not installed; script/setup test does it")
    sys.exit(0)

EXAMPLES = 40 * int(os.environ.get("QUIRE_TEST_EFFORT", "1"))
SEED = int(os.environ.get("QUIRE_PROPERTY_SEED", "1"))
PATIENCE_S = 60  # for a program that takes milliseconds; only a hang needs it

MAX_ORDER, HUGE_ORDER, HUGE_FRAMES = 10, 9, 512
PFN_NONE = 2**64 - 1
EINVAL, EBUSY = -22, -16
CPUS = 4
NODE_OF_CPU = (0, 0, 1, 1)
ZONE_DMA32, ZONE_NORMAL = 1, 2
PFN_END = 10752  # beyond both machines

# As in property_shim.c: name, highest zone type, only the cpu's own node.
KINDS = (("MOVABLE", ZONE_NORMAL, False), ("UNMOVABLE", ZONE_NORMAL, False),
         ("RECLAIMABLE", ZONE_NORMAL, False), ("DMA32", ZONE_DMA32, False),
         ("MOVABLE_THISNODE", ZONE_NORMAL, True), ("UNMOVABLE_THISNODE", ZONE_NORMAL, True))
OF_A_KIND = ("alloc", "predict", "fill", "free", "alloc_at", "alloc_bulk", "free_bulk")
FUNCTIONS = ("alloc_at", "alloc_bulk", "drain", "tick", "predict", "isolate", "online", "offline",
             "stats", "occupancy", "check", "recover")
MACHINES = ("FLAT", "ODD")
MUTANTS = ("none", "forgets", "twice", "denies", "credulous", "trespasses", "dies", "hoards",
           "relapses")

# enum allocator_capability
SPLIT, PERSISTENT, BULK, ZONES, ECHO, UNCHECKED, PADS = 4, 8, 16, 32, 64, 128, 2048

# What the byte of a frame says. MAYBE: freed inside an isolated block, which a back end may hand out
# again at once or hold back; unisolate settles it.
OUTSIDE, ABSENT, FREE, TAKEN, ISOLATED, MAYBE = range(6)
AVAILABLE = bytes((FREE, MAYBE))
WHOLLY_TAKEN = [bytes([TAKEN]) * (1 << order) for order in range(MAX_ORDER + 1)]


def load(path):
    """The library, with the types of its calls."""
    lib = ctypes.CDLL(path)
    p, pfn, u, text = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_char_p
    size, status, words = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    for name, result, arguments in (
            ("create", p, (text, u, u, text)), ("destroy", None, (p,)),
            ("recover", status, (p, u, text)), ("backend", text, (u,)),
            ("accepts", ctypes.c_bool, (text,)),
            ("capabilities", ctypes.c_uint32, (text,)), ("functions", u, (p,)),
            ("zone", ctypes.c_bool, (p, u, words)), ("absent", ctypes.c_bool, (p, u, words)),
            ("alloc", pfn, (p, u, u, u)), ("predict", pfn, (p, u, u, u)),
            ("fill", size, (p, u, u, u, size, words)), ("free", status, (p, u, pfn, u, u)),
            ("alloc_at", status, (p, u, pfn, u, u)),
            ("alloc_bulk", size, (p, u, u, u, size, words)),
            ("free_bulk", size, (p, u, words, size, u, u)), ("drain", None, (p,)),
            ("tick", pfn, (p, pfn)), ("isolate", ctypes.c_int64, (p, pfn, u)),
            ("unisolate", status, (p, pfn, u)), ("online", status, (p, pfn, pfn)),
            ("offline", status, (p, pfn, pfn)), ("stats", status, (p, status, words)),
            ("occupancy", None, (p, pfn, size, words)), ("check", status, (p, text))):
        function = getattr(lib, "property_" + name)
        function.restype, function.argtypes = result, arguments
    return lib


class Failure(Exception):
    """The back end did what no correct one does."""


def require(condition, message, *args):
    if not condition:
        raise Failure(message.format(*args))


class Machine:
    """
    One back end on one machine, beside a byte per frame. Each operation calls the back end and asks
    the bytes alone what may come of it.
    """

    def __init__(self, lib, spec, machine, mutant, trace=None):
        self.lib, self.spec, self.trace = lib, spec, trace
        self.text = ctypes.create_string_buffer(512)
        self.p = None
        if trace:
            trace(f'p = property_create("{spec}", MACHINE_{MACHINES[machine]}, '
                  f'MUTANT_{MUTANTS[mutant].upper()}, text);\n')
        self.p = lib.property_create(spec.encode(), machine, mutant, self.text)
        require(self.p, "create: {}", self.text.value.decode())
        self.capabilities = lib.property_capabilities(spec.split(":")[0].encode())
        bits = lib.property_functions(self.p)
        self.functions = {name for i, name in enumerate(FUNCTIONS) if bits >> i & 1}
        self.read_machine()
        self.live = []      # (pfn, order, kind) each
        self.isolated = []  # (pfn, order) each, disjoint
        self.freed = []     # (pfn, order) of late
        self.now_ns = 0
        self.agree()

    def read_machine(self):
        row = (ctypes.c_uint64 * 4)()
        self.zones = []
        while self.lib.property_zone(self.p, len(self.zones), row):
            self.zones.append(tuple(row))
        self.end = max(end for _, end, _, _ in self.zones)
        self.state = bytearray(PFN_END + 4096)  # as far as any operation reaches
        for start, end, _, _ in self.zones:
            self.state[start:end] = bytes([FREE]) * (end - start)
        i = 0
        while self.lib.property_absent(self.p, i, row):
            self.state[row[0]:row[1]] = bytes([ABSENT]) * (row[1] - row[0])
            i += 1

    def call(self, name, *args):
        """property_NAME(p, ARGS), told before it is made: it may be the last."""
        if self.trace:
            shown = ["pfns" if isinstance(a, ctypes.Array) else hex(a) if a > 2**32 else str(a)
                     for a in args]
            if name == "recover":
                shown.append("text")
            if name in OF_A_KIND:
                shown[0] = "KIND_" + KINDS[args[0]][0]
            self.trace(f"property_{name}({', '.join(['p', *shown])});")
        if name == "recover":
            args += (self.text,)
        result = getattr(self.lib, "property_" + name)(self.p, *args)
        if self.trace:
            shown = "PFN_NONE" if result == PFN_NONE else result
            self.trace("\n" if result is None else f"  /* {shown} */\n")
        return result

    # ---- the bytes ----

    def states(self, pfn, order):
        return self.state[pfn:pfn + (1 << order)]

    def paint(self, pfn, order, state):
        self.state[pfn:pfn + (1 << order)] = bytes([state]) * (1 << order)

    def only(self, pfn, order, *states):
        """All of the block in one zone, and in these states?"""
        return self.inside(pfn, order) and not self.states(pfn, order).strip(bytes(states))

    def inside(self, pfn, order):
        """All of the block in one zone?"""
        return any(start <= pfn and pfn + (1 << order) <= end for start, end, _, _ in self.zones)

    def allowed_zones(self, kind, cpu):
        if not self.capabilities & ZONES:
            return self.zones
        _, highest, this_node = KINDS[kind]
        highest = max(min(highest, ZONE_NORMAL), min(z[3] for z in self.zones))
        return [z for z in self.zones
                if z[3] <= highest and (not this_node or z[2] == self.home(cpu))]

    def home(self, cpu):
        """The cpu's node, or the lowest with memory."""
        nodes = {z[2] for z in self.zones}
        return NODE_OF_CPU[cpu] if NODE_OF_CPU[cpu] in nodes else min(nodes)

    def find(self, order, zones):
        """The first wholly free block in @zones, or None."""
        frames = 1 << order
        block = bytes([FREE]) * frames
        for start, end, _, _ in zones:
            at = self.state.find(block, start, end)
            while at >= 0 and at % frames:
                at = self.state.find(block, at - at % frames + frames, end)
            if at >= 0:
                return at
        return None

    # ---- judgements ----

    def agree(self):
        """What the back end says about itself is what the bytes say."""
        if "check" in self.functions:
            rc = self.lib.property_check(self.p, self.text)
            require(rc == 0, "check: {}: {}", rc, self.text.value.decode())
        if "stats" in self.functions:
            out = (ctypes.c_uint64 * 13)()
            for zone in range(-1, len(self.zones)):
                start, end = self.zones[zone][:2] if zone >= 0 else (0, self.end)
                require(self.lib.property_stats(self.p, zone, out) == 0, "stats of zone {}", zone)
                require(sum(n << order for order, n in enumerate(out[2:])) == out[0],
                        "zone {}: free blocks {} are not {} frames", zone, out[2:], out[0])
                self.within("zone %d" % zone, out[0] + out[1], start, end)
        if "occupancy" in self.functions:
            blocks = -(-self.end // HUGE_FRAMES)
            out = (ctypes.c_uint16 * blocks)()
            self.lib.property_occupancy(self.p, 0, blocks, out)
            for block in range(blocks):
                self.within("2 MiB block %d" % block, out[block], block * HUGE_FRAMES,
                            (block + 1) * HUGE_FRAMES)

    def within(self, what, said, start, end):
        least = self.state.count(FREE, start, end)
        most = least + self.state.count(MAYBE, start, end)
        require(least <= said <= most, "{}: {} free frames, but {} are free", what, said, least)

    def cached(self):
        if "stats" not in self.functions:
            return "drain" in self.functions
        out = (ctypes.c_uint64 * 13)()
        self.lib.property_stats(self.p, -1, out)
        return out[1] > 0

    def accept(self, pfn, order, kind, zones):
        """A block that was handed out must be one that may be."""
        end = pfn + (1 << order)
        if pfn & ((1 << order) - 1) or self.state[pfn:end].strip(AVAILABLE) or \
                not any(zone[0] <= pfn and end <= zone[1] for zone in zones):
            self.explain(pfn, order, kind)
        self.state[pfn:end] = WHOLLY_TAKEN[order]
        self.live.append((pfn, order, kind))

    def explain(self, pfn, order, kind):
        require(pfn % (1 << order) == 0, "pfn {} is not aligned to order {}", pfn, order)
        require(self.inside(pfn, order), "pfn {}, order {}: in no zone, or across two", pfn, order)
        require(self.only(pfn, order, FREE, MAYBE), "pfn {}, order {}: not all of it is free", pfn,
                order)
        raise Failure(f"pfn {pfn}, order {order}: in a zone that {KINDS[kind][0]} excludes")

    # ---- operations ----

    def alloc(self, kind, order, cpu, times):
        zones = self.allowed_zones(kind, cpu)
        for _ in range(times):
            if "predict" in self.functions and times == 1:
                expected = self.call("predict", kind, order, cpu)
            else:
                expected = None
            pfn = self.call("alloc", kind, order, cpu)
            require(expected in (None, pfn), "predicted {}, handed out {}", expected, pfn)
            if pfn == PFN_NONE:
                pfn = self.refused(kind, order, cpu, zones)
            if pfn is None:
                break
            self.accept(pfn, order, kind, zones)

    def may_lack_room(self, order):
        """May frames be lost to blocks that take more than their own, be it the one asked for?"""
        return self.capabilities & PADS and (order > 0 or any(of > 0 for _, of, _ in self.live))

    def refused(self, kind, order, cpu, zones):
        """There must be no such block, or only in caches. Return: the block, or None."""
        there = self.find(order, zones)
        if there is None:
            return None
        lacks_room = self.may_lack_room(order)
        require(self.cached() or lacks_room, "refused order {}, {}: yet pfn {} is free", order,
                KINDS[kind][0], there)
        self.call("drain")
        pfn = self.call("alloc", kind, order, cpu)
        if pfn == PFN_NONE and lacks_room:
            return None
        require(pfn != PFN_NONE, "refused order {}, {} after a drain: yet pfn {} is free", order,
                KINDS[kind][0], there)
        return pfn

    def fill(self, kind, order, cpu, leave):
        """Take all there is, then free some of it."""
        zones = self.allowed_zones(kind, cpu)
        room = (self.end >> order) + 8  # more than there can be
        out = (ctypes.c_uint64 * room)()
        n = self.call("fill", kind, order, cpu, room, out)
        first = len(self.live)
        for pfn in out[:n]:
            self.accept(pfn, order, kind, zones)
        last = self.refused(kind, order, cpu, zones)
        if last is not None:
            self.accept(last, order, kind, zones)
            self.alloc(kind, order, cpu, room)
        for _ in range(min(leave, len(self.live) - first)):
            self.free_live(first + (len(self.live) - first) // 2, cpu)

    def free_live(self, index, cpu):
        pfn, order, kind = self.live[index]
        self.live[index] = self.live[-1]
        self.live.pop()
        self.free_block(kind, pfn, order, cpu)

    def free_block(self, kind, pfn, order, cpu):
        rc = self.call("free", kind, pfn, order, cpu)
        require(rc == 0, "free of pfn {}, order {}: {}", pfn, order, rc)
        self.note_free(pfn, order)

    def note_free(self, pfn, order):
        self.paint(pfn, order, FREE)
        self.hold_back(pfn, pfn + (1 << order))
        self.freed = self.freed[-15:] + [(pfn, order)]

    def hold_back(self, start, end):
        """Of what became free in [start, end), isolated blocks may keep theirs."""
        for pfn, order in self.isolated:
            for i in range(max(start, pfn), min(end, pfn + (1 << order))):
                if self.state[i] == FREE:
                    self.state[i] = MAYBE

    def free(self, index, cpu, times, stride):
        index = index % len(self.live) if self.live else 0
        for _ in range(times):
            if not self.live:
                break
            self.free_live(index % len(self.live), cpu)
            index += stride

    def free_part(self, index, cpu, order, part):
        """A part goes; the rest stays as objects of their own."""
        if not self.live or not self.capabilities & SPLIT:
            return
        index %= len(self.live)
        pfn, whole, kind = self.live[index]
        order = min(order, whole)
        part = pfn + (part % (1 << (whole - order)) << order)
        self.live[index] = self.live[-1]
        self.live.pop()
        self.free_block(kind, part, order, cpu)
        while whole > order:
            whole -= 1
            half = pfn + (1 << whole)
            self.live.append((half if part < half else pfn, whole, kind))
            pfn = pfn if part < half else half

    def settle(self):
        """Caches may accept a double free; lists may not."""
        if "drain" in self.functions and self.cached():
            self.call("drain")

    def must_refuse(self, kind, pfn, order, cpu):
        rc = self.call("free", kind, pfn, order, cpu)
        require(rc == EINVAL, "free of pfn {}, order {}, of which not all is allocated: {}", pfn, order,
                rc)

    def free_again(self, index, order, cpu):
        """What was freed, or a larger block round it."""
        if not self.freed:
            return
        pfn, freed = self.freed[index % len(self.freed)]
        self.free_wild(pfn, max(order, freed), cpu)

    def free_wild(self, pfn, order, cpu):
        pfn -= pfn % (1 << order)
        states = self.states(pfn, order)
        # Frames of two objects, or isolated ones: a back end that knows only bits cannot tell.
        if not any(s in states for s in (OUTSIDE, ABSENT, FREE, MAYBE)):
            return
        self.settle()
        self.must_refuse(0, pfn, order, cpu)

    def free_askew(self, index, shift, cpu):
        """Not aligned to its order."""
        blocks = [b for b in self.live if b[1] > 0]
        if blocks:
            pfn, order, kind = blocks[index % len(blocks)]
            order = 1 + shift % order
            self.must_refuse(kind, pfn + (1 << (order - 1)), order, cpu)

    def free_nowhere(self, order, cpu):
        self.must_refuse(0, PFN_NONE - ((1 << order) - 1), order, cpu)
        self.must_refuse(0, 2**40, order, cpu)

    def alloc_at(self, kind, pfn, order, cpu):
        if "alloc_at" not in self.functions:
            return
        pfn -= pfn % (1 << order)
        rc = self.call("alloc_at", kind, pfn, order, cpu)
        states = set(self.states(pfn, order))
        if rc and self.only(pfn, order, FREE) and self.cached():
            self.call("drain")
            rc = self.call("alloc_at", kind, pfn, order, cpu)
        if rc == 0:
            self.accept(pfn, order, kind, self.zones)
            return
        require(not self.only(pfn, order, FREE), "alloc_at pfn {}, order {}, which is free: {}", pfn,
                order, rc)
        if states <= {OUTSIDE, ABSENT}:
            require(rc == EINVAL, "alloc_at pfn {}, order {}, which is not there: {}", pfn, order, rc)
        elif not states & {OUTSIDE, ABSENT} and self.inside(pfn, order):
            require(rc == EBUSY, "alloc_at pfn {}, order {}, which is in use: {}", pfn, order, rc)
        require(rc in (EINVAL, EBUSY), "alloc_at pfn {}, order {}: {}", pfn, order, rc)

    def bulk(self, kind, order, cpu, times):
        """Allocate so many at once, and free every other in one go."""
        if not self.capabilities & BULK:
            return
        out = (ctypes.c_uint64 * times)()
        zones = self.allowed_zones(kind, cpu)
        n = self.call("alloc_bulk", kind, order, cpu, times, out)
        require(n <= times, "alloc_bulk of {}: {}", times, n)
        first = len(self.live)
        for pfn in out[:n]:
            self.accept(pfn, order, kind, zones)
        require(n == times or self.find(order, zones) is None or self.cached(),
                "alloc_bulk: {} of {} blocks, yet there are more", n, times)
        half = (ctypes.c_uint64 * len(out[:n:2]))(*out[:n:2])
        if len(half):
            done = self.call("free_bulk", kind, half, len(half), order, cpu)
            require(done == len(half), "free_bulk of {}: {}", len(half), done)
            self.live[first:] = self.live[first + 1::2]
            for pfn in half:
                self.note_free(pfn, order)

    def drain(self):
        self.call("drain")

    def tick(self, elapsed_ns):
        if "tick" in self.functions:
            self.now_ns += elapsed_ns
            self.call("tick", self.now_ns)

    def isolate(self, pfn, order):
        if "isolate" not in self.functions:
            return
        pfn -= pfn % (1 << order)
        block = (pfn, order)
        if block not in self.isolated and any(
                pfn < q + (1 << o) and q < pfn + (1 << order) for q, o in self.isolated):
            return
        self.settle()
        got = self.call("isolate", pfn, order)
        states = self.states(pfn, order)
        if got == EINVAL and not self.inside(pfn, order):
            return
        free, maybe = states.count(FREE), states.count(MAYBE)
        require(free <= got <= free + maybe, "isolate pfn {}, order {}: {} frames, but {} are free",
                pfn, order, got, free)
        self.state[pfn:pfn + (1 << order)] = bytes(ISOLATED if s in (FREE, MAYBE) else s
                                                   for s in states)
        if block not in self.isolated:
            self.isolated.append(block)

    def isolate_askew(self, pfn, order):
        if "isolate" in self.functions and pfn % (1 << order):
            rc = self.call("isolate", pfn, order)
            require(rc == EINVAL, "isolate pfn {}, order {}, misaligned: {}", pfn, order, rc)

    def unisolate(self, index):
        if not self.isolated:
            return
        pfn, order = self.isolated.pop(index % len(self.isolated))
        rc = self.call("unisolate", pfn, order)
        require(rc == 0, "unisolate pfn {}, order {}: {}", pfn, order, rc)
        self.state[pfn:pfn + (1 << order)] = bytes(FREE if s in (ISOLATED, MAYBE) else s
                                                   for s in self.states(pfn, order))

    def online(self, start, frames):
        if "online" not in self.functions:
            return
        rc = self.call("online", start, start + frames)
        states = self.state[start:start + frames]
        require(rc == (0 if states.strip(bytes([OUTSIDE])) else EINVAL), "online [{}, {}): {}", start,
                start + frames, rc)
        self.state[start:start + frames] = bytes(FREE if s == ABSENT else s for s in states)
        self.hold_back(start, start + frames)

    def offline(self, start, frames):
        if "offline" not in self.functions:
            return
        self.settle()
        rc = self.call("offline", start, start + frames)
        states = self.state[start:start + frames]
        if not states.strip(bytes([OUTSIDE])):
            allowed = (EINVAL,)
        elif TAKEN in states:
            allowed = (EBUSY,)
        elif ISOLATED in states or MAYBE in states:
            allowed = (0, EBUSY)
        else:
            allowed = (0,)
        require(rc in allowed, "offline [{}, {}): {}", start, start + frames, rc)
        if rc == 0:
            self.state[start:start + frames] = bytes(s if s == OUTSIDE else ABSENT for s in states)

    def recover(self, crash):
        """At rest nothing is under way, so nothing may be lost: hotplug and isolation neither."""
        if not self.capabilities & PERSISTENT:
            return
        rc = self.call("recover", crash)
        require(rc == 0, "recover: {}: {}", rc, self.text.value.decode())

    def run(self, program):
        for name, *args in program:
            getattr(self, name)(*args)
            self.agree()
        self.finish()

    def finish(self):
        """All is given back, and then all can be had: in huge blocks, then frame by frame."""
        while self.isolated:
            self.unisolate(0)
        while self.live:
            self.free_live(len(self.live) - 1, 0)
        self.call("drain")
        self.agree()
        for order in (HUGE_ORDER, 0):
            while self.live and self.may_lack_room(order):
                self.free_live(0, 0)
            self.fill(0, order, 0, 0)
        require(FREE not in self.state, "{} frames cannot be had", self.state.count(FREE))
        self.agree()
        self.lib.property_destroy(self.p)


# ---- programs ----

def between(low, high):
    return st.integers(low, high)


def operation(name, *args):
    return st.tuples(st.just(name), *args)


CPU, PICK = between(0, CPUS - 1), between(0, 999)
ORDER = st.one_of(between(0, 3), between(0, MAX_ORDER))
KIND = st.one_of(st.just(0), between(0, len(KINDS) - 1))
PFN = between(0, PFN_END)
TIMES = st.one_of(between(1, 4), between(1, 100))

ALLOC = operation("alloc", KIND, ORDER, CPU, TIMES)
FREE_SOME = operation("free", PICK, CPU, TIMES, between(0, 3))
FREE_PART = operation("free_part", PICK, CPU, ORDER, PICK)
FREE_BADLY = st.one_of(operation("free_again", PICK, ORDER, CPU), operation("free_wild", PFN, ORDER, CPU),
                       operation("free_askew", PICK, PICK, CPU), operation("free_nowhere", ORDER, CPU))
ALLOC_AT = operation("alloc_at", KIND, PFN, ORDER, CPU)
CACHES = st.one_of(operation("drain"), operation("bulk", KIND, ORDER, CPU, TIMES),
                   operation("tick", between(1, 10**9)))
ISOLATION = st.one_of(operation("isolate", PFN, ORDER), operation("unisolate", PICK),
                      operation("isolate_askew", PFN, ORDER))
FRAMES = st.one_of(between(1, 40), between(1, 3000))
HOTPLUG = st.one_of(operation("offline", PFN, FRAMES), operation("online", PFN, FRAMES))
RECOVER = operation("recover", between(0, 1))
FILL = operation("fill", KIND, st.one_of(st.just(0), ORDER), CPU, between(0, 60))

# A program has phases, so that memory fills, empties, and is churned.
PHASES = (
    (ALLOC, ALLOC, FREE_SOME, FREE_PART),
    (ALLOC, FREE_SOME, FREE_SOME, FREE_PART, FREE_BADLY),
    (ALLOC, FREE_SOME, FREE_PART, ALLOC_AT, CACHES, RECOVER),
    (ALLOC, FREE_SOME, FREE_PART, ISOLATION, ISOLATION, ALLOC_AT, RECOVER),
    (ALLOC, FREE_SOME, FREE_PART, HOTPLUG, HOTPLUG, ISOLATION, RECOVER),
    (FILL, ALLOC, FREE_SOME, FREE_PART, ALLOC_AT, FREE_BADLY, RECOVER),
)
PROGRAM = st.lists(st.one_of(*(st.lists(st.one_of(*phase), min_size=2, max_size=20)
                               for phase in PHASES)),
                   min_size=2, max_size=8).map(lambda phases: [op for ops in phases for op in ops])
SITUATION = st.tuples(between(0, 1), PROGRAM)


# ---- running them ----

class Runner:
    """Programs for one specification, each in a child."""

    def __init__(self, lib, spec, mutant="none"):
        self.lib, self.spec, self.mutant = lib, spec, MUTANTS.index(mutant)
        self.programs = 0

    def child(self, situation, pipe, traced):
        """Never returns."""
        gc.disable()  # it would touch, and so copy, every page of the parent's
        signal.alarm(PATIENCE_S)
        if not traced:  # what an assertion or a sanitizer has to say, once is enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

        def tell(text):
            os.write(pipe, text.encode())

        verdict = b"\0"
        try:
            Machine(self.lib, self.spec, situation[0], self.mutant,
                    tell if traced else None).run(situation[1])
        except Failure as why:
            verdict = f"\0{why}".encode()
        except BaseException as why:  # pylint: disable=broad-except
            verdict = f"\0the test itself: {why!r}".encode()
        os.write(pipe, verdict)
        os._exit(0)

    def verdict(self, situation, traced=False):
        """Return: what went wrong, or "", and the calls if @traced."""
        self.programs += 1
        reading, writing = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self.child(situation, writing, traced)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            calls, told, why = pipe.read().decode("utf-8", "replace").partition("\0")
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status < 0:
            why = "it hangs" if status == -signal.SIGALRM else \
                f"it dies of {signal.Signals(-status).name}"
        elif status or not told:
            why = f"it exits with {status}"
        return why, calls

    def minimal(self):
        """A failing program, shrunk, if one is drawn; else None."""
        settings = hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None,
                                       phases=(hypothesis.Phase.generate,))
        try:
            found = hypothesis.find(SITUATION, self.fails, settings=settings,
                                    random=random.Random(f"{SEED} {self.spec}"))
        except hypothesis.errors.NoSuchExample:
            return None
        return self.shrunk(found)

    def fails(self, situation):
        return bool(self.verdict(situation)[0])

    def shrunk(self, situation):
        """Fewer operations, smaller numbers, until no single such step fails any more."""
        before = None
        while situation != before:
            before = situation
            situation = self.lower(self.plainer(self.without(situation)))
        return situation

    def without(self, situation):
        """Leave out operations, in runs of ever fewer."""
        machine, program = situation
        length = len(program)
        while length:
            at = 0
            while at < len(program):
                shorter = program[:at] + program[at + length:]
                if shorter != program and self.fails((machine, shorter)):
                    program = shorter
                else:
                    at += length
            length //= 2
        return machine, program

    def plainer(self, situation):
        """A few allocations instead of all there are."""
        machine, program = situation
        for i, (name, *args) in enumerate(program):
            if name == "fill":
                other = [*program[:i], ("alloc", *args[:3], 100), *program[i + 1:]]
                if self.fails((machine, other)):
                    program = other
        return machine, program

    def lower(self, situation):
        """Lower every number, the machine's included: to nothing, else by halves, else by one."""
        numbers = [situation[0]] + [n for op in situation[1] for n in op[1:]]

        def rebuilt():
            rest = iter(numbers[1:])
            return numbers[0], [(op[0], *(next(rest) for _ in op[1:])) for op in situation[1]]

        for i, number in enumerate(numbers):
            step = number
            while step:
                numbers[i] = number - step
                if number >= step and self.fails(rebuilt()):
                    number -= step
                    step = min(step, number)
                else:
                    step //= 2
                numbers[i] = number
        return rebuilt()


def compact(calls):
    """Allocations that only repeat, as a loop."""
    rows = []
    for line in calls.splitlines():
        call, _, result = line.partition("  /* ")
        if rows and call == rows[-1][0] and call.startswith("property_alloc("):
            rows[-1][1] += 1
            rows[-1][2] = result
        else:
            rows.append([call, 1, result])
    return [(f"for (int i = 0; i < {n}; i++) " if n > 1 else "") + call +
            (f"  /* {'..., ' if n > 1 else ''}{result}" if result else "") for call, n, result in rows]


def report(runner, situation):
    """The minimal sequence, and why it is wrong."""
    why, calls = runner.verdict(situation, traced=True)
    print(f"# {runner.spec}: {why}")
    print(f"# found and shrunk in {runner.programs} programs; the calls (property_shim.c):")
    for line in compact(calls):
        print(f"#   {line}")
    print(f"# drawn as: {situation!r}", flush=True)
    return why, calls


# ---- tests ----

# As far as a back end has these options.
VARIANTS = ("tree=4", "tree=64", "policy=simple,tree=4", "policy=pagecache,tree=4", "policy=reclaimable",
            "policy=context", "last_frees=on,tree=4", "pcp=off", "rows=on", "rows=on,tree=4",
            "persist=eadr", "persist=adr,rows=on")


def specifications(lib):
    """Every built-in back end that decides by itself, and the variants its options offer."""
    specs, i = [], 0
    while name := lib.property_backend(i):
        i += 1
        if not lib.property_capabilities(name) & (ECHO | UNCHECKED):
            specs.append(name.decode())
            specs += [f"{specs[-1]}:{variant}" for variant in VARIANTS]
    return [spec for spec in specs if lib.property_accepts(spec.encode())]


def agrees(lib, spec):
    runner = Runner(lib, spec)
    situation = runner.minimal()
    if situation is None:
        return True
    report(runner, situation)
    return False


# What a wrong back end must be cut down to: at most so many calls until it is caught, all counted.
CONTROLS = (
    ("firstfit", "forgets", 20),  # seven blocks, seven frees, a look
    ("firstfit", "twice", 8),
    ("firstfit", "denies", 3),
    ("llfree", "credulous", 4),
    ("buddy", "trespasses", 3),
    ("nextfit", "dies", 4),
    ("firstfit", "hoards", 4),
    ("llfree", "relapses", 4),
)


def catches(lib, spec, mutant, most):
    runner = Runner(lib, spec, mutant)
    situation = runner.minimal()
    if situation is None:
        print(f"# {spec}, mutant {mutant}: not caught in {runner.programs} programs")
        return False
    _, calls = report(runner, situation)
    if calls.count("property_") > most:
        print(f"# {calls.count('property_')} calls are more than {most}")
        return False
    return True


def main():
    lib = load(os.path.abspath(sys.argv[1]))
    specs = sys.argv[2:] or specifications(lib)
    tests = [(f"{spec} agrees with a byte per frame", agrees, (lib, spec)) for spec in specs]
    if len(sys.argv) == 2:
        tests += [(f"a {spec} that {mutant} is caught in at most {most} calls", catches,
                   (lib, spec, mutant, most)) for spec, mutant, most in CONTROLS]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, (name, test, args) in enumerate(tests, 1):
        began = time.monotonic()
        good = test(*args)
        failed += not good
        print(f"{'' if good else 'not '}ok {number} - {name}")
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
