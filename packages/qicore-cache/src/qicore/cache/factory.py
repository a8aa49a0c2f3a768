"""What a factory gives, as a Result, whichever of its forms it has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Factory

__all__ = ["FactoryRuns", "run_factory", "run_factory_sync", "tell_unkept"]

V = TypeVar("V")
_LOG: Final = logging.getLogger("qicore.cache")


class FactoryRuns:
    """The runs of the factories of one cache.

    Attributes:
        loads: how many gave a value.
        load_failures: how many failed or were cancelled.
    """

    __slots__ = ("load_failures", "loads")

    def __init__(self) -> None:
        self.loads = self.load_failures = 0

    async def run(self, factory: Factory[V]) -> Result[V]:
        """Run the factory and count."""
        try:
            made = await run_factory(factory)
        except BaseException:
            self.load_failures += 1
            raise
        if isinstance(made, Success):
            self.loads += 1
        else:
            self.load_failures += 1
        return made


def tell_unkept(key: str, error: QiError) -> None:
    """Log that a computed value is answered, but not kept."""
    _LOG.warning("the value of %r is computed, but can't be kept: %s", key[:200], error)


async def run_factory(factory: Factory[V]) -> Result[V]:
    """Return what the factory gives, awaited if need be; an exception is a Failure, mostly UNKNOWN.

    >>> import asyncio
    >>> asyncio.run(run_factory(lambda: 1))
    Success(1)
    """
    try:
        made: Any = factory()
        if not isinstance(made, Result) and isawaitable(made):
            made = await made
    except Exception as exception:  # noqa: BLE001 - a factory may raise anything
        return Failure(QiError.from_exception(exception))
    return cast("Result[V]", made) if isinstance(made, Result) else Success(cast("V", made))


def run_factory_sync(factory: Callable[[], Result[V] | V]) -> Result[V]:
    """Return what the factory gives; INVALID_FACTORY [VALIDATION] when that has to be awaited."""
    try:
        made: Any = factory()
    except Exception as exception:  # noqa: BLE001 - a factory may raise anything
        return Failure(QiError.from_exception(exception))
    if isinstance(made, Result):
        return cast("Result[V]", made)
    if isawaitable(made):
        if isinstance(made, Coroutine):
            made.close()
        return Failure(
            QiError.validation("INVALID_FACTORY", "get_or_set_sync can't await what this factory gives")
        )
    return Success(cast("V", made))
