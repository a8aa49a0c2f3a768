"""From a question in plain words to a full-text query."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from qicore.base import Failure, QiError, Result, Success

__all__ = ["FOUND_END", "FOUND_START", "Part", "full_text_query", "marked", "telling_words"]

# Control characters that no extracted text holds; they mark the words found in an excerpt until it is shown.
FOUND_START: Final = "\x02"
FOUND_END: Final = "\x03"

_MAX_WORDS: Final = 64

# Words that are in nearly every passage and in nearly every question, and so tell passages apart by nothing.
_COMMON: Final = """
    a an and are as at be by can could did do does for from had has have how i if in into is it its may me my
    no not of on or our shall should so such than that the their them then there these they this those to was
    we were what when where which who whose why will with would you your
"""
_STOP_WORDS: Final = frozenset(_COMMON.split())


def telling_words(question: str) -> Result[list[str]]:
    """Return the words of a question that tell passages apart, or all when none does.

    Fails with EMPTY_QUESTION [VALIDATION] when there is no word in it.

    >>> telling_words("How do I close a client?").unwrap()
    ['close', 'client']
    >>> telling_words(" ?! ").error.code
    'EMPTY_QUESTION'
    """
    words = list(dict.fromkeys(re.findall(r"\w+", question.casefold())))
    telling = [word for word in words if word not in _STOP_WORDS] or words
    if not telling:
        return Failure(
            QiError.validation(
                "EMPTY_QUESTION", 'there is no word in the question; ask something like "how do I begin?"'
            )
        )
    return Success(telling[:_MAX_WORDS])


def full_text_query(words: Sequence[str]) -> str:
    """Return the FTS5 query for words: any of them, the rarer ones weighing more (by BM25).

    Each is quoted, so that nothing in a question is read as FTS5 syntax.

    >>> full_text_query(["close", "client"])
    '"close" OR "client"'
    """
    return " OR ".join(f'"{word}"' for word in words)


class Part(NamedTuple):
    """A piece of an excerpt, and whether the question's words are in it."""

    text: str
    found: bool


def marked(excerpt: str) -> list[Part]:
    r"""Split an excerpt at its marks.

    >>> [(part.text, part.found) for part in marked("the \x02cache\x03 is")]
    [('the ', False), ('cache', True), (' is', False)]
    """
    pieces = re.split(f"[{FOUND_START}{FOUND_END}]", excerpt)
    return [Part(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]
