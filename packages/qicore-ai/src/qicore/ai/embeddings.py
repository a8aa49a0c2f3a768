"""Many texts into vectors: in batches, a few at once, in the order of the texts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from qicore.ai.errors import invalid_prompt, unreadable
from qicore.ai.link import Route
from qicore.ai.provider import Embedded, Provider
from qicore.ai.responses import EmbeddingResponse, Timings, Usage
from qicore.base import Failure, Result, Success

__all__ = ["as_texts", "embed"]


def as_texts(given: str | Sequence[str]) -> list[str]:
    """Return the texts to embed; a QiError INVALID_PROMPT is raised for what is none."""
    several = cast("object", given)
    texts = list(cast("Sequence[object]", several)) if isinstance(several, list | tuple) else [several]
    checked = [text for text in texts if isinstance(text, str) and text.strip()]
    if not texts or len(checked) < len(texts):
        raise invalid_prompt("embedding takes a text, or a list of texts, none of them empty")
    return checked


async def embed(route: Route, texts: Sequence[str]) -> Result[EmbeddingResponse]:
    """Return the vectors of all texts, or the first Failure; then the other batches are cancelled."""
    config = route.config
    begun = asyncio.get_running_loop().time()
    size = config.embedding_batch
    batches = [texts[start : start + size] for start in range(0, len(texts), size)]
    gate = asyncio.Semaphore(config.embedding_concurrency)
    tasks = [asyncio.ensure_future(_one(route, batch, gate, begun)) for batch in batches]
    try:
        for done in asyncio.as_completed(tasks):
            result = await done
            if isinstance(result, Failure):
                return result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    parts = [task.result().unwrap() for task in tasks]
    usage = sum((part.usage for part in parts), Usage())
    vectors = tuple(tuple(vector) for part in parts for vector in part.vectors)
    if len({len(vector) for vector in vectors}) > 1:  # the model behind the name was changed meanwhile, say
        wrong = unreadable("no vectors of one length", provider=route.link.provider.name)
        return Failure(wrong)
    total = asyncio.get_running_loop().time() - begun
    return Success(
        EmbeddingResponse(vectors, parts[0].model, route.link.provider.name, usage, Timings(total))
    )


async def _one(route: Route, batch: Sequence[str], gate: asyncio.Semaphore, begun: float) -> Result[Embedded]:
    config = route.config

    async def ask(provider: Provider) -> Embedded:
        embedded = await provider.embed(config, batch)
        return replace(embedded, vectors=_checked(embedded.vectors, len(batch)))

    async with gate:
        return await route.call(config.embedding_model or config.model, ask, begun)


def _checked(vectors: object, count: int) -> list[list[float]]:
    """Return the vectors, if they are: one for each text, all of one length, of numbers that are finite."""
    rows = cast("list[list[float]]", vectors) if isinstance(vectors, list) else []
    lengths = {len(row) if type(cast("object", row)) is list else 0 for row in rows}
    try:
        # A sum of what is no number, or of one that is too large for a float, can't be made.
        finite = all(math.isfinite(sum(row, 0.0)) for row in rows) if len(lengths) == 1 else False
    except (OverflowError, TypeError):
        finite = False
    if len(rows) != count or 0 in lengths or not finite:
        raise unreadable(f"no vectors of one length for {count} texts")
    return rows
