"""Values that are computed once for all processes: under a lock in the file, and written only under it.

The lock holds a random token and ends with its lease, which its holder extends while it computes. Whoever
waits takes over when the lease runs out, as it does when a process is killed. A holder may lose it unnoticed,
when its process was stopped for long. So what it has computed is written only while the lock has its token;
and whoever sets, removes or clears the value takes the lock away.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any, Final, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Factory
from qicore.cache.factory import FactoryRuns, tell_unkept
from qicore.cache.file_store import FileStore, Row
from qicore.cache.file_values import Header, Values
from qicore.cache.file_way import Way

__all__ = ["Computations"]

V = TypeVar("V")
_FIRST_PAUSE: Final = 0.002  # seconds between looks at a lock that another process has, doubled up to
_LONGEST_PAUSE: Final = 0.05


class Computations(FactoryRuns):
    """The computations of one cache in this process.

    Attributes:
        sets: how many values were kept.
        unkept: how many could not be serialised, or were too large.
    """

    __slots__ = ("_fall_through", "_lease", "_values", "_way", "sets", "unkept")

    def __init__(self, way: Way, values: Values, *, lease: float, fall_through: bool) -> None:
        super().__init__()
        self._way = way
        self._values = values
        self._lease = lease
        self._fall_through = fall_through
        self.sets = self.unkept = 0

    async def compute(
        self, key: str, factory: Factory[V], ttl: float | None, seen: Header | None
    ) -> Result[V]:
        """Return the value that was put there since `seen`, or compute one and write it."""
        token = secrets.token_bytes(16)
        pause = _FIRST_PAUSE
        while True:
            begun = await self._begin(key, token, seen)
            match begun.variant:
                case Failure(error):
                    return await self.without(error, factory)
                case Success(True):
                    return await self._under(key, token, factory, ttl)
                case Success((_, _, _, _) as row):
                    value: Result[V] = self._values.read(key, row)
                    if isinstance(value, Success):
                        return value
                    seen = row[1:]
                case Success():
                    # At random, so that those who wait do not look all at once.
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                    pause = min(2 * pause, _LONGEST_PAUSE)

    async def _begin(self, key: str, token: bytes, seen: Header | None) -> Result[Row | bool]:
        """Return the value other than `seen` that is there, or whether the lock was taken."""
        locked = await self._way.ask(lambda store: store.locked(key))
        if locked.data is not False:  # to read costs others nothing
            return locked.map(lambda _: False)

        def begin(store: FileStore) -> Row | bool:
            row = store.get(key)
            if row is not None and row[1:] != seen:
                return row
            return store.lock(key, token, self._lease)

        try:
            return await self._way.tell(begin)
        except BaseException:
            self._release(key, token)  # it may have been taken already
            raise

    async def _under(self, key: str, token: bytes, factory: Factory[V], ttl: float | None) -> Result[V]:
        loop = asyncio.get_running_loop()

        timer: asyncio.TimerHandle | None = None

        def renew() -> None:
            nonlocal timer
            if timer is not None:
                self._way.post(lambda store: store.extend(key, token, self._lease))
            timer = loop.call_later(self._lease / 3, renew)

        renew()
        given_back = False
        try:
            made = await self.run(factory)
            if isinstance(made, Success):
                given_back = await self._store(key, token, made.data, ttl)
            return made
        finally:
            if timer is not None:
                timer.cancel()
            if not given_back:
                self._release(key, token)

    async def _store(self, key: str, token: bytes, value: object, ttl: float | None) -> bool:
        """Write the value under the lock; True when that gave the lock back."""
        packed = self._values.pack(key, value, ttl).variant
        if isinstance(packed, Failure):
            self.unkept += 1
            tell_unkept(key, packed.error)
            return False
        entry = packed.data

        def store_under(store: FileStore) -> bool:
            held = store.unlock(key, token)
            if held:
                store.set(entry)
            return held

        stored = await self._way.tell(store_under, weight=len(entry.value))
        if stored.error is not None:
            tell_unkept(key, stored.error)
            return False
        self.sets += stored.data is True
        return True

    def _release(self, key: str, token: bytes) -> None:
        # Not awaited: this task may have been cancelled. What is asked next finds it done.
        self._way.post(lambda store: store.unlock(key, token))

    async def without(self, error: QiError, factory: Factory[Any]) -> Result[Any]:
        """Compute without the file, which has failed, or answer how, as the options say."""
        if self._fall_through and error.code != "CACHE_CLOSED":
            return await self.run(factory)
        return Failure(error)
