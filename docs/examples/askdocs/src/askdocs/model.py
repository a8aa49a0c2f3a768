"""What the parts of the application hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document that can answer by itself: some paragraphs under one heading."""

    heading: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """A document taken apart."""

    title: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that matches a question.

    `document` and `passage` are their numbers in the index. `score` is BM25: the higher, the better.
    `excerpt` is a part of the text with the words found marked.
    """

    document: int
    passage: int
    path: str
    title: str
    heading: str
    line: int
    text: str
    excerpt: str
    score: float

    @property
    def source(self) -> str:
        """Where to read on: path and line."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The best passages for a question, and how long finding them took, in seconds."""

    question: str
    hits: tuple[Hit, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer in words, if there is one, with the passages that it stands on.

    `by` is the model that wrote `text`, or `passages`: then `why` says why no model did.
    """

    question: str
    by: str
    text: str
    why: str
    hits: tuple[Hit, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of all passages for a question: `answer` has those from `offset` on, of `total`."""

    answer: Answer
    offset: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file or page that was not read, and why. `source` is its path or URL."""

    source: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary:
    """What an ingest did. Documents that did not change since the last time are `unchanged`."""

    added: int
    updated: int
    unchanged: int
    removed: int
    passages: int
    skipped: tuple[Skipped, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document that was given to the index: its number, and what that changed."""

    number: int
    change: Literal["added", "updated", "unchanged"]
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document in the index."""

    number: int
    path: str
    title: str
    kind: str
    size: int
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedPassage:
    """A passage with its number in the index."""

    number: int
    heading: str
    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A document with all its passages, in order."""

    document: Document
    passages: tuple[NumberedPassage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How many documents and passages of one kind the index holds."""

    kind: str
    documents: int
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The index in figures. Sizes are in bytes."""

    documents: int
    passages: int
    words: int
    text_size: int
    index_size: int
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question that was asked before."""

    question: str
    asked_at: str
    hits: int
    seconds: float
