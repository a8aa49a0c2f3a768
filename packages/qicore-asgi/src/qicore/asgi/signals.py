"""What signals mean to a server that runs in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from qicore.asgi.development import changes
from qicore.asgi.state import ServerState
from qicore.base import Result, Success

if TYPE_CHECKING:
    from types import FrameType

    from qicore.asgi.server import Server

__all__ = ["run_with_signals"]

log: Final = logging.getLogger("qicore.asgi")

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP", "SIGTTIN", "SIGTTOU")
_STOPPING: Final = frozenset(("SIGINT", "SIGTERM", "SIGBREAK"))


async def run_with_signals(server: Server, *, starts: bool = False) -> Result[None]:
    """Serve until a signal or somebody else says to stop; then put the handlers of before back.

    With `starts`, the server is started first.
    """
    loop = asyncio.get_running_loop()
    runner = _Runner(server)
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                before[number] = signal.getsignal(number)

                def heard(received: int, _: FrameType | None) -> None:
                    loop.call_soon_threadsafe(runner.hear, signal.Signals(received).name)

                # Not loop.add_signal_handler: that could not put the handlers of before back.
                signal.signal(number, heard)
    try:
        if starts:
            started = await runner.start()
            if started.error is not None or server.state is ServerState.STOPPED:
                return started
        return await runner.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class _Runner:
    """A server, and what was heard about it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._scaling = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    def hear(self, name: str) -> None:
        """Do what a signal says."""
        log.info("%s", name)
        if name in _STOPPING:
            (self._hurry if self._stop.is_set() else self._stop).set()
        elif name == "SIGHUP":
            self._do(self._reload())
        else:
            self._do(self._scale(1 if name == "SIGTTIN" else -1))

    async def run(self) -> Result[None]:
        """Wait for the end, and drain."""
        server = self._server
        if server.config.reload:
            self._do(self._follow_changes())
        waits = [asyncio.ensure_future(self._stop.wait()), asyncio.ensure_future(server.stopped())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return await self._drain()
        finally:
            for task in (*waits, *self._tasks):
                task.cancel()

    async def start(self) -> Result[None]:
        """Start the server; one that is told to stop meanwhile is stopped again."""
        starting = asyncio.create_task(self._server.start())
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([starting, stop], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait([starting])
            return Success(None) if starting.cancelled() else starting.result()
        finally:
            stop.cancel()
            starting.cancel()

    async def _drain(self) -> Result[None]:
        if self._server.state is not ServerState.RUNNING:
            await self._server.stopped()  # somebody else has begun to stop it
            return Success(None)
        draining = asyncio.create_task(self._server.shutdown())
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait([draining, hurry], return_when=asyncio.FIRST_COMPLETED)
            if not draining.done():
                await self._server.hurry()
            return await draining
        finally:
            hurry.cancel()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        reloaded = await self._server.reload()
        if reloaded.error is not None:
            log.error("not reloaded: %s", reloaded.error)
        else:
            log.info("reloaded")

    async def _scale(self, by: int) -> None:
        async with self._scaling:  # each signal counts from where the one before it has led
            health = (await self._server.health()).unwrap()
            scaled = await self._server.scale(health.wanted + by)
        if scaled.error is not None:
            log.error("not scaled: %s", scaled.error)

    async def _follow_changes(self) -> None:
        async for changed in changes(self._server.config):
            log.info("changed: %s", ", ".join(changed))
            await self._reload()
