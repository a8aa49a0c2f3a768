"""Run the Python examples of a Markdown page and compare what they print."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """One ```python block, and the ```text block behind it, if there is one."""

    path: Path
    line: int
    source: str
    output: str | None


def read_examples(path: Path) -> list[Example]:
    """Return the Python examples of a Markdown file, in order."""
    text = path.read_text(encoding="utf-8")
    blocks = list(_FENCE.finditer(text))
    examples: list[Example] = []
    for block, following in zip_longest(blocks, blocks[1:]):
        if block[1] not in ("python", "pycon"):
            continue
        expected = None
        if following is not None and following[1] == "text":
            between = text[block.end() : following.start()]
            # Only prose that announces the output may stand between, never another heading.
            expected = None if "\n#" in between else following[2]
        line = text.count("\n", 0, block.start()) + 2
        examples.append(Example(path, line, block[2], expected))
    return examples


def run_example(example: Example, namespace: dict[str, object]) -> None:
    """Run an example in `namespace`; raise AssertionError when it prints something else."""
    if ">>>" in example.source:
        test = doctest.DocTestParser().get_doctest(
            example.source, namespace, example.path.name, str(example.path), example.line
        )
        report = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        runner.run(test, out=report.write, clear_globs=False)
        namespace.update(test.globs)
        assert runner.summarize(verbose=False).failed == 0, report.getvalue()
        return
    code = compile("\n" * (example.line - 1) + example.source, str(example.path), "exec", dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    if example.output is not None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        matches = doctest.OutputChecker().check_output(example.output, printed.getvalue(), flags)
        assert matches, (
            f"{example.path}:{example.line} printed\n{printed.getvalue()}\n"
            f"but the page shows\n{example.output}"
        )
