"""Rules of the house that no linter knows."""

import re
import tomllib
from pathlib import Path

import pytest
from workspace import ROOT, Package, output, packages

EVERY = packages()
by_package = pytest.mark.parametrize("package", EVERY, ids=lambda package: package.name)
# What calls something outside goes through a breaker, and so may stand on the resilience package beside the
# base (docs/designs/0008).
ON_RESILIENCE = {"qicore-http", "qicore-ai", "qicore-mcp", "qicore-database", "qicore-cache", "qicore-web"}


def texts() -> dict[str, str]:
    """Return the text files that are, or are about to be, committed."""
    found: dict[str, str] = {}
    for name in output("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0"):
        file = ROOT / name
        if name and file.is_file():
            data = file.read_bytes()
            if b"\0" not in data:
                found[name] = data.decode("utf-8")
    return found


@by_package
def test_a_package_stands_on_the_base_and_on_no_sibling(package: Package) -> None:
    siblings = package.requires & {each.name for each in EVERY}
    allowed = {"qicore-resilience"} if package.name in ON_RESILIENCE else set[str]()
    if package.name == "qicore-base":
        assert package.requires == frozenset()
    else:
        assert "qicore-base" in siblings
        assert siblings - {"qicore-base"} <= allowed


@by_package
def test_a_module_is_one_idea(package: Package) -> None:
    long = {
        file.relative_to(package.folder).as_posix(): lines
        for file in (package.folder / "src").rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}


@by_package
def test_nobody_owns_the_namespace(package: Package) -> None:
    assert [file.name for file in (package.folder / "src").iterdir()] == ["qicore"]
    assert [
        file.name for file in (package.folder / "src" / "qicore").iterdir() if file.name != "__pycache__"
    ] == [package.component]


def test_the_index_is_the_readers_own() -> None:
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    sources = {tuple(each["source"].items()) for each in tomllib.loads(lock)["package"]}
    registries = {value for source in sources for kind, value in source if kind == "registry"}
    assert len(registries) == 1, "everything comes from the one default index"
    hosts = {match[1] for match in re.finditer(r'"https?://([^/"]+)', lock)}
    told = {
        (name, host) for name, text in texts().items() if name != "uv.lock" for host in hosts if host in text
    }
    assert told == set()
    settings = re.compile(r"(extra-index|index-url|find-links|\[\[tool\.uv\.index)")
    here = Path(__file__).name
    assert {
        name for name, text in texts().items() if settings.search(text) and not name.endswith(here)
    } == set()


def test_no_text_names_a_place_on_the_writers_machine() -> None:
    place = re.compile(r"(?<![\w.~-])/(?:root|work|home/[a-z]+|Users/[A-Za-z]+|workspace)/[\w.-]+")
    found = {f"{name}: {match[0]}" for name, text in texts().items() for match in place.finditer(text)}
    assert found == set()
    assert not {name for name, text in texts().items() if str(ROOT) + "/" in text}
