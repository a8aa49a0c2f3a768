"""Checks on options: what every `check()` of a qicore configuration is made of.

>>> from qicore.base.options import Checks
>>> Checks().seconds("timeout", -1).whole("attempts", 0).answer(None, "INVALID_HTTP_CONFIG").error.message
'timeout must be a number of seconds above 0; attempts must be a whole number of at least 1'
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeGuard, TypeVar

from qicore.base.error import QiError
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = ["Checks", "is_number"]

T = TypeVar("T")


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite number; an integer too large for a float can't be added to a clock's time."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


class Checks:
    """Collects what is wrong with some options; each check returns the object itself."""

    __slots__ = ("wrong",)

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def seconds(self, name: str, value: object, *, least: float | None = None, none: bool = False) -> Checks:
        """`value` must be seconds above 0, or from `least` on; or None, with `none`."""
        right = is_number(value) and (value > 0 if least is None else value >= least)
        bound = "above 0" if least is None else f"from {least:g} on"
        return self._must(right, name, f"a number of seconds {bound}", value, none)

    def whole(
        self, name: str, value: object, *, least: int = 1, most: int | None = None, none: bool = False
    ) -> Checks:
        """`value` must be a whole number of at least `least`, and at most `most`; or None, with `none`."""
        right = type(value) is int and value >= least and (most is None or value <= most)
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        return self._must(right, name, f"a whole number {bound}", value, none)

    def number(self, name: str, value: object, *, least: float, most: float, none: bool = False) -> Checks:
        """`value` must be a number from `least` to `most`; or None, with `none`."""
        right = is_number(value) and least <= value <= most
        return self._must(right, name, f"a number from {least:g} to {most:g}", value, none)

    def text(self, name: str, value: object, *, empty: bool = False, none: bool = False) -> Checks:
        """`value` must be a text, which may only be empty with `empty`; or None, with `none`."""
        right = isinstance(value, str) and (empty or bool(value.strip()))
        return self._must(right, name, "a text" if empty else "a text that is not empty", value, none)

    def one_of(self, name: str, value: object, choices: Iterable[object], *, none: bool = False) -> Checks:
        """`value` must be one of `choices`; or None, with `none`."""
        known = list(choices)
        return self._must(value in known, name, f"one of {', '.join(map(str, known))}", value, none)

    def that(self, right: bool, wrong: str) -> Checks:
        """Something else must be right."""
        if not right:
            self.wrong.append(wrong)
        return self

    def nested(self, name: str, result: Result[object]) -> Checks:
        """The check of an option that has options of its own must have gone well."""
        error = result.error
        return self if error is None else self.that(False, f"{name}: {error.message}")

    def answer(self, options: T, code: str) -> Result[T]:
        """Return the options, or a Failure `code` [VALIDATION] whose message names all that is wrong."""
        if self.wrong:
            return Failure(QiError.validation(code, "; ".join(self.wrong)))
        return Success(options)

    def _must(self, right: bool, name: str, what: str, value: object, none: bool) -> Checks:
        if not right and not (none and value is None):
            self.wrong.append(f"{name} must be {what}{', or None' if none else ''}")
        return self
