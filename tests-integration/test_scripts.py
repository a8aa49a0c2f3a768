"""The scripts behind the make targets."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from changed import affected
from isolated import chosen, outside, resolved, unpinned, untried
from release_tag import released
from wheels import only, ours, unlike
from workspace import ROOT, Package, dependants, environment, output, select, uv


def made(
    name: str,
    *requires: str,
    version: str = "0.1.0",
    folder: Path = ROOT,
    extras: Mapping[str, Sequence[str]] = {},
    tests: Sequence[str] = (),
) -> Package:
    project = {"version": version, "dependencies": list(requires), "optional-dependencies": extras}
    return Package(name, folder, {"project": project, "dependency-groups": {"test": tests}})


EVERY = [
    made("qicore-base"),
    made("qicore-resilience", "qicore-base>=0.1,<0.2"),
    made("qicore-config", "qicore-base>=0.1,<0.2", "pydantic>=2", tests=["pytest>=9"]),
    made("qicore-http", "qicore-base>=0.1,<0.2", "qicore_resilience[testing]>=0.1", "httpx"),
]
NAMES = [package.name for package in EVERY]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["packages/qicore-config/src/qicore/config/load.py"], ["qicore-config"]),
        (["packages/qicore-resilience/README.md"], ["qicore-resilience", "qicore-http"]),
        (["packages/qicore-base/pyproject.toml"], NAMES),
        (["uv.lock"], NAMES),
        (["docs/index.md", "packages/qicore-http/x"], ["qicore-http"]),
        (["packages/qicore-config/x", "testkit/pyproject.toml"], NAMES),
        (["README.md", "benchmarks/bench_base.py"], []),
        (["packages/qicore-gone/x"], []),
        ([], []),
    ],
)
def test_a_change_reaches_what_stands_on_it(files: list[str], names: list[str]) -> None:
    assert affected(files, EVERY) == names


def test_dependants_reach_through_others() -> None:
    assert dependants(["qicore-resilience"], EVERY) == {"qicore-resilience", "qicore-http"}
    assert dependants([], EVERY) == set()


def test_what_an_extra_or_a_test_needs_reaches_it_too() -> None:
    cache = made("qicore-cache", "msgspec", extras={"fleet": ["qicore-resilience>=0.1"]})
    logging = made("qicore-logging", tests=["qicore-config"])
    every = [*EVERY, cache, logging]
    assert affected(["packages/qicore-resilience/x"], every) == [
        "qicore-resilience",
        "qicore-http",
        "qicore-cache",
    ]
    assert dependants(["qicore-config"], every) == {"qicore-config", "qicore-logging"}
    assert cache.requires == {"msgspec"}, "what an extra needs is not needed at run time"


def test_a_wheel_stands_on_what_it_needs_at_run_time() -> None:
    http = select(["qicore-http"])[0]
    assert ours(http) == ["qicore-base", "qicore-http", "qicore-resilience"]
    assert set(ours(http)) <= set(ours(http, tests=True))


LOCKED = """-e ./packages/qicore-base
h2==4.4.1 ; python_version > '3'
httpx==0.28.1
pytest==9.2.0
"""


def test_only_what_a_package_needs_at_run_time_is_chosen_anew() -> None:
    http = made("qicore-http", "qicore-base>=0.1", "httpx>=0.28,<1", extras={"http2": ["h2[x]>=4"]})
    needed = outside(http)
    assert needed == {"httpx": "httpx>=0.28,<1", "h2": "h2[x]>=4"}
    assert unpinned(LOCKED, frozenset(needed)) == "pytest==9.2.0\n"
    assert chosen(needed, LOCKED) == {"h2": "4.4.1", "httpx": "0.28.1"}


@pytest.mark.parametrize(
    ("requirement", "version", "good"),
    [
        ("h2>=4,<5", "4.0.0", True),
        ("h2>=4.3,<5", "4.3", True),
        ("h2 >= 4.3.0", "4.3", True),
        ("h2>=4,<5", "4.3.0", False),
        ("h2>=4.30", "4.3", False),
        ("h2<5", "4.3", True),
    ],
)
def test_a_lower_bound_is_a_version_that_was_tried(requirement: str, version: str, good: bool) -> None:
    assert untried({"h2": requirement}, {"h2": version}) == (
        [] if good else [f"{requirement}: the oldest that can be had here is {version}"]
    )


def test_the_oldest_dependencies_are_the_ones_that_are_declared(tmp_path: Path) -> None:
    cli = select(["qicore-cli"])[0]
    good, told = resolved(cli, "lowest-direct", sys.executable, tmp_path)
    assert good, told
    bound = re.search(r"click>=([\d.]+)", " ".join(cli.requirements))
    assert bound is not None
    assert told.split() in (["click", bound[1]], ["click", f"{bound[1]}.0"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist and the wheel of the base."""
    folder = tmp_path_factory.mktemp("files")
    output(uv(), "build", "--quiet", "--package", "qicore-base", "--out-dir", folder)
    return folder


def test_the_wheel_of_the_sdist_is_the_wheel(files: Path, tmp_path: Path) -> None:
    wheel = only(files, "qicore-base", "-*.whl")
    sdist = only(files, "qicore-base", "-*.tar.gz")
    assert unlike(sdist, wheel, tmp_path) == []


