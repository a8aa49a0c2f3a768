"""What is sent as a body: bytes, a file or an iterable, piece by piece and only as fast as it is taken."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, cast

import httpx
from qicore.http.errors import invalid_request

__all__ = ["Content", "Progress", "Upload", "make_body"]

Content: TypeAlias = (
    str | bytes | bytearray | memoryview | Path | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]
)
Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes that have passed so far and the bytes there are in all, or None when nobody knows."""

_PIECE: Final = 64 * 1024
_EMPTY: Final = httpx.ByteStream(b"")


class Upload(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body that is produced while it is sent.

    Attributes:
        length: its bytes, or None when that is known only at the end.
        repeatable: whether it can be sent again, for a redirect or another attempt.
        failure: what producing it raised, which engines may wrap beyond recognition.
    """

    def __init__(
        self, source: Any, length: int | None, *, repeatable: bool, start: int = 0, progress: Progress | None
    ) -> None:
        self._source = source
        self._start = start
        self._progress = progress
        self.length = length
        self.repeatable = repeatable
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        passed = 0
        try:
            for piece in self._pieces():
                passed = self._count(piece, passed)
                yield piece
            self._check_end(passed)
        except Exception as error:
            self.failure = error
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        passed = 0
        try:
            async for piece in self._pieces_async():
                passed = self._count(piece, passed)
                yield piece
            self._check_end(passed)
        except Exception as error:
            self.failure = error
            raise

    def _count(self, piece: object, passed: int) -> int:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise invalid_request(f"a body consists of bytes, not {type(piece).__name__}")
        passed += len(cast("bytes", piece))
        if self.length is not None and passed > self.length:
            raise invalid_request(f"the body is longer than the {self.length} bytes it should have")
        if self._progress is not None:
            self._progress(passed, self.length)
        return passed

    def _check_end(self, passed: int) -> None:
        if self.length is not None and passed != self.length:
            raise invalid_request(f"the body has {passed} bytes instead of {self.length}")

    def _pieces(self) -> Iterator[bytes]:
        source = self._source
        if isinstance(source, Path):
            with source.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        elif hasattr(source, "read"):
            if self.repeatable:
                source.seek(self._start)
            while piece := source.read(_PIECE):
                yield piece
        else:
            yield from source

    async def _pieces_async(self) -> AsyncIterator[bytes]:
        source = self._source
        if isinstance(source, Path):
            # Opened, read and closed in threads: a disk may take its time.
            file = await asyncio.to_thread(source.open, "rb")
            try:
                while piece := await asyncio.to_thread(file.read, _PIECE):
                    yield piece
            finally:
                file.close()
        elif hasattr(source, "read"):
            if self.repeatable:
                source.seek(self._start)
            while piece := await asyncio.to_thread(source.read, _PIECE):
                yield piece
        elif isinstance(source, AsyncIterable):
            async for piece in cast("AsyncIterable[bytes]", source):
                yield piece
        else:
            for piece in source:
                yield piece


def make_body(
    content: Content | None, progress: Progress | None, *, blocking: bool
) -> httpx.ByteStream | Upload:
    """Return the body for `content`; QiError INVALID_REQUEST when it can't be one."""
    if content is None:
        return _EMPTY
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
        if progress is None:
            return httpx.ByteStream(data)
        pieces = [data[start : start + _PIECE] for start in range(0, len(data), _PIECE)]
        return Upload(pieces, len(data), repeatable=True, progress=progress)
    if isinstance(content, Path):
        try:
            size = content.stat().st_size
        except OSError as error:
            raise invalid_request(f"the file to send can't be read: {error.strerror}") from None
        return Upload(content, size, repeatable=True, progress=progress)
    source: Any = content
    if hasattr(source, "read"):
        return _from_file(source, progress)
    if isinstance(content, AsyncIterable):
        if blocking:
            raise invalid_request("a blocking client can't send an asynchronous iterable")
        return Upload(content, None, repeatable=not hasattr(content, "__anext__"), progress=progress)
    if not hasattr(source, "__iter__") or isinstance(source, Mapping):
        kind = type(cast("object", source)).__name__
        raise invalid_request(f"a body can't be a {kind}: use json or data for values")
    # An iterator is over after one pass; a list is not.
    return Upload(source, None, repeatable=not hasattr(source, "__next__"), progress=progress)


def _from_file(file: Any, progress: Progress | None) -> Upload:
    if isinstance(file, io.TextIOBase):
        raise invalid_request("a file to send must be opened in binary mode")
    try:
        start = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(start)
    except (AttributeError, OSError):
        return Upload(file, None, repeatable=False, progress=progress)
    return Upload(file, end - start, repeatable=True, start=start, progress=progress)
