"""What an index needs of the database that it is kept in, beyond the SQL that both kinds understand."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import ClassVar, Protocol

from qicore.base import Result
from qicore.database import Database, Transaction

from askdocs.model import Hit, Passage

__all__ = ["Engine"]


class Engine(Protocol):
    """One kind of database."""

    migrations: ClassVar[str]
    """The folder of its migrations, below `migrations`."""

    exists: ClassVar[str]
    """The query for whether there is an index in the database: 1 or 0."""

    size: ClassVar[str]
    """The query for the bytes that the index takes."""

    def put_passages(
        self, transaction: Transaction, document: int, passages: Sequence[Passage]
    ) -> Awaitable[Result[int]]:
        """Add the passages of a document that has none, and return how many."""
        ...

    def search(
        self, database: Database, words: Sequence[str], limit: int, offset: int
    ) -> Awaitable[Result[list[Hit]]]:
        """Return the best passages for words, by BM25, from `offset` on."""
        ...

    def count(self, database: Database, words: Sequence[str]) -> Awaitable[Result[int]]:
        """Return how many passages have any of the words."""
        ...
