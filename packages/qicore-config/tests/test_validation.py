from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.config import Configuration

SECRET = "hunter2-and-more"


class Database(BaseModel):
    model_config = ConfigDict(extra="forbid")

    host: str
    port: int = Field(5432, ge=1, le=65535)
    passphrase: SecretStr = SecretStr("default")
    pin: SecretStr | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    db: Database
    replicas: list[Database] = []
    level: Literal["debug", "info"] = "info"
    limits: dict[str, int] = {}
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    either: int | list[int] | None = None
    url: AnyUrl | None = None


def yaml(text: str) -> Configuration:
    return assert_success(Configuration.from_string(text, "yaml", layer="app.yaml"))


def fail(config: Configuration, model: type[Any] = Settings) -> QiError:
    return assert_failure(config.validate(model), "CONFIG_INVALID")


def test_a_valid_configuration_is_the_model() -> None:
    config = yaml(f"db: {{host: x, passphrase: {SECRET}}}\nlimits: {{a: 1}}\npet: {{kind: cat, lives: 9}}")
    settings = assert_success(config.validate(Settings))
    assert settings.db == Database(host="x", port=5432, passphrase=SecretStr(SECRET))
    assert (settings.limits, settings.pet) == ({"a": 1}, Cat(kind="cat", lives=9))
    settings.limits["b"] = 2  # the model's own, not the configuration's
    assert config.get("limits.b").is_failure


def test_every_bad_key_is_named_with_its_place_and_what_was_expected() -> None:
    config = yaml(
        "db:\n  prot: 1\n  port: 70000\nreplicas:\n  - host: a\n  - host: [1]\nlevel: loud\nlimits:\n  a: x\n"
    )
    environment = Configuration.from_environment(
        "APP", environ={"APP_REPLICAS__X": "1", "APP_LIMITS__B": "y"}
    )
    error = fail(config | assert_success(environment))
    assert "replicas: expected a valid list (environment variable APP_REPLICAS__X)" in error.message
    error = fail(config)
    assert error.message.split(": ", 1)[1].split("; ") == [
        "db.host: missing (app.yaml:1)",
        "db.port: expected less than or equal to 65535 (app.yaml:3)",
        "db.prot: no such key, did you mean port? (app.yaml:2)",
        "replicas.1.host: expected a valid string (app.yaml:6)",
        "level: expected 'debug' or 'info' (app.yaml:7)",
        "limits.a: expected a valid integer, unable to parse string as an integer (app.yaml:9)",
    ]
    problems: Any = error.context["problems"]
    assert problems[1] == {
        "key": "db.port", "expected": "expected less than or equal to 65535", "layer": "app.yaml", "file":
        None, "line": 3, "variable": None,
    }  # fmt: skip
    assert len(problems) == 6


def test_unions_are_told_as_alternatives() -> None:
    error = fail(yaml("db: {host: x}\neither: text\npet: {kind: cow}"))
    assert (
        "either: expected a valid integer, unable to parse string as an integer or a valid list (app.yaml:2)"
        in error.message
    )
    assert "pet: expected one of 'cat', 'dog' (app.yaml:3)" in error.message
    error = fail(yaml("db: {host: x}\npet: {kind: cat}"))
    assert error.message == "1 key is not valid: pet.lives: missing (app.yaml:2)"


def test_what_is_missing_at_the_top_has_no_place() -> None:
    assert fail(Configuration.empty()).message == "1 key is not valid: db: missing"
    assert fail(yaml("level: info")).message == "1 key is not valid: db: missing"


class Leaky(BaseModel):
    """A model whose validators show all that they are given."""

    password: str = ""
    plain: SecretStr = SecretStr("")
    tokens: dict[str, str] = {}
    items: list[SecretStr] = []

    @field_validator("password", "plain", "tokens", "items", mode="before")
    @classmethod
    def refuse(cls, value: object) -> object:
        raise ValueError(f"{value!r} is bad")


class LeakyWhole(BaseModel):
    password: str
    plain: SecretStr
    pin: SecretStr = SecretStr("1")

    @model_validator(mode="before")
    @classmethod
    def refuse(cls, values: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"{values['password']} and {values['plain']!r} are alike")


