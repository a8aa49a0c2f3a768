# ruff: noqa: D102 - the fields are documented in the docstring of the class
"""QiError: the one shape of every failure.

It is a plain Exception subclass whose fields are written once, through their slot descriptors: a frozen
dataclass that is an exception breaks contextlib, `add_note`, copy and pickle, which write to the
interpreter's own attributes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from qicore.base.category import ErrorCategory
from qicore.base.exceptions import classify
from qicore.base.jsonable import (
    EMPTY,
    FrozenJSON,
    PlainJSON,
    clean_text,
    freeze_mapping,
    thaw,
)

__all__ = ["MAX_CAUSES", "QiError"]

MAX_CAUSES: Final = 10
"""The longest chain of causes an error may carry."""

# What the interpreter, contextlib and traceback write on an exception while it travels.
_TRAVEL_NOTES: Final = frozenset(
    ("__traceback__", "__context__", "__cause__", "__suppress_context__", "__notes__")
)


class QiError(Exception):
    """A structured, immutable error that can be chained, raised, compared and sent as JSON.

    Attributes:
        code: what went wrong, for programs: `UPPER_SNAKE`, stable between releases.
        message: what went wrong and what to do, for people. It must hold no secret.
        category: what kind of error it is; see `ErrorCategory` for what follows from it.
        context: facts about this occurrence: a deep, frozen copy of what was given, in plain JSON types.
        cause: the error behind this one, or None. A chain holds at most 10 causes.
        timestamp: when it was made, in epoch milliseconds. It plays no part in equality.

    Raises ValueError when it is made with an empty code, a category that is none, or a chain of causes that
    is circular or too long: these are mistakes of the program that makes the error, not events to handle.

    >>> error = QiError.network("NETWORK_ERROR", "connection refused", host="example.org")
    >>> str(error)
    'NETWORK/NETWORK_ERROR: connection refused'
    >>> QiError.from_structured_data(error.to_structured_data()) == error
    True
    """

    if TYPE_CHECKING:

        @property
        def category(self) -> ErrorCategory: ...
        @property
        def cause(self) -> QiError | None: ...
        @property
        def code(self) -> str: ...
        @property
        def context(self) -> Mapping[str, FrozenJSON]: ...
        @property
        def message(self) -> str: ...
        @property
        def timestamp(self) -> int: ...

    else:
        # Hidden from type checkers, which would take a slot and a property of one name for a conflict.
        __slots__ = ("category", "cause", "code", "context", "message", "timestamp")

    def __init__(
        self,
        code: str,
        message: str,
        category: ErrorCategory,
        context: Mapping[str, object] | None = None,
        cause: QiError | None = None,
        *,
        timestamp: int | None = None,
    ) -> None:
        if type(category) is not ErrorCategory:
            raise ValueError(f"category must be an ErrorCategory, not {category!r}")
        if not code or not isinstance(code, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
            raise ValueError(f"code must be a non-empty str, not {code!r}")
        _set_code(self, code if type(code) is str and code.isascii() else clean_text(code))
        _set_message(self, message if type(message) is str and message.isascii() else clean_text(message))
        _set_category(self, category)
        _set_context(self, freeze_mapping(context) if context else EMPTY)
        _set_timestamp(self, time.time_ns() // 1_000_000 if timestamp is None else timestamp)
        if cause is not None:
            _chain(cause)
            _set_origin(self, cause)
        _set_cause(self, cause)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _TRAVEL_NOTES:
            raise AttributeError(f"QiError is immutable: use with_context() or with_cause(), not .{name} = …")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name not in _TRAVEL_NOTES:
            raise AttributeError(f"QiError is immutable: .{name} can't be deleted")
        super().__delattr__(name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, QiError):
            return NotImplemented
        return (
            self.code == other.code
            and self.category is other.category
            and self.message == other.message
            and self.context == other.context
            and self.cause == other.cause
        )

    def __hash__(self) -> int:
        return hash((self.code, self.category, self.message))

    def __str__(self) -> str:
        text = f"{self.category.value}/{self.code}: {self.message}"
        return text if text.isprintable() else "".join(map(_printable, text))

    def __repr__(self) -> str:
        return f"<QiError {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.to_structured_data(), list(getattr(self, "__notes__", ()))))

    @classmethod
    def create(
        cls,
        code: str,
        message: str,
        category: ErrorCategory,
        context: Mapping[str, object] | None = None,
        cause: QiError | None = None,
    ) -> QiError:
        """Return a new error.

        >>> error = QiError.create("BAD_AGE", "it is negative", ErrorCategory.VALIDATION, {"age": -1})
        >>> error.context["age"]
        -1
        """
        return cls(code, message, category, context, cause)

    @classmethod
    def from_exception(
        cls, exception: BaseException, *, code: str | None = None, **context: object
    ) -> QiError:
        """Return the error that stands for `exception`, which is kept as `__cause__` for the traceback.

        A QiError is returned as it is. Of Python's own exceptions TimeoutError is TIMEOUT, PermissionError is
        PERMISSION, ConnectionError is NETWORK, any other OSError is FILESYSTEM; all
        else is UNKNOWN. The code is the name of the class in upper snake case, unless it is given.

        >>> str(QiError.from_exception(KeyError("user")))
        "UNKNOWN/KEY_ERROR: 'user'"
        """
        if isinstance(exception, QiError):
            return exception
        kind = type(exception)
        usual_code, category = classify(kind)  # type: ignore[arg-type]  # mypy reads the hash of the instances
        try:
            message = str(exception) or kind.__name__
        except Exception:  # noqa: BLE001 - a broken __str__ must not hide the exception itself
            message = kind.__name__
        error = cls(code or usual_code, message, category, context)
        _set_origin(error, exception)
        return error

    @classmethod
    def aggregate(cls, errors: Iterable[QiError]) -> QiError:
        """Return one error for all of `errors`, in their order; a single one is returned as it is.

        The code is MULTIPLE_ERRORS, the category is theirs when they share one, else UNKNOWN, and the context
        holds each in full, but for its time, under `errors`. Raises ValueError for no error at all.

        >>> both = QiError.aggregate([QiError.cache("A", "first"), QiError.cache("B", "second")])
        >>> str(both)
        'CACHE/MULTIPLE_ERRORS: 2 errors: first; second'
        """
        found = list(errors)
        if not found:
            raise ValueError("aggregate() needs at least one error")
        if len(found) == 1:
            return found[0]
        categories = {error.category for error in found}
        return cls(
            "MULTIPLE_ERRORS",
            f"{len(found)} errors: " + "; ".join(error.message for error in found),
            categories.pop() if len(categories) == 1 else ErrorCategory.UNKNOWN,
            {"errors": [error._facts() for error in found]},
        )

    @classmethod
    def validation(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a VALIDATION error: what was given is wrong."""
        return cls(code, message, ErrorCategory.VALIDATION, context)

    @classmethod
    def network(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a NETWORK error: another service can't be reached, or is ill."""
        return cls(code, message, ErrorCategory.NETWORK, context)

    @classmethod
    def filesystem(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a FILESYSTEM error: a file or directory can't be found, read or written."""
        return cls(code, message, ErrorCategory.FILESYSTEM, context)

    @classmethod
    def configuration(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a CONFIGURATION error: the program was set up wrongly."""
        return cls(code, message, ErrorCategory.CONFIGURATION, context)

    @classmethod
    def cache(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a CACHE error: a key is not there, or a cache can't be used."""
        return cls(code, message, ErrorCategory.CACHE, context)

    @classmethod
    def timeout(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a TIMEOUT error: something took longer than it was allowed to."""
        return cls(code, message, ErrorCategory.TIMEOUT, context)

    @classmethod
    def permission(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return a PERMISSION error: this caller may not do this."""
        return cls(code, message, ErrorCategory.PERMISSION, context)

    @classmethod
    def unknown(cls, code: str, message: str, /, **context: object) -> QiError:
        """Return an UNKNOWN error: nobody foresaw this."""
        return cls(code, message, ErrorCategory.UNKNOWN, context)

    def to_string(self) -> str:
        """Return `CATEGORY/CODE: message`: one line, control characters escaped, without the context."""
        return str(self)

    def get_category(self) -> ErrorCategory:
        """Return the category."""
        return self.category

    def to_structured_data(self) -> dict[str, PlainJSON]:
        """Return the error with its whole chain of causes as new dicts and lists of plain JSON types.

        The keys are code, message, category, context, cause and timestamp; cause is such a dict, or None.
        """
        cause = None if self.cause is None else self.cause.to_structured_data()
        return {**self._facts(), "cause": cause, "timestamp": self.timestamp}

    def _facts(self) -> dict[str, PlainJSON]:
        """Return what equality looks at: everything but the times."""
        return {
            "code": self.code,
            "message": self.message,
            "category": self.category.value,
            "context": thaw(self.context),
            "cause": None if self.cause is None else self.cause._facts(),
        }

    @classmethod
    def from_structured_data(cls, data: Mapping[str, object]) -> QiError:
        """Return the error that `to_structured_data` described; raise ValueError when `data` is no error."""
        return cls._from_data(data, MAX_CAUSES)

    @classmethod
    def _from_data(cls, data: object, causes_left: int) -> QiError:
        if not isinstance(data, Mapping):
            raise ValueError(f"an error is a mapping, not {type(data).__name__}")
        fields = cast("Mapping[str, object]", data)
        code, message, context = fields.get("code"), fields.get("message"), fields.get("context")
        cause, timestamp = fields.get("cause"), fields.get("timestamp")
        if not isinstance(code, str) or not isinstance(message, str):
            raise ValueError("an error needs a code and a message, both str")
        if not (context is None or isinstance(context, Mapping)):
            raise ValueError("an error's context is a mapping")
        if not (timestamp is None or type(timestamp) is int):
            raise ValueError("an error's timestamp is a whole number of epoch milliseconds")
        if cause is not None and causes_left == 0:
            raise ValueError(f"a chain holds at most {MAX_CAUSES} causes")
        return cls(
            code,
            message,
            ErrorCategory(str(fields.get("category"))),
            cast("Mapping[str, object] | None", context),
            None if cause is None else cls._from_data(cause, causes_left - 1),
            timestamp=timestamp,
        )

    def with_context(self, context: Mapping[str, object]) -> QiError:
        """Return this error with `context` merged over its own: on equal keys the new value wins.

        `e.with_context({}) == e`, and merging is associative: contexts are a monoid.
        """
        if not context:
            return self
        return self._replaced({**self.context, **context}, self.cause)

    def with_cause(self, cause: QiError) -> QiError:
        """Return this error with `cause` behind it, and behind that the causes it already had.

        Raises ValueError when the error would become its own cause, or the chain longer than 10.

        >>> low = QiError.network("REFUSED", "connection refused")
        >>> QiError.cache("CACHE_LOAD_FAILED", "no cache").with_cause(low).cause == low
        True
        """
        if any(link is self for link in _chain(cause)):
            raise ValueError("an error can't be its own cause")
        if self.__cause__ is not None:
            for link in reversed(_chain(cause)):
                last = link.cause is None
                cause = link._replaced(link.context, self.cause if last else cause)
                if last and cause.__cause__ is None:
                    _set_origin(cause, self.__cause__)  # a foreign exception, kept for the traceback
        return self._replaced(self.context, cause)

    def _replaced(self, context: Mapping[str, object], cause: QiError | None) -> QiError:
        error = type(self)(self.code, self.message, self.category, context, cause, timestamp=self.timestamp)
        if cause is self.cause:  # a foreign exception behind it stays behind it
            _set_origin(error, self.__cause__)
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error

    # The contracts' own spellings, for code shared with other languages.
    toString = to_string  # noqa: N815
    toStructuredData = to_structured_data  # noqa: N815
    getCategory = get_category  # noqa: N815
    withContext = with_context  # noqa: N815
    withCause = with_cause  # noqa: N815


def _slot(name: str) -> Callable[[QiError, object], None]:
    setter: Callable[[QiError, object], None] = vars(QiError)[name].__set__
    return setter


_set_category = _slot("category")
_set_cause = _slot("cause")
_set_code = _slot("code")
_set_context = _slot("context")
_set_message = _slot("message")
_set_timestamp = _slot("timestamp")
# The interpreter's own `__cause__`, past our __setattr__, which would cost a call and a look-up more.
_set_origin: Callable[[QiError, BaseException | None], None] = vars(BaseException)["__cause__"].__set__


def _chain(error: QiError | None) -> list[QiError]:
    """Return the error and its causes; raise ValueError for a chain that is circular or too long."""
    links: list[QiError] = []
    while error is not None:
        if not isinstance(error, QiError):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
            raise ValueError(f"a cause must be a QiError, not {type(error).__name__}")
        if any(link is error for link in links):
            raise ValueError("the chain of causes is circular")
        if len(links) == MAX_CAUSES:
            raise ValueError(f"a chain holds at most {MAX_CAUSES} causes")
        links.append(error)
        error = error.cause
    return links


def _restore(data: Mapping[str, object], notes: list[str]) -> QiError:
    error = QiError.from_structured_data(data)
    for note in notes:
        error.add_note(note)
    return error


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
