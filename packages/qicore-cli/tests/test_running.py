"""`run`: streams, exit statuses, signals; in this process with streams of its own, and as a real process."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.cli import CLIConfig, ParsedArgs, command, option, parse, program, report, run

APP = Path(__file__).with_name("app.py")

simple = program(
    "simple", option("--name", str, default="you"), option("--token", str, secret=True), version="1"
)


def attempt(main: Any, args: list[str], **options: Any) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    config = CLIConfig(environ={}, **options)
    status = run(simple, main, args, config, stdout=out, stderr=err)
    return status, out.getvalue(), err.getvalue()


def succeed(parsed: ParsedArgs[Any]) -> Result[str]:
    return Success(parsed["name"])


async def succeed_later(parsed: ParsedArgs[Any]) -> Result[str]:
    await asyncio.sleep(0)
    return Success(parsed["name"])


@pytest.mark.parametrize("main", [succeed, succeed_later])
def test_success_is_silent_and_zero(main: Any) -> None:
    assert attempt(main, ["--name", "Ann"]) == (0, "", "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QiError.validation("A", "wrong"), 2),
        (QiError.network("A", "gone"), 69),
        (QiError.filesystem("A", "gone"), 74),
        (QiError.configuration("A", "wrong"), 78),
        (QiError.cache("A", "gone"), 75),
        (QiError.timeout("A", "late"), 75),
        (QiError.permission("A", "no"), 77),
        (QiError.unknown("A", "odd"), 70),
    ],
)
def test_a_failure_is_shown_and_has_the_status_of_its_category(error: QiError, status: int) -> None:
    def fail(parsed: ParsedArgs[Any]) -> Result[None]:
        return Failure(error)

    async def fail_later(parsed: ParsedArgs[Any]) -> Result[None]:
        return Failure(error)

    def throw(parsed: ParsedArgs[Any]) -> Result[None]:
        return Failure(error).unwrap()

    for main in (fail, fail_later, throw):
        assert attempt(main, []) == (status, "", f"error: {error.message} [A]\n")


def test_every_mistake_is_shown_with_the_way_to_help() -> None:
    status, out, err = attempt(succeed, ["--nmae", "x", "y"])
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "error: unknown option --nmae: did you mean --name? [CLI_UNKNOWN_OPTION]",
        "error: one argument too many [CLI_UNEXPECTED_ARGUMENT]",
        "Usage: simple [OPTIONS]",
        "Try 'simple --help'.",
    ]


def test_help_and_version_go_to_stdout() -> None:
    status, out, err = attempt(succeed, ["--help"], width=40)
    assert (status, err) == (0, "")
    assert out.startswith("Usage: simple [OPTIONS]\n")
    assert attempt(succeed, ["--version"]) == (0, "simple 1\n", "")


def test_an_exception_is_shown_and_its_traceback_logged(caplog: pytest.LogCaptureFixture) -> None:
    def boom(parsed: ParsedArgs[Any]) -> Result[None]:
        raise ZeroDivisionError("by zero")

    assert attempt(boom, []) == (70, "", "error: by zero [CLI_UNEXPECTED]\n")
    assert caplog.records[0].name == "qicore.cli"
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is ZeroDivisionError


def test_what_ends_the_program_passes_through() -> None:
    def leave(parsed: ParsedArgs[Any]) -> Result[None]:
        sys.exit(9)

    async def cancel(parsed: ParsedArgs[Any]) -> Result[None]:
        raise asyncio.CancelledError

    with pytest.raises(SystemExit):
        attempt(leave, [])
    with pytest.raises(asyncio.CancelledError):
        attempt(cancel, [])


def test_a_broken_pipe_elsewhere_is_an_error_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    def lose(parsed: ParsedArgs[Any]) -> Result[None]:
        raise BrokenPipeError("the peer is gone")

    status, _, err = attempt(lose, [])
    assert (status, err) == (69, "error: the peer is gone [CLI_UNEXPECTED]\n")


def test_a_report_shows_hints_causes_and_no_forged_lines() -> None:
    cause = QiError.network("REFUSED", "connection\nrefused")
    error = QiError.filesystem("NOT_SAVED", "it was not saved", hint="try again").with_cause(cause)
    assert report(error) == (
        "error: it was not saved [NOT_SAVED]\n"
        "  hint: try again\n"
        "  caused by: connection\\nrefused [REFUSED]\n"
    )
    many = parse(["--bogus"] * 60, simple).error
    assert many is not None
    assert "error: and 10 more\n" in report(many)


def test_text_that_a_stream_can_not_encode() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"  # pyright: ignore[reportAssignmentType]  # a stream of that encoding

        def write(self, text: str, /) -> int:
            text.encode("ascii")
            return super().write(text)

    def fail(parsed: ParsedArgs[Any]) -> Result[None]:
        return Failure(QiError.unknown("A", "naïve"))

    err = Ascii()
    assert run(simple, fail, [], CLIConfig(environ={}), stdout=io.StringIO(), stderr=err) == 70
    assert err.getvalue() == "error: na\\xefve [A]\n"


def test_a_parser_without_a_name_runs_too() -> None:
    err = io.StringIO()
    status = run(command("go"), lambda parsed: Success(None), ["gone"], stdout=io.StringIO(), stderr=err)
    assert status == 2
    assert "Try '--help'." in err.getvalue()


def process(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(APP), *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "80", **environ},
    )


def test_a_real_process() -> None:
    done = process("ask", "why?", "-n", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Ask(question='why?', limit=3)\n", "")
    done = process("fail")
    assert (done.returncode, done.stdout) == (74, "")
    assert done.stderr == (
        "error: nothing was saved [NOT_SAVED]\n"
        "  hint: free some space\n"
        "  caused by: the disk is read-only [READ_ONLY]\n"
    )
    done = process("--log-level", "loud", "aks")
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 2
    assert process("stop").returncode == 9
    done = process("interrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    done = process("raise")
    assert done.returncode == 70
    assert "ZeroDivisionError: by zero" in done.stderr
    assert process("ask", "why?", NOTES_LOG_LEVEL="loud").returncode == 2
    done = process("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: notes [OPTIONS] COMMAND [ARGS]...\n")
    assert process("--version").stdout == "notes 1.2.3\n"


@pytest.mark.parametrize("name", ["flood", "--help"])
def test_a_closed_pipe_is_no_traceback(name: str) -> None:
    # The reader is gone before the first word is written.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, str(APP), name], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_closed_in_the_middle() -> None:
    with subprocess.Popen(
        [sys.executable, str(APP), "flood"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait() == 141


def test_an_interrupt_from_outside() -> None:
    with subprocess.Popen(
        [sys.executable, str(APP), "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
        assert (running.returncode, err) == (130, "interrupted\n")


def test_importing_and_parsing_loads_neither_click_nor_argparse() -> None:
    code = (
        "import sys; own = set(sys.modules); from qicore.cli import *; "
        "parse(['--a', '1'], option('--a', int)).unwrap(); "
        "print(sorted({'click', 'argparse', 'asyncio', 'logging', 'difflib'} & (set(sys.modules) - own)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
