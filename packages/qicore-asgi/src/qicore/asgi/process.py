"""What the system tells about this process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from functools import cache
from typing import Final

import psutil
from qicore.asgi.state import ServerState, Statistics, WorkerInfo, WorkerState

__all__ = ["end_of", "memory_of", "this_process"]

_POLL: Final = 0.05


@cache
def _process(pid: int | None) -> psutil.Process:
    return psutil.Process(pid)


async def end_of(process: subprocess.Popen[bytes]) -> None:
    """Return when a child has ended; it is reaped then."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not on this system
        while process.poll() is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(_POLL)
        return
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        while process.poll() is None:
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def memory_of(pid: int | None = None) -> int:
    """Return the bytes of memory that a process holds (resident set size); 0 where it is gone."""
    try:
        return int(_process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def this_process(statistics: Statistics, started: float, state: ServerState) -> WorkerInfo:
    """Return this process as the one worker of a server that has no others."""
    draining = state in (ServerState.DRAINING, ServerState.STOPPING)
    return WorkerInfo(
        slot=0,
        pid=os.getpid(),
        state=WorkerState.DRAINING if draining else WorkerState.RUNNING,
        age=time.monotonic() - started,
        restarts=0,
        statistics=statistics,
    )
