"""The arguments of a plain handler, taken from a request without a walk through a tree of dependencies."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from qicore.web.bodies import JSONBody, read_body
from qicore.web.errors import invalid_request
from starlette.requests import Request

__all__ = ["Arguments", "is_plain", "names_of_parameters"]

_SCALARS: Final = (str, int, float, bool, bytes, UUID, datetime, date, time, timedelta, Decimal, Enum)
_Found = tuple[dict[str, Any], list[Any]]


def is_plain(dependant: Dependant) -> bool:
    """Return whether a handler takes values of the request alone: no dependency, no response, no tasks."""
    return not (
        dependant.dependencies
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.websocket_param_name
        or dependant.http_connection_param_name
    )


class Arguments:
    """Takes the arguments of one plain handler from requests."""

    __slots__ = ("_body", "_body_name", "_known", "_request_name", "_sources", "is_empty")

    def __init__(self, dependant: Dependant, body: tuple[str, JSONBody] | None) -> None:
        groups: Sequence[tuple[Sequence[Any], Callable[[Request], Mapping[str, Any]]]] = (
            (dependant.path_params, lambda request: request.path_params),
            (dependant.query_params, lambda request: request.query_params),
            (dependant.header_params, lambda request: request.headers),
            (dependant.cookie_params, lambda request: request.cookies),
        )
        self._sources = [(_reader(fields), source) for fields, source in groups if fields]
        self._body_name: str = "" if body is None else body[0]
        self._body: JSONBody | None = None if body is None else body[1]
        self._known = names_of_parameters(dependant)
        if self._body is not None:
            self._known |= self._body.names
        self._request_name = dependant.request_param_name
        self.is_empty = not (self._sources or body or self._request_name)
        """Whether the handler takes nothing at all."""

    async def take(self, request: Request) -> dict[str, Any]:
        """Return the arguments; raise INVALID_REQUEST naming all that is wrong with them."""
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for read, source in self._sources:
            found, wrong = read(source(request))
            values.update(found)
            if wrong:
                errors += wrong
        if self._body is not None:
            value, wrong = self._body.parse(request.scope, await read_body(request.receive))
            values[self._body_name] = value
            errors += wrong
        if errors:
            raise invalid_request(errors, self._known)
        if self._request_name is not None:
            values[self._request_name] = request
        return values


def names_of_parameters(dependant: Dependant) -> frozenset[str]:
    """Return the names of all parameters of a handler and its dependencies: what an error may tell."""
    own = (
        *(dependant.path_params + dependant.query_params + dependant.header_params),
        *(dependant.cookie_params + dependant.body_params),
    )
    names = frozenset(name for field in own for name in _names(field))
    return names.union(*(names_of_parameters(below) for below in dependant.dependencies))


def _names(field: Any) -> list[str]:
    annotation = field.field_info.annotation
    models = [part for part in (annotation, *get_args(annotation)) if hasattr(part, "model_fields")]
    inner = [
        name
        for model in models
        for key, info in model.model_fields.items()
        for name in (key, key.replace("_", "-"), info.alias)
        if name
    ]
    return [field.alias, field.name, *inner]


def _reader(fields: Sequence[Any]) -> Callable[[Mapping[str, Any]], _Found]:
    """Return the function that reads one kind of parameter: ours for single values, else FastAPI's."""
    if not all(_is_single(field) for field in fields):
        return lambda received: request_params_to_args(fields, received)
    singles = [(field, field.name, field.alias, field.field_info) for field in fields]

    def read(received: Mapping[str, Any]) -> _Found:
        values: dict[str, Any] = {}
        errors: list[Any] = []
        for field, name, alias, info in singles:
            raw = received.get(alias)
            if raw is None and not info.is_required() and not info.validate_default:
                values[name] = field.get_default()
                continue
            if raw is None:
                errors.append({"type": "missing", "loc": (info.in_.value, alias), "msg": "Field required"})
                continue
            value, wrong = field.validate(raw, values, loc=(info.in_.value, alias))
            if wrong:
                errors += wrong
            else:
                values[name] = value
        return values, errors

    return read


def _is_single(field: Any) -> bool:
    alias = field.field_info.validation_alias
    return (alias is None or alias == field.alias) and _is_scalar(field.field_info.annotation)


def _is_scalar(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return all(arm is type(None) or _is_scalar(arm) for arm in get_args(annotation))
    if origin is Literal:
        return True
    return isinstance(annotation, type) and issubclass(cast("type[Any]", annotation), _SCALARS)
