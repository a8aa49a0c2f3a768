"""Python functions as tools of a model: the schema comes from the signature, the answer is a Result."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo
from qicore.ai.errors import invalid_prompt
from qicore.ai.messages import ToolCall
from qicore.ai.reading import readable
from qicore.base import ErrorCategory, Failure, QiError, Result, Success

__all__ = ["Tool", "Toolbox", "ToolsGiven", "as_toolbox"]

logger = logging.getLogger("qicore.ai")

_NAME_LENGTH: Final = 64  # OpenAI's API reference: a-z, A-Z, 0-9, underscores and dashes, at most 64


@dataclass(frozen=True, slots=True)
class Tool:
    """Something that a model may ask to have called.

    >>> def add(a: int, b: int = 1) -> int:
    ...     '''Add two numbers.'''
    ...     return a + b
    >>> tool = Tool.from_function(add)
    >>> tool.name, tool.description, tool.parameters["required"]
    ('add', 'Add two numbers.', ['a'])
    >>> tool.parameters["properties"]["b"]
    {'default': 1, 'type': 'integer'}

    Attributes:
        name: what the model calls it.
        description: what the model is told of it.
        parameters: JSON schema of its arguments, an object.
        function: what is called; None for a tool that only shapes an answer.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = field(default=None, repr=False)
    _model: type[BaseModel] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> Tool:
        """Return the tool of a function, sync or async, that answers a Result or a value.

        Every parameter needs an annotation; `Annotated[int, Field(description=…, ge=0)]` of pydantic tells
        the model more. The docstring's first paragraph is the description. TypeError for a function that can
        be no tool: it takes `*args`, `**kwargs` or positional-only parameters, or one without an annotation.
        """
        chosen: str = name or getattr(function, "__name__", "") or type(function).__name__
        _check_name(chosen)
        fields: dict[str, Any] = {}
        hints = typing.get_type_hints(
            function if inspect.isroutine(function) else type(function).__call__, include_extras=True
        )
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"tool {chosen}: a model can't give {parameter}; name every parameter")
            if parameter.name not in hints:
                raise TypeError(f"tool {chosen}: parameter {parameter.name} needs an annotation")
            default: Any = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints[parameter.name], default)
        # The names of pydantic's own methods are free for parameters: each field is an alias.
        pairs = {
            f"p{number}": (kind, _aliased(default, key))
            for number, (key, (kind, default)) in enumerate(fields.items())
        }
        config = ConfigDict(extra="forbid", hide_input_in_errors=True)
        made: Any = create_model  # its overloads can't tell fields that are unpacked from its own options
        model: type[BaseModel] = made(chosen, __config__=config, **pairs)
        schema = _plain(model.model_json_schema(by_alias=True))
        text = (
            inspect.cleandoc(function.__doc__ or "").split("\n\n")[0] if description is None else description
        )
        return cls(chosen, " ".join(text.split()), schema, function, model)

    async def call(self, arguments: Mapping[str, Any]) -> Result[Any]:
        """Check the arguments, call the function, and return its answer as a Result.

        INVALID_ARGUMENTS [VALIDATION] names every argument that is wrong; TOOL_FAILED [UNKNOWN] stands for
        what the function raised, which is logged and not shown. A function that is not async runs in a
        thread.
        """
        function = self.function
        if function is None or self._model is None:
            return Failure(QiError.validation("UNSUPPORTED", f"the tool {self.name} has no function"))
        try:
            checked = _checked(self.name, self._model, arguments)
            values = checked.data
            if values is None:
                return Failure(cast("QiError", checked.error))
            if inspect.iscoroutinefunction(inspect.unwrap(function)):
                answer: Any = await cast("Awaitable[Any]", function(**values))
            else:
                answer = await asyncio.to_thread(function, **values)
                if inspect.isawaitable(answer):
                    answer = await answer
        except Exception:  # a tool of somebody's must not end the conversation
            logger.exception("the tool %s failed", self.name)
            return Failure(
                QiError.create(
                    "TOOL_FAILED", f"the tool {self.name} failed", ErrorCategory.UNKNOWN, {"tool": self.name}
                )
            )
        return cast("Result[Any]", answer) if isinstance(answer, Success | Failure) else Success(answer)


