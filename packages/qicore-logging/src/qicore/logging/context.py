"""Context variables: fields that every line of a task, a request or a thread carries.

They are kept in one `ContextVar` that holds an immutable set of fields, so that a task sees those of the task
that started it, and never changes them there.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import Any, Final, ParamSpec, TypeVar

from qicore.logging.cleaning import Cleaner, rename_reserved

__all__ = [
    "bind_contextvars",
    "bound_contextvars",
    "carry_contextvars",
    "clear_contextvars",
    "get_contextvars",
    "unbind_contextvars",
]

P = ParamSpec("P")
T = TypeVar("T")


class Bindings:
    """Fields as they were bound, and as the logger that asked last shows them."""

    __slots__ = ("_view", "fields")

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.fields = MappingProxyType(dict(fields))
        self._view: tuple[Cleaner | None, dict[str, Any]] = (None, {})

    def view(self, cleaner: Cleaner) -> dict[str, Any]:
        """Return the fields as plain JSON without secrets; a task mostly has many lines and one logger."""
        seen_by, plain = self._view
        if seen_by is not cleaner:
            plain = cleaner.fields(rename_reserved(self.fields))
            self._view = (cleaner, plain)
        return plain


NOTHING: Final = Bindings({})
CURRENT: Final[ContextVar[Bindings]] = ContextVar("qicore_logging_fields", default=NOTHING)


def bind_contextvars(**fields: object) -> None:
    """Add fields to every line that this task, and what it starts from now on, logs by any logger.

    A value is rendered when a line first shows it: bind values, not objects that change.

    >>> bind_contextvars(request_id="r-1")
    >>> get_contextvars()["request_id"]
    'r-1'
    >>> unbind_contextvars("request_id")
    """
    CURRENT.set(Bindings({**CURRENT.get().fields, **fields}))


def unbind_contextvars(*keys: str) -> None:
    """Take fields away from this task's lines; a key that is not bound is no mistake."""
    CURRENT.set(Bindings({key: value for key, value in CURRENT.get().fields.items() if key not in keys}))


def clear_contextvars() -> None:
    """Take all fields away from this task's lines: do it where a worker takes its next job."""
    CURRENT.set(NOTHING)


def get_contextvars() -> Mapping[str, object]:
    """Return this task's fields, read-only."""
    return CURRENT.get().fields


@contextmanager
def bound_contextvars(**fields: object) -> Generator[None]:
    """Bind fields within a `with` block, then restore what these keys had before; other keys stay.

    >>> with bound_contextvars(user="ann"):
    ...     dict(get_contextvars())
    {'user': 'ann'}
    >>> dict(get_contextvars())
    {}
    """
    before = CURRENT.get().fields
    bind_contextvars(**fields)
    try:
        yield
    finally:
        # By key, not by token: a generator may be closed in another context than it was started in.
        now = {key: value for key, value in CURRENT.get().fields.items() if key not in fields}
        CURRENT.set(Bindings(now | {key: before[key] for key in fields if key in before}))


def carry_contextvars(fn: Callable[P, T], /) -> Callable[P, T]:
    """Return `fn` bound to the fields of this moment: for threads and pools, which start with none.

    >>> from threading import Thread
    >>> with bound_contextvars(job=7):
    ...     thread = Thread(target=carry_contextvars(lambda: print(dict(get_contextvars()))))
    >>> thread.start(); thread.join()
    {'job': 7}
    """
    carried = CURRENT.get()

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        before = CURRENT.get()
        CURRENT.set(carried)
        try:
            return fn(*args, **kwargs)
        finally:
            CURRENT.set(before)

    return run
