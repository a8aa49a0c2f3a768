"""What waits to be done on the file of a cache, and how those that wait for it are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from qicore.base import Failure, QiError, Result
from qicore.cache.file_store import FileStore

__all__ = ["Job", "answer", "busy", "fail", "time_out"]

T = TypeVar("T")


class Job(Generic[T]):
    """What is to be done, and who waits for it: a task, or nobody.

    `answer` is done before that when the task was cancelled, or waited for too long: then it is not begun.
    """

    __slots__ = ("action", "answer", "deadline", "loop", "result", "timer", "weight", "writes")

    def __init__(
        self,
        action: Callable[[FileStore], T],
        loop: asyncio.AbstractEventLoop | None,
        *,
        writes: bool,
        weight: int = 0,
    ) -> None:
        self.action = action
        self.writes = writes
        self.weight = weight
        self.loop = loop
        self.answer: asyncio.Future[Result[T]] | None = None if loop is None else loop.create_future()
        self.result: Result[T] | None = None
        self.deadline = 0.0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def unwanted(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.answer is not None and self.answer.done()

    def deliver(self) -> None:
        """Answer, in the thread of the event loop."""
        if self.timer is not None:
            self.timer.cancel()
        if self.answer is not None and self.result is not None and not self.answer.done():
            self.answer.set_result(self.result)


def busy() -> QiError:
    """Return FILE_BUSY [TIMEOUT]."""
    return QiError.timeout("FILE_BUSY", "the file is in use, and did not answer in time")


def time_out(job: Job[Any]) -> None:
    """Tell whoever waits that it took too long."""
    if job.answer is not None and not job.answer.done():
        job.answer.set_result(Failure(busy()))


def fail(jobs: list[Job[Any]], error: QiError) -> None:
    """Give jobs an error for their result."""
    for job in jobs:
        job.result = Failure(error)


def answer(jobs: list[Job[Any]]) -> None:
    """Wake all that wait for these, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
    for job in jobs:
        if job.loop is not None:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, some in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_deliver, some)


def _deliver(jobs: list[Job[Any]]) -> None:
    for job in jobs:
        job.deliver()
