"""What callers give a request to take along: what can't be sent would end the whole connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic_core import to_json
from qicore.base import Failure, Result, Success
from qicore.mcp.errors import invalid_message

__all__ = ["given", "is_json"]


def given(
    operation: str, name: object, values: Mapping[Any, Any] | None = None
) -> Result[dict[str, Any] | None]:
    """Return values by their names as a dict; MCP_INVALID_MESSAGE [VALIDATION] for what can't be sent.

    `name` is what the values are given to: a tool, a method, an address.

    >>> given("tools/call", "add", {"a": object()}).error
    <QiError VALIDATION/MCP_INVALID_MESSAGE: tools/call: JSON can't hold what was given>
    """
    taken: dict[Any, Any] = {}
    if values is not None:
        taken = dict(values) if isinstance(cast("object", values), Mapping) else {None: values}
    if not isinstance(name, str) or not name:
        wrong = "a name is needed"
    elif not all(isinstance(each, str) for each in taken):
        wrong = "values by their names are needed"
    elif not is_json((name, taken)):
        wrong = "JSON can't hold what was given"
    else:
        return Success(None if values is None else taken)
    return Failure(invalid_message(wrong, operation=operation))


def is_json(values: object) -> bool:
    """Whether JSON, in UTF-8, can hold this: not so an object of any kind, or a lone surrogate in a text."""
    try:
        to_json(values)
    except ValueError:
        return False
    return True
