#!/usr/bin/env python3
"""
Do two builds of quire give the same exact figures? Both play the same traces on the same back ends;
every exact metric of the end and of each sample, the counters, the frames free at the end and what
fidelity judged must be the same to the bit. Values are found by name, so either build may tell more
than the other; which names only one of them knows is said. Ends with "N values compared, all equal",
or with the first differences and exit code 1.
"""
import argparse
import concurrent.futures
import json
import math
import os
import subprocess
import sys

SHOWN = 20
# What columns of the end state were called once.
NEW_NAMES = {"free_blocks": "engine", "without_parked": "explained"}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"same_exact: {message}\n")


class Comparison:
    """Pairs of values seen, and how they differ. What neither knows (null, NaN) counts as nothing."""
    def __init__(self):
        self.compared, self.differences, self.notes = 0, [], []

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def differ(self, place, name, old, new):
        self.differences.append(f"{place}: {name}: {old!r}, then {new!r}")

    def value(self, place, name, old, new):
        old, new = (None if isinstance(v, float) and math.isnan(v) else v for v in (old, new))
        if old is None and new is None:
            return
        self.compared += 1
        # 1 and 1.0 are one value, True and 1 are not.
        if old != new or isinstance(old, bool) != isinstance(new, bool):
            self.differ(place, name, old, new)

    def values(self, place, names, old, new):
        for name in names:
            self.value(place, name, old.get(name), new.get(name))


def ask(quire, args):
    """The JSON of a command, or what it said instead of any."""
    done = subprocess.run([quire, *args, "--format", "json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if answer is None or answer.get("runs") == []:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no word"]
        return None, f"exit {done.returncode}: {said[0]}"
    return answer, ""


def ask_both(args, commands):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, (args.old, args.new), commands))


def exact_metrics(args, comparison):
    """The names of those that are exact in both builds."""
    kinds = []
    for (answer, why), quire in zip(ask_both(args, [["list", "metrics"]] * 2), (args.old, args.new)):
        if answer is None:
            sys.exit(f"same_exact: {quire} list metrics: {why}")
        kinds.append({m["name"]: m["kind"] for m in answer["metrics"]})
    old, new = ({name for name, kind in k.items() if kind == "exact"} for k in kinds)
    for which, names in (("old", old - new), ("new", new - old)):
        if names:
            comparison.note(f"exact in the {which} build alone: {' '.join(sorted(names))}")
    return sorted(old & new)


def by(rows, *keys):
    """Rows by what tells them apart; a number in order where several are alike."""
    found = {}
    for row in rows or []:
        key = tuple(row.get(k) for k in keys)
        found[(*key, sum(k[:-1] == key for k in found))] = row
    return found


def matched(comparison, place, what, old, new):
    """The keys both have. A row that one of them lacks is a difference."""
    for key in [*(k for k in old if k not in new), *(k for k in new if k not in old)]:
        comparison.differ(place, f"{what} {' '.join(map(str, key[:-1]))}", "told" if key in old
                          else "none", "told" if key in new else "none")
    return [key for key in old if key in new]


def compare_rows(comparison, place, what, keys, old, new):
    """Tables of exact rows: each column that both have."""
    old, new = by(old, *keys), by(new, *keys)
    for key in matched(comparison, place, what, old, new):
        names = [n for n in old[key] if n in new[key] and n not in keys]
        comparison.values(f"{place}, {what} {' '.join(map(str, key[:-1]))}", names, old[key], new[key])


def counters(run):
    """A back end's own, whichever way they are written: {name: value} or rows."""
    told = run.get("counters") or {}
    return told if isinstance(told, dict) else {row["name"]: row["value"] for row in told}


def compare_samples(comparison, place, exact, old, new):
    if len(old) != len(new):
        comparison.differ(place, "number of samples", len(old), len(new))
    known = {name for sample in old[:1] + new[:1] for name in sample}
    names = ["event", "time_ns", "round", *(name for name in exact if name in known)]
    for i, (a, b) in enumerate(zip(old, new)):
        comparison.values(f"{place}, sample {i}", names, a, b)


def compare_runs(comparison, place, exact, old, new):
    comparison.value(place, "status", old["status"], new["status"])
    comparison.values(place, exact, old["metrics"], new["metrics"])
    compare_samples(comparison, place, exact, old.get("samples") or [], new.get("samples") or [])
    a, b = counters(old), counters(new)
    comparison.values(f"{place}, counters", [name for name in a if name in b], a, b)
    compare_rows(comparison, place, "accuracy", ("variant", "class", "dimension", "key"),
                 old.get("accuracy"), new.get("accuracy"))


