"""Write a configuration as text that reads back as the same configuration, or say why that can't be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final, cast

from qicore.config.errors import Refused
from qicore.config.loading import FORMATS
from qicore.config.paths import Path, show_path
from qicore.config.tree import ConfigValue, FrozenMapping, PlainValue, thaw

__all__ = ["write_text"]

_SHOWN: Final = 10


def write_text(values: FrozenMapping, format: str) -> str:  # noqa: A002 - the word users know
    """Return the text; raise Refused."""
    match format.lower().removeprefix("."):
        case "yaml" | "yml":
            _demand("YAML", values, _not_yaml)
            return _write_yaml(thaw(values))
        case "json":
            _demand("JSON", values, _not_json)
            return json.dumps(thaw(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        case "toml":
            _demand("TOML", values, _not_toml)
            from tomli_w import dumps

            return dumps(cast("dict[str, Any]", thaw(values)))
        case "env":
            _demand("dotenv", values, _not_dotenv)
            return "".join(_dotenv_lines(values, ()))
        case _:
            known = ", ".join(FORMATS)
            raise Refused("CONFIG_UNKNOWN_FORMAT", f"there is no format {format!r}, but {known}")


def _demand(
    name: str, values: FrozenMapping, objection: Callable[[ConfigValue, str | int], str | None]
) -> None:
    found = [
        f"{show_path(path)} ({problem})"
        for path, value in _everything(values, ())
        if (problem := objection(value, path[-1])) is not None
    ]
    if found:
        shown = ", ".join(found[:_SHOWN]) + (
            f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        )
        raise Refused("CONFIG_UNWRITABLE", f"{name} can't hold {shown}")


def _everything(value: ConfigValue, path: Path) -> Iterator[tuple[Path, ConfigValue]]:
    if path:
        yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _everything(item, (*path, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _everything(item, (*path, index))


def _not_json(value: ConfigValue, _: str | int) -> str | None:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "infinity"
    return _not_yaml(value, _)


def _not_yaml(value: ConfigValue, _: str | int) -> str | None:
    return f"a {type(value).__name__}" if isinstance(value, date | time) else None


def _not_toml(value: ConfigValue, _: str | int) -> str | None:
    if value is None:
        return "null"
    if isinstance(value, time) and value.tzinfo is not None:
        return "a time with an offset"
    if (
        isinstance(value, datetime)
        and (offset := value.utcoffset()) is not None
        and offset % timedelta(minutes=1)
    ):
        return "an offset with seconds"
    return None


_DOTENV_PART: Final = re.compile(r"[^\s=#'\"A-Z$]+")


def _not_dotenv(value: ConfigValue, part: str | int) -> str | None:
    if (
        not isinstance(part, str)
        or not _DOTENV_PART.fullmatch(part)
        or part != part.lower()
        or "__" in part
        or part.startswith("_")
        or part.endswith("_")
    ):
        return "a key that is no name in lower case"
    if isinstance(value, Mapping):
        return None if value else "an empty section"
    return None if isinstance(value, str) else f"{_kind(value)}; it holds only text"


def _kind(value: ConfigValue) -> str:
    return "null" if value is None else "a list" if isinstance(value, tuple) else f"a {type(value).__name__}"


def _dotenv_lines(value: ConfigValue, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _dotenv_lines(item, (*path, key))
    else:
        text = str(value).replace("\\", "\\\\").replace("'", "\\'")
        yield f"{'__'.join(path).upper()}='{text}'\n"


_BREAKS: Final = re.compile("[\r\x85\u2028\u2029]")


def _write_yaml(data: PlainValue) -> str:
    import yaml

    text: str = yaml.dump(data, Dumper=_yaml_dumper(), sort_keys=False, allow_unicode=True, width=110)
    return text


def _yaml_dumper() -> Any:
    """Return a dumper that quotes whatever YAML 1.1 or YAML 1.2 would not take for text."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML asks for each object
            return True

        def represent_text(self, text: str) -> Any:
            # Outside double quotes PyYAML writes these as line breaks, which then read back as blanks.
            style = '"' if _BREAKS.search(text) else None
            return cast("Any", self).represent_scalar("tag:yaml.org,2002:str", text, style=style)

    add: Any = Dumper
    add.add_representer(str, Dumper.represent_text)
    # YAML 1.1 knows `no` and `12:30`, which is PyYAML's own list; 1.2 adds these.
    number = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
    add.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(number), list("-+.0123456789"))
    add.add_implicit_resolver(
        "tag:yaml.org,2002:int", re.compile(r"0o[0-7]+$|[-+]?[0-9]+$"), list("-+0123456789")
    )
    return Dumper
