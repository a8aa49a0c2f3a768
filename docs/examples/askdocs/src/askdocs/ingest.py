"""From files to the index: find, read, take apart, store, and forget what is gone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from qicore.base import Failure, QiError, Result, Success, accumulate, early_return
from qicore.logging import Logger

from askdocs.extract import KINDS, Text, read_text, take_apart
from askdocs.model import Extract, IngestSummary, Skipped
from askdocs.store import Index

__all__ = ["Progress", "find_files", "ingest"]

Progress = Callable[[int, int, Path], object]
"""Told before each file: how many are done, how many there are, and which one is next."""

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


@early_return
async def ingest(
    index: Index, paths: Sequence[Path], *, max_bytes: int, progress: Progress, log: Logger
) -> Result[IngestSummary]:
    """Bring the index up to date with the files. A file that can't be read is skipped and told of.

    Each document is stored whole or not at all, so whatever ends this early leaves an index that holds. Fails
    with PATH_NOT_FOUND [FILESYSTEM] before anything is done, and as the database does.
    """
    start = time.perf_counter()
    found = await asyncio.to_thread(find_files, paths)
    todo = found.unwrap()
    known = (await index.digests()).unwrap()
    skipped: list[Skipped] = []
    added = updated = unchanged = passages = 0
    for done, path in enumerate(todo):
        progress(done, len(todo), path)
        name = str(path)
        read = await asyncio.to_thread(_read, path, max_bytes, known.get(name))
        if read.error is not None:
            skipped.append(Skipped(path=path, code=read.error.code, reason=read.error.message))
            log.info("skipped", path=name, error=read.error)
            continue
        match read.unwrap():
            case None:
                unchanged += 1
            case text, extract:
                (await index.put(name, path.suffix.lower()[1:], text, extract)).unwrap()
                log.debug("stored", path=name, passages=len(extract.passages))
                passages += len(extract.passages)
                if name in known:
                    updated += 1
                else:
                    added += 1
    gone = _gone(known, paths, set(map(str, todo)), skipped)
    removed = (await index.remove(gone)).unwrap() if gone else 0
    return Success(
        IngestSummary(
            added=added,
            updated=updated,
            unchanged=unchanged,
            removed=removed,
            passages=passages,
            skipped=tuple(skipped),
            seconds=time.perf_counter() - start,
        )
    )


def _read(path: Path, max_bytes: int, known: str | None) -> Result[tuple[Text, Extract] | None]:
    """Return a file taken apart, or None when the index has it as it is."""
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


def _gone(
    known: Iterable[str], paths: Sequence[Path], present: set[str], skipped: Sequence[Skipped]
) -> list[str]:
    """Return the documents below the folders named that are no longer there, or can no longer be read."""
    folders = [path.resolve() for path in paths if path.is_dir()]
    unreadable = {str(one.path) for one in skipped}
    return [
        name
        for name in known
        if name in unreadable
        or (name not in present and any(Path(name).is_relative_to(folder) for folder in folders))
    ]
