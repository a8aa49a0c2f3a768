"""Say of every key what its value is and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.freezing import freeze
from qicore.config.masking import MASK, is_secret_path, mask_urls, names_secret, render
from qicore.config.models import defaults_of, is_secret_type, types_at
from qicore.config.paths import Path, show_path
from qicore.config.tree import Branch, ConfigValue, FrozenMapping, Source, leaves, origin_of

__all__ = ["Explanation", "explain"]

_DEFAULT: Final = Source(layer="default")


class Explanation(NamedTuple):
    """A key, its value for people with secrets masked, and where it came from.

    >>> str(Explanation("db.host", "localhost", Source(layer="app.yaml", file="app.yaml", line=3)))
    'db.host = localhost  (app.yaml:3)'
    """

    key: str
    value: str
    source: Source

    def __str__(self) -> str:
        return f"{self.key} = {self.value}  ({self.source})"


def explain(values: FrozenMapping, trace: Branch, model: type | None) -> list[Explanation]:
    """Return a row for every key, and with a model for every default too, in the order of the keys."""
    found = [(path, value, origin_of(origin)) for path, value, origin in leaves(values, trace) if path]
    if model is not None:
        found += [(path, value, _DEFAULT) for path, value in _defaults(values, [model], ())]
    rows = [
        Explanation(show_path(path), render(_masked_at(path, value, [model])), source)
        for path, value, source in found
    ]
    return sorted(rows, key=lambda row: row.key)


def _masked_at(path: Path, value: ConfigValue, kinds: list[Any]) -> object:
    for part in path:
        kinds = types_at(kinds, part)
        if is_secret_path((part,)) or any(map(is_secret_type, kinds)):
            return value if value is None or value == "" else MASK
    return _masked(value, kinds)


def _masked(value: ConfigValue, kinds: list[Any]) -> object:
    if isinstance(value, str):
        return _masked_text(value, kinds)
    if isinstance(value, Mapping):
        return {key: _masked_at((key,), item, kinds) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_masked_at((index,), item, kinds) for index, item in enumerate(value)]
    return value


def _masked_text(text: str, kinds: list[Any]) -> object:
    """Return the text of a scalar; a variable's may be JSON, with secrets in it."""
    if not text.lstrip().startswith(("{", "[")):
        return mask_urls(text)
    from qicore.config.json_format import read_json_value

    try:
        value, _ = read_json_value(text, _DEFAULT, ConfigLimits())
    except Refused:
        return MASK if names_secret(text) else mask_urls(text)
    return _masked(value, kinds)


def _defaults(
    values: Mapping[str, ConfigValue], kinds: list[Any], path: Path
) -> Iterator[tuple[Path, ConfigValue]]:
    for kind in kinds:
        if not isinstance(kind, type):
            continue
        for key, default in defaults_of(kind, values):
            try:
                frozen, branch = freeze({key: default}, _DEFAULT, ConfigLimits())
            except Refused:  # a function, say: nothing that a configuration holds
                yield (*path, key), f"<{type(default).__name__}>"
            else:
                for inner, value, _ in leaves(frozen, branch):
                    yield (*path, *inner), value
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _defaults(value, types_at(kinds, key), (*path, key))
