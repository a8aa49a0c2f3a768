"""The five levels, with the numbers of the standard `logging`."""

from enum import IntEnum
from typing import Final

__all__ = ["LEVEL_NAMES", "LogLevel", "level_name", "parse_level"]


class LogLevel(IntEnum):
    """How much a line matters. The numbers are those of the standard `logging`.

    >>> LogLevel.WARN, LogLevel.WARN > LogLevel.INFO
    (<LogLevel.WARN: 30>, True)
    """

    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


LEVEL_NAMES: Final = tuple(level.name.lower() for level in LogLevel)

_BY_NAME: Final = {level.name.lower(): int(level) for level in LogLevel} | {
    "warning": 30,
    "critical": 50,
    "exception": 40,
}


def parse_level(level: object) -> int | None:
    """Return the number of a level given by name, in any case, or by number; None when it is neither.

    >>> parse_level("Warning"), parse_level(25), parse_level("loud"), parse_level(True)
    (30, 25, None, None)
    """
    if type(level) is int and level >= 0:
        return level
    if isinstance(level, str):
        return _BY_NAME.get(level) or _BY_NAME.get(level.strip().lower())
    if isinstance(level, int) and not isinstance(level, bool) and level >= 0:
        return int(level)
    return None


def level_name(number: int) -> str:
    """Return the name of the highest level that `number` reaches; what is below debug is debug.

    >>> level_name(50), level_name(25), level_name(5)
    ('fatal', 'info', 'debug')
    """
    return LEVEL_NAMES[min(max(number // 10, 1), 5) - 1]
