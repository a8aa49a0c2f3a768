"""What a schema has: a pydantic model, a dataclass, a TypedDict, a JSON Schema, a mapping or a set of names.

pydantic is known by its shape (`model_fields`) and never imported.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Final, TypeAlias, Union, cast

from qicore.document.analysis import Variable
from qicore.document.values import ELEMENT, VALUE, Need, Path, show

__all__ = ["lacking"]


class _Anything:
    """The schema of which nothing more is said: it has every part."""


class _Json:
    """A JSON Schema, with the document that its references point into."""

    def __init__(self, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
        self.schema = schema
        self.root = root


# ReadOnly is there from Python 3.13 on.
_WRAPPERS: Final = (typing.Required, typing.NotRequired, getattr(typing, "ReadOnly", typing.Required))
_MAX_REFERENCES: Final = 20
ANYTHING: Final = _Anything()
Schema: TypeAlias = object


def lacking(schema: Schema, needs: Iterable[Need]) -> list[Variable]:
    """Return the variables that are needed and that the schema lacks, each with its first line."""
    schema = _opened(schema)
    depths: dict[Path, int | None] = {}

    def depth(path: Path) -> int | None:
        """Return how many steps of the path lead to what is lacking, or None."""
        if path not in depths:
            depths[path] = _depth(schema, path)
        return depths[path]

    found: dict[tuple[str, str], Variable] = {}
    for need in needs:
        steps = depth(need.path)
        if steps is None or steps <= need.optional or any(depth(guard) is not None for guard in need.guards):
            continue
        name = show(need.path[:steps])
        found.setdefault((name, need.template), Variable(name, need.line, need.template))
    return list(found.values())


def _opened(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        mapping = cast("Mapping[str, Any]", schema)
        if "$schema" in mapping or (
            mapping.get("type") == "object" and isinstance(mapping.get("properties"), Mapping)
        ):
            return _Json(mapping, mapping)
    if isinstance(schema, (AbstractSet, Sequence)) and not isinstance(schema, (str, bytes)):
        return _tree(cast("Collection[str]", schema))
    return cast("Any", schema)


def _tree(names: Collection[str]) -> dict[str, Any]:
    """Return names, of which some may be dotted, as a mapping of mappings."""
    tree: dict[str, Any] = {}
    for name in sorted(names):
        first, _, rest = name.partition(".")
        inner = tree.setdefault(first, {})
        if rest:
            inner[rest] = {}
    return {name: _tree(inner) if inner else ANYTHING for name, inner in tree.items()}


def _depth(schema: Schema, path: Path) -> int | None:
    known = [schema]
    for index, step in enumerate(path, start=1):
        known = [part for whole in known for part in _parts(whole, step)]
        if not known:
            return index
        if any(part is ANYTHING for part in known):
            return None
    return None


def _parts(schema: Schema, step: str) -> list[Schema]:
    """Return the schemas of that part, several for a union, none when it is lacking."""
    match schema:
        case _Anything():
            return [ANYTHING]
        case _Json():
            return _json_parts(schema, step)
        case Mapping():
            mapping = cast("Mapping[str, object]", schema)
            if step == VALUE:
                return list(mapping.values()) or [ANYTHING]
            return [ANYTHING] if step == ELEMENT else [mapping[step]] if step in mapping else []
        case str() | bytes():
            return _class_parts(type(cast("object", schema)), step)
        case Sequence() | AbstractSet():
            if step == ELEMENT:
                return list(cast("Collection[object]", schema)) or [ANYTHING]
            return _class_parts(type(cast("object", schema)), step)
        case _:
            return _type_parts(schema, step)


def _type_parts(kind: Any, step: str) -> list[Schema]:
    origin: Any = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return [part for one in arguments if one is not type(None) for part in _parts(one, step)]
    if origin is typing.Annotated or origin in _WRAPPERS:
        return _parts(arguments[0], step)
    if origin is typing.Literal:
        return [part for value in arguments for part in _class_parts(type(value), step)]
    if kind in (Any, object) or isinstance(kind, (typing.TypeVar, str, typing.ForwardRef)):
        return [ANYTHING]
    if isinstance(kind, typing.NewType):
        return _parts(kind.__supertype__, step)
    if hasattr(kind, "__value__"):  # a `type` alias, from Python 3.12 on
        return _parts(kind.__value__, step)
    if isinstance(origin, type):
        if step in (ELEMENT, VALUE):
            if issubclass(origin, Mapping):
                return [arguments[1]] if step == VALUE else [arguments[0]]
            if issubclass(origin, tuple):
                return [one for one in arguments if one is not ...]
            return [arguments[0]] if arguments and issubclass(origin, Iterable) else [ANYTHING]
        if issubclass(origin, Mapping):
            return [arguments[1]]  # any key may be there
        return _class_parts(origin, step)
    return _class_parts(kind if inspect.isclass(kind) else type(kind), step)


def _class_parts(kind: Any, step: str) -> list[Schema]:
    if step in (ELEMENT, VALUE):
        return [ANYTHING]
    fields = _fields(kind)
    if step in fields:
        return [fields[step]]
    if typing.is_typeddict(kind):
        return []
    is_mapping = inspect.isclass(kind) and issubclass(kind, Mapping)
    return [ANYTHING] if hasattr(cast("object", kind), step) or is_mapping else []


@cache
def _fields(kind: Any) -> Mapping[str, object]:
    models = getattr(kind, "model_fields", None)
    if isinstance(models, Mapping):
        return {
            name: getattr(info, "annotation", ANYTHING)
            for name, info in cast("Mapping[str, Any]", models).items()
        }
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - a hint that can't be resolved here: the names still hold
        bases: tuple[type, ...] = kind.__mro__
        return {name: ANYTHING for base in bases for name in getattr(base, "__annotations__", ())}


def _json_parts(schema: _Json, step: str) -> list[Schema]:
    found: list[Schema] = []
    for one in _json_variants(schema, 0):
        if step == ELEMENT:
            found.append(one.get("items", ANYTHING))
        elif step == VALUE:
            found.append(one.get("additionalProperties", ANYTHING))
        elif step in one.get("properties", {}):
            found.append(one["properties"][step])
        elif one.get("additionalProperties") or not one.keys() & {"type", "properties", "enum", "const"}:
            found.append(one.get("additionalProperties", ANYTHING))
    return [
        _Json(cast("Mapping[str, Any]", part), schema.root) if isinstance(part, Mapping) else ANYTHING
        for part in found
    ]


def _json_variants(schema: _Json, depth: int) -> list[Mapping[str, Any]]:
    """Return the schema with references followed and alternatives taken apart."""
    one = schema.schema
    if depth > _MAX_REFERENCES:
        return [{}]
    reference = one.get("$ref")
    if isinstance(reference, str):
        return _json_variants(_Json(_referenced(schema.root, reference), schema.root), depth + 1)
    variants: list[Mapping[str, Any]] = []
    for key in ("anyOf", "oneOf", "allOf"):
        for inner in one.get(key, ()):
            if inner.get("type") != "null":
                variants += _json_variants(_Json(inner, schema.root), depth + 1)
    return [*variants, one] if not variants or "properties" in one else variants


def _referenced(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    target: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(step.replace("~1", "/").replace("~0", "~"), {}) if step else target
    return cast("Mapping[str, Any]", target)
