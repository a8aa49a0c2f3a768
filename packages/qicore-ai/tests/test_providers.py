"""Model management, and providers that users add."""

import io
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from qicore.ai import (
    Answer,
    ChatChunk,
    ChatRequest,
    Embedded,
    Finish,
    LLMClient,
    LLMConfig,
    Message,
    ModelInfo,
    PullProgress,
    Usage,
    register_provider,
)
from qicore.ai.progress import ProgressBar
from qicore.base import ErrorCategory, QiError
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.fault_server import wait_until
from qicore_testkit.model_server import ModelServer, Reply
from rich.console import Console

from .conftest import Opens


async def test_pulling_a_model(provider: str, server: ModelServer, client: LLMClient) -> None:
    if provider == "openai":
        assert_failure(await client.models.pull("large"), "UNSUPPORTED")
        return
    steps: list[PullProgress] = []
    assert_success(await client.models.pull("large", steps.append))
    assert [step.completed for step in steps if step.digest] == [0, 250, 1000]
    assert steps[-1].status == "success"
    assert "large" in [model.name for model in assert_success(await client.models.list())]
    assert_failure(await client.models.pull("missing"), "MODEL_NOT_FOUND")
    server.say(Reply(fault="end", after=2))
    assert_failure(await client.models.pull("other"), "LLM_ERROR")
    server.say(Reply(fault="stall", after=2))
    error = assert_failure(await client.models.pull("other", between=0.1), "LLM_TIMEOUT")
    assert (error.context["reason"], error.context["timeout"]) == ("progress", 0.1)
    assert wait_until(lambda: server.left == 1)


async def test_deleting_a_model(server: ModelServer, client: LLMClient) -> None:
    assert_success(await client.models.delete("tiny"))
    assert_failure(await client.models.delete("tiny"), "MODEL_NOT_FOUND")
    assert_failure(await client.chat("Hello"), "MODEL_NOT_FOUND")


@pytest.mark.parametrize("name", ["", "  ", None, 5])
async def test_names_that_are_none(client: LLMClient, name: Any) -> None:
    for operation in (client.models.show, client.models.delete, client.models.pull):
        assert_failure(await operation(name), "INVALID_PROMPT")


def test_a_bar_for_each_part() -> None:
    screen = io.StringIO()
    with ProgressBar(Console(file=screen, force_terminal=True, width=80)) as bar:
        bar(PullProgress("pulling manifest"))
        bar(PullProgress("pulling", "sha256:00e1317cbf74ffff", 500, 1000))
        bar(PullProgress("pulling", "sha256:00e1317cbf74ffff", 1000, 1000))
        bar(PullProgress("success"))
    drawn = screen.getvalue()
    assert "00e1317cbf74" in drawn
    assert "1.0/1.0 kB" in drawn


def test_a_server_draws_nothing_but_words() -> None:
    screen = io.StringIO()
    with ProgressBar(Console(file=screen, width=80)) as bar:
        bar(PullProgress("[/red] \x1b[2Jpulling\n"))
    assert "[/red] [2Jpulling" in screen.getvalue()


@pytest.mark.parametrize("between", [0, -1, "60", float("nan")])
async def test_limits_of_a_pull_that_are_none(client: LLMClient, between: Any) -> None:
    assert_failure(await client.models.pull("large", between=between), "INVALID_PROMPT")


class Parrot:
    """A provider of the user's."""

    name = "parrot"
    raw = None

    def __init__(self, config: LLMConfig | None = None) -> None:
        self.closed = False

    async def chat(self, request: ChatRequest, /) -> Answer:
        text = request.messages[-1].content
        if text == "teapot":
            raise QiError.validation("TEAPOT", "short and stout")
        if text == "crash":
            raise RuntimeError("inside")
        return Answer(Message.assistant(text), Finish("parrot-1", "stop", Usage(1, 1)))

    async def stream(self, request: ChatRequest, /) -> AsyncGenerator[ChatChunk | Finish, None]:
        for word in request.messages[-1].content.split():
            yield ChatChunk(word)
        yield Finish("parrot-1", "stop")

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Embedded:
        return Embedded([[float(len(text))] for text in texts], "parrot-1")

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo("parrot-1", None, {})]

    async def show_model(self, name: str, /) -> ModelInfo:
        return ModelInfo(name, None, {})

    async def pull_model(self, name: str, /) -> AsyncGenerator[PullProgress, None]:
        yield PullProgress("success")

    async def delete_model(self, name: str, /) -> None:
        return

    async def close(self) -> None:
        self.closed = True


