"""Where lines go. A sink takes a whole line, never raises, and waits only as long as it may."""

import os
import select
import stat
import time
from threading import RLock
from typing import Any, Final, Protocol
from weakref import WeakSet

from qicore.logging.escapes import escape_json_ascii
from qicore.logging.losses import Losses

__all__ = ["ClosedSink", "FileSink", "PipeSink", "Sink", "StreamSink", "descriptor_sink"]

_PIPE_BUF: Final = 4096  # what POSIX systems write to a ready pipe at once; select.PIPE_BUF where it is known
_CHUNK: Final = getattr(select, "PIPE_BUF", _PIPE_BUF)


class Sink(Protocol):
    """Takes lines."""

    def write(self, line: bytes, /) -> None:
        """Write one line with its newline, or count it as lost."""

    def close(self) -> None:
        """Release what the sink has opened; raises OSError."""


class FileSink:
    """A regular file or a device such as /dev/null: each line is one `write` to a descriptor that appends.

    The system makes such writes atomic, so threads and processes need no lock to keep their lines whole.
    """

    __slots__ = ("_fd", "_losses", "_owned", "_torn")

    def __init__(self, fd: int, losses: Losses, *, owned: bool) -> None:
        self._fd = fd
        self._losses = losses
        self._owned = owned
        self._torn = False

    def write(self, line: bytes) -> None:
        """Write one line, or count it as lost."""
        if self._torn:
            line = b"\n" + line  # ends the part of a line that a full disk still took
        try:
            written = os.write(self._fd, line)
            while written < len(line):
                self._torn = True
                line = line[written:]
                written = os.write(self._fd, line)
            self._torn = False
        except OSError as problem:
            self._losses.drop(problem)

    def close(self) -> None:
        """Close the file if it was opened for this sink."""
        if self._owned:
            os.close(self._fd)


class PipeSink:
    """A pipe, a socket or a terminal, whose reader may be slow, stalled or gone.

    A reader gets `patience` seconds to make room; after a line was lost that way none, until it reads again.
    """

    __slots__ = (
        "__weakref__", "_blocks", "_fd", "_lock", "_losses", "_owned", "_patience", "_poll",
        "_stalled", "_torn",
    )  # fmt: skip

    def __init__(self, fd: int, losses: Losses, *, owned: bool, patience: float) -> None:
        self._fd, self._owned, self._blocks = fd, owned, not owned
        self._losses = losses
        self._patience = patience
        self._stalled = self._torn = False
        if not owned and stat.S_ISFIFO(os.fstat(fd).st_mode):
            # A description of our own that does not block: O_NONBLOCK on the given one would also hit every
            # process that shares it. Without such a path we ask first, and write small parts.
            try:
                self._fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._owned, self._blocks = True, False
            except OSError:
                pass
        self._poll: Any = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(self._fd, select.POLLOUT)
        self.renew_lock()
        _FORKED.add(self)

    def renew_lock(self) -> None:
        """Take a new lock: in a forked child, where the thread that held the old one is gone."""
        self._lock = RLock()  # reentrant, for a signal's handler that logs

    def write(self, line: bytes) -> None:
        """Write one line, or count it as lost."""
        if not self._lock.acquire(timeout=0.0 if self._stalled else self._patience):
            self._losses.drop("the reader of the log is stalled")
            return
        try:
            self._write(b"\n" + line if self._torn else line)
        except OSError as problem:
            self._losses.drop(problem)
        finally:
            self._lock.release()

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        deadline = time.monotonic() + (0.0 if self._stalled else self._patience)
        while rest:
            if self._blocks and not self._wait(deadline):
                break
            try:
                written = os.write(self._fd, rest[:_CHUNK] if self._blocks else rest)
            except BlockingIOError:
                if not self._wait(deadline):
                    break
                continue
            rest = rest[written:]
            self._torn = bool(rest)
        self._stalled = bool(rest)
        if rest:
            self._losses.drop("the reader of the log is stalled")

    def _wait(self, deadline: float) -> bool:
        if self._poll is None:
            return self._blocks  # then it is written without asking
        return bool(self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def close(self) -> None:
        """Close the pipe if it was opened for this sink."""
        if self._owned:
            os.close(self._fd)


class StreamSink:
    """A stream that somebody else opened, and closes: text or binary, flushed after each line."""

    __slots__ = ("__weakref__", "_lock", "_losses", "_stream", "_text")

    def __init__(self, stream: Any, losses: Losses, *, text: bool) -> None:
        self._stream = stream
        self._losses = losses
        self._text = text
        self.renew_lock()
        _FORKED.add(self)

    def renew_lock(self) -> None:
        """Take a new lock: in a forked child, where the thread that held the old one is gone."""
        self._lock = RLock()  # reentrant, for a signal's handler that logs

    def write(self, line: bytes) -> None:
        """Write one line, or count it as lost."""
        try:
            with self._lock:
                if self._text:
                    self._write_text(line.decode())
                else:
                    self._write_bytes(line)
                self._stream.flush()
        except Exception as problem:  # noqa: BLE001 - somebody else's stream: it may raise anything
            self._losses.drop(problem)

    def _write_text(self, line: str) -> None:
        try:
            self._stream.write(line)
        except UnicodeEncodeError:
            self._stream.write(escape_json_ascii(line))

    def _write_bytes(self, line: bytes) -> None:
        rest = line
        while rest:
            written = self._stream.write(rest)  # an unbuffered one may take less than it is given
            if not isinstance(written, int):
                if written is None and hasattr(self._stream, "readinto"):
                    raise BlockingIOError("the stream takes nothing now")
                return
            rest = rest[written:]

    def close(self) -> None:
        """Flush; the stream itself belongs to whoever opened it."""
        if not getattr(self._stream, "closed", False):
            self._stream.flush()


class ClosedSink:
    """What a logger writes to after `close()`: everything is lost, and counted."""

    __slots__ = ("_losses",)

    def __init__(self, losses: Losses) -> None:
        self._losses = losses

    def write(self, line: bytes) -> None:  # noqa: ARG002 - a Sink
        """Count the line as lost."""
        self._losses.drop("the logger is closed")

    def close(self) -> None:
        """Do nothing."""


def descriptor_sink(fd: int, losses: Losses, *, owned: bool, patience: float) -> Sink:
    """Return the sink for an open descriptor; raises OSError."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd):
        return PipeSink(fd, losses, owned=owned, patience=patience)
    return FileSink(fd, losses, owned=owned)


_FORKED: Final[WeakSet[PipeSink | StreamSink]] = WeakSet()


def _renew_locks() -> None:
    for sink in list(_FORKED):
        sink.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
