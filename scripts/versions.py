"""Versions of packages: which one was released last, and how large the step to the next must be.

A release is a tag, `qicore-http-v1.2.3`. Before 1.0 a minor version may break what was there and a patch may
add to it; from 1.0 on that takes a major and a minor one.
"""

from __future__ import annotations

import re
import sys
from enum import IntEnum

from packaging.version import Version
from workspace import Package, output

VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
"""A version as tags have it."""


class Step(IntEnum):
    """How far one version is from another."""

    PATCH = 0
    MINOR = 1
    MAJOR = 2

    def __str__(self) -> str:
        """Give the word that BUMP takes."""
        return self.name.lower()


def tag_of(package: Package, version: Version | str) -> str:
    """Return the name of the tag that releases this version."""
    return f"{package.name}-v{version}"


def releases(package: Package, *, but: str = "") -> list[Version]:
    """Return the released versions, the oldest first, without those whose tags stand on the commit `but`."""
    prefix = f"{package.name}-v"
    tags = set(output("git", "tag", "--list", f"{prefix}*", cwd=package.folder).split())
    if but:
        tags -= set(output("git", "tag", "--points-at", but, cwd=package.folder).split())
    found = [tag.removeprefix(prefix) for tag in tags]
    return sorted(Version(text) for text in found if re.fullmatch(VERSION, text))


def last_final(versions: list[Version]) -> Version | None:
    """Return the newest that is no pre-release."""
    return max((each for each in versions if not each.is_prerelease), default=None)


def needed(since: Version, *, broken: bool, added: bool) -> Step:
    """Return the smallest step after the version `since` that tells of such changes."""
    if broken:
        return Step.MAJOR if since.major else Step.MINOR
    return Step.MINOR if added and since.major else Step.PATCH


def step(since: Version, to: Version) -> Step:
    """Return which part of the version the step changes first."""
    if to.major != since.major:
        return Step.MAJOR
    return Step.MINOR if to.minor != since.minor else Step.PATCH


def following(released: Version | None, bump: str) -> Version:
    """Return the version that BUMP asks for: the last release with a part counted up, or that very one."""
    parts = {str(each): each for each in Step}
    if bump in parts:
        if released is None:
            sys.exit(f"nothing was released yet: say the version itself, BUMP=0.1.0 rather than BUMP={bump}")
        major, minor, patch = released.major, released.minor, released.micro
        return {
            Step.MAJOR: Version(f"{major + 1}.0.0"),
            Step.MINOR: Version(f"{major}.{minor + 1}.0"),
            Step.PATCH: Version(f"{major}.{minor}.{patch + 1}"),
        }[parts[bump]]
    if not re.fullmatch(VERSION, bump):
        sys.exit(f"BUMP={bump}: it is major, minor, patch, or a version like 1.2.3 or 1.2.3rc1")
    return Version(bump)


def bounds(version: Version) -> str:
    """Return what asks for this version or a later one that breaks nothing: `>=0.2,<0.3`, `>=1.4.2,<2`."""
    lower = str(version)
    if not version.is_prerelease:
        lower = lower.removesuffix(".0")
    upper = f"{version.major + 1}" if version.major else f"0.{version.minor + 1}"
    return f">={lower},<{upper}"