async def test_a_provider_of_ones_own() -> None:
    register_provider("parrot", Parrot)
    config = LLMConfig(model="parrot-1")
    async with LLMClient.create("parrot", config).unwrap() as client:
        assert assert_success(await client.chat("hello")).text == "hello"
        assert assert_success(await client.chat_stream("a b").collect()).text == "ab"
        assert assert_success(await client.embedding(["ab"])).vector == (2.0,)
        error = assert_failure(await client.chat("teapot"), "TEAPOT")
        assert error.context["provider"] == "parrot"
        assert_failure(await client.chat("crash"), "RUNTIME_ERROR")
    own = Parrot()
    async with LLMClient.create(own, config).unwrap() as client:
        assert assert_success(await client.generate("hello")).provider == "parrot"
    assert own.closed


def test_a_provider_without_a_name() -> None:
    class Nameless(Parrot):
        name: Any = None

    register_provider("nameless", Nameless)
    for provider in ("nameless", Nameless()):
        error = assert_failure(LLMClient.create(provider, LLMConfig(model="x")), "INVALID_LLM_CONFIG")
        assert "needs a `name`" in error.message


def test_a_provider_of_ones_own_that_misses_something() -> None:
    def make(config: LLMConfig) -> Parrot:
        raise ModuleNotFoundError("No module named 'feathers'", name="feathers")

    register_provider("bare", make)
    error = assert_failure(LLMClient.create("bare", LLMConfig(model="x")), "INVALID_LLM_CONFIG")
    assert error.message == "feathers is not installed"


def test_a_factory_that_fails() -> None:
    def make(config: LLMConfig) -> Parrot:
        raise KeyError("inside")

    register_provider("broken", make)
    error = assert_failure(LLMClient.create("broken", LLMConfig(model="x")), "INVALID_LLM_CONFIG")
    assert error.cause is not None
    assert isinstance(error.cause.__cause__, KeyError)


class Careless(Parrot):
    """Answers what is none."""

    async def chat(self, request: ChatRequest, /) -> Any:
        return request.messages[-1].content

    async def stream(self, request: ChatRequest, /) -> AsyncGenerator[Any, None]:
        yield ChatChunk("a")
        yield "b"

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Any:
        return list(texts)


class Hasty(Careless):
    """Raises before there is anything to wait for."""

    def stream(self, request: ChatRequest, /) -> Any:
        raise RuntimeError("inside")


class Blunt(Careless):
    def stream(self, request: ChatRequest, /) -> Any:
        return [ChatChunk("a")]


@pytest.mark.parametrize("kind", [Careless, Hasty, Blunt])
async def test_a_provider_that_keeps_to_nothing(kind: type[Parrot]) -> None:
    """Each call is a Failure, and each turn is given back."""
    async with LLMClient.create(kind(), LLMConfig(model="x", max_concurrency=1)).unwrap() as client:
        for _ in range(2):
            for result in (
                await client.chat("hello"),
                await client.chat_stream("hello").collect(),
                await client.embedding("hello"),
            ):
                assert result.error is not None
                assert result.error.category is ErrorCategory.UNKNOWN


class Stuck(Parrot):
    async def close(self) -> None:
        await super().close()
        raise OSError("inside")


async def test_a_provider_that_can_not_be_closed() -> None:
    opened: list[Stuck] = []

    def make(config: LLMConfig) -> Stuck:
        opened.append(Stuck(config))
        return opened[-1]

    register_provider("stuck", make)
    client = LLMClient.create("stuck", LLMConfig(model="x")).unwrap()
    assert_success(client.with_config(max_concurrency=1))
    assert (await client.close()).is_failure
    assert [provider.closed for provider in opened] == [True, True]
    assert_success(await client.close())


def test_registrations_that_are_wrong() -> None:
    nothing: Any = None
    with pytest.raises(ValueError, match="name"):
        register_provider("", Parrot)
    with pytest.raises(TypeError, match="factory"):
        register_provider("x", nothing)


@pytest.mark.parametrize("name", ["nobody", "", None, 5])
def test_a_provider_that_nobody_knows(name: Any) -> None:
    error = assert_failure(LLMClient.create(name, LLMConfig(model="x")), "INVALID_LLM_CONFIG")
    assert "ollama" in error.message if isinstance(name, str) else error.message


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "qicore.ai.providers.openai", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    error = assert_failure(LLMClient.create("openai", LLMConfig(model="x")), "INVALID_LLM_CONFIG")
    assert "pip install 'qicore-ai[openai]'" in error.message


async def test_the_official_client_is_within_reach(provider: str, client_of: Opens) -> None:
    assert type(client_of().raw).__module__.startswith(provider)
