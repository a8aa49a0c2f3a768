"""Run each package's tests in an environment that holds only its own dependencies.

    python scripts/isolated.py [--python 3.13] [--resolution lowest-direct] [PACKAGE …]

A dependency that a package uses and does not declare is there in the shared environment, and missing here.
With `--resolution lowest-direct` each is as old as the package says it may be, with `highest` as new as
there is; the tools of the tests stay as they are locked.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from workspace import (
    ROOT,
    Package,
    bare,
    conclude,
    environment,
    interpreter_in,
    select,
    side_by_side,
    trial,
    uv,
)

RESOLUTIONS = ("lowest-direct", "highest")


def unpinned(locked: str, names: frozenset[str]) -> str:
    """Return the locked requirements without those of these names, which are to be chosen anew."""
    lines = [line for line in locked.splitlines() if "==" in line and bare(line) not in names]
    return "\n".join([*lines, ""])


def outside(package: Package) -> dict[str, str]:
    """Return what the package and its extras need at run time from outside the workspace."""
    every = {bare(text): text for text in package.requirements}
    return {name: text for name, text in every.items() if not name.startswith("qicore-")}


def chosen(requirements: Mapping[str, str], pins: str) -> dict[str, str]:
    """Return the versions that were chosen for these requirements."""
    found = [re.match(r"([\w.-]+)==([\w.!+]+)", line) for line in pins.splitlines()]
    return {bare(match[1]): match[2] for match in found if match and bare(match[1]) in requirements}


def untried(requirements: Mapping[str, str], versions: Mapping[str, str]) -> list[str]:
    """Return a complaint for each lower bound that was not the version chosen: nobody tried what it says."""
    complaints: list[str] = []
    for name, version in versions.items():
        bound = re.search(r">=\s*([\w.!+]+)", requirements[name])
        if bound and _plain(bound[1]) != _plain(version):
            complaints.append(f"{requirements[name]}: the oldest that can be had here is {version}")
    return complaints


def _plain(version: str) -> str:
    return re.sub(r"(\.0)+$", "", version)


def resolved(package: Package, resolution: str, python: str, folder: Path) -> tuple[bool, str]:
    """Make an environment in `folder` with dependencies resolved this way; say what was chosen."""
    pins = folder / "requirements.txt"
    group = f"{package.folder}/pyproject.toml:test"
    if resolution == "lowest-direct":
        # What stands in the file that is written is preferred, so that only the run-time dependencies move.
        good, locked = trial(
            *(uv(), "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-workspace"),
            *("--no-hashes", "--no-header", "--no-annotate"),
            *("--package", package.name, "--all-extras", "--group", "test"),
        )
        if not good:
            return False, locked
        pins.write_text(unpinned(locked, frozenset(outside(package))), encoding="utf-8")
    steps = [
        (uv(), "venv", "--quiet", "--python", python, folder / "env"),
        (
            *(uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--resolution", resolution),
            *("--python", interpreter_in(folder / "env"), "--all-extras", "--group", group),
            *("--output-file", pins, package.folder / "pyproject.toml"),
        ),
        (
            *(uv(), "pip", "install", "--quiet", "--python", interpreter_in(folder / "env"), "--no-deps"),
            *("--requirement", pins, "--editable", package.folder),
        ),
    ]
    for step in steps:
        good, printed = trial(*step)
        if not good:
            return False, printed
    versions = chosen(outside(package), pins.read_text(encoding="utf-8"))
    complaints = untried(outside(package), versions) if resolution == "lowest-direct" else []
    told = [f"{name} {version}" for name, version in versions.items()]
    return not complaints, "\n".join([*told, *complaints, ""])


def tests(package: Package, resolution: str | None, python: str | None) -> tuple[bool, str]:
    """Run a package's tests in an environment of their own."""
    # The testkit needs pytest and nothing else, so its source on the path is enough.
    env = environment(PYTHONPATH=str(ROOT / "testkit" / "src"))
    run = ("-m", "pytest", "-q", "-p", "no:cacheprovider", package.folder)
    if resolution is None:
        return trial(
            *(uv(), "run", "--quiet", "--isolated", "--frozen", *(("--python", python) if python else ())),
            *("--package", package.name, "--all-extras", "--group", "test", "python", *run),
            env=env,
        )
    with tempfile.TemporaryDirectory(prefix="qicore-isolated-") as place:
        folder = Path(place)
        good, told = resolved(package, resolution, python or sys.executable, folder)
        if not good:
            return False, told
        passed, printed = trial(interpreter_in(folder / "env"), *run, env=env)
    return passed, told + printed


def main() -> None:
    """Run them; the last line names those that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="interpreter to use instead of the workspace's own")
    parser.add_argument("--resolution", choices=RESOLUTIONS, help="dependencies other than the locked ones")
    parser.add_argument("package", nargs="*")
    given = parser.parse_args()
    title = (given.resolution or "locked", f"on {given.python}" if given.python else "")
    sys.stdout.write(f"Each package with its own dependencies only: {' '.join(title)}\n")
    conclude(side_by_side(select(given.package), lambda each: tests(each, given.resolution, given.python)))


if __name__ == "__main__":
    main()
