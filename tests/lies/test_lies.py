#!/usr/bin/env python3
"""
A back end lies, and only its own row pays: of each lie, what is seen and the exit code, and that the rows of the
honest back ends beside it and the database are whole. Usage: test_lies.py BINARY SAMPLE [LIE...], where BINARY is
quire_lies and SAMPLE a recorded trace; --table prints what is seen as Markdown.
"""
import concurrent.futures
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

OK, CHECK, RUN = 0, 1, 3
TIMEOUT_S = 5  # for what hangs, and for what is slower than that in all
MEMORY_LIMIT = 768 << 20
PATIENCE_S = 240  # for what takes some seconds, on a busy machine under sanitizers

# lie: (trace, exit code, status, what stands against it, words of its error)
LIES = {
    "nothing": ("small", OK, "done", (), ()),
    "overlap": ("small", CHECK, "done", ("oracle_violations",), ()),
    "misalign": ("sample", CHECK, "done", ("oracle_violations",), ()),
    "outside": ("small", CHECK, "done", ("oracle_violations",), ()),
    "far_outside": ("small", CHECK, "done", ("oracle_violations",), ()),
    "absent": ("sample", CHECK, "done", ("oracle_violations",), ()),
    "high_zone": ("zones", CHECK, "done", ("oracle_violations",), ()),
    "refuse_all": ("small", CHECK, "done", ("alloc_failures", "refuses_most"), ()),
    "refuse_some": ("small", OK, "done", ("alloc_failures",), ()),
    "refuse_prefill": ("sample", RUN, "failed", (), ("adopt", "not supported")),
    "odd_flags": ("small", OK, "done", (), ()),
    "refuse_frees": ("small", CHECK, "done", ("alloc_failures", "oracle_violations"), ()),
    "never_free": ("small", CHECK, "done", ("alloc_failures", "stats_contradictions"), ()),
    "free_too_much": ("small", CHECK, "done", ("oracle_violations", "stats_contradictions"), ()),
    "free_too_little": ("sample", CHECK, "done", ("stats_contradictions",), ()),
    "stats_high": ("small", CHECK, "done", ("stats_contradictions",), ()),
    "stats_low": ("small", CHECK, "done", ("stats_contradictions",), ()),
    "stats_wild": ("small", CHECK, "done", ("stats_contradictions",), ()),
    "stats_many": ("small", RUN, "failed", (), ("1000000 counters",)),
    "stats_nameless": ("small", RUN, "failed", (), ("without a name",)),
    "check": ("small", CHECK, "done", ("check_failures",), ()),
    "check_silent": ("small", CHECK, "done", ("check_failures",), ()),
    "create": ("small", RUN, "failed", (), ("does not want to",)),
    "create_silent": ("small", RUN, "failed", (), ("No space left on device",)),
    "create_says_both": ("small", RUN, "failed", (), ("went well",)),
    "create_crash": ("small", RUN, "crashed", (), ("in create()", "signal 11")),
    "adopt": ("sample", RUN, "failed", (), ("adopt", "Structure needs cleaning")),
    "segv": ("small", RUN, "crashed", (), ("at event 1002", "signal 11")),
    "abort": ("small", RUN, "crashed", (), ("at event 1002", "signal 6")),
    "exit_0": ("small", RUN, "crashed", (), ("at event 1002", "exit code 0")),
    "exit_7": ("small", RUN, "crashed", (), ("at event 1002", "exit code 7")),
    "kill": ("small", RUN, "crashed", (), ("at event 1002", "signal 9")),
    "stats_crash": ("small", RUN, "crashed", (), ("signal 7",)),
    "destroy_crash": ("small", RUN, "crashed", (), ("in destroy()", "signal 11")),
    "loop_alloc": ("small", RUN, "crashed", ("hung",), ("at event 1002", "no progress")),
    "loop_free": ("small", RUN, "crashed", ("hung",), ("at event 7374", "no progress")),
    "loop_create": ("small", RUN, "crashed", ("hung",), ("in create()", "no progress")),
    "loop_destroy": ("small", RUN, "crashed", ("hung",), ("in destroy()", "no progress")),
    "loop_deaf": ("small", RUN, "crashed", ("hung",), ("at event 1002", "no progress")),
    "stop": ("small", RUN, "crashed", ("hung",), ("at event 1002", "no progress")),
    "slow": ("small", OK, "done", (), ()),
    "tick_past": ("small", OK, "done", (), ()),
    "print": ("small", OK, "done", (), ()),
    "print_much": ("small", OK, "done", (), ()),
    "junk": ("small", RUN, "crashed", (), ("something else into the pipe",)),
    "forge": ("small", RUN, "crashed", (), ("something else into the pipe",)),
    "close_all": ("small", RUN, "failed", (), ("Bad file descriptor",)),
    "orphan": ("small", OK, "done", ("left_processes",), ()),
    "orphan_writes": ("small", RUN, "crashed", (), ("something else into the pipe",)),
    "thread": ("small", OK, "done", (), ()),
    "hog": ("small", RUN, "crashed", ("out_of_memory",), ("killed for memory",)),
}


