"""Send requests through a response cache: `caching` decides, the two shells here do it.

Both stand between the hops of a call and the breaker with its attempts: what is answered from the store costs
neither, and a stale response may stand in for a server that the breaker keeps away from.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, cast

import httpx
from qicore.base import QiError, Result, Success
from qicore.http.caching import CACHEABLE, Asked, Plan, Rules, Step, Verdict, aged
from qicore.http.engines.reply import SyncReply
from qicore.http.entries import Entry, pack, unpack
from qicore.http.response import Answer
from qicore.http.store import ResponseCache
from qicore.resilience import is_transient

__all__ = ["AsyncCached", "SyncCached"]

Send: TypeAlias = Callable[[httpx.Request], Awaitable[Result[Answer]]]
SyncSend: TypeAlias = Callable[[httpx.Request], Result[Answer]]
Steps: TypeAlias = Generator["_Send | _Ask", Any, Result[Answer]]
"""Asks for one thing after the other to be done, is sent what came of it, and returns the answer."""

_log: Final = logging.getLogger("qicore.http")


@dataclass(frozen=True, slots=True)
class _Ask:
    """An operation of the store; what comes of it is its data, or None."""

    operation: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Send:
    """A request to the server; what comes of it is its Result."""

    request: httpx.Request


@dataclass(slots=True)
class _Turn:
    """One request on its way past the store."""

    request: httpx.Request
    asked: Asked
    key: str
    entries: Sequence[Entry]
    plan: Plan
    started: float


class _Cached:
    """Everything but the waiting."""

    def __init__(self, options: ResponseCache, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._rules = Rules(options)
        self._clock = clock

    def _steps(self, request: httpx.Request, refresh: Callable[[str, Steps], bool]) -> Steps:
        """Do one request. `refresh` is given what may be done later, and tells whether it will be."""
        asked = Asked(
            request.method, str(request.url).partition("#")[0], tuple(request.headers.multi_items())
        )
        key = self._rules.key(asked)
        found: object = None
        if asked.method in CACHEABLE:
            found = yield _Ask("get", (key,))
        entries = unpack(found) or ()
        now = self._clock()
        turn = _Turn(request, asked, key, entries, self._rules.plan(asked, entries, now), now)
        plan = turn.plan
        if plan.step is Step.REFUSE:
            reply = SyncReply(504, [(b"Content-Length", b"0")], b"HTTP/1.1", b"", _Nothing())
            return Success(Answer(reply, request, b"", 0))
        if plan.entry is not None and plan.step is Step.USE:
            return _stored(turn, plan.entry, plan.age, "hit")
        if plan.entry is not None and plan.step is Step.USE_AND_REFRESH and refresh(key, self._ask(turn)):
            return _stored(turn, plan.entry, plan.age, "stale")
        return (yield from self._ask(turn))

    def _ask(self, turn: _Turn) -> Steps:
        """Ask the server, and keep what it says."""
        result: Result[Answer] = yield _Send(_conditional(turn))
        plan = turn.plan
        if result.error is not None:
            ill = is_transient(result.error) or result.error.code == "CIRCUIT_OPEN"
            if plan.entry is not None and plan.stale_if_error and ill:
                return _stored(turn, plan.entry, plan.age, "stale")
            return result
        answer = result.unwrap()
        fields = tuple(answer.headers.multi_items())
        now = self._clock()
        verdict = self._rules.judge(turn.asked, plan, answer.status_code, fields, sent=turn.started, now=now)
        if verdict.again:
            turn.plan = Plan(Step.ASK)
            return (yield from self._ask(turn))
        for url in verdict.invalid:
            for key in self._rules.keys(turn.asked, url):
                yield _Ask("remove", (key,))
        candidate = self._candidate(verdict, answer)
        if candidate is not None:
            yield from self._keep(turn, candidate)
        elif plan.entry is not None and verdict.answer is None and answer.status_code < 500:
            # There is a newer answer, if one that is not to be stored.
            yield _Ask("remove", (turn.key,))
        if verdict.answer is not None:
            how = "stale" if verdict.candidate is None else "revalidated"
            return _stored(turn, verdict.answer, verdict.age, how)
        answer.request = turn.request
        return result

    def _candidate(self, verdict: Verdict, answer: Answer) -> Entry | None:
        """Return what is to be kept of an answer, or None."""
        if verdict.candidate is None or verdict.answer is not None:
            return verdict.candidate
        if answer.truncated or len(answer.content) > self._options.max_size:
            return None
        return replace(verdict.candidate, body=answer.content)

    def _keep(self, turn: _Turn, candidate: Entry) -> Generator[_Ask, Any, None]:
        """Store it beside what is stored for the URL by now; while it was asked for, more may have come."""
        entries = unpack((yield _Ask("get", (turn.key,)))) or ()
        if turn.entries and not entries:
            return  # a write has made untrue what was there, and perhaps this answer too
        entries = self._rules.merge(turn.asked, entries, candidate)
        seconds = self._rules.time_to_live(entries, self._clock())
        if seconds > 0:
            yield _Ask("set", (turn.key, pack(entries), seconds))


class _Nothing:
    """The body of a response that has been read."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        pass


