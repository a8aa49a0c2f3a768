"""Take a text apart into passages: Markdown, HTML, plain text, and the docstrings of Python."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from qicore.base import Failure, QiError, Result, Success

from askdocs.model import Extract, Passage
from askdocs.query import FOUND_END, FOUND_START

__all__ = ["KINDS", "take_apart"]

# Long enough to answer, short enough to read at a glance; BM25 favours passages of similar length.
_TARGET_WORDS: Final = 120

# What a database can't store, or the marks of excerpts; a docstring may spell any of them.
_UNFIT: Final = re.compile(f"[\0{FOUND_START}{FOUND_END}\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Block:
    """A heading (`level` 1 to 6) or a paragraph (`level` 0)."""

    level: int
    line: int
    text: str


def take_apart(path: PurePath, text: str) -> Result[Extract]:
    """Take a text apart as its suffix says. Fails with FILE_MALFORMED or FILE_EMPTY [VALIDATION]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a document's own code deserves is none of ours
            blocks = [
                replace(block, text=_UNFIT.sub("\ufffd", block.text))
                for block in KINDS[path.suffix.lower()](text)
            ]
    except (SyntaxError, ValueError, RecursionError) as error:
        return Failure(QiError.validation("FILE_MALFORMED", f"not what its suffix says: {error}"))
    passages = tuple(_passages(blocks))
    if not passages:
        return Failure(QiError.validation("FILE_EMPTY", "there is no text in it"))
    title = next((block.text for block in blocks if block.level == 1), None)
    title = title or (path.parent.name if path.stem == "__init__" else path.stem)
    return Success(Extract(title=title, passages=passages))


def _passages(blocks: Iterable[_Block]) -> Iterator[Passage]:
    """Join paragraphs under one heading until they are long enough to stand alone."""
    headings: dict[int, str] = {}
    held: list[_Block] = []

    def release() -> Iterator[Passage]:
        if held:
            trail = " > ".join(headings[level] for level in sorted(headings))
            yield Passage(heading=trail, line=held[0].line, text="\n".join(block.text for block in held))
            held.clear()

    for block in blocks:
        if block.level:
            yield from release()
            headings = {level: text for level, text in headings.items() if level < block.level}
            headings[block.level] = block.text
        elif block.text:
            held.append(block)
            if sum(len(one.text.split()) for one in held) >= _TARGET_WORDS:
                yield from release()
    yield from release()


def _markdown(text: str) -> Iterator[_Block]:
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    yield from _markdown_blocks(tree)


def _markdown_blocks(node: SyntaxTreeNode) -> Iterator[_Block]:
    for child in node.children:
        line = child.map[0] + 1 if child.map else 1
        if child.type == "heading":
            yield _Block(int(child.tag[1]), line, _inline(child))
        elif child.type in ("paragraph", "table"):
            yield _Block(0, line, _inline(child))
        elif child.type in ("fence", "code_block"):
            yield _Block(0, line, child.content.strip())
        elif child.type == "html_block":
            yield _Block(0, line, BeautifulSoup(child.content, "html.parser").get_text(" ", strip=True))
        else:
            yield from _markdown_blocks(child)


def _inline(node: SyntaxTreeNode) -> str:
    """The words of a node, without their marks."""
    if not node.children:
        return node.content if node.type in ("text", "code_inline") else " " if "break" in node.type else ""
    apart = " " if node.type in ("table", "thead", "tbody", "tr") else ""
    return apart.join(_inline(child) for child in node.children).strip()


_TEXT_TAGS: Final = (
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "li",
    "pre",
    "dt",
    "dd",
    "td",
    "th",
    "blockquote",
    "figcaption",
)


def _html(text: str) -> Iterator[_Block]:
    soup = BeautifulSoup(text, "html.parser")
    for noise in soup(["script", "style", "nav", "template", "noscript"]):
        noise.decompose()
    if soup.title is not None and soup.find("h1") is None:
        yield _Block(1, 1, soup.title.get_text(strip=True))
    root = soup.find("main") or soup.find("body") or soup
    found = root.find_all(_TEXT_TAGS)
    if not found:  # text without any markup around it
        yield _Block(0, 1, root.get_text(" ", strip=True))
    for tag in found:
        # A list item that holds paragraphs is read paragraph by paragraph.
        if tag.name[0] != "h" and tag.find(_TEXT_TAGS):
            continue
        level = int(tag.name[1]) if tag.name[0] == "h" else 0
        yield _Block(level, tag.sourceline or 1, " ".join(tag.get_text(" ", strip=True).split()))


def _plain(text: str) -> Iterator[_Block]:
    paragraph: list[str] = []
    start = 1
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.strip():
            start = start if paragraph else number
            paragraph.append(line.strip())
        elif paragraph:
            yield _Block(0, start, " ".join(paragraph))
            paragraph = []


def _python(text: str) -> Iterator[_Block]:
    module = ast.parse(text)
    if docstring := ast.get_docstring(module):
        yield from _docstring(docstring, 1)
    yield from _definitions(module, 2, "")


def _definitions(node: ast.AST, level: int, prefix: str) -> Iterator[_Block]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        name = prefix + child.name
        if docstring := ast.get_docstring(child):
            yield _Block(min(level, 6), child.lineno, name)
            yield from _docstring(docstring, child.body[0].lineno)
        if isinstance(child, ast.ClassDef):
            yield from _definitions(child, level + 1, name + ".")


def _docstring(docstring: str, line: int) -> Iterator[_Block]:
    for block in _plain(docstring):
        yield _Block(0, line + block.line - 1, block.text)


KINDS: Final[Mapping[str, Callable[[str], Iterator[_Block]]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".html": _html,
    ".htm": _html,
    ".txt": _plain,
    ".rst": _plain,
    ".py": _python,
}
"""The suffixes that can be read, and how."""
