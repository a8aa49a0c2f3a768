"""Reading the arguments: which option, operand or command each one is. Nothing is converted here.

The conventions are those of POSIX (XBD 12.2) with GNU's long options, and options may follow operands:
`-abc` is a cluster, `-ofile` and `-o file` are the same, `-` is an operand, and after `--` all else is.
"""

from collections.abc import Sequence
from typing import Any, Final

from qicore.cli.compiled import Bound, Branch, Scope
from qicore.cli.errors import (
    CLI_BAD_VALUE,
    CLI_MISSING_ARGUMENT,
    CLI_UNEXPECTED_ARGUMENT,
    CLI_UNKNOWN_COMMAND,
    CLI_UNKNOWN_OPTION,
    Errors,
    mistake,
    quoted,
)
from qicore.cli.leaves import Leaf, is_leaf
from qicore.cli.parser import Item, OptionalChoice, Parser, is_choice
from qicore.cli.suggest import closest

__all__ = ["Scan", "scan"]

# What word processors and web pages make of a hyphen.
_LOOKALIKES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"


class Scan:
    """What was found on a command line, unconverted.

    Attributes:
        raw: by name: a text, a list of texts, a bool or a number.
        spelled: by name: the flag that gave it, or the metavar of an operand.
        scopes: the scopes entered, outermost first.
        taken: the alternatives taken.
        asked: "help" or "version" when that was asked for.
        lost: a command is unknown or missing, so that what else is missing can't be known.
    """

    __slots__ = ("asked", "errors", "lost", "misspelled", "raw", "scopes", "spelled", "taken")

    def __init__(self, root: Scope) -> None:
        self.raw: dict[str, Any] = {}
        self.spelled: dict[str, str] = {}
        self.scopes = [root]
        self.taken: list[Parser[Any]] = []
        self.errors = Errors()
        self.asked = ""
        self.lost = False
        self.misspelled = False

    @property
    def scope(self) -> Scope:
        """The innermost scope."""
        return self.scopes[-1]

    def fail(self, code: str, message: str, hint: str = "", **context: object) -> None:
        """Note an error in the innermost command."""
        self.errors.add(mistake(code, message, self.scope.path, hint, **context))


def scan(root: Scope, args: Sequence[str]) -> Scan:
    """Read all arguments, in time linear in their number."""
    found = Scan(root)
    raw, spelled = found.raw, found.spelled
    scope, options, words = root, root.options, root.words
    operands: list[str] = []
    plain = False
    index, end = 0, len(args)
    while index < end:
        arg = args[index]
        index += 1
        if plain or arg[:1] != "-" or arg == "-":
            if arg[:1] > "\x7f" and not plain and arg[0] in _LOOKALIKES and _lookalike(found, arg):
                continue
            if words is None or len(operands) < scope.needed:
                operands.append(arg)
                continue
            branch = words.get(arg)
            if branch is None:
                _unknown_command(found, arg, words)
                break
            _distribute(found, operands)
            operands = []
            if branch.alternative is not None:
                found.taken.append(branch.alternative)
            scope = branch.scope
            found.scopes.append(scope)
            options, words = scope.options, scope.words
            continue
        bound = options.get(arg)
        if bound is None:
            if arg == "--":
                plain = True
                continue
            if arg[1] != "-":
                if _negative(arg) and arg[:2] not in options:
                    operands.append(arg)
                    continue
                index = _cluster(found, arg, args, index)
                continue
            name, equals, value = arg.partition("=")
            bound = options.get(name)
            if bound is None or not equals:
                index = _unknown_option(found, name, bool(equals), args, index)
                continue
            _attached(found, bound, name, value)
            if bound.action == "value" and isinstance(bound.leaf.nargs, int):
                index = _more(found, bound.leaf, name, [value], args, index)
            continue
        if bound.single:
            if index < end and not ((value := args[index])[:1] == "-" and _is_option(options, value)):
                name = bound.leaf.name
                raw[name] = value
                spelled[name] = arg
                index += 1
            else:
                _no_value(found, bound.leaf, arg, args, index)
        else:
            index = _act(found, bound, arg, args, index)
    if not found.lost:
        if words is None:
            _distribute(found, operands)
        else:
            _no_command(found, operands)
    return found


