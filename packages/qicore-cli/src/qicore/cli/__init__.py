"""Command lines as values: parsers that compose, and never print or exit.

>>> from qicore.cli import command, option, parse, positional, sequence
>>> parser = sequence(
...     command("deploy"), option("--env", str), option("--force", bool), positional("target", str)
... )
>>> parse(["deploy", "web", "--env", "prod"], parser).unwrap()["env"]
'prod'
>>> parse(["deploy", "web", "--enw", "prod"], parser).error.message
'unknown option --enw: did you mean --env?'
"""

from qicore.cli.bridge import from_click, to_click
from qicore.cli.combinators import (
    at_least_one,
    choice,
    command,
    exclusive,
    group,
    program,
    pure,
    sequence,
)
from qicore.cli.completion import Completion, complete, generate_completion
from qicore.cli.config import CLIConfig, ConfigurationSource, Lookup
from qicore.cli.help import generate_help, generate_usage
from qicore.cli.leaves import count, option, positional
from qicore.cli.lifting import lift
from qicore.cli.parser import Parser
from qicore.cli.parsing import Rule, parse, parse_string, rule, validate
from qicore.cli.running import Main, report, run
from qicore.cli.types import ValueType, checked, float_range, int_range, one_of, path
from qicore.cli.values import Origin, ParsedArgs, Source, Values

__all__ = [
    "CLIConfig",
    "Completion",
    "ConfigurationSource",
    "Lookup",
    "Main",
    "Origin",
    "ParsedArgs",
    "Parser",
    "Rule",
    "Source",
    "ValueType",
    "Values",
    "at_least_one",
    "checked",
    "choice",
    "command",
    "complete",
    "count",
    "exclusive",
    "float_range",
    "from_click",
    "generate_completion",
    "generate_help",
    "generate_usage",
    "group",
    "int_range",
    "lift",
    "one_of",
    "option",
    "parse",
    "parse_string",
    "path",
    "positional",
    "program",
    "pure",
    "report",
    "rule",
    "run",
    "sequence",
    "to_click",
    "validate",
]
