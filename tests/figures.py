#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
One run, one number: what JSON, CSV, the views of the database, the table and the page say of the same runs is the
same, figure by figure, after the rounding of whoever rounds. JSON has all digits; every other form is held against
it: CSV and the database exactly, what people read to half a unit of the last digit shown. Speaks TAP.

usage: figures.py QUIRE TRACE
"""
import csv
import html.parser
import io
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
import tempfile

QUIRE, TRACE = sys.argv[1:]
BACKENDS = ("recorded", "buddy", "llfree:tree=16", "firstfit", "null")
WIDE = {**os.environ, "COLUMNS": "100000"}


class Told:
    """Everything that three verbs say, in every form."""

    def __init__(self, where):
        self.database, self.json, self.csv, self.table = os.path.join(where, "r.db"), [], [], {}
        specs = [word for name in BACKENDS for word in ("-a", name)]
        bench = ("--memory", "64M", "--repetitions", "2", "-a", "llfree", "-a", "firstfit")
        for verb in (("replay", TRACE, *specs, "--samples", "4"), ("bench", "frag", *bench, "--rounds", "2"),
                     ("bench", "bulk", *bench)):
            # One run says all: the other forms are of the same one, or of exact figures alone.
            self.json += json.loads(run(*verb, "--db", self.database, "--format", "json"))["runs"]
            self.csv.append((list(csv.DictReader(io.StringIO(run(*verb, "--format", "csv")))),
                             json.loads(run(*verb, "--format", "json"))["runs"]))
            self.table[verb[:2]] = run(*verb)
        out = os.path.join(where, "out")
        run("report", self.database, "-o", out)
        with open(os.path.join(out, "index.html"), encoding="utf-8") as file:
            self.page = Page(file.read())
        self.info = {row["name"]: row for row in json.loads(run("list", "metrics", "--format", "json"))["metrics"]}
        self.end_state = json.loads(run("replay", TRACE, "-a", "recorded", "--samples", "1", "--format",
                                        "json"))["end_state"]
        self.end_table = run("replay", TRACE, "-a", "recorded", "--samples", "1")

    def exact(self, name):
        return name not in self.info or self.info[name]["kind"] == "exact"

    def rows(self, sql, *args):
        connection = sqlite3.connect(self.database)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql, args)]
        finally:
            connection.close()


def run(*argv):
    return subprocess.run([QUIRE, *argv], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, env=WIDE).stdout


class Page(html.parser.HTMLParser):
    """The tables of a page by caption: a list of rows, each a list of texts; a row begins with its run's id, or None."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.caption, self.cell, self.deep = {}, None, None, 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "table":
            self.caption = ""
        elif tag == "tr" and self.caption is not None:
            self.rows().append([attrs.get("data-run")])
        elif tag in ("td", "th") and self.caption is not None:
            self.cell, self.deep = "", 0
            if "colspan" in attrs and attrs.get("class") == "same":
                self.rows()[-1] += [None] * (int(attrs["colspan"]) - 1)
        elif self.cell is not None and (self.deep or tag in ("small",) or attrs.get("class") in
                                        ("hidden", "unit", "tag", "kind", "tag bad")):
            self.deep += tag not in ("br", "wbr")
        elif tag == "caption":
            self.cell = ""

    def rows(self):
        return self.tables.setdefault(self.caption or "?", [])

    def handle_endtag(self, tag):
        if tag == "table":
            self.caption = None
        elif tag == "caption":
            while self.cell in self.tables:
                self.cell += "'"
            self.caption, self.cell = self.cell, None
        elif tag in ("td", "th") and self.cell is not None:
            self.rows()[-1].append(self.cell.strip())
            self.cell = None
        elif self.deep:
            self.deep -= 1

    def handle_data(self, data):
        if self.cell is not None and not self.deep:
            self.cell += data


UNITS = {"B": 1, "KiB": 2 ** 10, "MiB": 2 ** 20, "GiB": 2 ** 30, "TiB": 2 ** 40, "k": 1e3, "M": 1e6, "G": 1e9}


def shown(text):
    """What is shown: the number, and half a unit of its last digit. None: nothing is."""
    # Behind it may be by how much the figure is off.
    text = text.partition("\u00b1")[0].replace("\u202f", " ").replace(" for each", "").strip()
    if text in ("-", "\u2013"):
        return None
    match = re.fullmatch(r"(-?[0-9][0-9 ]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?) ?(B|[KMGT]iB|[kMG])?", text)
    assert match, f"{text!r} is no figure"
    digits = match[1].replace(" ", "")
    decimals = len(digits.split("e")[0].partition(".")[2])
    exponent = int(digits.partition("e")[2] or 0)
    scale = UNITS.get(match[2], 1)
    return float(digits) * scale, 0.5000001 * 10 ** (exponent - decimals) * scale


