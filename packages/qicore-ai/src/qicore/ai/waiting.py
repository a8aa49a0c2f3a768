"""Awaitables that are begun by hand, so that what is there already takes no timer.

Setting a timer for each piece of a stream and taking it back costs as much as reading the piece. Where a read
brings several, most of them are there when they are asked for: only what really waits is worth a deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar

__all__ = ["Rest"]

T = TypeVar("T")


class Rest(Generic[T]):
    """What is left of an awaitable whose first step was taken, and gave what it waits for.

    >>> import asyncio
    >>> async def wait_and_answer() -> int:
    ...     await asyncio.sleep(0)
    ...     return 42
    >>> async def by_hand() -> int:
    ...     steps = wait_and_answer().__await__()
    ...     return await Rest(next(steps), steps)
    >>> asyncio.run(by_hand())
    42
    """

    __slots__ = ("_steps", "_waits_for")

    def __init__(self, waits_for: object, steps: Generator[Any, Any, T]) -> None:
        self._waits_for = waits_for
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            yield self._waits_for
        except GeneratorExit:
            self._steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - a cancellation, say: it is for who waits in there
            try:
                waits_for = self._steps.throw(error)
            except StopIteration as given:
                answer: T = given.value
                return answer
            return (yield from Rest(waits_for, self._steps).__await__())
        return (yield from self._steps)
