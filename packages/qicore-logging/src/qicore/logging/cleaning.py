"""Turn any context into plain JSON, without secrets. Nothing is lost, nothing raises."""

import dataclasses
import datetime as dt
import enum
import os
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, Final, cast

from qicore.base import QiError
from qicore.logging.escapes import scalar_text
from qicore.logging.redaction import REDACTED, Redactor

__all__ = ["RESERVED_KEYS", "Cleaner", "rename_reserved"]

RESERVED_KEYS: Final = frozenset(("timestamp", "level", "event", "exception", "stack"))
"""The keys a line itself uses. In a context they get an underscore: `event` is written as `event_`."""

_NEVER_SAFE: Final = RESERVED_KEYS | {"error", "exc_info"}  # an exception there is more than a value
_MAX_DEPTH: Final = 64
_MAX_VALUES: Final = 100_000  # per line: shared references can multiply a few objects into billions
_MAX_KEYS: Final = 4096  # keys are names in a program, a few hundred: more are data, and not remembered
_MAX_REPR: Final = 10_000
_AS_STR: Final = (uuid.UUID, Decimal, dt.timedelta)
_SCALARS: Final = frozenset((int, bool, type(None)))
_INTEGERS: Final = range(-(2**63), 2**64)  # what JSON readers, and orjson, take
_INFINITY: Final = float("inf")
_INFINITIES: Final = (_INFINITY, -_INFINITY)
_EXACT: Final = frozenset((str, int, bool, type(None)))


def rename_reserved(context: Mapping[str, object]) -> Mapping[str, object]:
    """Return `context` with an underscore behind each reserved key, and one more where that is taken."""
    if RESERVED_KEYS.isdisjoint(context):
        return context
    renamed: dict[str, object] = {}
    for key, value in context.items():
        name = key
        while name in RESERVED_KEYS or (name != key and name in context):
            name += "_"
        renamed[name] = value
    return renamed


class Cleaner:
    """Clean contexts by one redactor, and remember which keys need no second look.

    Attributes:
        safe: keys met before that are printable, not reserved and name no secret.
    """

    __slots__ = ("_redactor", "_verdicts", "safe")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._verdicts: dict[str, bool] = {}
        self.safe: set[str] = set()

    def fields(self, context: Mapping[Any, object]) -> dict[str, Any]:
        """Return the fields of a line as plain JSON."""
        plain = _Walk(self).mapping(context)
        if not self.safe.issuperset(plain) and len(self.safe) < _MAX_KEYS:
            new = plain.keys() - self.safe - _NEVER_SAFE
            self.safe.update(key for key in new if key.isprintable() and not self.is_secret(key))
        return plain

    def is_plain(self, context: Mapping[str, object]) -> bool:
        """Return whether `fields` would change nothing: safe keys, and scalars that JSON has."""
        if not self.safe.issuperset(context):
            return False
        for value in context.values():
            kind = type(value)
            if kind not in _EXACT and not (kind is float and value == value and value not in _INFINITIES):
                return False
        return True

    def is_secret(self, key: str) -> bool:
        """Return whether the value of `key` must not be shown."""
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._redactor.is_secret(key)
            if len(self._verdicts) < _MAX_KEYS:
                self._verdicts[key] = verdict
        return verdict


