#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
What the command line promises, on the real binary: each bad input gets one line that names file,
place and remedy, the right exit code and no half-written result; stdout carries the chosen format
alone. Speaks TAP.

usage: test_cli.py QUIRE
"""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback

OK, CHECK, USAGE, RUN = 0, 1, 2, 3
NOBODY = 65534
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INSTANCES = "/sys/kernel/tracing/instances"
PATIENCE_S = 60  # for what takes well under a second; only a hang needs it

# Lines that accompany a run that went well.
NOTES = ("the trace has no start snapshot", "open loop:", "at the end ", "to repeat it: ",
         "left out for want of room: ", "quire: times: ")
BACKENDS = ["recorded", "buddy", "llfree", "percpu", "jemalloc", "firstfit", "nextfit", "null"]
OPTIONAL = "jemalloc"  # where its library was found


class Skip(Exception):
    pass


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out = argv, code, out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")
        for word in ("Sanitizer", "runtime error:"):
            check(word not in self.err, f"a sanitizer speaks:\n{self}")

    def __str__(self):
        out, err = self.out[:2000], self.err[:4000]
        return f"{self.argv}: exit {self.code}\nstdout: {out}\nstderr: {err}"

    def errors(self):
        lines = self.err.splitlines()
        return [line for line in lines if not any(note in line for note in NOTES)]

    def json(self):
        def refuse(word):
            raise AssertionError(f"{word} is no JSON:\n{self}")

        return json.loads(self.out, parse_constant=refuse)


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def same(got, want, what):
    check(got == want, f"{what}: {got!r}, not {want!r}")


def quire(*args, stdin=subprocess.DEVNULL, data=None, env=None, preexec=None, argv0=None):
    argv = [argv0 or QUIRE, *args]
    how = {"input": data} if data is not None else {"stdin": stdin}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S,
                          env=env, preexec_fn=preexec, check=False, **how)
    return Result(argv, done.returncode, done.stdout, done.stderr)


def succeeds(*args, **how):
    result = quire(*args, **how)
    same((result.code, result.errors()), (OK, []), str(result))
    return result


def refuses(code, words, *args, **how):
    """It exits with @code after one line on stderr that has all @words; stdout stays clean."""
    result = quire(*args, **how)
    judge(result, code, words)
    return result


def judge(result, code, words):
    same(result.code, code, f"exit code of {result}")
    errors = result.errors()
    same(len(errors), 1, f"lines on stderr of {result}")
    check(errors[0].startswith("quire: "), f"an anonymous line: {result}")
    check(len(errors[0]) < 800, f"a long line: {result}")
    for word in words:
        check(word in errors[0], f"{word!r} is missing: {result}")
    if "json" in result.argv:
        check(not result.out or result.json() is not None, str(result))
    else:
        check("quire:" not in result.out, f"an error on stdout: {result}")


def write(path, data):
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


# ---- inputs ----


def line(time_s, event, pfn, order, rest="", cpu=0):
    return (f"  worker   101 [{cpu:03}] {time_s}:  kmem:mm_page_{event}: page=0x{pfn:x} "
            f"pfn=0x{pfn:x} order={order}{rest}\n")


def alloc(time_s, pfn=0x1000, order=0, migratetype=1, cpu=0):
    rest = f" migratetype={migratetype} gfp_flags=GFP_KERNEL"
    return line(time_s, "alloc", pfn, order, rest, cpu)


def script(events, seed=1):
    """Text as `perf script` prints it: every allocation legal, every free of a live object."""
    rng = random.Random(seed)
    lines, live, now_ns, next_pfn = [], [], 100 * 10**9, 0x1000
    for _ in range(events):
        now_ns += rng.randrange(200, 2000)
        stamp = f"{now_ns // 10**9}.{now_ns % 10**9:09}"
        if live and rng.random() < 0.45:
            pfn, order = live.pop(rng.randrange(len(live)))
            lines.append(line(stamp, "free", pfn, order, "", rng.randrange(2)))
            continue
        order = rng.choice((0, 0, 0, 0, 1, 2, 3, 9))
        pfn = -(-next_pfn >> order) << order
        next_pfn = pfn + (1 << order)
        live.append((pfn, order))
        lines.append(alloc(stamp, pfn, order, rng.randrange(3), rng.randrange(2)))
    return "".join(lines)


def trace(name="t.quire", events=2000, *more):
    write("t.txt", script(events))
    succeeds("import", "t.txt", "-o", name, *more)
    return name


def slow_trace():
    """Whose replay with --samples 100000 takes long enough to be interfered with."""
    return trace("slow.quire", 2000, "--memory", "64G")


# ---- processes ----


@contextlib.contextmanager
def running(*args, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=None):
    argv = [QUIRE, *args]
    with subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                          env=env) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def end_of(process):
    out, err = process.communicate(timeout=PATIENCE_S)
    return Result(process.args, process.returncode, out or b"", err)


def wait_for(what, condition, process=None):
    limit = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if process and process.poll() is not None:
            raise AssertionError(f"{what}: too late, {end_of(process)}")
        check(time.monotonic() < limit, f"{what}: in vain")
        time.sleep(0.005)


def children(pid):
    try:
        return [int(word) for word in read(f"/proc/{pid}/task/{pid}/children").split()]
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def rows(database, sql):
    if not os.path.exists(database):
        return []
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []  # not made yet
    finally:
        connection.close()


def statuses(database):
    return [status for (status,) in rows(database, "SELECT status FROM run ORDER BY id")]


def run_child(process, database="r.db"):
    """The child process of a run whose row is in the database."""
    wait_for("a running run", lambda: "running" in statuses(database), process)
    return wait_for("a child process", lambda: children(process.pid), process)[0]


def files():
    return sorted(os.listdir("."))


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def need_recorder():
    need_root()
    if not os.path.isdir(INSTANCES):
        raise Skip("needs tracefs")
    if not os.path.exists("/proc/kpageflags"):
        raise Skip("needs /proc/kpageflags")
    if "cannot record" in quire("record", "-o", "probe.quire", "--", "nosuchcommand").err:
        raise Skip("built without the recorder")


def private_mounts(prepare, *args, then=":"):
    """Run quire between two shell commands in a mount namespace of its own."""
    need_root()
    shell = f'{prepare} || exit 99\n"$@"\ncode=$?\n{then}\nexit $code'
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("no mount namespaces here")
    argv = ["unshare", "-m", "sh", "-c", shell, "sh", QUIRE, *args]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False)
    if done.returncode == 99:
        raise Skip("the mounts cannot be changed here")
    return Result(argv, done.returncode, done.stdout, done.stderr)


def on_small_disk(kib, *args, keep=None):
    """
    Run quire with a file system of @kib KiB at ./small. Return: the result, and what it left; the file
    @keep of it is ./kept then.
    """
    os.makedirs("small", exist_ok=True)
    mount = f"mount -t tmpfs -o size={kib}k none small"
    result = private_mounts(mount, *args, then="ls -A small >left" + (f"; cp {keep} kept" if keep else ""))
    return result, read("left").decode().split()


# ---- inputs at the edges: tests/data/edges/README.md ----


def edge(name):
    return os.path.join(SOURCE, "tests", "data", "edges", name)


def statuses_of(result):
    return {run["spec"]: run["status"] for run in result.json()["runs"]}


def edges_what_nobody_can_replay_is_told_whoever_is_asked():
    for args in ((), ("-a", "firstfit")):
        result = quire("replay", edge("pageshift16-silent.quire"), *args, "--format", "json")
        judge(result, RUN, ("pageshift16-silent.quire", "65536 bytes", "4 KiB"))
        same(result.json()["runs"], [], "runs")


def edges_a_back_end_that_cannot_begin_costs_its_own_row_alone():
    result = quire("replay", edge("pageblock10-stops-others.quire"), "--format", "json")
    judge(result, RUN, ("buddy", "pageblocks of order 10"))
    got = statuses_of(result)
    same(got.pop("buddy"), "failed", "buddy")
    same((set(got.values()), len(got)), ({"done"}, len(BACKENDS) - 1), "the others")
    result = quire("replay", trace(), "-a", "llfree:policy=" + edge("bad-policy.yaml"), "-a", "firstfit",
                   "--format", "json")
    judge(result, RUN, ("bad-policy.yaml", "line 1"))
    same(list(statuses_of(result).values()), ["failed", "done"], "llfree, firstfit")


def edges_what_was_salvaged_is_another_question():
    runs = []
    for name in ("salv-base.quire", "salv-damaged.quire"):
        runs += quire("replay", "--salvage", "-a", "firstfit", edge(name), "--format", "json").json()["runs"]
    same([run["metrics"]["free_huge"] for run in runs], [265, 264], "free_huge")
    same([run["metrics"]["lost_events"] for run in runs], [110, 810], "lost_events")
    same([run["settings"]["salvage"] for run in runs], [False, True], "salvage")
    for key in ("point_id", "trace_digest"):
        check(runs[0][key] != runs[1][key], f"the same {key}")
    whole, = quire("replay", "-a", "firstfit", edge("salv-base.quire"), "--format", "json").json()["runs"]
    same(whole["point_id"], runs[0]["point_id"], "the point of what is intact")


def edges_one_stray_number_is_told_before_anything_is_created():
    result = quire("import", edge("import-stray-pfn.txt"), "-o", "s.quire")
    same(result.code, OK, str(result))
    check("pfn 0xfffffff0" in result.err and "16T" in result.err and "memory_bytes: " in result.out, str(result))
    result = quire("replay", "s.quire", "-a", "buddy", "--format", "json")
    with open("/proc/meminfo", encoding="ascii") as file:
        available = int(re.search(r"MemAvailable: +(\d+)", file.read()).group(1)) << 10
    if available < 40 << 30:
        judge(result, RUN, ("s.quire", "16.0 TiB", "available", "--drop-beyond"))
        same(result.json()["runs"], [], "runs")


def edges_zone_and_node_of_a_request_do_not_contradict_each_other():
    for name in ("thisnode-nodma.quire", "thisnode-remote.quire"):
        result = quire("replay", edge(name), "--format", "json")
        same(result.code, OK, str(result))
        for run in result.json()["runs"]:
            same(run["metrics"]["oracle_violations"], 0, f"{name}, {run['spec']}: violations")
            if run["allocator"] in ("recorded", "buddy", "llfree", "percpu"):
                same(run["metrics"]["zone_mismatches"], 0, f"{name}, {run['spec']}: mismatches")


# ---- damaged traces ----


def a_flipped_byte_is_told_with_its_place():
    data = bytearray(read(trace()))
    data[len(data) // 2] ^= 0x55
    write("flip.quire", data)
    words = ("flip.quire: byte ", "checksum mismatch", "--salvage")
    refuses(RUN, words, "replay", "flip.quire", "-a", "llfree", "--format", "json")
    refuses(RUN, words, "trace", "cat", "flip.quire", "--format", "json")
    result = refuses(CHECK, words, "trace", "check", "flip.quire", "--format", "json")
    same(result.json()["intact"], False, "intact")


def a_damaged_block_fails_the_run_not_the_document():
    data = bytearray(read(trace()))
    data[len(data) // 2] ^= 0x55
    write("flip.quire", data)
    result = quire("replay", "flip.quire", "-a", "llfree", "--format", "json", "--db", "r.db")
    run = result.json()["runs"][0]
    same((run["status"], run["metrics"]["events"]), ("failed", None), "status and events")
    check("checksum" in run["error"], run["error"])
    same(statuses("r.db"), ["failed"], "stored")
    same(rows("r.db", "SELECT count(*) FROM sample"), [(0,)], "samples of a failed run")


def what_is_intact_can_be_salvaged():
    data = bytearray(read(trace()))
    data[len(data) // 2] ^= 0x55
    for name in ("flip.quire", "flips.quire", "flipss.quire"):  # warnings of any length
        write(name, data)
        result = quire("replay", name, "-a", "llfree", "--salvage", "--format", "json")
        run = result.json()["runs"][0]
        same((result.code, run["status"]), (OK, "done"), str(result))
        check(any(f"{name}: byte" in warning for warning in run["warnings"]), run["warnings"])


def a_trace_cut_anywhere_is_told():
    data = read(trace())
    for part in range(16):
        write("cut.quire", data[:len(data) * part // 16])
        refuses(RUN, ("cut.quire: byte ", "again"), "replay", "cut.quire", "-a", "llfree",
                "--format", "json")
        result = quire("trace", "check", "cut.quire")
        check(result.code in (CHECK, RUN) and len(result.errors()) >= 1, str(result))
        result = quire("replay", "cut.quire", "-a", "llfree", "--salvage", "--format", "json")
        check(result.code in (OK, RUN), str(result))
        result.json()


def bytes_behind_the_end_are_told():
    write("more.quire", read(trace()) + b"more")
    refuses(CHECK, ("more.quire: byte ",), "trace", "check", "more.quire")


def random_damage_never_crashes():
    data = read(trace())
    for seed in range(24):
        rng = random.Random(seed)
        copy = bytearray(data)
        for _ in range(rng.choice((1, 1, 4, 64))):
            copy[rng.randrange(len(copy))] = rng.randrange(256)
        write("bad.quire", copy)
        for how in ((), ("--salvage",)):
            result = quire("replay", "bad.quire", "-a", "llfree", *how, "--format", "json")
            check(result.code in (OK, RUN), f"seed {seed}: {result}")
            result.json()
            check(result.code == OK or len(result.errors()) == 1, f"seed {seed}: {result}")


def what_is_no_trace_is_refused():
    trace()
    write("empty.quire", b"")
    write("noise.quire", random.Random(1).randbytes(50000))
    os.mkdir("dir.quire")
    os.mkfifo("fifo.quire")
    for name, words in (("empty.quire", ("byte 0", "again")),
                        ("noise.quire", ("not a quire trace",)),
                        ("t.txt", ("quire import",)), ("dir.quire", ("directory",)),
                        ("fifo.quire", ("piped", "file")), ("/dev/null", ("piped",)),
                        ("missing.quire", ("No such file",))):
        for args in (("replay", name, "-a", "llfree"), ("replay", name, "-a", "recorded"),
                     ("replay", name), ("trace", "info", name), ("trace", "check", name),
                     ("trace", "cat", name)):
            refuses(RUN, (name, *words), *args, "--format", "json")


# ---- import ----


def refused_import(words, text, *more):
    write("in.txt", text)
    refuses(RUN, ("in.txt", *words), "import", "in.txt", "-o", "out.quire", *more)
    check(not [name for name in files() if "out.quire" in name], f"left behind: {files()}")


def a_line_that_does_not_parse_is_told():
    good = alloc("100.000001")
    refused_import(("in.txt:2: column ", "expected pfn=NUMBER", "delete the line"),
                   good + good.replace("pfn=0x1000", "pfn=zz"))
    refused_import(("in.txt:1: column ", "time"), good.replace("100.000001", "1e9"))
    refused_import(("in.txt:1: column ",), good.replace("order=0", "order=x"))
    refused_import(("in.txt:2: ", "cut off"), good + good[:-1])
    refused_import(("in.txt:1: ", "binary"), "\0\1\2\n")
    refused_import(("in.txt:1: ", "1 MiB"), "a" * (2 << 20))


def what_is_no_script_is_refused():
    refused_import(("empty",), "")
    refused_import(("no page-allocator event in 3 lines", "perf record"), "\n\n\n")
    refused_import(("perf.data", "perf script"), "PERFILE2" + "\0" * 100)
    refused_import(("gzip", "zcat"), b"\x1f\x8b" + bytes(100))
    refused_import(("a trace already",), read(trace()))


def an_order_or_pfn_out_of_range_is_told():
    refused_import(("in.txt:2: column ", "order of at most"),
                   alloc("100.0") + alloc("100.1", 0x2000, 99))
    refused_import(("in.txt:1: column ", "pfn"), alloc("100.0", 1 << 64))
    refused_import(("in.txt:1: ", "below pfn 0x1000", "or none"), alloc("100.0", 0x1000),
                   "--memory", "16M")


def time_may_run_back_a_little():
    write("in.txt", alloc("100.010", 0x1000) + alloc("100.000", 0x2000))
    result = succeeds("import", "in.txt", "-o", "out.quire", "--format", "json").json()
    same((result["events"], result["resorted_events"]), (2, 1), "events and resorted")
    events = succeeds("trace", "cat", "out.quire", "--format", "json").json()["events"]
    same([event["pfn"] for event in events], [0x2000, 0x1000], "order")


def time_running_back_further_is_told():
    refused_import(("in.txt:2: time runs back", "10 ms", "sort"),
                   alloc("100.010000001") + alloc("100.000"))


def a_stray_frame_is_told_and_can_be_dropped():
    text = "".join(alloc(f"100.{i:06}", 0x500 + i) for i in range(300))
    write("in.txt", text + alloc("101.0", 0xfffffff0))
    args = ("import", "in.txt", "-f", "-o", "out.quire")
    words = ("in.txt:301", "0xfffffff0", "16T", "--memory 128M --drop-beyond")
    for how in ("table", "json", "csv"):
        result = quire(*args, "--format", how)
        same((result.code, len(result.errors())), (OK, 1), str(result))
        check(all(word in result.err for word in words), str(result))
        check("memory_bytes" in result.out and str(16 << 40) in result.out, str(result))
    refuses(RUN, ("in.txt:301", "drop-beyond"), *args, "--memory", "128M")
    refuses(USAGE, ("--drop-beyond", "--memory"), *args, "--drop-beyond")
    result = succeeds(*args, "--memory", "128M", "--drop-beyond", "--format", "json")
    same(result.err, "", "stderr")
    got = result.json()
    same((got["memory_bytes"], got["dropped_events"], got["lost_events"], got["stray_events"]),
         (128 << 20, 1, 1, 0), "memory, dropped, lost, strays")


def check_and_replay_have_one_opinion():
    data = bytearray(read(trace()))
    at = data.rindex(b"\xa7\xe5\x5e\xc3\x06\x00")  # the footer: its counts, checksums left alone
    data[at + 80] ^= 1
    write("lies.quire", data)
    refuses(CHECK, ("lies.quire: byte ",), "trace", "check", "lies.quire")
    refuses(RUN, ("lies.quire: byte ",), "replay", "lies.quire", "-a", "null")


def import_reads_standard_input():
    text = script(100)
    result = succeeds("import", "-", "-o", "a.quire", "--format", "json", data=text.encode())
    same(result.json()["events"], 100, "events")
    write("t.txt", text)
    succeeds("import", "t.txt", "-o", "b.quire")
    same(read("a.quire"), read("b.quire"), "the trace")


def from_says_what_the_text_must_be():
    perf = script(100)
    ftrace = perf.replace("  worker   101 ", "  worker-101 ").replace("kmem:mm_", "mm_")
    for text, own, other, recorder in ((perf, "perf", "ftrace", "perf script"),
                                       (ftrace, "ftrace", "perf", "ftrace")):
        write("in.txt", text)
        for name in ("auto", own):
            succeeds("import", "in.txt", "-o", f"{name}.quire", "--from", name, "-f")
        same(read(f"{own}.quire"), read("auto.quire"), "the trace")
        info = succeeds("trace", "info", "auto.quire", "--format", "json").json()
        same(info["recorder"], f"quire import ({recorder})", "recorder")
        refused_import(("in.txt:1: column 3", own, "auto", "--from"), text, "--from", other)
    both = perf + ftrace.replace(" 100.", " 101.")
    refused_import(("in.txt:101: column ", "--from"), both, "--from", "perf")
    succeeds("import", "in.txt", "-o", "both.quire")
    refuses(USAGE, ("'trace-cmd'", "auto, perf, ftrace"), "import", "in.txt", "--from", "trace-cmd")


def failed_allocations_alone_make_a_trace():
    write("in.txt", alloc("100.0", 0).replace("pfn=0x0", "pfn=0xffffffffffffffff"))
    succeeds("import", "in.txt", "-o", "out.quire")
    for run in succeeds("replay", "out.quire", "--format", "json").json()["runs"]:
        same((run["status"], run["metrics"]["recorded_failures"]), ("done", 1), run["spec"])


def the_input_is_not_replaced():
    write("in.txt", script(10))
    before = read("in.txt")
    refuses(RUN, ("in.txt", "another output"), "import", "-f", "in.txt", "-o", "in.txt")
    same(read("in.txt"), before, "the input")


# ---- generate ----

WORKLOADS = ("frag", "bulk")


def what_is_generated_is_told_and_the_same_each_time():
    for name in WORKLOADS:
        small = ("-p", "memory=16M", "-p", "cpus=2,seed=3")
        document = succeeds("generate", name, *small, "--format", "json").json()
        same(sorted(document), sorted(("schema", "trace", "workload", "events", "ops", "peak_frames",
                                       "bytes", "digest")), name)
        same((document["trace"], document["workload"]), (f"{name}.quire", name), "trace, workload")
        info = succeeds("trace", "info", f"{name}.quire", "--format", "json").json()
        for key in ("events", "ops", "digest"):
            same(info[key], document[key], f"{name}: {key}")
        same((info["identity"], info["cpus"], info["managed_frames"]), ("virtual", 2, 4096), name)
        same(os.path.getsize(f"{name}.quire"), document["bytes"], "bytes")
        check(0 < document["peak_frames"] <= 4096, str(document))
        succeeds("trace", "check", f"{name}.quire")
        row, = csv.DictReader(io.StringIO(succeeds("generate", name, *small, "-o", "again.quire",
                                                   "-f", "--format", "csv").out))
        same(row["digest"], document["digest"], "again")
        same(read("again.quire"), read(f"{name}.quire"), "again")


def a_generated_trace_replays_on_whoever_chooses_frames():
    for name in WORKLOADS:
        succeeds("generate", name, "-p", "memory=16M,cpus=2")
        result = quire("replay", f"{name}.quire", "--format", "json")
        judge(result, OK, ("left out", "recorded"))
        for run in result.json()["runs"]:
            same((run["status"], run["settings"]["prefill"]), ("done", "none"), run["spec"])
            for key in ("alloc_failures", "orphan_frees", "implicit_frees", "oracle_violations",
                        "unreplayable"):
                same(run["metrics"][key], 0, f"{name}, {run['spec']}: {key}")
        refuses(RUN, ("generated",), "replay", f"{name}.quire", "-a", "recorded", "--format", "json")


MACHINE = """description: a test's
min_free: 4M
nodes:
  - cpus: 2
    zones:
      - {type: Normal, start: 0, end: %s}
