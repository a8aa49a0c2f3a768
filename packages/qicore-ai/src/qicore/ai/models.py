"""What models a provider has, and having it fetch others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar, cast

from qicore.ai.errors import invalid_prompt
from qicore.ai.link import Route
from qicore.ai.provider import Provider
from qicore.ai.responses import ModelInfo, PullProgress
from qicore.base import Failure, Result
from qicore.base.options import Checks

__all__ = ["Models"]

T = TypeVar("T")


class Models:
    """The models of a client's provider: `client.models`."""

    __slots__ = ("_route",)

    def __init__(self, route: Route) -> None:
        self._route = route

    async def list(self) -> Result[list[ModelInfo]]:
        """Return the models that the server has. Codes: see `LLMClient.chat`."""
        return await self._call("", lambda provider: provider.list_models())

    async def show(self, name: str) -> Result[ModelInfo]:
        """Return what the server tells of a model; MODEL_NOT_FOUND [VALIDATION]."""
        return await self._named(name, lambda provider: provider.show_model(name))

    async def delete(self, name: str) -> Result[None]:
        """Delete a model from the server; MODEL_NOT_FOUND [VALIDATION]."""
        return await self._named(name, lambda provider: provider.delete_model(name))

    async def pull(
        self,
        name: str,
        on_progress: Callable[[PullProgress], object] | None = None,
        *,
        between: float | None = 60.0,
    ) -> Result[None]:
        """Have the server fetch a model, and wait until it is there.

        `on_progress` hears how far it is: a `ProgressBar` (extra `progress`) draws it. A download takes as
        long as it takes, so `timeout` does not count: `between` is the seconds within which the server must
        tell something new, LLM_TIMEOUT [TIMEOUT] otherwise. Cancelling it closes the connection; Ollama
        goes on from there when the model is pulled again. MODEL_NOT_FOUND, UNSUPPORTED [VALIDATION].
        """
        wrong = Checks().seconds("between", between, none=True).wrong
        if wrong:
            return Failure(invalid_prompt(wrong[0]))

        async def fetch(provider: Provider) -> None:
            async with aclosing(provider.pull_model(name)) as progress:
                while True:
                    limit = asyncio.timeout(between)
                    try:
                        async with limit:
                            step = await anext(progress, None)
                    except TimeoutError:
                        if not limit.expired():
                            raise
                        raise self._route.late(between or 0.0, "progress", name) from None
                    if step is None:
                        return
                    if on_progress is not None:
                        on_progress(step)

        return await self._named(name, fetch, limited=False)

    async def _named(
        self, name: str, operation: Callable[[Provider], Awaitable[T]], *, limited: bool = True
    ) -> Result[T]:
        if not isinstance(cast("object", name), str) or not name.strip():
            return Failure(invalid_prompt("the name of a model is a text"))
        return await self._call(name, operation, limited=limited)

    async def _call(
        self, model: str, operation: Callable[[Provider], Awaitable[T]], *, limited: bool = True
    ) -> Result[T]:
        return await self._route.call(model, operation, asyncio.get_running_loop().time(), limited=limited)
