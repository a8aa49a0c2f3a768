"""DocumentGenerator: templates and data in, documents out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from jinja2 import Environment, FileSystemLoader, Template
from jinja2.loaders import ChoiceLoader
from qicore.base import Failure, QiError, Result, Success
from qicore.document.analysis import Variable, find_needs, to_variables
from qicore.document.bytecode import open_bytecode_cache
from qicore.document.config import DocumentConfig, check, invalid
from qicore.document.environment import CheckedLoader, build_environment
from qicore.document.errors import Place, UnreadableTemplate, translate, translate_rendering
from qicore.document.lazydata import LateData, to_mapping
from qicore.document.schema import lacking
from qicore.document.streaming import DocumentStream

if TYPE_CHECKING:
    from qicore.document.sandbox.pool import WorkerPool

__all__ = ["DocumentGenerator"]

_FOLDERS: Final = 64  # environments kept for the directories of generate_from_file


class DocumentGenerator:
    """Renders jinja2 templates; every operation answers a Result.

    Make one with `create`, for the life of the program: it keeps what it compiled. Any thread may use it.

    With `DocumentConfig(sandbox=None)` templates are the program's own: they run here, at jinja2's own
    speed. With a `SandboxConfig` they are strangers': they see a copy of the data and run in processes with
    bounded time, memory and output. Close such a generator to end its processes; `with` and `async with` do.

    Fails with TEMPLATE_NOT_FOUND, TEMPLATE_UNREADABLE [FILESYSTEM]; TEMPLATE_SYNTAX, TEMPLATE_UNDEFINED,
    TEMPLATE_UNSAFE, TEMPLATE_INVALID, TEMPLATE_LIMIT_EXCEEDED, TEMPLATE_DATA_INVALID [VALIDATION];
    TEMPLATE_TIMEOUT [TIMEOUT]; TEMPLATE_ERROR [UNKNOWN] for what a filter or the data raises. The context of
    an error names the `template` and the `line`, as far as they are known.

    >>> generator = DocumentGenerator.create(
    ...     DocumentConfig(templates={"hello.html": "<p>Hello {{ name }}!</p>"})
    ... ).unwrap()
    >>> generator.generate("hello.html", {"name": "Ann & Bob"})
    Success('<p>Hello Ann &amp; Bob!</p>')
    >>> str(generator.generate("hello.html", {}).error)
    "VALIDATION/TEMPLATE_UNDEFINED: 'name' is undefined (line 1 of hello.html)"
    """

    def __init__(self, options: DocumentConfig, environment: Environment) -> None:
        self._options = options
        self._environment = environment
        self._closed = False
        self._get_template = environment.get_template
        self._string_template = lru_cache(options.cache_size)(self._compile_string)
        self._folder = lru_cache(_FOLDERS)(self._open_folder)
        self._sources: dict[tuple[Environment, str], tuple[str, Callable[[], bool] | None]] = {}
        self._pool: WorkerPool | None = None
        if options.sandbox is not None:
            from qicore.document.sandbox.pool import WorkerPool  # subprocess and socket: dear to import

            self._pool = WorkerPool(options, options.sandbox)

    @classmethod
    def create(cls, options: DocumentConfig | None = None) -> Result[DocumentGenerator]:
        """Return a generator, once the options are found to be usable.

        Fails with INVALID_DOCUMENT_CONFIG [CONFIGURATION], TEMPLATE_CACHE_UNSAFE [PERMISSION] or
        TEMPLATE_CACHE_UNUSABLE [FILESYSTEM].
        """
        options = DocumentConfig() if options is None else options
        checked = check(options).flat_map(build_environment)
        return checked.flat_map(lambda environment: _completed(options, environment)).map(
            lambda environment: cls(options, environment)
        )

    @property
    def raw(self) -> Environment:
        """The jinja2 Environment. With a sandbox it only finds and parses templates."""
        return self._environment

    def generate(self, template: str, data: object) -> Result[str]:
        """Render the template of that name. `data` is a mapping, a dataclass or a pydantic model."""
        if self._pool is not None or self._closed:
            return self._collect(template, data, self._environment, None)
        try:
            if type(data) is not dict:
                data = to_mapping(data)
            found = self._get_template(template)
            return Success("".join(found.root_render_func(found.new_context({**data}))))
        except Exception as error:  # noqa: BLE001 - every one has its code
            return Failure(translate_rendering(error, template))

    def generate_from_file(self, path: str | os.PathLike[str], data: object) -> Result[str]:
        """Render the template in the file `path`, which is the caller's choice and may lie anywhere.

        What it includes or extends is looked up beside it first, then as any other template.
        """
        file = Path(path)
        try:
            environment = self._folder(str(file.parent))
        except OSError as error:
            return Failure(translate(UnreadableTemplate(str(file), error), Place(str(file), None)))
        return self._collect(file.name, data, environment, None)

    def generate_from_string(self, text: str, data: object, *, suffix: str = ".html") -> Result[str]:
        """Render the template that `text` is.

        `suffix` says what kind of document it is: unless told otherwise it is HTML, and what it prints is
        escaped; `suffix=".txt"` escapes nothing. It is compiled once, and kept while it is in use.
        """
        return self._collect(f"<string>{suffix}", data, self._environment, text)

    async def generate_async(self, template: str, data: object) -> Result[str]:
        """Render in a thread, so that the event loop stays free; the data may hold what is still to come.

        A top-level value that is an awaitable is awaited first, and an async iterable can be iterated over.
        """
        try:
            late = LateData(to_mapping(data))
        except QiError as error:
            return Failure(error)
        try:
            return await asyncio.to_thread(self._generate_late, template, late)
        finally:
            late.release()

    def _generate_late(self, template: str, late: LateData) -> Result[str]:
        try:
            data = late.resolve()
        except Exception as error:  # noqa: BLE001 - what an awaitable raises is kept in its error
            return Failure(translate(error, Place(template, None)))
        return self.generate(template, data)

    def stream(self, template: str, data: object) -> DocumentStream:
        """Return the document as a stream of chunks, rendered while they are read.

        An iterator among the data is drawn as the document grows, so a report of any length takes constant
        memory. In an event loop the data may hold awaitables and async iterables, as for `generate_async`.
        """
        try:
            late = LateData(to_mapping(data))
        except QiError as error:
            return DocumentStream(_failing(error), self._options.chunk_size, lambda: None)

        def pieces() -> Iterator[str]:
            try:
                resolved = late.resolve()
            except Exception as error:
                raise translate(error, Place(template, None)) from error
            return self._pieces(template, resolved, self._environment, None)

        return DocumentStream(pieces, self._options.chunk_size, late.release)

    async def batch(
        self, jobs: Iterable[tuple[str, object]], *, concurrency: int | None = None
    ) -> list[Result[str]]:
        """Render many documents, each a pair of template name and data: one Result each, in their order.

        At most `concurrency` are rendered at a time, each in a thread: as many as the sandbox has workers, or
        else 4, unless it is given. After a cancellation no further one starts, and the result of one that
        runs is dropped. A concurrency below 1 is a ValueError.
        """
        if concurrency is None:
            concurrency = 4 if self._options.sandbox is None else int(self._options.sandbox.max_workers)
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        results: dict[int, Result[str]] = {}
        waiting = enumerate(jobs)

        async def work() -> None:
            for index, (template, data) in waiting:
                results[index] = await self.generate_async(template, data)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(work())
        return [results[index] for index in range(len(results))]

    def validate(self, template: str, schema: object) -> Result[tuple[Variable, ...]]:
        """Check that `schema` has every variable that the template needs; return these variables.

        Through includes, imports, macros and inheritance. `schema` is a pydantic model class, a dataclass, a
        TypedDict or another annotated class, a JSON Schema, or a mapping or set of names; what a mapping
        holds are again schemas, types or example values. A variable behind `is defined` or `default` is not
        needed. Templates whose name is computed are not followed.

        Fails with TEMPLATE_UNDEFINED; its context lists every variable that is lacking under `missing`, each
        with name, line and template.

        >>> generator = DocumentGenerator.create(
        ...     DocumentConfig(templates={"cart.txt": "{% for i in items %}{{ i.title }}{% endfor %}"})
        ... ).unwrap()
        >>> error = generator.validate("cart.txt", {"items": [{"name": str}]}).error
        >>> str(error)
        "VALIDATION/TEMPLATE_UNDEFINED: the schema lacks 'items[].title' (line 1 of cart.txt)"
        """
        try:
            needs = find_needs(self._environment, template)
        except Exception as error:  # noqa: BLE001 - every one has its code
            return Failure(translate(error, Place(template, None)))
        missing = lacking(schema, needs)
        if not missing:
            return Success(to_variables(needs))
        shown = "; ".join(f"{item.name!r} (line {item.line} of {item.template})" for item in missing)
        return Failure(
            QiError.validation(
                "TEMPLATE_UNDEFINED",
                f"the schema lacks {shown}",
                template=template,
                missing=[item._asdict() for item in missing],
            )
        )

    def close(self) -> Result[None]:
        """End the processes of the sandbox; whatever is asked for afterwards fails with DOCUMENT_CLOSED."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()
        return Success(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _collect(self, name: str, data: object, environment: Environment, text: str | None) -> Result[str]:
        try:
            return Success("".join(self._pieces(name, to_mapping(data), environment, text)))
        except QiError as error:
            return Failure(error)

    def _pieces(
        self, name: str, data: Mapping[str, Any], environment: Environment, text: str | None
    ) -> Iterator[str]:
        """Yield the document in pieces; raise a QiError for whatever goes wrong."""
        if self._closed:
            raise QiError.configuration("DOCUMENT_CLOSED", "the generator is closed")
        if self._pool is not None:
            try:
                source = self._source(environment, name) if text is None else text
            except Exception as error:
                raise translate(error, Place(name, None)) from error
            yield from self._pool.render(name, source, data, partial(self._source, environment))
            return
        try:
            template = environment.get_template(name) if text is None else self._string_template(text, name)
            yield from template.root_render_func(template.new_context({**data}))
        except Exception as error:
            raise translate_rendering(error, name) from error

    def _compile_string(self, text: str, name: str) -> Template:
        environment = self._environment
        code = environment.compile(text, name)
        return environment.template_class.from_code(environment, code, environment.make_globals(None))

    def _open_folder(self, folder: str) -> Environment:
        beside = CheckedLoader(FileSystemLoader(folder, encoding=self._options.encoding))
        loaders = [beside, *([self._environment.loader] if self._environment.loader is not None else [])]
        return self._environment.overlay(loader=ChoiceLoader(loaders))

    def _source(self, environment: Environment, name: str) -> str:
        """Return a template's source, for the sandbox, which compiles it elsewhere."""
        kept = self._sources.get((environment, name))
        if kept is not None:
            source, is_current = kept
            if not self._options.auto_reload or is_current is None or is_current():
                return source
        assert environment.loader is not None
        source, _, is_current = environment.loader.get_source(environment, name)
        if len(self._sources) >= self._options.cache_size:
            self._sources.clear()
        self._sources[environment, name] = (source, is_current)
        return source


def _completed(options: DocumentConfig, environment: Environment) -> Result[Environment]:
    if options.sandbox is not None:
        added = {**options.filters, **options.tests, **options.functions}
        bound = sorted(name for name, value in added.items() if hasattr(value, "jinja_pass_arg"))
        if bound:
            return Failure(invalid(f"the sandbox hands no jinja2 context to {', '.join(bound)}"))
    elif options.bytecode_directory is not None:
        settings = (
            options.escaped_suffixes,
            options.extensions,
            options.trim_blocks,
            options.lstrip_blocks,
            options.keep_trailing_newline,
            sorted(options.filters),
            sorted(options.tests),
        )
        opened = open_bytecode_cache(options.bytecode_directory, repr(settings))
        environment.bytecode_cache = opened.data
        return opened.map(lambda _: environment)
    return Success(environment)


def _failing(error: QiError) -> Callable[[], Iterator[str]]:
    def pieces() -> Iterator[str]:
        raise error

    return pieces
