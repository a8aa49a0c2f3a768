"""Blocking operations in threads of their own, which their caller may leave behind."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from qicore.base import Failure, Result
from qicore.resilience.errors import to_error
from qicore.resilience.policy import attempt_sync

__all__ = ["Answers"]

T = TypeVar("T")


class Answers(Generic[T]):
    """What operations answer that run in threads of their own, in the order in which they end.

    >>> from qicore.base import Success
    >>> answers = Answers[int]()
    >>> answers.start(lambda: Success(1))
    >>> answers.next(60)
    Success(1)
    >>> answers.next(0.001) is None
    True
    """

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        self._queue: SimpleQueue[Result[T] | BaseException] = SimpleQueue()

    def start(self, operation: Callable[[], Result[T]]) -> None:
        """Run `operation` in a thread, in a copy of this context. Where no thread starts, that is its answer.

        The thread is a daemon: one that never ends does not keep the program from ending.
        """
        context, queue = contextvars.copy_context(), self._queue

        def run() -> None:
            try:
                queue.put(context.run(attempt_sync, operation))
            except BaseException as exception:  # noqa: BLE001 - raised again where it is waited for
                queue.put(exception)

        try:
            threading.Thread(target=run, name="qicore-resilience", daemon=True).start()
        except RuntimeError as error:  # the system has no more, or the interpreter is about to end
            queue.put(Failure(to_error(error)))

    def next(self, seconds: float | None) -> Result[T] | None:
        """Wait for the next answer; None when there is none after so many seconds.

        What ends a program, SystemExit for one, ends it from here, as if there were no thread.
        """
        try:
            ended = self._queue.get(timeout=None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
        except Empty:
            return None
        if isinstance(ended, BaseException):
            raise ended
        return ended