def agree(text, value, scale):
    """Whether @text is how people are shown @value, which is @scale of what it shows."""
    got = shown(text)
    if got is None or value is None:
        return got is None and value is None
    return abs(got[0] - value * scale) <= got[1] + 1e-9 * abs(value * scale)


def of_page(told, name, text, value):
    unit = told.info[name]["unit"]
    share = name.startswith("free_share_") or "_accuracy" in name
    return agree(text, value, 100 if share else 1e-6 if unit == "1/s" else 1)


def same_number(a, b):
    if a is None or b is None:
        return a is None and b is None
    return math.isclose(a, b, rel_tol=1e-15, abs_tol=0)


# ---- the checks: each yields how much it compared, and what is wrong ----


def csv_says_what_json_says(told):
    for table, runs in told.csv:
        assert len(table) == len(runs) > 0
        for row, one in zip(table, runs):
            flat = {**one, **{f"metrics.{k}": v for k, v in one["metrics"].items()},
                    **{f"settings.{k}": v for k, v in one["settings"].items()},
                    **{f"doubts.{k}": v for k, v in one["doubts"].items()}}
            for key, text in row.items():
                name = key.rpartition(".")[2]
                if key.startswith("metrics.") and not told.exact(name):
                    yield (text == "") == (flat[key] is None), f"{one['spec']}: {key}: {text!r}, {flat[key]!r}"
                    continue
                value = flat.get(key, 0 if key.startswith("doubts.") else None)
                if isinstance(value, bool):
                    right = text == str(value).lower()
                elif isinstance(value, (int, float)):
                    right = text != "" and same_number(float(text), value)
                else:
                    right = text == (value or "")
                yield right, f"{one['spec']}: {key}: {text!r} in CSV, {value!r} in JSON"


def views_say_what_json_says(told):
    by_id = {one["id"]: one for one in told.json}
    for row in told.rows("SELECT run_id, name, value FROM v_metric WHERE source = ''"):
        value = by_id[row["run_id"]]["metrics"][row["name"]]
        yield same_number(row["value"], value), f"v_metric: {row}: {value}"
    for view in ("v_comparison", "v_bench"):
        for row in told.rows(f"SELECT * FROM {view}"):
            one = by_id[row["run_id"]]
            for name, value in row.items():
                if name in one["metrics"]:
                    yield same_number(value, one["metrics"][name]), f"{view}: {row['run_id']}: {name}: {value}"
                elif name in ("allocator", "options", "label", "out_for", "may_compete", "trace", "threads", "seed"):
                    yield value == one[name], f"{view}: {row['run_id']}: {name}: {value!r}, {one[name]!r}"
    for row in told.rows("SELECT run_id, status, spec, out_for, point_id, build_id, mode FROM v_run"):
        one = by_id[row["run_id"]]
        for name in set(row) - {"run_id"}:
            yield row[name] == one[name], f"v_run: {row['run_id']}: {name}: {row[name]!r}, {one[name]!r}"
    for row in told.rows("SELECT run_id, key, value FROM v_setting"):
        value = by_id[row["run_id"]]["settings"][row["key"]]
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        yield row["value"] == text, f"v_setting: {row}: {value!r}"
    for row in told.rows("SELECT run_id, name, count FROM v_doubt"):
        yield by_id[row["run_id"]]["doubts"].get(row["name"]) == row["count"], f"v_doubt: {row}"
    for row in told.rows("SELECT run_id, name, value FROM v_counter"):
        yield by_id[row["run_id"]]["counters"][row["name"]] == row["value"], f"v_counter: {row}"
    for row in told.rows("SELECT run_id, sample, name, value FROM v_sample WHERE source = ''"):
        sample = by_id[row["run_id"]]["samples"][row["sample"]]
        yield same_number(row["value"], sample[row["name"]]), f"v_sample: {row}: {sample[row['name']]}"


def end_state_is_the_same_everywhere(told):
    lines = [re.split(r"  +", line.strip()) for line in told.end_table.split("end state of", 1)[1].splitlines()]
    names = ["order", "engine", "explained", "kernel", "difference"]
    yield lines[0] == names, f"headings: {lines[0]}"
    table = [dict(zip(names, line[1:])) for line in lines if len(line) == 6]
    view = told.rows("SELECT block_order AS 'order', engine, explained, kernel, difference FROM v_free_blocks"
                     " WHERE allocator = 'recorded' ORDER BY 1")
    yield len(table) == len(view) == len(told.end_state) == 11, f"{len(table)}, {len(view)} orders"
    for told_row, view_row, text in zip(told.end_state, view, table):
        for name in names:
            yield told_row[name] == view_row[name], f"v_free_blocks: {view_row}, not {told_row}"
            yield agree(text[name], told_row[name], 1), f"table: {text}, not {told_row}"


