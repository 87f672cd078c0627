#!/usr/bin/env python3
"""
Run every command the README shows, in order, in a fresh directory that holds links to the checkout.
script/demo and script/test are run by CI on their own and skipped here. Needs build/demo (the demo
builds it). Commands that record are skipped, with a reason, without root or tracefs.
Usage: readme.py [ROOT]
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
OWN_RUNS = {"script/demo", "script/test"}


def commands(text):
    """The lines of ```sh blocks, continuation lines joined, comments left out."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#.*$", "", line).strip()
            if line and not line.startswith("#"):
                yield line


def can_record():
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.isdir("/sys/kernel/tracing/instances"):
        return "needs tracefs"
    return None


def main():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        shown = list(commands(f.read()))
    env = {**os.environ, "PATH": os.path.join(ROOT, "build/demo/cli") + ":" + os.environ["PATH"]}
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as where:
        # What the project holds, not what a user who followed the README left beside it.
        kept = subprocess.run(["git", "-C", ROOT, "ls-files"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split()
        for name in {path.split("/")[0] for path in kept}:
            os.symlink(os.path.join(ROOT, name), os.path.join(where, name))
        for command in shown:
            reason = None
            if command in OWN_RUNS or command.startswith(("git clone", "cd ", "meson install", "ninja ",
                                                          "meson setup")):
                continue
            if command.startswith(("quire record", "quire snapshot")):
                reason = can_record()
            if reason:
                skipped += 1
                print(f"skip {command}: {reason}")
                continue
            result = subprocess.run(command, shell=True, cwd=where, env=env, check=False, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
            if result.returncode:
                failed += 1
                print(f"FAIL {command}\n{result.stdout[-4000:]}")
            else:
                passed += 1
                print(f"ok   {command}")
    if not passed and not failed:
        print("FAIL: the README shows no command")
        failed = 1
    print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
