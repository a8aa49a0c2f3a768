"""What a test of processes and sockets left behind."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["new_children", "nothing_left"]

_PATIENCE = 10.0


def new_children() -> Callable[[], set[int]]:
    """Give a function that tells the child processes, at any depth, that were started since now.

    Other tests may keep servers for the whole session; they are children of this process, too.
    """
    import psutil

    this = psutil.Process()
    before = {child.pid for child in this.children(recursive=True)}
    return lambda: {child.pid for child in this.children(recursive=True)} - before


@contextmanager
def nothing_left() -> Generator[None]:
    """Fail when the block leaves a process (a zombie, too), or an open socket or pipe, behind."""
    import psutil

    this = psutil.Process()
    before = _state(this)
    yield
    gc.collect()  # what an exception's traceback held
    deadline = time.monotonic() + _PATIENCE
    # What was killed takes a moment to vanish.
    while True:
        processes, descriptors = _state(this)
        processes -= before[0]
        descriptors -= before[1]
        if not processes and not descriptors:
            return
        assert time.monotonic() < deadline, f"left behind: processes {processes}, descriptors {descriptors}"
        time.sleep(0.05)


def _state(this: psutil.Process) -> tuple[set[int], set[str]]:
    import os
    from pathlib import Path

    open_ones: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the text is wanted: such links lead nowhere
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
            open_ones.add(f"{entry.name} {target}")
    return {child.pid for child in this.children(recursive=True)}, open_ones
