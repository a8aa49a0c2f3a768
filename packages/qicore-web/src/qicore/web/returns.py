"""What a handler answers: the type within the Result of its annotation, and the value within its Result."""

from __future__ import annotations

import collections.abc
import inspect
import types
from collections.abc import Callable
from typing import Any, Union, cast, get_args, get_origin

from fastapi.dependencies.utils import get_typed_return_annotation
from qicore.base import Failure, QiError, Result, Success
from starlette.responses import Response

__all__ = ["UNKNOWN_TYPE", "answered_type", "is_stream", "value_of"]

UNKNOWN_TYPE: Any = inspect.Parameter.empty
"""What `answered_type` gives for a handler without an annotation, or with one that JSON has no type for."""

_AWAITABLES = (collections.abc.Awaitable, collections.abc.Coroutine)


def answered_type(handler: Callable[..., Any]) -> Any:
    """Return T for a handler annotated with `Result[T]`, `T`, or an awaitable of either.

    >>> def user() -> Result[dict[str, int]]: ...
    >>> answered_type(user)
    dict[str, int]
    """
    if inspect.signature(handler).return_annotation is inspect.Signature.empty:
        return UNKNOWN_TYPE
    return _inner(get_typed_return_annotation(handler))


def _inner(annotation: Any) -> Any:
    if annotation is None:
        return type(None)
    origin = get_origin(annotation)
    if origin in _AWAITABLES:
        return _inner(get_args(annotation)[-1])
    if origin in (Result, Success):
        return _inner(get_args(annotation)[0])
    if annotation in (Result, Success, Failure, Any, inspect.Signature.empty):
        return UNKNOWN_TYPE
    if inspect.isclass(annotation) and issubclass(cast("type[Any]", annotation), Response | QiError):
        return UNKNOWN_TYPE
    if origin in (Union, types.UnionType):
        kept = [
            inner
            for inner in map(_inner, (arm for arm in get_args(annotation) if arm is not Failure))
            if inner is not UNKNOWN_TYPE
        ]
        if len(kept) != sum(arm is not Failure for arm in get_args(annotation)):
            return UNKNOWN_TYPE  # one of them is a response, or anything
        return cast("Any", Union)[tuple(kept)] if kept else UNKNOWN_TYPE
    return cast("Any", annotation)


def is_stream(handler: Callable[..., Any]) -> bool:
    """Return whether the handler yields: FastAPI streams what it yields."""
    return inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)


def value_of(outcome: Any) -> Any:
    """Return the value of a Success; raise the error of a Failure; anything else is its own value."""
    if type(outcome) is Success:
        return outcome.data  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # of any type
    if type(outcome) is Failure:
        raise outcome.error
    return outcome
