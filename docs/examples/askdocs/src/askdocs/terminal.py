"""What people see on a terminal: a progress bar, answers and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qicore.base import Failure, Result, Success
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from askdocs.crawl import Progress as Report
from askdocs.model import Answer, IngestSummary, Stats
from askdocs.query import marked
from askdocs.report import duration, number, size

if TYPE_CHECKING:
    from qicore.ai import ChatResponse, ChatStream

__all__ = [
    "progress_bar",
    "show_answer",
    "show_sources",
    "show_stats",
    "show_summary",
    "show_writing",
]

_SHOWN = 10
_NO_TEXT = ("FILE_EMPTY", "PAGE_KIND_UNKNOWN")


@contextmanager
def progress_bar(console: Console) -> Generator[Report]:
    """Show a bar while documents are read, on a terminal; elsewhere, show nothing."""
    columns = (
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def report(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(name))

        yield report


def show_summary(console: Console, summary: IngestSummary) -> None:
    """Show what an ingest did, and what it could not read."""
    counts = ", ".join(
        f"{number(getattr(summary, name))} {name}" for name in ("added", "updated", "unchanged", "removed")
    )
    console.print(f"{counts}; {number(summary.passages)} passages in {duration(summary.seconds)}")
    # That a file has no text, such as code without docstrings or a linked picture, is no news to its owner.
    told = [one for one in summary.skipped if one.code not in _NO_TEXT]
    for one in told[:_SHOWN]:
        console.print(Text(f"  skipped {one.source}: {one.reason} [{one.code}]"))
    if len(told) > _SHOWN:
        codes = Counter(one.code for one in told[_SHOWN:])
        counts = ", ".join(f"{number(count)} {code}" for code, count in codes.most_common())
        console.print(f"  and {number(codes.total())} more skipped: {counts}; --log-level info names each")
    if empty := len(summary.skipped) - len(told):
        console.print(f"  {number(empty)} without any text")


def show_answer(console: Console, answer: Answer) -> None:
    """Show the best passages, each with where to read on."""
    if not answer.hits:
        console.print("No passage matches. Try other words, or ingest more.")
    for rank, hit in enumerate(answer.hits, 1):
        heading = Text(f"{rank}. {hit.heading or hit.title}", style="bold")
        console.print(heading)
        excerpt = Text("   ")
        for part in marked(hit.excerpt.replace("\n", " ")):
            excerpt.append(part.text, style="bold green" if part.found else "")
        console.print(excerpt)
        console.print(Text(f"   {hit.source}  (score {hit.score:.2f})", style="dim"))
    console.print(Text(f"{passages(len(answer.hits))} in {duration(answer.seconds)}", style="dim"))


async def show_writing(console: Console, stream: ChatStream) -> Result[ChatResponse]:
    """Show an answer as it is written, and return it whole; its Failure ends it wherever it is."""
    begun = False
    async for result in stream:
        match result.variant:
            case Success(chunk):
                begun = begun or bool(chunk.text)
                console.print(Text(_words(chunk.text)), end="")
                if chunk.response is not None:
                    console.print()
                    return Success(chunk.response)
            case Failure(error):
                if begun:
                    console.print(Text("…\n"))
                return Failure(error)
    return await stream.collect()


def _words(text: str) -> str:
    """Return a text without what moves the cursor, or worse: whatever a model repeats of a document."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def show_sources(console: Console, answer: Answer, model: str) -> None:
    """Show where an answer comes from."""
    console.print()
    for number_, hit in enumerate(answer.hits, 1):
        console.print(Text(f"[{number_}] {hit.source}  {hit.heading or hit.title}", style="dim"))
    console.print(Text(f"written by {model} from {passages(len(answer.hits))}", style="dim"))


def passages(count: int) -> str:
    """Return a number of passages in words.

    >>> passages(1)
    '1 passage'
    """
    return f"{number(count)} passage{'' if count == 1 else 's'}"


def show_stats(console: Console, stats: Stats) -> None:
    """Show the index in figures."""
    console.print(f"documents  {number(stats.documents)}")
    console.print(f"passages   {number(stats.passages)}")
    console.print(f"words      {number(stats.words)}")
    console.print(f"text       {size(stats.text_size)}")
    console.print(f"index      {size(stats.index_size)}")
    for kind in stats.kinds:
        console.print(
            f"  .{kind.kind:8} {number(kind.documents)} documents, {number(kind.passages)} passages"
        )
