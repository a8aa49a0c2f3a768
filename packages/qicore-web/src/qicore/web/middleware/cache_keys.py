"""Under which keys a response cache keeps its responses."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from qicore.web.middleware.cache_rules import Fields
from starlette.types import Scope

__all__ = ["choice_of", "key_of"]

_PREFIX: Final = "qicore-web:"
_SEPARATOR: Final = b"\0"  # it is in no header field and in no URL


def key_of(scope: Scope, host: bytes) -> str:
    """Return the key of a request's URL, one for all methods.

    The host is in it, since answers hold links: nobody must be able to plant one under a name of their own.
    It is a digest, so that a key is short whatever was asked for, and tells nothing of it.
    """
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
    parts = (scope.get("scheme", "http").encode(), host, path, scope.get("query_string", b""))
    return _PREFIX + hashlib.blake2b(_SEPARATOR.join(parts), digest_size=20).hexdigest()


def choice_of(key: str, names: Sequence[bytes], fields: Fields) -> str:
    """Return the key of what a request chooses at a URL, by the fields that Vary names.

    >>> one = choice_of("key", [b"accept"], [(b"accept", b"text/html,*/*")])
    >>> one == choice_of("key", [b"accept"], [(b"accept", b"text/html"), (b"accept", b" */*")])
    True
    >>> one == choice_of("key", [b"accept"], [])
    False
    """
    digest = hashlib.blake2b(key.encode(), digest_size=20)
    for name in names:
        digest.update(_SEPARATOR + name)
        for value in (value for key, value in fields if key == name):
            for part in value.split(b","):
                digest.update(_SEPARATOR + b"=" + part.strip())
    return _PREFIX + digest.hexdigest()
