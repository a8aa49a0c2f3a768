"""Open the destination of a logger."""

import os
import sys
from typing import Any

from qicore.logging.config import LogConfig
from qicore.logging.losses import Losses
from qicore.logging.sinks import Sink, StreamSink, descriptor_sink

__all__ = ["describe_destination", "open_sink"]

_FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    # Opening a named pipe that nobody reads fails at once instead of waiting for a reader.
    | getattr(os, "O_NONBLOCK", 0)
)


def describe_destination(config: LogConfig) -> str:
    """Return the destination for people to read."""
    if isinstance(config.destination, str | os.PathLike):
        return os.fspath(config.destination)
    return f"a {type(config.destination).__name__}"


def open_sink(config: LogConfig, losses: Losses) -> tuple[Sink, bool]:
    """Return the open sink, and whether a person reads it at a terminal.

    Raises OSError, ValueError or TypeError when the destination can't be opened or written.
    """
    destination = config.destination
    if isinstance(destination, str) and destination in ("stderr", "stdout"):
        return _open_standard(destination, config, losses)
    if isinstance(destination, str | os.PathLike):
        fd = os.open(destination, _FLAGS, 0o640)
        return descriptor_sink(fd, losses, owned=True, patience=config.patience), os.isatty(fd)
    return _open_stream(destination, losses), _is_terminal(destination)


def _open_standard(name: str, config: LogConfig, losses: Losses) -> tuple[Sink, bool]:
    stream: Any = getattr(sys, name)
    if stream is None:
        raise ValueError(f"this process has no {name}")
    if stream is not getattr(sys, f"__{name}__"):  # redirected within Python, to follow
        return _open_stream(stream, losses), _is_terminal(stream)
    stream.flush()
    fd: int = stream.fileno()
    return descriptor_sink(fd, losses, owned=False, patience=config.patience), os.isatty(fd)


def _open_stream(stream: Any, losses: Losses) -> StreamSink:
    try:
        stream.write("")
    except TypeError:
        stream.write(b"")
        return StreamSink(stream, losses, text=False)
    return StreamSink(stream, losses, text=True)


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except Exception:  # noqa: BLE001 - somebody else's stream, and not much of one
        return False
