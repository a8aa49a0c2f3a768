"""Print, as a JSON list, the packages that a change touches and those that stand on them.

    python scripts/changed.py [BASE]

Without a base to compare with, that is every package. A file outside `packages/` (the lock, the testkit)
may concern every package, so it names them all; prose and benchmarks concern none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from workspace import Package, dependants, output, packages

_CONCERNS_NONE = (
    "docs/",
    "benchmarks/",
    "README.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    ".github/ISSUE_TEMPLATE/",
    ".github/PULL_REQUEST_TEMPLATE.md",
    "LICENSE",
    "mkdocs.yml",
    "towncrier.toml",
)


def affected(files: Iterable[str], every: Sequence[Package]) -> list[str]:
    """Return the names of the packages to test for these changed files, in the order of `every`."""
    names = {package.name for package in every}
    changed: set[str] = set()
    for file in files:
        if file.startswith("packages/"):
            changed |= {file.split("/")[1]} & names
        elif not file.startswith(_CONCERNS_NONE):
            return [package.name for package in every]
    reached = dependants(changed, every)
    return [package.name for package in every if package.name in reached]


def main(base: str = "") -> None:
    """Compare the work tree's commit with where it left `base`."""
    every = packages()
    names = [package.name for package in every]
    if base:
        names = affected(output("git", "diff", "--name-only", f"{base}...HEAD").splitlines(), every)
    sys.stdout.write(json.dumps(names) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
