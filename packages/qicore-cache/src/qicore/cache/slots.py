"""Which server of a Cluster has which of its 16384 slots, as its servers tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from qicore.cache.connection import Command
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

__all__ = ["Address", "Slots", "slot_of"]

Address: TypeAlias = "tuple[str, int]"
_KEY_AT: Final = {"EVAL": 3}  # where a command has its key, if not right behind its name


def slot_of(command: Command) -> int:
    """Return the slot of the key that a command is about.

    >>> slot_of(("GET", "a")) == slot_of(("EVAL", "return 1", 2, "a", "{a}")) == 15495
    True
    """
    key = command[_KEY_AT.get(str(command[0]), 1)]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


class Slots:
    """The owners of the slots.

    Attributes:
        empty: whether of no slot it is known who has it.

    >>> slots = Slots()
    >>> slots.learn([[0, 99, [b"10.0.0.1", 6379, b"id"]], [100, 200, [b"", 6380, b"id"]]], "10.0.0.9")
    >>> slots.owner(7), slots.owner(100), slots.owner(201)
    (('10.0.0.1', 6379), ('10.0.0.9', 6380), None)
    """

    __slots__ = ("_owners", "empty")

    def __init__(self) -> None:
        self._owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self.empty = True

    def owner(self, slot: int) -> Address | None:
        """Return the server that has a slot, or None when nobody is known to."""
        return self._owners[slot]

    def owners(self) -> list[Address]:
        """Return the servers that have slots, sorted; it looks at all slots."""
        return sorted({owner for owner in self._owners if owner is not None})

    def move(self, slot: int, owner: Address) -> None:
        """Take in that a slot has moved."""
        self._owners[slot] = owner
        self.empty = False

    def learn(self, told: Iterable[Any], asked: str) -> None:
        """Take in the answer to CLUSTER SLOTS, of a server at the host `asked`.

        Of itself a server may know no host: then it is at the one where it was asked.
        """
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in told:
            host = primary[0] or b"?"
            owner = (asked if host == b"?" else host.decode(), int(primary[1]))
            owners[first : last + 1] = [owner] * (last + 1 - first)
        self._owners = owners
        self.empty = not any(owners)
