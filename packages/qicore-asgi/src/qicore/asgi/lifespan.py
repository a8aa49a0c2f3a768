"""The lifespan of an application: what it opens before the first request, and closes after the last."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from qicore.asgi.apps import ASGIApp
from qicore.asgi.errors import lifespan_failed, start_timed_out
from qicore.base import Failure, Result, Success

__all__ = ["Lifespan"]

_DEAF: Final = 1.0
"""Seconds that a cancelled lifespan may still take."""
log: Final = logging.getLogger("qicore.asgi")


class Lifespan:
    """Runs one lifespan in a task of its own, as the ASGI specification (lifespan, 2.0) describes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answers: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._supported = True
        self.state: dict[str, Any] = {}
        """What the application shares with its requests."""

    async def start(self, seconds: float) -> Result[None]:
        """Let the application start; ASGI_LIFESPAN_FAILED, or ASGI_START_TIMEOUT after so many seconds."""
        self._task = asyncio.create_task(self._run(), name="qicore.asgi lifespan")
        self._events.put_nowait({"type": "lifespan.startup"})
        try:
            async with asyncio.timeout(seconds):
                answer, message = await self._answers.get()
        except TimeoutError:
            await self._end()
            return Failure(start_timed_out(seconds))
        except BaseException:
            await self._end()
            raise
        if answer == "lifespan.startup.failed":
            await self._end()
            return Failure(lifespan_failed(message))
        self._supported = answer == "lifespan.startup.complete"
        return Success(None)

    async def stop(self, seconds: float) -> None:
        """Let the application end; what it does not close within so many seconds is cancelled."""
        if self._task is None:
            return
        try:
            if self._supported and not self._task.done():
                self._events.put_nowait({"type": "lifespan.shutdown"})
                async with asyncio.timeout(seconds):
                    answer, message = await self._answers.get()
                if answer == "lifespan.shutdown.failed":
                    log.error("the application did not end cleanly: %s", message)
        except TimeoutError:
            log.error("the application did not end within %g seconds, and is cancelled", seconds)
        finally:
            await self._end()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            # What was answered may be followed by a last step.
            await asyncio.wait([task], timeout=0.1)
            task.cancel()
            await asyncio.wait([task], timeout=_DEAF)
            if not task.done():
                log.error("the lifespan does not end, though it was cancelled: it is left behind")

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._app(scope, self._events.get, self._send)
        except Exception as exception:
            log.info("the application has no lifespan (%s)", type(exception).__name__)
            log.debug("what it raised", exc_info=exception)
        finally:
            self._answers.put_nowait(("returned", ""))

    async def _send(self, message: dict[str, Any]) -> None:
        self._answers.put_nowait((message["type"], str(message.get("message", ""))))
