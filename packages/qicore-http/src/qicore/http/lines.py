"""Bytes into lines, whatever pieces they come in."""

from __future__ import annotations

import codecs
from collections.abc import Iterator

__all__ = ["LineSplitter"]


class LineSplitter:
    r"""Splits a text at \n, \r\n and \r.

    >>> splitter = LineSplitter("utf-8", None)
    >>> [*splitter.feed(b"one\r"), *splitter.feed(b"\ntwo\nthr"), *splitter.finish()]
    ['one', 'two', 'thr']
    """

    def __init__(self, charset: str | None, limit: int | None) -> None:
        try:
            factory = codecs.getincrementaldecoder(charset or "utf-8")
        except LookupError:  # the server names a charset that nobody knows
            factory = codecs.getincrementaldecoder("utf-8")
        self._decoder = factory("replace")
        self._limit = limit
        self._pieces: list[str] = []
        self._size = 0
        self._after_return = False
        self.too_long = False

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that are complete."""
        yield from self._split(self._decoder.decode(data))

    def finish(self) -> Iterator[str]:
        """Yield what is left."""
        yield from self._split(self._decoder.decode(b"", True))
        if self._size:
            yield "".join(self._pieces)

    def _split(self, text: str) -> Iterator[str]:
        if self._after_return and text:
            text = text.removeprefix("\n")
            self._after_return = False
        if not text:
            return
        self._after_return = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines[:-1]:
            yield "".join([*self._pieces, line])
            self._pieces.clear()
            self._size = 0
        if lines[-1]:
            self._pieces.append(lines[-1])
            self._size += len(lines[-1])
            self.too_long = self._limit is not None and self._size > self._limit
