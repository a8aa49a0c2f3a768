"""DocumentStream: a document in chunks, for `for`, `async for`, or straight into a file."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from qicore.base import Failure, QiError, Result, Success

__all__ = ["DocumentStream"]

# Gives the text in pieces of any size; raises a QiError for what goes wrong.
Pieces = Callable[[], Iterator[str]]


class DocumentStream:
    """A document that is rendered while it is read: once, in chunks, in constant memory.

    Each item is a Success with the next chunk of text; an error is the last item, a Failure. Leaving a loop
    early ends the rendering and closes the generators that were given as data. A second pass gives
    STREAM_CONSUMED.

    `async for` renders in a thread of its own, so the event loop stays free while a chunk is made.

    >>> from qicore.document import DocumentConfig, DocumentGenerator
    >>> generator = DocumentGenerator.create(
    ...     DocumentConfig(templates={"list.txt": "{% for n in numbers %}{{ n }};{% endfor %}"})
    ... ).unwrap()
    >>> list(generator.stream("list.txt", {"numbers": iter(range(5))}))
    [Success('0;1;2;3;4;')]
    """

    def __init__(self, pieces: Pieces, chunk_size: int, release: Callable[[], None]) -> None:
        self._pieces = pieces
        self._chunk_size = chunk_size
        self._release = release
        self._chunks: Iterator[Result[str]] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Result[str]]:
        chunks = self._start()
        try:
            yield from chunks
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[Result[str]]:
        # One thread for the whole stream: data bound to a thread, such as a database cursor, meets only this
        # one.
        chunks = self._start()
        self._executor = ThreadPoolExecutor(1, "qicore-document-stream")
        loop = asyncio.get_running_loop()
        try:
            while (chunk := await loop.run_in_executor(self._executor, next, chunks, None)) is not None:
                yield chunk
        finally:
            self.close()

    def _start(self) -> Iterator[Result[str]]:
        with self._lock:
            if self._chunks is not None:
                error = QiError.validation("STREAM_CONSUMED", "a document stream can be read only once")
                return iter((Failure(error),))
            self._chunks = self._gather()
            return self._chunks

    def _gather(self) -> Iterator[Result[str]]:
        parts: list[str] = []
        size = 0
        failure: Failure | None = None
        try:
            for piece in self._pieces():
                parts.append(piece)
                size += len(piece)
                if size >= self._chunk_size:
                    yield Success("".join(parts))
                    parts.clear()
                    size = 0
        except QiError as error:
            failure = Failure(error)
        if size:
            yield Success("".join(parts))
        if failure is not None:
            yield failure

    def close(self) -> Result[None]:
        """End the rendering and let go of the data; what is closed stays closed."""
        with self._lock:
            chunks, executor, release = self._chunks, self._executor, self._release
            self._chunks, self._executor, self._release = iter(()), None, _nothing
        if executor is None:
            _close(chunks, release)
        else:  # behind the step that may still run there
            executor.submit(_close, chunks, release)
            executor.shutdown(wait=False)
        return Success(None)

    def save(self, path: str | os.PathLike[str]) -> Result[Path]:
        """Render into the file `path`, which is replaced at the end, in one step, or not at all.

        Until then the text lies in a new file beside it, so a reader of `path` never sees half a document.
        Fails as the rendering does, or with DOCUMENT_WRITE_FAILED [FILESYSTEM].
        """
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            try:
                if target.is_dir():  # said now, not after a long rendering
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                with temporary.open("x", encoding="utf-8", newline="") as file:
                    for chunk in self:
                        file.write(chunk.unwrap())
                    file.flush()
                    # A new file has the mode that the umask leaves, one that is replaced passes its own on.
                    with contextlib.suppress(FileNotFoundError):
                        temporary.chmod(target.stat().st_mode & 0o7777)
                    os.fsync(file.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except QiError as error:
            return Failure(error)
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL, text that UTF-8 can't hold
            return Failure(write_failed(target, error))
        finally:
            self.close()
        return Success(target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def write_failed(path: Path, error: Exception) -> QiError:
    """Return the error for a document that can't be written."""
    why = getattr(error, "strerror", None) or str(error)
    failure = QiError.filesystem(
        "DOCUMENT_WRITE_FAILED", f"the document can't be written: {why}", path=str(path)
    )
    failure.__cause__ = error
    return failure


def _nothing() -> None:
    pass


def _close(chunks: Iterable[object] | None, release: Callable[[], None]) -> None:
    closing = getattr(chunks, "close", None)
    if closing is not None:
        closing()
    release()