"""


def a_trace_replays_on_another_machine():
    name = trace(events=3000)
    shipped = os.path.join(SOURCE, "configs", "machines", "laptop.yaml")
    result = quire("replay", name, "--machine", shipped, "--format", "json")
    judge(result, OK, ("left out", "recorded"))
    for run in result.json()["runs"]:
        same((run["settings"]["machine"], run["settings"]["prefill"], run["settings"]["cpus"]),
             ("laptop", "none", 8), run["spec"])
        same((run["metrics"]["oracle_violations"], run["metrics"]["alloc_failures"],
              run["metrics"]["prefill_failures"]), (0, 0, 0), run["spec"])
    refuses(RUN, ("recorded", "own machine"), "replay", name, "--machine", shipped, "-a", "recorded",
            "--format", "json")
    sample = os.path.join(SOURCE, "traces", "samples", "sqlite.quire")
    for run in succeeds("replay", sample, "--machine", shipped, "-a", "firstfit", "--format",
                        "json").json()["runs"]:
        same(run["settings"]["prefill"], "packed", "prefill")
        check(any("another machine" in w for w in run["warnings"]), run["warnings"])
    refuses(USAGE, ("--prefill", "--machine"), "replay", name, "--machine", shipped, "--prefill",
            "recorded")


def a_machine_of_the_same_shape_makes_no_difference():
    succeeds("generate", "frag", "-p", "memory=64M,cpus=2")
    write("same.yaml", MACHINE % "64M")
    args = ("replay", "frag.quire", "-a", "firstfit", "-a", "llfree", "--format", "json")
    mine, other = (succeeds(*args, *more).json()["runs"] for more in ((), ("--machine", "same.yaml")))
    for a, b in zip(mine, other):
        check(a["point_id"] != b["point_id"], a["spec"])
        for key in ("free_huge", "moves_to_compact", "free_frames", "alloc_failures", "unreplayable"):
            same(b["metrics"][key], a["metrics"][key], f"{a['spec']}: {key}")


def a_machine_that_is_too_small_refuses():
    succeeds("generate", "frag", "-p", "memory=64M,cpus=2")
    write("small.yaml", MACHINE % "32M")
    for run in succeeds("replay", "frag.quire", "--machine", "small.yaml", "-a", "firstfit",
                        "--format", "json").json()["runs"]:
        check(run["metrics"]["alloc_failures"] > 0, run["metrics"])
        same(run["metrics"]["oracle_violations"], 0, "violations")


def all_that_a_back_end_sees_of_a_machine_is_part_of_the_point():
    succeeds("generate", "bulk", "-p", "memory=16M,cpus=2")
    points = set()
    for min_free in ("1M", "2M"):
        write("m.yaml", (MACHINE % "32M").replace("4M", min_free))
        points.add(succeeds("replay", "bulk.quire", "--machine", "m.yaml", "-a", "buddy", "--format",
                            "json").json()["runs"][0]["point_id"])
    same(len(points), 2, "points")


def a_machine_file_is_told_by_place():
    name = trace(events=100)
    write("bad.yaml", (MACHINE % "64M").replace("Normal", "Normall"))
    refuses(USAGE, ("bad.yaml:6:", "Normal"), "replay", name, "--machine", "bad.yaml")
    refuses(USAGE, ("none.yaml",), "replay", name, "--machine", "none.yaml")
    write("good.yaml", MACHINE % "64M")
    refuses(USAGE, ("--machine", "--memory"), "bench", "frag", "--machine", "good.yaml", "--memory",
            "64M")


def a_benchmark_runs_on_a_machine_of_a_file():
    write("m.yaml", MACHINE % "64M")
    run, = succeeds("bench", "frag", "--machine", "m.yaml", "-a", "llfree", "--format",
                    "json").json()["runs"]
    same((run["settings"]["machine"], run["settings"]["memory"], run["settings"]["cpus"]),
         ("m", 64 << 20, 2), "settings")
    plain, = succeeds("bench", "frag", "--memory", "64M", "--cpus", "2", "-a", "llfree", "--format",
                      "json").json()["runs"]
    same(run["metrics"]["moves_to_compact"], plain["metrics"]["moves_to_compact"], "moves")

def what_a_full_node_cannot_serve_is_counted_for_every_back_end():
    sample = os.path.join(SOURCE, "traces", "samples", "mix.quire")
    machine = os.path.join(SOURCE, "configs", "machines", "two-node.yaml")
    runs = succeeds("replay", sample, "--machine", machine, "-a", "buddy", "-a", "llfree", "-a", "percpu:inner=llfree",
                    "-a", "firstfit", "--samples", "0", "--format", "json").json()["runs"]
    for run in runs:
        told = run["metrics"]
        served = told["allocs"] - told["alloc_failures"]
        same(told["node0_allocs"] + told["node1_allocs"], served, f"{run['spec']}: allocations")
        same(told["node0_free_frames"] + told["node1_free_frames"], told["free_frames"], f"{run['spec']}: free")
        check(0 < told["node_misses"] < served, told)
        # Every miss is 11 farther than the 10 of all others.
        check(abs(told["node_distance"] - 10 - 11 * told["node_misses"] / served) < 1e-9, told)
        same(run["settings"]["numa"], "accounted: there is no memory behind the frames", "numa")
    # Who looks at nodes misses them less often.
    check(all(run["metrics"]["node_misses"] < runs[3]["metrics"]["node_misses"] / 2 for run in runs[:3]), runs)


def it_is_told_where_workers_and_memory_are():
    last = max(os.sched_getaffinity(0))
    name = trace(events=1000)

    def on_one():
        os.sched_setaffinity(0, {last})

    def settings(*args, **how):
        return succeeds(*args, "--format", "json", **how).json()["runs"][0]["settings"]

    replay = ("replay", name, "-a", "llfree")
    bench = ("bench", "bulk", "-a", "llfree", "--memory", "64M", "--repetitions", "1")
    same(settings(*replay)["placement"], "not pinned", "placement")
    check(re.fullmatch(r"0:\d+(@\d+)?", settings(*replay, "--pin")["placement"]), "placement")
    for args in ((*replay, "--pin"), bench):
        check(re.fullmatch(fr"0:{last}(@\d+)?", settings(*args, preexec=on_one)["placement"]), args)
    check(re.match("bound 0:|accounted: the host has ", settings(*replay, "--backing", "small")["numa"]), "numa")
    judge(quire(*bench, "--threads", "2", preexec=on_one), USAGE, ("--threads 2", "may use 1", "lower threads"))


def a_host_that_hwloc_cannot_tell_costs_a_line():
    name = trace(events=1000)
    other = {**os.environ, "HWLOC_SYNTHETIC": "pack:2 core:2 pu:2"}
    for args in (("replay", name, "-a", "llfree", "--pin"),
                 ("bench", "bulk", "-a", "llfree", "--memory", "64M", "--repetitions", "1")):
        judge(quire(*args, env=other), OK, ("hwloc", "HWLOC_"))
        run, = succeeds(*args, "--format", "json", env=other).json()["runs"]
        check(any("hwloc" in warning for warning in run["warnings"]), run["warnings"])
        check(re.fullmatch(r"0:\d+", run["settings"]["placement"]), run["settings"])
    # Who asks for nothing hears nothing.
    succeeds("replay", name, "-a", "llfree", env=other)


def what_cannot_be_generated_is_refused():
    for words, *args in (
            (("operand is missing", "usage: quire generate"),),
            (("'frga'", "did you mean 'frag'"), "frga"),
            (("'xyzzy'", *WORKLOADS), "xyzzy"),
            (("frag", "'memroy'", "did you mean 'memory'"), "frag", "-p", "memroy=1G"),
            (("bulk", "option cpus: 0", "1 to 4096"), "bulk", "-p", "cpus=0"),
            (("frag", "option fill: 'x'"), "frag", "-p", "memory=1G", "-p", "fill=x"),
            (("option memory: 32T", "16T"), "bulk", "-p", "memory=32T"),
            (("frag: memory", "raise memory"), "frag", "-p", "memory=1M,cpus=64"),
            (("bulk: memory", "raise memory"), "bulk", "-p", "memory=4M,order=10"),
            (("8388609", "multiple of 4096"), "bulk", "-p", "memory=8388609")):
        refuses(USAGE, words, "generate", *args, "--format", "json")
    refuses(RUN, ("nodir/x.quire", "create the directory"), "generate", "bulk", "-p", "memory=16M",
            "-o", "nodir/x.quire")
    same(files(), [], "files left")


def an_existing_trace_is_generated_anew_only_by_force():
    write("bulk.quire", "old")
    refuses(RUN, ("bulk.quire", "exists", "--force"), "generate", "bulk", "-p", "memory=16M")
    same(read("bulk.quire"), b"old", "the old file")
    succeeds("generate", "bulk", "-p", "memory=16M", "--force")
    succeeds("trace", "check", "bulk.quire")


def a_generation_that_ends_early_leaves_nothing():
    result, left = on_small_disk(32, "generate", "frag", "-p", "memory=64M", "-o", "small/x.quire")
    judge(result, RUN, ("small/x.quire", "No space left"))
    same(left, [], "left behind")
    os.rmdir("small")
    os.unlink("left")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with running("generate", "bulk", "-p", "memory=16T", "-o", "out.quire") as process:
            wait_for("a temporary file", files, process)
            process.send_signal(number)
            same(process.wait(PATIENCE_S), -number, "how it died")
        same(files(), [], "files")


def help_and_lists_tell_every_parameter():
    text = succeeds("generate", "--help").out
    listed = succeeds("list", "workloads", "--format", "json").json()["workloads"]
    same(tuple(w["name"] for w in listed), WORKLOADS, "workloads")
    for workload in listed:
        check(f"{workload['name']}: {workload['summary']}" in text, text)
        names = [option["name"] for option in workload["options"]]
        for name in ("memory", "cpus", "events", "rate", "seed"):
            check(name in names, f"{workload['name']}: no {name}")
        for name in names:
            check(f"\n  {name}=" in text, f"{name} is not in the help")


# ---- usage ----


def unknown_names_get_a_suggestion():
    name = trace()
    for words, *args in (
            (("'replya'", "'replay'"), "replya", name),
            (("'llfre'", "'llfree'"), "replay", name, "-a", "llfre"),
            (("'--sampels'", "'--samples'"), "replay", name, "--sampels", "3"),
            (("'tre'", "'tree'"), "replay", name, "-a", "llfree:tre=8"),
            (("'packd'", "'packed'"), "replay", name, "--prefill", "packd"),
            (("'inof'", "'info'"), "trace", "inof", name),
            (("'alocators'", "'allocators'"), "list", "alocators")):
        refuses(USAGE, ("did you mean", *words), *args)


def unknown_names_far_from_all_get_the_list():
    name = trace()
    refuses(USAGE, ("'xyzzy'", *BACKENDS), "replay", name, "-a", "xyzzy")
    refuses(USAGE, ("'xyzzy'", "replay", "import"), "xyzzy")
    refuses(USAGE, ("table, json, csv",), "replay", name, "--format", "xyzzy")
    refuses(USAGE, ("'--xyzzy'",), "replay", name, "--xyzzy")


def bad_values_are_told_with_what_would_do():
    name = trace()
    for words, *args in (
            (("llfree: option tree: 7", "power of two, 4 to 64"), "-a", "llfree:tree=7"),
            (("llfree: option tree needs a value",), "-a", "llfree:tree"),
            (("option --samples: '-1'", "0 to 100000"), "--samples", "-1"),
            (("option --samples: 100001", "0 to 100000"), "--samples", "100001"),
            (("18446744073709551616", "too large"), "--seed", "18446744073709551616"),
            (("option --timeout: 4294967297", "out of range"), "--timeout", "4294967297"),
            (("'maybe'", "on or off"), "--oracle=maybe"),
            (("needs a value",), "--db")):
        refuses(USAGE, words, "replay", name, *args)
    refuses(USAGE, ("operand is missing", "usage: quire replay"), "replay")
    refuses(USAGE, ("too many operands",), "list", "metrics", "metrics")
    refuses(USAGE, ("--output is required",), "report", "r.db")
    refuses(USAGE, ("option --duration",), "record", "--duration", "nan")


def what_a_user_types_stays_one_line():
    name = trace()
    for args in (("re\nplay\x1b[31m",), ("replay", name, "-a", "x\ny"), ("list", "a\r\nb"),
                 ("replay", name, "--a\nb"), ("trace", "in\nfo", name), ("help", "x\ny")):
        refuses(USAGE, (), *args)
    result = refuses(RUN, (), "trace", "info", "no\nsuch\x1b[31m")
    check("\x1b" not in result.err, str(result))


def help_goes_to_stdout():
    for args in (("--help",), ("help",), ("help", "replay"), ("replay", "--help"), ("--version",)):
        check(len(succeeds(*args).out) > 10, str(args))
    same(quire().code, USAGE, "no verb at all")


# ---- outputs ----


def an_existing_output_is_kept():
    name = trace()
    before = read(name)
    words = (name, "exists", "--force")
    refuses(RUN, words, "import", "t.txt", "-o", name)
    same(read(name), before, "the trace")
    os.symlink("nowhere", "dangling")
    refuses(RUN, ("dangling", "exists"), "import", "t.txt", "-o", "dangling")
    check(not os.path.exists("nowhere"), "written through the link")
    succeeds("import", "-f", "t.txt", "-o", name)
    same(read(name), before, "the same trace again")


def an_existing_output_is_kept_by_the_live_verbs():
    need_recorder()
    write("old.quire", "old")
    os.symlink("nowhere", "dangling")
    os.mkdir("dir")
    refuses(RUN, ("old.quire", "exists", "--force"), "snapshot", "-o", "old.quire")
    for name, words in (("old.quire", ("exists", "--force")), ("dangling", ("exists",)),
                        ("dir", ("directory",)), ("", ("directory",)),
                        ("nodir/x.quire", ("nodir/x.quire", "No such file", "create the directory"))):
        refuses(RUN, words, "record", "-o", name, "--", "touch", "ran")
        check(not os.path.exists("ran"), f"recorded for nothing with -o '{name}'")
    same(read("old.quire"), b"old", "the old file")
    same(files(), ["dangling", "dir", "old.quire"], "files")


def an_output_that_cannot_be_made_is_told():
    trace()
    os.mkdir("dir")
    for name, words in (("nodir/x.quire", ("nodir/x.quire", "create the directory")),
                        ("dir", ("dir", "directory")), ("", ("directory",))):
        refuses(RUN, words, "import", "t.txt", "-o", name)


def a_full_disk_is_told_on_stdout():
    name = trace()
    full = open("/dev/full", "wb")  # pylint: disable=consider-using-with
    cases = [(verb, "--format", how) for how in ("table", "json", "csv") for verb in (
        ("replay", name, "-a", "null"), ("trace", "info", name), ("trace", "cat", name),
        ("list", "metrics"))]
    cases += [(("trace", "check", name),), (("--help",),), (("--version",),),
              (("replay", "--help"),)]
    with full:
        for verb, *how in cases:
            argv = [QUIRE, *verb, *how]
            done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, check=False)
            judge(Result(["quire", *verb], done.returncode, b"", done.stderr), RUN,
                  ("standard output", "No space left"))


def a_full_disk_is_told_and_nothing_is_left():
    trace()
    refuses(RUN, ("/dev/full", "No space left"), "import", "t.txt", "-o", "/dev/full")
    write("t.txt", script(20000))
    result, left = on_small_disk(32, "import", "t.txt", "-o", "small/out.quire")
    judge(result, RUN, ("small/out.quire", "No space left"))
    same(left, [], "left behind")


def a_full_disk_stops_a_new_database():
    name = trace()
    result, left = on_small_disk(64, "replay", name, "-a", "null", "--db", "small/r.db",
                                 "--format", "json")
    judge(result, RUN, ("small/r.db", "no space left"))
    same(left, [], "left behind")


def a_full_disk_loses_no_stored_run_and_no_error():
    name = trace()
    backends = 3 * ["-a", "null"] + 3 * ["-a", "llfree"]
    result, left = on_small_disk(600, "replay", name, *backends, "--db", "small/r.db", "--format",
                                 "json")
    same(result.code, RUN, str(result))
    errors = result.errors()
    check(errors and "small/r.db" in errors[0] and "no space left" in errors[0], str(result))
    check(not any("killed" in error for error in errors), f"the back end is blamed: {result}")
    check(all(run["status"] in ("done", "failed") for run in result.json()["runs"]), str(result))
    check(any(run["status"] == "done" for run in result.json()["runs"]), str(result))
    check("r.db" in left, f"what was stored is gone: {left}")


def a_full_disk_leaves_no_report():
    name = trace()
    need_gnuplot()
    succeeds("replay", name, "-a", "llfree", "--db", "r.db", "--format", "json")
    result, left = on_small_disk(32, "report", "r.db", "-o", "small/report")
    judge(result, RUN, ("small/report", "No space left"))
    same(left, [], "left behind")


def a_disk_too_full_for_the_trace_ends_a_recording():
    need_recorder()
    result, left = on_small_disk(64, "record", "-o", "small/out.quire", "--", "true")
    judge(result, RUN, ("small", "No space left"))
    same(left, [], "left behind")


def a_recording_says_on_a_terminal_what_it_does():
    need_recorder()
    ours, theirs = pty.openpty()
    with subprocess.Popen([QUIRE, "record", "-o", "out.quire", "--format", "json", "--", "true"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs) as process:
        process.communicate(timeout=PATIENCE_S)
    os.close(theirs)
    told = os.read(ours, 65536).decode().split("\r\n")
    os.close(ours)
    same([line.partition("record: ")[2] for line in told if line],
         ["snapshot of all frames", "recording", "snapshot of all frames at the end", "writing the trace"],
         "what is told")
    same(process.returncode, OK, "exit code")


def a_full_spool_keeps_what_it_has():
    """As long as there is room for the trace, which the spool itself gives back."""
    need_recorder()
    write("load", "while :; do head -c 60M /dev/zero >load.tmp; rm load.tmp; done\n")
    for kib in (3072, 12288, 49152, 196608, None):  # a busy machine fills a small one before the recording has begun
        if not kib:
            raise Skip("the machine is too busy: each spool was full before the recording had begun")
        result, left = on_small_disk(kib, "record", "-o", "small/out.quire", "--format", "json", "--", "sh",
                                     "load", keep="small/out.quire")
        if "before the recording had begun" not in result.err:
            break
    judge(result, RUN, ("small", "full", "the recording ends there", "--spool"))
    told = result.json()
    check(told["events"] > 10000 and told["lost_events"] > 1000, str(told))
    same(left, ["out.quire"], "left behind")
    info = succeeds("trace", "check", "kept", "--format", "json").json()
    same((info["intact"], info["events_read"]), (True, told["events"]), "the trace")


def a_limit_on_file_sizes_is_a_write_error():
    trace()
    limit = (8192, 8192)
    refuses(RUN, ("out.quire", "File too large"), "import", "t.txt", "-o", "out.quire",
            preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    same(files(), ["t.quire", "t.txt"], "files")


def left_after_a_line(*argv):
    """What becomes of it when whoever reads it has read enough."""
    with running(*argv) as process:
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        return end_of(process)


def a_reader_that_leaves_early_is_no_error():
    name = trace()
    for argv in (("trace", "cat", name), ("trace", "cat", name, name, "--format", "csv"),
                 ("list", "metrics"), ("list", "metrics", "--format", "json"), ("--help",), ("replay", "--help"),
                 ("trace", "check", name), ("replay", name, "-a", "null", "--format", "csv")):
        result = left_after_a_line(*argv)
        same((result.code, result.errors()), (OK, []), str(result))
    # Not even what is no error of the reader's is hidden by it.
    write("broken.quire", read(name)[:-1])
    same(left_after_a_line("trace", "check", "broken.quire").code, CHECK, "damage, unread")


def runs_that_nobody_reads_end_unless_they_are_kept():
    name = trace(events=60000)
    backends = [word for _ in range(4) for word in ("-a", "firstfit")]
    began = time.monotonic()
    succeeds("replay", name, "-a", "firstfit", "--format", "json")
    one = time.monotonic() - began
    began = time.monotonic()
    result = left_after_a_line("replay", name, *10 * backends, "--format", "json")
    same((result.code, result.errors()), (OK, []), str(result))
    check(time.monotonic() - began < 20 * one, "forty runs for nobody")
    result = left_after_a_line("bench", "bulk", "--memory", "64M", "-a", "llfree", "--repetitions", "1",
                               "--order", ",".join(str(o) for o in range(10)), "--format", "json")
    same((result.code, result.errors()), (OK, []), str(result))
    result = left_after_a_line("replay", name, *backends, "--db", "r.db", "--format", "json")
    same((result.code, result.errors()), (OK, []), str(result))
    same(statuses("r.db"), 4 * ["done"], "kept")


def what_is_given_twice_is_refused():
    name = trace()
    for argv in (("--seed", "1", "--seed", "1"), ("--oracle", "--no-oracle"), ("-l", "a", "--label=b")):
        refuses(USAGE, ("given twice",), "replay", name, "-a", "null", *argv)
    refuses(USAGE, ("tree", "given twice"), "replay", name, "-a", "llfree:tree=8,tree=16")
    refuses(USAGE, ("memory", "given twice"), "generate", "frag", "-p", "memory=64M", "-p", "memory=64M")
    succeeds("replay", name, "-a", "null", "-a", "null")


def missing_standard_descriptors_cost_no_data():
    name = trace()
    before = read(name)

    def close_all():
        for fd in range(3):
            os.close(fd)

    done = subprocess.run([QUIRE, "import", "t.txt", "-o", "again.quire"], preexec_fn=close_all,
                          check=False)
    same(done.returncode, RUN, "exit code without a stdout")
    same(read("again.quire"), before, "the trace")
    succeeds("trace", "check", "again.quire")


# ---- rights ----


def as_nobody():
    """A copy of the program that nobody may run, in a directory that nobody may write."""
    need_root()
    shutil.copy(QUIRE, "quire")
    os.chmod("quire", 0o755)

    def drop():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    try:
        done = subprocess.run([os.path.abspath("quire"), "--version"], preexec_fn=drop,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except PermissionError as error:
        raise Skip("the directory is closed to others") from error
    if done.returncode:
        raise Skip("nobody cannot run the program here")
    return {"preexec": drop, "argv0": os.path.abspath("quire")}


def without_root_the_live_verbs_are_refused():
    how = as_nobody() if os.geteuid() == 0 else {}
    os.mkdir("open")
    os.chmod("open", 0o777)
    for words, *args in ((("root",), "record", "-o", "open/x.quire", "--", "true"),
                         (("root",), "snapshot"), (("root",), "snapshot", "-o", "open/x.quire")):
        result = quire(*args, **how)
        if "cannot record" in result.err:
            raise Skip("built without the recorder")
        judge(result, RUN, words)
    same(os.listdir("open"), [], "left behind")


def files_without_rights_are_told():
    name = trace()
    how = as_nobody()
    succeeds("replay", name, "-a", "null", "--db", "r.db", "--format", "json")
    refuses(RUN, ("out.quire", "Permission denied", "may write"), "import", "t.txt", "-o",
            "out.quire", **how)
    refuses(RUN, ("r.db", "read-only"), "replay", name, "-a", "null", "--db", "r.db", **how)
    refuses(RUN, ("report", "Permission denied", "may write"), "report", "r.db", "-o", "report",
            **how)
    os.chmod(name, 0o600)
    refuses(RUN, (name, "Permission denied"), "replay", name, "-a", "null", "--format", "json",
            **how)
    os.chmod("t.txt", 0o600)
    refuses(RUN, ("t.txt", "Permission denied"), "import", "t.txt", "-o", "out.quire", **how)
    check("out.quire" not in files() and "report" not in files(), f"left behind: {files()}")


def without_tracefs_a_recording_is_refused():
    need_recorder()
    prepare = ("umount -l /sys/kernel/tracing; umount -l /sys/kernel/debug 2>/dev/null;"
               " mount -t tmpfs -o ro none /sys/kernel")
    result = private_mounts(prepare, "record", "-o", "out.quire", "--", "touch", "ran")
    judge(result, RUN, ("/sys/kernel/tracing", "not mounted", "mount -t tracefs"))
    same(files(), [], "left behind")


# ---- back ends that die, signals ----


def a_dead_back_end_costs_only_its_own_run():
    name = slow_trace()
    with running("replay", name, "-a", "llfree", "-a", "null", "--samples", "100000", "--db",
                 "r.db", "--format", "csv") as process:
        os.kill(run_child(process), signal.SIGKILL)
        # The second one, too: it would take its time.
        wait_for("the next run", lambda: len(statuses("r.db")) == 2, process)
        os.kill(run_child(process), signal.SIGSEGV)
        result = end_of(process)
    same(result.code, RUN, str(result))
    first, second = result.errors()
    check("quire: to repeat it: gdb --args quire replay --samples 100000 "
          "--format csv slow.quire -a llfree --in-process\n" in result.err, f"how to repeat it: {result}")
    for error, words in ((first, ("llfree", "signal 9")), (second, ("null", "signal 11"))):
        for word in words:
            check(word in error, f"{word!r} is missing: {result}")
    table = csv.DictReader(io.StringIO(result.out), strict=True)
    same([row["status"] for row in table], 2 * ["crashed"], "rows")
    same(statuses("r.db"), 2 * ["crashed"], "stored")
    same(rows("r.db", "SELECT count(*) FROM sample"), [(0,)], "samples of crashed runs")


def the_others_go_on_after_a_crash():
    name, quick = slow_trace(), trace()
    # Two traces: the first run is killed, the rest is quick enough to be waited for.
    with running("replay", name, "-a", "llfree", "--samples", "100000", "--db", "r.db",
                 "--format", "json") as process:
        os.kill(run_child(process), signal.SIGKILL)
        run = end_of(process).json()["runs"][0]
    same(run["status"], "crashed", "status")
    succeeds("replay", quick, "-a", "llfree", "--db", "r.db", "--format", "json")
    same(statuses("r.db"), ["crashed", "done"], "stored")


def a_back_end_that_hangs_is_stopped():
    name = slow_trace()
    with running("replay", name, "-a", "llfree", "--samples", "100000", "--db", "r.db",
                 "--timeout", "1", "--format", "json") as process:
        child = run_child(process)
        os.kill(child, signal.SIGSTOP)
        result = end_of(process)
    judge(result, RUN, ("llfree", "hangs", "--timeout"))
    same(statuses("r.db"), ["crashed"], "stored")
    check(not alive(child), "it still hangs around")


def interrupted_replay(name, number):
    with running("replay", name, "-a", "llfree", "-a", "null", "--samples", "100000", "--db",
                 "r.db", "--format", "json") as process:
        child = run_child(process)
        process.send_signal(number)
        result = end_of(process)
    judge(result, RUN, ("llfree", "interrupted"))
    same([run["status"] for run in result.json()["runs"]], ["interrupted"], "told")
    same(statuses("r.db"), ["interrupted"], "stored")
    same(rows("r.db", "SELECT count(*) FROM sample"), [(0,)], "samples of an interrupted run")
    same([name for name in files() if name.startswith("r.db")], ["r.db"], "database files")
    check(not alive(child), "the run outlives its reader")


def an_interrupted_replay_says_so():
    name = slow_trace()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        interrupted_replay(name, number)
        os.unlink("r.db")


def a_killed_replay_is_found_interrupted_later():
    name = slow_trace()
    with running("replay", name, "-a", "llfree", "--samples", "100000", "--db", "r.db",
                 "--format", "json") as process:
        child = run_child(process)
        process.kill()
        end_of(process)
    wait_for("the end of the run's process", lambda: not alive(child))
    same(statuses("r.db"), ["running"], "stored by the dead")
    succeeds("replay", trace(), "-a", "null", "--db", "r.db", "--format", "json")
    same(statuses("r.db"), ["interrupted", "done"], "stored")


def an_interrupted_import_leaves_nothing():
    trace()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with running("import", "-", "-o", "out.quire", stdin=subprocess.PIPE) as process:
            process.stdin.write(script(2000).encode())
            process.stdin.flush()
            wait_for("a temporary file", lambda: len(files()) == 3, process)
            process.send_signal(number)
            same(process.wait(PATIENCE_S), -number, "how it died")
        same(files(), ["t.quire", "t.txt"], "files")


def instance(process):
    return os.path.join(INSTANCES, f"quire-{process.pid}")


def an_interrupted_recording_is_whole():
    need_recorder()
    with running("record", "-o", "out.quire", "--", "sh", "-c", "echo began; exec sleep 600"
                 ) as process:
        same(process.stdout.readline(), b"began\n", "the command")
        check(os.path.isdir(instance(process)), "no instance of its own")
        process.send_signal(signal.SIGINT)
        result = end_of(process)
        check(not os.path.exists(instance(process)), "the instance is left")
    same(result.code, OK, str(result))
    succeeds("trace", "check", "out.quire")
    same(files(), ["out.quire"], "files")


def a_killed_recording_is_cleaned_up_by_the_next():
    need_recorder()
    with running("record", "-o", "out.quire", "--", "sh", "-c", "echo began; exec sleep 600"
                 ) as process:
        process.stdout.readline()
        command = children(process.pid)
        process.kill()
        process.wait(PATIENCE_S)
        left = instance(process)
        for pid in command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    same(files(), [], "left behind")
    succeeds("record", "-o", "out.quire", "--", "true")
    check(not os.path.exists(left), "the old instance is left")


def a_burn_in_is_told_only_to_those_who_ask():
    need_recorder()
    told = succeeds("record", "--burn-in", "-o", "out.quire", "--format", "json", "--", "true").json()
    check(told["burn_in_events"] > 0 and told["burn_in_s"] > 0, str(told))
    info = succeeds("trace", "info", "out.quire", "--format", "json").json()
    for key in ("events", "burn_in_events", "digest"):
        same(info[key], told[key], key)
    same(info["burn_in"], True, "burn_in")
    snapshots = info["snapshots"]
    same([s["snapshot"] for s in snapshots], ["burn-in", "start", "end"], "snapshots")
    result = succeeds("trace", "check", "out.quire", "--format", "json").json()
    same((result["intact"], result["events_read"]),
         (True, told["events"] + told["burn_in_events"]), "check")
    first = succeeds("trace", "cat", "out.quire", "-n", "1", "--format", "json").json()["events"][0]
    check(first["time_ns"] > snapshots[1]["time_ns"], "an event from before the start")
    first = succeeds("trace", "cat", "--burn-in", "out.quire", "-n", "1", "--format", "json").json()
    check(snapshots[0]["time_ns"] <= first["events"][0]["time_ns"] <= snapshots[1]["time_ns"],
          "no event of the burn-in")
    result = succeeds("trace", "cat", "--burn-in", "out.quire", "--skip",
                      str(told["burn_in_events"]), "-n", "1", "--format", "json").json()
    check(result["events"][0]["time_ns"] > snapshots[1]["time_ns"], "too many burn-in events")
    same(files(), ["out.quire"], "files")


def an_interrupted_burn_in_leaves_nothing():
    need_recorder()
    with running("record", "--burn-in", "-o", "out.quire", "--", "touch", "ran") as process:
        wait_for("the load", lambda: children(process.pid), process)
        load = children(process.pid)
        process.send_signal(signal.SIGINT)
        result = end_of(process)
        check(not os.path.exists(instance(process)), "the instance is left")
    same(result.code, RUN, str(result))
    check("stopped before the recording had begun" in result.err, str(result))
    check(not any(os.path.exists(f"/proc/{pid}") for pid in load), "processes are left")
    same(files(), [], "files")


def a_recorded_command_is_left_alone():
    need_recorder()
    result = quire("record", "-o", "out.quire", "--format", "json", "--", "sh", "-c",
                   "yes | head -n 1 >/dev/null; exit 7")
    same(result.code, OK, str(result))
    same(len(result.errors()), 1, f"lines on stderr of {result}")  # yes(1) ended by SIGPIPE
    check("exit code 7" in result.err, str(result))
    succeeds("trace", "check", "out.quire")
    refuses(RUN, ("nosuchcommand", "not found"), "record", "-o", "b.quire", "--", "nosuchcommand")
    check("b.quire" not in files(), "a trace of nothing")


# ---- databases ----


def a_strange_database_is_refused_and_left_alone():
    name = trace()
    succeeds("replay", name, "-a", "null", "--db", "r.db", "--format", "json")
    shutil.copy("r.db", "newer.db")
    connection = sqlite3.connect("newer.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    connection = sqlite3.connect("other.db")
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    write("text.db", "not a database at all\n" * 100)
    write("cut.db", read("r.db")[:20000])
    for database, word in (("newer.db", "newer quire"), ("other.db", "not one of quire's"),
                           ("text.db", "not a results database"), ("cut.db", "damaged")):
        before = read(database)
        refuses(RUN, (database, word), "replay", name, "-a", "null", "--db", database,
                "--format", "json")
        refuses(RUN, (database, word), "report", database, "-o", "report")
        same(read(database), before, database)
    os.mkdir("dir")
    refuses(RUN, ("dir", "directory"), "replay", name, "-a", "null", "--db", "dir")
    refuses(RUN, ("nodir/r.db", "writable directory"), "replay", name, "-a", "null", "--db",
            "nodir/r.db")
    refuses(RUN, ("missing.db", "quire replay --db"), "report", "missing.db", "-o", "report")
    check(not [file for file in files() if "-wal" in file or "-journal" in file], str(files()))
    check("report" not in files(), "a directory is left")


def a_locked_database_is_told():
    name = trace()
    succeeds("replay", name, "-a", "null", "--db", "r.db", "--format", "json")
    connection = sqlite3.connect("r.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    result = quire("replay", name, "-a", "null", "--db", "r.db", "--db-wait", "1")
    same(result.code, RUN, str(result))
    waits, gives_up = result.errors()
    check("r.db: another process has it locked; waiting" in waits, str(result))
    check("r.db" in gives_up and "locked" in gives_up and "wait" in gives_up, str(result))
    connection.close()
    same(statuses("r.db"), ["done"], "stored")


def a_lock_is_waited_for_and_a_run_that_cannot_be_kept_is_printed_all_the_same():
    name, quick = trace("long.quire", 300000), trace()
    succeeds("replay", quick, "-a", "null", "--db", "r.db", "--format", "json")
    connection = sqlite3.connect("r.db", isolation_level=None, timeout=20)
    connection.execute("PRAGMA journal_mode = WAL")
    for patience, code, stored in (("60", OK, "done"), ("1", RUN, "running")):
        with running("replay", name, "-a", "firstfit", "--samples", "2000", "--db", "r.db",
                     "--db-wait", patience, "--format", "json") as process:
            # It has begun: now somebody else writes, and takes his time.
            wait_for("the run", lambda: statuses("r.db")[-1] == "running", process)
            connection.execute("BEGIN IMMEDIATE")
            if code == OK:
                time.sleep(6)
                connection.execute("ROLLBACK")
            result = end_of(process)
        same(result.code, code, str(result))
        check("another process has it locked; waiting" in result.err, str(result))
        if code != OK:
            connection.execute("ROLLBACK")
            check("could be kept" in result.err and "locked" in result.err, result.err)
        run, = result.json()["runs"]
        same((run["status"], len(run["samples"])), ("done", 2002), "the row")
        same(statuses("r.db")[-1], stored, "stored")
    connection.close()


def a_run_that_does_not_fit_on_the_disk_is_printed_all_the_same():
    name = trace(events=30000)
    need_root()
    result, left = on_small_disk(300, "replay", name, "-a", "firstfit", "-a", "nextfit",
                                 "--samples", "2000", "--db", "small/r.db", "--format", "json")
    same(result.code, RUN, str(result)[:3000])
    check("not all results of a run could be kept" in result.err, result.err)
    check("no space left" in result.err, result.err)
    runs = result.json()["runs"]
    same([(run["allocator"], run["status"]) for run in runs],
         [("firstfit", "done"), ("nextfit", "done")], "rows")
    same([len(run["samples"]) for run in runs], [2002, 2002], "samples")
    check(left, "a database of runs that failed")


def several_replays_share_a_database():
    name = trace()
    argv = [QUIRE, "replay", name, "-a", "null", "-a", "llfree", "--db", "r.db", "--format", "json"]
    processes = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                 for _ in range(4)]
    ids = []
    for process in processes:
        result = end_of(process)
        # A busy machine may keep one of them waiting for a second.
        told = [line for line in result.err.splitlines() if not line.endswith("has it locked; waiting")]
        same((result.code, told), (OK, []), str(result))
        ids += [run["id"] for run in result.json()["runs"]]
    same(sorted(ids), list(range(1, 9)), "run ids")
    same(statuses("r.db"), 8 * ["done"], "stored")


# ---- reports ----


def need_gnuplot():
    if not shutil.which("gnuplot"):
        raise Skip("needs gnuplot")


def the_report_keeps_names_and_no_directory():
    need_gnuplot()
    where = os.path.realpath(".")
    os.mkdir("hidden place")
    name = os.path.join(where, trace("hidden place/a.quire"))
    policy = os.path.join(where, "hidden place", "mine.yaml")
    shutil.copy(os.path.join(SOURCE, "configs", "policies", "simple.yaml"), policy)
    db, out = os.path.join(where, "hidden place", "r.db"), os.path.join(where, "hidden place", "out")
    result = quire("replay", name, "-a", f"llfree:policy={policy}", "-a", "firstfit", "--db", db, "-l", "mine")
    same(result.code, OK, str(result))
    slow = os.path.join(where, slow_trace())
    with running("replay", slow, "-a", "buddy", "--samples", "100000", "--db", db) as process:
        os.kill(run_child(process, db), signal.SIGKILL)
        same(end_of(process).code, RUN, "a run that was killed")
    same(quire("report", db, "-o", out).code, OK, "report")
    told = 0
    for directory, _, names in os.walk(out):
        for one in names:
            text = read(os.path.join(directory, one)).decode()
            told += "a.quire" in text
            for word in ("hidden place", where, os.path.basename(where)):
                check(word not in text, f"{one}: {word}: {re.findall('.*' + re.escape(word) + '.*', text)[:3]}")
    check(told >= 4, "the page and its plots name the trace")
    page = read(os.path.join(out, "index.html")).decode()
    for word in ("quire replay a.quire \\\n    -a firstfit \\\n", "--db r.db", "quire report r.db -o out", "policy=mine.yaml", ">crashed<",
                 "Runs that did not finish"):
        check(word in page, f"{word} is missing")


def without_gnuplot_there_is_no_report_and_no_loss():
    name = trace()
    succeeds("replay", name, "-a", "llfree", "--db", "r.db", "--format", "json")
    without = {**os.environ, "PATH": "/nonexistent"}
    words = ("gnuplot", "install")
    refuses(RUN, words, "report", "r.db", "-o", "report", env=without)
    check("report" not in files(), "a directory is left")
    need_gnuplot()
    quire("report", "r.db", "-o", "report")
    before = {file: read(f"report/plots/{file}") for file in os.listdir("report/plots")}
    page = read("report/index.html")
    refuses(RUN, words, "report", "-f", "r.db", "-o", "report", env=without)
    same(read("report/index.html"), page, "the old page")
    same({file: read(f"report/plots/{file}") for file in os.listdir("report/plots")}, before,
         "the old plots")


def an_interrupted_report_leaves_nothing():
    name = trace()
    succeeds("replay", name, "-a", "llfree", "--db", "r.db", "--format", "json")
    os.mkdir("bin")
    # Ctrl-C goes to both.
    write("bin/gnuplot", "#!/bin/sh\nkill -INT $PPID\nkill -INT $$\nsleep 600\n")
    os.chmod("bin/gnuplot", 0o755)
    before = files()
    refuses(RUN, ("report", "interrupted"), "report", "r.db", "-o", "report",
            env={**os.environ, "PATH": f"{os.getcwd()}/bin:{os.environ['PATH']}"})
    same(files(), before, "files")


def an_existing_report_is_kept():
    need_gnuplot()
    name = trace()
    succeeds("replay", name, "-a", "llfree", "--db", "r.db", "--format", "json")
    os.mkdir("report")
    write("report/index.html", "mine")
    write("file", "mine")
    refuses(RUN, ("report/index.html", "exists", "--force"), "report", "r.db", "-o", "report")
    same((read("report/index.html"), os.listdir("report")), (b"mine", ["index.html"]), "the page")
    refuses(RUN, ("file", "directory"), "report", "r.db", "-o", "file")
    same(quire("report", "-f", "r.db", "-o", "report").code, OK, "with --force")
    check(read("report/index.html") != b"mine", "not replaced")
    refuses(RUN, ("r.db", "'none such'"), "report", "r.db", "-l", "none such", "-o", "other")
    check("other" not in files(), "a directory is left")


def a_report_quotes_what_users_typed():
    need_gnuplot()
    name = trace("<img src=x>&\".quire")
    label = "<script>alert(1)</script>&\"'\n"
    succeeds("replay", name, "-a", "llfree", "-l", label, "--db", "r.db", "--format", "json")
    same(quire("report", "r.db", "-o", "report").code, OK, "exit code")
    page = read("report/index.html").decode()
    check("<script" not in page and "<img src=x" not in page, "unquoted in the page")
    for plot in os.listdir("report/plots"):
        if plot.endswith(".svg"):
            text = read(f"report/plots/{plot}").decode()
            check("<script" not in text and "<img" not in text, f"unquoted in {plot}")


# ---- formats ----


def documented_keys():
    """Of a run, in their order."""
    with open(os.path.join(SOURCE, "docs", "json.md"), encoding="utf-8") as file:
        table = re.search(r"^## A run\n(.*?)^## ", file.read(), re.S | re.M).group(1)
    return re.findall(r"^\| `(\w+)` \|", table, re.M)


def replay_json_has_the_documented_keys():
    name = trace(events=3000)
    document = succeeds("replay", name, "-l", "mine", "--samples", "3", "--db", "r.db", "--format",
                        "json").json()
    same(sorted(document), ["runs", "schema"], "document")
    same(document["schema"], 1, "schema")
    same([run["allocator"] for run in document["runs"]], BACKENDS, "back ends")
    for number, run in enumerate(document["runs"], 1):
        for key, value in (("id", number), ("label", "mine"), ("spec", run["allocator"]),
                           ("trace", name), ("mode", "sequential"), ("threads", 1),
                           ("order", None), ("seed", 1), ("status", "done"), ("error", None),
                           ("models", {})):
            same(run[key], value, f"{run['spec']}: {key}")
        blocks = [(h["block"], h["rank"]) for h in run["holders"]]
        check(blocks and blocks == sorted(set(blocks)), f"{run['spec']}: holders of {blocks[:9]}")
        for h in run["holders"]:
            check(h["sample"] == len(run["samples"]) - 1 and 0 < h["frames"] <= 512 and
                  h["class"] in ("prefill", "compaction", "page_cache", "object"),
                  f"{run['spec']}: {h}")
        same(list(run), documented_keys(), f"{run['spec']}: keys")
        for key in ("point_id", "build_id", "options"):
            check(isinstance(run[key], str), f"{run['spec']}: {key}: {run[key]!r}")
        # There may be more.
        check(run["settings"].items() >= {
            "backing": "none", "prefill": "none", "salvage": False, "samples": 3,
            "sample_by": "events", "oracle": run["allocator"] != "null", "cpus": 2,
            "managed_frames": run["settings"]["managed_frames"], "events": 3000, "ops": 3000,
        }.items(), f"{run['spec']}: {run['settings']}")
        check(run["settings"]["managed_frames"] > 1000, run["spec"])
        same(len(run["warnings"]), 1, f"{run['spec']}: warnings")
        metrics = run["metrics"]
        same((metrics["events"], metrics["ops"]), (3000, 3000), f"{run['spec']}: events, ops")
        for key in ("lost_events", "orphan_frees", "implicit_frees", "alloc_failures",
                    "unreplayable", "oracle_violations"):
            same(metrics[key], 0, f"{run['spec']}: {key}")
        samples = run["samples"]
        same(len(samples), 5, f"{run['spec']}: samples")
        same([samples[0]["event"], samples[-1]["event"]], [0, 3000], f"{run['spec']}: ends")
        check(all(a["time_ns"] <= b["time_ns"] and a["event"] <= b["event"]
                  for a, b in zip(samples, samples[1:])), f"{run['spec']}: samples out of order")
        check(all("free_huge" in s and "moves_to_compact" in s for s in samples), run["spec"])
    same(statuses("r.db"), len(BACKENDS) * ["done"], "stored")


def counters_are_told_with_each_sample_and_at_the_end():
    runs = succeeds("replay", trace(events=3000), "-a", "buddy", "-a", "llfree", "-a", "null",
                    "-a", "percpu:inner=(llfree)", "--samples", "3", "--format",
                    "json").json()["runs"]
    buddy, llfree, null, layer = runs
    check(buddy["counters"]["pcp_hits"] > 0 and llfree["counters"]["reservations"] > 0, "nothing")
    check(set(llfree["counters"]) <= set(layer["counters"]), "the inner one's")
    same(null["counters"], {}, "of a back end that counts nothing")
    for run in runs:
        for sample in run["samples"]:
            same(list(sample["counters"]), list(run["counters"]), f"{run['spec']}: names")
        same(run["samples"][-1]["counters"], run["counters"], f"{run['spec']}: the end")
    hits = [sample["counters"]["pcp_hits"] for sample in buddy["samples"]]
    same(hits, sorted(hits), "what only grows")
    bench = succeeds("bench", "bulk", "-a", "llfree", "--memory", "64M", "--repetitions", "2",
                     "--format", "json").json()["runs"][0]
    same(list(bench["counters"]), list(llfree["counters"]), "of a benchmark")


def real_memory_is_touched_and_no_exact_figure_changes():
    name = trace(events=3000)

    def runs(*args):
        document = succeeds("replay", name, "-a", "firstfit", "-a", "llfree", *args, "--format",
                            "json", "--db", "r.db").json()
        return document["runs"]

    none = runs()
    for kind in ("small", "memfd"):
        for bare, touched in zip(none, runs("--backing", kind, "--touch", "all")):
            for key in ("free_huge", "moves_to_compact", "alloc_failures", "oracle_violations"):
                same(touched["metrics"][key], bare["metrics"][key], f"{kind}: {key}")
            check(touched["metrics"]["touched_frames"] > 0, kind)
            same(touched["metrics"]["resident_bytes"],
                 4096 * touched["metrics"]["touched_frames"], f"{kind}: resident")
            check(touched["point_id"] != bare["point_id"], "the same point")
            same((touched["settings"]["backing"], touched["settings"]["touch"]), (kind, "all"),
                 "settings")
    check(rows("r.db", "SELECT count(*) FROM v_latency WHERE op = 'touch'")[0][0] > 0, "stored")


def bad_wishes_for_real_memory_are_told():
    name = trace()
    for words, args in (
            (("'smal'", "did you mean 'small'"), ("--backing", "smal")),
            (("file:PATH",), ("--backing", "file")), (("file:PATH",), ("--backing", "file:")),
            (("--touch all", "--backing"), ("--touch", "all")),
            (("--touch-prefill", "--touch"), ("--touch-prefill", "--backing", "small")),
            (("one back end", "-a"), ("--backing", "file:f")),
            (("--grow-hugetlb", "hugetlb"), ("--grow-hugetlb", "2M", "-a", "llfree"))):
        refuses(USAGE, words, "replay", name, *args)
    write("mine", b"precious")
    result = quire("replay", name, "-a", "llfree", "--backing", "file:mine", "--touch", "first")
    same(result.code, RUN, str(result))
    check("mine: File exists" in result.err, str(result))
    same(read("mine"), b"precious", "somebody's file")
    result, left = on_small_disk(1024, "replay", name, "-a", "llfree", "--backing",
                                 "file:small/frames", "--touch", "first", "--format", "json")
    same(result.code, RUN, str(result))
    check("backing file: no room" in result.err, str(result))
    same(result.json()["runs"][0]["status"], "failed", "status")


def the_pool_of_huge_pages_is_put_right():
    need_root()
    pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

    def pages():
        return int(read(pool))

    if not os.path.exists(pool):
        raise Skip("no pool of huge pages here")
    lock = os.open(pool, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # tests/sim/test_backing.c changes it, too
    before, name, slow = pages(), trace(), slow_trace()
    args = ("-a", "llfree", "--backing", "hugetlb", "--touch", "all", "--grow-hugetlb")
    result = quire("replay", name, *args, "512M", "--format", "json")
    if "only" in result.err and "more" in result.err:
        raise Skip("the host has no memory for the pool")
    same(result.code, OK, str(result))
    metrics = result.json()["runs"][0]["metrics"]
    check(metrics["huge_page_bytes"] == metrics["resident_bytes"] > 0, str(metrics)[:300])
    same(pages(), before, "pages of the pool")
    with running("replay", slow, "--samples", "100000", *args, "8M", "--db", "r.db") as process:
        wait_for("the pool", lambda: pages() == before + 4, process)
        process.kill()
        process.communicate()
    wait_for("the pool put right", lambda: pages() == before)
    refuses(RUN, ("pool of huge pages", "ask for less"), "replay", name, *args, "10000G")
    same(pages(), before, "pages of the pool")
    os.close(lock)


def spread_out(name, step_ns, events=200):
    """A trace that takes @events times @step_ns, blocks allocated and freed in turns."""
    lines = []
    for i in range(events):
        now_ns = 10**11 + i * step_ns
        stamp = f"{now_ns // 10**9}.{now_ns % 10**9:09}"
        lines.append(alloc(stamp, 0x1000, 0, 1, 0) if i % 2 == 0 else line(stamp, "free", 0x1000, 0, "", 0))
    write("t.txt", "".join(lines))
    succeeds("import", "t.txt", "-o", name)
    return name


def timed_replay_keeps_the_times_of_the_trace():
    name, key = spread_out("slow.quire", 20 * 10**6), "free_huge alloc_failures oracle_violations ops".split()
    plain, = succeeds("replay", name, "-a", "llfree", "--format", "json").json()["runs"]
    for speed, at_least_s in (("2", 1.98), ("4", 0.99), ("1e9", 0)):
        began = time.monotonic()
        result = quire("replay", name, "-a", "llfree", "--mode", "timed", "--speed", speed, "--db", "r.db",
                       "--format", "json")
        same(result.code, OK, str(result))
        check(time.monotonic() - began >= at_least_s, f"speed {speed}: over too early")
        run, = result.json()["runs"]
        metrics = run["metrics"]
        same([metrics[k] for k in key], [plain["metrics"][k] for k in key], "exact figures")
        same((run["mode"], run["settings"]["speed"]), ("timed", float(speed)), "told")
        same((metrics["ops_per_second"], metrics["events_per_second"]), (None, None), "the trace's rate")
        check(0 <= metrics["late_ns_p50"] <= metrics["late_ns_max"], str(metrics)[:300])
        check(0 <= metrics["late_share"] <= 1 and metrics["behind_ns"] >= 0, str(metrics)[:300])
        check(run["point_id"] != plain["point_id"], "the same point")
        same("fell_behind" in run["doubts"], any("could not keep up" in w for w in run["warnings"]), "doubt")
    same(rows("r.db", "SELECT DISTINCT sum(count) FROM v_latency WHERE op = 'late' GROUP BY run_id"), [(200,)], "stored")
    same(plain["metrics"]["late_ns"], None, "of one that is not timed")
    check("speed" not in plain["settings"], "a speed of nothing")


def who_cannot_keep_up_says_so():
    name = trace(events=20000)
    run, = quire("replay", name, "-a", "llfree", "--mode", "timed", "--speed", "1e12", "--samples", "0",
                 "--format", "json").json()["runs"]
    metrics = run["metrics"]
    if metrics["late_share"] <= 0.5 and metrics["behind_ns"] <= 10**7:
        raise Skip("this host is too fast")
    same((run["status"], run["may_compete"], run["out_for"]), ("done", False, "fell_behind"), "standing")
    check(any("could not keep up at speed 1e+12" in text for text in run["warnings"]), str(run["warnings"]))
    # All at once: nothing is to be kept up with.
    name = spread_out("once.quire", 0)
    run, = succeeds("replay", name, "-a", "llfree", "--mode", "timed", "--format", "json").json()["runs"]
    same((run["doubts"], run["metrics"]["ops"]), ({}, 200), "at once")


def a_long_wait_is_no_hang_and_can_be_interrupted():
    name = spread_out("ages.quire", 10**9, 40)
    for more in ((), ("--in-process",)):
        with running("replay", name, "-a", "llfree", "-a", "firstfit", "--mode", "timed", "--speed", "0.001",
                     "--timeout", "1", "--format", "json", *more) as process:
            time.sleep(3)
            same(process.poll(), None, "it ended")
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            result = end_of(process)
            check(time.monotonic() - began < 20, "slow to stop")
        same(result.code, RUN, str(result))
        same([run["status"] for run in result.json()["runs"]], ["interrupted"], "runs")


def bad_wishes_for_time_are_told():
    name = trace()
    refuses(USAGE, ("--speed", "--mode timed"), "replay", name, "--speed", "2")
    for speed in ("0", "-1", "fast", "nan", "inf"):
        refuses(USAGE, ("--speed", speed), "replay", name, "--mode", "timed", f"--speed={speed}")
    refuses(USAGE, ("--repetitions",), "replay", name, "--repetitions", "0")
    refuses(USAGE, ("--repetitions", "file:"), "replay", name, "-a", "llfree", "--repetitions", "2",
            "--backing", "file:f")
    check("f" not in files(), "a file in spite of it")


def replays_can_be_repeated():
    name = trace()
    runs = quire("replay", name, "-a", "llfree", "-a", "buddy", "--repetitions", "3", "--db", "r.db",
                 "--format", "json").json()["runs"]
    once = succeeds("replay", name, "-a", "llfree", "-a", "buddy", "--format", "json").json()["runs"]
    same([run["status"] for run in runs], ["done"] * 2, "status")
    noisy = {m["name"] for m in succeeds("list", "metrics", "--format", "json").json()["metrics"]
             if m["kind"] == "noisy"}
    for run, other in zip(runs, once):
        same((run["spec"], run["settings"]["repetitions"]), (other["spec"], 3), "told")
        check({"alloc_ns", "free_ns", "ops_per_second", "cas_ns"} <= set(run["spread"]) <= noisy, str(run["spread"]))
        same(other["spread"], {}, "of one")
        same(other["settings"]["repetitions"], 1, "usual")
        for key, value in other["metrics"].items():
            if key not in noisy:
                same(run["metrics"][key], value, key)
        same(run["samples"], other["samples"], "samples")
        same(run["metrics"]["alloc_ns_spread"], run["spread"]["alloc_ns"], "twice told")
    same(rows("r.db", "SELECT count(*), count(DISTINCT run_id) FROM v_metric WHERE name = 'alloc_ns' AND spread >= 0"),
         [(2, 2)], "stored")
    same(statuses("r.db"), ["done"] * 2, "rows")
    with running("replay", slow_trace(), "-a", "llfree", "-a", "buddy", "--samples", "100000", "--repetitions",
                 "100", "--db", "i.db", "--format", "json") as process:
        wait_for("a run", lambda: children(process.pid), process)
        process.send_signal(signal.SIGINT)
        result = end_of(process)
    same(result.code, RUN, str(result))
    check(all(run["status"] == "interrupted" for run in result.json()["runs"]), str(result))


def wandering(name, blocks, frees=True):
    """Each block of 4 MiB elsewhere, none for long if @frees: `null` places where it was recorded."""
    lines = []
    for i in range(blocks):
        stamp, pfn = f"100.{i * 1000:09}", 0x400 * (i + 4)
        lines.append(alloc(stamp, pfn, 10, 1, 0))
        if frees:
            lines.append(line(f"100.{i * 1000 + 500:09}", "free", pfn, 10, "", 0))
    write("t.txt", "".join(lines))
    succeeds("import", "t.txt", "-o", name)
    return name


@contextlib.contextmanager
def memory_group(limit):
    """A control group of ours with a memory limit. Yields what puts a process into it."""
    need_root()
    base = "/sys/fs/cgroup/memory"
    names = ("memory.limit_in_bytes", "cgroup.procs")
    if not os.path.exists(base):
        base, names = "/sys/fs/cgroup", ("memory.max", "cgroup.procs")
    group = f"{base}/quire-test-{os.getpid()}"
    try:
        os.mkdir(group)
    except OSError as why:
        raise Skip(f"no control group can be made here: {why}") from why
    try:
        try:
            with open(f"{group}/{names[0]}", "w", encoding="ascii") as f:
                f.write(str(limit))
        except OSError as why:
            raise Skip(f"no memory limit can be set here: {why}") from why

        def enter():
            with open(f"{group}/{names[1]}", "w", encoding="ascii") as f:
                f.write(str(os.getpid()))

        yield enter
    finally:
        wait_for("the group to be empty", lambda: not read(f"{group}/cgroup.procs"))
        os.rmdir(group)


def a_run_that_grows_past_a_group_s_limit_fails_alone():
    name = wandering("w.quire", 200)
    with memory_group(300 << 20) as enter:
        for kind in ("small", "memfd"):
            result = quire("replay", name, "-a", "llfree", "-a", "null", "-a", "firstfit", "--backing", kind, "--touch",
                           "all", "--db", f"{kind}.db", "--format", "json", preexec=enter)
            same(result.code, RUN, str(result))
            same(statuses_of(result), {"llfree": "done", "null": "failed", "firstfit": "done"}, str(result))
            same(len(result.errors()), 1, str(result))
            for word in (f"backing {kind}", "memory left", "touch less"):
                check(word in result.errors()[0], str(result))
            same(statuses(f"{kind}.db"), ["done", "failed", "done"], "rows")
        # What never fits is told before anything runs.
        result = quire("replay", wandering("big.quire", 200, False), "-a", "llfree", "--backing", "small", "--touch", "all",
                       preexec=enter)
        same(result.code, RUN, str(result))
        check("are available" in result.errors()[0], str(result))


def without_huge_pages_thp_is_refused():
    need_root()
    setting = "/sys/kernel/mm/transparent_hugepage/enabled"
    if not os.path.exists(setting):
        raise Skip("this kernel has no transparent huge pages")
    before = read(setting).decode().split("[")[1].split("]")[0]
    name = trace()
    try:
        with open(setting, "w", encoding="ascii") as f:
            f.write("never")
    except OSError as why:
        raise Skip(f"the setting cannot be changed here: {why}") from why
    try:
        result = quire("replay", name, "-a", "llfree", "--backing", "thp", "--touch", "all", "--format", "json")
    finally:
        with open(setting, "w", encoding="ascii") as f:
            f.write(before)
    judge(result, RUN, ("switched off", setting, "backing small"))
    same([run["status"] for run in result.json()["runs"]], ["failed"], "status")
    check(f"[{before}]" in read(setting).decode(), "the host's setting")


def an_empty_pool_names_what_fills_it():
    pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
    if not os.path.exists(pool):
        raise Skip("no pool of huge pages here")
    lock = os.open(pool, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # other tests change it
    name, empty = trace(), int(read(pool)) == 0
    if empty:
        result = quire("replay", name, "-a", "llfree", "--backing", "hugetlb", "--touch", "all")
    os.close(lock)
    if not empty:
        raise Skip("the pool of huge pages is not empty here")
    judge(result, RUN, ("no free huge pages", "--grow-hugetlb"))


def more_threads_than_the_cpuset_has_are_refused():
    first = min(os.sched_getaffinity(0))
    refuses(USAGE, ("--threads",), "bench", "bulk", "-a", "llfree", "--memory", "64M", "--threads", "2",
            preexec=lambda: os.sched_setaffinity(0, {first}))


def what_was_chosen_makes_the_point():
    name = trace()

    def point(*args):
        run, = succeeds("replay", name, "-a", "llfree", *args, "--format", "json").json()["runs"]
        return run["point_id"], run["settings"]

    usual, settings = point()
    points = [usual]
    for args, key, value in ((("--samples", "7"), "samples", 7), (("--no-oracle",), "oracle", False),
                             (("--sample-by", "time"), "sample_by", "time")):
        changed, told = point(*args)
        same({k: v for k, v in told.items() if settings[k] != v}, {key: value}, str(args))
        points.append(changed)
    points.append(point("--seed", "2")[0])
    same(len(set(points)), len(points), "points")
    for args in (("-l", "mine"), ("--samples", "100"), ("--prefill", "recorded"), ("--db", "r.db")):
        same(point(*args)[0], usual, str(args))


def the_three_verbs_begin_and_end_alike():
    verbs = (("replay", trace()), ("bench", "bulk", "--memory", "64M", "--repetitions", "1"),
             ("fidelity", SMALL_SERVER))
    for verb in verbs:
        refuses(USAGE, (verb[0], "'budy'", "'buddy'"), *verb, "-a", "budy", "--db", "r.db")
        check("r.db" not in files(), f"{verb[0]}: a database in spite of a usage error")
        refuses(RUN, ("nodir/r.db",), *verb, "-a", "buddy", "--db", "nodir/r.db", "--format", "json")
        with open("/dev/full", "wb") as full:
            done = subprocess.run([QUIRE, *verb, "-a", "buddy", "--db", "full.db", "--format", "csv"],
                                  stdout=full, stderr=subprocess.PIPE, check=False)
        result = Result([QUIRE, *verb], done.returncode, b"", done.stderr)
        same(result.code, RUN, str(result))
        check("standard output" in result.errors()[-1], str(result))
    same(statuses("full.db"), ["done"] * len(verbs), "what could be stored")


def an_id_is_null_without_a_database():
    run = succeeds("replay", trace(), "-a", "null", "--format", "json").json()["runs"][0]
    same((run["id"], run["label"]), (None, None), "id and label")


def options_are_echoed_resolved():
    run = succeeds("replay", trace(), "-a", "llfree:tree=16", "--format", "json").json()["runs"][0]
    same((run["allocator"], run["spec"]), ("llfree", "llfree:tree=16"), "names")
    check("tree=16" in run["options"] and "policy=" in run["options"], run["options"])


POLICY = """name: mine
description: two classes
classes:
  - {name: small, slots: cpus}
  - {name: large, slots: one}
