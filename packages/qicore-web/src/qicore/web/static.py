"""Files of a directory over HTTP: ranges, validators, precompressed siblings, and no way out."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPMethod
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

import anyio.to_thread
from qicore.web.codings import choose_coding
from qicore.web.conditional import validators_of
from qicore.web.folders import Folder, open_folder
from qicore.web.media_types import media_type_of
from qicore.web.paths import names_of, path_below
from qicore.web.problems import problem_response
from qicore.web.representations import Refusal, Representation, raw
from qicore.web.statuses import error_of_status
from qicore.web.transfers import PIECE, FileReader, TornFileError, Transfer, send_transfer
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

__all__ = ["StaticDirectory"]

logger = logging.getLogger("qicore.web")

_SUFFIXES: Final[Mapping[str, str]] = MappingProxyType({"br": ".br", "zstd": ".zst", "gzip": ".gz"})
_FIT: Final = 2.0
"""Seconds that a compressed file may be older than its original: some file systems count in twos."""

# What says that there is no such file, or none for us. EMLINK is FreeBSD's word for a link that is not
# followed, EILSEQ is macOS' for a name that is none, EINVAL is Windows'.
_ABSENT: Final = frozenset(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM),
        *(errno.EMLINK, errno.EILSEQ, errno.EINVAL),
    )
)


class StaticDirectory:
    """An ASGI application that answers GET and HEAD with the files of a directory.

    It has strong entity tags, conditional requests (`If-None-Match`, `If-Modified-Since`, `If-Match`,
    `If-Unmodified-Since`), ranges (one, several, `If-Range`), and answers with `app.css.br`, `app.css.zst` or
    `app.css.gz` in the place of `app.css` where the client takes that coding and the file is not older.
    Content types follow from the suffix by one table, and browsers are told not to guess (`nosniff`).

    No path leads out of the directory. Each name is looked up in the open directory before it, so that none
    can be swapped between a check and the opening. Names that mean something else on any system, symbolic
    links, devices, FIFOs and names that begin with a dot are not found. Hard links can't be told from files.

    A file that changes while it is sent breaks the connection off, rather than passing for whole.

    Problems: NOT_FOUND, METHOD_NOT_ALLOWED, PRECONDITION_FAILED, RANGE_NOT_SATISFIABLE, and
    SERVICE_UNAVAILABLE when the directory or a file can't be read just now.

    Args:
        directory: where the files are. It is opened for each request, so it may be a symbolic link that is
            moved to the next release.
        index: the file that stands for its directory, or None for none.
        cache_control: the `Cache-Control` of files, or a function that gives it for a path such as
            `assets/app.css`. As it is, caches keep files and ask each time whether they are still right.
        precompressed: which codings are looked for, the best first: `"br"`, `"zstd"`, `"gzip"`.
        follow_symlinks: follow symbolic links, wherever they lead. Then whoever may write to the directory
            decides what is served.
        hidden: serve names that begin with a dot.
        media_types: content types of suffixes (without the dot), over those of the table.
        clock: tells the time in epoch seconds.

    Raises ValueError when the directory is none, or an option can't be: mistakes of the program.

    >>> import asyncio, tempfile
    >>> async def get(app: StaticDirectory, path: str) -> int:
    ...     sent: list[dict[str, object]] = []
    ...     async def receive(): return {"type": "http.disconnect"}
    ...     async def send(message): sent.append(message)
    ...     await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    ...     return sent[0]["status"]
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with open(directory + "/page.html", "w") as file:
    ...         _ = file.write("<h1>Hello</h1>")
    ...     app = StaticDirectory(directory)
    ...     asyncio.run(get(app, "/page.html")), asyncio.run(get(app, "/../etc/passwd"))
    (200, 404)
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        cache_control: str | Callable[[str], str] = "no-cache",
        precompressed: Sequence[str] = ("br", "zstd", "gzip"),
        follow_symlinks: bool = False,
        hidden: bool = False,
        media_types: Mapping[str, str] = MappingProxyType({}),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory: str = os.path.abspath(os.fspath(directory))  # noqa: PTH100 - it must outlive a chdir
        if not os.path.isdir(self._directory):  # noqa: PTH112 - text, as above
            raise ValueError("directory must be a directory that exists")
        if index is not None and (not index or names_of(f"/{index}", hidden=True) != (index,)):
            raise ValueError("index must be the name of a file, or None")
        unknown = [coding for coding in precompressed if coding not in _SUFFIXES]
        if isinstance(precompressed, str) or unknown:
            raise ValueError(f"precompressed must be codings of {', '.join(_SUFFIXES)}")
        self._index = index
        self._cache_control = cache_control
        self._codings = tuple(precompressed)
        self._follow = follow_symlinks
        self._hidden = hidden
        self._types = {suffix.lower().lstrip("."): kind for suffix, kind in media_types.items()}
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        reader = FileReader()
        try:
            if scope["method"] in (HTTPMethod.GET, HTTPMethod.HEAD):
                answer = await anyio.to_thread.run_sync(self._look, scope, reader)
            else:
                answer = Refusal(
                    error_of_status(405, "files are read with GET and HEAD"), {"allow": "GET, HEAD"}
                )
            if isinstance(answer, Transfer):
                await send_transfer(answer, reader, receive, send)
                return
            response = problem_response(scope, answer.error)
            response.headers.update({**answer.fields, "x-content-type-options": "nosniff"})
            await response(scope, receive, send)
        finally:
            reader.close()

    def _look(self, scope: Scope, reader: FileReader) -> Transfer | Refusal:
        """Find the file and decide on the answer: all that touches the disk but reading large files."""
        names = names_of(path_below(scope), hidden=self._hidden)
        if names is None:
            return _NOT_FOUND
        try:
            folder = open_folder(self._directory, follow=self._follow)
        except OSError:
            return _unavailable()
        try:
            with closing(folder):
                transfer = self._find(folder, names, scope, reader)
                if isinstance(transfer, Transfer) and transfer.size <= PIECE:
                    return transfer.read(reader)
                return transfer
        except UnicodeEncodeError:  # this system has no such names
            return _NOT_FOUND
        except TornFileError:
            return _unavailable()
        except OSError as error:
            if error.errno not in _ABSENT:
                return _unavailable()
            if error.errno in (errno.EACCES, errno.EPERM):
                logger.warning("no permission to read the static file %r", "/".join(names))
            return _NOT_FOUND

    def _find(
        self, folder: Folder, names: tuple[str, ...], scope: Scope, reader: FileReader
    ) -> Transfer | Refusal:
        *above, name = names or ("",)
        for part in above:
            folder.enter(part)
        if name:
            status = folder.stat(name)
            if stat.S_ISREG(status.st_mode):
                return self._answer(folder, (*above, name), status, scope, reader)
            if not stat.S_ISDIR(status.st_mode):
                return _NOT_FOUND
            folder.enter(name)
        if self._index is None:
            return _NOT_FOUND
        status = folder.stat(self._index)
        if not stat.S_ISREG(status.st_mode):
            return _NOT_FOUND
        if name or (not names and scope["path"]):
            return _to_directory(scope)
        return self._answer(folder, (*above, self._index), status, scope, reader)

    def _answer(
        self, folder: Folder, names: tuple[str, ...], status: os.stat_result, scope: Scope, reader: FileReader
    ) -> Transfer | Refusal:
        name = names[-1]
        headers = Headers(scope=scope)
        siblings = [coding for coding in self._codings if _has_sibling(folder, name, coding, status)]
        coding = choose_coding(headers.getlist("accept-encoding"), siblings) if siblings else None
        status, coding = _open(folder, name, coding, reader)
        path = "/".join(names)
        fields = {
            "cache-control": self._cache_control
            if isinstance(self._cache_control, str)
            else self._cache_control(path),
            **({"vary": "Accept-Encoding"} if siblings else {}),
            **({"content-encoding": coding} if coding else {}),
        }
        file = Representation(
            media_type_of(name, self._types), status.st_size, validators_of(status, self._clock()), fields
        )
        return file.answer(scope["method"], headers)


