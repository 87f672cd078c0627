#!/usr/bin/env python3
"""
Replay traces twice on every built-in back end: no oracle violation, every event accounted for, all
exact metrics the same bits, and the recorded row's free blocks at the end those of the kernel.
Usage: exactness.py QUIRE TRACE...
"""
import json
import subprocess
import sys

# The kernel's free lists are read just after the scan of all frames, and the machine does not stop.
COUNTED_LATER_FRAMES = 256


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
        for ran in (r for r in first["runs"] if r["metrics"]["end_missed_frames"] is not None):
            # Frames we miss, and what the kernel did between the scan's end and its own count.
            allowed = ran["metrics"]["end_missed_frames"] + COUNTED_LATER_FRAMES
            apart = sum(abs(row["difference"]) << row["order"] for row in first["end_state"]
                        if row["spec"] == ran["spec"])
            if apart > allowed:
                wrong.append(f"{trace}: {apart} free frames in blocks of another order than the "
                             f"kernel's at the end, {allowed} can be explained")
        if not first.get("end_state"):
            wrong.append(f"{trace}: no end state to compare with the kernel's")
    print("\n".join(wrong) or f"{len(exact)} exact metrics of {len(backends)} back ends repeat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
