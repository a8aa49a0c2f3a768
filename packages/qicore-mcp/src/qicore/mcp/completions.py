"""Suggestions for the arguments of prompts and the variables of templates, while they are typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import mcp_types as types
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.handling import Handler, crashed, logger, protocol_error, sendable

from mcp.server.lowlevel import Server

__all__ = ["Completions"]

_MOST: Final = 100
"""Values in one answer: the protocol's bound ("Completion", from 2024-11-05 on)."""


class Completions:
    """The functions that complete, by what they complete."""

    def __init__(self, server: Server[Any]) -> None:
        self._server = server
        self._functions: dict[tuple[str, str], Callable[[str], Any]] = {}

    def add(self, of: str, argument: str, function: Callable[[str], Any]) -> Result[None]:
        """Add one; the first tells clients that there are any. INVALID_COMPLETION [VALIDATION]."""
        if not callable(cast("object", function)):
            return Failure(QiError.validation("INVALID_COMPLETION", f"{of}: this can't be called"))
        if (of, argument) in self._functions:
            return Failure(
                QiError.validation("INVALID_COMPLETION", f"{of}: there is a completion of {argument} already")
            )
        if not self._functions:
            self._server.add_request_handler(
                "completion/complete", types.CompleteRequestParams, self._complete
            )
        self._functions[of, argument] = function
        return Success(None)

    async def _complete(self, _ctx: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
        reference = params.ref
        of = reference.name if isinstance(reference, types.PromptReference) else str(reference.uri)
        function = self._functions.get((of, params.argument.name))
        if function is None:  # nothing to suggest is no error
            return types.CompleteResult(completion=types.Completion(values=[]))
        what = f"the completion of {params.argument.name}"
        given: object = await Handler(what, function).value(params.argument.value)
        values = cast("Sequence[Any]", given) if isinstance(given, list | tuple) else (None,)
        if not all(isinstance(value, str) for value in values):
            logger.error("%s answered no texts", what)
            raise protocol_error(crashed(what))
        every = sendable(what, list(values))
        return types.CompleteResult(
            completion=types.Completion(values=every[:_MOST], total=len(every), has_more=len(every) > _MOST)
        )
