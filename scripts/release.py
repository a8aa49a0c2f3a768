"""Prepare the release of a package: version, changelog, bounds, lock, and the commit that the tag goes on.

    python scripts/release.py PACKAGE BUMP

BUMP is major, minor or patch, counted from the last release, or the version itself: 1.2.3, 1.2.3rc1.
Nothing is written before all of it is known to be right, and nothing is left of it when writing fails.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from api import Changes, compare
from changelog import command as towncrier
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from versions import Step, bounds, following, last_final, needed, releases, step, tag_of
from workspace import ROOT, Package, call, output, packages, passes, select, uv

_TOLD = {"removed": "broken", "added": "added"}


def fragments(package: Package) -> list[Path]:
    """Return the fragments that wait for a release."""
    return sorted((package.folder / "changelog.d").glob("*.md"))


def has_section(package: Package) -> bool:
    """Return whether the changelog has a section of the version in pyproject.toml."""
    return f"\n## {package.version} " in (package.folder / "CHANGELOG.md").read_text(encoding="utf-8")


def wanted(package: Package, changes: Changes | None, since: Version) -> tuple[Step, str]:
    """Return the smallest step that will do, and why: by what griffe finds, and by what the fragments say."""
    kinds = {_TOLD.get(file.name.split(".")[-2], "") for file in fragments(package)}
    by_kinds = needed(since, broken="broken" in kinds, added="added" in kinds)
    by_face = changes.needs if changes else Step.PATCH
    why = f"the public face changed:\n{changes}" if by_face >= by_kinds else "the fragments say so"
    return max(by_kinds, by_face), why


def refused(package: Package, every: Sequence[Package]) -> str | None:
    """Return why the package can't be released now, whatever the version."""
    if dirty := output("git", "status", "--porcelain"):
        return f"the work tree has changes: commit them or put them away first\n{dirty.rstrip()}"
    if not fragments(package):
        return f"packages/{package.name}/changelog.d has no fragment: there is nothing to tell"
    if has_section(package) and Version(package.version) not in releases(package):
        tag = tag_of(package, package.version)
        return f"{package.name} {package.version} is prepared already: tag it {tag} first"
    for sibling in (each for each in every if each.name in package.requires):
        if Version(sibling.version) not in releases(sibling):
            return (
                f"release {sibling.name} first: {package.name} needs it, and {sibling.version} is no release"
            )
        if fragments(sibling):
            return (
                f"release {sibling.name} first: {package.name} was tried with changes that are in no release"
            )
    return None


def decided(package: Package, bump: str) -> Version:
    """Return the version to release; stop when it is none that may follow."""
    released = releases(package)
    since = last_final(released)
    version = following(since, bump)
    if released and version <= released[-1]:
        sys.exit(f"{package.name} {released[-1]} was released already, and {version} is not past it")
    if since is not None:
        least, why = wanted(package, compare(package, since), since)
        if step(since, version) < least:
            sys.exit(f"{version} is too small a step from {since}: it must be a {least} one, as {why}")
    return version


def with_version(text: str, version: Version) -> str:
    """Return a pyproject.toml with another version of the project."""
    return re.sub(r'(?m)^version = "[^"]*"$', f'version = "{version}"', text, count=1)


def with_bounds(text: str, name: str, specifier: str) -> str:
    """Return a pyproject.toml whose requirements on `name` have another specifier."""
    return re.sub(rf'"({re.escape(name)}(?:\[[^\]]*\])?)[<>=!~][^";]*', rf'"\g<1>{specifier}', text)


def specifiers(text: str, name: str) -> list[str]:
    """Return the specifiers of the requirements on `name` in a pyproject.toml."""
    return re.findall(rf'"{re.escape(name)}(?:\[[^\]]*\])?([<>=!~][^";]*)', text)


def move_dependants(package: Package, version: Version, every: Sequence[Package]) -> list[str]:
    """Let all that would shut the version out ask for it; return the packages among it."""
    moved: list[str] = []
    by_folder = {each.folder: each for each in every}
    files = [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("docs/examples/*/pyproject.toml")]
    for file in sorted([*files, *ROOT.glob("templates/package/pyproject.toml.in")]):
        text = file.read_text(encoding="utf-8")
        if all(
            SpecifierSet(each).contains(version, prereleases=True) for each in specifiers(text, package.name)
        ):
            continue
        file.write_text(with_bounds(text, package.name, bounds(version)), encoding="utf-8")
        if dependant := by_folder.get(file.parent):
            note = dependant.folder / "changelog.d" / f"+{package.name}-{version}.changed.md"
            note.parent.mkdir(exist_ok=True)
            note.write_text(f"Needs {package.name} {version} or newer.\n", encoding="utf-8")
            moved.append(dependant.name)
    return moved


def write(package: Package, version: Version, every: Sequence[Package]) -> list[str]:
    """Write the release and commit it; return the packages whose bounds moved."""
    file = package.folder / "pyproject.toml"
    text = with_version(file.read_text(encoding="utf-8"), version)
    for sibling in (each for each in every if each.name in package.requires):
        # It was tried with these and with none older.
        text = with_bounds(text, sibling.name, bounds(Version(sibling.version)))
    file.write_text(text, encoding="utf-8")
    moved = move_dependants(package, version, every)
    fresh = next(each for each in packages() if each.name == package.name)
    call(*towncrier(fresh, "--yes"))
    call(sys.executable, ROOT / "scripts" / "facts.py")
    call(uv(), "lock", "--quiet")
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--message", f"Release {package.name} {version}")
    return moved


def main(name: str, bump: str) -> None:
    """Prepare the release, and say what is left to do."""
    if not name or not bump:
        sys.exit("say what to release: make release PKG=qicore-x BUMP=minor (or major, patch, 1.2.3)")
    package, every = select([name])[0], packages()
    if reason := refused(package, every):
        sys.exit(reason)
    version = decided(package, bump)
    try:
        moved = write(package, version, every)
    except BaseException:
        # The tree was clean, so all that is there now was written here.
        passes("git", "reset", "--quiet", "--hard")
        passes("git", "clean", "--quiet", "--force", "-d", "packages")
        raise
    tag = tag_of(package, version)
    sys.stdout.write(f"{package.name} {version} is committed. When that commit is on main:\n")
    sys.stdout.write(f"  git tag {tag} && git push origin {tag}\n")
    if moved:
        sys.stdout.write(f"These ask for it now, and are to be released after it: {' '.join(moved)}\n")


if __name__ == "__main__":
    main(*[*sys.argv[1:], "", ""][:2])
