"""The options of a DocumentGenerator."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from qicore.base import Failure, QiError, Result, Success

__all__ = ["DocumentConfig", "SandboxConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The bounds within which a stranger's template is rendered, in a process of its own.

    Attributes:
        timeout: seconds one rendering may keep its worker busy; then the worker is killed. Time the caller
            takes between the chunks of a stream is not counted.
        max_output: bytes of UTF-8 one rendering may produce.
        max_memory: bytes one rendering may take beyond what an idle worker has (RLIMIT_AS; see the README for
            systems without it).
        max_template: bytes of UTF-8 one template may have.
        max_workers: processes that may run at once; a further rendering waits up to `timeout` for one.

    >>> SandboxConfig(timeout=2).max_output
    10000000
    """

    timeout: float = 5.0
    max_output: int = 10_000_000
    max_memory: int = 268_435_456
    max_template: int = 1_000_000
    max_workers: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentConfig:
    """Where templates come from, what they may use, and how far they are trusted.

    A template name is looked up in `templates`, then in `directories`, then in `packages`, each in its order.

    Attributes:
        directories: directories of template files.
        templates: templates in memory, by name.
        packages: Python packages with templates: `"package"` for its `templates` folder, or
            `"package:folder"`.
        filters: your own filters, by name. They run at each rendering, never once at compile time.
        functions: functions and other values that every template sees, by name.
        tests: your own tests (`is …`), by name.
        extensions: jinja2 extensions, by dotted name.
        escaped_suffixes: a template whose name ends so is HTML or XML, and what it prints is escaped. A final
            `.j2`, `.jinja` or `.jinja2` is not counted: `page.html.j2` is HTML.
        encoding: of template files.
        trim_blocks: drop the newline after a block tag.
        lstrip_blocks: drop the white space before a block tag at the start of a line.
        keep_trailing_newline: keep the newline at the end of a template.
        auto_reload: look at each rendering whether the file has changed; for development.
        cache_size: how many compiled templates are kept in memory, and how many strings besides.
        bytecode_directory: a private directory that keeps compiled templates between runs. It is made with
            mode 0700; one that others own or may write to is refused, since its contents are executed.
        chunk_size: characters a stream gathers into one chunk.
        sandbox: not None for templates that strangers wrote.

    >>> DocumentConfig(directories=("templates",), auto_reload=True).chunk_size
    65536
    """

    directories: tuple[str | os.PathLike[str], ...] = ()
    templates: Mapping[str, str] = field(default_factory=dict[str, str])
    packages: tuple[str, ...] = ()
    filters: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    functions: Mapping[str, object] = field(default_factory=dict[str, object])
    tests: Mapping[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    extensions: tuple[str, ...] = ()
    escaped_suffixes: tuple[str, ...] = (".html", ".htm", ".xhtml", ".xml", ".svg")
    encoding: str = "utf-8"
    trim_blocks: bool = False
    lstrip_blocks: bool = False
    keep_trailing_newline: bool = False
    auto_reload: bool = False
    cache_size: int = 400
    bytecode_directory: str | os.PathLike[str] | None = None
    chunk_size: int = 65_536
    sandbox: SandboxConfig | None = None


def check(options: DocumentConfig) -> Result[DocumentConfig]:
    """Return the options, or INVALID_DOCUMENT_CONFIG with everything that is wrong about their values."""
    wrong: list[str] = []
    lists = ("directories", "packages", "extensions", "escaped_suffixes")
    wrong += [f"{name} is a tuple" for name in lists if not isinstance(getattr(options, name), tuple)]
    sizes = ("cache_size", "chunk_size")
    wrong += [f"{name} must be positive" for name in sizes if not _is_positive(getattr(options, name))]
    for name in ("filters", "tests"):
        mapping: Mapping[str, object] = getattr(options, name)
        wrong.extend(
            f"{name}[{key!r}] is not callable" for key, value in mapping.items() if not callable(value)
        )
    if options.sandbox is not None:
        values = {item.name: getattr(options.sandbox, item.name) for item in fields(options.sandbox)}
        bad = [name for name, value in values.items() if not _is_positive(value)]
        wrong += [f"sandbox.{name} must be positive" for name in bad]
        if os.name != "posix":
            wrong.append("the sandbox needs a POSIX system")
    return Failure(invalid("; ".join(wrong))) if wrong else Success(options)


def invalid(message: str) -> QiError:
    """Return the error for options that can't be used."""
    return QiError.configuration("INVALID_DOCUMENT_CONFIG", message)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
