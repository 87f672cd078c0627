#!/usr/bin/env python3
"""Includes point in one direction only: each folder may include only what DESIGN allows it."""
import os
import re
import sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The parts of sim/ that merely describe a machine; everyone above base may know them.
DESCRIPTION = {"sim/machine.h", "sim/frame_map.h", "sim/gfp.h"}
# What back ends may consult beside.
CONSULTED = {"allocators": {"sim/huge_state.h"}}
ALLOWED = {
    "base": {"base"},
    "results": {"base", "results"},
    "sim": {"base", "sim"},
    "allocators": {"base", "allocators"},
    "traces": {"base", "traces"},
    "replay": {"base", "results", "sim", "allocators", "traces", "replay"},
    "analysis": {"base", "results", "analysis"},
    "cli": {"base", "results", "sim", "allocators", "traces", "replay", "analysis", "cli"},
}
# Rooms inside a room: what a folder of it may include of the room's other folders ("" is the room itself).
ROOMS = {
    "traces": {"": {""}, "file": {"", "file"}, "record": {"", "file", "record"},
               "import": {"", "file", "record", "import"}, "generate": {"", "file", "generate"}},
    "analysis": {"": {""}, "store": {"", "store"}, "report": {"", "report"}},
    "replay": {"": {""}, "bench": {"", "bench"}, "fidelity": {"", "fidelity"}, "run": {"", "run"}},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# SQLite belongs to analysis alone, tracing libraries to traces, and so on.
LIBRARIES = {
    "sqlite3.h": {"analysis"},
    "tracefs/tracefs.h": {"traces"},
    "tracefs.h": {"traces"},
    "zstd.h": {"traces", "analysis"},
    "yaml.h": {"base"},
    "numa.h": {"sim"},
    "numaif.h": {"sim"},
    "hwloc.h": {"replay"},
}
# Libraries name parameters and remedies; how a command line spells them is cli/'s to know, and its parser's.
NO_FLAGS = ("base", "results", "sim", "allocators", "traces", "replay", "analysis")
PARSER = "base/option.c"
FLAG = re.compile(r'"(?:[^"\\\n]|\\.)*(?<![\w-])--[a-z](?:[^"\\\n]|\\.)*"')
COMMENT = re.compile(r"/\*.*?\*/", re.S)
SYSTEM = re.compile(r"^\s*#\s*include\s+<([^>]+)>", re.M)
GENERATED = {"version.h"}


def room(path):
    """The folder within its room that `path` lies in; "" for the room itself."""
    return "/".join(path.split("/")[1:-1])


def allowed(folder, path, target):
    """May `path`, in `folder`, include `target`?"""
    top = target.split("/")[0]
    if target in GENERATED or top in ALLOWED[folder]:
        if folder in ROOMS and top == folder:
            return room(target) in ROOMS[folder][room(path)]
        if folder == "allocators" and top == "allocators":
            # A back end knows the interface and itself, not its neighbours.
            parts = target.split("/")
            return len(parts) == 2 or path.split("/")[1] == parts[1]
        return True
    return folder in ("allocators", "traces") and (
        target in DESCRIPTION or target in CONSULTED.get(folder, set()))


def main():
    wrong, seen = [], 0
    for folder in ALLOWED:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.relpath(os.path.join(where, name), ROOT)
                with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                    text = f.read()
                for target in INCLUDE.findall(text):
                    seen += 1
                    if not allowed(folder, path, target):
                        wrong.append(f'{path}: must not include "{target}"')
                    elif target not in GENERATED and not os.path.exists(os.path.join(ROOT, target)):
                        wrong.append(f'{path}: includes "{target}" not by its path from the root')
                for target in SYSTEM.findall(text):
                    if folder not in LIBRARIES.get(target, {folder}):
                        wrong.append(f"{path}: must not include <{target}>")
    for folder in NO_FLAGS:
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                path = os.path.relpath(os.path.join(where, name), ROOT)
                if not name.endswith((".c", ".h")) or path == PARSER:
                    continue
                with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                    wrong += [f"{path}: names a flag of the command line: {text}"
                              for text in FLAG.findall(COMMENT.sub("", f.read()))]
    # Nothing outside allocators/NAME may know a back end by name.
    for folder in ("sim", "traces", "replay", "analysis", "cli"):
        for where, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.join(where, name)
                with open(path, encoding="utf-8") as f:
                    code = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
                for word in re.findall(r'"(llfree|buddy|percpu|jemalloc|firstfit|nextfit)"', code):
                    wrong.append(f"{os.path.relpath(path, ROOT)}: knows back end {word} by name")
    # Option values reach a back end through its environment alone, built in or loaded.
    getters = re.compile(r"(?<![>.\w*])option_(?:given|bool|uint|real|choice|strings?|file)\(")
    for where, _, names in os.walk(os.path.join(ROOT, "allocators")):
        if where == os.path.join(ROOT, "allocators"):
            continue
        for name in names:
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(where, name)
            with open(path, encoding="utf-8") as f:
                for call in getters.findall(f.read()):
                    wrong.append(f"{os.path.relpath(path, ROOT)}: calls {call}; ask the environment")
    if seen < 50:
        wrong.append(f"only {seen} includes found: the test looks in the wrong place")
    print("\n".join(wrong) if wrong else f"{seen} includes, all arrows as designed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
