"""What a call goes through: its turn, the circuit breaker, the deadline, the table of errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from qicore.ai.access import place_of, secrets_in
from qicore.ai.config import CONNECTION, LLMConfig
from qicore.ai.errors import invalid_config, timed_out, to_error, without
from qicore.ai.messages import under
from qicore.ai.provider import ChatRequest, Provider, open_provider
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakers, Permit

__all__ = ["Link", "Links", "Route"]

T = TypeVar("T")


class Link:
    """A provider's connections, and the turns of those who use them."""

    __slots__ = ("provider", "turns")

    def __init__(self, provider: Provider, max_concurrency: int) -> None:
        self.provider = provider
        self.turns = asyncio.Semaphore(max_concurrency)


class Links:
    """The links of a client and of those made from it: one for each set of options that concern it."""

    def __init__(self, provider: str | Provider) -> None:
        self._provider: Any = provider
        self._links: list[tuple[tuple[object, ...], Link]] = []
        self.closed = False

    def get(self, config: LLMConfig) -> Result[Link]:
        """Return the link for these options."""
        key = (config.max_concurrency, *(getattr(config, name) for name in CONNECTION))
        for known, link in self._links:
            if known == key:
                return Success(link)
        given = self._provider
        opened = Success(given) if hasattr(given, "chat") else open_provider(given, config)
        return opened.flat_map(_named).map(
            lambda provider: self._keep(key, Link(provider, config.max_concurrency))
        )

    def _keep(self, key: tuple[object, ...], link: Link) -> Link:
        self._links.append((key, link))
        return link

    async def close(self) -> Result[None]:
        """Close all of them, also when one can't be closed; then the first error is the answer."""
        self.closed = True
        links, self._links = self._links, []
        results = [await _closed(link.provider) for _, link in links]
        return next((result for result in results if result.is_failure), Success(None))

    def refusal(self) -> Failure | None:
        """Return the answer of a client that is closed."""
        return Failure(_client_closed()) if self.closed else None


def _named(provider: Provider) -> Result[Provider]:
    if not isinstance(getattr(provider, "name", None), str):
        return Failure(invalid_config("a provider needs a `name`, a text: errors and responses have it"))
    return Success(provider)


async def _closed(provider: Provider) -> Result[None]:
    try:
        await provider.close()
    except Exception as error:  # noqa: BLE001 - the providers of users are closed here too
        return Failure(to_error(error, provider=provider.name))
    return Success(None)


class Route:
    """One way to an answer: a link, the options, and the circuit breaker of the model, if there is one."""

    __slots__ = ("_breakers", "config", "link", "links")

    def __init__(self, links: Links, link: Link, config: LLMConfig, breakers: CircuitBreakers | None) -> None:
        self.links = links
        self.link = link
        self.config = config
        self._breakers = breakers

    def request(self, asked: ChatRequest) -> ChatRequest:
        """Return what is asked on this way: with the options here, and below the system message here."""
        return replace(asked, config=self.config, messages=under(self.config.system, asked.messages))

    def breaker(self, model: str) -> CircuitBreaker | None:
        """Return the circuit breaker of a model: a server may be well, and one of its models ill."""
        if self._breakers is None:
            return None
        # The name stands in errors and logs.
        return self._breakers.get(f"{self.link.provider.name}:{place_of(self.config.base_url)}:{model}")

    def translate(self, exception: BaseException, model: str) -> QiError:
        """Return the error for what was raised."""
        error = to_error(exception, provider=self.link.provider.name, model=model)
        error = without(error, secrets_in(self.config.api_key, self.config.base_url))
        return _client_closed().with_cause(error) if self.links.closed else error

    def late(self, seconds: float, what: str, model: str) -> QiError:
        """Return the error for a deadline that has passed."""
        return timed_out(seconds, what, provider=self.link.provider.name, model=model)

    def deadline(self, begun: float) -> float | None:
        """Return the time of the loop's clock by which a call must end that began then."""
        return None if self.config.timeout is None else begun + self.config.timeout

    async def enter(self, model: str, begun: float) -> Result[Permit | None]:
        """Wait for a turn, and ask the circuit breaker; after a Success, `leave` must follow."""
        turns = self.link.turns
        if (refusal := self.links.refusal()) is not None:
            return refusal
        if turns.locked():
            try:
                async with asyncio.timeout_at(self.deadline(begun)):
                    await turns.acquire()
            except TimeoutError:
                return Failure(self.late(self.config.timeout or 0.0, "queue", model))
        else:
            await turns.acquire()  # which it does at once
        if (refusal := self.links.refusal()) is not None:  # it was closed while this one waited
            turns.release()
            return refusal
        breaker = self.breaker(model)
        if breaker is None:
            return Success(None)
        admitted = breaker.admit()
        if admitted.is_failure:
            turns.release()
        return admitted

    def leave(self) -> None:
        """Let the next one have its turn."""
        self.link.turns.release()

    async def call(
        self,
        model: str,
        operation: Callable[[Provider], Awaitable[T]],
        begun: float,
        *,
        limited: bool = True,
    ) -> Result[T]:
        """Run an operation of the provider within all of the limits; the total one only when `limited`."""
        entered = await self.enter(model, begun)
        if isinstance(entered, Failure):
            return entered
        permit = entered.unwrap()
        scope = asyncio.timeout_at(self.deadline(begun) if limited else None)
        try:
            async with scope:
                value = await operation(self.link.provider)
        except Exception as exception:  # noqa: BLE001 - it becomes a Failure, and the breaker hears of it
            if scope.expired() and isinstance(exception, TimeoutError):
                error = self.late(self.config.timeout or 0.0, "total", model)
            else:
                error = self.translate(exception, model)
            if permit is not None:
                permit.failure(error)
            return Failure(error)
        finally:
            self.leave()  # a permit that nobody used is given back when it is forgotten
        if permit is not None:
            permit.success()
        return Success(value)


def _client_closed() -> QiError:
    return QiError.validation("CLIENT_CLOSED", "the client is closed")
