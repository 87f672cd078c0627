#!/usr/bin/env python3
"""
Replay traces twice on every built-in back end: no oracle violation, every event accounted for, all
exact metrics the same bits, and the recorded row's free blocks at the end those of the kernel.
Usage: exactness.py QUIRE TRACE...
"""
import json
import subprocess
import sys


def run(*command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    quire, traces = sys.argv[1], sys.argv[2:]
    exact = [m["name"] for m in run(quire, "list", "metrics", "--format", "json")["metrics"]
             if m["kind"] == "exact"]
    wrong = []
    for trace in traces:
        info = run(quire, "trace", "info", "--format", "json", trace)
        first, second = (run(quire, "replay", "--format", "json", trace) for _ in range(2))
        backends = run(quire, "list", "allocators", "--format", "json")["allocators"]
        if len(first["runs"]) != len(backends):
            wrong.append(f"{trace}: {len(first['runs'])} runs for {len(backends)} back ends")
        for a, b in zip(first["runs"], second["runs"]):
            name, m = a["allocator"], a["metrics"]
            if a["status"] != "done" or m["oracle_violations"] != 0:
                wrong.append(f"{name}: {a['status']}, {m['oracle_violations']} violations")
            if m["events"] != info["events"] or m["ops"] != info["ops"]:
                wrong.append(f"{name}: {m['events']} of {info['events']} events accounted for")
            if a["point_id"] != b["point_id"]:
                wrong.append(f"{name}: point ids differ")
            wrong += [f"{name}: {k} is {m[k]}, then {b['metrics'][k]}" for k in exact
                      if m[k] != b["metrics"][k]]
            for s, t in zip(a["samples"], b["samples"]):
                if s != t:
                    wrong.append(f"{name}: the sample at event {s['event']} differs")
        for row in first.get("end_state", []):
            # A frame that is missing from our free memory can break up one block of each order.
            missed = next(r["metrics"]["end_missed_frames"] for r in first["runs"]
                          if r["spec"] == row["spec"])
            if abs(row["difference"]) > missed:
                wrong.append(f"{trace}: order {row['order']} differs from the kernel by "
                             f"{row['difference']} blocks, {missed} frames missed")
        if not first.get("end_state"):
            wrong.append(f"{trace}: no end state to compare with the kernel's")
    print("\n".join(wrong) or f"{len(exact)} exact metrics of {len(backends)} back ends repeat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