def _stored(turn: _Turn, entry: Entry, age: float, how: str) -> Result[Answer]:
    headers = [(_encode(name), _encode(value)) for name, value in aged(entry, age)]
    answer = Answer(
        SyncReply(entry.status, headers, b"HTTP/1.1", b"", _Nothing()), turn.request, entry.body, 0
    )
    answer.extensions["cache"] = how
    return Success(answer)


def _conditional(turn: _Turn) -> httpx.Request:
    request = turn.request
    if not turn.plan.conditions:
        return request
    added = [(_encode(name), _encode(value)) for name, value in turn.plan.conditions]
    # The extensions are shared: the caller reads there whether anything was sent.
    return httpx.Request(
        request.method,
        request.url,
        headers=[*request.headers.raw, *added],
        stream=request.stream,
        extensions=request.extensions,
    )


def _encode(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _data(answer: Result[Any], operation: str) -> object:
    """Return what the store gave, None for a miss; a store that fails is told to the log, and missed."""
    error = answer.error
    if error is not None and error.code != "KEY_NOT_FOUND":
        _failed(error, operation)
    return answer.data


def _failed(error: Exception, operation: str) -> None:
    # Only the kind of error: its text may quote a key or an address of the store's own.
    kind = error.code if isinstance(error, QiError) else type(error).__name__
    _log.warning("a response cache is left out, its store failed to %s: %s", operation, kind)


class AsyncCached(_Cached):
    """Sends requests through the cache, awaiting the store and the server."""

    def __init__(self, options: ResponseCache, clock: Callable[[], float] = time.time) -> None:
        super().__init__(options, clock)
        self._refreshing: dict[str, asyncio.Task[Result[Answer]]] = {}

    async def send(self, request: httpx.Request, send: Send, deadline: float | None = None) -> Result[Answer]:
        """Answer from the store, or by `send`, which sends the request it is given to the server.

        The store has until the deadline, on the monotonic clock; `send` sees to its own.
        """

        def refresh(key: str, steps: Steps) -> bool:
            if key not in self._refreshing:
                task = asyncio.get_running_loop().create_task(self._drive(steps, send, None))
                self._refreshing[key] = task
                task.add_done_callback(lambda _: self._refreshing.pop(key))
            return True

        return await self._drive(self._steps(request, refresh), send, deadline)

    async def _drive(self, steps: Steps, send: Send, deadline: float | None) -> Result[Answer]:
        outcome: object = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return cast("Result[Answer]", end.value)
            outcome = await (send(step.request) if isinstance(step, _Send) else self._do(step, deadline))

    async def _do(self, ask: _Ask, deadline: float | None) -> object:
        try:
            answer: Any = getattr(self._options.store, ask.operation)(*ask.arguments)
            if not isinstance(answer, Result):  # a store in memory answers at once
                patience = self._options.patience
                if deadline is not None:
                    patience = min(patience, deadline - time.monotonic())
                async with asyncio.timeout(patience):
                    answer = await answer
            return _data(cast("Result[Any]", answer), ask.operation)
        except Exception as error:  # noqa: BLE001 - no failure of a store is one of the request
            _failed(error, ask.operation)
            return None

    async def aclose(self) -> None:
        """End what is being refreshed in the background."""
        tasks = list(self._refreshing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class SyncCached(_Cached):
    """The same, blocking: what could be refreshed in the background is refreshed first."""

    def send(self, request: httpx.Request, send: SyncSend) -> Result[Answer]:
        """Answer from the store, or by `send`, which sends the request it is given to the server."""
        steps = self._steps(request, lambda _, __: False)
        outcome: object = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return cast("Result[Answer]", end.value)
            outcome = send(step.request) if isinstance(step, _Send) else self._do(step)

    def _do(self, ask: _Ask) -> object:
        try:
            answer: Any = getattr(self._options.store, ask.operation)(*ask.arguments)
            if inspect.iscoroutine(answer):
                answer.close()
                raise TypeError("a blocking client needs a store that answers at once")
            return _data(cast("Result[Any]", answer), ask.operation)
        except Exception as error:  # noqa: BLE001 - no failure of a store is one of the request
            _failed(error, ask.operation)
            return None
