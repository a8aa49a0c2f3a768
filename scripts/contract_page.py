"""The contract table as a page of the site, and the files of tests that it names as pages, too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench_results import Suite, read
from charts import seconds
from contracts import COUNTS, Contracts, Operation, load
from workspace import ROOT

_IN_ONE_LINE = '{ style="white-space: nowrap" }'
_INTRODUCTION = """\
---
hide:
  - toc
---

# The contracts

Every qicore, in whatever language, has the same {contracts} contracts. This page says what each of their
operations is called in Python, what it gives, how it fails, and which tests prove it. A test installs the
built wheels where nothing else of the project is, finds every name of this page there, public, documented
and typed, and runs every test that is named here.

There are {operations} operations: 91 of the contracts, and the 8 categories of errors, each by its
constructor.
"""


def pages() -> dict[str, str]:
    """Return the page of the contracts, and one for each file of tests that it names."""
    table = load()
    files = dict.fromkeys(test.partition("::")[0] for test in table.tests)
    return {"contracts.md": _page(table)} | {_page_of(file): _source(file) for file in files}


def _page_of(file: str) -> str:
    """Return the page that shows a file of tests: `tests/http/test_client.md`."""
    package, _, rest = file.removeprefix("packages/qicore-").partition("/tests/")
    return f"tests/{package}/{rest.removesuffix('.py')}.md"


def _source(file: str) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {file}\n\n~~~~~~python\n{text}~~~~~~\n"


def _page(table: Contracts) -> str:
    """Return the page: a table for each contract, then the ceilings and the laws."""
    lines = [_INTRODUCTION.format(operations=len(table.operations), contracts=len(COUNTS))]
    for contract in COUNTS:
        rows = [row for row in table.operations if row.contract == contract]
        lines += [
            f"## {contract}",
            "",
            f"{len(rows)} operations, in [{rows[0].distribution}](components/{_component(rows[0])}.md).",
            "",
            "| operation | Python | gives | fails with | proven by |",
            "|---|---|---|---|---|",
            *map(_line, rows),
            "",
        ]
    lines += ["## Ceilings", "", *ceilings(table, read(), "measurements/")]
    lines += [
        "",
        "## Laws",
        "",
        "Hypothesis looks for what breaks them.",
        "",
        "| law | proven by |",
        "|---|---|",
    ]
    lines += [f"| {law.name} | {_links(law.tests)} |" for law in table.laws]
    return "\n".join(lines) + "\n"


def ceilings(table: Contracts, results: Sequence[Suite], folder: str = "") -> list[str]:
    """Return the ceilings beside what was measured, as lines; `folder` leads to the pages of the suites."""
    lines = [
        "The contracts say how long some operations may take at most. For the level of a log they mean",
        "`log.debug_enabled`; `is_level_enabled` is a call, and takes as long as a call does.",
        "",
        "| what | operation | ceiling | measured | benchmark |",
        "|---|---|---:|---:|---|",
    ]
    for name, limit in table.ceilings.items():
        for row in table.operations:
            timed = row.timed
            if timed is not None and row.ceiling == name:
                times = f"{seconds(limit)} | {seconds(timed.median(results))}"
                less = f" less {timed.less}" if timed.less else ""
                suite = f"[{timed.suite}]({folder}{timed.suite}.md)"
                lines.append(
                    f"| {name} | {row.label} | {times} | {suite}: {timed.row}, {timed.contender}{less} |"
                )
    return lines


def _line(row: Operation) -> str:
    names = "<br>".join(map(_reference, (row.python, *row.also)))
    codes = ", ".join(f"[`{code}`](errors.md#{code.lower()})" for code in row.codes) or row.why_none
    return f"| {row.name} | {names} | {row.gives} | {codes} | {_links(row.tests)} |"


def _reference(name: str) -> str:
    component, path = name.split(".", 2)[1:]
    return f"[`{path}`](reference/{component}.md#{name}){_IN_ONE_LINE}"


def _links(tests: tuple[str, ...]) -> str:
    """Return the tests as what they say: their names are sentences."""
    files: dict[str, list[str]] = {}
    for test in tests:
        file, _, path = test.partition("::")
        files.setdefault(file, []).append(_sentence(path))
    return "<br>".join(
        f"[{Path(file).name}]({_page_of(file)}): {'; '.join(sentences)}" for file, sentences in files.items()
    )


def _sentence(path: str) -> str:
    """Return what a test says.

    >>> _sentence("TestGetOrSet::test_it_computes_once[redis]")
    'it computes once (redis)'
    """
    name, _, case = path.rpartition("::")[2].partition("[")
    said = "its state machine" if name == "runTest" else name.removeprefix("test_").replace("_", " ")
    return said + (f" ({case.removesuffix(']')})" if case else "")


def _component(row: Operation) -> str:
    return row.distribution.removeprefix("qicore-")
