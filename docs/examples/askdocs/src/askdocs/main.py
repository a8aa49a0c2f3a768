"""The application: from a command line to an exit status, in one railway of Results."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from qicore.base import Failure, QiError, Result, Success, early_return
from qicore.cli import ParsedArgs, run
from qicore.config import Configuration
from qicore.logging import LogConfig, Logger
from rich.console import Console
from rich.table import Table
from rich.text import Text

from askdocs.arguments import Arguments, Ask, Ingest, Report, Serve, Stats, Tools, parser
from askdocs.ingest import ingest
from askdocs.links import is_url, page_url
from askdocs.meaning import find, learn
from askdocs.model import Answer, IngestSummary, Reply
from askdocs.report import write_report
from askdocs.settings import Settings, load, no_model
from askdocs.store import Index
from askdocs.terminal import (
    progress_bar,
    show_answer,
    show_sources,
    show_stats,
    show_summary,
    show_writing,
)

if TYPE_CHECKING:  # each command loads what it needs, and no more
    from qicore.ai import ChatStream

    from askdocs.writer import Writer

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    return run(parser(), _run, arguments)


@early_return
async def _run(parsed: ParsedArgs[Arguments]) -> Result[None]:
    flags, command = parsed.value.flags, parsed.value.command
    configuration = load(flags, command).unwrap()
    settings = configuration.validate(Settings).unwrap()
    # Answers go to standard output, whole lines however narrow the place; all else goes to standard error.
    console = Console(soft_wrap=True, highlight=False)
    if flags.explain_config:
        _explain(console, configuration)
        return Success(None)
    logged = LogConfig(level=settings.log.level, format=settings.log.format, capture_standard=True)
    logging.getLogger("markdown_it").setLevel(logging.WARNING)  # at debug it tells of every line it parses
    with Logger.create(logged).unwrap() as log:
        match command:
            case None:
                return Failure(_no_command())
            case Ingest():
                return await _ingest(console, settings, log, command)
            case Ask():
                return await _ask(console, settings, log, command)
            case Report(file=file):
                return await _report(console, settings, Path(file))
            case Stats():
                return await _stats(console, settings, command)
            case Serve():
                from askdocs.serve import serve

                return await serve(settings, console)
            case Tools():
                return await _serve_tools(settings)
            case _:
                assert_never(command)


def _no_command() -> QiError:
    return QiError.validation(
        "CLI_MISSING_ARGUMENT", "say what to do", hint="askdocs --help lists the commands"
    )


def _explain(console: Console, configuration: Configuration) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "from"):
        table.add_column(heading)
    for row in configuration.explain():
        table.add_row(row.key, Text(str(row.value)), Text(str(row.source)))
    console.print(table)


@early_return
async def _ingest(console: Console, settings: Settings, log: Logger, command: Ingest) -> Result[None]:
    async with (await Index.create(settings.index.path, settings.cache)).unwrap() as index:
        with progress_bar(Console(stderr=True)) as progress:
            ingested = await ingest(index, command.targets, settings=settings, progress=progress, log=log)
        summary = ingested.unwrap()
        await _learn(index, settings, log)
    if command.json:
        sys.stdout.write(json.dumps(asdict(summary), indent=2) + "\n")
    else:
        show_summary(console, summary)
    return _all_reached(command.targets, summary)


async def _learn(index: Index, settings: Settings, log: Logger) -> None:
    """Have the model say what new passages mean; without it they are found by their words."""
    if settings.model.embeddings:
        async with _writer(settings) as writer:
            (await writer.flat_map_async(lambda made: learn(index, made))).tap_error(
                lambda error: log.warn("passages will be found by their words only", error=error)
            )


def _all_reached(targets: Iterable[str], summary: IngestSummary) -> Result[None]:
    """Fail with SITE_UNREADABLE [NETWORK] when a page that was named could not be read, whatever else was."""
    named = {page_url(target).unwrap_or(target) for target in targets if is_url(target)}
    unread = [one for one in summary.skipped if one.source in named]
    if not unread:
        return Success(None)
    reasons = "; ".join(f"{one.source}: {one.reason} [{one.code}]" for one in unread)
    return Failure(QiError.network("SITE_UNREADABLE", f"could not read {reasons}"))


@early_return
async def _ask(console: Console, settings: Settings, log: Logger, command: Ask) -> Result[None]:
    async with (
        _writer(settings) as writer,
        (await Index.open(settings.index.path)).unwrap() as index,
    ):
        answer = (await find(index, writer.data, command.question, settings.ask.limit)).unwrap()
        if command.json:
            reply = await _written(writer, answer)
            sys.stdout.write(json.dumps(asdict(reply), indent=2) + "\n")
        else:
            await _show(console, settings, writer, answer)
    # The answer is given; a place that can't be written costs the report a question, and the asker nothing.
    (await _remember(settings.index.path, answer)).tap_error(
        lambda error: log.info("the question is not kept for the report", error=error)
    )
    return Success(None)


@asynccontextmanager
async def _writer(settings: Settings) -> AsyncGenerator[Result[Writer]]:
    """Open what asks the model, or yield why there is none."""
    if not settings.model.name and not settings.model.embeddings:
        yield Failure(no_model())
        return
    from askdocs.writer import Writer

    made = Writer.create(settings.model)
    async with made.data or nullcontext():
        yield made


def _stream(writer: Result[Writer], answer: Answer) -> Result[ChatStream]:
    return writer.flat_map(lambda made: made.write(answer.question, answer.hits))


async def _show(console: Console, settings: Settings, writer: Result[Writer], answer: Answer) -> None:
    """Show what the model writes, with its sources; or else the best passages, and say why."""

    def passages(error: QiError) -> Result[None]:
        show_answer(console, answer)
        if settings.model.name:
            console.print(Text(f"the best passages: {error}", style="dim"))
        return Success(None)

    written = await _stream(writer, answer).flat_map_async(lambda stream: show_writing(console, stream))
    written.map(lambda response: show_sources(console, answer, response.model)).or_else(passages)


async def _written(writer: Result[Writer], answer: Answer) -> Reply:
    """Return what the model writes, or else the passages, and why."""
    written = await _stream(writer, answer).flat_map_async(lambda stream: stream.collect())
    return written.match(
        lambda response: _reply(answer, response.model, response.text, ""),
        lambda error: _reply(answer, "passages", "", str(error)),
    )


def _reply(answer: Answer, by: str, text: str, why: str) -> Reply:
    return Reply(
        question=answer.question, by=by, text=text, why=why, hits=answer.hits, seconds=answer.seconds
    )


async def _serve_tools(settings: Settings) -> Result[None]:
    from askdocs.tools import tools_of

    async with _writer(settings) as writer:

        async def serve_stdio(index: Index) -> Result[None]:
            async with index:
                return await tools_of(index, writer.data).serve_stdio()

        return await (await Index.open(settings.index.path)).flat_map_async(serve_stdio)


async def _remember(path: str, answer: Answer) -> Result[None]:
    async def keep(index: Index) -> Result[None]:
        async with index:
            return await index.remember(answer)

    return await (await Index.create(path)).flat_map_async(keep)


@early_return
async def _report(console: Console, settings: Settings, file: Path) -> Result[None]:
    async with (await Index.open(settings.index.path)).unwrap() as index:
        written = (await write_report(index, settings.index.place, file)).unwrap()
    console.print(Text(f"wrote {written}"))
    return Success(None)


@early_return
async def _stats(console: Console, settings: Settings, command: Stats) -> Result[None]:
    async with (await Index.open(settings.index.path)).unwrap() as index:
        stats = (await index.stats()).unwrap()
    if command.json:
        sys.stdout.write(json.dumps(asdict(stats), indent=2) + "\n")
    else:
        show_stats(console, stats)
    return Success(None)
