"""What a handler's signature says, with `Result[T]` read as `T`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Union

from qicore.base import Failure, Result, Success

__all__ = ["name_of", "plain_signature", "shaped_like"]


def plain_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with annotations that are evaluated, and the return type without its Result.

    TypeError for a parameter without an annotation, and for `*args`, `**kwargs` and positional-only ones: a
    client names what it gives.
    """
    routine = function if inspect.isroutine(function) else type(function).__call__
    hints = typing.get_type_hints(routine, include_extras=True)
    signature = inspect.signature(function)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"{name_of(function)}: a client can't give {parameter}; name every parameter")
        if parameter.name not in hints:
            raise TypeError(f"{name_of(function)}: parameter {parameter.name} needs an annotation")
        parameters.append(parameter.replace(annotation=hints[parameter.name]))
    returned = hints.get("return", signature.empty)
    return signature.replace(parameters=parameters, return_annotation=_without_result(returned))


def shaped_like(
    function: Callable[..., Any], signature: inspect.Signature, called: Callable[..., Any]
) -> Any:
    """Return `called` with the name, the docstring and this signature of `function`, for the SDK to read."""
    shaped: Any = called
    shaped.__name__ = name_of(function)
    shaped.__doc__ = inspect.cleandoc(function.__doc__ or "")
    shaped.__signature__ = signature
    shaped.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    if signature.return_annotation is not signature.empty:
        shaped.__annotations__["return"] = signature.return_annotation
    return shaped


def _without_result(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    if origin in (Result, Success):
        return typing.get_args(annotation)[0]
    if origin in (Union, types.UnionType):
        arms = [_without_result(arm) for arm in typing.get_args(annotation) if arm is not Failure]
        return Union[tuple(arms)]  # noqa: UP007 - the arms are known at run time only
    if annotation in (Result, Success, Failure):
        return inspect.Signature.empty
    return annotation


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called, or else its type."""
    name: object = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__
