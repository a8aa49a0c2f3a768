"""What a provider must be able to do, and the registry by which users add one of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, cast

from qicore.ai.config import LLMConfig
from qicore.ai.errors import invalid_config, to_error
from qicore.ai.messages import Message
from qicore.ai.responses import ChatChunk, ModelInfo, PullProgress, Timings, Usage
from qicore.ai.tools import Tool
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Answer", "ChatRequest", "Embedded", "Finish", "Provider", "open_provider", "register_provider"]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a provider is asked.

    Attributes:
        config: the options of the client.
        messages: what was said so far, the system message first if there is one.
        tools: what the model may ask to have called.
        schema: JSON schema that the answer must keep to, or None.
        kind: `generate` for the completion of a single text, where the provider makes a difference.
    """

    config: LLMConfig
    messages: tuple[Message, ...]
    tools: Sequence[Tool] = ()
    schema: Mapping[str, Any] | None = None
    kind: Literal["chat", "generate"] = "chat"


class Finish(NamedTuple):
    """How an answer ended: the last item of a provider's stream."""

    model: str
    reason: str
    usage: Usage = Usage()
    timings: Timings = Timings(0.0)
    """What the server tells of its own times; the client adds what the caller saw."""


class Answer(NamedTuple):
    """A whole answer of a provider."""

    message: Message
    finish: Finish


@dataclass(frozen=True, slots=True)
class Embedded:
    """The vectors of one request, in the order of its texts."""

    vectors: list[list[float]]
    model: str
    usage: Usage = field(default=Usage())


class Provider(Protocol):
    """Speaks to the servers of one kind. Its methods raise; the client makes Results of that.

    Exceptions of client libraries are translated by the table of qicore.ai; a QiError travels as it is.
    Deadlines, circuit breakers and concurrency are the client's part: a provider waits as long as it takes,
    and lets a cancellation close what it holds.
    """

    name: str

    @property
    def raw(self) -> Any:
        """The client below, for what has no method here."""
        ...

    async def chat(self, request: ChatRequest, /) -> Answer:
        """Ask, and return the whole answer."""
        ...

    def stream(self, request: ChatRequest, /) -> AsyncGenerator[ChatChunk | Finish, None]:
        """Ask, and yield the answer as it comes; a Finish is the last item, of a whole answer only."""
        ...

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Embedded:
        """Return the vectors of some texts."""
        ...

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server has."""
        ...

    async def show_model(self, name: str, /) -> ModelInfo:
        """Return what the server tells of a model."""
        ...

    def pull_model(self, name: str, /) -> AsyncGenerator[PullProgress, None]:
        """Fetch a model onto the server, and yield how far it is."""
        ...

    async def delete_model(self, name: str, /) -> None:
        """Delete a model from the server."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def _ollama(config: LLMConfig) -> Provider:
    from qicore.ai.providers.ollama import OllamaProvider

    return OllamaProvider(config)


def _openai(config: LLMConfig) -> Provider:
    from qicore.ai.providers.openai import OpenAIProvider

    return OpenAIProvider(config)


_providers: dict[str, Callable[[LLMConfig], Provider]] = {"ollama": _ollama, "openai": _openai}


def register_provider(name: str, factory: Callable[[LLMConfig], Provider]) -> None:
    """Have `LLMClient.create(name, …)` use what `factory` makes of a configuration.

    The name of a provider that is there already is taken over. ValueError for a name that is no text, and
    TypeError for a factory that can't be called.
    """
    if not isinstance(cast("object", name), str) or not name.strip():
        raise ValueError("a provider needs a name")
    if not callable(factory):
        raise TypeError("factory must take an LLMConfig and return a Provider")
    _providers[name] = factory


def open_provider(name: object, config: LLMConfig) -> Result[Provider]:
    """Return a new provider of this name; INVALID_LLM_CONFIG [VALIDATION] when there is none."""
    factory = _providers.get(name) if isinstance(name, str) else None
    if factory is None:
        known = ", ".join(sorted(_providers))
        return Failure(invalid_config(f"there is no provider {name!r}; there are: {known}"))
    try:
        return Success(factory(config))
    except ImportError as error:
        extra = ": pip install 'qicore-ai[openai]'" if name == "openai" else ""
        return Failure(invalid_config(f"{error.name} is not installed{extra}", missing=error.name or ""))
    except QiError as error:
        return Failure(error)
    except Exception as error:  # noqa: BLE001 - variables that the libraries read, and the providers of users
        cause = to_error(error, provider=name)
        made = invalid_config(f"the provider {name} could not be made: {cause.message}")
        return Failure(made.with_cause(cause))
