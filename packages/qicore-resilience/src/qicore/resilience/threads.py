"""Blocking operations in threads of their own, which their caller may leave behind."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from qicore.base import Failure, Result
from qicore.resilience.errors import to_error
from qicore.resilience.policy import attempt_sync

__all__ = ["start"]

T = TypeVar("T")


def start(operation: Callable[[], Result[T]], answers: SimpleQueue[Result[T]]) -> None:
    """Run `operation` in a thread, in a copy of this context; its Result goes to `answers`.

    The thread is a daemon: one that never ends does not keep the program from ending.
    """
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(attempt_sync, operation)
        except BaseException as exception:  # noqa: BLE001 - a SystemExit in a thread ends nothing but itself
            result = Failure(to_error(RuntimeError(f"the operation was ended by {type(exception).__name__}")))
        answers.put(result)

    threading.Thread(target=run, name="qicore-resilience", daemon=True).start()
