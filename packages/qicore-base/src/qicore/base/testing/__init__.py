"""For the tests of code that uses qicore: assertions that show the error, and the laws as functions.

The Hypothesis strategies are in `qicore.base.testing.strategies` (extra `qicore-base[testing]`).

>>> from qicore.base import Success
>>> assert_success(Success(5))
5
"""

from qicore.base.testing.assertions import assert_failure, assert_success
from qicore.base.testing.laws import (
    check_applicative_laws,
    check_functor_laws,
    check_monad_laws,
    check_monoid_laws,
)

__all__ = [
    "assert_failure",
    "assert_success",
    "check_applicative_laws",
    "check_functor_laws",
    "check_monad_laws",
    "check_monoid_laws",
]
