"""Values that are computed once for all processes: under a lock in Redis, and written only under it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Factory
from qicore.cache.config import CacheConfig
from qicore.cache.envelope import HEADER_SIZE
from qicore.cache.errors import load_failed
from qicore.cache.factory import FactoryRuns, tell_unkept
from qicore.cache.keyspace import Keyspace
from qicore.cache.locks import KeyLock
from qicore.cache.redis_values import Values
from qicore.cache.wire import Wire

__all__ = ["Computations"]

V = TypeVar("V")
_PAUSE_FIRST: Final = 0.002  # seconds between looks at a lock that another process has, doubled up to
_PAUSE_LAST: Final = 0.1
_PAUSE_RELEASE: Final = 0.5
_NEVER_SENT: Final = ("CACHE_CLOSED", "CIRCUIT_OPEN")


class Computations(FactoryRuns):
    """The computations of one cache in this process; they count here."""

    __slots__ = (
        "_background",
        "_config",
        "_space",
        "_values",
        "_wire",
        "failures",
        "sets",
    )

    def __init__(self, wire: Wire, space: Keyspace, values: Values, config: CacheConfig) -> None:
        super().__init__()
        self._wire = wire
        self._space = space
        self._values = values
        self._config = config
        self._background: set[asyncio.Task[Any]] = set()
        self.sets = self.failures = 0

    async def compute(self, key: str, factory: Factory[V], ttl: float | None, seen: bytes) -> Result[V]:
        """Return the value that another process has put there since `seen`, or compute one and write it."""
        name = self._space.name(key)
        lock = KeyLock(
            self._wire, name, self._space.lock(key), lease=self._config.lock_timeout, width=HEADER_SIZE
        )
        pause = _PAUSE_FIRST
        while True:
            try:
                begun = await lock.begin(seen)
            except BaseException:
                self._later(self._give_back(lock, unsure=True))
                raise
            match begun.variant:
                case Failure(error):
                    if error.code not in _NEVER_SENT:
                        self._later(self._give_back(lock, unsure=True))
                    return await self._without(error, factory)
                case Success(bool(taken)):
                    if taken:
                        return await self._under(lock, key, factory, ttl, seen)
                    # At random, so that those who wait do not ask all at once.
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                    pause = min(2 * pause, _PAUSE_LAST)
                case Success(data):
                    found = self._values.open(key, name, data if isinstance(data, bytes) else None)
                    if isinstance(found.value, Success) and not found.stale:
                        return found.value
                    seen = found.header

    async def close(self) -> None:
        """Wait for the locks that are being given back, as long as for an operation."""
        if self._background:
            _, late = await asyncio.wait(self._background, timeout=self._config.timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _without(self, error: QiError, factory: Factory[V]) -> Result[V]:
        """Redis can't be asked for the lock."""
        if error.code == "CACHE_CLOSED":
            return Failure(error)
        self.failures += 1
        if self._config.on_failure == "fall_through":
            return await self.run(factory)
        return Failure(error if error.code == "CIRCUIT_OPEN" else load_failed(error))

    async def _under(
        self, lock: KeyLock, key: str, factory: Factory[V], ttl: float | None, seen: bytes
    ) -> Result[V]:
        renewal = asyncio.create_task(_renew(lock), name="qicore-cache lock")
        given_back = False
        try:
            made = await self.run(factory)
            if isinstance(made, Success):
                given_back = await self._store(lock, key, made.data, ttl, seen)
            return made
        finally:
            renewal.cancel()
            if not given_back:
                # Not awaited: this task may be cancelled, and nobody waits for the lock but by looking.
                self._later(self._give_back(lock))

    async def _store(self, lock: KeyLock, key: str, value: object, ttl: float | None, seen: bytes) -> bool:
        """Write the value under the lock; True when that gave the lock back."""
        packed = self._values.pack(self._space.name(key), value, ttl)
        if packed.error is not None:
            self._unkept(key, packed.error)
            return False
        data, milliseconds, _ = packed.unwrap()
        stored = await lock.store(seen, data, milliseconds)
        if stored.error is not None:
            self._unkept(key, stored.error)
            return False
        self.sets += stored.unwrap()
        return True

    def _unkept(self, key: str, error: QiError) -> None:
        self.failures += 1
        tell_unkept(key, error)

    async def _give_back(self, lock: KeyLock, *, unsure: bool = False) -> None:
        """Release a lock, and try until it is certain, or its lease is over.

        When it is `unsure` whether it was taken, what takes it may be on its way still, and arrive after the
        first release: so there is another.
        """
        over = time.monotonic() + lock.lease
        pause = _PAUSE_FIRST
        while (await lock.release()).is_failure and time.monotonic() < over and not self._wire.closed:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_RELEASE)
        if unsure:
            await asyncio.sleep(_PAUSE_RELEASE)
            await lock.release()

    def _later(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _renew(lock: KeyLock) -> None:
    while True:
        await asyncio.sleep(lock.lease / 3)
        renewed = await lock.extend()
        if renewed.data is False:
            return  # it is somebody else's by now; what is computed is still answered, and not written
