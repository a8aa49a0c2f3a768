"""The way to click and back. click is loaded by the first call, not by the import of this module."""

from typing import TYPE_CHECKING, TypeVar

from qicore.base import Result
from qicore.cli.parser import Parser
from qicore.cli.running import Main
from qicore.cli.values import Values

if TYPE_CHECKING:
    import click

__all__ = ["from_click", "to_click"]

T = TypeVar("T")


def to_click(parser: Parser[T], main: Main[T] | None = None) -> "click.Command":
    """Return a click command that reads the same command line, to mount in a click application.

    It calls `main` and raises its Failure as a ClickException with the category's exit status; without
    `main` it returns the ParsedArgs. click's own parser reads the line, with its rules: options of an outer
    command stand before the inner one, `-5` needs a `--` before it, and only the first error is reported.
    """
    from qicore.cli.click_out import convert

    return convert(parser, main)


def from_click(command: "click.Command") -> Result[Parser[Values]]:
    """Return the parser of the same command line as a click command, whose value is its values by name.

    What click would do after parsing (callbacks, prompts, pagers) is not carried over. CLI_UNSUPPORTED
    [VALIDATION] names what has no counterpart: chained groups, and commands that ignore unknown options.
    A name that occurs at several levels is recorded with the command's name before it.
    """
    from qicore.cli.click_in import convert

    return convert(command)
