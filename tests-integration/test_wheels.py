"""What users get: the built wheels, read, and installed where nothing of the workspace is near."""

import subprocess
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from wheels import environment_of, ours
from workspace import Package, dependants, environment, output, packages, uv

EVERY = packages()
by_package = pytest.mark.parametrize("package", EVERY, ids=lambda package: package.name)


def imports(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [python, "-I", "-c", code]
    return subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@by_package
def test_a_wheel_holds_its_portion_of_the_namespace_and_nothing_else(
    package: Package, wheels: dict[str, Path]
) -> None:
    with zipfile.ZipFile(wheels[package.name]) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    portion = f"qicore/{package.component}/"
    code = {name for name in names if ".dist-info/" not in name}
    assert all(name.startswith(portion) for name in code)
    sources = (package.folder / "src").rglob("*")
    expected = {
        file.relative_to(package.folder / "src").as_posix()
        for file in sources
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert code == expected
    assert f"{portion}py.typed" in code
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@by_package
def test_the_metadata_says_what_pyproject_says(package: Package, wheels: dict[str, Path]) -> None:
    project = package.project["project"]
    found = metadata(wheels[package.name])
    assert (found["Name"], found["Version"]) == (package.name, project["version"])
    assert found["License-Expression"] == "MIT"
    assert found["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in found.get_all("Classifier", [])
    required = {Requirement(text) for text in found.get_all("Requires-Dist", [])}
    assert {each for each in required if "extra ==" not in str(each.marker)} == {
        Requirement(text) for text in project["dependencies"]
    }
    assert set(found.get_all("Provides-Extra", [])) == set(project.get("optional-dependencies", {}))
    assert str(found.get_payload()).strip() == (package.folder / "README.md").read_text("utf-8").strip()


@by_package
def test_a_package_installs_alone(package: Package, wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment_of(package, wheels, tmp_path / "env")
    done = imports(
        python, f"import {package.module} as m; print(m.__file__); import qicore; print(qicore.__file__)"
    )
    assert done.returncode == 0, done.stderr
    place, namespace = done.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert namespace == "None", "nobody owns the namespace"
    for other in EVERY:
        if other.name not in ours(package):
            absent = imports(python, f"import {other.module}")
            assert f"No module named '{other.module}'" in absent.stderr


def test_together_they_share_the_namespace_and_leave_one_by_one(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "env"
    # Those that others stand on are the last to leave.
    first, *others = sorted(EVERY, key=lambda package: -len(dependants({package.name}, EVERY)))
    python = environment_of(first, wheels, folder)
    locked = output(
        uv(), "export", "--quiet", "--frozen", "--all-packages", "--no-dev", "--no-emit-workspace"
    )
    (folder / "all.txt").write_text(locked, encoding="utf-8")
    pip = (uv(), "pip", "install", "--quiet", "--python", python)
    output(*pip, "--requirement", folder / "all.txt", cwd=folder)
    output(*pip, "--no-deps", *(wheels[each.name] for each in others), cwd=folder)
    everything = "; ".join(f"import {each.module}" for each in EVERY)
    assert imports(python, everything).returncode == 0

    while others:
        gone = others.pop()
        output(uv(), "pip", "uninstall", "--quiet", "--python", python, gone.name, cwd=folder)
        assert imports(python, f"import {gone.module}").returncode != 0
        left = imports(python, "; ".join(f"import {each.module}" for each in [first, *others]))
        assert left.returncode == 0, left.stderr