def test_a_wheel_that_has_more_than_its_sdist_is_told_of(files: Path, tmp_path: Path) -> None:
    wheel = Path(shutil.copy(only(files, "qicore-base", "-*.whl"), tmp_path))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("qicore/base/more.py", "")
    again = tmp_path / "again"
    again.mkdir()
    assert unlike(only(files, "qicore-base", "-*.tar.gz"), wheel, again) == ["qicore/base/more.py"]


def test_files_of_two_versions_are_not_taken_for_a_release(files: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no files qicore_base"):
        only(tmp_path, "qicore-base", "-*.whl")
    for version in ("0.1.0", "0.2.0"):
        (tmp_path / f"qicore_base-{version}-py3-none-any.whl").touch()
    with pytest.raises(SystemExit, match="2 files qicore_base"):
        only(tmp_path, "qicore-base", "-*.whl")


@pytest.fixture
def http(tmp_path: Path) -> Package:
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2030-01-02)\n", encoding="utf-8")
    return made("qicore-http", version="1.2.3", folder=tmp_path)


def test_a_tag_names_the_package_to_release(http: Package) -> None:
    assert released("qicore-http-v1.2.3", [*EVERY[:3], http]) is http


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("v1.2.3", "no release tag"),
        ("qicore-http-1.2.3", "no release tag"),
        ("qicore-http-v1.2.3;id", "no release tag"),
        ("qicore-http-v1.2.3\n", "no release tag"),
        ("qicore-nothing-v1.2.3", "no such package"),
        ("qicore-http-v1.2.4", "pyproject.toml says 1.2.3"),
    ],
)
def test_a_tag_that_releases_nothing_is_refused(http: Package, tag: str, complaint: str) -> None:
    with pytest.raises(SystemExit) as caught:
        released(tag, [http])
    assert complaint in str(caught.value)


def test_a_release_without_its_changelog_is_refused(http: Package) -> None:
    (http.folder / "CHANGELOG.md").write_text("# Changelog\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="make changelog PKG=qicore-http"):
        released("qicore-http-v1.2.3", [http])


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A workspace with nothing but what get_uv.py reads."""
    for name in ("scripts/get_uv.py", "pyproject.toml", "uv.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


# Runs get_uv.py as on a Debian without python3-pip and python3-venv: this interpreter starts neither.
WITHOUT_PIP = """
import runpy, subprocess, sys
real = subprocess.run
def run(command, **options):
    if str(command[0]) == sys.executable:
        raise OSError("no pip here")
    return real(command, **options)
subprocess.run = run
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def get_uv(folder: Path, path: Path, *how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", *how, str(folder / "scripts" / "get_uv.py")]
    env = environment(PATH=str(path))
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True)


def program(folder: Path, text: str) -> Path:
    folder.mkdir()
    file = folder / "uv"
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return folder


def spoil_lock(folder: Path) -> None:
    """Let uv.lock name other hashes for uv."""
    lock = folder / "uv.lock"
    head, mark, tail = lock.read_text(encoding="utf-8").partition('name = "uv"\n')
    own, following, rest = tail.partition("[[package]]")
    own = re.sub(r"sha256:\w{4}", "sha256:0000", own)
    lock.write_text(head + mark + own + following + rest, encoding="utf-8")


def test_the_uv_on_path_is_taken_when_it_is_new_enough(bare: Path) -> None:
    done = get_uv(bare, Path(uv()).resolve().parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert (bare / ".tools" / "bin" / "uv").resolve() == Path(uv()).resolve()
    assert get_uv(bare, bare).returncode == 0, "it is there now, on PATH or not"


@pytest.mark.parametrize("how", [(), ("-c", WITHOUT_PIP)], ids=["with pip", "without pip"])
def test_where_no_uv_is_fit_the_locked_release_is_fetched(bare: Path, how: tuple[str, ...]) -> None:
    done = get_uv(bare, program(bare / "path", "echo 'uv 0.1.2 (too old)'"), *how)
    assert done.returncode == 0, done.stderr
    fetched = bare / ".tools" / "bin" / "uv"
    said = subprocess.run([fetched, "--version"], capture_output=True, text=True, check=True).stdout
    assert f"uv {said.split()[1]} into" in done.stderr
    assert not fetched.is_symlink()
    assert [file.name for file in (bare / ".tools").iterdir()] == ["bin"], "no rest is left behind"
    assert [file.name for file in fetched.parent.iterdir()] == ["uv"]


@pytest.mark.parametrize("says", ["echo 'uv 0.1.2 (too old)'", "echo 'pip 99.0'", "exit 1", "echo uv"])
def test_nothing_unfit_is_taken_and_every_reason_is_told(bare: Path, says: str) -> None:
    spoil_lock(bare)
    done = get_uv(bare, program(bare / "path", says), "-c", WITHOUT_PIP)
    assert done.returncode != 0
    assert "by environment: no pip here" in done.stderr
    assert "by pip: no pip here" in done.stderr
    assert "by lock: the file is not the one in uv.lock" in done.stderr
    assert not (bare / ".tools" / "bin" / "uv").exists()
