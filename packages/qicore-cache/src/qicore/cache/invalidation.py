"""Hear from Redis which keys have changed: client-side caching, on a connection of its own.

The connection asks for `CLIENT TRACKING ON BCAST PREFIX ...`: Redis then reports every change of a key of the
namespace, whoever made it, an expiry included, before the one who made it gets its answer. See
https://redis.io/docs/latest/develop/reference/client-side-caching/

A connection can be lost without a sign. So it is asked for a sign of life, three times in `max_staleness`:
since Redis answers in order, a PONG proves that every change up to the moment of the PING was heard. What is
kept is trusted for `max_staleness` seconds after the last PING that was answered, and not a moment longer,
whatever happens to the network, to Redis or to this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from qicore.cache.connection import Spare
from redis.exceptions import RedisError

__all__ = ["Listener"]

_logger = logging.getLogger("qicore.cache")
_PAUSE_FIRST: Final = 0.05  # seconds between attempts to connect, doubled up to
_PAUSE_LAST: Final = 2.0


class Listener:
    """Keeps the connection, and says how long what was heard through it may be trusted.

    Attributes:
        trusted_until: the moment, on `clock`, up to which everything kept is true to within `max_staleness`.
        max_staleness: seconds.
    """

    __slots__ = (
        "_clock", "_connect", "_connected", "_on_keys", "_on_reset", "_pinged", "_prefix", "_task",
        "max_staleness", "trusted_until",
    )  # fmt: skip

    def __init__(
        self,
        connect: Callable[[], Spare],
        prefix: bytes,
        *,
        max_staleness: float,
        clock: Callable[[], float],
        on_keys: Callable[[Sequence[bytes]], None],
        on_reset: Callable[[], None],
    ) -> None:
        self.max_staleness = max_staleness
        self.trusted_until = float("-inf")
        self._connect = connect
        self._prefix = prefix
        self._clock = clock
        self._on_keys = on_keys
        self._on_reset = on_reset
        self._pinged: float | None = None
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, patience: float) -> bool:
        """Begin to listen, and go on; True when the connection stands within `patience` seconds."""
        self._task = asyncio.create_task(self._run(), name="qicore-cache invalidation")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._connected.wait()
        return self._connected.is_set()

    async def close(self) -> None:
        """Stop listening; nothing is trusted any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _run(self) -> None:
        pause = _PAUSE_FIRST
        while True:
            connection: Spare | None = None
            try:
                connection = self._connect()
                await self._subscribe(connection)
                pause = _PAUSE_FIRST
                await self._listen(connection)
            except Exception as exception:  # noqa: BLE001 - whatever ends it, it is begun anew
                _logger.warning("the invalidation connection was lost: %s", type(exception).__name__)
            finally:
                self._distrust()
                if connection is not None:
                    with contextlib.suppress(RedisError, OSError):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_LAST)

    async def _subscribe(self, connection: Spare) -> None:
        began = self._clock()
        async with asyncio.timeout(self.max_staleness):
            await connection.connect()
            # redis-py has no public way to hear invalidations on an asyncio connection.
            parser = cast("Any", connection)._parser
            parser.set_invalidation_push_handler(self._heard)
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
            await connection.read_response()
        # What was kept before this moment may have changed unheard.
        self._on_reset()
        self._pinged = None
        self.trusted_until = began + self.max_staleness
        self._connected.set()

    async def _listen(self, connection: Spare) -> None:
        interval = self.max_staleness / 3
        due = self._clock() + interval
        while True:
            wait = max(0.0, due - self._clock())
            # Nothing (None) for an invalidation, which went to the handler, and when the time is over.
            if await connection.read_response(timeout=wait, push_request=True) is not None:
                if self._pinged is None:
                    raise RedisError("an answer to no question")
                self.trusted_until = self._pinged + self.max_staleness
                self._pinged = None
            now = self._clock()
            if now < due:
                continue
            if self._pinged is not None and now >= self._pinged + self.max_staleness:
                raise RedisError("no answer")
            due = now + interval
            if self._pinged is None:
                async with asyncio.timeout(self.max_staleness):
                    self._pinged = now
                    await connection.send_command("PING")

    async def _heard(self, message: list[Any]) -> None:
        keys: list[bytes] | None = message[1]
        if keys is None:  # FLUSHDB or FLUSHALL
            self._on_reset()
        else:
            self._on_keys(keys)

    def _distrust(self) -> None:
        self._connected.clear()
        self.trusted_until = float("-inf")
        self._on_reset()
