"""The client: what users of qicore-cache hold in their hands."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from qicore.base import Result, Success
from qicore.cache.config import CacheConfig


class Cache:
    """Opens with `create`, closes with `close` or at the end of an `async with`.

    >>> client = Cache.create().unwrap()
    >>> client.config.timeout
    30.0
    """

    __slots__ = ("_closed", "config")

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self._closed = False

    @classmethod
    def create(cls, config: CacheConfig | None = None) -> Result[Self]:
        """Check the options and return a client; INVALID_CACHE_CONFIG [VALIDATION]."""
        return (config or CacheConfig()).check().map(cls)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def close(self) -> Result[None]:
        """Release what the client holds. A second call changes nothing."""
        self._closed = True
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