class Skip(Exception):
    pass


class Bench:
    """The traces, what the honest back ends make of them, and a directory for each lie."""
    def __init__(self, quire, sample):
        self.quire, self.sample = quire, sample
        self.directory = tempfile.mkdtemp(prefix="quire-lies-")
        listed = subprocess.run([quire, "list", "metrics", "--format", "json"], check=True,
                                stdout=subprocess.PIPE)
        self.noisy = {m["name"] for m in json.loads(listed.stdout)["metrics"]
                      if m["kind"] == "noisy"}
        self.make("small.quire", "memory=32M", "rounds=3")
        self.import_zones()
        self.honest = {}
        for trace in ("small", "sample", "zones"):
            done = self.run(self.directory, trace, ["firstfit", "nextfit"])
            assert done.returncode == OK, done.stderr
            self.honest[trace] = json.loads(done.stdout)["runs"]

    def path(self, name):
        return os.path.join(self.directory, name)

    def make(self, name, *parameters):
        subprocess.run([self.quire, "generate", "frag", "-o", self.path(name),
                        *(word for p in parameters for word in ("-p", p))],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def import_zones(self):
        """Requests that only the lower of two zones may serve."""
        lines = [f"t 1 [000] 1.{i:06}: kmem:mm_page_alloc: page=0x1 pfn={pfn:#x} order=0 "
                 f"migratetype=0 gfp_flags={gfp}\n"
                 for i, (pfn, gfp) in enumerate(
                     (0x1000 + n if n % 2 else 0x200000 + n, "GFP_KERNEL|GFP_DMA32" if n % 2
                      else "GFP_KERNEL") for n in range(4000))]
        with open(self.path("zones.txt"), "w", encoding="ascii") as file:
            file.writelines(lines)
        done = subprocess.run([self.quire, "import", self.path("zones.txt"), "-o",
                               self.path("zones.quire")], check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE)
        assert done.returncode == OK, done.stderr

    def run(self, cwd, trace, back_ends, *more, group=None):
        """A replay of JSON and, but for the honest ones alone, into r.db."""
        words = {"small": [self.path("small.quire")], "sample": [self.sample],
                 "zones": [self.path("zones.quire")]}[trace]
        argv = [self.quire, "replay", *words, "--samples", "5", "--format", "json", *(word for b in back_ends for word in ("-a", b)), *more]
        if group:
            argv = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, *argv]
        return subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False)


def exact(run, noisy):
    """What must not change, whoever runs beside it."""
    return {k: v for k, v in run["metrics"].items() if k not in noisy}



def same(got, want, what):
    if got != want:
        raise AssertionError(f"{what}: {got!r}, not {want!r}")