class Typed(BaseModel):
    api_key: int
    secret: AnyUrl
    auth: dict[str, SecretStr] = {}


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Leaky, {"password": SECRET}),
        (Leaky, {"plain": SECRET}),
        (Leaky, {"plain": f"it's\n{SECRET}"}),
        (Leaky, {"items": [SECRET]}),
        (LeakyWhole, {"password": SECRET, "plain": SECRET + "2"}),
        (Typed, {"api_key": SECRET, "secret": SECRET, "auth": {"x": [SECRET]}}),
        (Database, {"host": "x", "port": SECRET, "pin": [SECRET]}),
        (Settings, {"db": {"host": "x"}, "url": f"postgres:{SECRET}", "pet": {"kind": SECRET}}),
    ],
)
def test_no_secret_is_shown(model: type[BaseModel], data: dict[str, Any]) -> None:
    error = fail(Configuration(data), model)
    seen = [error, error.__cause__, error.__context__]
    assert seen[1:] == [None, None]
    assert SECRET not in str(error) + repr(error) + str(error.to_structured_data())


def test_no_secret_in_the_json_of_a_variable_is_shown() -> None:
    class Whole(BaseModel):
        one: LeakyWhole

    environ = {"APP_ONE": f'{{"password": "{SECRET}", "plain": "{SECRET}"}}'}
    config = assert_success(Configuration.from_environment("APP", environ=environ))
    error = fail(config, Whole)
    assert "one: ******** and '********' are alike (environment variable APP_ONE)" in error.message
    environ["APP_ONE"] = '{"password": "x"}'
    error = fail(assert_success(Configuration.from_environment("APP", environ=environ)), Settings)
    assert "one: no such key" in error.message


@given(st.text(min_size=4), st.sampled_from(["password", "plain"]))
def test_no_secret_is_shown_whatever_it_is(secret: str, key: str) -> None:
    if secret.isascii() and secret.lower() in "'value' is bad this value is not accepted ********":
        return
    error = fail(Configuration.from_object({key: secret}).unwrap_or(Configuration({key: SECRET})), Leaky)
    assert error.message == f"1 key is not valid: {key}: this value is not accepted (object)"