def _checked(tool: str, model: type[BaseModel], arguments: Mapping[str, Any]) -> Result[dict[str, Any]]:
    try:
        text = json.dumps(dict(arguments))
    except (TypeError, ValueError, RecursionError):
        return _wrong(tool, "the arguments are no JSON object")
    try:
        values = model.model_validate_json(text, strict=True, by_alias=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return _wrong(tool, "; ".join(f"{_path(problem['loc'])}: {problem['msg']}" for problem in problems))
    names = {name: cast("str", info.alias) for name, info in model.model_fields.items()}
    given = values.model_fields_set
    return Success({alias: getattr(values, name) for name, alias in names.items() if name in given})


def _wrong(tool: str, problems: str) -> Failure:
    return Failure(QiError.validation("INVALID_ARGUMENTS", f"{tool}: {problems}", tool=tool))


ToolsGiven: TypeAlias = Iterable[Tool | Callable[..., Any]]


class Toolbox:
    """Tools by name, as a call offers them."""

    __slots__ = ("tools",)

    def __init__(self, tools: Iterable[Tool]) -> None:
        self.tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self.tools:
                raise ValueError(f"two tools are named {tool.name}")
            self.tools[tool.name] = tool

    async def answer(self, call: ToolCall) -> str:
        """Call a tool and return what the model is told of it: JSON, a text as it is, or `CODE: message`.

        Of a Failure the model gets code and message, and nothing of the context.
        """
        tool = self.tools.get(call.name)
        if tool is None:
            return f"UNKNOWN_TOOL: there is no tool {call.name}. There are: {', '.join(self.tools)}"
        result = await tool.call(call.arguments)
        match result.variant:
            case Failure(error):
                return f"{error.code}: {error.message}"
            case Success(value):
                return _shown(tool.name, value)


def as_toolbox(tools: ToolsGiven) -> Toolbox:
    """Return the tools of functions and tools; a QiError INVALID_PROMPT is raised for what can be none."""
    try:
        return Toolbox(tool if isinstance(tool, Tool) else Tool.from_function(tool) for tool in tools)
    except Exception as error:  # what annotations raise is up to whoever wrote them
        raise invalid_prompt(f"tools: {error}") from error


def _shown(name: str, value: object) -> str:
    if isinstance(value, str):
        return readable(value)
    try:
        return TypeAdapter(Any).dump_json(value).decode("utf-8")
    except Exception:  # the serializers of somebody's types are called here
        logger.exception("the answer of the tool %s is no JSON", name)
        return f"TOOL_FAILED: the tool {name} failed"


def _check_name(name: str) -> None:
    plain = name.replace("_", "").replace("-", "")
    if not (name and len(name) <= _NAME_LENGTH and (plain.isalnum() or not plain) and name.isascii()):
        raise ValueError(
            f"{name!r} can't be the name of a tool: use letters, digits, _ and -, at most {_NAME_LENGTH}"
        )


def _aliased(default: Any, name: str) -> FieldInfo:
    made: FieldInfo = Field(default, alias=name)
    return made


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without titles, which cost tokens and say nothing."""
    plain: dict[str, Any] = {"type": "object", "properties": {}}
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            plain[key] = {name: _untitled(each) for name, each in value.items()}
        elif key != "title":
            plain[key] = value
    return plain


def _untitled(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    given = cast("Mapping[str, Any]", schema)
    kept = {key: value for key, value in given.items() if not (key == "title" and isinstance(value, str))}
    return _plain(kept) if "properties" in kept else kept


def _path(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".") or "arguments"