def _act(found: Scan, bound: Bound, arg: str, args: Sequence[str], index: int) -> int:
    """Do what an option without an attached value does; return where to go on."""
    leaf = bound.leaf
    match bound.action:
        case "flag":
            found.raw[leaf.name] = bound.constant
            found.spelled[leaf.name] = arg
        case "count":
            found.raw[leaf.name] = found.raw.get(leaf.name, 0) + 1
            found.spelled[leaf.name] = arg
        case "value":
            return _more(found, leaf, arg, [], args, index)
        case asked:
            if found.asked != "help":
                found.asked = asked
    return index


def _more(found: Scan, leaf: Leaf[Any], arg: str, values: list[str], args: Sequence[str], index: int) -> int:
    """Take the values of one use of an option, after those it has already."""
    wanted = leaf.nargs if isinstance(leaf.nargs, int) else 1
    options = found.scope.options
    while len(values) < wanted:
        if index == len(args) or (args[index][:1] == "-" and _is_option(options, args[index])):
            _no_value(found, leaf, arg, args, index)
            return index
        values.append(args[index])
        index += 1
    _keep(found, leaf, arg, values)
    return index


def _keep(found: Scan, leaf: Leaf[Any], arg: str, values: list[str]) -> None:
    found.spelled[leaf.name] = arg
    if leaf.multiple:
        found.raw.setdefault(leaf.name, []).extend(values)
    else:
        found.raw[leaf.name] = values if leaf.nargs is not None else values[0]


def _attached(found: Scan, bound: Bound, arg: str, value: str) -> None:
    """Take the value of `--name=value`."""
    if bound.action != "value":
        found.fail(CLI_BAD_VALUE, f"{arg} takes no value", option=arg)
    elif not isinstance(bound.leaf.nargs, int):
        _keep(found, bound.leaf, arg, [value])


def _cluster(found: Scan, arg: str, args: Sequence[str], index: int) -> int:
    """Read `-abc` and `-ofile`; return where to go on."""
    options = found.scope.options
    for position in range(1, len(arg)):
        flag = f"-{arg[position]}"
        bound = options.get(flag)
        if bound is None:
            if position == 1:
                return _unknown_option(found, arg, False, args, index)
            found.misspelled = True
            place = "" if _guarded(found) else f" in {quoted(arg)}"
            found.fail(CLI_UNKNOWN_OPTION, f"unknown option {flag}{place}", option=flag)
            return index
        if bound.action == "value":
            rest = arg[position + 1 :]
            return _more(found, bound.leaf, flag, [rest] if rest else [], args, index)
        index = _act(found, bound, flag, args, index)
    return index


def _guarded(found: Scan) -> bool:
    """Whether the program has a secret, so that what stands where nothing is expected may be one."""

    def secret(items: Sequence[Item]) -> bool:
        for item in items:
            choice = item.choice if isinstance(item, OptionalChoice) else item
            if is_leaf(item) and item.secret:
                return True
            if is_choice(choice) and any(secret(each.items) for each in choice.alternatives):
                return True
        return False

    return secret(found.scopes[0].items)


def _is_option(options: dict[str, Bound], arg: str) -> bool:
    """Whether an argument is a known option, and so no value, unless it is written `--name=-x`."""
    return arg in options or (arg[:2] == "--" and arg.partition("=")[0] in options)


def _negative(arg: str) -> bool:
    """Whether an argument that begins with a hyphen is a number."""
    if arg[1] not in "0123456789." or not arg.isascii() or "_" in arg:
        return False
    try:
        float(arg)
    except ValueError:
        return False
    return True


def _no_value(found: Scan, leaf: Leaf[Any], arg: str, args: Sequence[str], index: int) -> None:
    hint = ""
    if index < len(args):
        name = args[index].partition("=")[0]  # what is attached to it may be secret
        written = f"{arg}=VALUE" if arg.startswith("--") else f"{arg}VALUE"
        hint = f"{name} is an option itself; write {written} for a value that looks like one"
    found.spelled[leaf.name] = arg
    message = f"{arg} needs {'its ' + str(leaf.nargs) + ' values' if leaf.nargs else 'a value'}"
    found.fail(CLI_MISSING_ARGUMENT, message, hint, option=arg, name=leaf.name)


