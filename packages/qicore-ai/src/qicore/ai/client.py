"""LLMClient: what users of qicore-ai hold in their hands."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from qicore.ai.caching import Kept, key_of_chat, key_of_embedding
from qicore.ai.config import LLMConfig
from qicore.ai.embeddings import as_texts, embed
from qicore.ai.errors import invalid_config, invalid_output, invalid_prompt
from qicore.ai.link import Link, Links, Route
from qicore.ai.messages import Image, Message, Prompt, as_messages
from qicore.ai.models import Models
from qicore.ai.provider import Answer, ChatRequest, Provider
from qicore.ai.responses import ChatResponse, EmbeddingResponse, Timings
from qicore.ai.stream import Candidate, ChatStream
from qicore.ai.structured import Shape
from qicore.ai.tools import ToolsGiven, as_toolbox
from qicore.ai.turns import ToolRun, run_tools
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.options import Checks
from qicore.resilience import CircuitBreakerConfig, CircuitBreakers

__all__ = ["LLMClient"]

T = TypeVar("T")
Worth: TypeAlias = Callable[[ChatResponse], bool] | None
"""Which answers a cache keeps; None for all."""
_ELSEWHERE: Final = (ErrorCategory.NETWORK, ErrorCategory.TIMEOUT)


class LLMClient:
    """Talks to a language model under asyncio; each call gives a Result.

    It opens with `create`, and closes with `close` or at the end of an `async with`. Any number of tasks of
    one event loop may use it at once.

    >>> client = LLMClient.create("ollama", LLMConfig(model="llama3.2")).unwrap()
    >>> client.with_config(temperature=0.0).unwrap().config.temperature
    0.0

    Codes of every call: MODEL_NOT_FOUND, INVALID_PROMPT [VALIDATION]; LLM_UNAVAILABLE, LLM_ERROR,
    CIRCUIT_OPEN [NETWORK]; LLM_TIMEOUT [TIMEOUT]; LLM_UNAUTHORIZED [PERMISSION]; CLIENT_CLOSED [VALIDATION].
    """

    def __init__(self, route: Route, breakers: CircuitBreakers | None = None) -> None:
        if not isinstance(cast("object", route), Route):  # what many try first
            raise TypeError("use LLMClient.create(provider, config), which checks the options")
        self._route = route
        self._breakers = breakers
        self._others: tuple[LLMClient, ...] = ()
        self._instead_of: Collection[ErrorCategory] = ()

    @classmethod
    def create(cls, provider: str | Provider, config: LLMConfig) -> Result[Self]:
        """Check the options and return a client; INVALID_LLM_CONFIG [VALIDATION].

        `provider` is `ollama`, `openai` (for any server that speaks OpenAI's API; needs the extra `openai`),
        the name of a registered provider, or a Provider. Nothing is connected before the first call.
        """
        if not isinstance(cast("object", config), LLMConfig):
            return Failure(invalid_config("config must be an LLMConfig"))
        links = Links(provider)
        return config.check().flat_map(
            lambda options: links.get(options).map(lambda link: cls(Route(links, link, options, None)))
        )

    @property
    def config(self) -> LLMConfig:
        """The options it was made with."""
        return self._route.config

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self._route.link.provider.name

    @property
    def raw(self) -> Any:
        """The client below: `ollama.AsyncClient`, or `openai.AsyncOpenAI`. It raises."""
        return self._route.link.provider.raw

    @property
    def models(self) -> Models:
        """The provider's models: to list, show, pull and delete."""
        return Models(self._route)

    def with_config(self, **changes: Any) -> Result[Self]:
        """Return a client with some options changed; this one stays as it is.

        Connections are shared where the options that concern them stay the same, and closing either client
        closes those of both. INVALID_LLM_CONFIG [VALIDATION].
        """
        try:
            changed = dataclasses.replace(self.config, **changes)
        except TypeError as error:
            wrong = str(error).rpartition("() ")[2]
            return Failure(invalid_config(f"with_config {wrong}"))
        links = self._route.links
        return changed.check().flat_map(
            lambda options: links.get(options).map(lambda link: self._like(link, options, self._breakers))
        )

    def with_circuit_breaker(self, config: CircuitBreakerConfig | CircuitBreakers | None = None) -> Self:
        """Return a client with a circuit breaker for each model; it shares this one's connections.

        While a circuit is open, calls of that model answer CIRCUIT_OPEN [NETWORK] at once. ValueError for bad
        options. Instead of options it takes `CircuitBreakers` that others use, too.
        """
        breakers = config if isinstance(config, CircuitBreakers) else CircuitBreakers(config)
        return self._like(self._route.link, self.config, breakers)

    def with_fallback(self, *others: LLMClient, instead_of: Collection[ErrorCategory] = _ELSEWHERE) -> Self:
        """Return a client that asks `others`, in their order, when this one fails.

        It goes on after errors of the categories `instead_of`; a stream only before its first piece. Others
        may have another model (`with_config(model=…)`) or another provider, and each has its own options,
        cache and circuit breaker; those that they would ask follow them. The response says who answered; a
        Failure is the last one's, with the others as its causes. `embedding` asks only the first, as vectors
        of different models can't be compared. TypeError for what is no client.
        """
        if not all(isinstance(cast("object", other), LLMClient) for other in others):
            raise TypeError("with_fallback takes clients; with_config gives one in a Result")
        chosen = self._like(self._route.link, self.config, self._breakers)
        chosen._others = self._others
        for other in others:
            chosen._others += (other, *other._others)
        chosen._instead_of = tuple(instead_of)
        return chosen

    def _like(self, link: Link, config: LLMConfig, breakers: CircuitBreakers | None) -> Self:
        made = type(self)(Route(self._route.links, link, config, breakers), breakers)
        made._others, made._instead_of = self._others, self._instead_of
        return made

    async def chat(self, prompt: Prompt, *, tools: ToolsGiven = ()) -> Result[ChatResponse]:
        """Ask, and return the answer.

        `prompt` is a text, a `Message`, or several. Of `tools` the model may ask to have some called
        (`response.tool_calls`): calling them is up to you, or to `run_tools`.
        """
        try:
            request = self._question(prompt, tools)
        except QiError as error:
            return Failure(error)
        return await self._ask(request)

    async def generate(self, prompt: str, *images: Image) -> Result[ChatResponse]:
        """Complete a single text, with pictures if the model sees."""
        try:
            request = self._completion(prompt, images)
        except QiError as error:
            return Failure(error)
        return await self._ask(request)

    def chat_stream(self, prompt: Prompt, *, tools: ToolsGiven = ()) -> ChatStream:
        """Ask, and yield the answer as it comes: see `chat` and `ChatStream`."""
        try:
            return self._stream(self._question(prompt, tools))
        except QiError as error:
            return ChatStream((), error)

    def stream_generate(self, prompt: str, *images: Image) -> ChatStream:
        """Complete a single text, and yield what comes: see `generate` and `ChatStream`."""
        try:
            return self._stream(self._completion(prompt, images))
        except QiError as error:
            return ChatStream((), error)

    def _question(self, prompt: Prompt, tools: ToolsGiven) -> ChatRequest:
        return ChatRequest(self.config, as_messages(prompt), tuple(as_toolbox(tools).tools.values()))

    def _completion(self, prompt: str, images: tuple[Image, ...]) -> ChatRequest:
        if not isinstance(cast("object", prompt), str):
            raise invalid_prompt("generate takes a text; chat takes messages")
        return ChatRequest(self.config, as_messages(Message.user(prompt, *images)), kind="generate")

    async def embedding(self, texts: str | Sequence[str]) -> Result[EmbeddingResponse]:
        """Return the vectors of one text or of many, in their order.

        They go out in batches of `embedding_batch`, `embedding_concurrency` at once.
        """
        try:
            wanted = as_texts(texts)
        except QiError as error:
            return Failure(error)
        config = self.config
        if config.cache is None:
            return await embed(self._route, wanted)
        kept = Kept(config.cache, config.cache_ttl, EmbeddingResponse)
        key = key_of_embedding(self.provider, config, wanted)
        return await kept.get_or_ask(key, lambda: embed(self._route, wanted))

    async def run_tools(self, prompt: Prompt, tools: ToolsGiven, *, max_turns: int = 8) -> Result[ToolRun]:
        """Ask, call the tools that the model asks for, tell it what they say, and so on until it answers.

        A tool is a function, sync or async, that answers a Result or a value: see `Tool.from_function`. The
        calls of one turn run at once. Of a Failure the model is told code and message; of an exception only
        that the tool failed. TOO_MANY_TURNS [VALIDATION] after `max_turns` answers that ask for tools.
        """
        try:
            messages, toolbox = as_messages(prompt), as_toolbox(tools)
        except QiError as error:
            return Failure(error)
        wrong = Checks().whole("max_turns", max_turns).wrong
        if wrong:
            return Failure(invalid_prompt(wrong[0]))
        offered = tuple(toolbox.tools.values())

        async def ask(said: Sequence[Message]) -> Result[ChatResponse]:
            return await self._ask(ChatRequest(self.config, tuple(said), offered))

        return await run_tools(ask, messages, toolbox, max_turns)

    async def structured(self, prompt: Prompt, into: type[T], *, attempts: int = 3) -> Result[T]:
        """Ask for an answer that is a value of `into`: a pydantic model, a dataclass, or the like.

        The server is given the schema, and the model is told what is wrong when its answer does not fit,
        `attempts` times in all; then INVALID_OUTPUT [VALIDATION], which says what is wrong with the last
        answer. INVALID_PROMPT [VALIDATION] for a type that has no schema. What a validator of the type raises
        beside ValueError is UNKNOWN.
        """
        try:
            shape, messages = Shape(into), as_messages(prompt)
        except QiError as error:
            return Failure(error)
        wrong = Checks().whole("attempts", attempts).wrong
        if wrong:
            return Failure(invalid_prompt(wrong[0]))
        problems = ""
        for _ in range(attempts):
            answered = await self._ask(ChatRequest(self.config, messages, schema=shape.schema), shape.fits)
            if isinstance(answered, Failure):
                return answered
            text = answered.unwrap().text
            try:
                value, problems = shape.read(text)
            except QiError as error:
                return Failure(error)
            if not problems:
                return Success(cast("T", value))
            messages = (*messages, *shape.repair(text, problems))
        return Failure(
            invalid_output(f"no answer fits: {problems}", model=self.config.model, attempts=attempts)
        )

    async def _ask(self, request: ChatRequest, worth: Worth = None) -> Result[ChatResponse]:
        result = await _answer(self._route, request, worth)
        for other in self._others:
            error = result.error
            if error is None or error.category not in self._instead_of:
                break
            theirs = await _answer(other._route, request, worth)
            result = theirs if theirs.error is None else Failure(theirs.error.with_cause(error))
        return result

    def _stream(self, request: ChatRequest) -> ChatStream:
        routes = [self._route, *(other._route for other in self._others)]
        return ChatStream([Candidate(route, route.request(request), self._instead_of) for route in routes])

    async def close(self) -> Result[None]:
        """Close the connections, of all clients that share them. A second call changes nothing.

        Fallbacks that were created by themselves are closed by themselves.

        What is in flight, or waits for its turn, is CLIENT_CLOSED [VALIDATION]. A Failure comes from a user's
        own provider.
        """
        return await self._route.links.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _answer(route: Route, asked: ChatRequest, worth: Worth) -> Result[ChatResponse]:
    """Return the answer that is kept for this way, or a new one."""
    request, config = route.request(asked), route.config
    if config.cache is None:
        return await _new_answer(route, request)
    kept = Kept(config.cache, config.cache_ttl, ChatResponse)
    key = key_of_chat(route.link.provider.name, request)
    return await kept.get_or_ask(key, lambda: _new_answer(route, request), worth)


async def _new_answer(route: Route, request: ChatRequest) -> Result[ChatResponse]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    model = request.config.model

    async def ask(provider: Provider) -> Answer:
        answer = await provider.chat(request)
        if not isinstance(cast("object", answer), Answer):
            raise TypeError(f"a provider's chat gives an Answer, not {type(answer).__name__}")
        return answer

    result = await route.call(model, ask, begun)
    if isinstance(result, Failure):
        return result
    message, finish = result.unwrap()
    times = finish.timings
    return Success(
        ChatResponse(
            message,
            finish.model or model,
            route.link.provider.name,
            finish.reason,
            finish.usage,
            Timings(loop.time() - begun, None, times.load, times.prompt, times.generation),
        )
    )
