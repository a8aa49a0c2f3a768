"""The options of qicore-ai, and the checks on them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, Self, cast

from qicore.ai.access import is_headers, is_key, is_url
from qicore.base import Result
from qicore.base.options import Checks

__all__ = ["CONNECTION", "LLMConfig", "Store"]

CONNECTION: Final = ("base_url", "api_key", "headers", "connect_timeout", "max_response_size")
"""The options that belong to a connection: clients in which they are the same share one."""


class Store(Protocol):
    """Keeps bytes by key. A Failure KEY_NOT_FOUND of `get` is a miss. A Result may be awaited as it is."""

    def get(self, key: str, /) -> Awaitable[Result[Any]]:
        """Return the bytes of a key."""
        ...

    def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Awaitable[Result[Any]]:
        """Keep the bytes for `ttl` seconds."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LLMConfig:
    """How a client behaves; the defaults are right for production.

    Attributes:
        model: the model of chats and completions, as the provider names it.
        embedding_model: the model of embeddings; empty for `model`.
        base_url: where the server is; None for the provider's usual place. User and password in it are sent
            as such, unless there is an `api_key`.
        api_key: what the server knows the caller by; None for what the provider's environment variable says.
        headers: sent with every request.
        system: what every chat begins with that has no system message of its own.
        temperature: 0 for the most likely answer, up to 2; None for the model's own.
        top_p: the share of likely tokens that are drawn from, above 0 and up to 1, or None.
        max_tokens: that an answer may have, or None.
        seed: makes answers repeatable where the provider can, or None.
        stop: texts at which the answer ends.
        thinking: whether a model that can think does, or how hard; None for the model's own.
        extra: whatever else the provider takes: Ollama's `options` (`num_ctx` …) and `keep_alive`, or further
            fields of an OpenAI request.
        timeout: seconds that a call may take in all, waiting for its turn and reading a stream included, or
            None.
        first_token_timeout: seconds from a stream's request to its first piece, or None. A server may have to
            load the model first.
        between_tokens_timeout: seconds between two pieces of a stream, or None.
        connect_timeout: seconds to reach the server.
        max_concurrency: how many calls and streams of this client run at once; the others wait their turn.
        max_response_size: bytes that an answer may have.
        embedding_batch: texts per request of `embedding`.
        embedding_concurrency: how many of these requests run at once.
        cache: a store for answers, such as a cache of qicore-cache: the same question, asked with the same
            options, is answered from it. Streams pass it by.
        cache_ttl: seconds for which an answer is kept.
    """

    model: str
    embedding_model: str = ""
    base_url: str | None = field(default=None, repr=False)  # it may hold credentials
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    system: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    thinking: bool | Literal["low", "medium", "high"] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timeout: float | None = 300.0
    first_token_timeout: float | None = 120.0
    between_tokens_timeout: float | None = 30.0
    connect_timeout: float = 10.0
    max_concurrency: int = 16
    max_response_size: int = 64 * 1024 * 1024
    embedding_batch: int = 64
    embedding_concurrency: int = 4
    cache: Store | None = field(default=None, repr=False)
    cache_ttl: float = 86_400.0

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them, all of it: INVALID_LLM_CONFIG [VALIDATION].

        >>> str(LLMConfig(model="llama3.2", temperature=3).check().error)
        'VALIDATION/INVALID_LLM_CONFIG: temperature must be a number from 0 to 2, or None'
        """
        checks = Checks().text("model", self.model).text("embedding_model", self.embedding_model, empty=True)
        checks.text("system", self.system, empty=True)
        checks.that(
            self.api_key is None or is_key(self.api_key),
            "api_key must be a text of visible ASCII characters, or None",
        )
        checks.that(
            self.base_url is None or is_url(self.base_url),
            "base_url must be an absolute http or https URL, or None",
        )
        checks.that(is_headers(self.headers), "headers must be texts by name, of visible ASCII characters")
        checks.number("temperature", self.temperature, least=0, most=2, none=True)
        checks.number("top_p", self.top_p, least=0, most=1, none=True)
        checks.whole("max_tokens", self.max_tokens, none=True)
        checks.whole("seed", self.seed, least=-(2**63), none=True)
        stop = cast("tuple[object, ...]", self.stop)
        checks.that(
            type(stop) is tuple and all(isinstance(text, str) and text for text in stop),
            "stop must be a tuple of texts",
        )
        checks.that(
            self.thinking in (True, False, None, "low", "medium", "high"),
            "thinking must be True, False, 'low', 'medium', 'high', or None",
        )
        checks.that(_is_json(self.extra), "extra must be a mapping of what JSON can hold")
        for name in ("timeout", "first_token_timeout", "between_tokens_timeout"):
            checks.seconds(name, getattr(self, name), none=True)
        checks.seconds("connect_timeout", self.connect_timeout).seconds("cache_ttl", self.cache_ttl)
        for name in ("max_concurrency", "max_response_size", "embedding_batch", "embedding_concurrency"):
            checks.whole(name, getattr(self, name))
        store: object = self.cache
        checks.that(
            store is None or all(callable(getattr(store, name, None)) for name in ("get", "set")),
            "cache must have get and set",
        )
        return checks.answer(self, "INVALID_LLM_CONFIG")


def _is_json(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    fields = dict(cast("Mapping[object, object]", value))
    try:
        # Sorted as for the key of the cache, which names of several types can't be.
        json.dumps(fields, sort_keys=True, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
