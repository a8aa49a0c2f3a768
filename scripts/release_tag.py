"""Check a release tag, `qicore-http-v1.2.3`, against the package it names, and print that name.

python scripts/release_tag.py TAG
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from workspace import Package, packages


def released(tag: str, every: Sequence[Package]) -> Package:
    """Return the package that the tag releases; stop when the tag and the package disagree."""
    match = re.fullmatch(r"(qicore-[a-z]+)-v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)", tag)
    if match is None:
        sys.exit(f"{tag} is no release tag: it reads qicore-NAME-v1.2.3")
    package = next((each for each in every if each.name == match[1]), None)
    if package is None:
        sys.exit(f"no such package: {match[1]}")
    if package.version != match[2]:
        sys.exit(f"the tag says {match[2]}, {package.name}/pyproject.toml says {package.version}")
    if f"\n## {package.version} " not in (package.folder / "CHANGELOG.md").read_text(encoding="utf-8"):
        sys.exit(
            f"{package.name}/CHANGELOG.md has no section {package.version}: "
            f"run make changelog PKG={package.name}"
        )
    return package


def main(tag: str) -> None:
    """Print the name of the released package."""
    sys.stdout.write(released(tag, packages()).name + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
