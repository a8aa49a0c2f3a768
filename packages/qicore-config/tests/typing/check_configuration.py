"""Type-checked by mypy and pyright, never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from pydantic import BaseModel
from qicore.base import Failure, Result, Success
from qicore.config import Configuration, ConfigValue, Explanation, PlainValue, Source


class Model(BaseModel):
    port: int


@dataclass(frozen=True)
class Plain:
    port: int


async def check() -> None:
    config = Configuration({"port": 1})
    assert_type(Configuration.from_file("a.yaml"), Result[Configuration])
    assert_type(await Configuration.from_file_async("a.yaml"), Result[Configuration])
    assert_type(Configuration.from_string("", "yaml"), Result[Configuration])
    assert_type(Configuration.from_object(Plain(1)), Result[Configuration])
    assert_type(Configuration.from_environment("APP", dotenv=".env"), Result[Configuration])
    assert_type(config | Configuration.empty(), Configuration)
    assert_type(Configuration.merge_all([config]), Configuration)
    assert_type(config.validate(Model), Result[Model])
    assert_type(config.validate(Plain), Result[Plain])
    assert_type(config.validate_required(["a", ("b", "c.d")]), Result[Configuration])
    assert_type(config.validate_type({"a": int, "b": list[str], "c": int | None}), Result[Configuration])
    assert_type(config.validate_custom(lambda one: one.has("a")), Result[Configuration])
    assert_type(config.validate_custom(lambda one: one.get("a")), Result[Configuration])
    assert_type(config.get("a"), Result[ConfigValue])
    assert_type(config.get_or("a", b""), ConfigValue | bytes)
    assert_type(config.has("a"), bool)
    assert_type(config.section("a"), Result[Configuration])
    assert_type(config.source("a"), Result[Source])
    assert_type(config.explain(Model), list[Explanation])
    assert_type(config.to_dict(), dict[str, PlainValue])
    assert_type(config.to_string("toml"), Result[str])
    assert_type(Configuration.json_schema(Model), Result[dict[str, Any]])
    match config.validate(Model).variant:
        case Success(model):
            assert_type(model, Model)
        case Failure(error):
            assert_type(error.code, str)


def refused(config: Configuration) -> None:
    config.extra = 1  # pyright: ignore[reportAttributeAccessIssue]  # it is immutable, which mypy can't see past __setattr__
    config.merge({})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # only configurations merge
    config.get(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a key is text or a tuple
