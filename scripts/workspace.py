"""The packages of this workspace, read from their own pyproject files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Package:
    """One distribution under `packages/`.

    Attributes:
        name: The name of the distribution, `qicore-http`.
        folder: Where it lies.
        project: Its whole pyproject.toml.
    """

    name: str
    folder: Path
    project: Mapping[str, Any]

    @property
    def component(self) -> str:
        """The last part of its module: `http`."""
        return self.name.removeprefix("qicore-")

    @property
    def module(self) -> str:
        """What is imported: `qicore.http`."""
        return f"qicore.{self.component}"

    @property
    def version(self) -> str:
        """Its own version."""
        return str(self.project["project"]["version"])

    @property
    def description(self) -> str:
        """The line under its name."""
        return str(self.project["project"]["description"])

    @property
    def requires(self) -> frozenset[str]:
        """The names of its run-time dependencies, extras left out."""
        return frozenset(bare(text) for text in self.project["project"]["dependencies"])

    @property
    def requirements(self) -> list[str]:
        """Its run-time dependencies and those of its extras, as they are written."""
        project = self.project["project"]
        extras: Mapping[str, list[str]] = project.get("optional-dependencies", {})
        return [*project["dependencies"], *(text for texts in extras.values() for text in texts)]

    @property
    def needs(self) -> frozenset[str]:
        """The names of all that its code or its tests may import: run time, extras, the group `test`."""
        tests: list[str] = self.project.get("dependency-groups", {}).get("test", [])
        return frozenset(bare(text) for text in [*self.requirements, *tests])


def packages(root: Path = ROOT) -> list[Package]:
    """Return the packages, by name; the base comes first."""
    found = [
        Package(file.parent.name, file.parent, tomllib.loads(file.read_text(encoding="utf-8")))
        for file in root.glob("packages/*/pyproject.toml")
    ]
    return sorted(found, key=lambda package: (package.name != "qicore-base", package.name))


def select(names: Sequence[str]) -> list[Package]:
    """Return the packages of these names, or all when there are none; stop on an unknown one."""
    every = packages()
    unknown = sorted(set(names) - {package.name for package in every})
    if unknown:
        sys.exit(f"no such package: {', '.join(unknown)}. There are: {' '.join(each.name for each in every)}")
    return [package for package in every if not names or package.name in names]


def dependants(changed: Iterable[str], every: Sequence[Package]) -> set[str]:
    """Return the changed packages and all that stand on them."""
    reached = set(changed)
    while more := {each.name for each in every if each.needs & reached} - reached:
        reached |= more
    return reached


def uv() -> str:
    """Return the uv of this workspace."""
    program = os.environ.get("UV") or shutil.which(ROOT / ".tools" / "bin" / "uv") or shutil.which("uv")
    return program or sys.exit("uv is not here yet: run `make setup` first")


def interpreter_in(folder: Path) -> Path:
    """Return where a virtual environment has its interpreter."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def environment(**changes: str) -> dict[str, str]:
    """Return the environment without what points a child into this environment."""
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT")
    return {name: value for name, value in os.environ.items() if name not in hidden} | changes


def call(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a command and show its output; stop when it fails."""
    if not passes(*command, cwd=cwd, env=env):
        sys.exit(f"failed: {' '.join(map(str, command))}")


def passes(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> bool:
    """Run a command, show its output, and return whether it succeeded."""
    return subprocess.run(command, cwd=cwd, env=env or environment(), check=False).returncode == 0


def trial(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """Run a command; return whether it succeeded, and what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env or environment(),
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode == 0, done.stdout


def side_by_side(chosen: Iterable[Package], job: Callable[[Package], tuple[bool, str]]) -> list[str]:
    """Run a job for each package, as many at once as there are processors; return those that failed.

    What a job printed is shown when it ends, under the name of its package. Tests wait much of their time, so
    that two at once take little more than half as long.
    """
    failed: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {pool.submit(job, package): package.name for package in chosen}
        for done in as_completed(jobs):
            passed, printed = done.result()
            sys.stdout.write(f"== {jobs[done]}: {'passed' if passed else 'FAILED'}\n{printed}")
            sys.stdout.flush()
            if not passed:
                failed.append(jobs[done])
    return sorted(failed)


def conclude(failed: Sequence[str]) -> None:
    """Stop with an error that names what failed, when something did."""
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def output(*command: str | Path, cwd: Path = ROOT) -> str:
    """Return what a command prints; stop and show its complaint when it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def bare(requirement: str) -> str:
    """Return the name that a requirement begins with, as indexes write it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement
