#!/usr/bin/env python3
"""
Run a cmocka program and make its TAP what meson reads: cmocka calls a skipped test "not ok 1 # SKIP
name" and prints reasons as bare lines; why it was skipped (tests/skip.h) belongs there instead. A program that
dies keeps quiet about the tests it did not reach.
Usage: tap.py PROGRAM [ARG...]
"""
import re
import subprocess
import sys


def main():
    program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True, errors="replace")
    plan, told, failed, why = 0, 0, False, ""
    for line in program.stdout:
        line = line.rstrip("\n")
        if match := re.match(r"1\.\.(\d+)$", line):
            plan = int(match[1])
        elif match := re.match(r"(not )?ok (\d+)(.*)$", line):
            told = max(told, int(match[2]))
            if match[1] and "# SKIP" in match[3]:
                name = match[3].partition("# SKIP")[2].strip()
                line = f"ok {match[2]} - {name} # SKIP {why}".rstrip()
            elif match[1]:
                failed = True
            why = ""
        elif match := re.match(r"# skipped: (.*)$", line):
            why = match[1]
        elif line and not line.startswith("#"):
            line = "# " + line
        print(line, flush=True)
    code = program.wait()
    if told < plan:
        print(f"Bail out! {sys.argv[1]} ended with {code} after {told} of {plan} tests", flush=True)
        return 1
    if code and not failed:
        # Such as a leak found at exit.
        print(f"Bail out! {sys.argv[1]} ended with {code} after its last test", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
