"""Workflows and forms keep to what the workspace is; who has the right to publish runs no code of ours."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from api import PUBLIC_MODULES
from packaging.version import Version
from release import specifiers
from versions import bounds
from workspace import ROOT, packages

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
_IMPORTS = re.compile(r"^\s*from (qicore\.(\w+)\.(\w+))", re.MULTILINE)
NAMES = [package.name for package in packages()]


def read(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(file)["jobs"]
    return found


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_who_may_publish_runs_no_code_of_the_repository(file: Path) -> None:
    assert read(file)["permissions"] == {}
    for name, job in jobs(file).items():
        if "id-token" in job["permissions"]:
            assert (file.name, name) == ("release.yml", "publish")
            assert job["environment"] == "pypi"
            assert [step.get("uses", "").partition("@")[0] for step in job["steps"]] == [
                "actions/download-artifact",
                "pypa/gh-action-pypi-publish",
            ]
            assert job["steps"][-1]["with"] == {"attestations": True}


def test_a_release_waits_for_all_that_is_known_of_its_files() -> None:
    release = jobs(GITHUB / "workflows" / "release.yml")
    assert set(release["publish"]["needs"]) == release.keys() - {"publish"}
    # The files are put away before anything but the build backend has run.
    commands = [step["run"] for step in release["build"]["steps"] if "run" in step]
    assert [re.findall(r"make [\w-]+|scripts/\w+\.py", each) for each in commands] == [
        ["scripts/release_tag.py"],
        ["make build"],
    ]
    assert "make test-wheels" in [step.get("run") for step in release["files"]["steps"]]
    assert release["files"]["env"]["DIST"] == "dist"


def test_every_python_that_a_package_names_is_tried() -> None:
    named = {
        text.rpartition(" ")[2]
        for package in packages()
        for text in package.project["project"]["classifiers"]
        if re.fullmatch(r".* :: 3\.\d+", text)
    }
    ci, release = (jobs(GITHUB / "workflows" / f"{name}.yml") for name in ("ci", "release"))
    assert named <= set(ci["package"]["strategy"]["matrix"]["python"])
    assert named == set(release["files"]["strategy"]["matrix"]["python"])
    assert set(ci["dependencies"]["strategy"]["matrix"]["resolution"]) == {"lowest-direct", "highest"}


@pytest.mark.parametrize("form", ["bug.yml", "idea.yml"])
def test_forms_name_every_package(form: str) -> None:
    fields = {each["id"]: each for each in read(GITHUB / "ISSUE_TEMPLATE" / form)["body"] if "id" in each}
    assert fields["package"]["attributes"]["options"][:-1] == sorted(NAMES)


def test_the_policy_names_the_public_modules() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    beside = text.split("These modules beside it", 1)[1].split("\n- ", 1)[0]
    assert set(re.findall(r"`(qicore\.[\w.]+)`", beside)) == {
        f"{name.replace('-', '.')}.{module}" for name, modules in PUBLIC_MODULES.items() for module in modules
    }


def test_packages_import_of_each_other_only_what_is_public() -> None:
    strange: set[str] = set()
    for package in packages():
        for file in (package.folder / "src").rglob("*.py"):
            for found in re.finditer(
                r"^\s*from (qicore\.(\w+)\.(\w+))", file.read_text("utf-8"), re.MULTILINE
            ):
                allowed = PUBLIC_MODULES.get(f"qicore-{found[2]}", ())
                if found[2] != package.component and found[3] not in allowed:
                    strange.add(f"{package.name} imports {found[1]}")
    assert strange == set()


def test_bounds_between_packages_end_before_the_next_break() -> None:
    files = [*ROOT.glob("packages/*/pyproject.toml"), *ROOT.glob("docs/examples/*/pyproject.toml")]
    for file in [*files, ROOT / "templates" / "package" / "pyproject.toml.in"]:
        text = file.read_text(encoding="utf-8")
        for package in packages():
            upper = bounds(Version(package.version)).partition(",")[2]
            for asked in specifiers(text, package.name):
                assert asked.endswith(f",{upper}"), f"{file.parent.name}: {package.name}{asked}"