rules:
  - {class: large, orders: [4, 10]}
  - {class: small}
ranges: {perfect: [1, 32], good: [32, 64]}
"""


def a_policy_is_a_name_or_a_file():
    name = trace()
    refuses(USAGE, ("llfree: option policy: no choice 'movabel'", "did you mean 'movable'?"),
            "replay", name, "-a", "llfree:policy=movabel")
    refuses(USAGE, ("no choice 'xyzzy'", "simple, movable, pagecache, reclaimable, context"),
            "replay", name, "-a", "llfree:policy=xyzzy")
    refuses(USAGE, ("./none.yaml: No such file", "or one of simple, movable"),
            "replay", name, "-a", "llfree:policy=./none.yaml")
    refuses(USAGE, (".: Is a directory",), "replay", name, "-a", "llfree:policy=.")
    choices = [option["choices"] for backend in
               succeeds("list", "allocators", "--format", "json").json()["allocators"]
               for option in backend["options"] if option["name"] == "policy"]
    same(choices, [["simple", "movable", "pagecache", "reclaimable", "context"]], "choices")


def a_wrong_policy_file_is_told_by_place():
    name = trace()
    for words, text in (
            (("line 1, column 1: unknown key 'nam'", "did you mean 'name'?"),
             POLICY.replace("name: mine", "nam: mine")),
            (("rule 1: orders: '11' is not a whole number from 0 to 10",),
             POLICY.replace("[4, 10]", "[4, 11]")),
            (("order 0, Unmovable: none fits", "add a last one"),
             POLICY.replace("  - {class: small}\n", "")),
            (("not YAML",), POLICY.replace("- {class: small}", "- {class: small")),
            (("empty",), "")):
        write("mine.yaml", text)
        result = refuses(RUN, ("llfree: mine.yaml: ", *words), "replay", name, "-a",
                         "llfree:policy=mine.yaml", "--format", "json")
        same([run["status"] for run in result.json()["runs"]], ["failed"], "status")


def a_policy_file_is_known_by_its_content():
    name = trace()

    def point(path):
        run = succeeds("replay", name, "-a", f"llfree:policy={path}", "--format", "json").json()["runs"][0]
        same((run["status"], run["metrics"]["oracle_violations"]), ("done", 0), path)
        return run["point_id"], run["options"]

    write("mine.yaml", POLICY)
    first, options = point("mine.yaml")
    check("policy=mine.yaml#" in options, options)
    same(point("mine.yaml"), (first, options), "the same file again")
    hashed = options[options.index("mine.yaml#"):].split(",")[0]
    same(point(hashed), (first, options), "the file by its hash")
    write("mine.yaml", POLICY.replace("[4, 10]", "[5, 10]"))
    check(point("mine.yaml")[0] != first, "changed content, same point")
    refuses(USAGE, ("mine.yaml has changed",), "replay", name, "-a", f"llfree:policy={hashed}")


def what_docs_say_of_policies_works():
    with open(os.path.join(SOURCE, "docs", "policies.md"), encoding="utf-8") as file:
        text = file.read()
    blocks = re.findall(r"^```(yaml|sh)\n(.*?)^```", text, re.S | re.M)
    name, ran = trace(), 0
    for language, block in blocks:
        if language == "yaml":
            write(re.search(r"Save it as `([^`]+)`", text).group(1), block)
            continue
        for command in block.replace("\\\n", " ").splitlines():
            quire_, *args = command.replace("traces/samples/small-server.quire", name).split()
            same(quire_, "quire", command)
            runs = succeeds(*args, "--format", "json").json()["runs"]
            same([run["metrics"]["oracle_violations"] for run in runs], [0] * len(runs), command)
            ran += len(runs)
    same(ran, 7, "runs")


def what_is_undefined_is_null():
    write("in.txt", alloc("100.0"))
    succeeds("import", "in.txt", "-o", "one.quire")
    for run in succeeds("replay", "one.quire", "--format", "json").json()["runs"]:
        same(run["metrics"]["free_ns_p50"], None, f"{run['spec']}: latency of no free")


def outliers_are_looked_up_in_the_trace():
    name = trace(events=4000)
    for clock in "auto", "monotonic":
        run, = succeeds("replay", name, "-a", "firstfit", "--outliers", "5", "--clock", clock,
                        "--format", "json", "--db", "outliers.db").json()["runs"]
        same(len(run["outliers"]), 5, "outliers")
        same([one["rank"] for one in run["outliers"]], list(range(5)), "their ranks")
        check(run["settings"]["clock"] in ("tsc", "monotonic"), run["settings"]["clock"])
        for one in run["outliers"]:
            event, = succeeds("trace", "cat", name, "--from", str(one["event"]), "-n", "1",
                              "--format", "json").json()["events"]
            same(event["event"], one["event"], "the event's number")
            same(event["time_ns"], one["time_ns"], "its time")
            same(event["kind"], one["op"], "its kind")
            same(event["order"], one["order"], "its order")
        same(rows("outliers.db", "SELECT event, op, ns FROM v_outlier WHERE run_id ="
                  " (SELECT max(run_id) FROM v_outlier) ORDER BY rank"),
             [(one["event"], one["op"], one["ns"]) for one in run["outliers"]], "in the database")
        errors = dict(rows("outliers.db", "SELECT name, error FROM v_metric WHERE error NOT NULL"
                           " AND run_id = (SELECT max(id) FROM run)"))
        same(errors, run["metric_errors"], "errors of percentiles")
        for metric, error in errors.items():
            check(run["metrics"][metric] < 10 * error, f"{metric} needs no error")
    result = succeeds("replay", name, "-a", "firstfit", "--outliers", "3", "--clock", "monotonic")
    check("slowest of" in result.out, result.out)
    check("times: monotonic, a stamp takes" in result.err, result.err)
    refuses(USAGE, ("--outliers", "--no-latency"), "replay", name, "--outliers", "5", "--no-latency")
    refuses(USAGE, ("--from", "--skip"), "trace", "cat", name, "--from", "5", "--skip", "2")


def without_latency_no_time_is_told():
    name = trace(events=4000)
    run, = succeeds("replay", name, "-a", "firstfit", "--no-latency",
                    "--format", "json").json()["runs"]
    for metric in "alloc_ns", "alloc_ns_p50", "free_ns_max", "alloc_ns_count", "clock_step_ns":
        same(run["metrics"][metric], None, metric)
    result = succeeds("replay", name, "-a", "firstfit", "--no-latency")
    check("alloc_ns" not in result.out and "times:" not in result.err, str(result))


def exact_metrics_are_exact():
    name = trace(events=4000)
    kinds = succeeds("list", "metrics", "--format", "json").json()["metrics"]
    exact = [metric["name"] for metric in kinds if metric["kind"] == "exact"]
    check(len(exact) > 40, f"only {len(exact)} exact metrics")
    first, second = (succeeds("replay", name, "--format", "json").json()["runs"] for _ in range(2))
    for a, b in zip(first, second):
        same([a[key] for key in ("spec", "point_id", "build_id", "samples", "warnings")],
             [b[key] for key in ("spec", "point_id", "build_id", "samples", "warnings")], a["spec"])
        for key in exact:
            same(a["metrics"][key], b["metrics"][key], f"{a['spec']}: {key}")


def csv_has_a_row_per_run():
    name = trace()
    label = "a \"quoted\", label\nof two lines"
    out = succeeds("replay", name, "-l", label, "--format", "csv").out
    table = list(csv.DictReader(io.StringIO(out), strict=True))
    same([row["spec"] for row in table], BACKENDS, "rows")
    for row in table:
        same((row["label"], row["status"]), (label, "done"), row["spec"])
        same(row["metrics.events"], "2000", row["spec"])
        same((row["settings.prefill"], row["settings.events"]), ("none", "2000"), "settings")
        same([key for key in row if key.split(".")[0] in ("counters", "flags", "samples")], [],
             "what differs from back end to back end")
        same(None in row or None in row.values(), False, f"{row['spec']}: as wide as the head")
        check("nan" not in out.lower().split(","), "NaN")


def csv_keeps_its_columns_where_the_length_is_not_known():
    data = read(trace("whole.quire"))
    write("cut.quire", data[:len(data) - 100])
    for names in (("cut.quire", "whole.quire"), ("whole.quire", "cut.quire")):
        result = quire("replay", *names, "-a", "firstfit", "--salvage", "--format", "csv")
        same(result.code, OK, str(result))
        table = {row["trace"]: row for row in csv.DictReader(io.StringIO(result.out), strict=True)}
        same([table[name]["settings.events"] for name in ("cut.quire", "whole.quire")],
             ["", "2000"], "events")


def documents():
    """A command line for each kind of document, and how many rows it has as CSV."""
    name, bench = trace(), ("--memory", "64M", "-a", "llfree", "--repetitions", "1")
    yield ("trace", "cat", name), 2000
    yield ("trace", "cat", name, name), 4000
    yield ("trace", "info", name, SQLITE), 2
    yield ("trace", "check", name, SQLITE), 2
    yield ("list", "allocators"), len(BACKENDS)
    yield ("list", "workloads"), len(succeeds("list", "workloads", "--format", "json").json()["workloads"])
    yield ("list", "metrics"), len(succeeds("list", "metrics", "--format", "json").json()["metrics"])
    yield ("import", "-f", "t.txt"), 1
    yield ("generate", "frag", "-f", "-p", "memory=64M"), 1
    yield ("replay", SQLITE, "-a", "recorded", "-a", "llfree", "--samples", "2"), 2
    yield ("bench", "bulk", *bench), 1
    yield ("bench", "frag", *bench, "--rounds", "2"), 1
    yield ("fidelity", SQLITE), 1
    if os.geteuid() == 0:
        yield ("snapshot",), 1


def a_csv_is_one_table():
    for argv, count in documents():
        out = succeeds(*argv, "--format", "csv").out
        table = list(csv.DictReader(io.StringIO(out), strict=True))
        same(len(table), count, f"rows of {argv}")
        same([row for row in table if None in row or None in row.values()], [], f"{argv}: as wide as the head")
        check("" not in out.splitlines(), f"{argv}: a blank line")
        names = list(table[0])
        same(sorted(set(names)), sorted(names), f"{argv}: each column once")


def every_json_document_has_its_version():
    decoder = json.JSONDecoder()
    for argv, _ in documents():
        rest, n = succeeds(*argv, "--format", "json").out, 0
        while rest.strip():
            document, end = decoder.raw_decode(rest.lstrip())
            rest, n = rest.lstrip()[end:], n + 1
            same((next(iter(document)), document["schema"]), ("schema", 1), f"{argv}: {str(document)[:80]}")
            if argv[0] in ("snapshot", "replay", "bench", "fidelity"):
                metrics = document if argv[0] == "snapshot" else document["runs"][0]
                check(set(metrics["metrics"]) <= known_metrics() | {""}, f"{argv}: {metrics['metrics']}")
                check("free_huge" in metrics["metrics"], str(argv))
        same(n, 2 if argv[:2] in (("trace", "info"), ("trace", "check")) or argv.count("t.quire") == 2 else 1,
             f"documents of {argv}")


def known_metrics():
    return {row["name"] for row in succeeds("list", "metrics", "--format", "json").json()["metrics"]}


def lines_of(result):
    """Of tables: scalars stand in a line each, as long as they are."""
    return [one for one in result.out.splitlines() if not re.match(r"[A-Za-z_ %~]+: ", one)]


def width_of(result):
    return max(map(len, lines_of(result)), default=0)


def tables_fit_a_terminal_by_leaving_columns_out():
    for argv, _ in documents():
        narrow = quire(*argv, env={**os.environ, "COLUMNS": ""})
        check(narrow.code == OK and width_of(narrow) <= 80, f"{width_of(narrow)} columns: {narrow}")
        wide = quire(*argv, env={**os.environ, "COLUMNS": "1000"})
        check("left out" not in wide.err, str(wide))
        same([one for one in lines_of(narrow) + lines_of(wide) if one != one.rstrip()], [],
             f"{argv}: blanks at the end")
        told = re.findall(r"left out for want of room: (.*) \(a wider", narrow.err)
        heads = set(re.findall(r"[a-z_0-9]+", wide.out))
        for name in (told[0].split(", ") if told else ()):
            check(name in heads, f"{argv}: {name} is left out of a table that never has it")
    table = quire("replay", SMALL_SERVER, "-a", "llfree").out
    for word in ("unmovable_", "mixed_", "failures", "out_for"):
        check(word in table, f"{word} at 80 columns:\n{table}")


def headings_are_the_names_of_figures():
    known = known_metrics() | {"trace", "allocator", "salvage", "threads", "order", "fill", "rounds",
                               "moves_saved", "out_for"}
    for argv in (("replay", trace(), "-a", "llfree"), ("bench", "bulk", "--memory", "64M", "-a", "llfree"),
                 ("bench", "frag", "--memory", "64M", "-a", "llfree", "--rounds", "2")):
        head, units = quire(*argv, env={**os.environ, "COLUMNS": "1000"}).out.splitlines()[:2]
        same([name for name in head.split() if name not in known], [], f"{argv}: names of their own")
        check("huge frames" in units if "free_huge" in head else "ns" in units.split(), f"{argv}: units: {units}")


def a_table_tells_several_traces_apart():
    os.mkdir("one")
    os.mkdir("two")
    for path in ("one/a.quire", "two/a.quire", "b.quire"):
        trace(path)
    def first_words(*names):
        return [one.split()[0] for one in succeeds("replay", *names, "-a", "null").out.splitlines()[-len(names):]]
    same(first_words("one/a.quire", "two/a.quire", "b.quire"), ["one/a.quire", "two/a.quire", "b.quire"], "alike")
    same(first_words("one/a.quire", "b.quire"), ["a.quire", "b.quire"], "names alone")
    same(first_words("one/a.quire"), ["null"], "one trace")
    runs = succeeds("replay", "one/a.quire", "b.quire", "-a", "null", "--format", "json").json()["runs"]
    same([run["trace"] for run in runs], ["one/a.quire", "b.quire"], "JSON has them as typed")


def a_table_says_what_stands_against_a_run():
    data = read(trace("whole.quire"))
    write("cut.quire", data[:len(data) - 100])
    out = quire("replay", "cut.quire", "whole.quire", "-a", "recorded", "-a", "firstfit", "--salvage").out
    rows_of = {tuple(one.split()[:2]): one.split() for one in out.splitlines()}
    same([(rows_of[name, "firstfit"][2], rows_of[name, "recorded"][-1]) for name in ("cut.quire", "whole.quire")],
         [("yes", "reference"), ("no", "reference")], out)
    check("salvage" in out, out)
    check("salvage" not in quire("replay", "whole.quire", "-a", "firstfit", "--salvage").out, "nothing salvaged")


def help_is_there_for_each_verb():
    for verb in re.findall(r"^  ([a-z]+) ", succeeds("--help").out, re.M):
        same(succeeds("help", verb).out, succeeds(verb, "--help").out, verb)
    same(succeeds("help").out, succeeds("--help").out, "help")
    refuses(USAGE, ("'replai'", "'replay'"), "help", "replai")


def a_table_leaves_stdout_to_the_table():
    result = quire("replay", trace(), "-a", "llfree", "-a", "null")
    heads = [i for i, one in enumerate(result.out.splitlines()) if one.startswith("allocator ")]
    check(result.code == OK and len(heads) == 1, str(result))
    same([one.split()[0] for one in result.out.splitlines()[-2:]], ["llfree", "null"], str(result))
    check(all(any(note in one for note in NOTES) for one in result.err.splitlines()), str(result))


def names_may_be_any_bytes():
    name = trace("p\u00e4th \u2603 100%s\n.quire")
    document = succeeds("replay", name, "-a", "null", "-l", "\u00fc\x01", "--format", "json").json()
    run = document["runs"][0]
    same((run["trace"], run["label"]), (name, "\u00fc\x01"), "trace and label")
    argv = [QUIRE, "replay", os.fsencode(name), "-a", "null", "-l", b"\xff\xfe", "--format", "json"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    same(done.returncode, OK, "exit code of bytes that are no UTF-8")
    json.loads(done.stdout.decode("utf-8"))


def traces_without_events_can_be_replayed():
    need_root()
    if not os.path.exists("/proc/kpageflags"):
        raise Skip("needs /proc/kpageflags")
    result = quire("snapshot", "-o", "s.quire", "--format", "json")
    same(result.code, OK, str(result))
    result.json()
    for how in ("recorded", "packed", "none"):
        for run in succeeds("replay", "s.quire", "-a", "llfree", "-a", "firstfit", "--prefill", how,
                            "--format", "json").json()["runs"]:
            metrics = run["metrics"]
            same((run["status"], metrics["events"]), ("done", 0), how)
            same(metrics["oracle_violations"], 0, how)
            check(metrics["ops_per_second"] in (0, None), "a rate of nothing")
    same(succeeds("trace", "cat", "s.quire", "--format", "json").json()["events"], [], "events")


def a_damaged_snapshot_can_be_salvaged():
    need_root()
    if not os.path.exists("/proc/kpageflags"):
        raise Skip("needs /proc/kpageflags")
    same(quire("snapshot", "-o", "s.quire").code, OK, "exit code")
    data = bytearray(read("s.quire"))
    data[len(data) // 2] ^= 0x55
    write("s.quire", data)
    args = ("replay", "s.quire", "-a", "recorded", "--format", "json")
    refuses(RUN, ("s.quire: byte ", "--salvage"), *args)
    run = succeeds(*args, "--salvage").json()["runs"][0]
    same((run["status"], run["settings"]["prefill"]), ("done", "none"), "status and prefill")
    check(any("s.quire: byte" in warning for warning in run["warnings"]), run["warnings"])


def a_machine_too_large_is_refused_at_once():
    write("in.txt", alloc("100.0", 0xffffffffff))
    succeeds("import", "in.txt", "-o", "huge.quire")
    for name in BACKENDS:
        refuses(RUN, ("huge.quire", "16 TiB"), "replay", "huge.quire", "-a", name, "--format",
                "json")


def a_machine_too_large_for_the_host_is_refused_before_it_is_made():
    with open("/proc/meminfo", encoding="ascii") as f:
        available = [int(line.split()[1]) << 10 for line in f if line.startswith("MemAvailable")][0]
    if available > 40 << 30:
        print("# skipped: this host has memory for a machine of 16 TiB")
        return
    write("in.txt", "".join(alloc(f"100.{i:06}", 0x500 + i) for i in range(300)) +
          alloc("101.0", 0xfffffff0))
    quire("import", "in.txt", "-o", "out.quire")
    for name in BACKENDS:
        result = refuses(RUN, ("out.quire", "16.0 TiB", "available", "--drop-beyond"), "replay",
                         "out.quire", "-a", name, "--format", "json")
        same(result.json()["runs"], [], "runs")
    refuses(RUN, ("--memory 16T", "available", "lower memory"), "bench", "frag", "--memory", "16T",
            "-a", "firstfit")


def a_benchmark_that_makes_no_sense_is_refused():
    for code, words, args in (
            (USAGE, ("'bulc'", "bulk"), ("bulc",)),
            (USAGE, ("operand", "usage"), ()),
            (USAGE, ("--threads", "'1,x'", "list"), ("bulk", "--threads", "1,x")),
            (USAGE, ("--order", "''"), ("bulk", "--order", "")),
            (USAGE, ("--order", "'1,'"), ("bulk", "--order", "1,")),
            (USAGE, ("--fill", "'12345'"), ("bulk", "--fill", "12345")),
            (USAGE, ("--order 11", "10"), ("bulk", "--order", "0,11")),
            (USAGE, ("--fill 100", "99"), ("rand", "--fill", "100")),
            (USAGE, ("--threads 4096", f"{len(os.sched_getaffinity(0))}"),
             ("bulk", "--threads", "4096")),
            (USAGE, ("--threads 2", "raise cpus"), ("bulk", "--threads", "2", "--cpus", "1")),
            (USAGE, ("--threads 2", "one thread"), ("frag", "--threads", "2")),
            (USAGE, ("--rounds", "frag"), ("bulk", "--rounds", "3")),
            (USAGE, ("--memory", "4095"), ("bulk", "--memory", "4095")),
            (USAGE, ("--memory", "raise memory"),
             ("bulk", "--memory", "4M", "--order", "10")),
            (USAGE, ("--memory", "raise memory"),
             ("frag", "--memory", "4M", "--order", "9")),
            (USAGE, ("--oracle off", "leave it on"), ("frag", "--no-oracle")),
            (USAGE, ("--repetitions",), ("bulk", "--repetitions", "0")),
            (USAGE, ("'nul'", "null"), ("bulk", "-a", "nul")),
            (USAGE, ("--threads 0", "from 1"), ("bulk", "--threads", "0")),
            (USAGE, ("recorded", "no recording"), ("bulk", "-a", "recorded", "--memory", "64M")),
            (USAGE, ("null", "fragmentation"), ("frag", "-a", "null", "--memory", "64M")),
            (USAGE, ("--order", "'3-1'"), ("bulk", "--order", "3-1")),
            (USAGE, ("--order", "'0-'"), ("bulk", "--order", "0-")),
            (USAGE, ("--threads", "up to 64"), ("bulk", "--threads", "1-65")),
            (USAGE, ("--backing file", "memfd"), ("bulk", "--backing", "file:x")),
            (USAGE, ("--touch all", "choose a backing"), ("bulk", "--touch", "all")),
            (USAGE, ("--grow-hugetlb", "--backing hugetlb"),
             ("bulk", "--memory", "64M", "--grow-hugetlb", "2M"))):
        for output in ("table", "json"):
            refuses(code, words, "bench", *args, "--format", output)
    same(files(), [], "files left")


def who_cannot_begin_as_recorded_is_set_apart():
    if OPTIONAL not in BACKENDS:
        raise Skip(f"no {OPTIONAL}")
    sample = os.path.join(SOURCE, "traces", "samples", "compile.quire")
    argv = ("replay", sample, "-a", OPTIONAL, "-a", "firstfit", "-a", "nextfit", "--samples", "0", "--db", "r.db")
    table = quire(*argv)
    same(table.code, OK, "exit code")
    check(table.out.index("\nnextfit") < table.out.index("Set apart") < table.out.index(f"\n{OPTIONAL}"),
          f"below the others:\n{table.out}")
    runs = {run["spec"]: run for run in quire(*argv, "--format", "json").json()["runs"]}
    fair = {run["spec"]: run for run in succeeds(*argv, "--prefill", "packed", "--format", "json").json()["runs"]}
    same([(runs[name]["set_apart"], runs[name]["may_compete"], runs[name]["settings"]["prefill_fallback"])
          for name in (OPTIONAL, "firstfit")], [(True, False, True), (False, True, False)], "as recorded")
    same([run["set_apart"] or not run["may_compete"] for run in fair.values()], [False] * 3, "packed")
    check("Set apart" not in succeeds(*argv, "--prefill", "packed").out, "one table")
    same(runs[OPTIONAL]["metrics"]["free_huge"], fair[OPTIONAL]["metrics"]["free_huge"], "the same memory")
    check(runs[OPTIONAL]["point_id"] != fair[OPTIONAL]["point_id"], "asked something else")
    same(quire("report", "r.db", "-o", "page").code, OK, "the page")
    with open(os.path.join("page", "index.html"), encoding="utf-8") as page:
        commands = page.read().split("To repeat it")[1].replace("\\\n", " ")
    line, = (line for line in commands.splitlines() if OPTIONAL in line and "--prefill" not in line)
    check("quire replay compile.quire" in line, line)


def a_benchmark_uses_real_memory():
    orders = succeeds("bench", "bulk", "-a", "llfree", "--memory", "64M", "--order", "0-2,10",
                      "--repetitions", "1", "--backing", "memfd", "--touch", "first", "--db", "r.db",
                      "--format", "json").json()["runs"]
    same([run["order"] for run in orders], [0, 1, 2, 10], "a range of orders")
    for run in orders:
        metrics, order = run["metrics"], run["order"]
        same((run["settings"]["backing"], run["settings"]["touch"]), ("memfd", "first"), "settings")
        check(metrics["touched_frames"] >= 8192, f"order {order}: {metrics['touched_frames']}")
        same(metrics["cleared_bytes"], 0, f"order {order}")
        check(0 < metrics["touch_ns"] <= metrics["touch_ns_max"], f"order {order}")
        check(metrics["resident_bytes"] >= metrics["touched_frames"] << 12, f"order {order}")
    for run in succeeds("bench", "repeat", "-a", "llfree", "-a", "buddy", "--memory", "64M", "--backing",
                        "small", "--touch", "all", "--repetitions", "1", "--format", "json").json()["runs"]:
        same(run["metrics"]["cleared_bytes"], 1 << 30, f"{run['spec']}: cleared")
    table = succeeds("bench", "bulk", "-a", "llfree", "--memory", "64M", "--backing", "small", "--touch",
                     "all", "--repetitions", "1")
    check("touch_ns" in table.out or "touch_" in table.out, "a column for it")
    same(rows("r.db", "SELECT count(*) FROM v_bench WHERE backing = 'memfd' AND touch_ns > 0"
                      " AND touched_frames >= 8192"), [(4,)], "stored")


def what_one_back_end_cannot_do_the_others_do():
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip("one CPU")
    result = quire("bench", "bulk", "-a", "firstfit", "--memory", "64M", "--threads", "1,2",
                   "--repetitions", "1", "--format", "json")
    judge(result, OK, ("left out", "firstfit", "one thread at a time, so not 2"))
    same([(run["threads"], run["status"]) for run in result.json()["runs"]], [(1, "done")], "runs")


def bench_json_has_the_documented_keys():
    document = succeeds("bench", "bulk", "--memory", "64M", "--order", "0,3", "--fill", "0,50",
                        "--repetitions", "2", "-l", "mine", "--db", "r.db", "--format",
                        "json").json()
    same(sorted(document), ["runs", "schema"], "document")
    backends = [name for name in BACKENDS if name != "recorded"]
    same([(run["settings"]["fill"], run["order"], run["allocator"]) for run in document["runs"]],
         [(fill, order, name) for fill in (0, 50) for order in (0, 3) for name in backends],
         "the matrix")
    for number, run in enumerate(document["runs"], 1):
        for key, value in (("id", number), ("label", "mine"), ("spec", run["allocator"]),
                           ("trace", None), ("mode", "bench-bulk"), ("threads", 1),
                           ("status", "done"), ("error", None), ("samples", [])):
            same(run[key], value, f"{run['spec']}: {key}")
        fill = run["settings"]["fill"]
        check(run["settings"].items() >= {
            "backing": "none", "memory": 64 << 20, "repetitions": 2, "cpus": 1,
            "oracle": run["allocator"] != "null", "managed_frames": 16384,
        }.items(), f"{run['spec']}: {run['settings']}")
        metrics = run["metrics"]
        if fill and run["order"] and run["allocator"] == OPTIONAL:
            check(metrics["alloc_failures"] > 0, "it pads blocks: half the machine is too full")
            continue
        blocks = 16384 >> run["order"]
        share = (blocks - blocks * fill // 100) // 2
        # Fewer than 2^16: again and again until there are so many, after once to warm up.
        times = 1 + -(-65536 // share) if share < 65536 else 1
        same(metrics["allocs"], share * times, f"{run['spec']}")
        same(metrics["frees"], metrics["allocs"], f"{run['spec']}: frees")
        for key in ("alloc_failures", "oracle_violations"):
            same(metrics[key], 0, f"{run['spec']}: {key}")
        for key in ("alloc_ns", "free_ns", "pair_ns", "cas_ns", "alloc_cas", "metadata_bytes"):
            check(metrics[key] > 0, f"{run['spec']}: {key}: {metrics[key]}")
    same(len({run["point_id"] for run in document["runs"]}), len(document["runs"]), "points")
    same(rows("r.db", "SELECT count(*), min(status), max(status), min(fill), max(fill),"
                      " min(repetitions) FROM v_run"),
         [(len(document["runs"]), "done", "done", 0, 50, 2)], "stored")
    same(rows("r.db", "SELECT alloc_ns FROM v_bench WHERE run_id = 1"),
         [(document["runs"][0]["metrics"]["alloc_ns"],)], "stored time")


def bench_frag_tells_every_round_and_the_same_each_time():
    def frag(*more):
        return succeeds("bench", "frag", "-a", "buddy", "-a", "firstfit", "--memory", "64M",
                        "--cpus", "4", "--rounds", "3", *more, "--format", "json").json()["runs"]

    first, second, other = frag(), frag("--repetitions", "2"), frag("--seed", "2")
    for run, again, another in zip(first, second, other):
        same([sample["round"] for sample in run["samples"]], [0, 1, 2, 3], "rounds")
        settings = run["settings"]
        same((run["mode"], settings["rounds"], settings["fill"], settings["cpus"], run["threads"],
              run["order"]), ("bench-frag", 3, 90, 4, 1, 0), "parameters")
        for sample in run["samples"]:
            for key in ("moves_to_compact", "free_huge", "free_share_2m"):
                check(sample[key] is not None, f"{run['spec']}: {key}")
        last = run["samples"][-1]
        same(run["metrics"]["moves_to_compact"], last["moves_to_compact"], "the end")
        same(again["samples"], run["samples"], f"{run['spec']}: the same seed")
        check(another["samples"] != run["samples"], f"{run['spec']}: another seed")
        check(again["warnings"] == run["warnings"] == [], str(run["warnings"]))
    moves = [run["metrics"]["moves_to_compact"] for run in first]
    same([run["moves_saved"] for run in first], [None, 1 - moves[1] / moves[0]], "saved")


def a_benchmark_that_dies_costs_only_its_point():
    with running("bench", "frag", "-a", "buddy", "-a", "firstfit", "--memory", "1G", "--rounds",
                 "300", "--db", "r.db", "--format", "json") as process:
        wait_for("the first point", lambda: children(process.pid), process)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        result = end_of(process)
    judge(result, RUN, ("buddy", "signal 9"))
    same([(run["spec"], run["status"]) for run in result.json()["runs"]],
         [("buddy", "crashed"), ("firstfit", "done")], "runs")
    same(statuses("r.db"), ["crashed", "done"], "stored")


def an_interrupted_benchmark_says_so():
    with running("bench", "frag", "-a", "buddy", "-a", "firstfit", "--memory", "1G", "--rounds",
                 "100000", "--db", "r.db", "--format", "json") as process:
        wait_for("the first point", lambda: children(process.pid), process)
        process.send_signal(signal.SIGINT)
        result = end_of(process)
    judge(result, RUN, ("buddy", "interrupted"))
    same([(run["spec"], run["status"], run["samples"]) for run in result.json()["runs"]],
         [("buddy", "interrupted", [])], "runs")
    same(statuses("r.db"), ["interrupted"], "stored")


# ---- fidelity ----

SMALL_SERVER = os.path.join(SOURCE, "traces", "samples", "small-server.quire")
SQLITE = os.path.join(SOURCE, "traces", "samples", "sqlite.quire")


def what_fidelity_cannot_judge_is_refused():
    name = trace()
    help_ = succeeds("fidelity", "--help").out
    for word in ("hindsight", "--allocator", "--db", "LIFO", "free-running", "--burn-in"):
        check(word in help_, f"{word} is missing: {help_}")
    refuses(USAGE, ("operand is missing", "usage: quire fidelity"), "fidelity")
    refuses(USAGE, ("'llfre'", "'llfree'"), "fidelity", SMALL_SERVER, "-a", "llfre")
    refuses(USAGE, ("'--hindsigth'", "'--hindsight'"), "fidelity", SMALL_SERVER, "--hindsigth")
    refuses(RUN, ("llfree", "predict"), "fidelity", SMALL_SERVER, "-a", "llfree")
    refuses(RUN, ("missing.quire", "No such file"), "fidelity", "missing.quire", "--format", "json")
    for more in ((), ("-a", "buddy")):
        # Imported from perf: what the kernel did inside is not in it.
        result = refuses(RUN, (name, "quire record"), "fidelity", name, *more, "--format", "json",
                         "--db", "r.db")
        same(result.json(), {"schema": 1, "runs": []}, "document")
    same(statuses("r.db"), [], "stored")


def fidelity_json_has_the_documented_keys():
    result = quire("fidelity", SMALL_SERVER, "-l", "mine", "--db", "r.db", "--format", "json")
    same((result.code, result.err), (OK, ""), str(result))
    document = result.json()
    same(document["schema"], 1, "schema")
    same(statuses("r.db"), len(document["runs"]) * ["done"], "stored")
    check(document["runs"], "no built-in back end could be judged")
    run = document["runs"][0]
    for key, value in (("id", 1), ("label", "mine"), ("mode", "fidelity"), ("order", None),
                       ("trace", SMALL_SERVER), ("status", "done"), ("error", None),
                       ("samples", [])):
        same(run[key], value, key)
    same([run["settings"][key] for key in ("hindsight", "burn_in", "cpus")], [False, False, 2],
         "settings")
    metrics, groups = run["metrics"], {}
    for row in run["accuracy"]:
        last = "cause" if row["dimension"] == "cause" else "key"
        same(sorted(row), sorted(("variant", "class", "dimension", last, "choices", "correct",
                                  "accuracy")), str(row))
        place = (row["variant"], row["class"], row["dimension"])
        if last == "cause":
            same((row["correct"], row["accuracy"]), (0, None), str(row))
        else:
            check(0 <= row["correct"] <= row["choices"], str(row))
            same(row["accuracy"], row["correct"] / row["choices"], str(row))
        groups.setdefault(place, []).append(row)
    for variant in "ab":
        for name, metric in (("hit", "hit"), ("refill", "refill"), ("direct", "direct"),
                             ("all", "decision")):
            total, = groups[variant, name, "total"]
            same(total["accuracy"], metrics[f"{metric}_accuracy_{variant}"], f"{metric}_{variant}")
            for dimension in ("order", "migratetype", "tenth"):
                parts = groups[variant, name, dimension]
                same(sum(part["choices"] for part in parts), total["choices"], str(parts))
                same(sum(part["correct"] for part in parts), total["correct"], str(parts))
            causes = groups.get((variant, name, "cause"), [])
            times = [cause["choices"] for cause in causes]
            same(times, sorted(times, reverse=True), "causes")
            same(sum(times), total["choices"] - total["correct"], "choices that were wrong")
        same([row["key"] for row in groups[variant, "all", "tenth"]], list(range(1, 11)), "tenths")
        same([row["key"] for row in groups[variant, "all", "migratetype"]][:2],
             ["Unmovable", "Movable"], "migratetypes")
        same(groups[variant, "all", "total"][0]["choices"], metrics["allocs"], "allocations")
        check(metrics[f"decision_accuracy_{variant}"] > 2 * metrics["lifo_accuracy"], variant)
    same(groups["lifo", "all", "total"][0]["accuracy"], metrics["lifo_accuracy"], "the baseline")
    same(metrics["drain_ratio"] > 0, True, "drains")
    # The database says the same.
    same(rows("r.db", "SELECT decision_accuracy_a, hindsight, burn_in FROM v_fidelity LIMIT 1"),
         [(metrics["decision_accuracy_a"], 0, 0)], "v_fidelity")
    stored = rows("r.db", "SELECT variant, class, dimension, key, accuracy FROM v_accuracy"
                          " WHERE run_id = 1")
    same(sorted(stored, key=str),
         sorted(((row["variant"], row["class"], row["dimension"], row["key"], row["accuracy"])
                 for row in run["accuracy"] if "key" in row), key=str), "v_accuracy")
    same(rows("r.db", "SELECT times FROM v_mismatch WHERE run_id = 1 AND variant = 'b' AND"
                      " class = 'hit'"),
         [(row["choices"],) for row in groups["b", "hit", "cause"]], "v_mismatch")


def the_table_of_fidelity_is_for_people():
    result = quire("fidelity", SMALL_SERVER, "--hindsight", "--db", "r.db")
    same(result.code, OK, str(result))
    for word in ("trace: ", "allocator: buddy", "start: ", "hindsight", "all allocations", "order 0",
                 "Movable", "tenth 10", "why b was wrong", "why a was wrong", "LIFO: "):
        check(word in result.out, f"{word!r} is missing: {result}")
    for text in result.out.splitlines():
        check(len(text) <= 80 or text.startswith("trace: "), f"wide: {text}")
        same(text, text.rstrip(), "blanks at the end")
    same(rows("r.db", "SELECT hindsight, burn_in FROM v_fidelity LIMIT 1"), [(1, 0)], "v_fidelity")
    for text in result.err.splitlines():
        check(text.startswith("quire: buddy: "), text)


TESTS = [
    edges_what_nobody_can_replay_is_told_whoever_is_asked,
    edges_a_back_end_that_cannot_begin_costs_its_own_row_alone,
    edges_what_was_salvaged_is_another_question,
    edges_one_stray_number_is_told_before_anything_is_created,
    edges_zone_and_node_of_a_request_do_not_contradict_each_other,
    a_flipped_byte_is_told_with_its_place,
    a_damaged_block_fails_the_run_not_the_document,
    what_is_intact_can_be_salvaged,
    a_trace_cut_anywhere_is_told,
    bytes_behind_the_end_are_told,
    check_and_replay_have_one_opinion,
    random_damage_never_crashes,
    what_is_no_trace_is_refused,
    a_line_that_does_not_parse_is_told,
    what_is_no_script_is_refused,
    an_order_or_pfn_out_of_range_is_told,
    time_may_run_back_a_little,
    time_running_back_further_is_told,
    a_stray_frame_is_told_and_can_be_dropped,
    import_reads_standard_input,
    from_says_what_the_text_must_be,
    failed_allocations_alone_make_a_trace,
    the_input_is_not_replaced,
    what_is_generated_is_told_and_the_same_each_time,
    a_generated_trace_replays_on_whoever_chooses_frames,
    what_cannot_be_generated_is_refused,
    a_trace_replays_on_another_machine,
    a_machine_of_the_same_shape_makes_no_difference,
    a_machine_that_is_too_small_refuses,
    all_that_a_back_end_sees_of_a_machine_is_part_of_the_point,
    a_machine_file_is_told_by_place,
    a_benchmark_runs_on_a_machine_of_a_file,
    what_a_full_node_cannot_serve_is_counted_for_every_back_end,
    it_is_told_where_workers_and_memory_are,
    a_host_that_hwloc_cannot_tell_costs_a_line,
    an_existing_trace_is_generated_anew_only_by_force,
    a_generation_that_ends_early_leaves_nothing,
    help_and_lists_tell_every_parameter,
    unknown_names_get_a_suggestion,
    unknown_names_far_from_all_get_the_list,
    bad_values_are_told_with_what_would_do,
    what_a_user_types_stays_one_line,
    help_goes_to_stdout,
    an_existing_output_is_kept,
    an_existing_output_is_kept_by_the_live_verbs,
    an_output_that_cannot_be_made_is_told,
    a_full_disk_is_told_on_stdout,
    a_full_disk_is_told_and_nothing_is_left,
    a_full_disk_stops_a_new_database,
    a_full_disk_loses_no_stored_run_and_no_error,
    a_full_disk_leaves_no_report,
    a_disk_too_full_for_the_trace_ends_a_recording,
    a_recording_says_on_a_terminal_what_it_does,
    a_full_spool_keeps_what_it_has,
    a_limit_on_file_sizes_is_a_write_error,
    a_reader_that_leaves_early_is_no_error,
    runs_that_nobody_reads_end_unless_they_are_kept,
    what_is_given_twice_is_refused,
    missing_standard_descriptors_cost_no_data,
    without_root_the_live_verbs_are_refused,
    files_without_rights_are_told,
    without_tracefs_a_recording_is_refused,
    a_dead_back_end_costs_only_its_own_run,
    the_others_go_on_after_a_crash,
    a_back_end_that_hangs_is_stopped,
    an_interrupted_replay_says_so,
    a_killed_replay_is_found_interrupted_later,
    an_interrupted_import_leaves_nothing,
    an_interrupted_recording_is_whole,
    a_killed_recording_is_cleaned_up_by_the_next,
    a_burn_in_is_told_only_to_those_who_ask,
    an_interrupted_burn_in_leaves_nothing,
    a_recorded_command_is_left_alone,
    a_strange_database_is_refused_and_left_alone,
    a_locked_database_is_told,
    a_lock_is_waited_for_and_a_run_that_cannot_be_kept_is_printed_all_the_same,
    a_run_that_does_not_fit_on_the_disk_is_printed_all_the_same,
    several_replays_share_a_database,
    the_report_keeps_names_and_no_directory,
    without_gnuplot_there_is_no_report_and_no_loss,
    an_interrupted_report_leaves_nothing,
    an_existing_report_is_kept,
    a_report_quotes_what_users_typed,
    replay_json_has_the_documented_keys,
    counters_are_told_with_each_sample_and_at_the_end,
    real_memory_is_touched_and_no_exact_figure_changes,
    bad_wishes_for_real_memory_are_told,
    the_pool_of_huge_pages_is_put_right,
    timed_replay_keeps_the_times_of_the_trace,
    who_cannot_keep_up_says_so,
    a_long_wait_is_no_hang_and_can_be_interrupted,
    bad_wishes_for_time_are_told,
    replays_can_be_repeated,
    a_run_that_grows_past_a_group_s_limit_fails_alone,
    without_huge_pages_thp_is_refused,
    an_empty_pool_names_what_fills_it,
    more_threads_than_the_cpuset_has_are_refused,
    what_was_chosen_makes_the_point,
    the_three_verbs_begin_and_end_alike,
    an_id_is_null_without_a_database,
    options_are_echoed_resolved,
    a_policy_is_a_name_or_a_file,
    a_wrong_policy_file_is_told_by_place,
    a_policy_file_is_known_by_its_content,
    what_docs_say_of_policies_works,
    what_is_undefined_is_null,
    outliers_are_looked_up_in_the_trace,
    without_latency_no_time_is_told,
    exact_metrics_are_exact,
    csv_has_a_row_per_run,
    csv_keeps_its_columns_where_the_length_is_not_known,
    a_csv_is_one_table,
    every_json_document_has_its_version,
    tables_fit_a_terminal_by_leaving_columns_out,
    headings_are_the_names_of_figures,
    a_table_tells_several_traces_apart,
    a_table_says_what_stands_against_a_run,
    help_is_there_for_each_verb,
    a_table_leaves_stdout_to_the_table,
    names_may_be_any_bytes,
    traces_without_events_can_be_replayed,
    a_damaged_snapshot_can_be_salvaged,
    a_machine_too_large_is_refused_at_once,
    a_machine_too_large_for_the_host_is_refused_before_it_is_made,
    a_benchmark_that_makes_no_sense_is_refused,
    a_benchmark_uses_real_memory,
    who_cannot_begin_as_recorded_is_set_apart,
    what_one_back_end_cannot_do_the_others_do,
    bench_json_has_the_documented_keys,
    bench_frag_tells_every_round_and_the_same_each_time,
    a_benchmark_that_dies_costs_only_its_point,
    an_interrupted_benchmark_says_so,
    what_fidelity_cannot_judge_is_refused,
    fidelity_json_has_the_documented_keys,
    the_table_of_fidelity_is_for_people,
]


def main():
    # One case alone: test_cli.py QUIRE NAME...
    tests = [test for test in TESTS if len(sys.argv) < 3 or test.__name__ in sys.argv[2:]]
    # nohup, or a shell's '&', has them ignored, and so would what we start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, test in enumerate(tests, 1):
        directory = tempfile.mkdtemp(prefix="quire-cli-")
        os.chmod(directory, 0o755)
        os.chdir(directory)
        began = time.monotonic()
        try:
            test()
            verdict = f"ok {number} - {test.__name__}"
        except Skip as why:
            verdict = f"ok {number} - {test.__name__} # SKIP {why}"
        except Exception:  # pylint: disable=broad-except
            failed += 1
            for one in traceback.format_exc().splitlines():
                print("#", one.encode("utf-8", "backslashreplace").decode())
            verdict = f"not ok {number} - {test.__name__}"
        finally:
            os.chdir("/")
            shutil.rmtree(directory, ignore_errors=True)
        print(verdict, flush=True)
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    QUIRE = os.path.abspath(sys.argv[1])
    if f"\n{OPTIONAL} " not in subprocess.run([QUIRE, "list", "allocators"], check=True, text=True,
                                              stdout=subprocess.PIPE).stdout:
        BACKENDS.remove(OPTIONAL)
    sys.exit(main())
