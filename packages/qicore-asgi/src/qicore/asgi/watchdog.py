"""The end of a worker whose supervisor is gone, even when its event loop does not turn any more."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import Final

__all__ = ["END_TIME", "Watchdog"]

END_TIME: Final = 5.0
"""Seconds that an application has to end, when the time for its requests is over."""


class Watchdog:
    """A thread that ends this process some time after the other end of a connection was closed.

    The event loop notices the same, and drains: then the process has ended by itself before.

    Attributes:
        grace: seconds between the two.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.grace = 0.0
        # Its own descriptor: the event loop closes the other one.
        self._descriptor = os.dup(connection.fileno())
        threading.Thread(target=self._watch, name="qicore.asgi watchdog", daemon=True).start()

    def _watch(self) -> None:
        hangup = select.poll()
        # No events but the hang-up, which is always told.
        hangup.register(self._descriptor, 0)
        hangup.poll()
        time.sleep(self.grace)
        os._exit(1)
