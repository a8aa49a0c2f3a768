"""Fallbacks, circuit breakers, turns and the cache."""

import asyncio
from typing import Any

import pytest
from qicore.ai import ChatChunk, LLMClient, Store
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import CircuitBreakerConfig, CircuitBreakers
from qicore_testkit.faults import answer
from qicore_testkit.model_server import ModelServer, Reply
from qicore_testkit.ollama_server import OllamaServer

from .conftest import Memory, Opens

PATHS = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}


async def test_another_model_answers(server: ModelServer, client: LLMClient) -> None:
    server.models.append("large")
    down = client.with_config(base_url="http://127.0.0.1:9").unwrap()
    large = client.with_config(model="large").unwrap()
    both = down.with_fallback(large)
    response = assert_success(await both.chat("Hello"))
    assert response.model == "large"
    streamed = assert_success(await both.chat_stream("Hello").collect())
    assert streamed.model == "large"
    assert_failure(await down.chat("Hello"), "LLM_UNAVAILABLE")


async def test_another_provider_answers(client: LLMClient) -> None:
    down = client.with_config(base_url="http://127.0.0.1:9").unwrap()
    with OllamaServer(models=["local"]) as other:
        config = down.config.__class__(model="local", base_url=other.url)
        async with LLMClient.create("ollama", config).unwrap() as local:
            response = assert_success(await down.with_fallback(local).chat("Hello"))
            assert (response.provider, response.model) == ("ollama", "local")


async def test_the_category_decides(server: ModelServer, client: LLMClient) -> None:
    wrong = client.with_config(model="none").unwrap()
    assert_failure(await wrong.with_fallback(client).chat("Hello"), "MODEL_NOT_FOUND")
    assert_failure(await wrong.with_fallback(client).chat_stream("Hello").collect(), "MODEL_NOT_FOUND")
    kinds = {ErrorCategory.VALIDATION}
    assert_success(await wrong.with_fallback(client, instead_of=kinds).chat("Hello"))
    assert_success(await wrong.with_fallback(client, instead_of=kinds).chat_stream("Hello").collect())


async def test_when_all_fail_the_last_one_says_so_and_the_others_are_its_causes(client: LLMClient) -> None:
    first = client.with_config(base_url="http://127.0.0.1:9", model="first").unwrap()
    second = client.with_config(base_url="http://127.0.0.1:9", model="second").unwrap()
    for result in (
        await first.with_fallback(second).chat("Hello"),
        await first.with_fallback(second).chat_stream("Hello").collect(),
    ):
        error = assert_failure(result, "LLM_UNAVAILABLE")
        assert error.context["model"] == "second"
        assert error.cause is not None
        assert error.cause.context["model"] == "first"


async def test_each_has_its_own_system_message(server: ModelServer, client: LLMClient) -> None:
    down = client.with_config(base_url="http://127.0.0.1:9", system="Be long.").unwrap()
    for said, other in (
        (["Be brief.", "Hello"], client.with_config(system="Be brief.").unwrap()),
        (["Hello"], client),
    ):
        assert_success(await down.with_fallback(other).chat("Hello"))
        assert [message["content"] for message in server.asked[-1]["messages"]] == said
        assert_success(await down.with_fallback(other).chat_stream("Hello").collect())
        assert [message["content"] for message in server.asked[-1]["messages"]] == said


async def test_a_fallback_may_have_fallbacks(client: LLMClient) -> None:
    down = client.with_config(base_url="http://127.0.0.1:9").unwrap()
    last = down.with_fallback(down.with_fallback(client))
    assert_success(await last.chat("Hello"))
    assert_success(await last.chat_stream("Hello").collect())


def test_a_fallback_that_is_none(client: LLMClient) -> None:
    result: Any = client.with_config(model="large")
    with pytest.raises(TypeError, match="with_config gives one in a Result"):
        client.with_fallback(result)


