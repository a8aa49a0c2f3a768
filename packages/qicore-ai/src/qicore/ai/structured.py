"""Answers that are values: the model is shown the schema, and its answer must fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from qicore.ai.errors import invalid_prompt
from qicore.ai.messages import Message
from qicore.ai.responses import ChatResponse
from qicore.base import QiError

__all__ = ["Shape"]

T = TypeVar("T")


class Shape(Generic[T]):
    """What an answer must be: a pydantic model, a dataclass, or any other type that pydantic knows."""

    __slots__ = ("_adapter", "_name", "schema")

    def __init__(self, into: type[T]) -> None:
        """Prepare it; a QiError INVALID_PROMPT is raised for a type of which JSON can't hold a value."""
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(into)
            self.schema: Mapping[str, Any] = self._adapter.json_schema()
        except Exception as error:
            raise invalid_prompt(f"an answer can't be a {into!r}: {type(error).__name__}") from error
        self._name = getattr(into, "__name__", str(into))

    def read(self, text: str) -> tuple[T | None, str]:
        """Return the value, or what is wrong with the text; a QiError is raised for what the type raises."""
        try:
            return self._adapter.validate_json(_bare(text)), ""
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return None, "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'the answer'}: {problem['msg']}"
                for problem in problems
            )
        except Exception as error:
            raise QiError.from_exception(error) from error

    def fits(self, response: ChatResponse) -> bool:
        """Whether the answer is a value."""
        try:
            return not self.read(response.text)[1]
        except QiError:
            return False

    def repair(self, text: str, problems: str) -> tuple[Message, Message]:
        """Return what to say to a model whose answer does not fit."""
        return (
            Message.assistant(text or "{}"),
            Message.user(
                f"That is no valid {self._name}: {problems}. "
                "Answer again, with the corrected JSON and nothing else."
            ),
        )


def _bare(text: str) -> str:
    """Return the JSON without the fence that some models put around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json")
    return text