def _unknown_option(found: Scan, name: str, attached: bool, args: Sequence[str], index: int) -> int:
    """Note an unknown option, without what is attached to it; return where to go on."""
    found.misspelled = True
    if len(name) > 2 and name[1] != "-" and _guarded(found):
        name = name[:2]  # the rest may be a value that is attached
    if found.errors.full:
        found.errors.count()
        return index
    options = found.scope.options
    known = [flag for flag, bound in options.items() if not bound.leaf.hidden]
    suggestions = closest(name if name.startswith("--") else f"-{name}", known)
    hint = f"did you mean {' or '.join(suggestions)}?" if suggestions else ""
    found.fail(
        CLI_UNKNOWN_OPTION, f"unknown option {_shown(name)}", hint, option=name[:64], suggestions=suggestions
    )
    # What follows a misspelled option that takes a value is most likely that value, not an operand.
    meant = options[suggestions[0]] if suggestions and not attached else None
    if meant is not None and meant.single and index < len(args) and args[index][:1] != "-":
        return index + 1
    return index


def _shown(name: str) -> str:
    return name if len(name) <= 40 and name.isprintable() else quoted(name)


def _lookalike(found: Scan, arg: str) -> bool:
    """Note that an argument begins with a dash that is no hyphen, if it would be an option with one."""
    name = arg.partition("=")[0].lstrip(_LOOKALIKES + "-")
    meant = next((flag for flag in (f"--{name}", f"-{name}") if flag in found.scope.options), None)
    if meant is None:
        return False
    found.misspelled = True
    hint = f"it begins with U+{ord(arg[0]):04X}, which only looks like a hyphen; did you mean {meant}?"
    found.fail(
        CLI_UNKNOWN_OPTION, f"unknown option {_shown(arg.partition('=')[0])}", hint, suggestions=[meant]
    )
    return True


def _unknown_command(found: Scan, arg: str, words: dict[str, Branch]) -> None:
    found.lost = True
    known = [word for word, branch in words.items() if not branch.head.hidden]
    suggestions = closest(arg, known)
    if suggestions:
        hint = f"did you mean {' or '.join(suggestions)}?"
    else:
        hint = f"choose from {_commands(found.scope)}"
    # After a misspelled option this may be the value it was meant to have, and secret.
    shown = "" if found.misspelled and _guarded(found) else f" {quoted(arg)}"
    found.fail(CLI_UNKNOWN_COMMAND, f"unknown command{shown}", hint, suggestions=suggestions)


def _commands(scope: Scope) -> str:
    return ", ".join(branch.head.words[0] for branch in scope.branches if not branch.head.hidden)


def _no_command(found: Scan, operands: list[str]) -> None:
    scope = found.scope
    if scope.command_optional and not operands and not scope.needed:
        return
    found.lost = True
    short = scope.operands[len(operands) :]
    for leaf in short:
        found.fail(CLI_MISSING_ARGUMENT, f"missing argument {leaf.spelling}", name=leaf.name)
    if not short:
        found.fail(
            CLI_MISSING_ARGUMENT, "a command is missing", f"choose from {_commands(scope)}", name="command"
        )


def _distribute(found: Scan, operands: list[str]) -> None:
    """Give the operands to the innermost scope: what each leaf needs, then the rest from the left."""
    leaves = found.scope.operands
    if not leaves and not operands:
        return
    spare = len(operands) - found.scope.needed
    start = 0
    for leaf in leaves:
        least = 0 if not leaf.required else leaf.nargs if isinstance(leaf.nargs, int) else 1
        if leaf.nargs in ("+", "*"):
            share = least + max(spare, 0)
        elif leaf.required:
            share = least
        else:
            share = leaf.nargs if isinstance(leaf.nargs, int) else 1
            share = share if spare >= share else 0
        share = max(min(share, len(operands) - start), 0)
        spare -= share - least
        if share < least:
            missing = (
                f"{leaf.spelling} needs {least} arguments"
                if least > 1
                else f"missing argument {leaf.spelling}"
            )
            found.fail(CLI_MISSING_ARGUMENT, missing, name=leaf.name)
        elif share:
            values = operands[start : start + share]
            found.raw[leaf.name] = values if leaf.nargs is not None else values[0]
            found.spelled[leaf.name] = leaf.spelling
        start += share
    if start < len(operands):
        _surplus(found, operands[start:])


def _surplus(found: Scan, rest: list[str]) -> None:
    # After a misspelled option an operand too many may be the value it was meant to have, and secret.
    hidden = found.misspelled and _guarded(found)
    shown = "" if hidden else ": " + ", ".join(map(quoted, rest[:3])) + (", …" if len(rest) > 3 else "")
    many = f"{len(rest)} arguments" if len(rest) > 1 else "one argument"
    found.fail(CLI_UNEXPECTED_ARGUMENT, f"{many} too many{shown}", surplus=len(rest))
