"""What the server asks of the client: callbacks that answer Results, in the shape that the SDK wants."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import mcp_types as types
from pydantic import BaseModel
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.errors import disconnected, invalid_message, text_of, timed_out
from qicore.mcp.given import is_json

from mcp.client.session import ClientRequestContext

__all__ = ["Callbacks", "ElicitationCallback", "Inbox", "LogCallback", "RootsCallback", "SamplingCallback"]

logger = logging.getLogger("qicore.mcp")

SamplingCallback: TypeAlias = Callable[
    [types.CreateMessageRequestParams],
    Awaitable[Result[types.CreateMessageResult] | types.CreateMessageResult],
]
"""Asks a model on behalf of the server."""
ElicitationCallback: TypeAlias = Callable[
    [types.ElicitRequestParams], Awaitable[Result[types.ElicitResult] | types.ElicitResult]
]
"""Asks the user on behalf of the server."""
RootsCallback: TypeAlias = Callable[[], Awaitable[Result[types.ListRootsResult] | types.ListRootsResult]]
"""Tells the server which folders it may work in."""
LogCallback: TypeAlias = Callable[[types.LoggingMessageNotificationParams], Awaitable[None]]
"""Hears what the server logs."""


class Inbox:
    """Messages of the server that wait for `MCPClient.receive`, the newest `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._waiting: deque[Result[types.ServerNotification]] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._losses = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        """Whether a message waits."""
        return bool(self._waiting)

    def put(self, message: Result[types.ServerNotification]) -> None:
        """Keep a message; the oldest one goes when there are too many."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("nobody receives the server's messages: the oldest are dropped")
        self._waiting.append(message)
        self._arrived.set()

    def lost(self) -> None:
        """Tell those who wait that the connection was lost."""
        self._losses += 1
        self._arrived.set()

    async def get(self, seconds: float | None) -> Result[types.ServerNotification]:
        """Return the oldest message, or wait for one; MCP_DISCONNECTED when the connection is lost."""
        losses = self._losses
        try:
            async with asyncio.timeout(seconds):
                while not self._waiting:
                    if self._losses != losses:
                        return Failure(disconnected(operation="receive"))
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return Failure(timed_out(seconds or 0.0, operation="receive"))
        return self._waiting.popleft()


class Callbacks:
    """The callbacks of a client; those that are None are not announced to the server."""

    def __init__(
        self,
        inbox: Inbox,
        sampling: SamplingCallback | None,
        elicitation: ElicitationCallback | None,
        roots: RootsCallback | None,
        on_log: LogCallback | None,
    ) -> None:
        self._inbox = inbox
        self._on_log = on_log
        self.sampling: Any = None if sampling is None else _answering("sampling", sampling)
        self.elicitation: Any = None if elicitation is None else _answering("elicitation", elicitation)
        self.roots: Any = None if roots is None else _answering("roots", roots)
        self.log: Any = None if on_log is None else on_log

    async def message(self, message: types.ServerNotification | Exception) -> None:
        """Keep what the server says by itself; what can't be read is kept as a Failure."""
        if isinstance(message, Exception):
            # A line of a log on standard output, say: it spoils nothing else.
            self._inbox.put(Failure(invalid_message("the server sent something that is no message")))
        else:
            self._inbox.put(Success(message))


def _answering(what: str, callback: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def answer(_context: ClientRequestContext, *params: Any) -> Any:
        try:
            result = await callback(*params)
        except Exception:  # a callback of somebody's must not end the connection
            logger.exception("the callback for %s failed", what)
            return types.ErrorData(code=types.INTERNAL_ERROR, message=f"the client's {what} failed")
        if isinstance(result, Failure):
            return _refusal(result.error)
        answered: Any = result
        if isinstance(result, Success):
            answered = answered.data
        if not isinstance(answered, BaseModel) or not is_json(answered):
            logger.error("the callback for %s answered what can't be sent", what)
            return types.ErrorData(code=types.INTERNAL_ERROR, message=f"the client's {what} failed")
        return answered

    return answer


def _refusal(error: QiError) -> types.ErrorData:
    return types.ErrorData(
        code=types.INVALID_REQUEST,
        message=text_of(error),
        data={"code": error.code, "category": error.category.value},
    )
