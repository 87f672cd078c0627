#!/usr/bin/env python3
"""
The conformance suite catches every lie of tests/allocators/liars.h, and names the rule that it breaks: the first
check that fails is one of that rule, or fails in a test of it. Usage: lies.py SUITE
"""
import re
import subprocess
import sys

SUITE = sys.argv[1]
CAUGHT = 7  # LIAR_CAUGHT


def lines(*args):
    out = subprocess.run([SUITE, *args], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [line.split("\t") for line in out.splitlines()]


def judge(lie):
    """The rules the suite names for one liar; none: what went wrong is told."""
    result = subprocess.run([SUITE, f"lie:{lie}"], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, errors="replace")
    named = re.search(rf"^# lie:{lie} breaks the rule (\w+) \(allocators/allocator\.h, \w+\): ", result.stdout, re.M)
    if result.returncode != CAUGHT or not named:
        print(f"# {lie}: exit code {result.returncode}:", *result.stdout.splitlines()[-5:], sep="\n# ")
        return []
    return [named[1], *re.findall(r"^# in a test of (\w+) ", result.stdout, re.M)]


def main():
    rules = {name for name, *_ in lines("--rules")}
    lies = lines("--lies")
    print(f"1..{len(lies)}")
    failed = 0
    for number, (lie, rule) in enumerate(lies, 1):
        found = judge(lie)
        good = rule in found and rule in rules
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {lie} breaks {rule}")
        if not good:
            print(f"# named: {found}")
    return 1 if failed or len(lies) < 25 else 0


if __name__ == "__main__":
    sys.exit(main())