def compare_answers(comparison, place, exact, old, new):
    a, b = by(old["runs"], "spec"), by(new["runs"], "spec")
    # A back end that one build does not have is no difference of the others.
    for which, keys in (("old", a.keys() - b.keys()), ("new", b.keys() - a.keys())):
        for key in keys:
            comparison.note(f"{place}: {key[0]} in the {which} build alone")
    for key in (k for k in a if k in b):
        compare_runs(comparison, f"{place}, {key[0]}", exact, a[key], b[key])
    both = {key[0] for key in a if key in b}
    ends = ([{NEW_NAMES.get(name, name): value for name, value in row.items()}
             for row in answer.get("end_state") or [] if row["spec"] in both]
            for answer in (old, new))
    compare_rows(comparison, place, "end state", ("spec", "order"), *ends)


def commands(args):
    """What both are asked: (a name for it, arguments). Named back ends one by one, as not all can all."""
    choices = [["-a", spec] for spec in args.allocators] or [[]]
    for trace in args.traces:
        for prefill in args.prefill:
            yield f"{trace}, prefill {prefill}", ["replay", trace, "--prefill", prefill,
                                                  *(word for c in choices for word in c)]
    if args.frag:
        frag = ["bench", "frag", "--memory", args.memory, "--repetitions", "1"]
        for choice in choices:
            yield " ".join(["bench frag", args.memory, *choice[1:]]), [*frag, *choice]
    for trace in args.traces:
        info, why = ask(args.old, ["trace", "info", trace])
        if info is None:
            sys.exit(f"same_exact: {trace}: {why}")
        for choice in choices if args.fidelity and info["burn_in"] else []:
            yield " ".join([f"fidelity {trace}", *choice[1:]]), ["fidelity", trace, *choice]


def compare(args):
    comparison = Comparison()
    exact = exact_metrics(args, comparison)
    for place, command in commands(args):
        before = comparison.compared
        (old, said_old), (new, said_new) = ask_both(args, [command] * 2)
        if old is None and new is None:
            comparison.note(f"{place}: both refuse: {said_old}")
        elif old is None or new is None:
            comparison.differ(place, "an answer", said_old or "told", said_new or "told")
        else:
            compare_answers(comparison, place, exact, old, new)
            if comparison.compared == before:
                comparison.differ(place, "values to compare", "none", "none")
    return comparison


def arguments():
    p = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("old", help="quire, the program, of one build")
    p.add_argument("new", help="the same of another")
    p.add_argument("traces", nargs="*", metavar="TRACE")
    p.add_argument("-a", dest="allocators", action="append", default=[], metavar="BACKEND",
                   help="back end, repeatable; without it, every built-in one that fits")
    p.add_argument("--prefill", action="append", choices=("recorded", "packed", "none"),
                   help="repeatable; without it, recorded and packed")
    p.add_argument("--memory", default="256M", help="of the machine of bench frag (%(default)s)")
    p.add_argument("--no-frag", dest="frag", action="store_false", help="leave bench frag out")
    p.add_argument("--no-fidelity", dest="fidelity", action="store_false",
                   help="leave fidelity out, which is asked of traces with a burn-in")
    args = p.parse_args()
    args.prefill = args.prefill or ["recorded", "packed"]
    for quire in (args.old, args.new):
        if not (os.path.isfile(quire) and os.access(quire, os.X_OK)):
            p.error(f"{quire}: not a program; give cli/quire of a build directory")
    args.old, args.new = os.path.abspath(args.old), os.path.abspath(args.new)
    for trace in args.traces:
        if not os.path.isfile(trace):
            p.error(f"{trace}: no such trace")
    if not args.traces and not args.frag:
        p.error("nothing to compare: give a trace, or leave --no-frag out")
    return args


def main():
    found = compare(arguments())
    for note in found.notes:
        print(note)
    for line in found.differences[:SHOWN]:
        print(line)
    if found.differences:
        print(f"{found.compared} values compared, {len(found.differences)} differences")
        return 1
    if not found.compared:
        print("nothing was compared")
        return 1
    print(f"{found.compared} values compared, all equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
