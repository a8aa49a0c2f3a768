"""What others say on the channels of a database."""

from collections.abc import AsyncGenerator, Awaitable, Callable
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

    A lost connection is a Failure, its last item: what is said from then on nobody hears. Close it, or use
    `async with`.
    """

    def __init__(
        self, heard: AsyncGenerator[Result[Notification], None], close: Callable[[], Awaitable[None]]
    ) -> None:
        self._heard = heard
        self._close = close
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[Notification]:
        if self._over:
            raise StopAsyncIteration
        heard = await anext(self._heard)
        if heard.is_failure:
            await self.close()
        return heard

    async def close(self) -> Result[None]:
        """Hear no more. Idempotent."""
        self._over = True
        await self._close()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
