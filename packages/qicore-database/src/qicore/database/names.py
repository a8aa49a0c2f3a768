"""Names of tables and columns: checked, then quoted. No other text of a caller ever enters a statement."""

import re
from typing import Final

from qicore.database.errors import bad_query

__all__ = ["check_name", "quote", "quote_table"]

# A letter or underscore, then what people do put into names. Quoting would make more than this safe, but a
# name with a quote, a semicolon or a control character in it is a mistake or an attack: say so.
_NAME: Final = re.compile(r"[^\W\d][\w$ -]{0,127}\Z")


def check_name(name: object) -> str | None:
    """Return what is wrong with a name, or None."""
    if not isinstance(name, str):
        return f"a name is a str, not {type(name).__name__}"
    if _NAME.match(name) is None:
        return (
            f"{name[:40]!r} is no name: letters, digits, _, $, - and spaces, at most 128, a letter or _ first"
        )
    return None


def quote(name: object) -> str:
    """Return a name in double quotes; raise DB_BAD_QUERY when it is none.

    >>> quote("order")
    '"order"'
    """
    wrong = check_name(name)
    if wrong is not None:
        raise bad_query(wrong)
    return f'"{name}"'


def quote_table(table: str) -> tuple[str, str]:
    """Return a table's name, quoted, with its schema if it has one, and without.

    >>> quote_table("main.users")
    ('"main"."users"', '"users"')
    """
    schema, dot, name = _parts(table)
    quoted = quote(name)
    return (f"{quote(schema)}.{quoted}" if dot else quoted), quoted


def _parts(table: object) -> tuple[str, str, str]:
    if not isinstance(table, str):
        raise bad_query(f"a name is a str, not {type(table).__name__}")
    return table.rpartition(".")
