"""Compiled templates on disk, in a directory that only its owner can write to.

A file of bytecode is a program: whoever can write one runs code in every process that loads it. No checksum
in the file changes that, for who writes the file writes the checksum. What protects is the file system: the
directory is private (0700), it and each file belong to this user, and no link is followed. The digest in
each file has another purpose: a truncated or damaged one is found before `marshal` sees it, and is compiled
anew.

jinja2's own FileSystemBytecodeCache unpickles from the file before any check, takes any directory it is
given, and gives two environments with different settings each other's code.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import stat
import sys
import tempfile
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from types import CodeType

from jinja2.bccache import Bucket, BytecodeCache
from qicore.base import Failure, QiError, Result, Success

__all__ = ["PrivateBytecodeCache", "open_bytecode_cache"]

_FORMAT = 1
_DIGEST = 32


@cache
def _jinja2_version() -> str:
    return version("jinja2")  # reads a file


def open_bytecode_cache(directory: str | os.PathLike[str], settings: str) -> Result[PrivateBytecodeCache]:
    """Make the directory if it is not there, check that it is private, and return the cache in it.

    `settings` stands for everything but the source that the compiled code depends on. Fails with
    TEMPLATE_CACHE_UNSAFE [PERMISSION] or TEMPLATE_CACHE_UNUSABLE [FILESYSTEM].
    """
    path = Path(directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        return Failure(QiError.from_exception(error, code="TEMPLATE_CACHE_UNUSABLE", directory=str(path)))
    if not _is_private(found, stat.S_IFDIR, 0o077):
        return Failure(
            QiError.permission(
                "TEMPLATE_CACHE_UNSAFE",
                "the directory of compiled templates must be this user's own, no link, and have mode 0700",
                directory=str(path),
                mode=oct(stat.S_IMODE(found.st_mode)),
                owner=found.st_uid,
            )
        )
    return Success(PrivateBytecodeCache(path, settings))


def _is_private(found: os.stat_result, kind: int, forbidden: int) -> bool:
    if stat.S_IFMT(found.st_mode) != kind:
        return False
    if os.name != "posix":  # Windows keeps its rights elsewhere: a user's own profile is private there
        return True
    return found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & forbidden


class PrivateBytecodeCache(BytecodeCache):
    """jinja2's interface to the directory. What can't be read or written costs a compilation, no more."""

    def __init__(self, directory: Path, settings: str) -> None:
        self.directory = directory
        about = (_FORMAT, sys.implementation.cache_tag, sys.version, _jinja2_version(), settings)
        self._settings = blake2b(repr(about).encode(), digest_size=_DIGEST).digest()

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Return the name of the file for a template: settings are part of it."""
        about = repr((name, filename)).encode("utf-8", "surrogatepass")
        return blake2b(about, digest_size=20, key=self._settings).hexdigest()

    def get_source_checksum(self, source: str) -> str:
        """Return what changes when the source does."""
        return blake2b(source.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the bucket its code, if a sound file of ours holds it."""
        try:
            handle = os.open(self.directory / f"{bucket.key}.qit", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return
        with os.fdopen(handle, "rb") as file:
            if not _is_private(os.fstat(handle), stat.S_IFREG, 0o022):
                return
            try:
                content = file.read()
            except OSError:
                return
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if digest == self._digest(bucket, payload):
            code = marshal.loads(payload)  # noqa: S302 - our own file in our own private directory, see above
            if isinstance(code, CodeType):
                bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the code to a new file and put it in place of the old one in one step."""
        payload = marshal.dumps(bucket.code)
        with contextlib.suppress(OSError):
            # mkstemp makes the file with mode 0600.
            handle, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(self._digest(bucket, payload) + payload)
                Path(temporary).replace(self.directory / f"{bucket.key}.qit")
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def clear(self) -> None:
        """Remove every compiled template of this directory."""
        for path in self.directory.glob("*.qit"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _digest(self, bucket: Bucket, payload: bytes) -> bytes:
        about = bucket.key.encode() + bucket.checksum.encode()
        return blake2b(about + payload, digest_size=_DIGEST, key=self._settings).digest()
