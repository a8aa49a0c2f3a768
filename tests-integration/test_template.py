"""One plan for every package: a new one works as it comes, and those that exist keep to it."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from new_package import register, render
from workspace import ROOT, Package, environment, packages, uv

EVERY = packages()
by_package = pytest.mark.parametrize("package", EVERY, ids=lambda package: package.name)

_LEFT_BEHIND = shutil.ignore_patterns(
    *(
        ".git",
        ".venv",
        ".tools",
        ".*_cache",
        ".hypothesis",
        "__pycache__",
        "dist",
        "site",
        "build",
        "demo-output",
    )
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workspace to which `make new` has added a package."""
    folder = tmp_path_factory.mktemp("copy") / "qicore"
    shutil.copytree(ROOT, folder, ignore=_LEFT_BEHIND)
    done = make(folder, "new", "PKG=qicore-sample", "DESC=Shows that the template works")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment()
    # The uv of this workspace serves the copy too.
    env["PATH"] = os.pathsep.join([str(Path(uv()).parent), env["PATH"]])
    # Make hands its own options down to a make that it runs; this one is on its own.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "UV"):
        env.pop(name, None)
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["test", "check", "build", "test-isolated"])
def test_a_new_package_passes(copy: Path, target: str) -> None:
    done = make(copy, target, "PKG=qicore-sample")
    assert done.returncode == 0, done.stdout + done.stderr
    if target == "build":
        built = {file.name for file in (copy / "dist").iterdir()}
        assert {"qicore_sample-0.1.0-py3-none-any.whl", "qicore_sample-0.1.0.tar.gz"} <= built


def test_the_import_contract_holds_for_a_new_package_too(copy: Path) -> None:
    module = copy / "packages" / "qicore-sample" / "src" / "qicore" / "sample" / "wrong.py"
    module.write_text("import qicore.config\n", encoding="utf-8")
    try:
        done = make(copy, "check", "PKG=qicore-sample")
    finally:
        module.unlink()
    assert done.returncode != 0
    assert "FAIL import contract" in done.stdout
    assert "qicore.sample is not allowed to import qicore.config" in done.stdout


@pytest.mark.parametrize(
    ("name", "description", "complaint"),
    [
        ("", "x", "a package's name is"),
        ("http", "x", "a package's name is"),
        ("qicore-HTTP", "x", "a package's name is"),
        ("qicore-../../x", "x", "a package's name is"),
        ("qicore-new", "", "say in one line"),
        ("qicore-new", "two\nlines", "say in one line"),
        ("qicore-base", "x", "is there already"),
    ],
)
def test_a_package_that_can_not_be_is_refused(
    copy: Path, name: str, description: str, complaint: str
) -> None:
    before = (copy / "pyproject.toml").read_text("utf-8")
    command: list[str | Path] = [
        copy / ".venv" / "bin" / "python",
        "scripts/new_package.py",
        name,
        description,
    ]
    done = subprocess.run(command, cwd=copy, env=environment(), check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert (copy / "pyproject.toml").read_text("utf-8") == before


def test_registering_twice_changes_nothing() -> None:
    root = (ROOT / "pyproject.toml").read_text("utf-8")
    once = register(root, "qicore-sample")
    assert register(once, "qicore-sample") == once
    assert register(root, "qicore-base") == root
    assert tomllib.loads(once)["tool"]["uv"]["sources"]["qicore-sample"] == {"workspace": True}


@by_package
def test_the_texts_that_are_the_same_everywhere_are(package: Package) -> None:
    plan = render(package.name, package.description)
    assert (package.folder / "LICENSE").read_text("utf-8") == plan["LICENSE"]
    head = plan["CHANGELOG.md"]
    assert (package.folder / "CHANGELOG.md").read_text("utf-8").startswith(head)
    readme = (package.folder / "README.md").read_text("utf-8")
    assert readme.startswith(f"# {package.name}\n")
    assert f"pip install {package.name}" in readme


@by_package
def test_the_files_of_the_plan_are_there(package: Package) -> None:
    everywhere = ["README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/test_face.py"]
    source = f"src/qicore/{package.component}"
    everywhere += [f"{source}/__init__.py", f"{source}/py.typed"]
    if package.name != "qicore-base":
        # The base wraps no library and takes no options.
        everywhere += [f"{source}/config.py", f"{source}/errors.py"]
    plan = render(package.name, package.description)
    assert set(everywhere) <= set(plan)
    assert [path for path in everywhere if not (package.folder / path).is_file()] == []
    assert list((package.folder / "tests" / "typing").glob("*.py"))
    assert (package.folder / "changelog.d").is_dir()


@by_package
def test_the_metadata_keeps_to_the_plan(package: Package) -> None:
    plan: dict[str, Any] = tomllib.loads(render(package.name, package.description)["pyproject.toml"])
    theirs, ours = package.project, plan
    assert theirs["build-system"] == ours["build-system"]
    assert theirs["tool"]["uv"]["build-backend"]["module-name"] == package.module
    assert set(ours["dependency-groups"]["test"]) <= set(theirs["dependency-groups"]["test"])
    assert list(theirs) == list(ours) or {*theirs} - {*ours} <= {"optional-dependencies"}
    assert {*theirs["project"]} - {*ours["project"]} <= {"optional-dependencies", "scripts", "entry-points"}
    free = {"version", "description", "keywords", "dependencies"}
    for key in ours["project"].keys() - free:
        assert theirs["project"][key] == ours["project"][key], key
    assert {"result", "railway", "errors", package.component} <= set(theirs["project"]["keywords"])
