"""Run every static check, several at once, and print the output of those that fail.

python scripts/check.py [PACKAGE …]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from workspace import ROOT, Package, environment, packages, select, uv


@dataclass(frozen=True, slots=True)
class Step:
    """One command, run in `cwd`."""

    name: str
    command: tuple[str, ...]
    cwd: Path = ROOT
    env: dict[str, str] = field(default_factory=dict[str, str])


def steps(chosen: list[Package], *, whole: bool) -> list[Step]:
    """Return the steps, the slow ones first, so that no core waits for them at the end."""
    folders = [str(package.folder.relative_to(ROOT)) for package in chosen]
    python = sys.executable
    found = [Step("pyright", (python, "-m", "pyright", "--pythonpath", python, *([] if whole else folders)))]
    found += [_mypy(package.folder, package.name) for package in chosen]
    if whole:
        found += [_mypy(folder, folder.name) for folder in (ROOT / "testkit", ROOT / "scripts")]
        found += [_mypy(folder, folder.name) for folder in ROOT.glob("tests-*")]
        found += [
            _mypy(file.parent, file.parent.name) for file in ROOT.glob("docs/examples/*/pyproject.toml")
        ]
        found += [
            Step("uv lock --check", (uv(), "lock", "--check", "--quiet")),
            Step("workflows are sound", (_tool("actionlint"),)),
            Step("workflows are safe", (_tool("zizmor"), "--offline", "--no-progress", "--quiet", ".github")),
        ]
    paths = ["."] if whole else folders
    return [
        *found,
        Step("import contract", (_tool("lint-imports"), "--no-logo", "--no-cache")),
        Step("ruff check", (python, "-m", "ruff", "check", "--quiet", *paths)),
        Step("ruff format", (python, "-m", "ruff", "format", "--check", "--quiet", *paths)),
    ]


def _tool(name: str) -> str:
    """Return a program of this environment that can't be run as a module."""
    return str(Path(sys.executable).with_name(name))


def _mypy(folder: Path, name: str) -> Step:
    parts = [part for part in ("src", "tests") if (folder / part).is_dir()] or ["."]
    search = os.pathsep.join(["src" if (folder / "src").is_dir() else ".", str(ROOT / "scripts")])
    # One cache for each member: parallel runs on one cache corrupt it.
    cache = ROOT / ".mypy_cache" / name
    command = (sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"))
    options = ("--no-error-summary", "--explicit-package-bases", "--cache-dir", str(cache))
    return Step(f"mypy {name}", (*command, *options, *parts), folder, {"MYPYPATH": search})


def _run(step: Step) -> tuple[Step, bool, float]:
    start = time.monotonic()
    done = subprocess.run(
        step.command,
        cwd=step.cwd,
        env=environment(**step.env),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    good, spent = done.returncode == 0, time.monotonic() - start
    report = f"{'ok  ' if good else 'FAIL'} {step.name} ({spent:.1f} s)\n"
    sys.stdout.write(report if good else f"{report}{done.stdout}\n")
    sys.stdout.flush()
    return step, good, spent


def main(names: list[str]) -> int:
    """Run the steps; the exit code says whether all of them passed."""
    chosen = select(names)
    todo = steps(chosen, whole=len(chosen) == len(packages()))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        failed = [step.name for step, good, _ in pool.map(_run, todo) if not good]
    sys.stdout.write(
        f"{len(failed)} of {len(todo)} checks failed: {', '.join(failed)}\n"
        if failed
        else "all checks passed\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
