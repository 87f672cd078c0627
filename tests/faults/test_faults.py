#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
What quire makes of a machine that is short of something: the n-th allocation, mapping, write, read,
fsync, ... fails, for every n, once or from then on (fault_injector.c, which is linked into QUIRE).
Whatever it is, quire either does not need it, and the result is the same; or it ends with exit code 3
and one line that says what is short. No crash, no hang, no leak, no half-written result, no damage
told where there is none. Speaks TAP.

usage: test_faults.py QUIRE [--only VERB[,VERB...]] [--classes CLASS[,...]] [--by call|stack|site]
                      [--stride N] [--verbose]

The gate tries one call of every tenth of the places in quire where something may fail (a place is all
that is on the stack), other ones for each QUIRE_SEED. QUIRE_TEST_EFFORT=10 tries one call of each
place, those within libraries too; --by call --stride 1 each call of each, which takes hours. What was
tried is said.
"""
import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTHERS = f"{SOURCE}/tests/faults/leaks_of_others.txt"
# hwloc does not look whether it got memory while it finds out what a host is made of, and may crash. What we
# ask for right before it is tried like all else, so that only its own calls are let off.
WITHIN_HWLOC = "load (placement.c"
INSTANCES = "/sys/kernel/tracing/instances"
PATIENCE_S = 120
SANITIZER_EXIT = 99

# ---- what fault_injector.c shares ----

CLASSES = ["memory", "map", "write", "read", "sync", "truncate", "open", "name", "process", "pipe",
           "close", "advice"]
PROCESSES = 16
MODES = {"none": 0, "once": 1, "forever": 2, "short": 3}
HEAD = struct.Struct("<8Q")
COUNTS = struct.Struct(f"<{PROCESSES * len(CLASSES)}Q")
CALL = struct.Struct("<4Q")
ENOMEM, EIO, ENOSPC, EAGAIN, EMFILE, EINTR = 12, 5, 28, 11, 24, 4

# How a fault is told: what a class of calls may end with.
SHORT_OF_MEMORY = "memory|cannot start .* threads"  # the C library tells no difference
FULL = "No space left"
BROKEN = "Input/output error|disk I/O error"
LOST = "an earlier write failed"  # by whoever flushed it, who had no use for the answer
# SQLite goes on to try other ways to open a file, and tells how the last of them failed.
NO_DESCRIPTOR = "Too many open files|unable to open|directory( is)? (writable|read-only)"

# class: what is tried, and which words tell it: (mode, errno, words; None: must not matter at all).
VARIANTS = {
    "memory": [("once", ENOMEM, SHORT_OF_MEMORY), ("forever", ENOMEM, SHORT_OF_MEMORY)],
    "map": [("once", ENOMEM, "memory"), ("forever", ENOMEM, "memory")],
    "write": [("once", ENOSPC, f"{FULL}|{LOST}"), ("forever", ENOSPC, f"{FULL}|{LOST}"),
              ("once", EIO, f"{BROKEN}|{LOST}"), ("short", 0, None), ("once", EINTR, None)],
    "read": [("once", EIO, f"{BROKEN}|the disk cannot be read"), ("short", 0, None),
             ("once", EINTR, None)],
    "sync": [("once", EIO, BROKEN)],
    "truncate": [("once", ENOSPC, f"{FULL}|disk"), ("once", EIO, BROKEN)],
    "open": [("once", EMFILE, NO_DESCRIPTOR), ("forever", EMFILE, NO_DESCRIPTOR)],
    "name": [("once", ENOSPC, FULL), ("once", EIO, BROKEN)],
    "process": [("once", EAGAIN, "Resource temporarily unavailable"), ("once", ENOMEM, "memory")],
    "pipe": [("once", EMFILE, "Too many open files")],
    "close": [("once", EIO, BROKEN)],
    "advice": [("forever", ENOMEM, None)],
}
# Nothing was damaged: a fault must not be told as if.
DAMAGE = re.compile("damage|checksum|mismatch|corrupt|malformed|not a trace|not a database|truncated|"
                    "do not unpack|incomplete", re.I)


class Call(collections.namedtuple("Call", "process fault_class nth")):
    """One call that may fail."""


class Point(collections.namedtuple("Point", "process fault_class nth mode code words")):
    def __str__(self):
        return (f"{self.fault_class} {self.nth} of process {self.process}, {self.mode}, "
                f"{os.strerror(self.code) if self.code else 'half done'}")


class Outcome:
    """One run: what quire said and left, and where it failed."""
    def __init__(self, code, out, err, hit, calls, where, stack):
        self.code, self.hit, self.calls, self.where, self.stack = code, hit, calls, where, stack
        self.left = {}  # of a reference: what it left
        self.instance_left = False
        self.out, self.err = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def run(program, case, where, point=None, log=False, slow=False):
    """Run a case in the directory @where, which is new."""
    os.mkdir(where)
    case.prepare(where)
    control = where + ".control"
    mode = point or Point(0, "memory", 0, "none", 0, None)
    with open(control, "wb") as f:
        f.write(HEAD.pack(MODES[mode.mode], mode.process, CLASSES.index(mode.fault_class), mode.nth,
                          mode.code, log, 0, 0) + bytes(COUNTS.size))
    env = {**os.environ, "QUIRE_FAULTS": control, "LC_ALL": "C",
           "ASAN_OPTIONS": f"detect_leaks=1:exitcode={SANITIZER_EXIT}:malloc_context_size=20:"
                           f"fast_unwind_on_malloc={int(not slow)}:"
                           "quarantine_size_mb=1:allocator_may_return_null=1",
           "LSAN_OPTIONS": f"suppressions={OTHERS}:print_suppressions=0",
           "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:exitcode={SANITIZER_EXIT}"}
    try:
        process = subprocess.Popen([program, *case.args], cwd=where, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=PATIENCE_S)
        code = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        code = None
    with open(control, "rb") as f:
        hits = HEAD.unpack(f.read(HEAD.size))[7]
    stack, calls = [], []
    if os.path.exists(control + ".stack"):
        with open(control + ".stack", encoding="utf-8") as f:
            stack = f.read().splitlines()
        os.unlink(control + ".stack")
    if log and os.path.exists(control + ".calls"):
        with open(control + ".calls", "rb") as f:
            calls = list(CALL.iter_unpack(f.read()))
        os.unlink(control + ".calls")
    os.unlink(control)
    outcome = Outcome(code, out, err, hits > 0, calls, where, stack)
    instance = os.path.join(INSTANCES, f"quire-{process.pid}")
    outcome.instance_left = os.path.isdir(instance)
    if outcome.instance_left:
        os.rmdir(instance)
    return outcome


# What is measured or found, by name; main() adds the metrics that say of themselves that they are.
NOISY = {"backing", "huge_pages"}

# ---- what is the same, and what is only left ----

def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def tree(where):
    """Every file below, as a path from there."""
    found = []
    for folder, _, names in os.walk(where):
        found += [os.path.relpath(os.path.join(folder, n), where) for n in names]
    return sorted(found)


def unlike(a, b, key=""):
    """The keys under which two documents differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return set().union(*(unlike(a[k], b[k], k) for k in a))
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return set().union(*(unlike(x, y, key) for x, y in zip(a, b)))
    return set() if a == b else {key}


