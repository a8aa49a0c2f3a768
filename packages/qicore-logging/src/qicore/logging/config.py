"""The options of a logger."""

import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from qicore.logging.levels import LEVEL_NAMES, LogLevel, parse_level
from qicore.logging.redaction import DEFAULT_REDACTED_KEYS
from structlog.typing import Processor

__all__ = ["LogConfig", "Stream", "find_problems"]


@runtime_checkable
class Stream(Protocol):
    """An open stream, text or binary."""

    def write(self, data: Any, /) -> Any:
        """Take some text, or some bytes."""

    def flush(self) -> Any:
        """Hand on what was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """How a logger decides, renders and writes.

    Attributes:
        level: the lowest level that is written, by name or by number.
        format: `json`, `console`, or `auto`: console on a terminal, else JSON.
        destination: `stderr`, `stdout`, the path of a file to append to, or an open stream. A file is opened
            when the logger is created, with the rights 0640 less the umask; its folder must exist.
        color: whether the console format has colours; None: on a terminal, unless NO_COLOR is set.
        redact: the keys whose values are never written, at any depth. Give your own together with the
            defaults: `DEFAULT_REDACTED_KEYS | {"iban"}`; an empty collection writes everything.
        utc: times in UTC, ending in Z; else local times with their offset.
        capture_standard: whether what other libraries log by the standard `logging` goes the same way.
        processors: structlog processors that see each event dict, with its timestamp and level, before it is
            redacted and rendered. One that fails is skipped for that line; DropEvent drops the line.
        patience: how many seconds a pipe or terminal whose reader is stalled may hold up a caller, once.
        clock: gives the time in nanoseconds since the epoch, as `time.time_ns` does.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"arbitrary_types_allowed": True}

    level: LogLevel | str | int = LogLevel.INFO
    format: Literal["auto", "console", "json"] = "auto"
    destination: str | os.PathLike[str] | Stream = "stderr"
    color: bool | None = None
    redact: Collection[str] = DEFAULT_REDACTED_KEYS
    utc: bool = True
    capture_standard: bool = False
    processors: Sequence[Processor] = ()
    patience: float = 1.0
    clock: Callable[[], int] = time.time_ns


def find_problems(config: LogConfig) -> list[str]:
    """Return all that is wrong with the options; the destination is tried when it is opened."""
    if not _is(config, LogConfig):
        return [f"config is a LogConfig, not {type(config).__name__}"]
    found: list[str] = []
    if parse_level(config.level) is None:
        found.append(f"level is one of {', '.join(LEVEL_NAMES)}, or a number from 0, not {config.level!r}")
    if config.format not in ("auto", "console", "json"):
        found.append(f"format is auto, console or json, not {config.format!r}")
    if not _is_destination(config.destination):
        found.append("destination is stderr, stdout, a path or an open stream")
    if config.color not in (True, False, None):
        found.append(f"color is True, False or None, not {config.color!r}")
    if not _is_collection_of_names(config.redact):
        found.append("redact is a collection of keys, each a non-empty str")
    found += [
        f"{name} is True or False, not {value!r}"
        for name, value in (("utc", config.utc), ("capture_standard", config.capture_standard))
        if not _is(value, bool)
    ]
    if not _is(config.processors, Sequence) or not all(map(callable, config.processors)):
        found.append("processors is a sequence of callables")
    if not _is_number(config.patience) or not 0 <= config.patience < math.inf:
        found.append("patience is a number of seconds from 0")
    if not _is_clock(config.clock):
        found.append("clock is a callable that gives nanoseconds since the epoch as an int")
    return found


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_destination(value: object) -> bool:
    if isinstance(value, str):
        return bool(value) and "\0" not in value
    # Not isinstance(value, Stream): from Python 3.12 on that overlooks what a wrapper delegates.
    is_stream = all(callable(getattr(value, name, None)) for name in ("write", "flush"))
    return is_stream or isinstance(value, os.PathLike)


def _is_collection_of_names(value: object) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return False
    return all(isinstance(name, str) and any(map(str.isalnum, name)) for name in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # a collection of anything


def _is_clock(value: object) -> bool:
    try:
        return callable(value) and type(value()) is int
    except Exception:  # noqa: BLE001 - a clock that raises is none
        return False
