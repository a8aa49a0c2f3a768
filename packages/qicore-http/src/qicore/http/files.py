"""A file that appears when it is complete."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import IO

__all__ = ["PartialFile"]


class PartialFile:
    """Written beside its place and moved there by `finish`; `discard` removes what is not finished."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part: Path | None = None
        self._file: IO[bytes] | None = None
        self._size = 0

    def open(self) -> None:
        """Begin."""
        # "x" neither follows nor overwrites what is there, and gives the rights of any new file.
        part = self._path.with_name(f".{self._path.name[:100]}.{secrets.token_hex(8)}")
        self._file = part.open("xb")
        self._part = part

    def write(self, data: bytes) -> None:
        """Add some."""
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)

    def finish(self) -> int:
        """Put the file in its place and return its size."""
        assert self._file is not None
        assert self._part is not None
        self._file.close()
        self._part.replace(self._path)
        self._part = None
        return self._size

    def discard(self) -> None:
        """Leave nothing of an unfinished file."""
        if self._file is not None:
            self._file.close()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None