async def test_the_cache_tells_who_answered_apart(server: ModelServer, client_of: Opens) -> None:
    """What another model answered in its place is no answer of this one, which may be well again."""
    server.models.append("large")
    large = client_of(cache=Memory(), model="large")
    tiny = large.with_config(model="tiny").unwrap()
    down = large.with_config(model="none").unwrap()
    chain = down.with_fallback(tiny, instead_of={ErrorCategory.VALIDATION})
    assert assert_success(await chain.chat("Hello")).model == "tiny"
    server.models.append("none")
    again = assert_success(await chain.chat("Hello"))
    assert (again.model, again.cached) == ("none", False)
    assert assert_success(await tiny.chat("Hello")).cached


async def test_a_stream_that_began_is_not_begun_elsewhere(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(fault="reset", after=1), Reply())
    results = [result async for result in client.with_fallback(client).chat_stream("Hello")]
    assert assert_success(results[0]).text == "Hello"
    assert_failure(results[1], "LLM_ERROR")
    assert len(results) == 2
    assert len(server.asked) == 1


async def test_each_model_has_a_circuit_of_its_own(
    server: ModelServer, client: LLMClient, provider: str
) -> None:
    server.models.append("large")
    guarded = client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
    server.on(PATHS[provider], answer(500, b"{}"), answer(500, b"{}"), server.default)
    assert_failure(await guarded.chat("Hello"), "LLM_ERROR")
    assert_failure(await guarded.chat_stream("Hello").collect(), "LLM_ERROR")
    before = len(server.requests)
    assert_failure(await guarded.chat("Hello"), "CIRCUIT_OPEN")
    assert_failure(await guarded.chat_stream("Hello").collect(), "CIRCUIT_OPEN")
    assert len(server.requests) == before
    assert_success(await guarded.with_config(model="large").unwrap().chat("Hello"))
    assert_success(await client.chat("Hello"))


async def test_a_stream_that_breaks_counts_and_one_that_is_left_does_not(
    server: ModelServer, client: LLMClient
) -> None:
    guarded = client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=1))
    server.say(Reply(fault="stall", after=1), Reply(fault="end", after=1))
    async for _ in guarded.chat_stream("Hello"):
        break
    assert_failure(await guarded.chat_stream("Hello").collect(), "LLM_ERROR")
    assert_failure(await guarded.chat("Hello"), "CIRCUIT_OPEN")


async def test_a_timeout_says_that_the_model_is_ill_and_a_wrong_prompt_does_not(
    server: ModelServer, client_of: Opens, provider: str
) -> None:
    client = client_of(first_token_timeout=0.1)
    guarded = client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=1))
    server.on(PATHS[provider], answer(400, b"{}"), server.default)
    assert_failure(await guarded.chat("Hello"), "INVALID_PROMPT")
    server.say(Reply(fault="stall", after=0))
    assert_failure(await guarded.chat_stream("Hello").collect(), "LLM_TIMEOUT")
    assert_failure(await guarded.chat("Hello"), "CIRCUIT_OPEN")


async def test_breakers_that_several_clients_use(
    server: ModelServer, client: LLMClient, provider: str
) -> None:
    shared = CircuitBreakers(CircuitBreakerConfig(failure_threshold=1))
    server.on(PATHS[provider], answer(500, b"{}"), server.default)
    assert_failure(await client.with_circuit_breaker(shared).chat("Hello"), "LLM_ERROR")
    assert_failure(await client.with_circuit_breaker(shared).chat("Hello"), "CIRCUIT_OPEN")


def test_a_breaker_that_is_none(client: LLMClient) -> None:
    with pytest.raises(ValueError, match="failure_threshold"):
        client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=0))


async def test_calls_wait_for_their_turn(server: ModelServer, client_of: Opens) -> None:
    client = client_of(max_concurrency=3)
    server.say(Reply(pieces=["x"] * 4, interval=0.02))
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, server.open_connections())
            await asyncio.sleep(0.005)

    watcher = asyncio.create_task(watch())
    results = await asyncio.gather(*(client.chat_stream(str(number)).collect() for number in range(12)))
    watcher.cancel()
    assert all(result.is_success for result in results)
    assert most == 3


