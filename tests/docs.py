#!/usr/bin/env python3
"""
What the documents list is what there is: every metric in docs/metrics.md, every rule of the conformance suite in
docs/backends.md, every verb's exit codes, every key of a run and every doubt in docs/json.md; every link leads somewhere.
Usage: docs.py QUIRE CONFORMANCE ROOT
"""
import glob
import json
import os
import re
import subprocess
import sys

QUIRE, CONFORMANCE, ROOT = sys.argv[1:]


def output(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def chapter(text, heading):
    """What stands under a heading, up to the next one of its level."""
    level = heading.split(" ")[0]
    return re.split(rf"^{level} ", text.split(heading + "\n", 1)[1], maxsplit=1, flags=re.M)[0]


def first_cells(text):
    """The names in the first cells of all tables."""
    return {name for row in re.findall(r"^\| (`[^|]*) \|", text, re.M) for name in re.findall(r"`(\w+)`", row)}


def compare(what, there, told):
    return [f"{what}: {name} is not told" for name in sorted(there - told)] + \
        [f"{what}: {name} is told, but there is none" for name in sorted(told - there)]


def check_metrics():
    text = text_of("docs/metrics.md")
    names = {m["name"] for m in json.loads(output(QUIRE, "list", "metrics", "--format", "json"))["metrics"]}
    twins = {name for name in names if name.endswith("_mean")}
    family = {re.sub(r"_o\d+$", "_oN", name) for name in names - twins}
    state = first_cells(chapter(text, "## State of memory"))
    return compare("docs/metrics.md", family, first_cells(text)) + \
        compare("docs/metrics.md, state", {re.sub(r"_o\d+$", "_oN", name[:-5]) for name in twins}, state)


def check_rules():
    """Names and places of the rules are the suite's, and the places are in the header."""
    rules = {tuple(line.split("\t")[:2]) for line in output(CONFORMANCE, "--rules").splitlines()}
    told = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", chapter(text_of("docs/backends.md"), "## Rules"), re.M))
    header = text_of("allocators/allocator.h")
    return compare("docs/backends.md", {" at ".join(r) for r in rules}, {" at ".join(r) for r in told}) + \
        [f"allocators/allocator.h: nothing is called {where}" for _, where in rules
         if not re.search(rf"\b{where}\b", header)]


def check_verbs():
    help_text = output(QUIRE, "--help")
    verbs = set(re.findall(r"^  (\w+) ", help_text, re.M))
    return compare("docs/exit-codes.md", verbs, first_cells(text_of("docs/exit-codes.md")))


def check_json():
    text = text_of("docs/json.md")
    trace = os.path.join(ROOT, "traces/samples/sqlite.quire")
    run = json.loads(output(QUIRE, "replay", trace, "-a", "null", "--samples", "0", "--format", "json"))["runs"][0]
    doubts = set(re.findall(r"^\tX\((\w+), [01],", text_of("results/doubt.h"), re.M))
    return compare("docs/json.md, a run", set(run), first_cells(chapter(text, "## A run"))) + \
        compare("docs/json.md, doubts", doubts, first_cells(chapter(text, "## Doubts"))) + \
        [f"docs/json.md: setting {key} is not told" for key in run["settings"]
         if key not in first_cells(chapter(text, "## Settings"))]


def anchors(text):
    """Of each heading, as they are made on the usual forges."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)}


def check_links():
    wrong, n = [], 0
    pages = [os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "*.md")) +
             glob.glob(os.path.join(ROOT, "docs/*.md")) + glob.glob(os.path.join(ROOT, "allocators/*/README.md"))]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            if re.match(r"\w+:", link):
                continue
            n += 1
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not os.path.exists(os.path.join(ROOT, target)):
                wrong.append(f"{page}: {link} leads nowhere")
            elif anchor and target.endswith(".md") and anchor not in anchors(text_of(target)):
                wrong.append(f"{page}: {link}: no such heading")
    return wrong if n > 30 else wrong + [f"only {n} links found: the test looks in the wrong place"]


def check_glossary():
    """In the order of the alphabet, so that words are found."""
    words = re.findall(r"^\*\*(.+?)\*\*", text_of("docs/glossary.md"), re.M)
    wrong = [f"docs/glossary.md: {b} stands behind {a}" for a, b in zip(words, words[1:]) if b.lower() < a.lower()]
    return wrong if len(words) > 30 else wrong + [f"docs/glossary.md: only {len(words)} words"]


def main():
    wrong = check_metrics() + check_rules() + check_verbs() + check_json() + check_links() + check_glossary()
    print("\n".join(wrong) if wrong else "the documents list what there is")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
