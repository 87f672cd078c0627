#!/usr/bin/env python3
"""
Golden metrics: `quire fidelity` on each shipped trace gives exactly the figures kept beside them, so that
any change of what the clone does shows. A change that is meant is taken over with --update, and its
diff says what it did to fidelity.
Usage: golden_fidelity.py [--update] QUIRE GOLDEN.json TRACE...
"""
import json
import os
import subprocess
import sys

# Besides whole runs, how each class of choice fared under both variants.
COUNTED = ("variant", "class", "choices", "correct")


def judged(quire, trace):
    """The exact fidelity metrics and totals of one trace."""
    out = subprocess.run([quire, "fidelity", "--format", "json", trace], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    runs = json.loads(out)["runs"]
    return {run["spec"]: {
        "metrics": {k: v for k, v in run["metrics"].items() if v is not None},
        "totals": [" ".join(str(row[k]) for k in COUNTED) for row in run["accuracy"]
                   if row["dimension"] == "total"],
    } for run in runs}


def differences(name, golden, found):
    """Lines that say what is not as it was."""
    if golden is None:
        return [f"{name}: no golden metrics; run with --update"]
    lines = []
    for spec in sorted(set(golden) | set(found)):
        g, f = golden.get(spec, {}), found.get(spec, {})
        gm, fm = g.get("metrics", {}), f.get("metrics", {})
        lines += [f"{name}, {spec}: {k} was {gm.get(k)}, is {fm.get(k)}"
                  for k in sorted(set(gm) | set(fm)) if gm.get(k) != fm.get(k)]
        lines += [f"{name}, {spec}: '{a}' was '{b}'"
                  for a, b in zip(f.get("totals", []), g.get("totals", [])) if a != b]
    return lines


def main():
    args = sys.argv[1:]
    update = args[:1] == ["--update"]
    quire, path, *traces = args[update:]
    golden = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            golden = json.load(f)
    found = {os.path.basename(t): judged(quire, t) for t in traces}
    if update:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(found, f, indent=1, sort_keys=True)
            f.write("\n")
        return 0
    failed = 0
    print(f"1..{len(found)}")
    for i, (name, now) in enumerate(sorted(found.items()), 1):
        wrong = differences(name, golden.get(name), now)
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {i} - {name} is judged as ever")
        for line in wrong[:40]:
            print(f"# {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
