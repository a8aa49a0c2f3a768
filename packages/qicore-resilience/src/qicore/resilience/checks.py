"""Checks on options."""

from __future__ import annotations

import math
from typing import TypeGuard, TypeVar

from qicore.base import Failure, Result, Success
from qicore.resilience.errors import invalid_config

__all__ = ["Checks", "is_seconds"]

T = TypeVar("T")


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether this is a finite number; an integer too large for a float can't be added to a clock's time."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


class Checks:
    """Collects what is wrong with some options.

    >>> Checks().seconds("timeout", -1).whole("attempts", 0).answer(None).error.message
    'timeout must be a number of seconds above 0; attempts must be a whole number of at least 1'
    """

    __slots__ = ("_wrong",)

    def __init__(self) -> None:
        self._wrong: list[str] = []

    def seconds(self, name: str, value: object, *, least: float | None = None, none: bool = False) -> Checks:
        """`value` must be seconds above 0, or from `least` on; or None, with `none`."""
        if none and value is None:
            return self
        if not is_seconds(value) or not (value > 0 if least is None else value >= least):
            bound = "above 0" if least is None else f"from {least:g} on"
            self._wrong.append(f"{name} must be a number of seconds {bound}{', or None' if none else ''}")
        return self

    def whole(
        self, name: str, value: object, *, least: int = 1, most: int | None = None, none: bool = False
    ) -> Checks:
        """`value` must be a whole number of at least `least`, and at most `most`; or None, with `none`."""
        if not (none and value is None) and (
            type(value) is not int or value < least or (most is not None and value > most)
        ):
            bound = f"of at least {least}" if most is None else f"from {least} to {most}"
            self._wrong.append(f"{name} must be a whole number {bound}{', or None' if none else ''}")
        return self

    def that(self, right: bool, wrong: str) -> Checks:
        """Something else must be right."""
        if not right:
            self._wrong.append(wrong)
        return self

    def answer(self, options: T) -> Result[T]:
        """Return the options, or INVALID_RESILIENCE_CONFIG naming every one that is wrong."""
        return Failure(invalid_config(self._wrong)) if self._wrong else Success(options)
