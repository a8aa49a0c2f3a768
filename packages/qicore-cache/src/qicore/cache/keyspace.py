"""How a namespace and a key become a name in Redis, so that no two namespaces ever share one."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Keyspace"]

_SPECIAL: Final = re.compile(r"[*?\[\]\\]")


class Keyspace:
    """The names of one namespace.

    A value is at `namespace:key`. In the namespace `%` and `:` are escaped, so the first colon ends it, and
    `a` with the key `b:c` is not `a:b` with the key `c`. In the key `%`, `{` and `}` are: a pair of braces
    would decide where in a Cluster it lives, and the lock of a key has to live beside its value.

    >>> space = Keyspace("shop:eu")
    >>> space.name("cart:7"), space.lock("cart:7")
    ('shop%3Aeu:cart:7', 'shop%3Aeu%lock:{shop%3Aeu:cart:7}')
    >>> space.key(b"shop%3Aeu:cart:7")
    'cart:7'
    """

    __slots__ = ("_locks", "locks", "pattern", "prefix")

    def __init__(self, namespace: str) -> None:
        escaped = namespace.replace("%", "%25").replace(":", "%3A").replace("{", "%7B").replace("}", "%7D")
        self.prefix = escaped + ":"
        # No namespace escapes to one with a bare `%`: no value is ever there.
        self._locks = escaped + "%lock:"
        self.pattern = self.matching("")
        self.locks = _SPECIAL.sub(r"\\\g<0>", self._locks) + "*"

    def name(self, key: str) -> str:
        """Return the name of a key's value."""
        if "%" in key or "{" in key or "}" in key:
            key = key.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        return self.prefix + key

    def lock(self, key: str) -> str:
        """Return the name of a key's lock, in the same slot of a Cluster as its value."""
        return f"{self._locks}{{{self.name(key)}}}"

    def key(self, name: bytes) -> str:
        """Return the key whose value has this name."""
        key = name.decode("utf-8", "surrogateescape")[len(self.prefix) :]
        if "%" in key:
            key = key.replace("%7D", "}").replace("%7B", "{").replace("%25", "%")
        return key

    def matching(self, beginning: str) -> str:
        """Return the pattern, for SCAN, of the names of all keys with this beginning."""
        return _SPECIAL.sub(r"\\\g<0>", self.name(beginning)) + "*"