def masked(value, noisy):
    """A JSON document without what no two runs have in common."""
    if isinstance(value, dict):
        return {k: masked(v, noisy) for k, v in value.items() if k not in noisy}
    if isinstance(value, list):
        return [masked(v, noisy) for v in value]
    return value


class Case:
    """A verb with arguments: what it needs, what it may leave."""
    def __init__(self, name, args, inputs=(), outputs=(), database=None, root=False,
                 weight=1, long=False):
        self.name, self.args, self.inputs, self.outputs = name, args, inputs, outputs
        self.database, self.root = database, root
        self.weight, self.long = weight, long  # how much rarer it is tried; not in the gate
        self.before = {}  # what is there already
        self.noisy = set(NOISY)  # and what noise() adds

    def prepare(self, where):
        for path in self.inputs:
            shutil.copy(path, where)
        self.before = {name: read_file(os.path.join(where, name)) for name in tree(where)}

    def told(self, outcome):
        """stdout, as far as it is the same in every run."""
        if "json" not in self.args:
            return len(outcome.out.splitlines())
        if self.root:
            return sorted(json.loads(outcome.out))
        return masked(json.loads(outcome.out), self.noisy)

    def noise(self, *outcomes):
        """Learn from undisturbed runs what no two have in common."""
        if "json" in self.args:
            documents = [json.loads(outcome.out) for outcome in outcomes]
            self.noisy |= set().union(*(unlike(documents[0], d) for d in documents[1:]))

    def left(self, outcome):
        """Contents of the outputs."""
        result = {}
        for name in tree(outcome.where):
            journal = re.match(rf"{self.database}-(wal|shm|journal)$", name)
            if (name not in self.before or name in self.outputs) and not journal:
                result[name] = self.content(os.path.join(outcome.where, name))
        return result

    def content(self, path):
        if path.endswith(".db"):
            return database_content(path)
        if self.root:  # what nobody repeats
            return os.path.getsize(path) > 1000
        if path.endswith(".html"):
            return re.sub(rb"[0-9]+", b"0", read_file(path))
        if path.endswith((".quire", ".json")):
            return read_file(path)
        return os.path.getsize(path) > 0

    def complaints(self, outcome, reference):
        notes = reference.err.splitlines()
        # Other rows need other room, and so leave other columns out. How time was taken is measured anew.
        usual = ("quire: left out for want of room: ", "quire: times: ")
        return [line for line in outcome.err.splitlines()
                if line not in notes and not line.startswith(usual)]

    def check_left_on_failure(self, program, outcome, usual):
        """
        Return: what is wrong with what a run that failed left, or None. A result that was whole before
        something else failed (such as telling so) is none that is half-written.
        """
        after = tree(outcome.where)
        for name in after:
            path = os.path.join(outcome.where, name)
            if self.database and name.startswith(self.database):
                continue
            if name in usual and self.content(path) == usual[name]:
                continue
            if name not in self.before:
                return f"left {re.sub('[.][a-z0-9]{6}$', '.XXXXXX', name)}"
            if read_file(path) != self.before[name]:
                return f"changed {name}"
        gone = [name for name in self.before if name not in after]
        if gone:
            return f"removed {gone[0]}"
        if self.database and self.database in after:
            return check_database(program, os.path.join(outcome.where, self.database))
        return None


