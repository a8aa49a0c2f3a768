"""What a change of the public face asks of the next version."""

import subprocess
from pathlib import Path

import pytest
from api import PUBLIC_MODULES, Changes, compare
from packaging.version import Version
from versions import Step, bounds, following, last_final, needed, releases, step, tag_of
from workspace import ROOT, Package, environment, packages

FACE = """
from qicore.box.inside import Box, lift

__all__ = ["Box", "lift"]
"""
INSIDE = """
class Box:
    size: int = 1

    def open(self, key: str, *, slowly: bool = False) -> str:
        return key

    def _hinge(self, side: str) -> None: ...


def lift(box: Box, height: float = 1.0) -> float:
    return height


def helper(value: int) -> int:
    return value
"""
PROJECT = """
[project]
name = "qicore-box"
version = "0.1.0"
dependencies = []
optional-dependencies = { lid = ["x"] }
"""


@pytest.fixture
def box(tmp_path: Path) -> Package:
    """A package that was released as 0.1.0."""
    folder = tmp_path / "packages" / "qicore-box"
    source = folder / "src" / "qicore" / "box"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(FACE, encoding="utf-8")
    (source / "inside.py").write_text(INSIDE, encoding="utf-8")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    who = ("-c", "user.name=A maintainer", "-c", "user.email=maintainer@qicore.invalid")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "It"), ("tag", "qicore-box-v0.1.0")):
        subprocess.run(["git", *who, *command], cwd=tmp_path, env=environment(), check=True)
    return next(iter(packages(tmp_path)))


def changed(box: Package, file: str, old: str, new: str) -> Changes:
    path = box.folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return compare(box, Version("0.1.0"), box.folder.parents[1])


INIT, BODY = "src/qicore/box/__init__.py", "src/qicore/box/inside.py"


@pytest.mark.parametrize(
    ("file", "old", "new", "broken"),
    [
        (INIT, ', "lift"]', "]", "qicore.box.lift: public object was removed"),
        (BODY, "height: float = 1.0", "height: float", "qicore.box.inside.lift(height): "),
        (BODY, "key: str, *", "*", "qicore.box.inside.Box.open(key): "),
        (BODY, "key: str,", "key: str, lock: int,", "qicore.box.inside.Box.open(lock): "),
        (BODY, "size: int = 1\n", "", "qicore.box.inside.Box.size: "),
        ("pyproject.toml", "lid =", "cover =", "the extra lid is gone"),
    ],
)
def test_a_break_takes_a_minor_version(box: Package, file: str, old: str, new: str, broken: str) -> None:
    changes = changed(box, file, old, new)
    assert any(each.startswith(broken) for each in changes.broken), changes
    assert changes.needs is Step.MINOR
    assert f"broken: {broken}" in str(changes)
    assert str(box.folder.parent) not in str(changes)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (BODY, "return key", 'return key + ""'),
        (BODY, "side: str", "other: int"),
        (BODY, "def helper(value: int)", "def helper(other: str)"),
        (BODY, "height: float = 1.0)", "height: float = 1.0, speed: float = 1.0)"),
    ],
)
def test_what_nobody_outside_can_see_breaks_nothing(box: Package, file: str, old: str, new: str) -> None:
    changes = changed(box, file, old, new)
    assert (changes.broken, changes.added) == ((), ())
    assert changes.needs is Step.PATCH


def test_a_new_name_is_told(box: Package) -> None:
    changed(box, INIT, '"lift"]', '"helper", "lift"]')
    changes = changed(box, INIT, "Box, lift", "Box, helper, lift")
    assert (changes.broken, changes.added) == ((), ("qicore.box.helper",))
    assert "added: qicore.box.helper" in str(changes)


def test_a_release_that_is_not_there_can_not_be_compared_with(box: Package) -> None:
    with pytest.raises(SystemExit, match=r"qicore-box-v7\.0\.0 can't be read"):
        compare(box, Version("7.0.0"), box.folder.parents[1])


def test_releases_are_the_tags(box: Package) -> None:
    def tag(name: str) -> None:
        subprocess.run(["git", "tag", name], cwd=box.folder, env=environment(), check=True)

    for name in ("qicore-box-v0.10.0", "qicore-box-v0.9.0", "qicore-box-v1.0.0rc1", "qicore-box-vnext"):
        tag(name)
    tag("qicore-boxes-v7.0.0")
    found = releases(box)
    assert [str(each) for each in found] == ["0.1.0", "0.9.0", "0.10.0", "1.0.0rc1"]
    assert last_final(found) == Version("0.10.0")
    assert last_final([]) is None
    assert releases(box, but="HEAD") == []
    assert tag_of(box, Version("0.9.0")) == "qicore-box-v0.9.0"


@pytest.mark.parametrize(
    ("since", "broken", "added", "least"),
    [
        ("0.3.1", False, False, Step.PATCH),
        ("0.3.1", False, True, Step.PATCH),
        ("0.3.1", True, True, Step.MINOR),
        ("1.3.1", False, False, Step.PATCH),
        ("1.3.1", False, True, Step.MINOR),
        ("1.3.1", True, False, Step.MAJOR),
    ],
)
def test_how_large_a_step_must_be(since: str, broken: bool, added: bool, least: Step) -> None:
    assert needed(Version(since), broken=broken, added=added) is least


@pytest.mark.parametrize(
    ("since", "bump", "version", "size"),
    [
        ("0.3.1", "patch", "0.3.2", Step.PATCH),
        ("0.3.1", "minor", "0.4.0", Step.MINOR),
        ("0.3.1", "major", "1.0.0", Step.MAJOR),
        ("1.9.9", "minor", "1.10.0", Step.MINOR),
        ("0.3.1", "1.0.0rc1", "1.0.0rc1", Step.MAJOR),
        ("0.3.1", "0.3.9", "0.3.9", Step.PATCH),
    ],
)
def test_a_bump_gives_a_version(since: str, bump: str, version: str, size: Step) -> None:
    found = following(Version(since), bump)
    assert str(found) == version
    assert step(Version(since), found) is size


@pytest.mark.parametrize("bump", ["", "huge", "1.2", "v1.2.3", "1.2.3.dev1", "1.2.3; id", "01.2.3x"])
def test_a_bump_that_is_none_is_refused(bump: str) -> None:
    with pytest.raises(SystemExit, match="it is major, minor, patch, or a version"):
        following(Version("0.1.0"), bump)


def test_a_first_release_has_nothing_to_count_from() -> None:
    with pytest.raises(SystemExit, match=r"say the version itself, BUMP=0\.1\.0"):
        following(None, "minor")
    assert following(None, "0.1.0") == Version("0.1.0")


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.2.3", ">=0.2.3,<0.3"),
        ("1.0.0", ">=1.0,<2"),
        ("1.4.2", ">=1.4.2,<2"),
        ("0.2.0rc1", ">=0.2.0rc1,<0.3"),
    ],
)
def test_a_bound_ends_before_the_next_break(version: str, asked: str) -> None:
    assert bounds(Version(version)) == asked


@pytest.mark.parametrize("name", sorted(PUBLIC_MODULES))
def test_public_modules_are_there_and_say_what_they_offer(name: str) -> None:
    source = ROOT / "packages" / name / "src" / "qicore" / name.removeprefix("qicore-")
    for module in PUBLIC_MODULES[name]:
        found = [
            file for file in (source / f"{module}.py", source / module / "__init__.py") if file.is_file()
        ]
        assert len(found) == 1, module
        assert "__all__ = [" in found[0].read_text(encoding="utf-8")
