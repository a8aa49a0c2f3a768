"""Secrets that are planted, and looked for in all that comes out."""

from __future__ import annotations

import base64
import json
import traceback
from typing import cast
from urllib.parse import quote

from qicore.base import Failure, QiError, Success

__all__ = ["Evidence"]


class Evidence:
    """What was planted, and all that came out.

    >>> evidence = Evidence()
    >>> password = evidence.plant("password")
    >>> evidence.add(ValueError("nothing to see"))
    >>> evidence.leaks()
    []
    >>> evidence.add(ValueError(f"bad password {password}"))
    >>> len(evidence.leaks()) > 0
    True
    """

    def __init__(self) -> None:
        self._marks: list[str] = []
        self._texts: list[str] = []

    def plant(self, what: str) -> str:
        """Return a secret that nothing else contains."""
        mark = f"Zq{len(self._marks)}{what}9XkSecretMarker"
        self._marks.append(mark)
        return mark

    def add(self, *found: object) -> None:
        """Keep everything that these show of themselves; of a Success its value, too."""
        for one in found:
            self._texts += [repr(one), str(one)]
            if isinstance(one, Success):
                self.add(cast("Success[object]", one).data)
            if isinstance(one, Failure):
                self.add(one.error)
            if isinstance(one, QiError):
                self._texts += [one.to_string(), json.dumps(one.to_structured_data())]
            if isinstance(one, BaseException):
                self._texts += traceback.format_exception(one)

    def leaks(self, *more: str) -> list[str]:
        """Return where a secret is shown: in what was added, and in these texts."""
        forms = {mark: _forms(mark) for mark in self._marks}
        return [
            f"{mark}: …{text[max(0, text.index(form) - 300) : text.index(form) + 100]}…"
            for text in (*self._texts, *more)
            for mark in self._marks
            for form in forms[mark]
            if form in text
        ]


def _forms(mark: str) -> set[str]:
    """Return a secret as it is, in hexadecimal digits, and within base64, at each of three offsets."""
    raw = mark.encode()
    shifted = (base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3))
    return {mark, quote(mark), raw.hex(), *shifted}
