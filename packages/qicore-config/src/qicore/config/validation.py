"""Hold a configuration against a model or a type, and say of every bad key where it came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.config.errors import unforeseen
from qicore.config.masking import MASK, is_secret_path, secret_texts
from qicore.config.models import (
    adapter_of,
    field_names,
    fields_by_key,
    is_secret_field,
    is_secret_type,
    types_at,
)
from qicore.config.paths import Key, Path, parse_key, show_path
from qicore.config.reading import InvalidError, is_text, nearest, run, walk, with_models_read
from qicore.config.tree import (
    Branch,
    ConfigValue,
    FrozenMapping,
    Source,
    Trace,
    find,
    origin_of,
    thaw,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Problem", "check_required", "check_types", "json_schema_of", "validate_model"]

T = TypeVar("T")

# What pydantic says in these never depends on the value: they alone are told of a secret.
_BLIND: Final = frozenset((
    "bool_parsing", "bool_type", "bytes_type", "dict_type", "extra_forbidden", "float_parsing",
    "float_type", "int_parsing", "int_type", "list_type", "missing", "model_type",
    "string_pattern_mismatch", "string_too_long", "string_too_short", "string_type", "too_long",
    "too_short",
))  # fmt: skip
_SHORTEST_SECRET: Final = 4  # a shorter one would be found in any sentence
_NOWHERE: Final = Source(layer="")


@dataclass(frozen=True, slots=True)
class Problem:
    """A bad key, what was expected of it, and where it came from."""

    key: str
    expected: str
    source: Source | None

    def __str__(self) -> str:
        text = f"{self.key}: {self.expected}" if self.key else self.expected
        return text if self.source is None else f"{text} ({self.source})"

    def facts(self) -> dict[str, object]:
        """Return what goes into the context of the error."""
        source = self.source or _NOWHERE
        return {
            "key": self.key,
            "expected": self.expected,
            "layer": source.layer,
            "file": source.file,
            "line": source.line,
            "variable": source.variable,
        }


def _report(code: str, problems: list[Problem]) -> QiError:
    count = "1 key is" if len(problems) == 1 else f"{len(problems)} keys are"
    message = f"{count} not valid: " + "; ".join(map(str, problems))
    return QiError.validation(code, message, problems=[problem.facts() for problem in problems])


def validate_model(values: FrozenMapping, trace: Branch, model: type[T]) -> Result[T]:
    """Return the model that the values make: CONFIG_INVALID, CONFIG_BAD_MODEL, CONFIG_CHECK_FAILED."""
    try:
        validate = getattr(model, "model_validate", None) or adapter_of(cast("Any", model)).validate_python
        instance: T = run(validate, with_models_read(values, trace, model), trace)
    except InvalidError as invalid:
        return Failure(_report("CONFIG_INVALID", _problems(invalid, trace, model)))
    except Exception as error:  # noqa: BLE001 - whatever a validator of the user's raises
        return Failure(_not_ours(model, error))
    wrong = [
        Problem(show_path(path), "expected a number, not true or false", origin_of(origin))
        for path, origin in _booleans(values, trace, ())
        if _is_number(_at(instance, path))
    ]
    return Failure(_report("CONFIG_INVALID", wrong)) if wrong else Success(instance)


def check_types(values: FrozenMapping, trace: Branch, types: Mapping[Key, Any]) -> QiError | None:
    """Return what is missing or of another type; text from the environment is what it can be read as."""
    problems: list[Problem] = []
    for key, kind in types.items():
        path = parse_key(key)
        place = find(values, trace, path)
        name = kind.__name__ if type(kind) is type else str(kind).replace("typing.", "")
        if place is None:
            problems.append(Problem(show_path(path), f"missing, expected {name}", None))
            continue
        value, origin = place
        try:
            adapter = adapter_of(kind)
            run(partial(adapter.validate_python, strict=not is_text(origin)), thaw(value), origin)
        except InvalidError:
            problems.append(
                Problem(show_path(path), f"expected {name}, found {_kind(value)}", origin_of(origin))
            )
        except Exception as error:  # noqa: BLE001 - whatever a validator of the user's raises
            return _not_ours(kind, error)
    return _report("CONFIG_TYPE_MISMATCH", problems) if problems else None


def check_required(values: FrozenMapping, trace: Branch, keys: list[Key]) -> QiError | None:
    """Return all keys that are missing or null."""
    problems: list[Problem] = []
    for path in map(parse_key, keys):
        place = find(values, trace, path)
        if place is None:
            problems.append(Problem(show_path(path), "missing", None))
        elif place[0] is None:
            problems.append(Problem(show_path(path), "null", origin_of(place[1])))
    if not problems:
        return None
    count = "1 key is" if len(problems) == 1 else f"{len(problems)} keys are"
    return QiError.validation(
        "CONFIG_MISSING_KEYS",
        f"{count} missing: " + ", ".join(str(one).replace(": missing", "") for one in problems),
        keys=[problem.key for problem in problems],
    )


def json_schema_of(model: Any) -> Result[dict[str, Any]]:
    """Return the JSON Schema of a model or any type that pydantic knows: CONFIG_BAD_MODEL."""
    try:
        return Success(adapter_of(model).json_schema())
    except Exception as error:  # noqa: BLE001 - whatever a schema of the user's raises
        return Failure(_not_ours(model, error))


def _not_ours(model: Any, error: Exception) -> QiError:
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    name = getattr(model, "__name__", str(model))
    if isinstance(error, PydanticSchemaGenerationError | PydanticUserError):
        failure = QiError.validation("CONFIG_BAD_MODEL", f"pydantic can't use {name}: {error.message}")
        failure.__cause__ = error
        return failure
    return unforeseen("CONFIG_CHECK_FAILED", f"validating {name}", error)


def _problems(invalid: InvalidError, trace: Branch, model: Any) -> list[Problem]:
    data = invalid.data
    hidden = _secret_texts(data, model)
    found: dict[Path, list[str]] = {}
    for detail in invalid.details:
        path = walk(data, detail["loc"])
        if detail["type"] == "missing":
            path = (*path, detail["loc"][-1])
        says = _expected(detail, path, model)
        for text in hidden:
            says = says.replace(text, MASK)
        if says not in found.setdefault(path, []):
            found[path].append(says)
    problems: list[Problem] = []
    for path, wants in found.items():
        place = nearest(trace, path)
        # The whole configuration came from no one place.
        source = None if place is trace else origin_of(place)
        problems.append(Problem(show_path(path), _either(wants), source))
    return problems


def _either(says: list[str]) -> str:
    first, *others = says
    return " or ".join([first, *(one.removeprefix("expected ") for one in others)])


def _expected(detail: ErrorDetails, path: Path, model: Any) -> str:
    kind, message = detail["type"], detail["msg"]
    if (is_secret_path(path) or is_secret_field(model, path)) and kind not in _BLIND:
        return "this value is not accepted"
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        kinds: list[Any] = [model]
        for part in path[:-1]:
            kinds = types_at(kinds, part)
        close = difflib.get_close_matches(str(path[-1] if path else ""), field_names(kinds), n=1)
        return f"no such key, did you mean {close[0]}?" if close else "no such key"
    if kind == "union_tag_invalid":
        return f"expected one of {detail.get('ctx', {}).get('expected_tags', 'the known kinds')}"
    for start, instead in (
        ("Input should be ", "expected "),
        ("Value error, ", ""),
        ("Assertion failed, ", ""),
    ):
        if message.startswith(start):
            return instead + message.removeprefix(start)
    return message[:1].lower() + message[1:]


def _secret_texts(data: Any, model: Any) -> list[str]:
    texts = set(_secrets_in(data, [model]))
    whole = {form for text in texts for form in (text, repr(text)[1:-1]) if len(form) >= _SHORTEST_SECRET}
    return sorted(whole, key=len, reverse=True)


def _secrets_in(data: Any, kinds: list[Any]) -> Iterator[str]:
    items: Iterable[tuple[str | int, Any]]
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data).items()
    elif isinstance(data, list):
        items = enumerate(cast("Iterable[Any]", data))
    else:
        return
    for key, item in items:
        below = types_at(kinds, key)
        if is_secret_path((key,)) or any(map(is_secret_type, below)):
            yield from secret_texts(item)
        else:
            yield from _secrets_in(item, below)


# pydantic takes true for the number 1 unless it is strict in all things: so the outcome is looked at.


def _booleans(value: ConfigValue, trace: Trace, path: Path) -> Iterator[tuple[Path, Trace]]:
    if not isinstance(trace, Branch):
        return
    items = value.items() if isinstance(value, MappingProxyType) else enumerate(cast("Iterable[Any]", value))
    for key, item in items:
        if item is True or item is False:
            yield (*path, key), trace.children[key]
        elif isinstance(item, MappingProxyType | tuple):
            yield from _booleans(cast("ConfigValue", item), trace.children[key], (*path, key))


def _at(instance: Any, path: Path) -> Any:
    """Return what a validated model has at a path of the configuration, or None."""
    for part in path:
        names = fields_by_key(cast("Any", type(instance)))
        if isinstance(part, str) and part in names:
            instance = getattr(instance, names[part][0], None)
        elif isinstance(instance, Mapping | list | tuple):
            try:
                instance = cast("Any", instance)[part]
            except (KeyError, IndexError, TypeError):
                return None
        else:
            return None
    return instance


def _is_number(value: object) -> bool:
    return hasattr(value, "as_integer_ratio") and not isinstance(value, bool)


def _kind(value: ConfigValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "list"
    return "dict" if isinstance(value, Mapping) else type(value).__name__
