"""The body of a request: read to its limit, and taken as JSON exactly as the OpenAPI document says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, cast

from fastapi import params
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_json
from qicore.web.statuses import error_of_status
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

__all__ = ["JSONBody", "is_json_body", "limited", "read_body", "replayed"]

_TOO_LARGE: Final = "the body of the request is larger than the service takes"
_NOT_JSON: Final = "the body must be JSON in UTF-8, and Content-Type must say so: application/json"


async def read_body(receive: Receive) -> bytes:
    """Return the whole body; raise ClientDisconnect when the client leaves before its end."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        return body
    parts: list[bytes] = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
    raise ClientDisconnect


def limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Return a `receive` that gives at most `limit` bytes of body; past that it raises a 413.

    A body that is announced as larger is refused before any of it is read.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            # The server has checked that it is a number, and that the body is no longer than this.
            if value.isdigit() and len(value) < 20 and int(value) <= limit:
                return receive
            return _refusing
    held = 0

    async def counted() -> Message:
        nonlocal held
        message = await receive()
        if message["type"] == "http.request":
            held += len(message.get("body", b""))
            if held > limit:
                raise HTTPException(413, _TOO_LARGE)
        return message

    return counted


async def _refusing() -> Message:
    # An HTTPException, since FastAPI makes any other exception a 400 where it reads bodies itself.
    raise HTTPException(413, _TOO_LARGE)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body which was read already, and then what else there comes."""
    waiting = True

    async def replay() -> Message:
        nonlocal waiting
        if waiting:
            waiting = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def is_json_body(info: FieldInfo) -> bool:
    """Return whether FastAPI takes this parameter from a body of JSON."""
    return (
        isinstance(info, params.Body)
        and not isinstance(info, params.Form)
        and info.media_type == "application/json"
    )


class JSONBody:
    """Makes the value of a body, of the type that a handler asks for."""

    __slots__ = ("_default", "_required", "_strict", "_validate", "names")

    def __init__(self, info: FieldInfo, *, strict: bool) -> None:
        marks = [*info.metadata]
        if info.discriminator is not None:
            marks.append(Field(discriminator=info.discriminator))
        annotated: Any = Annotated[(info.annotation, *marks)] if marks else info.annotation
        adapter: TypeAdapter[Any] = TypeAdapter(annotated)
        self._validate: Callable[..., Any] = adapter.validator.validate_json
        # None leaves it to the models: their own strictness counts.
        self._strict = True if strict else None
        self._required = info.is_required()
        self._default: Callable[[], Any] = lambda: info.get_default(call_default_factory=True)
        self.names = names_of(adapter)
        """Every name in the schema of the body."""

    def parse(self, scope: Scope, body: bytes) -> tuple[Any, list[Mapping[str, Any]]]:
        """Return the value and what is wrong with it; raise UNSUPPORTED_MEDIA_TYPE for what is not JSON."""
        if not body:
            if not self._required:
                return self._default(), []
            return None, [{"type": "missing", "loc": ("body",), "msg": "Field required"}]
        if not says_json(scope):
            raise error_of_status(415, _NOT_JSON)
        try:
            if b"NaN" in body or b"Infinity" in body:
                # pydantic takes these for numbers, which they are not in JSON (RFC 8259, section 6).
                from_json(body, allow_inf_nan=False)
            return self._validate(body, strict=self._strict), []
        except ValidationError as wrong:
            errors = wrong.errors(include_url=False)
        except ValueError:
            return None, [{"type": "json_invalid", "loc": ("body",), "msg": "Invalid JSON"}]
        if any(error["type"] == "int_type" and isinstance(error["input"], float) for error in errors):
            # To JSON Schema 1.0 is an integer (2020-12, section 6.1.1), to a strict pydantic it is none.
            try:
                return self._validate(to_json(_with_integers(from_json(body))), strict=self._strict), []
            except ValidationError as wrong:
                errors = wrong.errors(include_url=False)
        return None, [{**error, "loc": ("body", *error["loc"])} for error in errors]


def _with_integers(value: Any) -> Any:
    """Return JSON with integers where it has floats that are whole."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_with_integers(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # any JSON
    return value


def says_json(scope: Scope) -> bool:
    """Return whether Content-Type says JSON in UTF-8, its only encoding (RFC 8259, section 8.1)."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value == b"application/json":
                return True
            kind, *parameters = value.decode("latin-1").lower().split(";")
            main, _, sub = kind.strip().partition("/")
            if main != "application" or not (sub == "json" or sub.endswith("+json")):
                return False
            charsets = [
                parameter.partition("=")[2].strip().strip('"')
                for parameter in parameters
                if parameter.strip().startswith("charset")
            ]
            return all(charset in ("utf-8", "utf8", "us-ascii") for charset in charsets)
    return False


def names_of(adapter: TypeAdapter[Any]) -> frozenset[str]:
    """Return every property name in the schema of a type."""
    try:
        schema: Any = adapter.json_schema()
    except Exception:  # noqa: BLE001 - pydantic has many errors for types that JSON Schema can't say
        return frozenset()
    names: set[str] = set()
    waiting: list[Any] = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            mapping = cast("dict[str, Any]", item)
            properties = mapping.get("properties")
            names.update(cast("dict[str, Any]", properties) if isinstance(properties, dict) else ())
            waiting += mapping.values()
        elif isinstance(item, list):
            waiting += item
    return frozenset(names)
