"""Pages of the site that are written elsewhere: nothing is said twice, and a new package needs no entry here.

mkdocs calls `on_config` and `on_files` (see `hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import changelog
import contract_page
import error_codes
from bench_results import read
from charts import illustrate
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from workspace import ROOT, Package, packages

_LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\((?!https?://|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")

_PROJECT = (
    ("Contributing", "contributing.md", ROOT / "CONTRIBUTING.md"),
    ("Security", "security.md", ROOT / "SECURITY.md"),
    ("Code of conduct", "code-of-conduct.md", ROOT / "CODE_OF_CONDUCT.md"),
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the navigation."""
    every = packages()
    start = [
        {"qicore": "index.md"},
        {"Getting started": "getting-started.md"},
        {"Tutorial": "tutorial.md"},
        {"Coming from elsewhere": "migration.md"},
        {"Error codes": "errors.md"},
        {"Contracts": "contracts.md"},
        {"Security model": "security-model.md"},
        {"Compatibility": "compatibility.md"},
    ]
    # Each is a tab where there is room.
    nav: list[dict[str, Any]] = [
        {"Start": start},
        {"How to": [{file.stem: f"howto/{file.name}"} for file in _howtos()]},
        {"Components": [{each.name: f"components/{each.component}.md"} for each in every]},
        {"Reference": [{each.module: f"reference/{each.component}.md"} for each in every]},
        {"Examples": [{file.parent.name: f"examples/{file.parent.name}.md"} for file in _examples()]},
        {"Measurements": [{_heading(file): f"measurements/{file.name}"} for file in _results()]},
        {"Designs": [{_heading(file): f"designs/{file.name}"} for file in _designs()]},
        {"Project": [{"Changelog": "changelog.md"}, *({name: page} for name, page, _ in _PROJECT)]},
    ]
    config.nav = [entry for entry in nav if all(entry.values())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    suites = {suite.name: suite for suite in read()}
    for page, file in _taken().items():
        text = relink(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix(), page)
        if page.startswith("measurements/") and file.stem in suites:
            text = illustrate(text, suites[file.stem])
        files.append(File.generated(config, page, content=text))
    every = packages()
    for package in every:
        text = f"# {package.module}\n\n::: {package.module}\n"
        files.append(File.generated(config, f"reference/{package.component}.md", content=text))
    files.append(File.generated(config, "errors.md", content=error_codes.page()))
    changes = "# Changelog\n\n" + "\n\n".join(map(_changes, every)) + "\n"
    files.append(File.generated(config, "changelog.md", content=changes))
    for name, text in contract_page.pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def _taken() -> dict[str, Path]:
    """Return the pages that are files of the repository: page -> file."""
    return {
        **{page: file for _, page, file in _PROJECT},
        **{f"components/{each.component}.md": each.folder / "README.md" for each in packages()},
        **{f"examples/{file.parent.name}.md": file for file in _examples()},
        **{f"measurements/{file.name}": file for file in _results()},
    }


def _howtos() -> list[Path]:
    return sorted(ROOT.glob("docs/howto/*.md"))


def _examples() -> list[Path]:
    return sorted(ROOT.glob("docs/examples/*/README.md"))


def _results() -> list[Path]:
    files = ROOT.glob("benchmarks/results/*.md")
    return sorted(files, key=lambda file: (file.stem != "overview", file.stem))


def _designs() -> list[Path]:
    return sorted(ROOT.glob("docs/designs/*.md"))


def _heading(file: Path) -> str:
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _changes(package: Package) -> str:
    """Return the changelog of a package, what is not released yet on top."""
    released = (package.folder / "CHANGELOG.md").read_text(encoding="utf-8").partition("-->")[2]
    fragments = [file for file in package.folder.glob("changelog.d/*.md") if file.name != "README.md"]
    waiting = changelog.draft(package) if fragments else ""
    # The headings of each package go one level down, below its name.
    text = re.sub(r"^#", "##", f"{waiting}\n{released}", flags=re.MULTILINE)
    return f"## {package.name}\n\n{text.strip() or 'Nothing yet.'}"


def relink(text: str, source: str, page: str) -> str:
    """Let links between files of the repository lead to their pages; a file that is no page is named only."""
    places = {file.relative_to(ROOT).as_posix(): target for target, file in _taken().items()}
    places["README.md"] = "index.md"

    def swap(match: re.Match[str]) -> str:
        shown, link, anchor = match.groups()
        place = normpath(str(PurePosixPath(source).parent / link))
        # A folder stands for its README.
        target = places.get(place) or places.get(f"{place}/README.md")
        if target is None and re.fullmatch(r"docs/(?!examples/).*\.md", place):
            target = place.removeprefix("docs/")
        if target is None:
            return shown if (ROOT / place).exists() else match[0]
        return f"[{shown}]({relpath(target, str(PurePosixPath(page).parent))}{anchor or ''})"

    return _LINK.sub(swap, text)
