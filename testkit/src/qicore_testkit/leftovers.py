"""What a test of processes and sockets left behind."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["new_children", "nothing_left"]

_PATIENCE = 10.0


def new_children() -> Callable[[], set[int]]:
    """Give a function that tells the child processes that were started since now, and all theirs.

    Other tests may keep servers for the whole session. These are children of this process, too, and start
    processes of their own when they please: PostgreSQL does.
    """
    import psutil

    this = psutil.Process()
    before = set(this.children())  # equal by process id and time of creation: an id may come again

    def started() -> set[int]:
        new = [child for child in this.children() if child not in before]
        found = {child.pid for child in new}
        for child in new:
            with suppress(psutil.NoSuchProcess):
                found |= {each.pid for each in child.children(recursive=True)}
        return found

    return started


@contextmanager
def nothing_left() -> Generator[None]:
    """Fail when the block leaves a process (a zombie, too), or an open socket or pipe, behind."""
    children, before = new_children(), _descriptors()
    yield
    gc.collect()  # what an exception's traceback held
    deadline = time.monotonic() + _PATIENCE
    # What was killed takes a moment to vanish.
    while True:
        processes, descriptors = children(), _descriptors() - before
        if not processes and not descriptors:
            return
        assert time.monotonic() < deadline, f"left behind: processes {processes}, descriptors {descriptors}"
        time.sleep(0.05)


def _descriptors() -> set[str]:
    open_ones: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ():
        try:
            target = os.readlink(entry)  # noqa: PTH115 - the text is wanted: such links lead nowhere
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
            open_ones.add(f"{entry.name} {target}")
    return open_ones
