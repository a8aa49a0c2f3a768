"""Cache: what users of qicore-cache hold in their hands, wherever the values lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from qicore.base import Result
from qicore.cache.config import CacheConfig
from qicore.cache.statistics import CacheStatistics

if TYPE_CHECKING:
    from qicore.cache.memory import MemoryCache

__all__ = ["Cache", "Factory"]

V = TypeVar("V")

Factory: TypeAlias = Callable[[], Awaitable[Result[V]] | Awaitable[V] | Result[V] | V]
"""What computes a value: it takes nothing, and gives a Result of one, or one, or an awaitable of either."""


class Cache(ABC, Generic[V]):
    """Keeps values by key for a time. `V` is the type of the values.

    It opens with `create_memory`, `create_persistent` or `create_tiered`, and closes with `close` or at the
    end of an `async with`. Any number of tasks may use it at once. Each operation is awaited; a cache in
    memory answers its Result at once, and may be called without `await` too, from any thread.

    Codes of every operation: INVALID_KEY (no text, empty, or longer than 4096 characters), INVALID_TTL
    [VALIDATION]; CACHE_CLOSED, CACHE_LOAD_FAILED and CACHE_WRITE_FAILED [CACHE], whose causes say why the
    file or Redis failed; CIRCUIT_OPEN [NETWORK].
    """

    @staticmethod
    def create_memory(config: CacheConfig | None = None) -> Result[MemoryCache[Any]]:
        """Return a cache in this process; CACHE_CREATION_FAILED, INVALID_TTL [VALIDATION].

        >>> cache = Cache.create_memory(CacheConfig(ttl=60)).unwrap()
        >>> cache.set("user:7", "Ada").is_success
        True
        >>> cache.get("user:7").unwrap()
        'Ada'
        """
        from qicore.cache.memory import MemoryCache

        return MemoryCache.create(config)

    @staticmethod
    async def create_persistent(
        url_or_path: str | PathLike[str], config: CacheConfig | None = None
    ) -> Result[Cache[Any]]:
        """Return a cache in a file, or on Redis: `redis://`, `rediss://`, `unix://`; see the README for more.

        CACHE_LOAD_FAILED [CACHE] when it can't be opened; CACHE_CREATION_FAILED, INVALID_TTL [VALIDATION].
        """
        from qicore.cache.opening import open_persistent

        return await open_persistent(url_or_path, config or CacheConfig())

    @staticmethod
    async def create_tiered(url: str, config: CacheConfig | None = None) -> Result[Cache[Any]]:
        """Return a cache in memory over one on Redis, which says what others have changed.

        `max_entries`, `max_weight` and `weigh` are the memory's. While Redis can't be heard, a value may be
        answered for `max_staleness` seconds after it changed. A Cluster can't be listened to. Codes as above.
        """
        from qicore.cache.opening import open_tiered

        return await open_tiered(url, config or CacheConfig())

    @property
    @abstractmethod
    def config(self) -> CacheConfig:
        """The options it was made with."""

    @property
    @abstractmethod
    def raw(self) -> Any:
        """The object of the library underneath."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether `close` was called."""

    @abstractmethod
    def get(self, key: str) -> Awaitable[Result[V]]:
        """Return the value; KEY_NOT_FOUND [CACHE] when there is none, or no more. A cached None is one."""

    @abstractmethod
    def set(self, key: str, value: V, ttl: float | None = None) -> Awaitable[Result[None]]:
        """Keep a value, for `ttl` seconds or as long as the options say."""

    @abstractmethod
    def remove(self, key: str) -> Awaitable[Result[bool]]:
        """Remove a value; True when there was one."""

    @abstractmethod
    def has(self, key: str) -> Awaitable[Result[bool]]:
        """Whether there is a value. It is no use of it: what is evicted next stays the same."""

    @abstractmethod
    def get_or_set(self, key: str, factory: Factory[V], ttl: float | None = None) -> Awaitable[Result[V]]:
        """Return the value, or compute it, keep it and return it.

        Of all that ask at once one computes; on a file and on Redis also among processes. A factory that
        fails keeps nothing: its Failure is the answer of all that wait for it. When it is cancelled, another
        that waits computes. An exception is UNKNOWN. A factory that asks for its own key is CACHE_REENTRANT.
        """

    @abstractmethod
    def get_many(self, keys: Iterable[str]) -> Awaitable[Result[dict[str, V]]]:
        """Return the values that there are, by key."""

    @abstractmethod
    def set_many(self, values: Mapping[str, V], ttl: float | None = None) -> Awaitable[Result[None]]:
        """Keep many values, in one go."""

    @abstractmethod
    def keys(self, pattern: str = "*") -> Awaitable[Result[list[str]]]:
        """Return the keys that match, sorted: `*` any text, `?` one character, `[a-c]` one of these."""

    @abstractmethod
    def size(self) -> Awaitable[Result[int]]:
        """Return how many values there are."""

    @abstractmethod
    def clear(self) -> Awaitable[Result[None]]:
        """Remove all values of this namespace."""

    @abstractmethod
    def flush(self) -> Awaitable[Result[None]]:
        """Bring to the disk or to Redis what waits to be written, such as the uses of values in a file."""

    @abstractmethod
    def statistics(self) -> CacheStatistics:
        """Return what this cache has counted."""

    @abstractmethod
    def close(self) -> Awaitable[Result[None]]:
        """Release the file or the connections. A second call changes nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
