"""A file that appears when it is complete."""

from __future__ import annotations

import os
import tempfile
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
        number, name = tempfile.mkstemp(prefix=f".{self._path.name[:100]}.", dir=self._path.parent)
        self._part = Path(name)
        self._file = os.fdopen(number, "wb")

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
        # mkstemp made it for nobody else; a file has the rights that any new one would get.
        mask = os.umask(0)
        os.umask(mask)
        self._part.chmod(0o666 & ~mask)
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
