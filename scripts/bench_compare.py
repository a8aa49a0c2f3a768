"""Compare two revisions by the same benchmarks, and say what moved beyond the noise.

    python scripts/bench_compare.py BASE [HEAD] [--runs 5] [--package qicore-base]

Each revision is checked out and installed in a folder of its own. Their benchmarks run in turn, several
times: a machine's slow minutes then fall on both. What was timed beside a reference is compared by its
ratio to that reference in the same run, the reference itself by its time. A contender has moved when
every run of one revision is beyond every run of the other, and their medians are 3 % apart at least:
with five runs of each, equal revisions look like that by chance in one row of 126. Peers are compared
as well, since they have no reason to move: where they did, the lock file or the machine has changed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bench_results import Suite, is_ours, read
from workspace import Package, call, environment, output, select, trial, uv

_LEAST = 0.03

Key = tuple[str, str, str]
"""Suite, operation, contender."""


@dataclass(frozen=True, slots=True)
class Change:
    """What two revisions took for the same, and whether the difference is beyond the noise."""

    key: Key
    factor: float
    """The median of the head's runs divided by that of the base's: below 1 it became faster."""
    moved: bool


def compare(base: Mapping[Key, Sequence[float]], head: Mapping[Key, Sequence[float]]) -> list[Change]:
    """Compare what both revisions have measured."""
    return [Change(key, *_judge(base[key], head[key])) for key in base if key in head]


def _judge(base: Sequence[float], head: Sequence[float]) -> tuple[float, bool]:
    factor = statistics.median(head) / statistics.median(base)
    apart = max(head) < min(base) or min(head) > max(base)
    return factor, apart and abs(factor - 1) >= _LEAST


def collect(runs: Iterable[Sequence[Suite]]) -> dict[Key, list[float]]:
    """Gather what each run measured, by contender."""
    found: dict[Key, list[float]] = {}
    for suites in runs:
        for suite in suites:
            for operation, row in suite.rows.items():
                reference = next(iter(row))
                for name, timing in row.items():
                    value = timing["median" if name == reference else "ratio"]
                    found.setdefault((suite.name, operation, name), []).append(value)
    return found


def report(changes: Sequence[Change], out: TextIO) -> None:
    """Say what moved, ours first, then how many of the others did."""
    ours = [change for change in changes if is_ours(change.key[2])]
    for title, slower in (("slower", True), ("faster", False)):
        moved = [change for change in ours if change.moved and (change.factor > 1) is slower]
        out.write(f"{title}: {len(moved)}\n")
        for change in sorted(moved, key=lambda one: -abs(one.factor - 1)):
            suite, operation, name = change.key
            out.write(f"  x{change.factor:.2f}  {suite}: {operation}: {name}\n")
    out.write(f"within the noise: {sum(not change.moved for change in ours)}\n")
    others = [change for change in changes if not is_ours(change.key[2])]
    out.write(f"of {len(others)} that are not ours moved: {sum(change.moved for change in others)}\n")


def measure(tree: Path, python: Path, benchmarks: Sequence[str]) -> list[Suite]:
    """Run benchmarks in a checkout; return what they measured."""
    results = tree / "benchmarks" / "results"
    for file in results.glob("*.json"):
        file.unlink()
    for name in benchmarks:
        passed, printed = trial(python, tree / "benchmarks" / name, cwd=tree)
        if not passed:
            sys.exit(f"{name} failed in {tree.name}:\n{printed}")
    return read(results)


def _benchmarks(tree: Path, packages: Iterable[Package]) -> set[Path]:
    """Return the benchmarks of these packages: `bench_web.py` and `bench_web_middleware.py` of qicore-web."""
    return {file for each in packages for file in tree.glob(f"benchmarks/bench_{each.component}*.py")}


def _checked_out(revision: str, folder: Path, stack: ExitStack) -> Path:
    """Lay a revision into a folder and install it there; return its interpreter."""
    call("git", "worktree", "add", "--quiet", "--detach", folder, revision)
    stack.callback(call, "git", "worktree", "remove", "--force", folder)
    everything = ("--all-packages", "--all-groups", "--all-extras")
    call(uv(), "sync", "--quiet", "--frozen", *everything, cwd=folder, env=environment())
    return folder / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def main() -> None:
    """Check out both, run them in turn, and report."""
    parser = argparse.ArgumentParser(description="Compare two revisions by the same benchmarks.")
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--package", action="append", default=[])
    given = parser.parse_args()
    revisions = [output("git", "rev-parse", "--short", name).strip() for name in (given.base, given.head)]
    if revisions[0] == revisions[1]:
        sys.exit(f"{given.base} and {given.head} are the same revision")
    packages = select(given.package)
    with tempfile.TemporaryDirectory(prefix="qicore-bench-") as place, ExitStack() as stack:
        trees = {revision: Path(place) / revision for revision in revisions}
        pythons = {revision: _checked_out(revision, tree, stack) for revision, tree in trees.items()}
        base, head = ({file.name for file in _benchmarks(tree, packages)} for tree in trees.values())
        shared = sorted(base & head)
        if not shared:
            sys.exit("the two revisions have none of these benchmarks in common")
        runs: dict[str, list[list[Suite]]] = {revision: [] for revision in revisions}
        for number in range(given.runs):
            for revision in random.sample(revisions, 2):
                sys.stdout.write(f"run {number + 1} of {given.runs}: {revision}\n")
                sys.stdout.flush()
                runs[revision].append(measure(trees[revision], pythons[revision], shared))
        changes = compare(*(collect(runs[revision]) for revision in revisions))
    sys.stdout.write(f"\n{given.head} ({revisions[1]}) against {given.base} ({revisions[0]})\n")
    report(changes, sys.stdout)


if __name__ == "__main__":
    main()