async def test_waiting_for_a_turn_counts(server: ModelServer, client_of: Opens) -> None:
    client = client_of(max_concurrency=1)
    server.say(Reply(fault="stall", after=1))
    async with client.chat_stream("Hold on") as stream:
        assert_success(await anext(stream))
        hasty = client.with_config(timeout=0.1).unwrap()
        for result in (await hasty.chat("Hello"), await hasty.chat_stream("Hello").collect()):
            assert assert_failure(result, "LLM_TIMEOUT").context["reason"] == "queue"
    server.say(Reply())
    assert_success(await client.chat("And now?"))


async def test_a_hundred_streams_are_served_alike(server: ModelServer, client_of: Opens) -> None:
    """When the first of them ends, none is far behind: counted in pieces, not in seconds."""
    client = client_of(max_concurrency=100)
    server.say(Reply(pieces=["x"] * 50, interval=0.02))
    counts = [0] * 100
    behind: list[int] = []

    async def read(number: int) -> Result[ChatChunk]:
        results: list[Result[ChatChunk]] = []
        async for result in client.chat_stream(str(number)):
            results.append(result)
            counts[number] += 1
        behind.append(50 - min(counts))
        return results[-1]

    results = await asyncio.gather(*map(read, range(100)))
    assert all(assert_success(result).response is not None for result in results)
    assert counts == [51] * 100
    assert behind[0] < 45, "the first to end has left somebody at the start"


async def test_the_same_question_is_answered_from_the_cache(server: ModelServer, client_of: Opens) -> None:
    store = Memory()
    client = client_of(cache=store, cache_ttl=60)
    server.say(Reply(pieces=[], calls=[("look", {"a": [1]})]), Reply(pieces=["another"]))
    first = assert_success(await client.chat("Hello"))
    again = assert_success(await client.chat("Hello"))
    assert again.cached
    assert not first.cached
    assert again.message == first.message
    assert again.usage == first.usage
    assert len(server.asked) == 1
    assert all(isinstance(value, bytes) for value in store.kept.values())
    vectors = assert_success(await client.embedding(["a", "b"])).vectors
    kept = assert_success(await client.embedding(["a", "b"]))
    assert (kept.vectors, kept.cached) == (vectors, True)


@pytest.mark.parametrize(
    "change", [{"model": "large"}, {"temperature": 0.0}, {"system": "Be brief."}, {"extra": {"top_k": 1}}]
)
async def test_another_shape_is_another_question(
    server: ModelServer, client_of: Opens, change: dict[str, Any]
) -> None:
    server.models.append("large")
    client = client_of(cache=Memory())
    assert_success(await client.chat("Hello"))
    assert not assert_success(await client.with_config(**change).unwrap().chat("Hello")).cached
    assert not assert_success(await client.generate("Hello")).cached
    assert assert_success(await client.with_config(timeout=9).unwrap().chat("Hello")).cached


async def test_failures_are_not_kept(server: ModelServer, client_of: Opens, provider: str) -> None:
    client = client_of(cache=Memory())
    server.on(PATHS[provider], answer(500, b"{}"), server.default)
    assert_failure(await client.chat("Hello"), "LLM_ERROR")
    assert_success(await client.chat("Hello"))


class Broken(Memory):
    async def get(self, key: str, /) -> Result[Any]:
        raise RuntimeError("the store is ill")

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[Any]:
        return Failure(QiError.cache("CACHE_WRITE_FAILED", "the disk is full"))


class Lying(Memory):
    async def get(self, key: str, /) -> Result[Any]:
        return Success(b"{")


class Blunt:
    """Raises before there is anything to await."""

    def get(self, key: str, /) -> Any:
        raise RuntimeError("the store is ill")

    def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Any:
        raise RuntimeError("the store is ill")


class Naked:
    """Answers what is no Result."""

    async def get(self, key: str, /) -> Any:
        return b"{}"

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Any:
        return True


@pytest.mark.parametrize("store", [Broken(), Lying(), Blunt(), Naked()])
async def test_a_store_that_fails_is_passed_by(
    server: ModelServer, client_of: Opens, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    assert_success(await client_of(cache=store).chat("Hello"))
    assert_success(await client_of(cache=store).embedding("Hello"))
    assert "the cache of answers" in caplog.text
