#!/usr/bin/env python3
"""
A generated trace of frag, replayed, and the benchmark frag are the same question: all state metrics
are the same bits after every round, for each back end that served all allocations. And a replay knows
a generated trace for what it is. Usage: frag_replay.py QUIRE
"""
import csv
import json
import os
import subprocess
import sys
import tempfile

CASES = (
    {"memory": "16M", "cpus": 1, "order": 0, "fill": 90, "rounds": 3, "seed": 1},
    {"memory": "32M", "cpus": 3, "order": 0, "fill": 50, "rounds": 7, "seed": 2},
    {"memory": "64M", "cpus": 8, "order": 2, "fill": 75, "rounds": 10, "seed": 3},
    {"memory": "256M", "cpus": 8, "order": 0, "fill": 90, "rounds": 10, "seed": 1},
    {"memory": "512M", "cpus": 4, "order": 9, "fill": 80, "rounds": 4, "seed": 5},
    {"memory": "1G", "cpus": 2, "order": 3, "fill": 33, "rounds": 0, "seed": 6},
    {"memory": "1G", "cpus": 8, "order": 0, "fill": 90, "rounds": 10, "seed": 1},
)
EVERY_ROUND_MAX = 100000  # events; of longer traces only the end is looked at


def run(*command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return json.loads(done.stdout)


def generate(quire, case, **more):
    values = ",".join(f"{k}={v}" for k, v in {**case, **more}.items())
    return run(quire, "generate", "frag", "-p", values, "-o", "frag.quire", "--force", "--format",
               "json")


def ends_of_rounds(quire, events):
    """After how many events each round is over: where the next one's mark stands, or the end."""
    if events > EVERY_ROUND_MAX:
        return {-1: events}
    text = subprocess.run([quire, "trace", "cat", "frag.quire", "--format", "csv"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    kinds = [row["kind"] for row in csv.DictReader(text.splitlines())]
    marks = [i for i, kind in enumerate(kinds) if kind == "mark"]
    return dict(enumerate(marks[1:] + [events]))


def compare(quire, case, state):
    """Return what differs, and how many rounds of back ends were compared."""
    bench = run(quire, "bench", "frag", "--format", "json",
                *(word for k, v in case.items() for word in (f"--{k}", str(v))))["runs"]
    bench = [one for one in bench if one["status"] == "done"
             and one["metrics"]["alloc_failures"] == 0]
    wrong, compared = [], 0
    for number, events in ends_of_rounds(quire, generate(quire, case)["events"]).items():
        generate(quire, case, events=events)
        replay = run(quire, "replay", "frag.quire", "--samples", "0", "--format", "json",
                     *(word for one in bench for word in ("-a", one["spec"])))["runs"]
        for one, played in zip(bench, replay):
            sample, got = one["samples"][number], played["metrics"]
            differs = [f"{k} {sample[k]} and {got[k]}" for k in state
                       if sample[k] is not None and sample[k] != got[k]]
            if sample["event"] != got["ops"] or got["oracle_violations"] or got["alloc_failures"]:
                differs.append(f"after {sample['event']} and {got['ops']} operations")
            if differs:
                wrong.append(f"{one['spec']}, round {sample['round']}: {', '.join(differs)}")
            compared += 1
    return wrong, compared


def generated_is_told_from_recorded(quire):
    """Which built-in back ends replay it, and that the others say why not."""
    generate(quire, CASES[0])
    done = subprocess.run([quire, "replay", "frag.quire", "--samples", "0", "--format", "json"],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = json.loads(done.stdout)["runs"]
    wrong = [f"prefill {r['settings']['prefill']}" for r in runs if r["settings"]["prefill"] != "none"]
    if any(r["allocator"] == "recorded" for r in runs) or len(runs) < 4:
        wrong.append(f"back ends: {[r['allocator'] for r in runs]}")
    if not any("left out" in line and "recorded" in line for line in done.stderr.splitlines()):
        wrong.append(f"not said: {done.stderr}")
    judged = subprocess.run([quire, "fidelity", "frag.quire"], check=False, stderr=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    if judged.returncode != 3 or "generated" not in judged.stderr:
        wrong.append(f"fidelity: {judged.returncode} {judged.stderr}")
    return wrong


def tell(number, name, wrong):
    for line in wrong[:20]:
        print(f"# {line}")
    print(f"{'not ok' if wrong else 'ok'} {number} - {name}", flush=True)
    return bool(wrong)


def main():
    quire = os.path.abspath(sys.argv[1])
    names = [m["name"] for m in run(quire, "list", "metrics", "--format", "json")["metrics"]]
    state = [name for name in names if f"{name}_mean" in names]
    print(f"1..{len(CASES) + 1}")
    failed = 0
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        for i, case in enumerate(CASES, 1):
            wrong, compared = compare(quire, case, state)
            if compared < 3 or len(state) < 20:
                wrong.append(f"only {compared} comparisons of {len(state)} metrics")
            told = ", ".join(f"{k} {v}" for k, v in case.items())
            failed += tell(i, f"replay and bench agree {compared} times: {told}", wrong)
        failed += tell(len(CASES) + 1, "recorded and fidelity have no use for a generated trace",
                       generated_is_told_from_recorded(quire))
        os.chdir("/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