def alone_in(directory):
    """No process left behind works there."""
    for _ in range(100):
        there = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") == directory:
                    there.append(pid)
            except OSError:
                pass
        if not there:
            return
        time.sleep(0.05)
    raise AssertionError(f"processes left behind: {there}")


def memory_group(directory):
    """A control group with little memory, or the reason why there is none."""
    for root, limits in (("/sys/fs/cgroup/memory", ("memory.limit_in_bytes",)),
                         ("/sys/fs/cgroup", ("memory.max", "memory.swap.max"))):
        group = os.path.join(root, os.path.basename(directory))
        try:
            if not os.path.exists(os.path.join(root, "cgroup.procs")):
                continue
            os.mkdir(group)
            for name in limits:
                with open(os.path.join(group, name), "r+", encoding="ascii") as file:
                    file.write("0" if "swap" in name else str(MEMORY_LIMIT))
            return group
        except OSError:
            if os.path.isdir(group):
                os.rmdir(group)
    raise Skip("needs a control group with a limit of memory")


def check_database(path, statuses, runs):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)

    def ask(sql):
        return [row[0] for row in connection.execute(sql)]

    same(ask("PRAGMA integrity_check"), ["ok"], "integrity")
    same(ask("PRAGMA foreign_key_check"), [], "foreign keys")
    same(ask("SELECT status FROM run ORDER BY id"), statuses, "stored statuses")
    for row, run in enumerate(runs, 1):
        same(ask(f"SELECT out_for FROM v_standing WHERE run_id = {row}"), [run["out_for"]],
             "what stands against it, stored")
        if run["status"] == "done":
            stored = dict(connection.execute(
                f"SELECT name, value FROM v_metric WHERE run_id = {row}").fetchall())
            same({k: v for k, v in stored.items() if v is not None},
                 {k: v for k, v in run["metrics"].items() if v is not None}, "stored metrics")
    connection.close()


