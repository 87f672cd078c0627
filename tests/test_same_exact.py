#!/usr/bin/env python3
"""
What same_exact.py is for: two programs that differ in one exact value are told apart, whatever else
differs does not matter, and it never says "equal" of nothing. The other program is a wrapper round the
real one that changes its JSON. Speaks TAP. Usage: test_same_exact.py QUIRE TRACE
"""
import os
import re
import subprocess
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
COMPARE = os.path.join(HERE, "same_exact.py")

# Each answer of the real program is asked for once and kept beside the wrapper.
WRAPPER = """#!{python}
import hashlib, json, os, subprocess, sys
name = os.path.join({where!r}, hashlib.sha1(repr(sys.argv[1:]).encode()).hexdigest())
if not os.path.exists(name):
    answer = subprocess.run([{quire!r}, *sys.argv[1:]], check=True, stdout=subprocess.PIPE).stdout
    with open(f"{{name}}.{{os.getpid()}}", "wb") as f:
        f.write(answer)
    os.rename(f"{{name}}.{{os.getpid()}}", name)
with open(name, "rb") as f:
    j = json.load(f)
verb = sys.argv[1:3] if sys.argv[1] in ("list", "bench") else sys.argv[1]
runs = j.get("runs", [])
{change}
print(json.dumps(j))
"""


def check(condition, message):
    if not condition:
        raise AssertionError(message)


