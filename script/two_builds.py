"""
Two builds of quire beside each other, for script/measure and script/measure-llfree: found, run in
alternation, compared pair by pair, and counted by callgrind.
"""
import argparse
import glob
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

CONFIDENCE = 0.95  # that no row of a table tells a difference where there is none
ROUNDS = 15
# What two counts of the same binary differ by: how long things take decides where they are counted.
COUNTED_ALIKE = 0.005


class Parser(argparse.ArgumentParser):
    def __init__(self, doc):
        super().__init__(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def count(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of rounds")
    return int(text)


def add_arguments(parser, usual_rounds):
    parser.add_argument("--against", metavar="BUILD",
                        help="compare with another build: a release build directory, or its cli/quire")
    parser.add_argument("--rounds", type=count, metavar="N",
                        help=f"default {usual_rounds}, with --against {ROUNDS}")
    parser.add_argument("--instructions", action=argparse.BooleanOptionalAction, default=None,
                        help="with --against: count them, too (default: if valgrind is there)")


def parse(parser, usual_rounds):
    """Arguments in which .against is a program or None, and .instructions a decision."""
    args = parser.parse_args()
    if args.instructions and not args.against:
        parser.error("--instructions compares two builds; add --against BUILD")
    if args.instructions and not shutil.which("valgrind"):
        parser.error("--instructions needs valgrind; script/setup test installs it")
    if args.instructions is None:
        args.instructions = shutil.which("valgrind") is not None
    if args.against:
        args.against = program(parser, args.against)
    args.rounds = args.rounds or (ROUNDS if args.against else usual_rounds)
    return args


def program(parser, build):
    """The quire of a build directory, or what was named itself."""
    quire = os.path.join(build, "cli/quire") if os.path.isdir(build) else build
    if not os.path.exists(build):
        parser.error(f"--against {build}: there is no such file or directory")
    if not os.path.isfile(quire) or not os.access(quire, os.X_OK):
        parser.error(f"--against {build}: no cli/quire in it; build it with ninja -C {build}"
                     if os.path.isdir(build) else f"--against {build}: this is no program")
    try:
        answer = subprocess.run([quire, "--version"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, check=False).stdout
    except OSError as why:
        parser.error(f"--against {build}: {why.strerror}")
    if not answer.startswith(b"quire "):
        parser.error(f"--against {build}: this is not quire")
    options = os.path.join(build, "meson-info/intro-buildoptions.json")
    if os.path.isfile(options):
        with open(options, encoding="utf-8") as f:
            kind = {o["name"]: o["value"] for o in json.load(f)}["buildtype"]
        if kind != "release":
            parser.error(f"--against {build}: its build type is {kind}; set it up with "
                         "--buildtype=release, as the build it is compared with")
    return os.path.abspath(quire)


def setting(run, name):
    """A setting of a run's JSON; older builds had it beside the others."""
    return run["settings"].get(name) if "settings" in run else run.get(name)


def ask(quire, *args):
    """The JSON of a command of one of them."""
    done = subprocess.run([quire, *args, "--format", "json"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no word"]
        sys.exit(f"{quire} {' '.join(args)}: exit {done.returncode}: {said[-1]}")
    return json.loads(done.stdout)


def alternate(old, new, configurations, rounds):
    """
    Run each configuration(quire), which returns {name: value}, with both, now the one first, now the
    other. Return {name: [(old's value, new's)...]}.
    """
    pairs = {}
    for number in range(rounds):
        for run in configurations:
            first, second = (old, new) if number % 2 == 0 else (new, old)
            seen = [run(first), run(second)]
            a, b = seen if number % 2 == 0 else reversed(seen)
            for name, value in a.items():
                if value and b.get(name):
                    pairs.setdefault(name, []).append((value, b[name]))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return pairs


def rank(rounds, rows):
    """
    Return: k, so that in all of so many @rows at once the kth smallest and the kth largest of @rounds
    values hold their median between them with CONFIDENCE, whatever the distribution; 0: these are too
    few rounds. The median is above a value or below it, like a coin that falls.
    """
    outside, k = 0, 0
    while k < rounds / 2:
        outside += 2 * math.comb(rounds, k) * 0.5 ** rounds
        if outside * rows > 1 - CONFIDENCE:
            break
        k += 1
    return k


def verdict(ratios, rows):
    """The interval of the median of the paired ratios, and what follows from it."""
    ordered, k = sorted(ratios), rank(len(ratios), rows)
    low, high = ordered[max(k, 1) - 1], ordered[-max(k, 1)]
    if k == 0:
        return low, high, "too few rounds to say"
    if low <= 1 <= high:
        return low, high, "within the noise"
    return low, high, f"{'less' if high < 1 else 'more'}: {(statistics.median(ratios) - 1) * 100:+.1f} %"


def print_rule(rounds, rows):
    k = rank(rounds, rows)
    print(f"Medians of {rounds} rounds, old and new in alternation; less is better in every row. *new/old* is "
          "the median of the ratios of each round's pair, *interval* goes from the "
          f"{max(k, 1)}. smallest of these ratios to the {max(k, 1)}. largest.", end=" ")
    if k == 0:
        print(f"So few rounds tell nothing of {rows} rows: take more.\n")
        return
    print(f"All {rows} intervals at once hold the true medians with at least {CONFIDENCE * 100:.0f} % probability, "
          "whatever the distribution (order statistics). A difference is told only where the interval leaves "
          "out 1; otherwise it is within the noise.\n")


def print_pairs(pairs):
    rounds = min(len(values) for values in pairs.values())
    print_rule(rounds, len(pairs))
    print("| | old | new | new/old | interval | difference |\n|---|---|---|---|---|---|")
    for name, values in pairs.items():
        ratios = [new / old for old, new in values]
        low, high, says = verdict(ratios, len(pairs))
        old, new = (statistics.median(v) for v in zip(*values))
        print(f"| {name} | {old:.1f} | {new:.1f} | {statistics.median(ratios):.3f} | {low:.3f} to {high:.3f} "
              f"| {says} |")


def count_instructions(quire, args, function=None):
    """
    Of a command and its children, or of all calls of @function; None if it ran no instruction there,
    which is how a build answers that does not have it. And the command's JSON.
    """
    with tempfile.TemporaryDirectory() as where:
        only = [f"--toggle-collect={function}"] if function else []
        done = subprocess.run(["valgrind", "--tool=callgrind", "-q", "--trace-children=yes", *only,
                               f"--callgrind-out-file={where}/out.%p", quire, *args, "--format", "json"],
                              check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        total = 0
        for path in glob.glob(f"{where}/out.*"):
            with open(path, encoding="ascii", errors="replace") as f:
                total += int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M)[1])
    return total or None, json.loads(done.stdout)


def print_instructions(rows):
    """@rows: (name, old's, new's), each per operation."""
    print("\nInstructions of one operation, by callgrind. They are no times, but carry to other processors: two "
          f"counts of one binary agree within {COUNTED_ALIKE * 100:.1f} %.\n")
    print("| | old | new | new/old | difference |\n|---|---|---|---|---|")
    for name, old, new in rows:
        if old is None or new is None:
            print(f"| {name} | {old or ''} | {new or ''} | | not found in "
                  f"{'either' if old is new else 'the old build' if old is None else 'the new build'} |")
            continue
        ratio = new / old
        says = "none" if abs(ratio - 1) <= COUNTED_ALIKE else \
            f"{'less' if ratio < 1 else 'more'}: {(ratio - 1) * 100:+.1f} %"
        print(f"| {name} | {old:.1f} | {new:.1f} | {ratio:.3f} | {says} |")


def print_builds(old, new, run):
    """Which two: as a run of each tells its build."""
    for name, quire in (("old", old), ("new", new)):
        print(f"- {name}: {ask(quire, *run)['runs'][0]['build_id']}")
    print()
