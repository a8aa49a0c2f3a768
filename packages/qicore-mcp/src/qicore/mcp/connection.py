"""One task holds each connection, from its beginning to its end.

The SDK's client must be entered and left in the same task, and when its server is lost it cancels the task
that entered it and raises an ExceptionGroup there. That task is the connection's own: callers of any task
only wait for answers, and hear of a loss as an answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from qicore.base import Failure, Result, Success
from qicore.mcp.errors import connect_failed, timed_out

from mcp import Client

__all__ = ["Connection", "Opens"]

logger = logging.getLogger("qicore.mcp")

Opens = Callable[[Callable[[], None]], AbstractAsyncContextManager[Client]]
"""Enters a client; what it is given is to be called when the other side is gone."""


class Connection:
    """A connection and the task that holds it. It begins when it is made."""

    def __init__(self, opens: Opens, on_loss: Callable[[], None]) -> None:
        self.client: Client | None = None
        """The SDK's client while the connection is of use."""
        self._on_loss = on_loss
        self._leave = asyncio.Event()
        self._cancelled = False
        self._ready: asyncio.Future[Result[Client]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(opens), name="qicore-mcp connection")

    async def _hold(self, opens: Opens) -> None:
        try:
            async with opens(self.lost) as client:
                if not self._leave.is_set():
                    self.client = client
                if not self._ready.done():
                    self._ready.set_result(Success(client))
                await self._leave.wait()
        except asyncio.CancelledError as error:
            self._fail(error)
            raise
        except BaseExceptionGroup as group:
            self._fail(group)
            ends = group.subgroup(lambda each: isinstance(each, KeyboardInterrupt | SystemExit))
            if ends is not None:
                raise ends from None
        except Exception as error:  # noqa: BLE001 - it is the answer to whoever waits for the connection
            self._fail(error)
        finally:
            self.lost()

    def _fail(self, error: BaseException) -> None:
        if self._ready.done():
            logger.info("the connection to the server was lost: %s", type(error).__name__)
        else:
            self._ready.set_result(Failure(connect_failed(error)))

    def lost(self) -> None:
        """Take note that the other side is gone."""
        self._leave.set()
        if self.client is not None:
            self.client = None
            self._on_loss()

    def let_go(self) -> None:
        """Have the task leave; one that still waits for a first answer waits no longer."""
        self.lost()
        # Once only: another cancellation would break off what ends the child.
        if not self._ready.done() and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def ready(self, timeout: float) -> Result[Client]:  # noqa: ASYNC109 - the task goes on without it
        """Wait until the server has answered, `timeout` seconds at most; then it is given up."""
        done, _ = await asyncio.wait({self._ready}, timeout=timeout)
        if done:
            return self._ready.result()
        return Failure(timed_out(timeout, operation="connect"))

    async def close(self) -> None:
        """Leave, and wait until everything is closed; a child that does not end is killed after a while.

        When the caller is cancelled, the rest is done without it.
        """
        self.let_go()
        await asyncio.wait({self._task})

    @property
    def closed(self) -> bool:
        """Whether everything is closed."""
        return self._task.done()
