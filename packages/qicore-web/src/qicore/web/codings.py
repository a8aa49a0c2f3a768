"""What a client takes: the weights in its fields, and the coding to choose (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["choose_coding", "weights_of"]

# RFC 9110, section 12.4.2: from 0 to 1, with at most three digits.
_WEIGHT: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_ALIASES: Final = {"x-gzip": "gzip", "x-compress": "compress"}  # section 8.4.1


def weights_of(values: Iterable[str]) -> dict[str, float]:
    """Return what the lines of an `Accept-Encoding` or `Accept` field name, with its weights.

    What does not follow the grammar is passed over, and so are media types with parameters of their own.

    >>> weights_of(["gzip;q=0.8, br", "zstd;q=nonsense, *;q=0"])
    {'gzip': 0.8, 'br': 1.0, '*': 0.0}
    """
    found: dict[str, float] = {}
    for entry in ",".join(values).split(","):
        coding, _, parameter = entry.partition(";")
        coding = coding.strip().lower()
        key, _, weight = parameter.strip().partition("=")
        if not coding or (parameter and (key.lower() != "q" or not _WEIGHT.fullmatch(weight))):
            continue
        found[_ALIASES.get(coding, coding)] = float(weight) if parameter else 1.0
    return found


def choose_coding(values: Iterable[str], offered: Sequence[str]) -> str | None:
    """Return the offered coding that a client likes best, the first of equals; None for no coding.

    A client that names none gets none: it may not be able to read one that it did not ask for. One that
    refuses even that (`identity;q=0`) gets it nevertheless, where there is nothing else.

    >>> choose_coding(["gzip, br"], ["br", "gzip"])
    'br'
    >>> choose_coding(["gzip, br;q=0.5"], ["br", "gzip"])
    'gzip'
    >>> choose_coding(["identity, gzip;q=0.5"], ["br", "gzip"])
    """
    accepted = weights_of(values)
    rest = accepted.get("*", 0.0)
    weights = {coding: accepted.get(coding, rest) for coding in offered}
    best = max(weights.values(), default=0.0)
    # Without a word on it, no coding is acceptable, but it is less wanted than any coding that is named.
    if best <= 0.0 or best < accepted.get("identity", 0.0):
        return None
    return next(coding for coding in offered if weights[coding] == best)
