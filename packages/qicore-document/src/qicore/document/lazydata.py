"""The data of a template: given as a mapping or an object, some of it still to come from the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Coroutine,
    Iterator,
    Mapping,
)
from dataclasses import fields, is_dataclass
from typing import Any, Final, Generic, TypeVar, cast

from qicore.base import QiError, Result

__all__ = ["LateData", "to_mapping"]

T = TypeVar("T")
_BATCH: Final = 256
_PATIENCE: Final = 1.0  # seconds between two looks whether the loop still lives


def to_mapping(data: object) -> dict[str, Any]:
    """Return the variables that `data` holds: a mapping, a dataclass or a pydantic model.

    Anything else is TEMPLATE_DATA_INVALID.
    """
    if type(data) is dict:
        return cast("dict[str, Any]", data)
    if isinstance(data, Mapping):
        return dict(cast("Mapping[str, Any]", data))
    if is_dataclass(data) and not isinstance(data, type):
        return {item.name: getattr(data, item.name) for item in fields(data)}
    names = getattr(type(data), "model_fields", None)
    if isinstance(names, Mapping):
        return {name: getattr(data, name) for name in cast("Mapping[str, object]", names)}
    raise QiError.validation(
        "TEMPLATE_DATA_INVALID",
        f"the data of a template is a mapping, a dataclass or a pydantic model, not {type(data).__name__}",
    )


class LateData:
    """Data of which some may still have to come from the event loop that ran when this was made.

    `resolve` is called in the rendering thread: an awaitable is awaited in that loop; an async iterable
    becomes an iterable that draws from it, some hundred items at a time. `release` closes the generators
    among the values.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data: Mapping[str, Any] = data
        self._late = [
            name
            for name, value in data.items()
            if isinstance(value, (Awaitable, AsyncIterable)) and not isinstance(value, Result)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        if self._late:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                names = ", ".join(map(repr, self._late))
                self.release()
                raise QiError.validation(
                    "TEMPLATE_DATA_INVALID", f"awaitable data needs a running event loop: {names}"
                ) from None

    def resolve(self) -> dict[str, Any]:
        """Return the data with everything asynchronous resolved."""
        resolved = {**self._data}
        if self._loop is not None:
            for name in self._late:
                value = resolved[name]
                if isinstance(value, AsyncIterable):
                    resolved[name] = _Drawn(cast("AsyncIterable[object]", value), self._loop)
                else:
                    resolved[name] = _wait_in(self._loop, _await(cast("Awaitable[object]", value)))
        return resolved

    def release(self) -> None:
        """Close what will not be drawn on again, and let go of the data."""
        data, self._data, self._late = self._data, {}, []
        for value in data.values():
            if inspect.isgenerator(value) or inspect.iscoroutine(value):
                value.close()
            elif inspect.isasyncgen(value) and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_close_later, value, self._loop)


def _close_later(source: AsyncGenerator[object, Any], loop: asyncio.AbstractEventLoop) -> None:
    task = loop.create_task(_aclose(source))
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks weakly


async def _aclose(source: AsyncGenerator[object, Any]) -> None:
    with contextlib.suppress(RuntimeError):  # it runs elsewhere at this moment, and is closed by its own end
        await source.aclose()


async def _await(value: Awaitable[T]) -> T:
    return await value


def _wait_in(loop: asyncio.AbstractEventLoop, step: Coroutine[Any, Any, T]) -> T:
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:  # waiting would stop the loop that is waited for
        step.close()
        raise QiError.validation(
            "TEMPLATE_DATA_INVALID",
            "async data is read with `async for` or in a thread, not in the event loop",
        )
    future = asyncio.run_coroutine_threadsafe(step, loop)
    while True:
        try:
            return future.result(timeout=_PATIENCE)
        except TimeoutError:
            if future.done():  # the step's own
                raise
            if loop.is_closed():  # it ended in between, and nobody else will ever answer
                raise QiError.validation(
                    "TEMPLATE_DATA_INVALID", "the event loop of the data has ended"
                ) from None


class _Drawn(Generic[T]):
    """An async iterable as an iterable, for another thread than its loop's."""

    def __init__(self, source: AsyncIterable[T], loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop

    def __iter__(self) -> Iterator[T]:
        items = aiter(self._source)
        more = True
        while more:
            batch, more = _wait_in(self._loop, _take(items))
            yield from batch


async def _take(items: AsyncIterator[T]) -> tuple[list[T], bool]:
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            return batch, True
    return batch, False
