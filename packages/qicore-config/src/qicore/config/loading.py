"""From a file or a text to frozen values and the places they came from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.tree import Branch, FrozenMapping, Source

__all__ = ["FORMATS", "format_of", "read_file", "read_text"]

FORMATS: Final = ("json", "yaml", "toml", "env")
"""The formats by name; `yml` and `.env` are taken for `yaml` and `env`."""

_BY_SUFFIX: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".env": "env"}


def format_of(path: str) -> str:
    """Return the format of a file by its name; raise Refused.

    >>> format_of("app.yml"), format_of("deploy/.env.local")
    ('yaml', 'env')
    """
    name = Path(path).name.lower()
    if name == ".env" or name.startswith(".env."):
        return "env"
    found = _BY_SUFFIX.get(Path(name).suffix)
    if found is None:
        raise Refused("CONFIG_UNKNOWN_FORMAT", "the name must end in .json, .yaml, .yml, .toml or .env")
    return found


def read_file(path: str, limits: ConfigLimits) -> str:
    """Return the text of a file; raise Refused or OSError. At most the bytes that are allowed are read."""
    if "\0" in path:
        raise Refused("CONFIG_UNREADABLE", "a path can't have a NUL in it")
    # A pipe or a device may never end, and opening a pipe that nobody writes to never returns.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the path stays as it was given
        kind = "a directory" if os.path.isdir(path) else "no regular file"  # noqa: PTH112 - the same
        raise Refused("CONFIG_UNREADABLE", f"it is {kind}")
    with open(path, "rb") as file:  # noqa: PTH123 - the same
        data = file.read(limits.max_bytes + 1)
    if len(data) > limits.max_bytes:
        raise _too_large(limits)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
    raise Refused("CONFIG_PARSE_ERROR", "the text is not UTF-8", line=line, column=column)


def read_text(text: str, format: str, source: Source, limits: ConfigLimits) -> tuple[FrozenMapping, Branch]:  # noqa: A002 - the word users know
    """Return the values of `text` and their places; raise Refused."""
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise Refused("CONFIG_PARSE_ERROR", "there is a lone surrogate", line=line) from None
        if size > limits.max_bytes:
            raise _too_large(limits)
    elif len(text) > limits.max_bytes:
        raise _too_large(limits)
    text = text.removeprefix("\ufeff")
    match format.lower().removeprefix("."):
        case "yaml" | "yml":
            from qicore.config.yaml_format import read_yaml

            return read_yaml(text, source, limits)
        case "json":
            from qicore.config.json_format import read_json

            return read_json(text, source, limits)
        case "toml":
            from qicore.config.toml_format import read_toml

            return read_toml(text, source, limits)
        case "env":
            from qicore.config.dotenv_format import read_dotenv
            from qicore.config.environment import nest, variables_of

            bindings = read_dotenv(text, os.environ, limits, environ_wins=False)
            return nest(variables_of(bindings, source), "", "__", source, limits)
        case _:
            known = ", ".join(FORMATS)
            raise Refused("CONFIG_UNKNOWN_FORMAT", f"there is no format {format!r}, but {known}")


def _too_large(limits: ConfigLimits) -> Refused:
    return Refused("CONFIG_TOO_LARGE", f"it is larger than {limits.max_bytes} bytes")
