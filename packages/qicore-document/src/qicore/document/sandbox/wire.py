"""What travels between host and worker: frames, plain data one way, JSON the other."""

from __future__ import annotations

import io
import json
import pickle
import socket
import struct
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from functools import partial
from typing import Any, Final, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from markupsafe import Markup

__all__ = ["Frame", "Record", "dump_plain", "from_json", "receive", "send", "to_json"]

_HEADER: Final = struct.Struct("<BI")
_SAFE: Final = (date, time, timedelta, timezone, datetime, range, complex, bytearray)
_FUNCTIONS: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, partial)


class Frame(IntEnum):
    """The kinds of messages."""

    SETUP = 1
    READY = 2
    JOB = 3
    TEXT = 4
    ASK = 5
    ANSWER = 6
    REFUSE = 7
    DONE = 8
    ERROR = 9


def send(channel: socket.socket, kind: Frame, payload: bytes = b"") -> None:
    """Send one message."""
    if len(payload) < 4096:
        channel.sendall(_HEADER.pack(kind, len(payload)) + payload)
    else:  # not worth a copy
        channel.sendall(_HEADER.pack(kind, len(payload)))
        channel.sendall(payload)


def receive(read: Callable[[int], bytes], limit: int) -> tuple[Frame, bytes]:
    """Read one message; EOFError at the end, ValueError for one that is malformed or longer than `limit`."""
    kind, length = _HEADER.unpack(_exactly(read, _HEADER.size))
    if length > limit:
        raise ValueError("the message is too long")
    return Frame(kind), _exactly(read, length)


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = read(min(size, 1_048_576))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Record:
    """In the worker, the copy of an object: its public fields, and how it prints."""

    def __init__(self, fields: Mapping[str, object], text: str, reference: int | None) -> None:
        self.__dict__.update(fields)
        self._text = text
        self._reference = reference

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self._text)


def _type_of(value: object) -> Any:
    return type(value)


def _frozen(items: list[object]) -> frozenset[object]:
    return frozenset(items)


_MAKERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda seconds: timedelta(seconds=seconds),
    "Decimal": Decimal,
    "UUID": UUID,
    "Fraction": Fraction,
    "bytes": bytes.fromhex,
    "set": _frozen,
    "dict": dict,
    "list": list,
    "str": str,
    "int": int,
    "float": float,
    "Markup": Markup,
    "ZoneInfo": ZoneInfo,
}


def _rebuild(kind: str, value: Any) -> Any:
    """Make a value from its plain form, in the worker and, of what it sends, in the host."""
    return cast("object", _MAKERS[kind](value))


