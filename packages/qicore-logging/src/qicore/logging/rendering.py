"""The two forms of a line: JSON for machines, columns for people. Both take what `Cleaner` makes."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson
from qicore.logging.escapes import escape_json, escape_text

__all__ = ["ConsoleRenderer", "Renderer", "render_json"]

Renderer: TypeAlias = Callable[[Mapping[str, Any]], bytes]

_BARE: Final = re.compile(r"""[^\s"'=\[\]{},\\]+""")
_WIDTH: Final = 30  # of the message column, where the fields of short messages line up
_DIM: Final = "\x1b[2m"
_BRIGHT: Final = "\x1b[1m"
_KEY: Final = "\x1b[36m"
_RESET: Final = "\x1b[0m"
_COLORS: Final = {
    "debug": "\x1b[34m",
    "info": "\x1b[32m",
    "warn": "\x1b[33m",
    "error": "\x1b[31m",
    "fatal": "\x1b[1;31m",
}
_BLOCKS: Final = ("exception", "stack")


def render_json(event: Mapping[str, Any]) -> bytes:
    """Return the event as one line of JSON."""
    return escape_json(orjson.dumps(event, None, orjson.OPT_APPEND_NEWLINE))


class ConsoleRenderer:
    r"""Render an event as columns: time, level, message, then `key=value`, and tracebacks indented below.

    Only the renderer's own colours and line breaks reach the terminal.

    >>> render = ConsoleRenderer(color=False)
    >>> event = {"timestamp": "12:00", "level": "info", "event": "up\n12:00 error down", "port": 80}
    >>> print(render(event).decode(), end="")
    12:00 info  up\n12:00 error down           port=80
    """

    __slots__ = ("_color",)

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, event: Mapping[str, Any]) -> bytes:
        """Return the lines of an event."""
        level = escape_text(str(event.get("level", "")))
        fields = [
            f"{self._paint(_KEY, _text(key))}={_text(value)}"
            for key, value in event.items()
            if key not in ("timestamp", "level", "event", *_BLOCKS)
        ]
        message = escape_text(_message(event.get("event", "")))
        padded = message.ljust(_WIDTH) if fields else message
        columns = [
            self._paint(_DIM, escape_text(str(event.get("timestamp", "")))),
            self._paint(_COLORS.get(level, ""), level.ljust(5)),
            self._paint(_BRIGHT, padded),
            *fields,
        ]
        blocks = [line for key in _BLOCKS if key in event for line in _indented(event[key])]
        return "\n".join([" ".join(columns), *blocks, ""]).encode("utf-8", "backslashreplace")

    def _paint(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._color and color else text


def _message(value: object) -> str:
    return value if isinstance(value, str) else _dump(value)


def _text(value: object) -> str:
    """Return a key or a value: bare where it can't be mistaken for more than itself, else as JSON."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value.isprintable():
        return value
    return _dump(value)


def _dump(value: object) -> str:
    return escape_json(orjson.dumps(value, None, orjson.OPT_APPEND_NEWLINE))[:-1].decode()


def _indented(block: object) -> list[str]:
    """Return the lines of a traceback. Each is indented, so that none can pass for a line of the log."""
    text = block if isinstance(block, str) else _dump(block)
    return [f"    {escape_text(line)}" for line in text.split("\n")]
