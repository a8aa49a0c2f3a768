from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr
from qicore.base.testing import assert_success
from qicore.config import Configuration
from qicore.config.masking import MASK


class Inner(BaseModel):
    size: int = 5
    pin: SecretStr = SecretStr("1234")
    path: Path = Path("x.db")


class Settings(BaseModel):
    name: str
    inner: Inner = Inner()
    other: Inner = Field(default_factory=Inner, alias="otherOne")
    hook: Callable[[], None] = print
    keys: dict[str, SecretStr] = {}
    tags: list[str] = []


def shown(config: Configuration, model: type | None = None) -> dict[str, tuple[str, str]]:
    return {row.key: (row.value, str(row.source)) for row in config.explain(model)}


def test_every_key_has_its_last_source(tmp_path: Path) -> None:
    file = tmp_path / "app.yaml"
    file.write_text("db:\n  host: file\n  port: 1\nlist: [1, 2]\n")
    layers = [
        Configuration({"db": {"host": "default", "user": "app"}, "x.y": 1}, layer="defaults"),
        assert_success(Configuration.from_file(file)),
        assert_success(Configuration.from_environment("APP", environ={"APP_DB__PORT": "2"})),
    ]
    assert shown(Configuration.merge_all(layers)) == {
        '"x.y"': ("1", "defaults"),
        "db.host": ("file", f"{file}:2"),
        "db.port": ("2", "environment variable APP_DB__PORT"),
        "db.user": ("app", "defaults"),
        "list": ("[1, 2]", f"{file}:4"),
    }


def test_a_model_adds_its_defaults_and_its_secrets() -> None:
    config = Configuration(
        {"name": "x", "inner": {"size": 7}, "keys": {"a": "hunter2"}, "unknown": 1}, layer="flags"
    )
    assert shown(config, Settings) == {
        "hook": ("<builtin_function_or_method>", "default"),
        "inner.path": ("x.db", "default"),
        "inner.pin": (MASK, "default"),
        "inner.size": ("7", "flags"),
        "keys.a": (MASK, "flags"),
        "name": ("x", "flags"),
        "otherOne.path": ("x.db", "default"),
        "otherOne.pin": (MASK, "default"),
        "otherOne.size": ("5", "default"),
        "tags": ("[]", "default"),
        "unknown": ("1", "flags"),
    }


def test_secrets_inside_lists_and_inside_the_json_of_a_variable() -> None:
    class Nested(BaseModel):
        each: list[Inner] = []
        one: Inner = Inner()
        named: dict[str, str] = {}

    environ = {
        "APP_ONE": '{"size": 1, "pin": "hunter2"}',
        "APP_NAMED": '{"password": "hunter2", "url": "redis://:hunter2@h", "x": "y"}',
        "APP_CUT": '{"password": "hunter2"',
        "APP_ODD": "[{x",
    }
    config = assert_success(Configuration.from_environment("APP", environ=environ))
    config |= Configuration({"each": [{"size": 1, "pin": "hunter2"}]})
    rows = {key: value for key, (value, _) in shown(config, Nested).items()}
    assert rows == {
        "cut": MASK,
        "each": f'[{{"size": 1, "pin": "{MASK}"}}]',
        "named": f'{{"password": "{MASK}", "url": "redis://:{MASK}@h", "x": "y"}}',
        "odd": "[{x",
        "one": f'{{"size": 1, "pin": "{MASK}"}}',
    }


def test_dataclasses_have_defaults_too() -> None:
    @dataclass
    class Plain:
        host: str
        port: int = 80
        tags: list[str] = field(default_factory=lambda: ["a"])
        cached: int = field(default=0, init=False)

    assert shown(Configuration({}), Plain) == {"port": ("80", "default"), "tags": ('["a"]', "default")}


def test_an_empty_configuration_explains_nothing() -> None:
    assert Configuration.empty().explain() == []
