"""Run the examples of a Markdown page and compare what they print.

A block with a title, such as `yaml title="app.yaml"`, is a file: it is written. A Python block without one is
run; it may use `await`, as in `python -m asyncio`.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import re
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'\btitle="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Example:
    """One ```python block, and the ```text block behind it, if there is one; or a block with a title."""

    path: Path
    line: int
    source: str
    output: str | None
    title: str | None = None


def read_examples(path: Path) -> list[Example]:
    """Return the Python examples and the files of a Markdown page, in order."""
    text = path.read_text(encoding="utf-8")
    blocks = list(_FENCE.finditer(text))
    examples: list[Example] = []
    for block, following in zip_longest(blocks, blocks[1:]):
        title = _TITLE.search(block[2])
        if title is None and block[1] not in ("python", "pycon"):
            continue
        expected = None
        if title is None and following is not None and following[1] == "text":
            between = text[block.end() : following.start()]
            # Only prose that announces the output may stand between, never another heading.
            expected = None if "\n#" in between else following[3]
        line = text.count("\n", 0, block.start()) + 2
        examples.append(Example(path, line, block[3], expected, title and title[1]))
    return examples


def run_page(path: Path) -> None:
    """Run the examples of a page in the working directory, one after the other, in one event loop."""
    examples = read_examples(path)
    namespace: dict[str, object] = {"__name__": "page"}
    modules = {Path(example.title).stem for example in examples if example.title}
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with asyncio.Runner() as runner:
            for example in examples:
                run_example(example, namespace, runner)
    finally:
        sys.path.remove(here)
        for name in modules:
            sys.modules.pop(name, None)


def run_example(example: Example, namespace: dict[str, object], runner: asyncio.Runner | None = None) -> None:
    """Run an example in `namespace`; raise AssertionError when it prints something else.

    An example with a title is written to that file in the working directory. `runner` has the event loop for
    those that await.
    """
    if example.title is not None:
        file = Path(example.title)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(example.source, encoding="utf-8")
        return
    if ">>>" in example.source:
        test = doctest.DocTestParser().get_doctest(
            example.source, namespace, example.path.name, str(example.path), example.line
        )
        report = io.StringIO()
        session = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        session.run(test, out=report.write, clear_globs=False)
        namespace.update(test.globs)
        assert session.summarize(verbose=False).failed == 0, report.getvalue()
        return
    text = "\n" * (example.line - 1) + example.source
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if runner else 0
    code = compile(text, str(example.path), "exec", flags, dont_inherit=True)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        waiting = eval(code, namespace)
        if runner is not None and inspect.iscoroutine(waiting):
            runner.run(waiting)
    if example.output is not None:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        matches = doctest.OutputChecker().check_output(example.output, printed.getvalue(), options)
        assert matches, (
            f"{example.path}:{example.line} printed\n{printed.getvalue()}\n"
            f"but the page shows\n{example.output}"
        )