def tables_say_what_json_says(told):
    for verb, text in told.table.items():
        lines = text.split("\n\n")[0].splitlines()
        heads = lines[0].split()
        want = [one for one in told.json if one["mode"].startswith("bench") == (verb[0] == "bench") and
                (verb[0] != "bench" or one["mode"] == f"bench-{verb[1]}")]
        rows = [re.split(r"  +", line.strip()) for line in lines[-len(want):]]
        yield len(rows) == len(want) and all(len(row) == len(heads) for row in rows), f"{verb}: {rows}"
        for row, one in zip(rows, want):
            cells = dict(zip(heads, row))
            yield cells["allocator"] == one["spec"], f"{verb}: {cells['allocator']}, {one['spec']}"
            yield cells["out_for"] == (one["out_for"] or "-"), f"{verb}: {cells['out_for']}, {one['out_for']}"
            for name, figure in cells.items():
                if name in one["metrics"]:
                    value = one["metrics"][name]
                    scale = 100 if name.startswith("free_share_") or name.endswith("_spread") else 1
                    right = agree(figure, value, scale) if told.exact(name) else \
                        (figure == "-") == (value is None)
                    yield right, f"{verb}: {one['spec']}: {name}: {figure!r} in the table, {value!r} in JSON"


def the_page_says_what_json_says(told):
    by_id = {str(one["id"]): one for one in told.json}
    compared = [caption for caption in told.page.tables if caption.rstrip("'") in
                ("Fragmentation at the end, exact", "Speed, measured")]
    yield len(compared) == 2, f"tables: {list(told.page.tables)}"
    for caption in compared:
        heads, rows = None, 0
        for row in told.page.tables[caption]:
            if row[0] is None:
                heads = row[1:]
                continue
            one, rows = by_id[row[0]], rows + 1
            yield heads[0] == "allocator" and len(heads) == len(row) - 1, f"{caption}: {heads}, {row}"
            for name, text in list(zip(heads, row[1:]))[1:]:
                if name == "out_for":
                    yield text.replace(", ", ",") == (one[name] or "\u2013"), f"{one['spec']}: {text}, {one[name]}"
                else:
                    yield of_page(told, name, text, one["metrics"][name]), \
                        f"{caption}: {one['spec']}: {name}: {text!r} on the page, {one['metrics'][name]!r} in JSON"
        yield rows == len(BACKENDS), f"{caption}: {rows} rows"
    yield from the_matrix_says_what_json_says(told)


def the_matrix_says_what_json_says(told):
    """Every metric, against the runs by name; one cell where all agree."""
    heads, *rows = told.page.tables["Every metric"]
    runs = {one["spec"].partition(":")[0]: one for one in told.json if not one["mode"].startswith("bench")}
    yield sorted(heads[2:]) == sorted(runs), f"{heads}, {sorted(runs)}"
    seen = set()
    for row in rows:
        name = row[1].split(" ")[0]
        if name not in told.info:
            continue
        seen.add(name)
        cells = row[2:]
        if None in cells:
            cells = [cells[-1]] * len(cells)
        for spec, text in zip(heads[2:], cells):
            value = runs[spec]["metrics"][name]
            yield of_page(told, name, text, value), f"{spec}: {name}: {text!r} on the page, {value!r} in JSON"
    defined = {name for one in runs.values() for name, value in one["metrics"].items()
               if value is not None and name in told.info}
    yield defined == seen, f"on the page alone or not at all: {sorted(defined ^ seen)}"


CHECKS = (csv_says_what_json_says, views_say_what_json_says, end_state_is_the_same_everywhere,
          tables_say_what_json_says, the_page_says_what_json_says)


def main():
    with tempfile.TemporaryDirectory() as where:
        told = Told(where)
        print(f"1..{len(CHECKS)}")
        failed = 0
        for i, check in enumerate(CHECKS, 1):
            verdicts = list(check(told))
            wrong = [message for right, message in verdicts if not right]
            for message in wrong[:20]:
                print(f"# {message}")
            good = not wrong and len(verdicts) > 30
            failed += not good
            print(f"# {len(verdicts)} compared, {len(wrong)} differ")
            print(f"{'ok' if good else 'not ok'} {i} - {check.__name__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
