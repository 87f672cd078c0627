#!/usr/bin/env python3
"""
What script/measure --against says of two builds can be relied on: its intervals hold the median as
often as told, chance is no difference, a real one is seen, and wrong use is told in one line. Speaks
TAP. Usage: test_two_builds.py QUIRE
"""
import contextlib
import io
import math
import os
import random
import subprocess
import sys
import tempfile
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "script"))
sys.dont_write_bytecode = True
import two_builds  # pylint: disable=wrong-import-position


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def captured(function, *args):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        result = function(*args)
    return result, out.getvalue()


def intervals_hold_the_median_as_often_as_promised(_):
    for rounds in range(1, 40):
        for rows in (1, 17, 48):
            k = two_builds.rank(rounds, rows)
            # The interval misses if fewer than k values lie below the median, or above it.
            misses = [2 * sum(math.comb(rounds, i) for i in range(n)) / 2 ** rounds for n in (k, k + 1)]
            check(misses[0] * rows <= 1 - two_builds.CONFIDENCE, f"{rounds}, {rows}: {k} is too narrow")
            check(2 * k <= rounds, f"{rounds}, {rows}: {k} values from both ends cross")
            check(misses[1] * rows > 1 - two_builds.CONFIDENCE or 2 * k + 1 >= rounds,
                  f"{rounds}, {rows}: {k} is wider than need be")


def tables_of_chance_rarely_tell_a_difference(_):
    rng = random.Random(1)
    wrong = 0
    for _ in range(400):
        rows = [[rng.lognormvariate(0, 0.5) / rng.lognormvariate(0, 0.5) for _ in range(15)]
                for _ in range(20)]
        wrong += any(two_builds.verdict(row, 20)[2] != "within the noise" for row in rows)
    check(wrong <= 400 * (1 - two_builds.CONFIDENCE) * 1.6, f"{wrong} of 400 tables")


def a_difference_beyond_the_noise_is_told(_):
    rng = random.Random(2)
    slower = [1.3 * rng.uniform(0.9, 1.1) for _ in range(15)]
    check(two_builds.verdict(slower, 20)[2].startswith("more: +"), str(two_builds.verdict(slower, 20)))
    faster = [1 / ratio for ratio in slower]
    check(two_builds.verdict(faster, 20)[2].startswith("less: -"), str(two_builds.verdict(faster, 20)))
    low, high, says = two_builds.verdict(slower[:3], 20)
    check(says == "too few rounds to say" and (low, high) == (min(slower[:3]), max(slower[:3])), says)


def pairs_are_taken_in_turn_and_not_mixed_up(_):
    order = []

    def run(which):
        order.append(which)
        return {"cost": {"old": 2, "new": 3}[which], "unknown": None}

    pairs, _ = captured(two_builds.alternate, "old", "new", [run], 4)
    check(pairs == {"cost": [(2, 3)] * 4}, str(pairs))
    check(order == ["old", "new", "new", "old"] * 2, str(order))
    _, out = captured(two_builds.print_pairs, {"cost": [(2, 3)] * 15})
    check("| cost | 2.0 | 3.0 | 1.500 | 1.500 to 1.500 | more: +50.0 % |" in out, out)
    # A build beside itself is run twice, not compared with its own copy.
    order.clear()
    captured(two_builds.alternate, "old", "old", [run], 3)
    check(len(order) == 6, str(order))


def instructions_that_one_build_lacks_are_not_compared(_):
    rows = [("same", 100.0, 100.1), ("fewer", 100.0, 90.0), ("gone", 100.0, None)]
    _, out = captured(two_builds.print_instructions, rows)
    lines = out.splitlines()
    check(lines[-3].endswith("| none |"), out)
    check(lines[-2].endswith("| less: -10.0 % |"), out)
    check(lines[-1].endswith("| not found in the new build |"), out)


def wrong_use_is_told_in_one_line_before_anything_is_built(quire):
    with tempfile.TemporaryDirectory() as where:
        debug = os.path.join(where, "debug")
        os.makedirs(f"{debug}/cli")
        os.makedirs(f"{debug}/meson-info")
        os.symlink(quire, f"{debug}/cli/quire")
        with open(f"{debug}/meson-info/intro-buildoptions.json", "w", encoding="utf-8") as f:
            f.write('[{"name": "buildtype", "value": "debug"}]')
        uses = [(["--against", "/nonexistent"], "no such file"), (["--against", where], "no cli/quire"),
                (["--against", "/bin/true"], "not quire"), (["--against", debug], "debug"),
                (["--against", f"{debug}/meson-info/intro-buildoptions.json"], "no program"),
                (["--rounds", "0"], "rounds"), (["--against"], "expected one argument"),
                (["--instructions"], "--against"), (["--unheard-of"], "--unheard-of")]
        for script in ("measure", "measure-llfree"):
            for args, word in uses:
                done = subprocess.run([sys.executable, os.path.join(ROOT, "script", script), *args],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                      check=False)
                lines = done.stderr.splitlines()
                check((done.returncode, done.stdout, len(lines)) == (2, "", 1), f"{args}: {done}")
                check(lines[0].startswith(f"{script}: ") and word in lines[0], f"{args}: {lines}")


TESTS = [intervals_hold_the_median_as_often_as_promised, tables_of_chance_rarely_tell_a_difference,
         a_difference_beyond_the_noise_is_told, pairs_are_taken_in_turn_and_not_mixed_up,
         instructions_that_one_build_lacks_are_not_compared,
         wrong_use_is_told_in_one_line_before_anything_is_built]


def main():
    failed = 0
    print(f"1..{len(TESTS)}", flush=True)
    for number, test in enumerate(TESTS, 1):
        try:
            test(os.path.abspath(sys.argv[1]))
            print(f"ok {number} - {test.__name__}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            for line in traceback.format_exc().splitlines():
                print("#", line)
            print(f"not ok {number} - {test.__name__}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
