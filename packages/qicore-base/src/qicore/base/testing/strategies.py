"""Hypothesis strategies for results and errors. Needs the extra `qicore-base[testing]`.

>>> from hypothesis import given
>>> from hypothesis import strategies as st
>>> from qicore.base.testing.strategies import results
>>> @given(results(st.integers()))
... def test_identity(result):
...     assert result.map(lambda value: value) == result
>>> test_identity()
"""

from __future__ import annotations

from typing import TypeVar

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError("the strategies need Hypothesis: install qicore-base[testing]") from missing

from qicore.base.category import ErrorCategory
from qicore.base.error import MAX_CAUSES, QiError
from qicore.base.jsonable import PlainJSON
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = ["categories", "contexts", "errors", "failures", "json_values", "results", "successes"]

T = TypeVar("T")


def categories() -> st.SearchStrategy[ErrorCategory]:
    """Any of the eight categories."""
    return st.sampled_from(ErrorCategory)


def json_values(*, max_leaves: int = 10) -> st.SearchStrategy[PlainJSON]:
    """Any plain JSON value: nested lists and dicts of at most `max_leaves` scalars."""
    scalars: st.SearchStrategy[PlainJSON] = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
    )

    def nest(inner: st.SearchStrategy[PlainJSON]) -> st.SearchStrategy[PlainJSON]:
        lists: st.SearchStrategy[PlainJSON] = st.lists(inner, max_size=4)
        return lists | st.dictionaries(st.text(), inner, max_size=4)

    return st.recursive(scalars, nest, max_leaves=max_leaves)


def contexts() -> st.SearchStrategy[dict[str, PlainJSON]]:
    """A context of an error: up to four facts."""
    return st.dictionaries(st.text(max_size=12), json_values(max_leaves=5), max_size=4)


def errors(*, max_causes: int = 2) -> st.SearchStrategy[QiError]:
    """Any error, with a chain of at most `max_causes` causes (10 is the most that an error may have)."""
    if not 0 <= max_causes <= MAX_CAUSES:
        raise ValueError(f"max_causes must be 0 to {MAX_CAUSES}")
    codes = st.from_regex(r"[A-Z][A-Z0-9_]{0,15}", fullmatch=True)
    causes = (
        st.none() if max_causes == 0 else st.none() | st.deferred(lambda: errors(max_causes=max_causes - 1))
    )
    return st.builds(QiError.create, codes, st.text(), categories(), contexts(), causes)


def successes(values: st.SearchStrategy[T]) -> st.SearchStrategy[Result[T]]:
    """A Success of any of `values`."""
    return values.map(Success)


def failures() -> st.SearchStrategy[Failure]:
    """A Failure of any error."""
    return errors().map(Failure)


def results(values: st.SearchStrategy[T]) -> st.SearchStrategy[Result[T]]:
    """A Success of any of `values`, or a Failure of any error."""
    failed: st.SearchStrategy[Result[T]] = failures()
    return successes(values) | failed
