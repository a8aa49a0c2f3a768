"""Which keys there may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from qicore.base import QiError, Result
from qicore.cache.errors import invalid_key

__all__ = ["MAX_KEY_LENGTH", "check_key", "check_keys", "check_values"]

V = TypeVar("V")

MAX_KEY_LENGTH: Final = 4096  # characters


def check_key(key: object) -> QiError | None:
    r"""Return None for a text of 1 to 4096 characters that can be encoded, else INVALID_KEY [VALIDATION].

    >>> check_key("user:7")
    >>> check_key("").code, check_key(7).code, check_key("half a pair: \ud800").code
    ('INVALID_KEY', 'INVALID_KEY', 'INVALID_KEY')
    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH:
        return invalid_key(key)
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError:
            # As an error shows it: what can't be encoded can't be logged either.
            return invalid_key(key.encode(errors="backslashreplace").decode())
    return None


def check_keys(keys: Iterable[str]) -> Result[list[str]]:
    """Return the keys, each once and in their order, or INVALID_KEY for the first that is none.

    A text is no collection of keys, though it can be iterated.

    >>> check_keys(["b", "a", "b"])
    Success(['b', 'a'])
    """
    if isinstance(keys, str | bytes):
        return Result.failure(
            QiError.validation("INVALID_KEY", "keys must be a collection of texts, not one text")
        )
    found: dict[str, None] = {}
    try:
        for key in keys:
            wrong = check_key(key)
            if wrong is not None:
                return Result.failure(wrong)
            found[key] = None
    except Exception as exception:  # noqa: BLE001 - the caller's iterable may raise anything
        return Result.failure(QiError.from_exception(exception))
    return Result.success(list(found))


def check_values(values: Mapping[str, V]) -> Result[dict[str, V]]:
    """Return the values by key in a dict of our own, or INVALID_KEY for the first key that is none.

    >>> check_values({"a": 1, "b": 2})
    Success({'a': 1, 'b': 2})
    """
    try:
        found = dict(values)
    except Exception as exception:  # noqa: BLE001 - the caller's mapping may raise anything, or be none
        return Result.failure(QiError.from_exception(exception))
    return check_keys(found).map(lambda _: found)
