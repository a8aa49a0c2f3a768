"""The statements that one connection has prepared at the server."""

from collections import OrderedDict
from typing import Final

__all__ = ["Prepared", "PreparedStatements"]

_KEPT: Final = 256
"""How many a connection keeps; beyond, the one that was not used for longest goes."""

_LONG: Final = 16_384
"""Bytes of a statement that is too long to be kept: it holds values, and is not likely to come again."""


class Prepared:
    """A statement that a connection has prepared, or is about to.

    Attributes:
        name: its name at the server; empty for one that is prepared anew each time.
        types: the numbers of the types of its parameters, once somebody asked for them.
        ready: whether the server has taken it.
    """

    __slots__ = ("name", "ready", "types")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.types: tuple[int, ...] | None = None
        self.ready = False


class PreparedStatements:
    """What is prepared, by its text, in the order of its last use."""

    __slots__ = ("_kept", "_made", "get")

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Prepared] = OrderedDict()
        self._made = 0
        self.get = self._kept.get

    def used(self, sql: bytes) -> None:
        """Note that one was used just now."""
        self._kept.move_to_end(sql)

    def make(self, sql: bytes, *, evict: bool) -> tuple[Prepared, Prepared | None]:
        """Return one to be prepared, and one that the server is to forget for it.

        Where none may be evicted and the room is full, and for a long text, it is one without a name.
        """
        full = len(self._kept) >= _KEPT
        if len(sql) > _LONG or (full and not evict):
            return Prepared(b""), None
        oldest = self._kept.popitem(last=False)[1] if full else None
        self._made += 1
        prepared = self._kept[sql] = Prepared(b"qicore_%d" % self._made)
        return prepared, oldest

    def forget(self, sql: bytes, prepared: Prepared) -> bool:
        """Prepare this text anew when it comes again; return whether this one was kept."""
        if self._kept.get(sql) is not prepared:
            return False
        del self._kept[sql]
        return True
