"""Turn the fragments of a package into the section of its version, or show what they would give.

python scripts/changelog.py PACKAGE …
"""

from __future__ import annotations

import sys
from pathlib import Path

from workspace import ROOT, Package, call, output, select


def command(package: Package, *more: str | Path) -> list[str | Path]:
    """Return the call of towncrier: one set of rules for all packages, in the root's towncrier.toml."""
    return [
        *(sys.executable, "-m", "towncrier", "build", "--config", ROOT / "towncrier.toml"),
        *("--dir", package.folder, "--name", package.name, "--version", package.version, *more),
    ]


def draft(package: Package) -> str:
    """Return the section that the fragments give, without touching a file."""
    return output(*command(package, "--draft", "--date", "unreleased"))


def main(names: list[str]) -> None:
    """Write the sections and delete the fragments."""
    if not names:
        sys.exit("say which packages")
    for package in select(names):
        call(*command(package, "--yes"))


if __name__ == "__main__":
    main(sys.argv[1:])
