"""`run`: the outermost door of a program, where a Result becomes text on a stream and an exit status."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TextIO, TypeAlias, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cli.compiled import compile_parser
from qicore.cli.completion import complete, render_completions
from qicore.cli.config import CLIConfig
from qicore.cli.errors import CLI_HELP, CLI_UNEXPECTED, CLI_VERSION
from qicore.cli.help import generate_usage
from qicore.cli.parser import Parser
from qicore.cli.parsing import parse
from qicore.cli.shells import SHELLS, script, variable
from qicore.cli.values import ParsedArgs

__all__ = ["EXIT_BROKEN_PIPE", "EXIT_INTERRUPTED", "Main", "call_main", "report", "run"]

T = TypeVar("T")

Main: TypeAlias = Callable[[ParsedArgs[T]], Result[Any] | Awaitable[Result[Any]]]
"""What a program does: a function, or a coroutine function, of what was parsed."""

# What a shell reports for a process that the signal ended: 128 + SIGINT, 128 + SIGPIPE.
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141


def run(
    parser: Parser[T],
    main: Main[T],
    args: Sequence[str] | None = None,
    options: CLIConfig | None = None,
    *,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Parse the arguments (those of the process, when None), call `main`, and return the exit status.

    The status is 0 for a Success, and that of the error's category for a Failure, which is shown on stderr
    with its code and hint. Help and version go to stdout, with 0. An interrupt is 130; a closed pipe at
    stdout is 141, silently. An exception of `main` is shown as CLI_UNEXPECTED, 70, and its traceback goes
    to the logger `qicore.cli`. It answers the completion scripts of `generate_completion`, and
    `_NAME_COMPLETE=bash_source NAME` prints the script itself. It never exits: `sys.exit(run(parser,
    main))`. SystemExit and cancellation pass through.

    >>> from qicore.base import Success
    >>> from qicore.cli import option, program
    >>> def main(parsed):
    ...     print("port", parsed["port"])
    ...     return Success(None)
    >>> run(program("serve", option("--port", int, default=8080)), main, ["--port", "80"])
    port 80
    0
    """
    out = sys.stdout if stdout is None else stdout
    err = sys.stderr if stderr is None else stderr
    given = sys.argv[1:] if args is None else args
    try:
        status = _run(parser, main, given, options or CLIConfig(), out, err)
        out.flush()
    except KeyboardInterrupt:
        _write(err, "interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _detach(out)
        return EXIT_BROKEN_PIPE
    return status


def _run(
    parser: Parser[T], main: Main[T], args: Sequence[str], options: CLIConfig, out: TextIO, err: TextIO
) -> int:
    asked = _completion(parser, args, options)
    if asked is not None:
        _write(out, asked)
        return 0
    parsed = parse(args, parser, _with_width(options))
    if (error := parsed.error) is not None:
        if error.code in (CLI_HELP, CLI_VERSION):
            _write(out, str(error.context["text"]))
            return 0
        _write(err, report(error, parser))
        return error.category.policy.exit_code
    error = call_main(main, cast("ParsedArgs[T]", parsed.data), out).error
    if error is None:
        return 0
    out.flush()  # what was printed before the error stands before it
    _write(err, report(error))
    return error.category.policy.exit_code


def call_main(main: Main[T], parsed: ParsedArgs[T], out: TextIO | None = None) -> Result[Any]:
    """Call `main` and wait for it if need be; an exception of it is a Failure."""
    try:
        outcome = main(parsed)
        if type(outcome) not in (Success, Failure):
            return _await(outcome)
    except QiError as error:
        return Failure(error)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and out is not None and _lost_its_reader(out):
            raise
        import logging

        logging.getLogger("qicore.cli").error("unexpected exception", exc_info=error)
        return Failure(QiError.from_exception(error, code=CLI_UNEXPECTED, kind=type(error).__name__))
    return cast("Result[Any]", outcome)


def _await(outcome: Awaitable[Result[Any]]) -> Result[Any]:
    import asyncio

    async def wait() -> Result[Any]:
        return await outcome

    return asyncio.run(wait())


def _with_width(options: CLIConfig) -> CLIConfig:
    if options.width is not None:
        return options
    from shutil import get_terminal_size

    # Lines longer than this are hard to read, however wide the terminal.
    width = max(min(get_terminal_size().columns, 100), 20)
    return CLIConfig(environ=options.environ, config=options.config, width=width)


def report(error: QiError, parser: Parser[Any] | None = None) -> str:
    """Return an error as a program shows it: messages, codes, causes; with a parser, how to get help.

    >>> print(report(QiError.filesystem("NO_FILE", "notes.md does not exist")), end="")
    error: notes.md does not exist [NO_FILE]
    """
    lines: list[str] = []
    for each in _members(error):
        lines.append(f"error: {_line(each.message)} [{each.code}]")
        hint = each.context.get("hint")
        if isinstance(hint, str) and hint not in each.message:
            lines.append(f"  hint: {_line(hint)}")
        cause = each.cause
        while cause is not None:
            lines.append(f"  caused by: {_line(cause.message)} [{cause.code}]")
            cause = cause.cause
    dropped = error.context.get("not_shown")
    if dropped:
        lines.append(f"error: and {dropped} more")
    if parser is not None:
        lines += _pointer(error, parser)
    return "\n".join(lines) + "\n"


def _pointer(error: QiError, parser: Parser[Any]) -> list[str]:
    last = _members(error)[-1]
    command = last.context.get("command")
    path = command.split() if isinstance(command, str) else []
    program = compile_parser(parser).program
    words = [program.name] if program else []
    usage = generate_usage(parser, command=path)
    return [usage, f"Try '{' '.join([*words, *path, '--help'])}'."]


def _members(error: QiError) -> list[QiError]:
    """Return the errors that an aggregate holds, or the error itself."""
    members = error.context.get("errors")
    if error.code != "MULTIPLE_ERRORS" or not isinstance(members, tuple):
        return [error]
    return [QiError.from_structured_data(cast("Any", member)) for member in members]


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def _completion(parser: Parser[Any], args: Sequence[str], options: CLIConfig) -> str | None:
    """Return what a completion script of ours asks for, or None when this is no such call."""
    program = compile_parser(parser).program
    if program is None:
        return None
    environ = os.environ if options.environ is None else options.environ
    asked = environ.get(variable(program.name), "")
    shell, _, source = asked.partition("_")
    if shell not in SHELLS:
        return None
    if source == "source":
        return script(shell, program.name).unwrap_or("")
    return render_completions(complete(args, parser))


def _write(stream: TextIO, text: str) -> None:
    """Write text that may hold what the stream can't encode."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _lost_its_reader(stream: TextIO) -> bool:
    """Whether it is this stream whose pipe is closed: a broken pipe elsewhere is an error like any other."""
    import select

    try:
        file = stream.fileno()
    except (OSError, ValueError):
        return False
    if not hasattr(select, "poll"):  # Windows can't tell: standard output is the likeliest
        return True
    poll = select.poll()
    poll.register(file, 0)  # an error and a hang-up are reported without being asked for
    return bool(poll.poll(0))


def _detach(stream: TextIO) -> None:
    """Point a closed standard output at nothing, or the interpreter complains when it flushes it at exit."""
    if stream is sys.stdout:
        with suppress(OSError, ValueError):  # without a file descriptor there is nothing to flush to
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, stream.fileno())
            os.close(nothing)
