import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration


def read(environ: dict[str, str], prefix: str = "APP") -> Configuration:
    return assert_success(Configuration.from_environment(prefix, environ=environ))


def fail(environ: dict[str, str], code: str) -> QiError:
    return assert_failure(Configuration.from_environment("APP", environ=environ), code)


def test_names_become_keys() -> None:
    environ = {
        "APP_DB__HOST": "x",
        "APP_DB__POOL__MAX_SIZE": "5",
        "APP_LOG_LEVEL": "debug",
        "APPLE": "no",
        "APP": "no",
    }
    expected = {"db": {"host": "x", "pool": {"max_size": "5"}}, "log_level": "debug"}
    assert read(environ).to_dict() == expected
    assert read(environ, "APP_").to_dict() == expected
    assert read({"X__Y": "1"}, "").to_dict() == {"x": {"y": "1"}}
    other = Configuration.from_environment("APP", separator="-", environ={"APP_A-B__C": "1"})
    assert assert_success(other).to_dict() == {"a": {"b__c": "1"}}
    assert read({"APP_": "1"}) == Configuration.empty()


def test_names_that_are_no_paths_stay_whole() -> None:
    environ = {"__CF_USER_TEXT_ENCODING": "1", "_": "2", "A____B": "3", "ProgramFiles(x86)": "4", "B__": "5"}
    assert read(environ, "").to_dict() == {name.lower(): value for name, value in environ.items()}


def test_the_source_is_the_variable() -> None:
    source = assert_success(read({"APP_DB__HOST": "x"}).source("db.host"))
    assert (source.layer, source.variable, source.file, source.line) == (
        "environment",
        "APP_DB__HOST",
        None,
        None,
    )
    assert str(source) == "environment variable APP_DB__HOST"


@pytest.mark.parametrize("names", [("APP_A", "APP_A__B"), ("APP_A__B", "APP_A"), ("APP_A__B__C", "APP_A")])
def test_a_value_that_is_also_a_section_is_a_conflict(names: tuple[str, str]) -> None:
    error = fail(dict.fromkeys(names, "hunter2"), "CONFIG_CONFLICT")
    assert all(name in error.message for name in names)
    assert "hunter2" not in str(error.to_structured_data())


def test_names_that_differ_in_case_only() -> None:
    assert read({"APP_a": "1", "APP_A": "1"}).to_dict() == {"a": "1"}
    assert "the same key" in fail({"APP_a": "1", "APP_A": "2"}, "CONFIG_CONFLICT").message
    assert "APP_A__B" in fail({"APP_a__b": "1", "APP_A__B": "2"}, "CONFIG_CONFLICT").message


def test_what_is_no_utf_8() -> None:
    assert "APP_A" in fail({"APP_A": "\udcff"}, "INVALID_CONFIG").message
    assert "lone surrogate" in fail({"APP_\udcff": "x"}, "INVALID_CONFIG").message


def test_bounds_and_options() -> None:
    fail({"APP_" + "__".join("A" * 100): "x"}, "CONFIG_TOO_DEEP")
    limits = ConfigLimits(max_values=1)
    two = Configuration.from_environment("APP", environ={"APP_A": "1", "APP_B": "2"}, limits=limits)
    assert_failure(two, "CONFIG_TOO_LARGE")
    assert_failure(Configuration.from_environment("APP", separator=""), "INVALID_CONFIG")