def look_at(bench, lie):
    trace, code, status, doubts, words = LIES[lie]
    directory = bench.path(lie)
    os.mkdir(directory)
    group = memory_group(bench.directory) if lie == "hog" else None
    try:
        done = bench.run(directory, trace, ["firstfit", "liar:lie=" + lie, "nextfit"], "--db",
                         "r.db", "--timeout",
                         str(TIMEOUT_S if "hung" in doubts or lie == "slow" else PATIENCE_S // 2),
                         group=group)
    finally:
        if group:
            alone_in(directory)
            os.rmdir(group)
    err = done.stderr.decode("utf-8", "replace")
    for word in ("Sanitizer", "runtime error:"):
        if word in err and lie != "segv":
            raise AssertionError(f"a sanitizer speaks: {err[:3000]}")
    same(done.returncode, code, f"exit code ({err[:600]})")
    runs = json.loads(done.stdout)["runs"]
    same([run["allocator"] for run in runs], ["firstfit", "liar", "nextfit"], "rows")
    row = runs[1]
    same([run["status"] for run in runs], ["done", status, "done"], "statuses")
    same(tuple(row["doubts"]), doubts, "doubts")
    same(row["may_compete"], status == "done" and not doubts, "whether it may be called best")
    for word in words:
        if word not in (row["error"] or ""):
            raise AssertionError(f"{word!r} is missing in {row['error']!r}")
    for run, honest in zip((runs[0], runs[2]), bench.honest[trace]):
        same(exact(run, bench.noisy), exact(honest, bench.noisy), f"{run['allocator']} beside it")
        same(run["may_compete"], True, f"{run['allocator']} may be called best")
    same("to repeat it: gdb --args" in err, status == "crashed", "how to repeat it")
    alone_in(directory)
    check_database(os.path.join(directory, "r.db"), ["done", status, "done"], runs)
    return row, done.returncode


def benchmarks(bench):
    """The same honesty is asked of `bench`: a lie of each sort."""
    for lie, code, status, doubts in (
            ("overlap", CHECK, "done", ("alloc_failures", "oracle_violations", "refuses_most")),
            ("refuse_all", CHECK, "done", ("alloc_failures", "refuses_most")),
            ("stats_low", CHECK, "done", ("stats_contradictions",)),
            ("check", CHECK, "done", ("check_failures",)),
            ("create", RUN, "failed", ()), ("segv", RUN, "crashed", ()),
            ("loop_alloc", RUN, "crashed", ("hung",)), ("junk", RUN, "crashed", ())):
        done = subprocess.run(
            [bench.quire, "bench", "frag", "--memory", "32M", "--rounds", "2", "-a", "firstfit",
             "-a", "liar:lie=" + lie, "-a", "nextfit", "--timeout", str(TIMEOUT_S), "--format",
             "json"], cwd=bench.directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=PATIENCE_S, check=False)
        same(done.returncode, code, f"bench, {lie}: exit code ({done.stderr[:600]})")
        runs = {run["allocator"]: run for run in json.loads(done.stdout)["runs"]}
        same({name: run["status"] for name, run in runs.items()},
             {"firstfit": "done", "liar": status, "nextfit": "done"}, f"bench, {lie}")
        same(tuple(runs["liar"]["doubts"]), doubts, f"bench, {lie}: doubts")


def repetitions(bench):
    """One of several times is enough: the others have all of theirs."""
    for lie, status in (("segv", "crashed"), ("create", "failed"), ("loop_alloc", "crashed")):
        directory = bench.path("repeated-" + lie)
        os.mkdir(directory)
        done = bench.run(directory, "small", ["firstfit", "liar:lie=" + lie, "nextfit"], "--db", "r.db",
                         "--repetitions", "2", "--timeout", str(TIMEOUT_S))
        same(done.returncode, RUN, f"repeated, {lie}: exit code ({done.stderr[:600]})")
        runs = {run["allocator"]: run for run in json.loads(done.stdout)["runs"]}
        same({name: run["status"] for name, run in runs.items()},
             {"firstfit": "done", "liar": status, "nextfit": "done"}, f"repeated, {lie}")
        same("(repetition 1 of 2)" in runs["liar"]["error"], True, runs["liar"]["error"])
        for honest in bench.honest["small"]:
            same(exact(runs[honest["allocator"]], bench.noisy), exact(honest, bench.noisy),
                 f"{honest['allocator']}, repeated")


def main():
    words = [word for word in sys.argv[1:] if word != "--table"]
    quire, sample, wanted = os.path.abspath(words[0]), os.path.abspath(words[1]), words[2:]
    failures, seen = 0, {}
    bench = Bench(quire, sample)
    tests = {lie: (lambda lie=lie: seen.update({lie: look_at(bench, lie)})) for lie in LIES}
    tests["repetitions"] = lambda: repetitions(bench)
    tests["benchmarks"] = lambda: benchmarks(bench)
    tests = {name: test for name, test in tests.items() if not wanted or name in wanted}
    print(f"1..{len(tests)}")
    # Most of them wait for a child that does nothing.
    with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
        under_way = {name: pool.submit(test) for name, test in tests.items()}
        for number, (name, result) in enumerate(under_way.items(), 1):
            title = f"{number} - only_its_own_row_pays: {name}"
            try:
                result.result()
                print(f"ok {title}", flush=True)
            except Skip as skip:
                print(f"ok {title} # SKIP {skip}", flush=True)
            except (AssertionError, OSError, ValueError, KeyError,
                    subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"# {str(error)[:3000]}\nnot ok {title}", flush=True)
    if "--table" in sys.argv:
        print("| lie | seen | exit |\n|---|---|---|")
        for lie, (row, code) in seen.items():
            what = row["error"] or row["out_for"] or row["status"]
            print(f"| `{lie}` | {what} | {code} |")
    shutil.rmtree(bench.directory)
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