class _Walk:
    """One pass over the values of one line."""

    __slots__ = ("_above", "_cleaner", "_left")

    def __init__(self, cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        self._above: list[int] = []  # the containers this one is in, by id: what ends a cycle
        self._left = _MAX_VALUES

    def mapping(self, mapping: Mapping[Any, object]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in list(mapping.items()):
            name = self._key(key)
            while name in plain:  # 1 and "1" are two keys
                name += "_"
            plain[name] = REDACTED if self._cleaner.is_secret(name) else self.value(value)
        return plain

    def _key(self, key: object) -> str:
        if isinstance(key, str):
            return scalar_text(key)
        if isinstance(key, bytes):
            return key.decode("utf-8", "backslashreplace")
        rendered = self.value(key)
        return rendered if isinstance(rendered, str) else str(rendered)

    def value(self, value: object) -> Any:
        """Return `value` in plain JSON types."""
        kind = type(value)
        if kind is str:
            return scalar_text(cast("str", value))
        if kind in _SCALARS and (kind is not int or value in _INTEGERS):
            return value
        self._left -= 1
        if self._left < 0:
            return "<too many values>"
        if len(self._above) >= _MAX_DEPTH:
            return "<nested too deeply>"
        if id(value) in self._above:
            return f"<cycle: {kind.__name__}>"
        self._above.append(id(value))
        try:
            return self._render(value)
        except Exception as problem:  # noqa: BLE001 - a broken object must not take its line, or the caller, with it
            return f"<{kind.__name__}: rendering it raised {type(problem).__name__}>"
        finally:
            self._above.pop()

    def _render(self, value: object) -> Any:
        if isinstance(value, enum.Enum):
            return self.value(value.value)
        if isinstance(value, str):
            return scalar_text(value)
        if isinstance(value, int):
            return _whole(int.__int__(value))
        if isinstance(value, float):
            number = float.__float__(value)
            return number if -_INFINITY < number < _INFINITY else str(number)  # JSON has no NaN
        if isinstance(value, BaseException):
            return self._exception(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(cast("bytes", value)).decode("utf-8", "backslashreplace")
        if isinstance(value, type):
            return scalar_text(repr(value))
        if isinstance(value, Mapping):
            return self.mapping(cast("Mapping[object, object]", value))
        if isinstance(value, list | tuple | deque):
            return self._sequence(cast("Iterable[object]", value))
        if isinstance(value, AbstractSet):
            return sorted(self._sequence(cast("Iterable[object]", value)), key=repr)
        return self._object(value)

    def _sequence(self, items: Iterable[object]) -> list[Any]:
        values = list(items)
        if len(values) == 2 and isinstance(values[0], str | bytes):
            name = self._key(values[0])  # a pair such as a header's (name, value)
            if self._cleaner.is_secret(name):
                return [name, REDACTED]
        plain: list[Any] = []
        for item in values:
            plain.append(self.value(item))
            if self._left < 0:
                break
        return plain

    def _exception(self, exception: BaseException) -> Any:
        if isinstance(exception, QiError):
            return self.value(exception.to_structured_data())
        kind = type(exception)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        return {"type": name, "message": scalar_text(str(exception))}

    def _object(self, value: object) -> Any:
        if isinstance(value, dt.date | dt.time):
            return value.isoformat()
        if isinstance(value, _AS_STR):
            return scalar_text(str(value))
        if isinstance(value, os.PathLike):
            return self.value(os.fspath(cast("os.PathLike[str]", value)))
        if dataclasses.is_dataclass(value):
            return self._attributes(value, {field.name: field.repr for field in dataclasses.fields(value)})
        kind = type(value)
        if callable(getattr(kind, "model_dump", None)):  # pydantic, without importing it
            shown = {name: field.repr for name, field in cast("Any", kind).model_fields.items()}
            extra: dict[str, object] = getattr(value, "model_extra", None) or {}
            return {**self._attributes(value, shown), **self.mapping(extra)}
        attributes: Any = getattr(kind, "__attrs_attrs__", None)
        if attributes is not None:
            shown = {item.name: bool(item.repr) for item in attributes}
            return self._attributes(value, shown)
        if callable(own := getattr(value, "__structlog__", None)):
            return self.value(own())
        text = scalar_text(repr(value))
        return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}… ({len(text)} characters)"

    def _attributes(self, value: object, shown: Mapping[str, bool]) -> dict[str, Any]:
        """Return the fields of a record; one that its class keeps out of its repr is not for showing."""
        present = {name: show for name, show in shown.items() if hasattr(value, name)}
        hidden = {name: REDACTED for name, show in present.items() if not show}
        return self.mapping({name: getattr(value, name) for name in present} | hidden)


def _whole(number: int) -> int | str:
    """Return an integer as it is, or as text where 64 bits can't hold it."""
    if number in _INTEGERS:
        return number
    try:
        return str(number)
    except ValueError:  # more digits than the interpreter converts
        return hex(number)