TABLES = ["metric", "sample", "sample_metric", "latency", "warning", "run_setting", "freelist"]


def database_content(path):
    """Of each finished run, how much there is."""
    with sqlite3.connect(path) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone():
            return []
        runs = db.execute("SELECT id, status FROM run ORDER BY id").fetchall()
        count = "SELECT count(*) FROM {} WHERE run_id = ?"
        return [(status, *(db.execute(count.format(t), (run_id,)).fetchone()[0] for t in TABLES))
                for run_id, status in runs]


def check_database(program, path):
    try:
        with sqlite3.connect(path) as db:
            if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                return "a database that is not sound"
            if db.execute("PRAGMA foreign_key_check").fetchone():
                return "a database with rows of nothing"
        whole = {row for row in database_content(path) if row[0] == "done"}
        torn = [row for row in database_content(path) if row[0] == "done" and 0 in row[1:2]]
        if torn or len({row[1] for row in whole}) > 1:
            return f"a run called done of which a part is missing: {whole}"
        if any(row[0] == "running" for row in database_content(path)):
            # What could not be written any more, the next who opens it does.
            subprocess.run([program, "bench", "bulk", "--memory", "1M", "--repetitions", "1", "-a",
                            "null", "--db", path], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
            if any(row[0] == "running" for row in database_content(path)):
                return "a run called running, which nobody runs"
    except sqlite3.Error as error:
        return f"a database that cannot be read: {error}"
    return None


# ---- judging ----

def judge(program, case, point, outcome, reference):
    """Return: what is wrong, or None."""
    err = outcome.err
    if outcome.code is None:
        return "hangs"
    if "LeakSanitizer" in err and "DEADLYSIGNAL" not in err:
        return "leaks"
    if "CHECK failed: sanitizer_linux_libcdep" in err:
        return None  # a thread's beginning needs memory of the sanitizer's own
    if re.search(r"DEADLYSIGNAL(.*\n){1,9} *#[0-2] .*libtraceevent[.]so", err):
        return None  # no doing of ours
    if "Sanitizer" in err or "runtime error:" in err:
        return "crashes: " + next(
            (line for line in err.splitlines() if "ERROR" in line or "runtime" in line), err[:200])
    if outcome.code < 0 or outcome.code in (99, 134, 139):
        return f"ends with {outcome.code}"
    if outcome.instance_left:
        return "leaves a tracing instance"
    if "json" in case.args and outcome.out:
        try:
            json.loads(outcome.out)
        except ValueError:
            if not (point.fault_class in ("write", "memory") and outcome.code == 3):
                return "JSON that is none"
    lines = case.complaints(outcome, reference)
    if outcome.code == 0:
        return judge_success(case, outcome, reference, lines)
    if outcome.code != 3:
        return f"exit code {outcome.code}: {lines[:1]}"
    if point.words is None:
        return f"not borne: {lines[:1]}"
    # The run, the database and standard output may each be short of it, of something that does not end
    # each back end, and what it says cannot be kept.
    if not 1 <= len(lines) <= (9 if point.mode == "forever" else 3):
        return f"{len(lines)} lines: {lines[:4]}"
    for line in lines:
        if DAMAGE.search(line) and "or the disk cannot be read" not in line:
            return f"called damage: {line}"
        if not line.startswith("quire: ") or not re.search(point.words, line, re.I):
            return f"other words: {line}"
    return case.check_left_on_failure(program, outcome, reference.left)


def judge_success(case, outcome, reference, lines):
    told, usual = case.told(outcome), case.told(reference)
    if told != usual:
        return f"exit code 0, and it tells something else: {sorted(unlike(told, usual))[:3]}"
    left, usual = case.left(outcome), reference.left
    if left != usual:
        names = [n for n in {**left, **usual} if left.get(n) != usual.get(n)]
        return f"exit code 0, and leaves something else: {names[:2]}"
    # Where hwloc fails, threads are placed without it, which the run says.
    wrong = [line for line in lines if "warning" not in line and "events were lost" not in line
             and "hwloc cannot tell" not in line]
    return f"exit code 0, and complains: {wrong[:2]}" if wrong else None


def places(program, stack, names):
    """The functions of quire on a stack, innermost first, as "function (file:line)"."""
    addresses = []
    for line in stack:
        # Exported functions are told as name+offset; then the absolute address is no help either.
        match = re.search(r"\(([^)+]*)\+(0x[0-9a-f]+)\)", line)
        if not match or "quire_faulty" not in line:
            continue
        if match[1]:
            base = names.get(match[1])
            if base is None:
                continue
            addresses.append(hex(base + int(match[2], 16) - 1))
        else:
            addresses.append(hex(int(match[2], 16) - 1))
    if not addresses:
        return []
    text = subprocess.run(["addr2line", "-f", "-s", "-e", program, *addresses], stdout=subprocess.PIPE,
                          text=True, check=False).stdout.splitlines()
    pairs = zip(text[::2], text[1::2])
    return [f"{f} ({p})" for f, p in pairs if "fault_injector" not in p]


def symbols(program):
    out = subprocess.run(["nm", "--defined-only", program], stdout=subprocess.PIPE, text=True,
                         check=False).stdout
    return {name: int(address, 16) for address, _, name in (line.split() for line in out.splitlines())}


# ---- which points ----

def calls_of(reference, by, rng):
    """The calls of a run: all, or one for each stack, or one for each stack of the program's own."""
    seen = collections.Counter()
    groups = collections.defaultdict(list)
    for process, fault_class, site, stack in reference.calls:
        seen[process, fault_class] += 1
        call = Call(process, CLASSES[fault_class], seen[process, fault_class])
        key = call if by == "call" else (process, fault_class, stack if by == "stack" else site)
        groups[key].append(call)
    return [rng.choice(group) for group in groups.values()]


def points_of(calls, classes):
    return [Point(*call, *variant) for call in calls if call.fault_class in classes
            for variant in VARIANTS[call.fault_class]]


# ---- the verbs ----

def cases(where, program):
    """Every verb, small. Inputs are made by the same program, undisturbed."""
    def quire(*args):
        env = {k: v for k, v in os.environ.items() if k != "QUIRE_FAULTS"}
        return subprocess.run([program, *args], cwd=where, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=env).stdout

    def at(name):
        return os.path.join(where, name)

    text = read_file(os.path.join(SOURCE, "tests/data/perf/script.txt")).splitlines(True)[:60]
    with open(at("perf.txt"), "wb") as f:
        f.write(b"".join(text))
    quire("generate", "frag", "-p", "memory=4M,rounds=1,cpus=2", "-o", "g.quire")
    quire("import", "perf.txt", "-o", "i.quire")
    quire("replay", "g.quire", "-a", "buddy", "-a", "llfree", "--samples", "2", "--db", "old.db")
    metrics = json.loads(quire("list", "metrics", "--format", "json"))["metrics"]
    NOISY.update(m["name"] for m in metrics if m["kind"] == "noisy")
    replay = ["--samples", "2", "-a", "buddy", "-a", "llfree:tree=8"]
    return [
        Case("list", ["list", "metrics"]),
        Case("import", ["import", "perf.txt", "-o", "o.quire"], [at("perf.txt")], ["o.quire"]),
        Case("import over", ["import", "perf.txt", "-o", "g.quire", "--force"],
             [at("perf.txt"), at("g.quire")], ["g.quire"]),
        Case("generate", ["generate", "frag", "-p", "memory=4M,rounds=1,cpus=2", "-o", "o.quire"], [],
             ["o.quire"]),
        Case("trace info", ["trace", "info", "g.quire", "--format", "json"], [at("g.quire")]),
        Case("trace check", ["trace", "check", "g.quire", "--format", "json"], [at("g.quire")]),
        Case("trace cat", ["trace", "cat", "g.quire", "--count", "40", "--format", "csv"], [at("g.quire")]),
        Case("replay json", ["replay", "g.quire", *replay, "--format", "json"], [at("g.quire")]),
        Case("replay table", ["replay", "i.quire", "--samples", "2", "-a", "recorded", "-a", "percpu"],
             [at("i.quire")]),
        Case("replay new db", ["replay", "g.quire", *replay, "--db", "new.db", "--format", "json"],
             [at("g.quire")], ["new.db"], database="new.db"),
        Case("replay old db", ["replay", "g.quire", *replay[:4], "--db", "old.db", "--format", "json"],
             [at("g.quire"), at("old.db")], ["old.db"], database="old.db"),
        Case("bench frag", ["bench", "frag", "--memory", "4M", "--rounds", "1", "-a", "buddy", "--format",
                            "json"]),
        Case("bench bulk", ["bench", "bulk", "--memory", "4M", "--threads", "2", "-a", "llfree",
                            "--repetitions", "1"]),
        Case("fidelity", ["fidelity", "sqlite.quire", "-a", "buddy", "--format", "json"],
             [os.path.join(SOURCE, "traces/samples/sqlite.quire")], weight=6),
        Case("report", ["report", "old.db", "-o", "page"], [at("old.db")], ["page"]),
        Case("snapshot", ["snapshot", "-o", "s.quire", "--format", "json"], [], ["s.quire"], root=True, weight=3),
        Case("record", ["record", "-o", "r.quire", "--buffer", "4M", "--format", "json", "--", "true"], [],
             ["r.quire"], root=True, weight=3),
        Case("record burn-in", ["record", "--burn-in", "-o", "r.quire", "--format", "json", "--", "true"], [],
             ["r.quire"], root=True, weight=30, long=True),
    ]


# ---- all of it ----

def try_points(program, case, points, reference, where, options):
    """Return: how many faults took place, and what is wrong: {(what, places): [points]}."""
    numbers, names = itertools.count(), symbols(program)
    wrong, hits = collections.defaultdict(list), 0

    def one(point):
        outcome = run(program, case, f"{where}/{next(numbers)}", point)
        what = judge(program, case, point, outcome, reference) if outcome.hit else \
            None if outcome.code == 0 else f"no fault, and exit code {outcome.code}: {outcome.err[:200]}"
        if what == "leaks":
            # Only slowly found is who it was; a library perhaps, which is none of our business.
            slow = run(program, case, f"{where}/{next(numbers)}", point, slow=True)
            what = judge(program, case, point, slow, reference)
            shutil.rmtree(slow.where)
        shutil.rmtree(outcome.where)
        return point, outcome, what

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for point, outcome, what in pool.map(one, points):
            hits += outcome.hit
            if what:
                stack = places(program, outcome.stack, names)
                if stack and stack[0].startswith(WITHIN_HWLOC) and point.fault_class == "memory":
                    print(f"# {case.name}: {point}, within hwloc: {what[:60]}", flush=True)
                    continue
                wrong[what, tuple(stack[:options.depth])].append(point)
                if options.verbose and len(wrong[what, tuple(stack[:options.depth])]) == 1:
                    print(f"# {case.name}: {point}: {what}\n#    {' < '.join(stack[:8])}\n#    "
                          + outcome.err.replace("\n", "\n#    ")[:options.verbose], flush=True)
    return hits, wrong


def try_case(program, case, where, options):
    os.mkdir(where)
    if case.root and (os.geteuid() != 0 or not os.path.isdir(INSTANCES)):
        return None, "needs root and tracefs"
    if case.long and options.by == "site" and not options.only:
        return None, "only with QUIRE_TEST_EFFORT=10"
    rng = random.Random(f"{options.seed} {case.name}")
    reference = run(program, case, f"{where}/reference", log=True)
    if reference.code != 0:
        return False, f"undisturbed, it ends with {reference.code}: {reference.err[-2000:]}"
    if not case.root:
        case.noise(reference, *(run(program, case, f"{where}/again{i}") for i in range(4)))
    reference.left = case.left(reference)
    calls = calls_of(reference, options.by, rng)
    points = points_of(calls, options.classes)
    if case.root:  # nobody there has a signal handler, and libtracefs expects none
        points = [p for p in points if p.code != EINTR and p.mode != "short"]
    rng.shuffle(points)
    points = points[::options.stride * case.weight]
    hits, wrong = try_points(program, case, points, reference, where, options)
    tried = collections.Counter(p.fault_class for p in points)
    total = len(points_of(calls_of(reference, "call", rng), options.classes))
    print(f"# {case.name}: {len(points)} of {total} faults, {hits} took place: " +
          ", ".join(f"{c} {tried[c]}" for c in CLASSES if tried[c]), flush=True)
    text = []
    for (what, stack), some in sorted(wrong.items(), key=lambda item: -len(item[1])):
        text.append(f"{len(some)} times {what}\n    first: {some[0]}\n    at {' < '.join(stack)}")
    if not points or hits < len(points) * 9 // 10:
        text.append(f"only {hits} of {len(points)} faults took place")
    return not text, "\n".join(text)


def parse():
    p = argparse.ArgumentParser()
    effort = int(os.environ.get("QUIRE_TEST_EFFORT", "1"))
    p.add_argument("quire")
    p.add_argument("--only")
    p.add_argument("--classes", type=lambda s: s.split(","), default=CLASSES)
    p.add_argument("--by", choices=("call", "stack", "site"),
                   default="stack" if effort >= 10 else "site")
    p.add_argument("--stride", type=int, default=1 if effort >= 10 else 10)
    p.add_argument("--verbose", type=int, default=0)
    p.add_argument("--depth", type=int, default=3)
    p.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = p.parse_args()
    options.seed = int(os.environ.get("QUIRE_SEED", "1"), 0)
    return options


def main():
    options = parse()
    program = os.path.abspath(options.quire)
    failed = False
    with tempfile.TemporaryDirectory(prefix="quire-faults-") as where:
        os.mkdir(f"{where}/inputs")
        some = [c for c in cases(f"{where}/inputs", program)
                if not options.only or c.name in options.only.split(",")]
        print(f"# QUIRE_SEED={options.seed}\n1..{len(some)}", flush=True)
        for i, case in enumerate(some, 1):
            good, text = try_case(program, case, f"{where}/{i}", options)
            for line in text.splitlines() if text else []:
                print(f"# {line}")
            print(f"ok {i} {case.name} # SKIP {text}" if good is None else
                  f"{'ok' if good else 'not ok'} {i} {case.name}", flush=True)
            failed |= good is False
            shutil.rmtree(f"{where}/{i}", ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
