"""What the system tells about this process."""

from __future__ import annotations

import os
import time
from functools import cache

import psutil
from qicore.asgi.state import ServerState, Statistics, WorkerInfo, WorkerState

__all__ = ["memory_of", "this_process"]


@cache
def _process(pid: int | None) -> psutil.Process:
    return psutil.Process(pid)


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
