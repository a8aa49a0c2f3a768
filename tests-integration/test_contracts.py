"""What docs/contracts.toml says holds of the built wheels, where nothing of the workspace is near.

One environment holds every wheel, its locked dependencies, and what its tests need. There every operation is
looked at, and every test that the table names is run.
"""

import copy
import json
import os
import shutil
import subprocess
import tomllib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from bench_results import read
from contract_page import pages
from contracts import COUNTS, GIVES, TABLE, Law, Operation, load, mistakes
from wheels import copy_of, environment_with
from workspace import ROOT, environment, output, packages, uv

CONTRACTS = load()
by_operation = pytest.mark.parametrize("row", CONTRACTS.operations, ids=lambda row: row.label)
by_row = pytest.mark.parametrize(
    "row", [*CONTRACTS.operations, *CONTRACTS.laws], ids=lambda row: getattr(row, "label", row.name)
)
Outcomes = dict[str, dict[str, str]]
Raw = dict[str, Any]
Change = Callable[[Raw], object]


@pytest.fixture(scope="module")
def python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with every wheel, and with what the tests need."""
    folder = tmp_path_factory.mktemp("contracts") / "env"
    interpreter = environment_with(packages(), wheels, folder, "test")
    locked = output(uv(), "export", "--quiet", "--frozen", "--no-emit-workspace", "--group", "test")
    (folder / "locked.txt").write_text(locked, encoding="utf-8")
    install = (uv(), "pip", "install", "--quiet", "--python", interpreter)
    output(*install, "--no-deps", wheels["qicore-testkit"], cwd=folder)
    output(*install, "--constraint", folder / "locked.txt", "pytest-xdist", cwd=folder)
    return interpreter


@pytest.fixture(scope="module")
def problems(python: Path) -> dict[str, list[str]]:
    """What is wrong with each operation, and with its twins."""
    asked: list[tuple[str, str, tuple[str, ...]]] = []
    for row in CONTRACTS.operations:
        asked.append((row.python, row.gives, row.codes))
        twins = "any Result" if row.gives in GIVES else row.gives
        asked += [(name, twins, row.codes) for name in row.also]
    done = subprocess.run(
        [python, "-I", ROOT / "scripts" / "contract_probe.py"],
        input=json.dumps(asked),
        env=environment(),
        cwd=python.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def ran(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """How each test that the table names ended, on the wheels: node id -> name of the case -> outcome."""
    folder = tmp_path_factory.mktemp("tests")
    for settings in ("pyproject.toml", "conftest.py"):
        shutil.copy(ROOT / settings, folder)
    for package in packages():
        copy_of(package, folder / "packages")
    report = folder / "report.xml"
    # A run within a run of pytest is not one of its workers.
    env = {name: value for name, value in environment().items() if not name.startswith("PYTEST_")}
    command: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-n", str(min(2, os.cpu_count() or 1)), "--dist", "loadfile", f"--junit-xml={report}"]
    done = subprocess.run(
        [*command, *CONTRACTS.tests],
        cwd=folder,
        env=env,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert report.is_file(), done.stdout
    found: Outcomes = defaultdict(dict)
    for case in ET.parse(report).getroot().iter("testcase"):
        wrong = [each for each in case if each.tag in ("failure", "error", "skipped")]
        outcome = "\n".join(f"{each.tag}: {each.text or each.attrib}" for each in wrong) or "passed"
        name = f"{case.attrib['classname']}.{case.attrib['name']}"
        found[name.partition("[")[0]][name] = outcome
    return found


def cases_of(test: str, ran: Outcomes) -> dict[str, str]:
    """Return the outcome of each case of a node id, which may name one of them."""
    file, _, path = test.partition("::")
    name = ".".join([*Path(file).with_suffix("").parts, *path.split("::")])
    cases = ran.get(name.partition("[")[0], {})
    return {case: outcome for case, outcome in cases.items() if "[" not in name or case == name}


@by_operation
def test_an_operation_is_public_documented_and_typed_and_gives_what_it_should(
    row: Operation, problems: dict[str, list[str]]
) -> None:
    assert {name: problems[name] for name in (row.python, *row.also)} == {
        name: [] for name in (row.python, *row.also)
    }


@by_row
def test_what_proves_it_ran_and_passed(row: Operation | Law, ran: Outcomes) -> None:
    for test in row.tests:
        cases = cases_of(test, ran)
        assert cases, f"{test} did not run"
        assert set(cases.values()) == {"passed"}, cases


@by_operation
def test_its_tests_are_those_of_a_package(row: Operation) -> None:
    names = {each.name for each in packages()}
    assert row.distribution in names
    assert all(test.split("/")[:1] == ["packages"] and test.split("/")[1] in names for test in row.tests)


@pytest.mark.parametrize("row", [row for row in CONTRACTS.operations if row.timed], ids=lambda row: row.label)
def test_it_stays_below_its_ceiling(row: Operation) -> None:
    assert row.timed is not None
    assert 0 < row.timed.median(read()) < CONTRACTS.ceilings[row.ceiling]


def test_there_are_ninety_nine_and_twelve_ceilings() -> None:
    assert sum(COUNTS.values()) == len(CONTRACTS.operations) == 99
    assert len(CONTRACTS.ceilings) == 12
    assert len({row.label for row in CONTRACTS.operations}) == 99


def test_the_page_shows_every_operation_and_law() -> None:
    page = pages()["contracts.md"]
    for row in CONTRACTS.operations:
        assert f"| {row.name} | [`{row.python.split('.', 2)[2]}`](" in page
    assert all(law.name in page for law in CONTRACTS.laws)
    assert all(name in page for name in CONTRACTS.ceilings)


def one_more(**changes: Any) -> Change:
    """Return what adds a copy of the first row, but for the changes; None takes a field away."""

    def add(raw: Raw) -> None:
        row = {**raw["operation"][0], "name": "another", **changes}
        raw["operation"].append({key: value for key, value in row.items() if value is not None})

    return add


def one_more_ceiling(raw: Raw) -> None:
    raw["ceilings"]["patience"] = "1 s"


def one_more_law(raw: Raw) -> None:
    raw["law"].append({"name": "a", "distribution": "b", "tests": []})


def one_less(raw: Raw) -> None:
    raw["operation"].pop()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_more(), "100 operations"),
        (one_more(contract="Telephone"), "100 operations"),
        (one_more(name="success"), "twice"),
        *(
            (one_more(**{key: None}), f"no {key}")
            for key in ("python", "distribution", "gives", "codes", "tests")
        ),
        *((one_more(**{key: " "}), f"{key} is empty") for key in ("name", "python", "distribution", "codes")),
        (one_more(tests=[]), "tests is empty"),
        (one_more(tests=[""]), "tests is empty"),
        (one_more(codes=[]), "codes is empty"),
        (one_more(codes="to be said"), "why there are none"),
        (one_more(gives="no Result: "), "and why"),
        (one_more(gives="int"), "gives one of"),
        (one_more(python="qicore.http.get"), "is not in qicore-base"),
        (one_more(ceiling=None), "a benchmark a ceiling"),
        (one_more(timed=None), "a ceiling needs a benchmark"),
        (one_more(timed={"suite": "", "row": "a", "contender": "b"}), "timed is empty"),
        (one_more(ceiling="patience"), "there is no ceiling patience"),
        (one_more(test="a"), "what is test?"),
        (one_more_ceiling, "no operation has the ceiling patience"),
        (one_more_law, "law a"),
        (one_less, "98 operations"),
    ],
)
def test_no_row_may_be_empty(change: Change, told: str) -> None:
    raw = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    assert list(mistakes(raw)) == []
    changed = copy.deepcopy(raw)
    change(changed)
    assert told in "\n".join(mistakes(changed))
