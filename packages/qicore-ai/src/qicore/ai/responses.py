"""What a model answers: the same types for every provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qicore.ai.messages import Message, ToolCall

__all__ = [
    "ChatChunk",
    "ChatResponse",
    "EmbeddingResponse",
    "ModelInfo",
    "PullProgress",
    "Timings",
    "Usage",
]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call took; `+` adds those of several calls.

    >>> (Usage(10, 5) + Usage(1, 2)).total_tokens
    18

    Attributes:
        input_tokens: of the prompt; 0 where the provider does not tell.
        output_tokens: of the answer.
    """

    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that the parts of a call took.

    Attributes:
        total: from the call to the end of the answer, as the caller saw it.
        first_token: from the call to the first piece, or None where the answer came in one.
        load: that the server took to load the model, or None where it does not tell.
        prompt: that the server took to read the prompt, or None.
        generation: that the server took to write the answer, or None.
    """

    total: float
    first_token: float | None = None
    load: float | None = None
    prompt: float | None = None
    generation: float | None = None


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A whole answer.

    Attributes:
        message: what the model said, ready to be put behind the others of a conversation.
        model: which one it was.
        provider: who served it.
        finish_reason: why it ended: `stop`, `length` (of tokens), `tool_calls`, `content_filter`, or what the
            provider says.
        usage: tokens.
        timings: seconds.
        cached: whether it came from the response cache.
    """

    message: Message
    model: str
    provider: str
    finish_reason: str
    usage: Usage
    timings: Timings
    cached: bool = False

    @property
    def text(self) -> str:
        """What the model said."""
        return self.message.content

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """What it wants to have called."""
        return self.message.tool_calls


@dataclass(frozen=True, slots=True)
class ChatChunk:
    """A piece of an answer.

    Attributes:
        text: the next piece of the text, maybe empty.
        thinking: the next piece of what the model thinks.
        tool_calls: calls that are complete now.
        response: the whole answer, with usage and timings, on the last chunk; else None.
    """

    text: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    response: ChatResponse | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """Vectors of texts, in their order.

    Attributes:
        vectors: one for each text, all of one length.
        model: which one made them.
        provider: who served it.
        usage: tokens.
        timings: seconds; of several batches, from the first call to the last answer.
        cached: whether all of them came from the response cache.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str
    provider: str
    usage: Usage
    timings: Timings
    cached: bool = False

    @property
    def vector(self) -> tuple[float, ...]:
        """The first vector: that of a single text."""
        return self.vectors[0]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that a provider has.

    Attributes:
        name: what to ask for.
        size: bytes on disk, or None where the provider does not tell.
        details: whatever else the provider tells of it.
    """

    name: str
    size: int | None
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a download is.

    Attributes:
        status: what is being done, in the server's words.
        digest: of the part that is being fetched, or empty.
        completed: bytes of it that are there.
        total: bytes that it has, or 0 while that is unknown.
    """

    status: str
    digest: str = ""
    completed: int = 0
    total: int = 0
