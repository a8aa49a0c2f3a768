"""Compare what a package offers with its last release, and say how large a step the next version must be.

    python scripts/api.py [PACKAGE …]

Stops when the version in `pyproject.toml` is past the last release, and not far enough past it. What counts
as public is said in docs/compatibility.md.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import griffe
from packaging.version import Version
from versions import Step, last_final, needed, releases, step, tag_of
from workspace import ROOT, Package, environment, select

PUBLIC_MODULES: Mapping[str, tuple[str, ...]] = {
    "qicore-base": ("error", "jsonable", "options", "testing"),
    "qicore-logging": ("testing",),
    "qicore-web": ("middleware",),
}
"""Modules that may be imported beside the package itself, whose `__all__` is the rest of what is public."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of the public face since a release."""

    since: Version
    broken: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def needs(self) -> Step:
        """The smallest step that tells of them."""
        return needed(self.since, broken=bool(self.broken), added=bool(self.added))

    def __str__(self) -> str:
        """Give a line for each."""
        lines = [*(f"  broken: {each}" for each in self.broken), *(f"  added: {each}" for each in self.added)]
        return "\n".join(lines or ["  nothing changed"])


def compare(package: Package, since: Version, workspace: Path = ROOT) -> Changes:
    """Compare the package in this work tree with its release `since`."""
    with tempfile.TemporaryDirectory(prefix="qicore-api-") as place:
        before = Path(place)
        _unpack(tag_of(package, since), before, workspace)
        old, new = _face(package, before), _face(package, workspace)
        broken = [f"{name}: public object was removed" for name in _names(old) if name not in _names(new)]
        broken += [_said(each) for each in griffe.find_breaking_changes(old, new)]
        extras = _extras(before, package), _extras(workspace, package)
        broken += [f"the extra {name} is gone" for name in sorted(extras[0] - extras[1])]
        added = [name for name in _names(new) if name not in _names(old)]
        added += [f"the extra {name}" for name in sorted(extras[1] - extras[0])]
    return Changes(since, tuple(dict.fromkeys(broken)), tuple(added))


def _unpack(tag: str, folder: Path, workspace: Path) -> None:
    """Write the packages as they were at a tag into a folder."""
    done = subprocess.run(
        ["git", "archive", "--format=tar", tag, "packages"],
        cwd=workspace,
        env=environment(),
        check=False,
        capture_output=True,
    )
    if done.returncode:
        sys.exit(f"{tag} can't be read: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _face(package: Package, workspace: Path) -> griffe.Module:
    """Return the package as griffe reads its source, without the modules that are nobody's business."""
    sources = sorted((workspace / "packages").glob("*/src"))
    loader = griffe.GriffeLoader(search_paths=sources, allow_inspection=False)
    # What a package gives on from one that it stands on is read there.
    for name in (*sorted(name for name in package.requires if name.startswith("qicore-")), package.name):
        loader.load(name.replace("-", "."))
    loader.resolve_aliases(implicit=False, external=False)
    face: griffe.Module = loader.modules_collection[package.module]
    kept = {*PUBLIC_MODULES.get(package.name, ()), *map(str, face.exports or ())}
    for name in face.members.keys() - kept:
        del face.members[name]
    return face


def _names(face: griffe.Module) -> list[str]:
    """Return the public names of a package and of its public modules."""
    modules = [face, *(each for each in face.members.values() if each.is_module and not each.is_alias)]
    return sorted(f"{module.path}.{name}" for module in modules for name in module.exports or ())


def _extras(workspace: Path, package: Package) -> set[str]:
    file = workspace / "packages" / package.name / "pyproject.toml"
    project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return set(project.get("optional-dependencies", {}))


def _said(breakage: griffe.Breakage) -> str:
    """Return one line on a breakage, without the places of files."""
    what = breakage.kind.value[0].lower() + breakage.kind.value[1:]
    place = breakage.obj.path
    parameter = getattr(breakage.new_value, "name", None) or getattr(breakage.old_value, "name", None)
    is_parameter = isinstance(breakage.new_value or breakage.old_value, griffe.Parameter)
    return f"{place}({parameter}): {what}" if is_parameter else f"{place}: {what}"


def judge(package: Package) -> bool:
    """Say what changed since the last release before this commit, and whether the version says so too."""
    version = Version(package.version)
    earlier = [each for each in releases(package, but="HEAD") if each <= version]
    since = last_final(earlier)
    if since is None:
        sys.stdout.write(f"{package.name}: nothing was released yet, so there is nothing to compare with\n")
        return True
    changes = compare(package, since)
    sys.stdout.write(f"{package.name} since {since}: at least a {changes.needs} step\n{changes}\n")
    if version == since or step(since, version) >= changes.needs:
        return True
    sys.stdout.write(f"  {version} is a {step(since, version)} step only\n")
    return False


def main(names: list[str]) -> None:
    """Judge the packages; the last line names those whose version is too small a step."""
    failed = [package.name for package in select(names) if not judge(package)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
