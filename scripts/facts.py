"""The map of packages in the README: their facts, as their pyproject files have them.

python scripts/facts.py   writes it anew, after a version or a dependency has changed
"""

from __future__ import annotations

import re

from workspace import ROOT, Package, packages

README = ROOT / "README.md"
_HEAD = """| distribution | what for | version | Python | typed | license | needs |
|---|---|---|---|---|---|---|
"""
_MAP = re.compile(re.escape(_HEAD) + r"(?:\|.*\n)*")


def table() -> str:
    """Return the map, one line for each package."""
    return _HEAD + "".join(map(_row, packages()))


def _row(package: Package) -> str:
    project = package.project["project"]
    typed = (package.folder / "src" / "qicore" / package.component / "py.typed").is_file()
    needs = [found[0] for text in project["dependencies"] if (found := re.match(r"[\w.-]+", text))]
    cells = (
        f"[{package.name}](packages/{package.name}/README.md)",
        package.description,
        package.version,
        project["requires-python"].removeprefix(">=") + "+",
        "yes" if typed and "Typing :: Typed" in project["classifiers"] else "no",
        project["license"],
        ", ".join(needs) or "none",
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write the map into the README."""
    text = README.read_text(encoding="utf-8")
    README.write_text(_MAP.sub(lambda _: table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
