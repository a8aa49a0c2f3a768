"""Documents in files: find them, read them, and tell which are gone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from qicore.base import Failure, QiError, Result, Success, accumulate

from askdocs.extract import KINDS, take_apart
from askdocs.model import Extract
from askdocs.texts import Text, read_text

__all__ = ["find_files", "gone_files", "read_file"]

# Folders that hold programs' own things, never a reader's documents.
_NOISE: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "dist", "build"})


def find_files(paths: Sequence[Path]) -> Result[list[Path]]:
    """Return the files to read: those named, and in each folder those of a kind that can be read, in order.

    Hidden folders and links to folders are not entered. Fails with PATH_NOT_FOUND [FILESYSTEM] for all that
    are missing.
    """
    checked = accumulate(
        Success(path)
        if path.exists()
        else Failure(QiError.filesystem("PATH_NOT_FOUND", f"there is no file or folder {path}"))
        for path in paths
    )
    # Each file once, however it was named.
    return checked.map(
        lambda found: list(dict.fromkeys(file.resolve() for path in found for file in _below(path)))
    )


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name not in _NOISE)
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix.lower() in KINDS and not name.startswith(".") and file.is_file():
                yield file


def read_file(path: Path, max_bytes: int, known: str | None) -> Result[tuple[Text, Extract] | None]:
    """Return a file taken apart, or None when the index has it as it is: `known` is the digest it has.

    Fails with FILE_KIND_UNKNOWN [VALIDATION], and as reading and taking apart do.
    """
    if path.suffix.lower() not in KINDS:
        readable = ", ".join(sorted(KINDS))
        return Failure(QiError.validation("FILE_KIND_UNKNOWN", f"not a kind that can be read: {readable}"))
    return read_text(path, max_bytes=max_bytes).flat_map(
        lambda text: (
            Success(None)
            if text.digest == known
            else take_apart(path, text.text).map(lambda extract: (text, extract))
        )
    )


def gone_files(
    known: Iterable[str], paths: Sequence[Path], present: set[str], unreadable: set[str]
) -> list[str]:
    """Return the documents below the folders named that are no longer there, or can no longer be read."""
    folders = [path.resolve() for path in paths if path.is_dir()]
    return [
        name
        for name in known
        if name in unreadable
        or (name not in present and any(Path(name).is_relative_to(folder) for folder in folders))
    ]