_NOT_FOUND: Final = Refusal(error_of_status(404, "there is no such file"))


def _unavailable() -> Refusal:
    """Return the answer for what the system refuses without the client's fault; the log tells why."""
    logger.exception("static files can't be read")
    return Refusal(error_of_status(503, "the file can't be read now"))


def _has_sibling(folder: Folder, name: str, coding: str, original: os.stat_result) -> bool:
    try:
        status = folder.stat(name + _SUFFIXES[coding])
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime + _FIT >= original.st_mtime


def _open(
    folder: Folder, name: str, coding: str | None, reader: FileReader
) -> tuple[os.stat_result, str | None]:
    """Open the file in that coding, or as it is when the compressed one can't be opened after all."""
    if coding:
        with suppress(OSError):
            return reader.open(lambda: folder.open(name + _SUFFIXES[coding])), coding
    return reader.open(lambda: folder.open(name)), None


def _to_directory(scope: Scope) -> Transfer:
    """Lead to the same path with a slash at the end, relative to itself: no host and no prefix is needed."""
    location = quote(scope["path"].rpartition("/")[2]) + "/"
    query = scope.get("query_string", b"")
    if query and re.fullmatch(rb"[!-~]*", query):
        location += "?" + query.decode("ascii")
    headers = {"location": "./" + location, "content-length": "0", "x-content-type-options": "nosniff"}
    return Transfer(307, raw(headers))
