"""Help and usage: the same text for the same parser and width, whatever the terminal or the environment."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

from qicore.cli.compiled import HELP, VERSION, Branch, Scope, compile_parser
from qicore.cli.leaves import MISSING, Leaf
from qicore.cli.parser import Parser

__all__ = ["find_scope", "generate_help", "generate_usage"]

_WIDEST_LABEL: Final = 30
_MARGIN: Final = 2

_Row = tuple[str, str]


def generate_help(parser: Parser[Any], *, command: Sequence[str] = (), width: int = 80) -> str:
    """Return the help of a parser, or of one of its commands, wrapped to `width` columns.

    It has usage, description, operands, commands, options by heading, the options of outer commands, and the
    epilog. Hidden options and commands are left out, and so are the defaults of secrets. Raises
    ValueError when there is no such command.

    >>> from qicore.cli import option, positional, program
    >>> greet = program("greet", positional("name"), option("--loud", bool, "-l", help="Shout."))
    >>> print(generate_help(greet), end="")
    Usage: greet [OPTIONS] NAME
    <BLANKLINE>
    Arguments:
      NAME
    <BLANKLINE>
    Options:
      -l, --loud  Shout.
      -h, --help  Show this help.
    """
    scope = find_scope(parser, command)
    blocks = [_usage(scope, width)]
    program = scope.program
    about = scope.head.help if scope.head else program.description if program else ""
    if about:
        blocks.append(_paragraphs(about, width))
    blocks += _sections(scope, width)
    if program and program.epilog and scope.head is None:
        blocks.append(_paragraphs(program.epilog, width))
    return "\n\n".join(blocks) + "\n"


def generate_usage(parser: Parser[Any], *, command: Sequence[str] = (), width: int = 80) -> str:
    """Return the usage lines of a parser, or of one of its commands.

    >>> from qicore.cli import command, option, positional, program
    >>> copy = command("copy", positional("files", nargs="+"), option("--to", str, required=True))
    >>> print(generate_usage(program("app", copy), command=["copy"]))
    Usage: app copy [OPTIONS] --to TEXT FILES...
    """
    return _usage(find_scope(parser, command), width)


def find_scope(parser: Parser[Any], command: Sequence[str]) -> Scope:
    """Return the scope of a command; raise ValueError when there is none."""
    scope = compile_parser(parser)
    for word in command:
        branch = (scope.words or {}).get(word)
        if branch is None:
            raise ValueError(f"there is no command {' '.join(command)!r}")
        scope = branch.scope
    return scope


def _usage(scope: Scope, width: int) -> str:
    words = ["Usage:"]
    if scope.program:
        words.append(scope.program.name)
    scopes: list[Scope] = []
    here: Scope | None = scope
    while here is not None:
        scopes.insert(0, here)
        here = here.parent
    for each in scopes:
        if each.head:
            words.append(each.head.words[0])
        if each is scope:
            words.append("[OPTIONS]")
        words += [
            _usage_option(leaf) for leaf in each.own if leaf.flags and leaf.required and not leaf.hidden
        ]
        words += [_usage_operand(leaf) for leaf in each.operands]
    if scope.words is not None:
        words += ["[COMMAND]" if scope.command_optional else "COMMAND", "[ARGS]..."]
    lead = " ".join(words[: 2 if scope.program else 1])
    # Words such as `--to TEXT` stay together: a no-break space stands in until the line is wrapped.
    body = " ".join(word.replace(" ", "\xa0") for word in words[2 if scope.program else 1 :])
    indent = min(len(lead) + 1, max(width // 3, 8))
    return "\n".join(_wrap(f"{lead} {body}", width, " " * indent))


def _usage_option(leaf: Leaf[Any]) -> str:
    return f"{leaf.spelling} {_values(leaf)}"


def _usage_operand(leaf: Leaf[Any]) -> str:
    shown = _values(leaf)
    return shown if leaf.required else f"[{shown}]"


def _values(leaf: Leaf[Any]) -> str:
    """Return what stands for the values of a leaf."""
    if isinstance(leaf.nargs, int):
        return " ".join([leaf.metavar] * leaf.nargs)
    return f"{leaf.metavar}..." if leaf.nargs else leaf.metavar


def _sections(scope: Scope, width: int) -> list[str]:
    sections: dict[str, list[_Row]] = {}

    def add(heading: str, rows: Iterable[_Row]) -> None:
        found = list(rows)
        if found:
            sections.setdefault(heading, []).extend(found)

    add("Arguments", [(_values(leaf), _about(leaf)) for leaf in scope.operands])
    add("Commands", [_command_row(branch) for branch in scope.branches if not branch.head.hidden])
    add("Options", _option_rows((leaf for leaf in scope.own if not leaf.heading), scope))
    builtin = (HELP, VERSION) if scope.head is None else (HELP,)
    add("Options", _option_rows(builtin, scope))
    for leaf in scope.own:
        if leaf.heading:
            add(leaf.heading, _option_rows([leaf], scope))
    outer = scope.parent
    while outer is not None:
        add("Global options", _option_rows(outer.own, scope))
        outer = outer.parent
    column = _column(row for rows in sections.values() for row in rows)
    return ["\n".join([f"{heading}:", *_table(rows, column, width)]) for heading, rows in sections.items()]


def _command_row(branch: Branch) -> _Row:
    return ", ".join(branch.head.words), branch.head.help.partition("\n\n")[0]


def _option_rows(leaves: Iterable[Leaf[Any]], scope: Scope) -> list[_Row]:
    """Return the rows of options, each with the flags that reach it from this scope."""
    rows: list[_Row] = []
    for leaf in leaves:
        spelled = (*leaf.flags, *leaf.negations)
        flags = [flag for flag in spelled if flag in scope.options and scope.options[flag].leaf is leaf]
        if not flags or leaf.hidden:
            continue
        label = _flags(flags)
        rows.append((f"{label} {_values(leaf)}" if leaf.shape == "value" else label, _about(leaf)))
    return rows


def _flags(flags: Iterable[str]) -> str:
    ordered = sorted(flags, key=lambda flag: flag.startswith("--"))
    text = ", ".join(ordered)
    return text if len(ordered[0]) == 2 else f"    {text}"


def _about(leaf: Leaf[Any]) -> str:
    """Return the help of a leaf with its facts in brackets."""
    facts: list[str] = []
    if (leaf.kind.choices and leaf.kind.metavar not in (leaf.metavar, "")) or leaf.kind.metavar == "CHOICE":
        facts.append(f"one of: {', '.join(leaf.kind.choices)}")
    if leaf.multiple:
        facts.append("may be repeated")
    if leaf.env:
        facts.append(f"env: {leaf.env}")
    if leaf.config:
        facts.append(f"config: {leaf.config}")
    default = _default(leaf)
    if default:
        facts.append(f"default: {default}")
    if leaf.required and leaf.flags:
        facts.append("required")
    # A fact stays in one piece: no-break spaces stand in until the lines are wrapped.
    return " ".join([leaf.help, *(f"[{fact}]".replace(" ", "\xa0") for fact in facts)]).strip()


def _default(leaf: Leaf[Any]) -> str:
    default = leaf.default
    if (
        leaf.secret
        or default is MISSING
        or default is None
        or default is False
        or default == ()
        or leaf.shape == "count"
    ):
        return ""
    if default is True and leaf.shape == "flag":
        return leaf.spelling
    if isinstance(default, Enum):
        return default.value if isinstance(default.value, str) else default.name
    if isinstance(default, tuple | list):
        return ", ".join(map(str, default))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # any elements
    return str(default)


def _column(rows: Iterable[_Row]) -> int:
    return max((len(label) for label, _ in rows if len(label) <= _WIDEST_LABEL), default=0)


def _table(rows: Iterable[_Row], column: int, width: int) -> list[str]:
    lines: list[str] = []
    start = _MARGIN + column + 2
    room = width - start
    if room < 20:  # too narrow for two columns: the text goes under its label
        start, room = 6, max(width - 6, 10)
        column = 0
    for label, text in rows:
        wrapped = _wrap(text, room)
        if wrapped and len(label) <= column:
            lines.append(f"{' ' * _MARGIN}{label:<{column}}  {wrapped.pop(0)}")
        else:
            lines.append(f"{' ' * _MARGIN}{label}")
        lines += [f"{' ' * start}{line}" for line in wrapped]
    return lines


def _paragraphs(text: str, width: int) -> str:
    return "\n\n".join("\n".join(_wrap(part, width)) for part in text.strip().split("\n\n"))


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Wrap text, leaving words and what no-break spaces join in one piece."""
    import textwrap

    lines = textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\xa0", " ") for line in lines]
