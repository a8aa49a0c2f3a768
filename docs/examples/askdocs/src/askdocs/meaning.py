"""Finding passages by what they mean, beside the words that are in them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qicore.base import Result, Success, early_return

from askdocs.model import Answer, Hit
from askdocs.store import Index

if TYPE_CHECKING:
    from askdocs.writer import Writer

__all__ = ["find", "fused", "learn"]

log = logging.getLogger("askdocs")

_AT_ONCE: Final = 256
_SOFTENING: Final = 60
"""Of reciprocal rank fusion, as its authors chose it (Cormack, Clarke and Büttcher, SIGIR 2009)."""


@early_return
async def learn(index: Index, writer: Writer) -> Result[int]:
    """Have the model say what passages mean that it has not seen yet, and return how many those were."""
    done = 0
    while True:
        passages = (await index.without_meaning(writer.embeddings, _AT_ONCE)).unwrap()
        if not passages:
            return Success(done)
        texts = [f"{passage.heading}\n{passage.text}" for passage in passages]
        vectors = (await writer.meanings(texts)).unwrap()
        rows = [(passage.number, _packed(vector)) for passage, vector in zip(passages, vectors, strict=True)]
        (await index.put_meanings(writer.embeddings, rows)).unwrap()
        done += len(rows)


async def find(index: Index, writer: Writer | None, question: str, limit: int) -> Result[Answer]:
    """Return the best passages: by their words, and by what they mean if a model offers that.

    Fails as `Index.search` does; a model that fails costs the answer nothing but its help.
    """
    by_words = await index.search(question, limit)
    if writer is None or not writer.embeddings or by_words.is_failure:
        return by_words
    near = await _near(index, writer, question, limit)
    if near.error is not None:
        log.info("found by words only: %s", near.error)
        return by_words
    answer = by_words.unwrap()
    return Success(replace(answer, hits=tuple(fused([answer.hits, near.unwrap()])[:limit])))


@early_return
async def _near(index: Index, writer: Writer, question: str, limit: int) -> Result[list[Hit]]:
    known = (await index.meanings(writer.embeddings)).unwrap()
    if not known:
        return Success([])
    (vector,) = (await writer.meanings([question])).unwrap()
    import numpy as np

    packed = _packed(vector)
    # A model that was changed under its name has left vectors that can't be compared.
    known = [(number, other) for number, other in known if len(other) == len(packed)]
    numbers = [number for number, _ in known]
    wanted = np.frombuffer(packed, dtype="<f4")
    matrix = np.frombuffer(b"".join(other for _, other in known), dtype="<f4").reshape(-1, len(wanted))
    best: list[int] = np.argsort(-(matrix @ wanted), kind="stable")[:limit].tolist()
    return await index.hits([numbers[place] for place in best])


def fused(lists: Iterable[Sequence[Hit]]) -> list[Hit]:
    """Return the passages of several lists, the best first: by the sum of 1 / (60 + rank)."""
    scores: dict[int, float] = {}
    hits: dict[int, Hit] = {}
    for ranked in lists:
        for rank, hit in enumerate(ranked, 1):
            scores[hit.passage] = scores.get(hit.passage, 0.0) + 1 / (_SOFTENING + rank)
            hits.setdefault(hit.passage, hit)
    return sorted(hits.values(), key=lambda hit: -scores[hit.passage])


def _packed(vector: Sequence[float]) -> bytes:
    import numpy as np

    numbers = np.asarray(vector, dtype="<f4")
    length = float(np.linalg.norm(numbers))
    return (numbers / length if length else numbers).tobytes()
