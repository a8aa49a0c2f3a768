"""The HTML report on an index."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from qicore.base import Result, early_return
from qicore.document import DocumentConfig, DocumentGenerator

from askdocs.model import Answer
from askdocs.place import Place
from askdocs.query import marked
from askdocs.store import Index

__all__ = ["duration", "number", "size", "write_report"]

_QUESTIONS: Final = 10
_DOCUMENTS: Final = 15
_HITS: Final = 3


@early_return
async def write_report(index: Index, place: Place, file: Path) -> Result[Path]:
    """Write the report into `file`, whole or not at all. `place` is where the index lies.

    Fails as the database and the document generator do.
    """
    stats = (await index.stats()).unwrap()
    documents = (await index.largest(_DOCUMENTS)).unwrap()
    answers: list[Answer] = []
    for asked in (await index.asked(_QUESTIONS)).unwrap():
        answers.append((await index.search(asked.question, _HITS)).unwrap())  # noqa: PERF401 - reads as it runs
    generator = DocumentGenerator.create(
        DocumentConfig(
            packages=("askdocs",),
            filters={"duration": duration, "marked": marked, "number": number, "size": size},
        )
    ).unwrap()
    with generator:
        return generator.stream(
            "report.html",
            {
                "index": str(place),
                "written_at": datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
                "stats": stats,
                "documents": documents,
                "answers": answers,
                "most_passages": max((kind.passages for kind in stats.kinds), default=1) or 1,
            },
        ).save(file)


def number(value: int) -> str:
    """Write a number with its thousands apart.

    >>> number(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def size(value: float) -> str:
    """Write a number of bytes for a reader.

    >>> size(999), size(1500), size(10_400_000)
    ('999 B', '1.5 kB', '10.4 MB')
    """
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """Write a duration for a reader.

    >>> duration(0.0123), duration(2)
    ('12.3 ms', '2.0 s')
    """
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
