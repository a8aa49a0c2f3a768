from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator
from qicore.ai import LLMClient
from qicore.base import ErrorCategory
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.model_server import ModelServer, Reply

from .conftest import Memory, Opens


class City(BaseModel):
    name: str
    people: int = Field(ge=0)


@dataclass
class Pair:
    a: int
    b: list[City]


def says(*texts: str) -> list[Reply]:
    return [Reply(pieces=[text]) for text in texts]


async def test_a_value(provider: str, server: ModelServer, client: LLMClient) -> None:
    server.say(*says('{"name": "Rome", "people": 2}'))
    assert assert_success(await client.structured("A city", City)) == City(name="Rome", people=2)
    asked = server.asked[-1]
    schema = asked["format"] if provider == "ollama" else asked["response_format"]["json_schema"]["schema"]
    assert schema == City.model_json_schema()


async def test_other_types(server: ModelServer, client: LLMClient) -> None:
    server.say(*says('```json\n{"a": 1, "b": []}\n```'))
    assert assert_success(await client.structured("A pair", Pair)) == Pair(1, [])
    server.say(*says("[1, 2]"))
    assert assert_success(await client.structured("Numbers", list[int])) == [1, 2]


async def test_the_model_may_repair_its_answer(server: ModelServer, client: LLMClient) -> None:
    server.say(*says("Rome!", '{"name": "Rome", "people": -1}', '{"name": "Rome", "people": 1}'))
    assert assert_success(await client.structured("A city", City)).people == 1
    said = [message["content"] for message in server.asked[-1]["messages"]]
    assert said[0] == "A city"
    assert said[1] == "Rome!"
    assert "no valid City" in said[2]
    assert "people: Input should be greater than or equal to 0" in said[4]


async def test_but_not_for_ever(server: ModelServer, client: LLMClient) -> None:
    server.say(*says("sesame"))
    error = assert_failure(await client.structured("A city", City, attempts=2), "INVALID_OUTPUT")
    assert len(server.asked) == 2
    assert error.context["attempts"] == 2
    assert "sesame" not in error.message


@pytest.mark.parametrize("attempts", [0, -1, 1.5, None])
async def test_attempts_are_a_number(client: LLMClient, attempts: Any) -> None:
    assert_failure(await client.structured("A city", City, attempts=attempts), "INVALID_PROMPT")


async def test_a_failure_is_no_reason_to_ask_again(server: ModelServer, client: LLMClient) -> None:
    elsewhere = client.with_config(model="none").unwrap()
    assert_failure(await elsewhere.structured("A city", City), "MODEL_NOT_FOUND")
    assert len(server.asked) == 1


async def test_types_without_a_schema(client: LLMClient) -> None:
    class Odd:
        pass

    nothing: Any = 5
    for into in (Odd, nothing):
        error = assert_failure(await client.structured("Something", into), "INVALID_PROMPT")
        assert "an answer can't be" in error.message


async def test_a_type_that_fails(server: ModelServer, client_of: Opens) -> None:
    class Odd(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def look(cls, a: int) -> int:
            raise KeyError("inside")

    server.say(*says('{"a": 1}'))
    for client in (client_of(), client_of(cache=Memory())):
        error = assert_failure(await client.structured("Something", Odd), "KEY_ERROR")
        assert error.category is ErrorCategory.UNKNOWN
        assert isinstance(error.__cause__, KeyError)


async def test_the_cache_keeps_only_answers_that_fit(server: ModelServer, client_of: Opens) -> None:
    client = client_of(cache=Memory())
    server.say(*says("sesame"))
    assert_failure(await client.structured("A city", City, attempts=2), "INVALID_OUTPUT")
    server.say(*says('{"name": "Rome", "people": 2}'))
    for _ in range(2):
        assert_success(await client.structured("A city", City))
    assert len(server.asked) == 3
