"""What a server tells about itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Health", "ServerState", "Statistics", "WorkerInfo", "WorkerState"]


class ServerState(StrEnum):
    """In which part of its life a server is.

    STOPPED, then STARTING, RUNNING, DRAINING (no new connections; what is in flight goes on), STOPPING (the
    application ends), and STOPPED again.
    """

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"


class WorkerState(StrEnum):
    """In which part of its life a worker is: STARTING, RUNNING, DRAINING."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """What one process has done and does, since it started.

    Attributes:
        requests: requests that were answered.
        in_flight: requests that run.
        waiting: requests that wait for their turn.
        rejected: requests that were answered 503 without being run.
        connections: open connections.
        memory: bytes of memory that the process holds (resident set size).
    """

    requests: int = 0
    in_flight: int = 0
    waiting: int = 0
    rejected: int = 0
    connections: int = 0
    memory: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """One process that serves.

    Attributes:
        slot: its place among the workers; a replacement takes over the place.
        pid: its process id.
        state: STARTING, RUNNING or DRAINING.
        age: seconds since it was started.
        restarts: how many processes this place had before, other than by reload.
        statistics: what it told last.
    """

    slot: int
    pid: int
    state: WorkerState
    age: float
    restarts: int
    statistics: Statistics


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Whether a server is well.

    Attributes:
        state: in which part of its life it is.
        healthy: it runs, takes new requests, and has all the workers it should have.
        accepting: it takes new requests.
        wanted: how many workers it should have; 0 when it serves in its own process.
        running: how many serve.
        restarts: workers that were replaced because they died or were stuck.
        uptime: seconds since it started.
    """

    state: ServerState
    healthy: bool
    accepting: bool
    wanted: int
    running: int
    restarts: int
    uptime: float
