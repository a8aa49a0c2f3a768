"""The contract table, docs/contracts.toml: read, and checked for its shape."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench_results import Suite
from workspace import ROOT

TABLE = ROOT / "docs" / "contracts.toml"

# How many operations each contract has; the 8 categories of QiError count as operations of it.
COUNTS = {
    "Result": 9,
    "QiError": 6 + 8,
    "Configuration": 9,
    "Logger": 7,
    "Cache": 9,
    "HTTP Client": 7,
    "Web Framework": 8,
    "ASGI Server": 6,
    "AI/LLM Client": 7,
    "MCP Protocol": 6,
    "Database": 8,
    "Document Generation": 6,
    "Command-Line Processing": 3,
}
GIVES = ("Result", "await Result", "stream of Results", "block with a Result", "list of Results")

_REQUIRED = ("contract", "name", "python", "distribution", "gives", "codes", "tests")
_OPTIONAL = ("also", "ceiling", "timed")
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Timed:
    """The benchmark of an operation.

    Attributes:
        suite: The name of a file in benchmarks/results.
        row: What was timed there.
        contender: Whose time counts.
        less: Whose time is subtracted, such as that of an empty loop.
    """

    suite: str
    row: str
    contender: str
    less: str = ""

    def median(self, results: Sequence[Suite]) -> float:
        """Return the seconds that it took; KeyError when nobody measured it."""
        row = {suite.name: suite for suite in results}[self.suite].rows[self.row]
        return row[self.contender]["median"] - (row[self.less]["median"] if self.less else 0)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row; docs/contracts.toml says what each field means."""

    contract: str
    name: str
    python: str
    distribution: str
    gives: str
    codes: tuple[str, ...]
    why_none: str
    tests: tuple[str, ...]
    also: tuple[str, ...] = ()
    ceiling: str = ""
    timed: Timed | None = None

    @property
    def label(self) -> str:
        """Its contract and its name there."""
        return f"{self.contract}.{self.name}"


@dataclass(frozen=True, slots=True)
class Law:
    """A law, and the properties that try to refute it."""

    name: str
    distribution: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contracts:
    """The whole table."""

    ceilings: Mapping[str, float]
    operations: tuple[Operation, ...]
    laws: tuple[Law, ...]

    @property
    def tests(self) -> list[str]:
        """Every node id, once."""
        rows: list[Operation | Law] = [*self.operations, *self.laws]
        return list(dict.fromkeys(test for row in rows for test in row.tests))


def load() -> Contracts:
    """Read the table; ValueError with everything that is wrong with its shape."""
    raw = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    if wrong := list(mistakes(raw)):
        raise ValueError("\n".join(wrong))
    return Contracts(
        {name: duration(limit) for name, limit in raw["ceilings"].items()},
        tuple(map(_operation, raw["operation"])),
        tuple(Law(row["name"], row["distribution"], tuple(row["tests"])) for row in raw["law"]),
    )


def mistakes(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a table lacks or has too much: no field may be left out, none may be empty."""
    rows: list[dict[str, Any]] = raw["operation"]
    for row in rows:
        yield from _mistakes_of(row, raw["ceilings"])
    for row in raw["law"]:
        if set(row) != {"name", "distribution", "tests"} or any(map(_is_empty, row.values())):
            yield f"law {row.get('name')}: name, distribution and tests, none of them empty"
    counted = {contract: [row.get("contract") for row in rows].count(contract) for contract in COUNTS}
    if counted != COUNTS or len(rows) != sum(COUNTS.values()):
        yield f"{len(rows)} operations, by contract {counted}; there are {sum(COUNTS.values())}: {COUNTS}"
    names = [(row.get("contract"), row.get("name")) for row in rows]
    yield from (f"twice: {name}" for name in sorted({str(name) for name in names if names.count(name) > 1}))
    unused = set(raw["ceilings"]) - {row.get("ceiling") for row in rows}
    yield from (f"no operation has the ceiling {name}" for name in sorted(unused))


def _mistakes_of(row: Mapping[str, Any], ceilings: Mapping[str, str]) -> Iterator[str]:
    label = f"{row.get('contract')}.{row.get('name')}"
    yield from (f"{label}: no {key}" for key in _REQUIRED if key not in row)
    yield from (f"{label}: {key} is empty" for key, value in row.items() if _is_empty(value))
    yield from (f"{label}: what is {key}?" for key in sorted(set(row) - {*_REQUIRED, *_OPTIONAL}))
    module = str(row.get("distribution", "")).replace("-", ".") + "."
    for name in (row.get("python", ""), *row.get("also", ())):
        if not name.startswith(module):
            yield f"{label}: {name} is not in {row.get('distribution')}"
    gives = str(row.get("gives", ""))
    because = gives.removeprefix("no Result: ").strip()
    if gives not in GIVES and (because == gives.strip() or not because):
        yield f"{label}: gives one of {', '.join(GIVES)}, or no Result: and why"
    codes = row.get("codes", "")
    if isinstance(codes, str) and not codes.startswith("none"):
        yield f"{label}: codes are a list, or a text that says why there are none"
    if ("ceiling" in row) != ("timed" in row):
        yield f"{label}: a ceiling needs a benchmark, and a benchmark a ceiling"
    elif "ceiling" in row and row["ceiling"] not in ceilings:
        yield f"{label}: there is no ceiling {row['ceiling']}"


def _is_empty(value: object) -> bool:
    if isinstance(value, dict):
        return not value or any(map(_is_empty, value.values()))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # TOML
    if isinstance(value, list):
        return not value or any(map(_is_empty, value))  # pyright: ignore[reportUnknownArgumentType]  # TOML
    return not str(value).strip()


def _operation(row: Mapping[str, Any]) -> Operation:
    codes = row["codes"]
    none = isinstance(codes, str)
    return Operation(
        row["contract"],
        row["name"],
        row["python"],
        row["distribution"],
        row["gives"],
        () if none else tuple(codes),
        codes if none else "",
        tuple(row["tests"]),
        tuple(row.get("also", ())),
        row.get("ceiling", ""),
        Timed(**row["timed"]) if "timed" in row else None,
    )


def duration(text: str) -> float:
    """Return seconds.

    >>> duration("10 ms")
    0.01
    """
    number, unit = text.split()
    return float(number) * _UNITS[unit]
