"""Answers that come piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, cast

from qicore.ai.errors import broken_off
from qicore.ai.link import Route
from qicore.ai.messages import Message, ToolCall
from qicore.ai.provider import ChatRequest, Finish
from qicore.ai.responses import ChatChunk, ChatResponse, Timings
from qicore.ai.waiting import Limit, Rest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.resilience import Permit

__all__ = ["Candidate", "ChatStream"]


class Candidate(NamedTuple):
    """A way to try, what to ask there, and the categories of errors after which the next one is tried."""

    route: Route
    request: ChatRequest
    instead_of: Collection[ErrorCategory] = ()


_NEVER: Final = float("inf")


class ChatStream:
    """The pieces of an answer, each a Result: `async for result in client.chat_stream(…)`.

    A Failure is the last item. So is the chunk with a `response`, which holds the whole answer; what ends
    without it has failed. The request is sent when the first item is asked for.

    Leaving the loop early closes the connection at once when nobody holds the stream; whoever keeps it calls
    `aclose`, or says `async with client.chat_stream(…) as stream:`.
    """

    def __init__(self, candidates: Sequence[Candidate], error: QiError | None = None) -> None:
        self._candidates = list(candidates)
        self._error = error
        self._source: AsyncGenerator[ChatChunk | Finish, None] | None = None
        self._route: Route | None = None
        self._permit: Permit | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._model = ""
        self._begun = 0.0
        self._first: float | None = None
        self._deadline = _NEVER
        self._limit: Limit | None = None
        self._patience: float | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._fresh = True
        self._closing = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[ChatChunk]:
        source = self._source
        if source is None:
            return await self._begin()
        item: Any
        try:
            step = source.__anext__().__await__()
            try:
                waits_for = next(step)
            except StopIteration as given:  # it was there already, which takes no timer to know
                item = given.value
            else:
                item = await cast("Limit", self._limit).wait(Rest(waits_for, step), self._until())
            if type(item) is not ChatChunk:
                return await self._finish(item)
        except StopAsyncIteration:
            route = cast("Route", self._route)
            error = broken_off(provider=route.link.provider.name, model=self._model)
        except Exception as exception:  # noqa: BLE001 - it becomes the last item, and the breaker hears of it
            if isinstance(exception, RuntimeError) and cast("Limit", self._limit).busy:
                return Failure(QiError.validation("STREAM_BUSY", "another task reads the stream"))
            if self._closing:
                self._release(None)
                raise StopAsyncIteration from None
            if isinstance(exception, TimeoutError) and cast("Limit", self._limit).expired:
                error = self._late()
            else:
                error = cast("Route", self._route).translate(exception, self._model)
        except BaseException:
            self._release(None)
            raise
        else:
            if self._first is None:
                self._begin_to_flow()
            if item.text:
                self._texts.append(item.text)
            if item.thinking:
                self._thoughts.append(item.thinking)
            if item.tool_calls:
                self._calls += item.tool_calls
            return Success(item)
        self._release(error)
        return Failure(error)

    async def _begin(self) -> Result[ChatChunk]:
        """Ask the candidates, in their order, until one has a first piece."""
        if not self._fresh:
            raise StopAsyncIteration
        self._fresh = False
        if self._error is not None:
            return Failure(self._error)
        self._loop = asyncio.get_running_loop()
        self._limit = Limit(self._loop)
        earlier: QiError | None = None
        while True:
            candidate = self._candidates.pop(0)
            result = await self._try(candidate)
            error = result.error
            if error is None:
                return result
            if earlier is not None:
                error = error.with_cause(earlier)
            if not self._candidates or error.category not in candidate.instead_of:
                return Failure(error)
            earlier = error

    async def _try(self, candidate: Candidate) -> Result[ChatChunk]:
        loop = cast("asyncio.AbstractEventLoop", self._loop)
        route, request = candidate.route, candidate.request
        config = route.config
        self._model = config.model
        self._begun = begun = loop.time()
        entered = await route.enter(config.model, begun)
        if isinstance(entered, Failure):
            return entered
        self._route, self._permit = route, entered.unwrap()
        if self._closing:  # by another task, while this one waited for its turn
            self._release(None)
            raise StopAsyncIteration
        deadline = route.deadline(begun)
        self._deadline = _NEVER if deadline is None else deadline
        self._patience = config.first_token_timeout
        try:
            self._source = route.link.provider.stream(request)
        except Exception as exception:  # noqa: BLE001 - the provider of a user, which is no generator
            error = route.translate(exception, self._model)
            self._release(error)
            return Failure(error)
        return await self.__anext__()

    def _until(self) -> float:
        """Return when the next piece must be there, by the loop's clock."""
        patience = self._patience
        if patience is None:
            return self._deadline
        return min(cast("asyncio.AbstractEventLoop", self._loop).time() + patience, self._deadline)

    def _begin_to_flow(self) -> None:
        self._first = cast("asyncio.AbstractEventLoop", self._loop).time()
        self._patience = cast("Route", self._route).config.between_tokens_timeout

    async def _finish(self, finish: Finish) -> Result[ChatChunk]:
        if not isinstance(cast("object", finish), Finish):
            raise TypeError(f"a provider's stream gives a ChatChunk or a Finish, not {type(finish).__name__}")
        source, route = self._source, self._route
        assert source is not None
        assert route is not None
        await source.aclose()
        self._release(None, well=True)
        times = finish.timings
        total = cast("asyncio.AbstractEventLoop", self._loop).time() - self._begun
        first = None if self._first is None else self._first - self._begun
        message = Message(
            "assistant", "".join(self._texts), tool_calls=tuple(self._calls), thinking="".join(self._thoughts)
        )
        response = ChatResponse(
            message,
            finish.model or self._model,
            route.link.provider.name,
            finish.reason,
            finish.usage,
            Timings(total, first, times.load, times.prompt, times.generation),
        )
        return Success(ChatChunk("", response=response))

    def _late(self) -> QiError:
        route = cast("Route", self._route)
        config = route.config
        if cast("Limit", self._limit).until == self._deadline:
            return route.late(config.timeout or 0.0, "total", self._model)
        if self._first is None:
            return route.late(config.first_token_timeout or 0.0, "first_token", self._model)
        return route.late(config.between_tokens_timeout or 0.0, "between_tokens", self._model)

    def _release(self, error: QiError | None, *, well: bool = False) -> None:
        """Tell the circuit breaker how it ended, and let the next one have its turn."""
        route, self._route = self._route, None
        permit, self._permit = self._permit, None
        self._source = None
        if self._limit is not None:
            self._limit.close()
        if permit is not None:
            if well:
                permit.success()
            elif error is not None:
                permit.failure(error)
            else:
                permit.release()
        if route is not None:
            route.leave()

    async def collect(self) -> Result[ChatResponse]:
        """Read what is left, and return the whole answer."""
        async for result in self:
            chunk = result.data
            if chunk is None:
                return Failure(cast("QiError", result.error))
            if chunk.response is not None:
                return Success(chunk.response)
        return Failure(QiError.validation("STREAM_ENDED", "the stream was read, or closed, before"))

    async def aclose(self) -> None:
        """Close the connection. A second call changes nothing.

        A task that waits for a piece meanwhile finds that the stream has ended.
        """
        source = self._source
        self._fresh = False
        self._closing = True
        if self._limit is not None and self._limit.busy:
            self._limit.end()
            return
        try:
            if source is not None:
                await source.aclose()
        finally:
            self._release(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # The generator, which nobody holds now, is closed by the loop; its turn is given back here.
        loop = self._loop
        if self._route is not None and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._route.leave)
            loop.call_soon_threadsafe(cast("Limit", self._limit).close)