def test_a_dotenv_file_fills_in_and_never_overrides(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("APP_A=file\nAPP_B=file\nOTHER=x\nAPP_C=${APP_A}-${OTHER}\n")
    config = assert_success(Configuration.from_environment("APP", dotenv=file, environ={"APP_A": "real"}))
    assert config.to_dict() == {"a": "real", "b": "file", "c": "real-x"}
    assert str(assert_success(config.source("a"))) == "environment variable APP_A"
    assert str(assert_success(config.source("b"))) == f"{file}:2 (APP_B)"
    assert "APP_B" not in os.environ


def test_a_dotenv_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    config = Configuration.from_environment("APP", dotenv=tmp_path / ".env", environ={"APP_A": "1"})
    assert assert_success(config).to_dict() == {"a": "1"}


def test_a_dotenv_file_that_is_bad_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("APP_A=1\nAPP_B='hunter2\n")
    error = assert_failure(
        Configuration.from_environment("APP", dotenv=file, environ={}), "CONFIG_PARSE_ERROR"
    )
    assert f"{file}:2" in error.message
    assert "hunter2" not in str(error.to_structured_data())
    file.write_text("APP_A=1\nAPP_A__B=2\n")
    error = assert_failure(Configuration.from_environment("APP", dotenv=file, environ={}), "CONFIG_CONFLICT")
    assert f"{file}:2" in error.message
    error = assert_failure(
        Configuration.from_environment("APP", dotenv=tmp_path, environ={}), "CONFIG_UNREADABLE"
    )
    assert str(tmp_path) in error.message


def test_the_real_environment_of_a_real_process() -> None:
    code = (
        "from qicore.config import Configuration\n"
        "config = Configuration.from_environment('QI').unwrap()\n"
        "print(config.to_dict(), Configuration.from_environment().unwrap().has('qi_db.host'))"
    )
    env = {**os.environ, "QI_DB__HOST": "здесь", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["{'db':", "{'host':", "'здесь'}}", "True"]


class Pool(BaseModel):
    size: int
    tags: list[str] = []


class Settings(BaseModel):
    pool: Pool
    ports: list[int] = []
    weights: dict[str, float] = {}
    names: set[str] = set()
    either: list[int] | int | None = None
    text: str = ""
    debug: bool = False


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("APP_POOL__SIZE", "7", "pool", Pool(size=7)),
        ("APP_POOL", '{"size": 7, "tags": ["a"]}', "pool", Pool(size=7, tags=["a"])),
        ("APP_PORTS", "[1, 2]", "ports", [1, 2]),
        ("APP_PORTS", "1, 2", "ports", [1, 2]),
        ("APP_PORTS", "", "ports", []),
        ("APP_WEIGHTS", '{"a": 1.5}', "weights", {"a": 1.5}),
        ("APP_NAMES", "a,b", "names", {"a", "b"}),
        ("APP_EITHER", "3", "either", 3),
        ("APP_TEXT", "[1, 2]", "text", "[1, 2]"),
        ("APP_DEBUG", "true", "debug", True),
        ("APP_DEBUG", "on", "debug", True),
    ],
)
def test_a_model_reads_text_as_what_it_needs(name: str, value: str, key: str, expected: object) -> None:
    environ = {"APP_POOL__SIZE": "1"} if not name.startswith("APP_POOL") else {}
    settings = assert_success(read({**environ, name: value}).validate(Settings))
    assert getattr(settings, key) == expected


def test_lists_nested_in_what_was_json() -> None:
    settings = assert_success(read({"APP_POOL__SIZE": "1", "APP_POOL__TAGS": "a,b"}).validate(Settings))
    assert settings.pool.tags == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[1, hunter2", "expected a valid list"),
        ("1,hunter2", "expected a valid integer"),
        ('{"a": 1}', "expected a valid integer"),
        ("[" * 100_000, "expected a valid list"),
    ],
)
def test_text_that_can_not_be_read_names_its_variable(value: str, says: str) -> None:
    error = assert_failure(
        read({"APP_POOL__SIZE": "1", "APP_PORTS": value}).validate(Settings), "CONFIG_INVALID"
    )
    assert "environment variable APP_PORTS" in error.message
    assert says in error.message
    assert "hunter2" not in str(error.to_structured_data())


def test_only_variables_are_read_as_more_than_text() -> None:
    config = Configuration({"pool": {"size": 1}, "ports": "1,2"})
    assert "ports: expected a valid list (object)" in assert_failure(config.validate(Settings)).message


def test_types_of_text() -> None:
    config = read({"APP_PORT": "80", "APP_HOSTS": "a,b", "APP_RATE": "x"})
    assert_success(config.validate_type({"port": int, "hosts": list[str], "rate": str}))
    error = assert_failure(config.validate_type({"rate": float, "port": bool}), "CONFIG_TYPE_MISMATCH")
    assert error.message == (
        "2 keys are not valid: rate: expected float, found str (environment variable APP_RATE); "
        "port: expected bool, found str (environment variable APP_PORT)"
    )
