"""The results of the benchmarks, read from `benchmarks/results/*.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace import ROOT

RESULTS = ROOT / "benchmarks" / "results"

Row = Mapping[str, Mapping[str, float]]
"""What was measured of each contender in one operation; the first one is what the ratios refer to."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One file of results.

    Attributes:
        name: The name of the suite, `http`.
        machine: What it ran on.
        versions: The distributions that were measured, with their versions.
        rows: What was timed, by operation; what was counted instead (requests lost) is left out.
    """

    name: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    rows: Mapping[str, Row]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The fastest of ours in one operation beside the fastest peer, both in seconds per operation."""

    suite: str
    operation: str
    ours: str
    ours_time: float
    peer: str
    peer_time: float
    ratio: float
    """Ours divided by the peer's."""


def read(folder: Path = RESULTS) -> list[Suite]:
    """Return all suites by name."""
    return [_suite(json.loads(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("*.json"))]


def _suite(data: dict[str, Any]) -> Suite:
    timed = {
        operation: row
        for operation, row in data["rows"].items()
        if all("median" in measured for measured in row.values())
    }
    return Suite(data["suite"], data["machine"], data["versions"], timed)


def is_ours(contender: str) -> bool:
    """Return whether a contender is one of this project's."""
    return "qicore" in contender


def is_peer(contender: str) -> bool:
    """Return whether a contender does the same job; one that is called bare does less, and is no peer."""
    return not is_ours(contender) and not contender.startswith("bare ")


def comparisons(suites: Iterable[Suite]) -> Iterator[Comparison]:
    """Compare the fastest of ours with the fastest peer, wherever a row has both."""
    for suite in suites:
        for operation, row in suite.rows.items():
            ours = _fastest(row, is_ours)
            peer = _fastest(row, is_peer)
            if ours and peer:
                ratio = row[ours]["ratio"] / row[peer]["ratio"]
                times = row[ours]["median"], row[peer]["median"]
                yield Comparison(suite.name, operation, ours, times[0], peer, times[1], ratio)


def _fastest(row: Row, which: Callable[[str], bool]) -> str | None:
    return min(filter(which, row), key=lambda name: row[name]["ratio"], default=None)
