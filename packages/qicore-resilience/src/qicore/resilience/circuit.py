"""The circuit breaker: it stops calls to a service that is ill, and tries a few before it trusts it again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from qicore.base import Failure, Result, Success
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.errors import not_a_result, to_error
from qicore.resilience.listeners import Listener
from qicore.resilience.machine import Circuit
from qicore.resilience.permit import Permit
from qicore.resilience.phases import CircuitState, Closed, HalfOpen
from qicore.resilience.statistics import CircuitStatistics

__all__ = ["CircuitBreaker", "breaker_over", "how_ill"]

T = TypeVar("T")


class CircuitBreaker:
    """Stands before calls to one service, and turns them away while that service is ill.

    CLOSED lets every call through. At `failure_threshold` failures within `monitoring_period` seconds, or at
    the rates that the options name, it is OPEN, and every call is a Failure at once: CIRCUIT_OPEN [NETWORK],
    with the `name` and, in seconds, `retry_after` in its context. After `reset_timeout` seconds it is
    HALF_OPEN and lets exactly `half_open_requests` calls through. When they all succeed it is CLOSED; when
    one fails, OPEN again.

    Tasks and threads may share one. A call that is cancelled counts as neither success nor failure. What an
    operation raises becomes a Failure, as `QiError.from_exception` has it, and counts as its error does. An
    operation that never ends keeps its permit: give it a `Timeout`, inside the breaker.

    Raises ValueError for options that are wrong; `create` answers a Failure instead.

    >>> from qicore.base import Failure, QiError
    >>> breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2), name="geocoder")
    >>> down = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
    >>> [breaker.call_sync(lambda: down).error.code for _ in range(3)]
    ['NETWORK_ERROR', 'NETWORK_ERROR', 'CIRCUIT_OPEN']
    >>> breaker.state
    <CircuitState.OPEN: 'OPEN'>
    """

    __slots__ = ("__weakref__", "_circuit", "_config", "_name")

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config or CircuitBreakerConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._name = name
        self._circuit = Circuit(config, name, clock)

    @classmethod
    def create(
        cls,
        config: CircuitBreakerConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
    ) -> Result[Self]:
        """Check the options and return a breaker; INVALID_RESILIENCE_CONFIG [VALIDATION].

        >>> CircuitBreaker.create(CircuitBreakerConfig(failure_threshold=0)).error.code
        'INVALID_RESILIENCE_CONFIG'
        """
        checked = (config or CircuitBreakerConfig()).check()
        return checked.map(lambda config: cls(config, name=name, clock=clock))

    @property
    def name(self) -> str:
        """What the circuit leads to: it stands in errors, logs and changes."""
        return self._name

    @property
    def config(self) -> CircuitBreakerConfig:
        """The options."""
        return self._config

    @property
    def state(self) -> CircuitState:
        """The state now: an OPEN circuit whose `reset_timeout` is over reads HALF_OPEN."""
        return self._circuit.state

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation`, and answer its Result; or CIRCUIT_OPEN [NETWORK], not calling it."""
        circuit = self._circuit
        phase: Closed | HalfOpen | None = circuit.closed
        if phase is None:
            admitted = circuit.admit()
            if isinstance(admitted, Failure):
                return admitted
            phase = admitted
        started = circuit.clock() if circuit.timed else 0.0
        try:
            result = await operation()
        except Exception as exception:  # noqa: BLE001 - it becomes a Failure, and counts as its error does
            result = Failure(to_error(exception))
        except BaseException:
            phase.release()
            raise
        if isinstance(result, Success):
            if phase is circuit.quick:
                phase.succeeded += 1
            else:
                circuit.succeed(phase, started)
            return result
        return self._fail(phase, started, result)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` and answer its Result; or CIRCUIT_OPEN [NETWORK], not calling it."""
        circuit = self._circuit
        phase: Closed | HalfOpen | None = circuit.closed
        if phase is None:
            admitted = circuit.admit()
            if isinstance(admitted, Failure):
                return admitted
            phase = admitted
        started = circuit.clock() if circuit.timed else 0.0
        try:
            result = operation()
        except Exception as exception:  # noqa: BLE001 - it becomes a Failure, and counts as its error does
            result = Failure(to_error(exception))
        except BaseException:
            phase.release()
            raise
        if isinstance(result, Success):
            if phase is circuit.quick:
                phase.succeeded += 1
            else:
                circuit.succeed(phase, started)
            return result
        return self._fail(phase, started, result)

    def _fail(self, phase: Closed | HalfOpen, started: float, result: Result[T]) -> Result[T]:
        answer: object = result  # whatever callers without types gave
        if type(answer) is not Failure:
            result = answer = Failure(not_a_result(answer))
        self._circuit.fail(phase, started, answer.error)
        return result

    def admit(self) -> Result[Permit]:
        """Return the leave to make one call, whose holder says how it ended; or CIRCUIT_OPEN [NETWORK].

        For what is no single call: a stream, a connection that is kept.
        """
        circuit = self._circuit
        phase = circuit.admit()
        if isinstance(phase, Failure):
            return phase
        return Success(Permit(circuit, phase, circuit.clock() if circuit.timed else 0.0))

    def open(self) -> None:
        """Open the circuit by hand. It stays OPEN, whatever the time, until `close` or `reset`."""
        self._circuit.open()

    def close(self) -> None:
        """Close the circuit by hand, with an empty window: the service is known to be well again."""
        self._circuit.close(anew=False)

    def reset(self) -> None:
        """Begin anew: CLOSED, with an empty window and empty statistics. Listeners stay."""
        self._circuit.close(anew=True)

    def statistics(self) -> CircuitStatistics:
        """Return what it has seen so far."""
        return self._circuit.statistics()

    def add_listener(self, listener: Listener) -> None:
        """Call `listener` with a `CircuitChange` after each change of state. What it raises is logged."""
        self._circuit.listeners.add(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Call `listener` no more."""
        self._circuit.listeners.remove(listener)

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self._name!r} {self.state}>"


def breaker_over(circuit: Circuit, config: CircuitBreakerConfig, name: str) -> CircuitBreaker:
    """Return a breaker whose circuit is another one than its own."""
    breaker = CircuitBreaker.__new__(CircuitBreaker)
    breaker._circuit, breaker._config, breaker._name = circuit, config, name  # pyright: ignore[reportPrivateUsage]  # its own module
    return breaker


def how_ill(breaker: CircuitBreaker) -> int:
    """Return 0 for a breaker that has nothing to remember, and more the worse it would be to forget it."""
    return breaker._circuit.illness()  # pyright: ignore[reportPrivateUsage]  # its own module
