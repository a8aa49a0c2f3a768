"""Run pydantic on a configuration, whose variables hold only text.

Numbers and truth values pydantic reads out of text by itself. Where it wants a list or a mapping, the text is
read as JSON, or as values between commas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.models import fields_by_key, types_at
from qicore.config.paths import Path
from qicore.config.tree import Branch, FrozenMapping, PlainValue, Source, Trace, mark_of, thaw

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["InvalidError", "is_text", "nearest", "run", "walk", "with_models_read"]

T = TypeVar("T")

_NOWHERE: Final = Source(layer="")
_LISTS: Final = frozenset(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"))
_MAPPINGS: Final = frozenset(
    ("dict_type", "model_type", "model_attributes_type", "dataclass_type", "mapping_type")
)


class InvalidError(Exception):
    """pydantic's findings, without the values that its own exception shows, and what was validated."""

    def __init__(self, details: list[ErrorDetails], data: Any) -> None:
        super().__init__()
        self.details = details
        self.data = data


def run(validate: Callable[[Any], T], data: PlainValue, trace: Trace) -> T:
    """Validate; where a list or mapping is wanted and a variable's text is found, read that and try again."""
    from pydantic import ValidationError

    while True:
        try:
            return validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False, include_input=False)
        # Out here: an exception raised in the handler would carry pydantic's own, which holds every value.
        holder: dict[str | int, Any] = {"": data}
        if not any([_decode(detail["type"], detail["loc"], holder, trace) for detail in details]):  # noqa: C419 - all of them, not just one
            raise InvalidError(details, data)
        data = holder[""]


def with_models_read(values: FrozenMapping, trace: Branch, model: Any) -> PlainValue:
    """Thaw, and read the JSON of variables where a model is wanted: its validators wait for a mapping."""
    data = thaw(values)
    for path in _json_texts(values, trace, ()):
        kinds: list[Any] = [model]
        for part in path:
            kinds = types_at(kinds, part)
        if str not in kinds and any(fields_by_key(kind) for kind in kinds):
            _decode("model_type", path, {"": data}, trace)
    return data


def _json_texts(values: FrozenMapping, trace: Branch, path: Path) -> Iterator[Path]:
    for key, item in values.items():
        if isinstance(item, str):
            if item.lstrip().startswith("{") and is_text(trace.children[key]):
                yield (*path, key)
        elif isinstance(item, MappingProxyType):
            yield from _json_texts(item, cast("Branch", trace.children[key]), (*path, key))


def _decode(kind: str, loc: Path, holder: dict[str | int, Any], trace: Trace) -> bool:
    if kind not in _LISTS and kind not in _MAPPINGS:
        return False
    path = walk(holder[""], loc)
    inside: Any = holder
    last: str | int = ""
    for part in path:
        inside, last = inside[last], part
    text = inside[last]
    if not isinstance(text, str) or not is_text(nearest(trace, path)):
        return False
    if kind in _LISTS and not text.lstrip().startswith("["):
        inside[last] = [part.strip() for part in text.split(",")] if text.strip() else []
        return True
    from qicore.config.json_format import read_json_value

    try:
        value, _ = read_json_value(text, _NOWHERE, ConfigLimits())
    except Refused:
        return False
    if not isinstance(value, tuple | MappingProxyType):
        return False
    inside[last] = thaw(value)
    return True


def walk(data: Any, loc: tuple[str | int, ...]) -> Path:
    """Return the part of pydantic's location that the data has; the names of validators are left out."""
    path: list[str | int] = []
    inside: Any = data
    for part in loc:
        if isinstance(inside, dict | list):
            with suppress(KeyError, IndexError, TypeError):
                inside = cast("Any", inside)[part]
                path.append(part)
    return tuple(path)


def nearest(trace: Trace, path: Path) -> Trace:
    """Return the place of what is at `path`, or of the nearest thing around it."""
    for part in path:
        if not isinstance(trace, Branch) or part not in trace.children:
            break
        trace = trace.children[part]
    return trace


def is_text(trace: Trace) -> bool:
    """Return whether the value was an environment variable's, which knows only text."""
    return mark_of(trace)[0].variable is not None
