"""JSON bodies as values of a type, recognised by shape: pydantic need not be installed for it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, get_origin, overload

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.errors import parse_error
from qicore.http.urls import show_url

__all__ = ["Into", "ReadsJSON", "decode_json"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ReadsJSON(Protocol[T_co]):
    """Something that reads JSON itself, such as a `pydantic.TypeAdapter`."""

    def validate_json(self, data: bytes, /) -> T_co:
        """Return the value; raise ValueError for what it does not accept."""
        ...


Into = type[T] | Callable[[Any], T] | ReadsJSON[T]


@overload
def decode_json(response: httpx.Response) -> Result[Any]: ...
@overload
def decode_json(response: httpx.Response, into: ReadsJSON[T]) -> Result[T]: ...
@overload
def decode_json(response: httpx.Response, into: type[T]) -> Result[T]: ...
@overload
def decode_json(response: httpx.Response, into: Callable[[Any], T]) -> Result[T]: ...


def decode_json(response: httpx.Response, into: Any = None) -> Result[Any]:
    """Return the JSON of a response's body as a value of `into`; PARSE_ERROR [VALIDATION].

    `into` may be a pydantic model, a `pydantic.TypeAdapter`, a dataclass (its fields are the members, and any
    other member is left out), or any callable that takes the parsed JSON. Types with parameters, such as
    `list[Tea]`, are read by pydantic, which must be installed for them. Without `into` the JSON is returned.
    The error tells where the body is wrong, never what stands there.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Tea:
    ...     name: str
    >>> decode_json(httpx.Response(200, json={"name": "Assam", "leaves": 9}), Tea)
    Success(Tea(name='Assam'))
    """
    try:
        return Success(_read(response.content, into))
    except httpx.ResponseNotRead:
        return Failure(_wrong(response, "the body has not been read"))
    except ImportError:
        return Failure(_wrong(response, f"{_name(into)} with parameters is read by pydantic: install it"))
    except json.JSONDecodeError as error:
        return Failure(
            _wrong(response, f"the body is no JSON: {error.msg}", line=error.lineno, column=error.colno)
        )
    except RecursionError:
        return Failure(_wrong(response, "the JSON is nested too deeply"))
    except UnicodeDecodeError:
        return Failure(_wrong(response, "the body is no JSON: it is no text"))
    except Exception as error:  # noqa: BLE001 - whatever a foreign model raises
        return Failure(_wrong(response, f"the JSON is no {_name(into)}{_places(error)}"))


def _read(content: bytes, into: Any) -> Any:
    made: Any = into
    for reader in ("model_validate_json", "validate_json"):
        read = getattr(into, reader, None)
        if callable(read):
            return read(content)
    if get_origin(into) is not None:
        return _adapter(into).validate_json(content)
    value = json.loads(content)
    if into is None:
        return value
    if isinstance(into, type) and dataclasses.is_dataclass(into):
        if not isinstance(value, dict):
            raise TypeError
        members = cast("dict[str, Any]", value)
        names = {field.name for field in dataclasses.fields(into) if field.init}
        return made(**{name: member for name, member in members.items() if name in names})
    return made(value)


@functools.cache
def _adapter(into: Any) -> ReadsJSON[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(into)


def _name(into: Any) -> str:
    return str(getattr(into, "__name__", type(into).__name__))


def _places(error: Exception) -> str:
    """Return where it is wrong, in the words of pydantic, without the values."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return ""
    try:
        found: Any = errors(include_input=False, include_url=False, include_context=False)
        places = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in found[:5]]
    except (TypeError, KeyError):
        return ""
    return ": " + "; ".join(places)


def _wrong(response: httpx.Response, message: str, **context: object) -> QiError:
    with contextlib.suppress(RuntimeError):  # a response that somebody made by hand has no request
        context["url"] = show_url(response.request.url)
    return parse_error(message, status=response.status_code, **context)
