"""Draw the results of the benchmarks, and sum them up: what is slower than a peer comes first.

    python scripts/bench_report.py

Writes `benchmarks/results/NAME.svg` for each suite and `benchmarks/results/overview.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from bench_results import RESULTS, Comparison, Suite, comparisons, read
from charts import drawing, seconds
from contract_page import ceilings
from contracts import load

_EVEN = 1.02  # closer than the noise of these machines


def overview(suites: Sequence[Suite]) -> str:
    """Return the page that sums up all suites."""
    compared = sorted(comparisons(suites), key=lambda one: -one.ratio)
    slower = [one for one in compared if one.ratio > _EVEN]
    faster = [one for one in reversed(compared) if one.ratio < 1 / _EVEN]
    return "\n".join(
        [
            "# Overview",
            "",
            _machine(suites),
            "",
            _summary(len(compared), len(slower), len(faster)),
            "",
            "## Slower than a peer",
            "",
            *_table(slower),
            "",
            "## Faster than every peer",
            "",
            *_table(faster),
            "",
            "## Ceilings of the contracts",
            "",
            *ceilings(load(), suites),
            "",
        ]
    )


def _summary(compared: int, slower: int, faster: int) -> str:
    return (
        f"Of {compared} operations that were timed beside a peer or the wrapped library, the fastest of ours"
        f" is slower than the fastest of them in {slower}, faster in {faster}, and within 2 % of it in"
        f" {compared - slower - faster}. The ratio is ours divided by theirs. All contenders of an operation"
        " ran in one run, in turn, on one core; `make bench` repeats it."
    )


def _table(rows: Iterable[Comparison]) -> list[str]:
    lines = ["| suite | operation | ours | fastest peer | ratio |", "|---|---|---|---|---:|"]
    for one in rows:
        ours, peer = f"{one.ours}: {seconds(one.ours_time)}", f"{one.peer}: {seconds(one.peer_time)}"
        lines.append(
            f"| [{one.suite}]({one.suite}.md) | {one.operation} | {ours} | {peer} | {one.ratio:.2f} |"
        )
    return lines


def _machine(suites: Sequence[Suite]) -> str:
    """Return what the suites ran on; each suite's own page names the versions."""
    machines = {", ".join(suite.machine.values()) for suite in suites}
    return "Measured on: " + "; ".join(sorted(machines)) + "."


def main() -> None:
    """Write the charts and the page."""
    suites = read()
    for suite in suites:
        if suite.rows:
            (RESULTS / f"{suite.name}.svg").write_text(drawing(suite.rows) + "\n", encoding="utf-8")
    page = overview(suites)
    (RESULTS / "overview.md").write_text(page, encoding="utf-8")
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
