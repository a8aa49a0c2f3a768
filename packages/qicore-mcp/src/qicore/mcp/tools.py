"""Functions as tools: schemas from the signature, arguments that are checked, answers that are Results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
from pydantic import ValidationError
from pydantic_core import to_json
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.annotations import plain_signature, shaped_like
from qicore.mcp.handling import Handler, crashed, failed, logger

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import build_resolver_plans, find_resolved_parameters, resolve_arguments
from mcp.server.mcpserver.utilities.context_injection import find_context_parameter
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata

__all__ = ["ServerTool", "problems_of"]


class ServerTool:
    """A tool of a server."""

    __slots__ = ("_context", "_handler", "_metadata", "_names", "_plans", "_resolved", "description")

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None,
        title: str | None,
        description: str | None,
        annotations: types.ToolAnnotations | None,
        input_schema: Mapping[str, Any] | None,
    ) -> None:
        """Read the signature; TypeError or ValueError for a function that can be no tool."""
        signature = plain_signature(function)
        shape = shaped_like(function, signature, lambda: None)
        chosen: str = name or shape.__name__
        if chosen == "<lambda>":
            raise ValueError("a lambda needs a name as a tool")
        self._context = find_context_parameter(shape)
        self._resolved = find_resolved_parameters(shape)
        skipped = [*self._resolved, *([self._context] if self._context else [])]
        self._metadata: FuncMetadata = func_metadata(shape, skip_names=skipped)
        self._handler = Handler(f"the tool {chosen}", function)
        schema = self._metadata.arg_model.model_json_schema(by_alias=True)
        self._names = frozenset(schema.get("properties", {}))
        self._plans = build_resolver_plans(self._resolved, set(self._names))
        text = inspect.cleandoc(function.__doc__ or "") if description is None else description
        self.description = types.Tool(
            name=chosen,
            title=title,
            description=text,
            input_schema={**schema, "additionalProperties": False}
            if input_schema is None
            else {**input_schema},
            output_schema=self._metadata.output_schema,
            annotations=annotations,
        )

    async def run(
        self, arguments: Mapping[str, Any], context: Context[Any, Any]
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Check the arguments, call the function, and return its answer, or its failure, as a result."""
        checked = self._checked(arguments)
        if isinstance(checked, Failure):
            return failed(checked.error)
        values = checked.unwrap()
        if self._context is not None:
            values[self._context] = context
        if self._resolved:
            asked = await self._asked(values, context)
            if not isinstance(asked, dict):
                return asked
            values |= asked
        answered = await self._handler.call(**values)
        if isinstance(answered, Failure):
            return failed(answered.error)
        try:
            result = self._metadata.convert_result(answered.unwrap())
            to_json(result)
        except Exception:  # noqa: BLE001 - an answer that does not fit its schema, or that JSON can't hold
            logger.exception("%s answered something else than it promises", self._handler.what)
            return failed(crashed(self._handler.what))
        return result

    async def _asked(
        self, values: Mapping[str, Any], context: Context[Any, Any]
    ) -> dict[str, Any] | types.CallToolResult | types.InputRequiredResult:
        """Return what the client was asked for; or the questions, or that there is no answer."""
        try:
            return await resolve_arguments(self._resolved, self._plans, values, context)
        except MCPError:
            raise
        except ToolError as error:  # the client declined, or answered something else: the SDK's words
            return failed(QiError.validation("NO_INPUT", str(error)))
        except Exception:  # noqa: BLE001 - a function of the user's crashed
            logger.exception("%s failed to ask", self._handler.what)
            return failed(crashed(self._handler.what))

    def _checked(self, arguments: Mapping[str, Any]) -> Result[dict[str, Any]]:
        """Return the values of the arguments, or INVALID_ARGUMENTS with everything that is wrong."""
        problems = [f"{name}: there is no such argument" for name in arguments if name not in self._names]
        metadata = self._metadata
        try:
            # Some clients send lists and objects as JSON in a text; the SDK knows how to tell.
            texts = any(isinstance(value, str) for value in arguments.values())
            given = to_json(metadata.pre_parse_json(dict(arguments)) if texts else arguments)
            model = metadata.arg_model.model_validate_json(given, strict=True)
        except ValidationError as error:
            problems += problems_of(error)
        except (TypeError, ValueError, RecursionError):
            problems.append("the arguments are no JSON")
        else:
            if not problems:
                return Success(model.model_dump_one_level())
        return Failure(QiError.validation("INVALID_ARGUMENTS", "; ".join(problems)))


def problems_of(error: ValidationError) -> list[str]:
    """Tell everything that is wrong with arguments, each with its path, and no value."""
    return [
        f"{_path(problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "arguments"