class Case:
    def __init__(self, quire, trace, where):
        self.quire, self.trace, self.where = quire, trace, where
        self.real = self.wrapper("pass")

    def wrapper(self, change):
        path = os.path.join(self.where, f"quire{len(os.listdir(self.where))}")
        with open(path, "w", encoding="utf-8") as f:
            f.write(WRAPPER.format(python=sys.executable, where=self.where, quire=self.quire,
                                   change=change))
        os.chmod(path, 0o755)
        return path

    def compare(self, *args):
        done = subprocess.run([sys.executable, COMPARE, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    def against(self, change, backend="buddy"):
        """The real program beside one with @change made to each answer."""
        others = [f"--no-{verb}" for verb, word in (("frag", "bench"), ("fidelity", "fidelity"))
                  if f'"{word}"' not in change]
        return self.compare(self.real, self.wrapper(change), self.trace, "-a", backend, "--prefill",
                            "recorded", "--memory", "32M", *others)

    def equal(self, change, told=()):
        code, out, err = self.against(change)
        check((code, err) == (0, []), f"{change}: {code}, {out}, {err}")
        match = re.fullmatch(r"(\d+) values compared, all equal", out[-1])
        check(match and int(match[1]) > 1000, f"{change}: {out}")
        for word in told:
            check(any(word in line for line in out[:-1]), f"{change}: {word} is not told: {out}")

    def differs(self, change, *told, backend="buddy"):
        """@told: what the line of the first difference says."""
        code, out, err = self.against(change, backend)
        check((code, err) == (1, []), f"{change}: {code}, {out}, {err}")
        check("all equal" not in "".join(out), f"{change}: {out}")
        for word in told:
            check(word in out[0], f"{change}: {word} is missing: {out}")


def a_program_equals_itself(case):
    code, out, err = case.compare(case.quire, case.quire, case.trace, "-a", "recorded", "--prefill",
                                  "recorded", "--memory", "32M")
    check((code, err) == (0, []), f"{code}, {out}, {err}")
    match = re.fullmatch(r"(\d+) values compared, all equal", out[-1])
    check(match and int(match[1]) > 1000, str(out))


def one_metric_of_the_end_is_seen(case):
    case.differs('if verb == "replay": runs[0]["metrics"]["free_huge"] -= 1', case.trace, "buddy",
                 "free_huge: ", ", then ")
    case.differs('if verb == "replay": runs[0]["metrics"]["orphan_frees"] += 1', "orphan_frees")
    case.differs('if verb == "replay": runs[0]["metrics"]["huge_score"] *= 1 + 1e-15', "huge_score")
    case.differs('if verb == "replay": del runs[0]["metrics"]["free_huge"]', "free_huge", "then None")


def one_value_of_one_sample_is_seen(case):
    case.differs('if verb == "replay": runs[0]["samples"][7]["moves_to_compact"] += 1', "sample 7",
                 "moves_to_compact")
    case.differs('if verb == "replay": runs[0]["samples"][7]["time_ns"] += 1', "sample 7", "time_ns")
    case.differs('if verb == "replay": del runs[0]["samples"][-1]', "number of samples")


def what_else_is_exact_is_seen(case):
    case.differs('if verb[0] == "bench": runs[0]["samples"][3]["free_huge"] += 1', "bench frag",
                 "sample 3")
    case.differs('if verb == "fidelity": runs[0]["metrics"]["hit_accuracy_b"] = 1', "fidelity",
                 "hit_accuracy_b")
    case.differs('if verb == "fidelity": runs[0]["accuracy"][4]["correct"] += 1', "accuracy", "correct")
    case.differs('if verb == "fidelity": del runs[0]["accuracy"][4]', "accuracy", "none")
    case.differs('if verb == "replay": j["end_state"][2]["engine"] += 1', "end state",
                 "engine", backend="recorded")


def counters_are_compared_by_name(case):
    old = case.wrapper('for r in runs: r["counters"] = {"refills": 4, "drains": 2}')
    for change, code in (('{"drains": 2, "refills": 4, "more": 1}', 0), ('{"refills": 5}', 1),
                         ('[{"name": "refills", "value": 5}]', 1)):
        new = case.wrapper(f'for r in runs: r["counters"] = {change}')
        got, out, _ = case.compare(old, new, case.trace, "-a", "buddy", "--prefill", "recorded",
                                   "--no-frag", "--no-fidelity")
        check(got == code, f"{change}: {out}")
        check(not code or "refills: 4, then 5" in out[0], str(out))


def a_run_that_failed_is_seen(case):
    case.differs('if verb == "replay": runs[0]["status"] = "failed"', "status", "failed")
    case.differs('if verb == "replay": sys.exit(3)', "an answer", "exit 3")
    case.differs('if verb == "replay": runs.clear()', "an answer")


def what_is_not_exact_or_not_known_to_both_does_not_matter(case):
    case.equal('for r in runs: r["metrics"]["alloc_ns"] = 1e9')
    case.equal('for r in runs: r["metrics"]["new"] = 1; r["elsewhere"] = r.pop("settings")')
    case.equal('for r in runs: r["metrics"]["pair_ns"] = r["metrics"]["end_pcp_frames"] = float("nan")')
    case.equal('if verb == ["list", "metrics"]: j["metrics"].append({"name": "new", "kind": "exact"})',
               ["exact in the new build alone: new"])
    case.equal('if verb == "replay": runs.append({**runs[0], "spec": "newer"})',
               ["newer in the new build alone"])


def nothing_compared_is_no_success(case):
    case.differs('if verb == ["list", "metrics"]: j["metrics"].clear()\n'
                 'if verb == "replay": runs[0]["spec"] = "other"')
    nothing = case.wrapper('for m in j.get("metrics", []): m["kind"] = "noisy"\n'
                           'for r in runs: r["spec"] = str(os.getpid())')
    code, out, _ = case.compare(nothing, nothing, case.trace, "--no-frag", "-a", "buddy",
                                "--prefill", "recorded", "--no-fidelity")
    check(code == 1 and "all equal" not in "".join(out), str(out))
    code, out, _ = case.compare(case.real, case.real, case.trace, "--no-frag", "-a", "null",
                                "--prefill", "recorded", "--no-fidelity")
    check(code == 0, f"null alone has counts to compare: {out}")


def wrong_use_is_told_in_one_line(case):
    for args in ((), (case.quire,), ("/nonexistent", case.quire, case.trace),
                 (case.quire, case.quire, "/nonexistent.quire"), (case.quire, case.quire, "--no-frag"),
                 (case.quire, case.quire, "--unheard-of")):
        code, out, err = case.compare(*args)
        check(code == 2 and not out and len(err) == 1, f"{args}: {code}, {out}, {err}")
        check(err[0].startswith("same_exact: "), str(err))


TESTS = [a_program_equals_itself, one_metric_of_the_end_is_seen, one_value_of_one_sample_is_seen,
         what_else_is_exact_is_seen, counters_are_compared_by_name, a_run_that_failed_is_seen,
         what_is_not_exact_or_not_known_to_both_does_not_matter, nothing_compared_is_no_success,
         wrong_use_is_told_in_one_line]


def main():
    failed = 0
    print(f"1..{len(TESTS)}", flush=True)
    with tempfile.TemporaryDirectory() as where:
        case = Case(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), where)
        for number, test in enumerate(TESTS, 1):
            try:
                test(case)
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                for line in traceback.format_exc().splitlines():
                    print("#", line)
                print(f"not ok {number} - {test.__name__}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
