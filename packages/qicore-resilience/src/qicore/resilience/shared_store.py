"""What the processes of a fleet keep in Redis of their circuits, and how they read and change it."""

from __future__ import annotations

import json
import math
import secrets
from typing import Any, Final, NamedTuple

from qicore.resilience.shared_circuit import Change, SharedCircuit, Told
from qicore.resilience.shared_scripts import CHANGE, LEAD, RELEASE, REPORT

__all__ = ["Answer", "Store", "read_message"]

_PARTS: Final = ("circuit", "circuit-failures", "circuit-counts", "circuit-leader", "circuit-wanted")


class Answer(NamedTuple):
    """What a script answered.

    Attributes:
        told: what the fleet's circuit is now.
        done: whether what was asked for was done.
        turns: how often the lead has changed hands since it opened.
        wanted: whether another process wants the lead.
    """

    told: Told
    done: bool
    turns: int
    wanted: bool


class Store:
    """The circuits of one namespace in Redis.

    Attributes:
        channel: where changes are told, to all who listen.
    """

    def __init__(self, client: Any, namespace: str, node: str) -> None:
        """Use `client`, of redis-py, as the process `node`."""
        self.channel = _bytes(f"{namespace}:circuits")
        self._client = client
        self._space = namespace
        self._node = node

    async def change(self, circuit: SharedCircuit, change: Change) -> Answer:
        """Say what has happened, unless it was founded on what is over."""
        left = -1 if change.left is None else math.ceil(change.left * 1000)
        state = "OPEN" if change.open else "CLOSED"
        return await self._run(CHANGE, circuit, change.base, state, left, int(change.by_hand))

    async def report(self, circuit: SharedCircuit, counted: tuple[int, int, int]) -> Answer:
        """Add to the fleet's counts so many calls, failed calls and slow calls."""
        config = circuit.config
        return await self._run(
            REPORT,
            circuit,
            circuit.version,
            *counted,
            config.failure_threshold if config.failure_rate is None else 0,
            math.ceil(config.monitoring_period * 1000),
            config.failure_rate or 0,
            config.minimum_calls,
            config.slow_call_rate or 0,
            math.ceil(config.reset_timeout * 1000),
        )

    async def lead(self, circuit: SharedCircuit, lease: float, *, demand: bool) -> Answer:
        """Ask for the lead, or keep it, for `lease` seconds."""
        return await self._run(LEAD, circuit, circuit.version, math.ceil(lease * 1000), int(demand))

    async def release(self, circuit: SharedCircuit) -> Answer:
        """Give the lead back."""
        return await self._run(RELEASE, circuit, circuit.version)

    async def _run(
        self, script: str, circuit: SharedCircuit, version: tuple[str, int] | None, *words: str | float
    ) -> Answer:
        # The name comes last, so that no name's key is a part of another's.
        keys = [_bytes(f"{self._space}:{part}:{circuit.name}") for part in _PARTS]
        known = "" if version is None else "{} {}".format(*version)
        # EVAL, not EVALSHA: Redis compiles a text once, and nothing has to be loaded again after a restart.
        era, number, state, left, done, turns, wanted = await self._client.execute_command(
            "EVAL", script, len(keys), *keys,
            known, secrets.token_hex(8), self._node, self.channel, _bytes(circuit.name), *map(str, words),
        )  # fmt: skip
        told = _told(era and era.decode(), number, state and state.decode(), left)
        return Answer(told, bool(done), turns, bool(wanted))


def read_message(data: bytes) -> tuple[str, Told, str]:
    """Return the name of a circuit that has changed, what it is, and which process has told so.

    >>> read_message(b'["geocoder", "a1", 2, "OPEN", 1500, "b2"]')
    ('geocoder', Told(version=('a1', 2), open=True, left=1.5), 'b2')
    """
    name, era, number, state, left, node = json.loads(data)
    return name, _told(era, number, state, left), node


def _told(era: str | None, number: int, state: str | None, left: float) -> Told:
    return Told((era, number) if era else None, state == "OPEN", None if left < 0 else left / 1000)


def _bytes(text: str) -> bytes:
    """Encode any text: a name that can't be would keep all other circuits from being shared."""
    return text.encode(errors="surrogatepass")
