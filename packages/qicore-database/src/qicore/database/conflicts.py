"""What a database could not put in order with what others did: it is undone, and may be tried again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from qicore.base import QiError, Result
from qicore.database.errors import BUSY, CONFLICTS

__all__ = ["again", "is_conflict"]

T = TypeVar("T")
_PAUSE: Final = 0.01


def is_conflict(error: QiError) -> bool:
    """Whether the database undid something for the sake of others, and a new try may succeed."""
    return error.code == BUSY[0] and error.context.get("sqlstate") in CONFLICTS


async def again(first: Result[T], run: Callable[[], Awaitable[Result[T]]], attempts: int) -> Result[T]:
    """Return a result unless it tells of a conflict: then that of a new try, `attempts` of them in all."""
    result = first
    for attempt in range(1, attempts):
        if result.error is None or not is_conflict(result.error):
            return result
        # Who met once would meet again, were both to come back at once.
        await asyncio.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 - no secret
        result = await run()
    return result
