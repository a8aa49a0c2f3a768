"""Just enough of SQL's lexis to know what kind of statement a text is, and where statements end."""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Final

__all__ = ["Kind", "kind_of", "mask_literals", "split_script"]

_TOKEN: Final = re.compile(
    r"""
    (?P<space>   \s+ | --[^\n]* | /\*.*?(?:\*/|\Z) )
  | (?P<literal> '(?:[^']|'')*(?:'|\Z) | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<quoted>  "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z) )
  | (?P<word>    [^\W\d]\w* )
  | (?P<end>     ; )
  | (?P<other>   [^\s'"`\[;\w/-]+ | \d+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Kind(Enum):
    """What a statement needs: who may run it, and in what company."""

    READ = "read"
    WITH = "with"  # a common table expression: it reads or writes, its first word does not tell
    INSERT = "insert"
    WRITE = "write"
    ALONE = "alone"  # changes the connection itself, or can't run inside a transaction
    CONTROL = "control"  # begins or ends a transaction


_KINDS: Final = {
    **dict.fromkeys(("SELECT", "VALUES", "EXPLAIN"), Kind.READ),
    "WITH": Kind.WITH,
    **dict.fromkeys(("INSERT", "REPLACE"), Kind.INSERT),
    **dict.fromkeys(("PRAGMA", "VACUUM", "ATTACH", "DETACH"), Kind.ALONE),
    **dict.fromkeys(("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"), Kind.CONTROL),
}


@lru_cache(maxsize=1024)
def kind_of(sql: str) -> Kind:
    """Return the kind of a statement, by its first word.

    >>> kind_of("/* all */ select 1"), kind_of("; commit")
    (<Kind.READ: 'read'>, <Kind.CONTROL: 'control'>)
    """
    for token in _TOKEN.finditer(sql):
        if token.lastgroup not in ("space", "end"):
            return _KINDS.get(token[0].upper(), Kind.WRITE)
    return Kind.WRITE


def mask_literals(sql: str) -> str:
    """Return the statement with `'…'` for every string literal: where it is shown, its values are not.

    >>> mask_literals("SELECT 1 WHERE password = 'it''s secret'")
    "SELECT 1 WHERE password = '…'"
    """
    return "".join(
        "'…'" if token.lastgroup == "literal" else token[0] for token in _TOKEN.finditer(sql[:2000])
    )


def split_script(script: str) -> Iterator[tuple[int, str]]:
    """Give each statement of a script with the line it starts on.

    A semicolon ends a statement, but for one inside a literal, a comment or a body: that of a trigger, or of
    a function after `BEGIN ATOMIC`, which goes on to the `END` that directly follows a semicolon.

    >>> list(split_script("CREATE TABLE t (x);  INSERT INTO t VALUES (';')"))
    [(1, 'CREATE TABLE t (x)'), (1, "INSERT INTO t VALUES (';')")]
    """
    words: list[str] = []
    last = ""
    start: int | None = None
    line = first_line = 1
    in_body = after_semicolon = body_ended = False
    for token in _TOKEN.finditer(script):
        group = token.lastgroup
        if start is None and group not in ("space", "end"):
            start, first_line, words = token.start(), line, []
            in_body = after_semicolon = body_ended = False
        line += token[0].count("\n")
        if start is None or group == "space":
            continue
        if group == "end":
            if not in_body or body_ended:
                yield first_line, script[start : token.start()]
                start = None
            after_semicolon = True
            continue
        word = token[0].upper() if group == "word" else ""
        if word and len(words) < 5:
            words.append(word)
        # SQLite's triggers have a body, PostgreSQL's call a function.
        in_body |= (word == "BEGIN" and _is_trigger(words)) or (word == "ATOMIC" and last == "BEGIN")
        body_ended = word == "END" and after_semicolon
        after_semicolon = False
        last = word
    if start is not None:
        yield first_line, script[start:].rstrip()


def _is_trigger(words: list[str]) -> bool:
    return words[:1] == ["CREATE"] and "TRIGGER" in words[1:4]
