"""From the marks of this package's statements, `?` and `:name`, to PostgreSQL's `$1`."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from qicore.base import QiError
from qicore.database.errors import bad_query
from qicore.database.values import Params

__all__ = ["Marked", "is_atomic", "marked", "refusal"]

_TOKEN: Final = re.compile(
    r"""
    (?P<skip>  --[^\n]* | /\*.*?(?:\*/|\Z)
             | [eE]'(?:[^'\\]|''|\\.)*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z)
             | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
             | [^\W\d]\w* | :: )
  | (?P<twice> \?\? )
  | (?P<mark>  \? )
  | :(?P<name> [^\W\d]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)

_BEGINNING: Final = re.compile(
    r"(?: \s | ; | --[^\n]* | /\*.*?\*/ )* (\w+) (?: \s+ (\w+) )?", re.VERBOSE | re.DOTALL
)
_CONTROL: Final = frozenset(
    ("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE TRANSACTION")
)
_STANDARD_STREAM: Final = re.compile(r"\b(?:STDIN|STDOUT)\b", re.IGNORECASE)


class Marked(NamedTuple):
    """A statement as PostgreSQL takes it, and how many parameters it wants, or their names in order."""

    sql: bytes
    marks: int
    names: tuple[str, ...] = ()


def marked(sql: str, params: Params) -> tuple[bytes, Sequence[Any]]:
    """Return the statement with `$1` for each mark, and its parameters in that order.

    A statement without parameters goes out as it is; one with `$1` in it, too. `??` stands for the operator
    `?` where there are parameters.

    >>> marked("SELECT :a::text, :b, :a", {"a": 1, "b": 2})
    (b'SELECT $1::text, $2, $1', [1, 2])
    """
    if not params:
        return _plain(sql).sql, ()
    if isinstance(params, Mapping):
        known = _named(sql)
        missing = [name for name in known.names if name not in params]
        if missing:
            raise bad_query(f"there is no value for :{missing[0]}", missing=missing)
        return known.sql, [params[name] for name in known.names]
    known = _positional(sql)
    if known.marks and known.marks != len(params):
        raise bad_query(f"the statement has {known.marks} marks, and {len(params)} values were given")
    return known.sql, params


def refusal(sql: str) -> QiError | None:
    """Return why a statement can't be run on a connection that others use before and after: DB_BAD_QUERY.

    >>> str(refusal("/* */ start transaction"))
    'VALIDATION/DB_BAD_QUERY: transactions begin with begin() and end with commit() or rollback()'
    """
    reason = _refused(sql)
    return None if reason is None else bad_query(reason)


def is_atomic(sql: str) -> bool:
    """Whether a statement that fails has done nothing: a procedure may have committed before."""
    match = _BEGINNING.match(sql)
    return match is not None and match[1].upper() not in ("CALL", "DO")


@lru_cache(maxsize=1024)
def _refused(sql: str) -> str | None:
    match = _BEGINNING.match(sql)
    if match is None:
        return None
    word = match[1].upper()
    if word in _CONTROL or f"{word} {match[2]}".upper() in _CONTROL:
        return "transactions begin with begin() and end with commit() or rollback()"
    if word == "COPY" and _STANDARD_STREAM.search(sql):
        return "rows are copied by bulk_insert(), and read by stream()"
    if word in ("LISTEN", "UNLISTEN"):
        return "channels are heard by listen()"
    return None


@lru_cache(maxsize=1024)
def _plain(sql: str) -> Marked:
    return Marked(_encoded(sql), 0)


@lru_cache(maxsize=1024)
def _positional(sql: str) -> Marked:
    count = 0

    def number(match: re.Match[str]) -> str:
        nonlocal count
        if match["twice"]:
            return "?"
        if not match["mark"]:
            return match[0]
        count += 1
        return f"${count}"

    return Marked(_encoded(_TOKEN.sub(number, sql)), count)


@lru_cache(maxsize=1024)
def _named(sql: str) -> Marked:
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "?" if match["twice"] else match[0]
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    return Marked(_encoded(_TOKEN.sub(number, sql)), len(numbers), tuple(numbers))


def _encoded(sql: str) -> bytes:
    try:
        encoded = sql.encode()
    except UnicodeError:
        raise bad_query("a text is not valid Unicode") from None
    if b"\0" in encoded:
        raise bad_query("the statement has a NUL in it")
    return encoded
