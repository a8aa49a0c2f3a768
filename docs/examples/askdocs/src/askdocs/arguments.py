"""The command line, as a value: what may be typed, and the dataclass that each command becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from qicore.cli import Parser, choice, command, int_range, lift, one_of, option, positional, program, sequence

__all__ = ["Arguments", "Ask", "Command", "Flags", "Ingest", "Report", "Serve", "Stats", "Tools", "parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """`askdocs ingest PATH_OR_URL…`."""

    targets: tuple[str, ...]
    max_file_size: int | None
    max_pages: int | None
    depth: int | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """`askdocs ask QUESTION`."""

    question: str
    limit: int | None
    model: str | None
    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`askdocs report FILE`."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """`askdocs stats`."""

    json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """`askdocs serve`."""

    host: str | None
    port: int | None
    workers: int | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Tools:
    """`askdocs mcp`."""


Command: TypeAlias = Ingest | Ask | Report | Stats | Serve | Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What may stand before any command. None: not given, so that the configuration decides."""

    config: str | None
    index: str | None
    log_level: str | None
    explain_config: bool


@dataclass(frozen=True, slots=True)
class Arguments:
    """A whole command line."""

    flags: Flags
    command: Command | None


def parser() -> Parser[Arguments]:
    """Return the parser of `askdocs`.

    >>> from qicore.cli import parse
    >>> parse(["ask", "why?", "--limit", "3"], parser()).unwrap().value.command
    Ask(question='why?', limit=3, model=None, json=False)
    """
    json = option("--json", bool, help="answer as JSON, for programs")
    model = option("--model", str, "-m", metavar="NAME", help="the language model that writes the answer")
    ingest = command(
        "ingest",
        positional(
            "targets",
            str,
            nargs="+",
            metavar="PATH_OR_URL",
            help="a file, a folder with all in it, or a site's page with all below it",
        ),
        option("--max-file-size", int_range(1), metavar="BYTES", help="skip larger files and pages"),
        option("--max-pages", int_range(1), metavar="COUNT", help="pages read of each site"),
        option("--depth", int_range(0), metavar="STEPS", help="how many links away from the page named"),
        json,
        help="read files and pages into the index, or bring it up to date",
    ).into(Ingest)
    ask = command(
        "ask",
        positional("question", help="in plain words, in quotes"),
        option("--limit", int_range(1, 50), metavar="COUNT", help="passages in the answer"),
        model,
        json,
        help="answer a question: by a model if one is set, with its sources; else by the best passages",
    ).into(Ask)
    report = command(
        "report",
        positional("file", metavar="FILE", help="the page to write"),
        help="write an HTML page on the index",
    ).into(Report)
    stats = command("stats", json, help="show the index in figures").into(Stats)
    serve = command(
        "serve",
        option("--host", str, metavar="ADDRESS", help="where to listen"),
        option("--port", int_range(0, 65535), help="0: a free one"),
        option("--workers", int_range(1, 64), metavar="COUNT", help="processes that serve"),
        model,
        help="serve a search page and a JSON API, until it is told to stop",
    ).into(Serve)
    tools = command("mcp", help="serve the index to an MCP client, over standard input and output").into(
        Tools
    )
    flags = sequence(
        option(
            "--config", str, "-c", metavar="FILE", help="settings in YAML, JSON or TOML; else askdocs.yaml"
        ),
        option(
            "--index", str, "-i", metavar="FILE_OR_URL", help="where the index is kept; or postgresql://…"
        ),
        option(
            "--log-level", one_of("debug", "info", "warn", "error", "fatal"), help="what is logged, on stderr"
        ),
        option("--explain-config", bool, help="show each setting with where it came from"),
    ).into(Flags)
    return program(
        "askdocs",
        lift(Arguments, flags, choice(ingest, ask, report, stats, serve, tools).optional().named("command")),
        version="0.1.0",
        help="Ask questions of a folder of documents, or of a site.",
        epilog="Defaults, the configuration file, ASKDOCS_… variables, flags: what comes later wins.",
    )
