"""The jinja2 Environment behind a generator, trusted or sandboxed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, cast

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    DictLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    Template,
    nodes,
)
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateNotFound
from jinja2.optimizer import Optimizer
from jinja2.runtime import Context, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import internalcode
from qicore.base import Failure, Result, Success
from qicore.document.config import DocumentConfig, invalid
from qicore.document.errors import UnreadableTemplate

__all__ = ["CheckedLoader", "NamedUndefined", "build_environment", "escapes", "prepare"]

_TEMPLATE_SUFFIXES: Final = (".j2", ".jinja", ".jinja2")


class NamedUndefined(StrictUndefined):
    """jinja2's strict undefined value, whose error also carries the name that was missing."""

    __slots__ = ()

    @internalcode
    def _fail_with_undefined_error(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002 - it stands in for every operation
        error = self._undefined_exception(self._undefined_message)
        error.undefined_name = self._undefined_name  # type: ignore[attr-defined]  # read by errors.py
        raise error


def _bind_again() -> None:
    # StrictUndefined binds its special methods to the base's function, not by its name.
    hook = "_fail_with_undefined_error"
    for base in (Undefined, StrictUndefined):
        for name, value in vars(base).items():
            if value is vars(Undefined)[hook]:
                setattr(NamedUndefined, name, vars(NamedUndefined)[hook])


_bind_again()


class _Optimizer(Optimizer):
    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        return node if _uses_own(node, self.environment) else super().generic_visit(node, *args, **kwargs)


class _CodeGenerator(CodeGenerator):
    """Leaves the user's filters and tests to run time.

    jinja2 runs a filter of a constant once, while it compiles. That is wrong for one whose answer may change
    (the time, a translation), and would write one process's answer into bytecode that another one loads.
    """

    def __init__(self, environment: Environment, *args: Any, **kwargs: Any) -> None:
        super().__init__(environment, *args, **kwargs)
        if self.optimizer is not None:
            self.optimizer = _Optimizer(environment)

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if _uses_own(node, self.environment):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


def _uses_own(node: nodes.Node, environment: Any) -> bool:
    own: frozenset[tuple[type, str]] = getattr(environment, "qicore_own", frozenset())
    return bool(own) and any(
        (type(found), found.name) in own
        for found in (node, *node.find_all((nodes.Filter, nodes.Test)))
        if isinstance(found, (nodes.Filter, nodes.Test))
    )


class _Environment(Environment):
    code_generator_class = _CodeGenerator


class SandboxTemplate(Template):
    """A template whose module is made anew for each import: no rendering leaves state for the next."""

    def _get_default_module(self, ctx: Context | None = None) -> Any:
        self._module = None
        return super()._get_default_module(ctx)


class SandboxEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, as it runs in a worker."""

    code_generator_class = _CodeGenerator
    template_class = SandboxTemplate


class CheckedLoader(BaseLoader):
    """A loader that refuses names which point out of where templates are."""

    def __init__(self, loader: BaseLoader) -> None:
        self.loader = loader

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Return the source, the file and the check for changes; a name that points elsewhere is unsafe."""
        if "\\" in template or "\0" in template or template.startswith("/") or ".." in template.split("/"):
            raise SecurityError(f"the template name {template!r} points out of the template directories")
        try:
            return self.loader.get_source(environment, template)
        except TemplateNotFound:  # itself an OSError
            raise
        except (OSError, UnicodeError) as error:
            raise UnreadableTemplate(template, error) from error

    def list_templates(self) -> list[str]:
        """Return the names of all templates."""
        return self.loader.list_templates()


def escapes(suffixes: Iterable[str]) -> Callable[[str | None], bool]:
    """Return the rule that says by a template's name whether its output is escaped."""
    escaped = tuple(suffix.lower() for suffix in suffixes)

    def is_escaped(name: str | None) -> bool:
        if name is None:
            return True
        name = name.lower()
        for suffix in _TEMPLATE_SUFFIXES:
            name = name.removesuffix(suffix)
        return name.endswith(escaped)

    return is_escaped


def prepare(
    environment: Environment,
    filters: Mapping[str, Callable[..., Any]],
    tests: Mapping[str, Callable[..., Any]],
    functions: Mapping[str, object],
) -> None:
    """Give the environment what the user adds."""
    environment.filters.update(filters)
    environment.tests.update(tests)
    environment.globals.update(cast("Mapping[str, Any]", functions))
    own = {(nodes.Filter, name) for name in filters} | {(nodes.Test, name) for name in tests}
    environment.qicore_own = frozenset(own)  # type: ignore[attr-defined]  # read by _uses_own


def build_environment(options: DocumentConfig) -> Result[Environment]:
    """Return the Environment for `options`; an unknown package or extension is INVALID_DOCUMENT_CONFIG."""
    loaders: list[BaseLoader] = []
    if options.templates:
        loaders.append(DictLoader(dict(options.templates)))
    if options.directories:
        loaders.append(FileSystemLoader([*options.directories], encoding=options.encoding))
    kind = _Environment if options.sandbox is None else SandboxEnvironment
    try:
        for package in options.packages:
            name, _, folder = package.partition(":")
            loaders.append(PackageLoader(name, folder or "templates", encoding=options.encoding))
        environment = kind(
            loader=CheckedLoader(ChoiceLoader(loaders)),
            autoescape=escapes(options.escaped_suffixes),
            undefined=NamedUndefined,
            extensions=options.extensions,
            trim_blocks=options.trim_blocks,
            lstrip_blocks=options.lstrip_blocks,
            keep_trailing_newline=options.keep_trailing_newline,
            auto_reload=options.auto_reload,
            cache_size=options.cache_size,
        )
    except (ImportError, ValueError, AssertionError, AttributeError, TypeError) as error:
        return Failure(invalid(f"a package or an extension can't be loaded: {error}"))
    prepare(environment, options.filters, options.tests, options.functions)
    return Success(environment)
