"""Calls the user's handlers, and makes of what they answer what the protocol wants."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import anyio.to_thread
import mcp_types as types
from mcp_types import CallToolResult, TextContent
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.mcp.errors import TOLD, text_of
from qicore.mcp.given import is_json

from mcp import MCPError

__all__ = ["Handler", "crashed", "failed", "logger", "protocol_error", "sendable"]

logger = logging.getLogger("qicore.mcp")

T = TypeVar("T")


class Handler:
    """A function of the user's, and what it is called in the log and to clients.

    One that is not async runs in a thread.
    """

    __slots__ = ("_function", "_waits", "what")

    def __init__(self, what: str, function: Callable[..., Any]) -> None:
        self.what = what
        self._function = function
        self._waits = inspect.iscoroutinefunction(inspect.unwrap(function))

    async def call(self, *values: Any, **arguments: Any) -> Result[Any]:
        """Call it, and answer a Result; what it raises is logged, and told as INTERNAL_ERROR.

        An MCPError passes: it is an answer of the protocol itself.
        """
        try:
            if self._waits:
                answer: Any = await self._function(*values, **arguments)
            else:
                bound = partial(self._function, *values, **arguments)
                answer = await anyio.to_thread.run_sync(bound, abandon_on_cancel=True)
                if inspect.isawaitable(answer):
                    answer = await answer
        except MCPError:
            raise
        except Exception:
            logger.exception("%s failed", self.what)
            return Failure(crashed(self.what))
        return cast("Result[Any]", answer) if isinstance(answer, Success | Failure) else Success(answer)

    async def value(self, *values: Any, **arguments: Any) -> Any:
        """Call it, and return its value; a Failure is raised as the protocol has it."""
        answered = await self.call(*values, **arguments)
        if isinstance(answered, Failure):
            raise protocol_error(answered.error)
        return answered.unwrap()


def crashed(what: str) -> QiError:
    """INTERNAL_ERROR [UNKNOWN]: nothing of what happened inside is told."""
    return QiError.create("INTERNAL_ERROR", f"{what} failed", ErrorCategory.UNKNOWN)


def sendable(what: str, answer: T) -> T:
    """Return an answer that JSON can hold; for another an MCPError is raised, which tells nothing of it.

    A lone surrogate, as the names of files may have them, would end the whole connection when it is sent.
    """
    if not is_json(answer):
        logger.error("%s answered what JSON can't hold", what)
        raise protocol_error(crashed(what))
    return answer


def failed(error: QiError) -> CallToolResult:
    """Return the result of a tool that failed: code, category and message, and nothing of the context."""
    return CallToolResult(
        content=[TextContent(type="text", text=text_of(error))], _meta={TOLD: _facts(error)}, is_error=True
    )


def protocol_error(error: QiError) -> MCPError:
    """Return the error of the protocol for a Failure of a resource or a prompt."""
    theirs = error.category is ErrorCategory.VALIDATION
    return MCPError(
        types.INVALID_PARAMS if theirs else types.INTERNAL_ERROR, text_of(error), data=_facts(error)
    )


def _facts(error: QiError) -> dict[str, Any]:
    return {"code": error.code, "category": error.category.value}
