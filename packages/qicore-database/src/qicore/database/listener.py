"""What others say on the channels of a database."""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self

from qicore.base import Result, Success

__all__ = ["Listener", "Notification"]


class Notification(NamedTuple):
    """What somebody said on a channel: see `Database.listen`."""

    channel: str
    payload: str


class Listener:
    """The notifications of some channels, as an async iterator of Results.

    None is lost between two of them, nor by a task that is cancelled while it waits. A lost connection is a
    Failure, the last item: what is said from then on nobody hears. Close it, or use `async with`.
    """

    def __init__(
        self, take: Callable[[], Awaitable[Result[Notification]]], close: Callable[[], None]
    ) -> None:
        self._take = take
        self._close = close
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[Notification]:
        if self._over:
            raise StopAsyncIteration
        heard = await self._take()
        if heard.is_failure:
            if self._over:  # closed meanwhile, which is no failure
                raise StopAsyncIteration
            self._over = True
        return heard

    async def close(self) -> Result[None]:
        """Hear no more. Idempotent."""
        self._over = True
        self._close()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
