#!/usr/bin/env python3
"""
What docs/results.md shows is so: every query of it runs and most of them find something, its Python reads block
maps, and it has a row for every view and a word for every table of a database that real runs have filled.
Usage: queries.py QUIRE DOCUMENT TRACE
"""
import os
import re
import sqlite3
import subprocess
import sys
import tempfile

QUIRE, DOCUMENT, TRACE = sys.argv[1:]
# Rows only where something is amiss, has changed, or is not told by every back end.
MAY_BE_EMPTY = ("a.value IS NOT b.value", "HAVING count(DISTINCT label) = 1", "status NOT IN ('done', 'running')",
                "v_unfinished", "v_doubt", "v_warning", "v_flag", "v_pinned", "v_holder", "a.value <> b.value")


def fill(database):
    def quire(*argv):
        subprocess.run([QUIRE, *argv, "--db", database], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    quire("replay", TRACE, "-a", "buddy", "-a", "recorded", "--samples", "3", "--label", "before")
    quire("replay", TRACE, "-a", "buddy", "--samples", "3", "--prefill", "packed", "--outliers", "3",
          "--label", "after")
    quire("bench", "frag", "-a", "llfree", "--memory", "64M", "--rounds", "2")
    quire("fidelity", TRACE)


def queries(text):
    for block in re.findall(r"^```sql\n(.*?)^```", text, re.S | re.M):
        yield from (query.strip() for query in block.split(";") if query.strip())


def check_queries(db, text):
    wrong, n = [], 0
    for query in queries(text):
        n += 1
        try:
            found = db.execute(query).fetchall()
        except sqlite3.Error as error:
            wrong.append(f"{query}: {error}")
            continue
        if not found and not any(words in query for words in MAY_BE_EMPTY):
            wrong.append(f"{query}: no rows")
    return wrong, n


def check_names(db, text):
    """Views in a table of views, tables in the prose."""
    wrong = []
    have = {kind: {name for (name,) in db.execute(
        "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%'", (kind,))}
            for kind in ("view", "table")}
    told = set(re.findall(r"^\| `(v_\w+)` \|", text, re.M))
    wrong += [f"{name}: no row in the table of views" for name in sorted(have["view"] - told)]
    wrong += [f"{name}: no such view" for name in sorted(told - have["view"])]
    wrong += [f"{name}: not explained" for name in sorted(have["table"]) if f"`{name}`" not in text]
    return wrong


def check_blocks(db, text):
    """The Python block gives the engine's own count of wholly free blocks back."""
    space = {}
    exec(re.search(r"^```python\n(.*?)^```", text, re.S | re.M).group(1), space)  # pylint: disable=exec-used
    wrong = []
    for sample, free_huge in db.execute("SELECT sample, value FROM v_sample WHERE run_id = 1 AND name = 'free_huge'"):
        held = space["blocks"](db, 1, sample)
        if held.count(0) != free_huge:
            wrong.append(f"sample {sample}: {held.count(0)} blocks without a held frame, not {free_huge}")
    return wrong


def main():
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    with tempfile.TemporaryDirectory() as where:
        database = os.path.join(where, "results.db")
        fill(database)
        db = sqlite3.connect(database)
        wrong, n = check_queries(db, text)
        wrong += check_names(db, text) + check_blocks(db, text)
        db.close()
    if n < 15:
        wrong.append(f"only {n} queries found: the test looks in the wrong place")
    print("\n".join(wrong) if wrong else f"{n} queries, all as shown")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
