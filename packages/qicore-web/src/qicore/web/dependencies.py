"""Dependencies and resolvers that answer Results, in the terms of FastAPI's dependency injection."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_typed_signature
from qicore.web.returns import UNKNOWN_TYPE, answered_type, is_stream, value_of

__all__ = ["Dependencies", "with_resolvers"]


class Dependencies:
    """Makes the dependencies of routes give the values of their Results, and fail with their errors.

    It stands between the routes and FastAPI as the provider of overrides, so that
    `app.raw.dependency_overrides` goes on to speak of the original functions.
    """

    def __init__(self, overrides: Callable[[], Mapping[Any, Callable[..., Any]]]) -> None:
        self._overrides = overrides
        self._settling: dict[Any, Callable[..., Any]] = {}
        self._originals: dict[Any, Any] = {}

    @property
    def dependency_overrides(self) -> _Overrides:
        """What stands in for the dependencies, as FastAPI asks for it."""
        return _Overrides(self._overrides(), self)

    def settled(self, call: Any) -> Any:
        """Return what FastAPI is to call in the place of a dependency: one and the same for each.

        FastAPI's cache within a request goes by identity.
        """
        if not may_answer_result(call) or call in self._originals:
            return call
        if call not in self._settling:
            self._settling[call] = settling(call)
            self._originals[self._settling[call]] = call
        return self._settling[call]

    def original(self, call: Any) -> Any:
        """Return the dependency that a function was made of."""
        return self._originals.get(call, call)

    def settle(self, dependant: Dependant) -> None:
        """Replace the functions of a tree of dependencies that may answer a Result."""
        for below in dependant.dependencies:
            self.settle(below)
            below.call = self.settled(below.call)


class _Overrides(dict[Any, Any]):
    """The overrides of an application. Where there are any, FastAPI analyses all dependencies anew."""

    def __init__(self, overrides: Mapping[Any, Any], dependencies: Dependencies) -> None:
        super().__init__(overrides)
        self._dependencies = dependencies

    def get(self, call: Any, default: Any = None) -> Any:
        return self._dependencies.settled(super().get(self._dependencies.original(call), default))


def may_answer_result(call: Any) -> bool:
    """Return whether a dependency is a function that is annotated with a Result, or with nothing."""
    if not (inspect.isfunction(call) or inspect.ismethod(call)) or is_stream(call):
        return False
    annotation = inspect.signature(call).return_annotation
    return (
        annotation is inspect.Signature.empty or "Result" in str(annotation) or "Failure" in str(annotation)
    )


def settling(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its Result opened."""
    if not (inspect.isfunction(call) or inspect.ismethod(call)) or is_stream(call):
        return call
    if inspect.iscoroutinefunction(call):

        @functools.wraps(call)
        async def settled(*args: Any, **kwargs: Any) -> Any:
            return value_of(await call(*args, **kwargs))

        return settled

    @functools.wraps(call)
    def settled_sync(*args: Any, **kwargs: Any) -> Any:
        return value_of(call(*args, **kwargs))

    return settled_sync


def with_resolvers(
    handler: Callable[..., Any], resolvers: Mapping[str, Callable[..., Any]]
) -> inspect.Signature:
    """Return the handler's signature in which each parameter that has a resolver depends on it."""
    signature = get_typed_signature(handler)
    parameters = [
        parameter.replace(annotation=Annotated[Any, Depends(_resolving(name, resolvers[name]))])
        if (name := parameter.name) in resolvers
        else parameter
        for parameter in signature.parameters.values()
    ]
    missing = [name for name in resolvers if name not in signature.parameters]
    # A route that does not ask for the value is still refused when there is none.
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[Any, Depends(_resolving(name, resolvers[name]))],
        )
        for name in missing
    ]
    return signature.replace(parameters=parameters)


@functools.lru_cache(maxsize=1024)
def _resolving(name: str, resolver: Callable[..., Any]) -> Callable[..., Any]:
    """Return a dependency whose path parameter `name` goes to the first parameter of the resolver."""
    first, *others = get_typed_signature(resolver).parameters.values()
    raw = str if first.annotation in (inspect.Parameter.empty, Any) else first.annotation
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    # A name of its own, as the resolver's other parameters may be called `name`, too.
    inner = inspect.Parameter("raw_", keyword_only, annotation=Annotated[raw, Path(alias=name)])
    dependency = settling(resolver) if inspect.isroutine(resolver) else resolver

    async def resolve_async(*, raw_: Any, **rest: Any) -> Any:
        return await dependency(raw_, **rest)

    def resolve_sync(*, raw_: Any, **rest: Any) -> Any:
        return value_of(dependency(raw_, **rest))

    resolve: Any = resolve_async if inspect.iscoroutinefunction(dependency) else resolve_sync
    resolve.__signature__ = inspect.Signature(
        [inner, *(other.replace(kind=keyword_only) for other in others)]
    )
    found: Callable[..., Any] = resolve
    return found


def type_for_schema(handler: Callable[..., Any]) -> Any:
    """Return the type that a handler answers, as FastAPI's `response_model`: None for an unknown one."""
    found = answered_type(handler)
    return None if found is UNKNOWN_TYPE else found
