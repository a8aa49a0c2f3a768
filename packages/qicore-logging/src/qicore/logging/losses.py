"""Count what could not be written, and say so once, where a person may see it."""

import os
import select
import sys
from dataclasses import dataclass
from threading import Lock
from typing import Any

from qicore.logging.escapes import escape_text

__all__ = ["LogStats", "Losses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStats:
    """What went wrong with a logger, and the loggers that share its destination, since it was created.

    Attributes:
        dropped: lines that the destination did not take.
        failures: lines that were written, but which a processor or the clock failed on.
        last_problem: what the last of them met, or None.
    """

    dropped: int = 0
    failures: int = 0
    last_problem: str | None = None


class Losses:
    """The counters behind `LogStats`, for all threads."""

    __slots__ = ("_destination", "_lock", "_told", "stats")

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._lock = Lock()
        self._told = False
        self.stats = LogStats()

    def drop(self, problem: object) -> None:
        """Count a line that is lost."""
        self._count(1, 0, "a log line was lost", problem)

    def fail(self, problem: object) -> None:
        """Count a line that was written otherwise than it should be."""
        self._count(0, 1, "a log line could not be processed as configured", problem)

    def _count(self, dropped: int, failures: int, what: str, problem: object) -> None:
        text = escape_text(str(problem) if isinstance(problem, str | OSError) else type(problem).__name__)
        # A signal's handler, or a forked child, may meet a lock that is never released: better miscount than
        # wait for good.
        held = self._lock.acquire(timeout=0.1)
        try:
            self.stats = LogStats(
                dropped=self.stats.dropped + dropped,
                failures=self.stats.failures + failures,
                last_problem=text,
            )
            told, self._told = self._told, True
        finally:
            if held:
                self._lock.release()
        if not told:
            _tell(f"qicore.logging: {what}: {text} (destination: {self._destination}; told once)\n")


def _tell(notice: str) -> None:
    """Write to stderr if that is possible without waiting."""
    stream: Any = sys.stderr
    try:
        own: bool = stream is sys.__stderr__
        # A stream that Python code has put there is to be followed; the process's own may be a stalled pipe.
        descriptor: int | None = stream.fileno() if own else None
        if descriptor is None:
            stream.write(notice)
        elif _is_ready(descriptor):
            os.write(descriptor, notice.encode("utf-8", "backslashreplace"))
    except Exception:  # noqa: BLE001, S110 - nobody is left to tell
        pass


def _is_ready(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
