"""From the path of a request to the names of a file: what is no plain name leads nowhere."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

__all__ = ["names_of", "path_below"]

# What some system takes for something else than a part of a name: separators, drives, streams (`a::$DATA`),
# controls, what is not allowed in names on Windows, and what servers put for bytes that are no UTF-8.
_FOREIGN: Final = re.compile(r'[\x00-\x1f\x7f-\x9f\\/:*?"<>|\ud800-\udfff\ufffd]')
# Windows opens a device for these, in every directory and with every suffix (`nul.txt`, `COM¹`).
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(?:\..*)?", re.IGNORECASE
)


def path_below(scope: Scope) -> str:
    """Return the part of a request's path that lies below the place where an application is mounted.

    ASGI puts that place into `root_path`. A proxy that cuts its prefix off the path leaves it in `root_path`
    all the same: `app_root_path` then tells which part of it was never in the path.

    >>> path_below({"path": "/files/a.css", "root_path": "/files"})
    '/a.css'
    >>> path_below({"path": "/files/a.css", "root_path": "/api/files", "app_root_path": "/api"})
    '/a.css'
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    outer: str = scope.get("app_root_path", "").rstrip("/")
    for prefix in (root, root.removeprefix(outer)):
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            return path[len(prefix) :]
    return path


def names_of(path: str, *, hidden: bool = False) -> tuple[str, ...] | None:
    """Return the names of the directories and the file that a path goes through, or None if one is no name.

    The path is decoded already, once. A name that could mean anything but itself on some system leads nowhere
    on all of them, so that what was tested on one holds on the others: separators, drives, streams, devices,
    trailing dots and blanks, bytes that are no UTF-8. Names that begin with a dot are `hidden`.
    A slash at the end leaves an empty last name.

    >>> names_of("/docs/guide.html"), names_of("/docs/")
    (('docs', 'guide.html'), ('docs', ''))
    >>> names_of("/../secret"), names_of("//host/share"), names_of("/.git/config"), names_of("/nul.txt")
    (None, None, None, None)
    """
    if not path:
        return ()
    if path[0] != "/":
        return None
    names = tuple(path[1:].split("/"))
    *folders, last = names
    if all(_is_name(name, hidden) for name in folders) and (not last or _is_name(last, hidden)):
        return names
    return None


def _is_name(name: str, hidden: bool) -> bool:
    return (
        name != ""
        and name[-1] not in ". "
        and (hidden or name[0] != ".")
        and _FOREIGN.search(name) is None
        and _DEVICE.fullmatch(name) is None
    )