class _PlainPickler(pickle.Pickler):
    """Pickles plain values as they are and turns objects into Records.

    What can't travel stays here: `keep(value)` gives the number under which it is found again.
    """

    def __init__(
        self,
        file: io.BytesIO,
        keep: Callable[[object], int],
        with_references: bool,
        worker: Mapping[str, Any],
    ) -> None:
        super().__init__(file, protocol=5)
        self._keep = keep
        self._with_references = with_references
        self._worker = worker
        self._own = frozenset((*_SAFE, Record, *worker.values()))

    def reducer_override(self, value: Any) -> Any:
        """Say how a value travels that is none of pickle's own simple ones."""
        if isinstance(value, type):
            # A class is a way to make and to reach things: the host's own ones arrive as their names.
            return NotImplemented if value in self._own else (_rebuild, ("str", value.__qualname__))
        if isinstance(value, _FUNCTIONS):
            if value is _rebuild:
                return NotImplemented
            return self._worker["function"], (self._keep(cast("object", value)),)
        return self._reduce_value(value)

    def _reduce_value(self, value: Any) -> Any:
        kind = _type_of(value)
        zone = getattr(value, "tzinfo", None)
        if any(kind is safe for safe in _SAFE) and (zone is None or type(zone) in (timezone, ZoneInfo)):
            return NotImplemented
        match value:
            case datetime() | time():  # another zone than the standard library's, as its offset
                return _rebuild, (kind.__name__, value.isoformat())
            case Enum() if not isinstance(value, (str, int)):
                return self._record({"name": value.name, "value": value.value}, value)
            case str():
                return _rebuild, ("Markup" if hasattr(value, "__html__") else "str", str.__str__(value))
            case int():
                return _rebuild, ("int", int(value))
            case float():
                return _rebuild, ("float", float(value))
            case bytes():
                return _rebuild, ("bytes", bytes(value).hex())
            case Decimal() | UUID() | Fraction():
                bases = (Decimal, UUID, Fraction)
                return _rebuild, (next(base.__name__ for base in bases if issubclass(kind, base)), str(value))
            case ZoneInfo():
                return _rebuild, ("ZoneInfo", value.key)
            case Mapping():
                items = cast("Mapping[object, object]", value).items()
                return _rebuild, ("dict", ()), None, None, iter(items)
            case _ if isinstance(names := getattr(kind, "_fields", None), tuple):  # a named tuple
                fields = {name: getattr(value, name) for name in cast("tuple[str, ...]", names)}
                return self._record(fields, value)
            case Sequence():
                return _rebuild, ("list", ()), None, iter(cast("Sequence[object]", value))
            case AbstractSet():
                return _rebuild, ("set", list(cast("AbstractSet[object]", value)))
            case _ if hasattr(kind, "model_fields") or is_dataclass(
                kind
            ):  # even one that can be iterated over
                return self._record(_public_fields(value), value)
            case Iterable():
                return self._worker["items"], (self._keep(cast("object", value)),)
            case _ if callable(value) and not hasattr(value, "__dict__"):
                return self._worker["function"], (self._keep(value),)
            case _:
                return self._record(_public_fields(value), value)

    def _record(self, fields: Mapping[str, object], value: Any) -> Any:
        text = str(value) if _type_of(value).__str__ is not object.__str__ else f"<{type(value).__name__}>"
        reference = self._keep(value) if self._with_references else None
        return Record, (fields, text, reference)


def _public_fields(value: object) -> dict[str, object]:
    names: list[str] = [*getattr(value, "__dict__", ())]
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        names += [slots] if isinstance(slots, str) else [*slots]
    return {name: getattr(value, name) for name in names if not name.startswith("_") and hasattr(value, name)}


def dump_plain(
    value: object, keep: Callable[[object], int], worker: Mapping[str, Any], *, with_references: bool
) -> bytes:
    """Return `value` as the worker may see it. `worker` has its stand-ins for functions and for iterables."""
    file = io.BytesIO()
    _PlainPickler(file, keep, with_references, worker).dump(value)
    return file.getvalue()


_TAG: Final = "\0qi"


def _tagged(value: Any) -> object:
    match value:
        case Record() if vars(value)["_reference"] is not None:
            tagged: object = ["ref", vars(value)["_reference"]]
        case datetime() | date() | time():
            tagged = [type(value).__name__, value.isoformat()]
        case timedelta():
            tagged = ["timedelta", value.total_seconds()]
        case Decimal() | UUID() | Fraction():
            tagged = [type(value).__name__, str(value)]
        case bytes():
            tagged = ["bytes", value.hex()]
        case AbstractSet():
            tagged = ["set", list(cast("AbstractSet[object]", value))]
        case Iterable():
            return list(cast("Iterable[object]", value))
        case _:
            raise TypeError(f"a {type(value).__name__} can't be handed to a function outside the sandbox")
    return {_TAG: tagged}


def to_json(value: object) -> bytes:
    """Return arguments for the host as JSON."""
    return json.dumps(value, default=_tagged, separators=(",", ":")).encode()


def from_json(payload: bytes, kept: Sequence[object] = ()) -> Any:
    """Return what the worker sent; ValueError or TypeError if it is not what a worker sends."""

    def read(found: dict[str, Any]) -> Any:
        if found.keys() != {_TAG}:
            return found
        kind, value = found[_TAG]
        if kind == "ref":
            if type(value) is not int or not 0 <= value < len(kept):
                raise ValueError("there is no such object")
            return kept[value]
        return _rebuild(kind, value)

    try:
        return json.loads(payload, object_hook=read)
    except (LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError("the message is malformed") from error
