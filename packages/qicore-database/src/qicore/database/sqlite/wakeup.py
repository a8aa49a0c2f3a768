"""How a thread wakes the event loop."""

import asyncio
import os
import sys
from collections.abc import Callable

__all__ = ["Wakeup"]


class Wakeup:
    """Has the loop call a function; `ring` may be called from any thread, also when the loop is closed.

    Where there are event counters (Linux), through one of its own: `call_soon_threadsafe` writes to a
    socket pair that the loop then reads until it would block, which takes 5 microseconds more, a tenth of a
    short statement and its two hops.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._counter: int | None = None
        if sys.platform == "linux":
            counter = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                loop.add_reader(counter, self._answer)
            except NotImplementedError:
                os.close(counter)
            else:
                self._counter = counter

    def ring(self) -> None:
        """Wake the loop."""
        if sys.platform == "linux" and self._counter is not None:
            os.eventfd_write(self._counter, 1)
            return
        try:
            self._loop.call_soon_threadsafe(self._callback)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    def _answer(self) -> None:
        if sys.platform == "linux" and self._counter is not None:
            os.eventfd_read(self._counter)
            self._callback()

    def close(self) -> None:
        """Leave the loop; called by the loop, when no thread rings any more."""
        if self._counter is not None:
            self._loop.remove_reader(self._counter)
            self._close_counter()

    def _close_counter(self) -> None:
        counter, self._counter = self._counter, None
        if counter is not None:
            os.close(counter)

    def __del__(self) -> None:
        # The threads hold this object, so none of them can write to a number that now means another file.
        self._close_counter()
