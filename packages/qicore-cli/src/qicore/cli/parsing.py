"""The door: parse a list of arguments or a line, and check rules over what was parsed."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cli.compiled import Scope, compile_parser
from qicore.cli.config import CLIConfig
from qicore.cli.errors import (
    CLI_ARGV,
    CLI_HELP,
    CLI_RULE_BROKEN,
    CLI_SYNTAX,
    CLI_UNEXPECTED,
    CLI_UNKNOWN_COMMAND,
    CLI_VERSION,
    Errors,
    mistake,
)
from qicore.cli.evaluation import Evaluation
from qicore.cli.parser import Parser
from qicore.cli.resolve import resolve
from qicore.cli.scan import Scan, scan
from qicore.cli.values import ParsedArgs

__all__ = ["Rule", "finish", "parse", "parse_string", "rule", "validate"]

T = TypeVar("T")

Rule: TypeAlias = Callable[[ParsedArgs[T]], bool | Result[Any]]
"""A function of what was parsed that gives a bool, or a Result whose Failure is the error."""

_DEFAULTS = CLIConfig()


def parse(args: Sequence[str], parser: Parser[T], options: CLIConfig = _DEFAULTS) -> Result[ParsedArgs[T]]:
    """Return what the arguments, without the program's name, come to. It never prints, and never exits.

    All that is wrong is in one Failure: the error itself, or MULTIPLE_ERRORS with each under `errors` in
    its context. Every code is VALIDATION: CLI_UNKNOWN_OPTION, CLI_UNKNOWN_COMMAND, CLI_MISSING_ARGUMENT,
    CLI_UNEXPECTED_ARGUMENT, CLI_BAD_VALUE, CLI_CONFLICT, CLI_ARGV; besides CLI_UNEXPECTED [UNKNOWN] for an
    exception of a function of the program. `--help` and `--version` are Failures too, so that nothing
    downstream runs: CLI_HELP and CLI_VERSION, with what to show as `text` in the context.

    >>> from qicore.cli import option
    >>> parse(["--port", "80"], option("--port", int, required=True)).unwrap().value
    80
    >>> parse(["--prot", "80"], option("--port", int)).error.message
    'unknown option --prot: did you mean --port?'
    """
    if options is not _DEFAULTS and (wrong := options.check()).is_failure:
        return cast("Failure", wrong)
    root = compile_parser(parser)
    if isinstance(args, str):
        return Failure(mistake(CLI_ARGV, "arguments are a list of texts", (), "parse_string takes one text"))
    if set(map(type, args)) != {str} and not all(isinstance(arg, str) for arg in args):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        return Failure(mistake(CLI_ARGV, "arguments are a list of texts", (), "one of these is no text"))
    found = scan(root, args)
    if found.asked and not any(error.code == CLI_UNKNOWN_COMMAND for error in found.errors.found):
        return Failure(_answer(parser, found, options))
    try:
        return finish(parser, found, options)
    except Exception as error:  # noqa: BLE001 - the last door: a broken `get` or loader of the program
        return Failure(QiError.from_exception(error, code=CLI_UNEXPECTED))


def finish(parser: Parser[T], found: Scan, options: CLIConfig) -> Result[ParsedArgs[T]]:
    """Return what the tokens found come to."""
    values, sources = resolve(found, options)
    errors = found.errors
    scope = found.scope
    run = Evaluation(values, found.taken, errors, scope.path, scope.secrets)
    record: dict[str, Any] = {}
    value = parser.evaluate(run, record)
    if errors:
        return Failure(errors.one())
    return Success(ParsedArgs(record, value, scope.path, sources, scope.names, scope.secrets))


def _answer(parser: Parser[Any], found: Scan, options: CLIConfig) -> QiError:
    """Return the Failure that carries the help or the version that was asked for."""
    scope: Scope = found.scope
    if found.asked == "version" and scope.program is not None:
        text = f"{scope.program.name} {scope.program.version}\n"
        return mistake(CLI_VERSION, "the version was asked for", scope.path, text=text)
    from qicore.cli.help import generate_help

    text = generate_help(parser, command=scope.path, width=options.width or 80)
    return mistake(CLI_HELP, "help was asked for", scope.path, text=text)


def parse_string(line: str, parser: Parser[T], options: CLIConfig = _DEFAULTS) -> Result[ParsedArgs[T]]:
    """Split a line as a POSIX shell splits words, without expanding anything, and parse it.

    CLI_SYNTAX [VALIDATION] when a quote is not closed or a backslash ends the line; else as `parse`.

    >>> from qicore.cli import positional
    >>> parse_string("'two words'", positional("text")).unwrap().value
    'two words'
    """
    import shlex

    try:
        args = shlex.split(line)
    except ValueError as error:
        reason = "a quote is not closed" if "quot" in str(error) else "a backslash ends the line"
        return Failure(mistake(CLI_SYNTAX, reason, ()))
    return parse(args, parser, options)


def rule(check: Callable[[ParsedArgs[Any]], bool], message: str) -> Callable[[ParsedArgs[Any]], Result[Any]]:
    """Return a rule with the message to show, under CLI_RULE_BROKEN [VALIDATION], when it is broken.

    >>> from qicore.cli import option, parse, sequence
    >>> parser = sequence(option("--low", int, default=0), option("--high", int, default=9))
    >>> ordered = rule(lambda parsed: parsed["low"] <= parsed["high"], "--low must not be above --high")
    >>> parse(["--low", "10"], parser).flat_map(lambda parsed: validate(parsed, [ordered])).error.message
    '--low must not be above --high'
    """

    def checked(parsed: ParsedArgs[Any]) -> Result[Any]:
        if check(parsed):
            return Success(None)
        return Failure(mistake(CLI_RULE_BROKEN, message, parsed.command))

    return checked


def validate(parsed: ParsedArgs[T], rules: Iterable[Rule[T]]) -> Result[ParsedArgs[T]]:
    """Return what was parsed when it keeps every rule, else one Failure with all that it breaks.

    A rule is a function that gives a bool or a Result, or a `rule` with a message. False is CLI_RULE_BROKEN
    [VALIDATION]; an exception is CLI_UNEXPECTED [UNKNOWN].
    """
    errors = Errors()
    for each in rules:
        try:
            answer = each(parsed)
        except Exception as error:  # noqa: BLE001 - the program's own function: translated here, once
            errors.add(QiError.from_exception(error, code=CLI_UNEXPECTED))
            continue
        if isinstance(answer, Failure):
            errors.add(answer.error)
        elif answer is False:
            name = getattr(each, "__name__", "a rule").replace("_", " ")
            errors.add(mistake(CLI_RULE_BROKEN, f"{name} does not hold", parsed.command))
    return Failure(errors.one()) if errors else Success(parsed)