def test_true_is_no_number() -> None:
    @dataclass
    class Inner:
        size: float

    class Numbers(BaseModel):
        count: int = Field(0, validation_alias=AliasChoices("count", "number"))
        price: Decimal = Decimal(0)
        inner: Inner = field(default_factory=lambda: Inner(0))
        each: list[int] = []
        by_name: dict[str, int] = Field({}, alias="byName")
        flag: bool = False
        anything: Any = None

    assert_success(Configuration({"flag": True, "anything": True, "count": 1}).validate(Numbers))
    config = yaml("number: true\ninner: {size: false}\neach: [1, true]\nbyName:\n  a: true\nflag: true\n")
    assert fail(config, Numbers).message.split(": ", 1)[1].split("; ") == [
        "number: expected a number, not true or false (app.yaml:1)",
        "inner.size: expected a number, not true or false (app.yaml:2)",
        "each.1: expected a number, not true or false (app.yaml:3)",
        "byName.a: expected a number, not true or false (app.yaml:5)",
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    path: Path
    timeout: float = 30.0
    hosts: tuple[str, ...] = ()


def test_dataclasses_and_other_types() -> None:
    config = yaml("path: /tmp\ntimeout: 5\nhosts: [a, b]")
    assert assert_success(config.validate(Plain)) == Plain(path=Path("/tmp"), timeout=5.0, hosts=("a", "b"))
    assert "timeout: expected a valid number" in fail(config | Configuration({"timeout": "x"}), Plain).message
    assert assert_success(Configuration({"a": 1}).validate(dict[str, int])) == {"a": 1}


def test_what_pydantic_can_not_use() -> None:
    class Odd:
        pass

    error = assert_failure(Configuration({}).validate(Odd), "CONFIG_BAD_MODEL")
    assert "Odd" in error.message
    assert_failure(Configuration({"a": 1}).validate_type({"a": Odd}), "CONFIG_BAD_MODEL")
    assert_failure(Configuration.json_schema(Odd), "CONFIG_BAD_MODEL")
    assert_failure(Configuration.json_schema(Callable[[int], int]), "CONFIG_BAD_MODEL")


def test_what_a_validator_raises_is_kept_but_not_shown() -> None:
    class Broken(BaseModel):
        password: str

        @field_validator("password")
        @classmethod
        def look_up(cls, value: str) -> str:
            raise KeyError(value)

    error = assert_failure(Configuration({"password": SECRET}).validate(Broken), "CONFIG_CHECK_FAILED")
    assert error.message == "validating Broken raised KeyError"
    assert isinstance(error.__cause__, KeyError)


@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_control_flow_passes(exception: type[BaseException]) -> None:
    class Stops(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def stop(cls, value: int) -> int:
            raise exception

    def check(config: Configuration) -> bool:
        raise exception

    with pytest.raises(exception):
        Configuration({"a": 1}).validate(Stops)
    with pytest.raises(exception):
        Configuration({"a": 1}).validate_custom(check)


def test_required_keys() -> None:
    config = yaml("db:\n  host: x\n  user:\na.b: 1\nservers: [{name: a}]\nempty: ''\n")
    keys: list[Any] = ["db.host", "db", ("a.b",), "servers.0.name", "empty"]
    assert assert_success(config.validate_required(keys)) is config
    error = assert_failure(
        config.validate_required([*keys, "db.user", "db.port", "servers.1.name", "a.b", ("x", "y.z")])
    )
    assert error.code == "CONFIG_MISSING_KEYS"
    assert (
        error.message
        == '5 keys are missing: db.user: null (app.yaml:3), db.port, servers.1.name, a.b, x."y.z"'
    )
    assert error.context["keys"] == ("db.user", "db.port", "servers.1.name", "a.b", 'x."y.z"')


def test_types() -> None:
    config = yaml("i: 1\nf: 1.5\ns: x\nb: true\nn:\nl: [1, 2]\nm: {a: 1}\n")
    right: dict[str, Any] = {
        "i": int, "f": float, "s": str, "b": bool, "n": None, "l": list, "m": dict, "l.0": int, "m.a": int |
        None,
    }  # fmt: skip
    assert assert_success(config.validate_type(right)) is config
    more: dict[str, Any] = {
        "i": float,
        "l": list[int],
        "m": dict[str, int],
        "n": str | None,
        "s": Literal["x"],
    }
    assert_success(config.validate_type(more))
    wrong: dict[str, Any] = {
        "i": bool,
        "f": int,
        "s": int,
        "b": int,
        "n": str,
        "l": dict,
        "m": list[str],
        "x.y": int,
    }
    error = assert_failure(config.validate_type(wrong), "CONFIG_TYPE_MISMATCH")
    assert error.message.split(": ", 1)[1].split("; ") == [
        "i: expected bool, found int (app.yaml:1)",
        "f: expected int, found float (app.yaml:2)",
        "s: expected int, found str (app.yaml:3)",
        "b: expected int, found bool (app.yaml:4)",
        "n: expected str, found null (app.yaml:5)",
        "l: expected dict, found list (app.yaml:6)",
        "m: expected list[str], found dict (app.yaml:7)",
        "x.y: missing, expected int",
    ]


def test_custom_checks() -> None:
    config = Configuration({"low": 1, "high": 2})
    no = QiError.validation("BAD_RANGE", "low must be below high")

    def ordered(one: Configuration) -> bool:
        return one.get_or("low", 0) < one.get_or("high", 0)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # numbers

    def judged(one: Configuration) -> Result[int]:
        return Success(1) if ordered(one) else Failure(no)

    assert assert_success(config.validate_custom(ordered)) is config
    assert assert_success(config.validate_custom(judged)) is config
    wrong = config | Configuration({"low": 3})
    assert assert_failure(wrong.validate_custom(ordered), "CONFIG_REJECTED").context["check"] == "ordered"
    assert wrong.validate_custom(judged).error is no

    def raising(one: Configuration) -> bool:
        raise ValueError(SECRET)

    error = assert_failure(config.validate_custom(raising), "CONFIG_CHECK_FAILED")
    assert isinstance(error.__cause__, ValueError)
    assert SECRET not in str(error)

    def silent(one: Configuration) -> Any:
        pass  # a check that forgot its return

    assert "gave NoneType" in assert_failure(config.validate_custom(silent), "CONFIG_CHECK_FAILED").message


def test_json_schema() -> None:
    schema = assert_success(Configuration.json_schema(Settings))
    assert schema["required"] == ["db"]
    assert schema["$defs"]["Database"]["properties"]["port"]["maximum"] == 65535
    assert "default-secret" not in str(schema)
    assert assert_success(Configuration.json_schema(Plain))["required"] == ["path"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.dictionaries(st.text(max_size=3), x),
    )
)
def test_a_model_of_anything_gets_all_of_it(value: Any) -> None:
    config = assert_success(Configuration.from_object({"a": value}))
    assert assert_success(config.validate(dict[str, Any])) == {"a": value}
    assert TypeAdapter(dict[str, Any]).validate_python(config.to_dict()) == {"a": value}
