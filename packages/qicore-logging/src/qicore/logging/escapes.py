r"""Make every character that could move a terminal's cursor, or end a line, visible.

What `str.isprintable` denies is escaped: control characters (C0, DEL, C1), line and paragraph separators,
directional overrides and other format characters, lone surrogates, private use. JSON reads the escapes back
as the characters they stand for; people read `\x1b` instead of being fooled by what it does.
"""

from typing import Final

__all__ = ["escape_json", "escape_json_ascii", "escape_text", "scalar_text"]


class _Table(dict[int, str | int]):
    """A table for `str.translate`, filled with the characters that were met and need an escape."""

    def __missing__(self, point: int) -> str | int:
        character = chr(point)
        if character.isprintable():
            return point
        self[point] = escaped = self.escape(character)
        return escaped

    @staticmethod
    def escape(character: str) -> str:
        return character.encode("unicode_escape").decode("ascii")


class _JSONTable(_Table):
    @staticmethod
    def escape(character: str) -> str:
        units = character.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


_TEXT: Final = _Table()
_JSON: Final = _JSONTable()


def escape_text(text: str) -> str:
    r"""Return `text` with what is not printable as Python's escapes.

    >>> print(escape_text("one\ntwo\x1b[31m"))
    one\ntwo\x1b[31m
    """
    return text if text.isprintable() else text.translate(_TEXT)


def escape_json(line: bytes) -> bytes:
    """Return a line of JSON, its newline included, with what is not printable as JSON's escapes.

    Outside of strings JSON is ASCII, and inside them an escape means the character itself.
    """
    if line.isascii() and b"\x7f" not in line:
        return line
    body = line[:-1].decode()
    return line if body.isprintable() else body.translate(_JSON).encode() + b"\n"


def escape_json_ascii(text: str) -> str:
    """Return `text` with all that is not ASCII as JSON's escapes, for a stream that can't carry more."""
    return "".join(c if c.isascii() else _JSONTable.escape(c) for c in text)


def scalar_text(text: str) -> str:
    """Return `text` as a plain str that UTF-8 can carry: lone surrogates become their escapes."""
    if text.isascii():
        return text if type(text) is str else str.__str__(text)
    return text.encode("utf-8", "backslashreplace").decode()
