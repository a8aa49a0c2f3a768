"""What could stand next on a command line: the half of shell completion that is the same for every shell."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from qicore.base import Result
from qicore.cli.compiled import Scope, compile_parser
from qicore.cli.leaves import Leaf
from qicore.cli.parser import Parser
from qicore.cli.shells import script

__all__ = ["Completion", "complete", "generate_completion", "render_completions"]


class Completion(NamedTuple):
    """One proposal: a text with its help; or, by its kind, that the shell shall list files or directories."""

    text: str
    help: str = ""
    kind: Literal["text", "file", "directory"] = "text"


def complete(args: Sequence[str], parser: Parser[Any]) -> list[Completion]:
    """Return what could stand in the place of the last argument, which may be empty or begun.

    >>> from qicore.cli import command, option, sequence
    >>> parser = sequence(command("deploy", help="Ship it."), option("--env", str), option("--force", bool))
    >>> [each.text for each in complete(["de"], parser)]
    ['deploy']
    >>> [each.text for each in complete(["deploy", "--f"], parser)]
    ['--force']
    """
    scope = compile_parser(parser)
    *before, current = args or [""]
    operands = 0
    plain = False
    pending: tuple[Leaf[Any], int] | None = None  # an option, and how many of its values are still to come
    for arg in before:
        if pending is not None:
            leaf, left = pending
            pending = (leaf, left - 1) if left > 1 else None
        elif plain or arg[:1] != "-" or arg == "-":
            if scope.words is not None and operands >= scope.needed:
                branch = scope.words.get(arg)
                if branch is None:
                    return []
                scope, operands = branch.scope, 0
            else:
                operands += 1
        elif arg == "--":
            plain = True
        else:
            pending = _awaited(scope, arg)
    if pending is not None:
        return _values(pending[0], current)
    if not plain and current.startswith("-"):
        name, equals, begun = current.partition("=")
        if equals:
            bound = scope.options.get(name)
            if bound is None or bound.action != "value":
                return []
            return [each._replace(text=f"{name}={each.text}") for each in _values(bound.leaf, begun)]
        return _options(scope, current)
    return _operands(scope, operands, current)


def _awaited(scope: Scope, arg: str) -> tuple[Leaf[Any], int] | None:
    """Return the option whose value comes next after this arg, if one does."""
    bound = scope.options.get(arg)
    if bound is None and arg[:2] != "--":
        for position in range(1, len(arg)):
            bound = scope.options.get(f"-{arg[position]}")
            if bound is None or (bound.action == "value" and position < len(arg) - 1):
                return None
    if bound is None or bound.action != "value":
        return None
    return bound.leaf, bound.leaf.nargs if isinstance(bound.leaf.nargs, int) else 1


def _values(leaf: Leaf[Any], begun: str) -> list[Completion]:
    kind = leaf.kind
    if leaf.secret:
        return []
    if kind.complete is not None:
        return [Completion(text) for text in kind.complete(begun) if text.startswith(begun)]
    if kind.choices:
        return [Completion(text) for text in kind.choices if text.startswith(begun)]
    return [Completion(begun, kind=kind.shell)] if kind.shell else []


def _options(scope: Scope, begun: str) -> list[Completion]:
    found: list[Completion] = []
    for flag, bound in scope.options.items():
        if flag.startswith(begun) and not bound.leaf.hidden:
            found.append(Completion(flag, bound.leaf.help))
    # Long names first: they say what they do.
    return sorted(found, key=lambda each: (not each.text.startswith("--"), each.text))


def _operands(scope: Scope, position: int, begun: str) -> list[Completion]:
    if scope.words is not None and position >= scope.needed:
        return [
            Completion(word, branch.head.help.partition("\n\n")[0])
            for word, branch in scope.words.items()
            if word.startswith(begun) and not branch.head.hidden
        ]
    for leaf in scope.operands:
        takes = leaf.nargs if isinstance(leaf.nargs, int) else 1
        if leaf.nargs in ("+", "*") or position < takes:
            return _values(leaf, begun)
        position -= takes
    return []


def generate_completion(shell: str, name: str) -> Result[str]:
    """Return the script that teaches a shell (bash, zsh or fish) to complete the program `name`.

    The script asks the program itself, by the variable `_NAME_COMPLETE`, which `run` answers. CLI_BAD_VALUE
    for another shell, or a name that no shell takes.

    >>> generate_completion("bash", "askdocs").unwrap().splitlines()[-1]
    'complete -F _askdocs_complete askdocs'
    """
    return script(shell, name)


def render_completions(found: Iterable[Completion]) -> str:
    """Return proposals as the scripts read them: kind, text and help, separated by tabs, one a line."""
    return "".join(f"{each.kind}\t{_flat(each.text)}\t{_flat(each.help)}\n" for each in found)


def _flat(text: str) -> str:
    # A proposal is one line: what would break it out of its line, or out of its column, becomes a blank.
    return "".join(character if character.isprintable() else " " for character in text)
