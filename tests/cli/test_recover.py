#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
A replay that keeps its memory in a file is killed, anywhere; `quire recover` accounts for every frame. And
what is wrong in such a file is told, not believed. Speaks TAP.

usage: test_recover.py QUIRE TRACE
"""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

QUIRE, TRACE = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
# Five kills by default, fifty in the long run (tests/effort.h).
KILLS = 5 * max(1, min(1000, int(os.environ.get("QUIRE_TEST_EFFORT", "1") or 1)))
EVENT, STATE = 40, 48  # in the head; docs/recovery.md
OFFSETS = struct.Struct("<QQQ")  # at 56: frames, journal, metadata
SPECS = ("llfree", "llfree:tree=16,last_frees=true", "llfree:persist=adr", "llfree:rows=true")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def recover(path, code=0, word=""):
    done = subprocess.run([QUIRE, "recover", path, "--format", "json"], capture_output=True, text=True,
                          timeout=120, check=False)
    what = f"{path}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    check(done.returncode in (code if isinstance(code, tuple) else (code,)), what)
    check("Sanitizer" not in done.stderr and "runtime error" not in done.stderr, what)
    if done.returncode == 3:
        check(not done.stdout and done.stderr.count("\n") == 1 and word in done.stderr, what)
        return done.stderr
    return json.loads(done.stdout)


def start(path, spec="llfree", *more):
    return subprocess.Popen([QUIRE, "replay", TRACE, "-a", spec, "--backing", f"file:{path}", "--in-process",
                             "--samples", "0", *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def word(path, offset):
    try:
        with open(path, "rb") as f:
            return struct.unpack("<Q", os.pread(f.fileno(), 8, offset))[0]
    except (OSError, struct.error):
        return 0


def kill_at(path, spec, event):
    """Kill a replay once it is at that event, give or take; 0: once there is a file. Return: was it playing?"""
    child = start(path, spec)
    while child.poll() is None and (word(path, EVENT) < event or not os.path.exists(path)):
        pass
    child.send_signal(signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def all_accounted(told):
    check(told["sound"] and not told["lost_frames"] and not told["leaked_frames"], told)
    frames = told["live_frames"] + told["free_frames"]
    check(frames <= told["managed_frames"] <= frames + told["under_way_frames"], told)


def kept():
    """A file of a replay that was played to its end."""
    check(start("whole").wait() == 0, "the replay failed")
    return "whole"


def every_frame_is_accounted_for_after_a_kill():
    dice, hit, events = random.Random(12), 0, recover(kept())["event"]
    for i in range(KILLS):
        path = f"killed{i}"
        hit += kill_at(path, SPECS[i % len(SPECS)], dice.randrange(1, events * 9 // 10))
        told = recover(path)
        all_accounted(told)
        check(recover(path) == told, "the second time it says something else")
        os.unlink(path)
    check(hit > KILLS / 2, f"only {hit} of {KILLS} replays were still running")


def kills_while_memory_is_made_and_filled():
    dice = random.Random(7)
    for i in range(KILLS):
        path = f"early{i}"
        child = start(path)
        while child.poll() is None and not os.path.exists(path):
            pass
        time.sleep(dice.random() * 0.06)
        child.send_signal(signal.SIGKILL)
        child.wait()
        told = recover(path, (0, 3), "nothing to recover")
        if isinstance(told, dict):
            all_accounted(told)
        os.unlink(path)


def the_child_that_plays_is_killed():
    child = subprocess.Popen([QUIRE, "replay", TRACE, "-a", "llfree", "--backing", "file:child", "--touch", "first",
                              "--samples", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and word("child", EVENT) < 1000:
        pass
    check("running replay" in recover("child", 3), "it is told that the file is in use")
    with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as f:
        for pid in f.read().split():
            os.kill(int(pid), signal.SIGKILL)
    check(child.wait() == 3, "a run that crashed")
    all_accounted(recover("child"))


def recovery_can_be_killed_too():
    path = kept() if not os.path.exists("whole") else "whole"
    with open(path, "rb") as f:
        before = os.pread(f.fileno(), 1 << 20, OFFSETS.unpack(os.pread(f.fileno(), 24, 56))[1])
    for i in range(3):
        looking = subprocess.Popen([QUIRE, "recover", path], stdout=subprocess.DEVNULL)
        time.sleep(0.03 * (i + 1))
        looking.kill()
        looking.wait()
    told = recover(path)
    check(told["finished"], told)
    all_accounted(told)
    with open(path, "rb") as f:
        check(before == os.pread(f.fileno(), 1 << 20, OFFSETS.unpack(os.pread(f.fileno(), 24, 56))[1]), "changed")


def what_the_journal_and_the_back_end_disagree_in_is_counted():
    path = "whole" if os.path.exists("whole") else kept()
    with open(path, "r+b") as f:
        journal, metadata = OFFSETS.unpack(os.pread(f.fileno(), 24, 56))[1:]
        heads = os.pread(f.fileno(), metadata - journal, journal)
        live, free = heads.index(1), len(heads.rstrip(b"\0")) - 1
        # A live frame that nobody was told of has leaked.
        os.pwrite(f.fileno(), b"\0", journal + live)
        told = recover(path, 1)
        check((told["leaked_frames"], told["lost_frames"]) == (1, 0), told)
        os.pwrite(f.fileno(), b"\1", journal + live)
        # A block that the back end knows nothing of is lost.
        huge = next(at for at in range(0, len(heads), 512) if not any(heads[at:at + 512])
                    and not any(heads[max(0, at - 512):at]) and not any(heads[max(0, at - 1024):at]))
        os.pwrite(f.fileno(), b"\1", journal + huge)
        told = recover(path, 1)
        check(told["lost_frames"] + told["told_wrong_blocks"] == 1 and not told["leaked_frames"], told)
        os.pwrite(f.fileno(), b"\x0f", journal + huge)
        check(recover(path, 1)["told_wrong_blocks"] == 1, "an order that there is not")
        os.pwrite(f.fileno(), b"\0", journal + huge)
        check(free > live, "more than one live block")
    all_accounted(recover(path))


def damage_is_told_in_one_line():
    path, dice = "whole" if os.path.exists("whole") else kept(), random.Random(3)
    with open(path, "r+b") as f:
        head = os.pread(f.fileno(), 400, 0)
        for i in range(10 * KILLS):
            at = dice.randrange(len(head))
            os.pwrite(f.fileno(), bytes([head[at] ^ 1 << dice.randrange(8)]), at)
            recover(path, (0, 1, 3))
            if at < 24 or at >= 56:
                recover(path, 3)
            os.pwrite(f.fileno(), head, 0)
        journal, metadata = OFFSETS.unpack(head[56:80])[1:]
        whole = os.pread(f.fileno(), metadata - journal, journal)
        for i in range(KILLS):
            os.pwrite(f.fileno(), dice.randbytes(4096), journal + dice.randrange(len(whole) - 4096))
            recover(path, (0, 1))  # it may lie where there are no frames
            os.pwrite(f.fileno(), whole, journal)
        size = os.fstat(f.fileno()).st_size
        os.ftruncate(f.fileno(), metadata - 4096)
        recover(path, 3, "cut short")
        os.ftruncate(f.fileno(), size)
    os.unlink(path)
    with open("empty", "wb"):
        pass
    recover("empty", 3, "nothing to recover")
    recover(TRACE, 3, "not the file of a replay")
    recover("missing", 3, "No such file")
    recover("/dev/null", 3, "not a file")


def other_back_ends_keep_frames_alone():
    check(start("frames", "firstfit", "--touch", "first").wait() == 0, "the replay failed")
    recover("frames", 3, "not persistent")


TESTS = (every_frame_is_accounted_for_after_a_kill, kills_while_memory_is_made_and_filled,
         the_child_that_plays_is_killed, recovery_can_be_killed_too,
         what_the_journal_and_the_back_end_disagree_in_is_counted, damage_is_told_in_one_line,
         other_back_ends_keep_frames_alone)


def main():
    failed = False
    print(f"1..{len(TESTS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="quire-recover-") as place:
        os.chdir(place)
        for number, test in enumerate(TESTS, 1):
            try:
                test()
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception:  # whatever it is, the others are to run
                failed = True
                print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
                print(f"not ok {number} - {test.__name__}", flush=True)
        os.chdir("/")
    return failed


if __name__ == "__main__":
    sys.exit(main())
