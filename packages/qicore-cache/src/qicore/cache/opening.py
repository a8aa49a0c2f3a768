"""Open a cache by what its URL or path names."""

from __future__ import annotations

import contextlib
import logging
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, cast

from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.cache.cache import Cache
from qicore.cache.config import CacheConfig
from qicore.cache.errors import load_failed
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

if TYPE_CHECKING:
    from qicore.cache.connection import Link
    from qicore.cache.wire import Wire

__all__ = ["open_persistent", "open_tiered"]

_LOG: Final = logging.getLogger("qicore.cache")
# What may be over in a moment; a refused login is not.
_PASSING: Final = (ErrorCategory.NETWORK, ErrorCategory.TIMEOUT)


async def open_persistent(url_or_path: str | PathLike[str], config: CacheConfig) -> Result[Cache[Any]]:
    """Return the cache on a Redis, or in a file."""
    checked = config.check()
    if checked.error is not None:
        return Failure(checked.error)
    target = cast("object", url_or_path)  # whatever callers without types gave
    if isinstance(target, PathLike):
        target = cast("object", target.__fspath__())
    if not isinstance(target, str):
        return Failure(_no_target(target))
    if "://" in target:
        return await _open_redis(target, config)
    from qicore.cache.file import FileCache

    opened = await FileCache.open(target, config)
    return opened.map(lambda cache: cache)


async def open_tiered(url: str, config: CacheConfig) -> Result[Cache[Any]]:
    """Return the cache in memory over one on Redis."""
    checked = config.check()
    if checked.error is not None:
        return Failure(checked.error)
    if not isinstance(cast("object", url), str):
        return Failure(_no_target(url))
    opened = await _open_redis(url, config)
    if opened.error is not None:
        return Failure(opened.error)
    from qicore.cache.tiered import TieredCache

    redis: Any = opened.unwrap()
    tiered = await TieredCache.open(redis, config)
    if tiered.error is not None:
        await redis.close()
    return tiered.map(lambda cache: cache)


def _no_target(target: object) -> QiError:
    message = f"a cache opens with the path of a file or a URL, not {type(target).__name__}"
    return QiError.validation("CACHE_CREATION_FAILED", message)


async def _open_redis(url: str, config: CacheConfig) -> Result[Cache[Any]]:
    # redis-py takes a while to import, and only who uses it should wait for it.
    from qicore.cache.connection import BadURLError, open_link, parse_target
    from qicore.cache.redis_cache import RedisCache

    try:
        target = parse_target(url)
    except BadURLError as wrong:
        return Failure(QiError.validation("CACHE_CREATION_FAILED", str(wrong)))
    link = open_link(target, timeout=config.timeout, max_connections=config.max_connections)
    wire = _wire(link, config)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(wire.close)
        error = (await wire.reach()).error
        if error is not None:
            if config.on_failure == "fail" or error.category not in _PASSING:
                return Failure(load_failed(error))
            _LOG.warning("Redis can't be reached; until it can, values are computed: %s", error)
        stack.pop_all()
    return Success(RedisCache(wire, link, config))


def _wire(link: Link, config: CacheConfig) -> Wire:
    from qicore.cache.cluster_wire import ClusterWire
    from qicore.cache.wire import ServerWire

    options = config.circuit_breaker or CircuitBreakerConfig(counts=_never)
    if link.spare is None:
        return ClusterWire(
            link,
            timeout=config.timeout,
            max_connections=config.max_connections,
            breaker=lambda address: CircuitBreaker(options, name=f"redis {address}"),
        )
    return ServerWire(
        link.spare,
        timeout=config.timeout,
        max_connections=config.max_connections,
        breaker=CircuitBreaker(options, name="redis"),
        link=link,
    )


def _never(_: QiError) -> bool:
    return False
