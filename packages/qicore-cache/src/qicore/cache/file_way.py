"""The way from a cache to its file: through the breaker, with errors as users see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from qicore.base import Failure, QiError, Result
from qicore.cache.config import CacheConfig
from qicore.cache.errors import closed, load_failed, write_failed
from qicore.cache.file_store import FileStore
from qicore.cache.file_worker import LATER, FileWorker
from qicore.resilience import CircuitBreaker, CircuitState, is_ill

__all__ = ["Way"]

T = TypeVar("T")
_AS_THEY_ARE: Final = frozenset({"CACHE_CLOSED", "CIRCUIT_OPEN"})
_ILL: Final = frozenset({"FILE_DAMAGED", "FILE_FOREIGN", "FILE_FULL", "FILE_READ_ONLY", "FILE_UNREADABLE"})


class Way:
    """What asks the file, and counts.

    Attributes:
        worker: what uses the file.
        failures: operations that failed, or that the open circuit turned away.
    """

    __slots__ = ("_breaker", "_read_now", "failures", "worker")

    def __init__(self, worker: FileWorker, config: CacheConfig) -> None:
        self.worker = worker
        self._read_now = worker.read_now
        self.failures = 0
        options = config.circuit_breaker
        if options is not None and options.counts is is_ill:
            options = replace(options, counts=_is_ill)
        self._breaker = None if options is None else CircuitBreaker(options, name="cache file")

    def ask_now(self, action: Callable[[FileStore], T]) -> Result[T]:
        """Do what is short and writes nothing, as `ask` does; `LATER` when that has to wait."""
        breaker, read_now = self._breaker, self._read_now
        if breaker is None:
            result = read_now(action)
        elif breaker.state is not CircuitState.CLOSED:  # `LATER` says nothing about the file, and would count
            return LATER
        else:
            result = breaker.call_sync(lambda: read_now(action))
        return result if result.error is None else self._failed(result.error, load_failed)

    async def ask(self, action: Callable[[FileStore], T], *, short: bool = True) -> Result[T]:
        """Do what writes nothing; CACHE_LOAD_FAILED, CACHE_CLOSED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        if short:
            done = self.ask_now(action)
            if done is not LATER:
                return done
        worker, breaker = self.worker, self._breaker
        if breaker is None:
            result = await worker.read(action)
        else:
            result = await breaker.call(lambda: worker.read(action))
        return result if result.error is None else self._failed(result.error, load_failed)

    async def tell(self, action: Callable[[FileStore], T], *, weight: int = 0) -> Result[T]:
        """Do what writes, so many bytes; CACHE_WRITE_FAILED, CACHE_CLOSED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        worker, breaker = self.worker, self._breaker
        if breaker is None:
            result = await worker.write(action, weight=weight)
        else:
            result = await breaker.call(lambda: worker.write(action, weight=weight))
        return result if result.error is None else self._failed(result.error, write_failed)

    def post(self, action: Callable[[FileStore], object]) -> None:
        """Do what writes, some time soon; nobody waits for it."""
        self.worker.post(action)

    def _failed(self, error: QiError, explain: Callable[[QiError], QiError]) -> Failure:
        if self.worker.stopped:  # whatever the breaker says
            return Failure(closed())
        self.failures += 1
        return Failure(error if error.code in _AS_THEY_ARE else explain(error))


def _is_ill(error: QiError) -> bool:
    """Whether the file is ill; a full disk and a damaged file are, though to ask again is no use at once."""
    return error.code in _ILL or is_ill(error)
