"""A small program for the tests that need a process of its own."""
# ruff: noqa: T201 - a program prints

import asyncio
import sys
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from qicore.base import Failure, QiError, Result, Success
from qicore.cli import (
    ParsedArgs,
    choice,
    command,
    count,
    int_range,
    lift,
    one_of,
    option,
    path,
    positional,
    program,
    run,
)


@dataclass(frozen=True)
class Ingest:
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Ask:
    question: str
    limit: int


@dataclass(frozen=True)
class App:
    config: Path | None
    log_level: str
    verbose: int
    json: bool
    action: Ingest | Ask | str


app = program(
    "notes",
    lift(
        App,
        option("--config", path(kind="file"), "-c", env="NOTES_CONFIG", help="Read this configuration."),
        option("--log-level", one_of("debug", "info", "warning"), default="info", env="NOTES_LOG_LEVEL"),
        count("--verbose", "-v", help="Say more; more than once, say everything."),
        option("--json", bool, help="Print JSON."),
        choice(
            command("ingest", positional("paths", path(), nargs="+"), help="Read files.").into(Ingest),
            command(
                "ask",
                positional("question", help="In plain words."),
                option("--limit", int_range(1, 50), "-n", default=5, help="How many passages to show."),
                help="Ask a question.",
            ).into(Ask),
            command("fail", help="Fail."),
            command("raise", help="Raise."),
            command("interrupt", help="Interrupt itself."),
            command("flood", help="Print without end."),
            command("wait", help="Wait for nothing."),
            command("stop", hidden=True),
        ),
    ),
    version="1.2.3",
    help="Keep notes and find them again.",
    epilog="Report errors to nobody.",
)


async def wait() -> Result[None]:
    print("waiting", flush=True)
    await asyncio.sleep(60)
    return Success(None)


def main(parsed: ParsedArgs[App]) -> Result[None] | Awaitable[Result[None]]:
    match parsed.value.action:
        case "fail":
            cause = QiError.filesystem("READ_ONLY", "the disk is read-only")
            return Failure(
                QiError.filesystem("NOT_SAVED", "nothing was saved", hint="free some space").with_cause(cause)
            )
        case "raise":
            raise ZeroDivisionError("by zero")
        case "interrupt":
            raise KeyboardInterrupt
        case "flood":
            while True:
                print("note " * 1000)
        case "stop":
            sys.exit(9)
        case "wait":
            return wait()
        case action:
            print(action)
    return Success(None)


if __name__ == "__main__":
    sys.exit(run(app, main))
