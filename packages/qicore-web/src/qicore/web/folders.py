# ruff: noqa: D102 - the methods are documented in the Protocol that they implement
"""Directories held open, in which names are looked up: nothing swapped meanwhile leads out of them."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, Protocol

__all__ = ["HAS_OPENAT", "Folder", "PathFolder", "open_folder"]

_SEARCH: Final = (
    getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
)
# What became a FIFO or a terminal since it was looked at must neither hold the thread nor own the process.
_READ: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)

HAS_OPENAT: Final = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and _NOFOLLOW != 0
"""Whether this system looks names up in an open directory."""


class Folder(Protocol):
    """A directory in which names are looked up. Every operation may raise OSError."""

    def enter(self, name: str) -> None:
        """Go on to the directory of that name in this one."""
        ...

    def stat(self, name: str) -> os.stat_result:
        """Return the status of what has that name."""
        ...

    def open(self, name: str) -> tuple[int, os.stat_result]:
        """Return a descriptor for the regular file of that name, and its status.

        It was looked at before: opening a device can do things already.
        """
        ...

    def close(self) -> None:
        """Let go of the directory."""
        ...


def open_folder(path: str, *, follow: bool) -> Folder:
    """Return the directory at `path`. Symbolic links below it are followed only with `follow`."""
    if HAS_OPENAT:
        return _DescriptorFolder(os.open(path, _SEARCH), follow)
    return PathFolder(os.path.realpath(path, strict=True), follow)


class _DescriptorFolder(Folder):
    """Looks names up relative to an open directory, one at a time: there is no path that could change."""

    def __init__(self, descriptor: int, follow: bool) -> None:
        self._descriptor = descriptor
        self._follow = follow
        self._guard = 0 if follow else _NOFOLLOW

    def enter(self, name: str) -> None:
        inner = os.open(name, _SEARCH | self._guard, dir_fd=self._descriptor)
        os.close(self._descriptor)
        self._descriptor = inner

    def stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=self._follow)

    def open(self, name: str) -> tuple[int, os.stat_result]:
        return _checked(os.open(name, _READ | self._guard, dir_fd=self._descriptor), None)

    def close(self) -> None:
        os.close(self._descriptor)


class PathFolder(Folder):
    """Looks names up by their path, where the system can't otherwise (Windows).

    Without `follow` a name counts only if it is the real one: the system's own path to the file ends with it.
    So links and junctions are refused, and so are short names (`PROGRA~1`) and other spellings.
    """

    def __init__(self, path: str, follow: bool) -> None:
        self._path = path
        self._follow = follow

    def _at(self, name: str) -> str:
        path = os.path.join(self._path, name)  # noqa: PTH118 - the other functions of os.path take text
        if not self._follow and os.path.realpath(path, strict=True) != path:
            raise FileNotFoundError(errno.ENOENT, "not the real name")
        return path

    def enter(self, name: str) -> None:
        path = self._at(name)
        if not stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 - text, as above
            raise NotADirectoryError(errno.ENOTDIR, "not a directory")
        self._path = path

    def stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name))  # noqa: PTH116 - text, as above

    def open(self, name: str) -> tuple[int, os.stat_result]:
        descriptor = os.open(self._at(name), _READ)
        try:
            # Swapped between the look and the opening: what has the real name is another file now.
            now = self.stat(name)
        except BaseException:
            os.close(descriptor)
            raise
        return _checked(descriptor, now)

    def close(self) -> None:
        pass  # nothing is held


def _must_be_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")


def _checked(descriptor: int, expected: os.stat_result | None) -> tuple[int, os.stat_result]:
    """Return the descriptor with its status, or close it and raise when it is not the file that was meant."""
    try:
        status = os.fstat(descriptor)
        _must_be_regular(status)
        if expected is not None and not os.path.samestat(status, expected):
            raise FileNotFoundError(errno.ENOENT, "swapped")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status
