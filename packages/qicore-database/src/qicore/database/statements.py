"""The statements behind create, read, update and delete. Names are checked and quoted, values are parameters.

Wherever SQL allows it, a column is written with its table (`"users"."name"`): SQLite takes a quoted name that
stands alone and that it does not know for a string, and `"nmae" = ?` would silently compare two strings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from qicore.database.errors import bad_query
from qicore.database.names import quote, quote_table

__all__ = ["Compare", "EveryRow", "Statement", "Where", "delete", "insert", "select", "update"]

Operator: TypeAlias = Literal[
    "=", "!=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE", "GLOB", "IN", "NOT IN", "BETWEEN", "MATCH"
]
_ALL: Final = 2**63 - 1
"""A limit that is none: SQLite has no OFFSET without one, and no NULL there as PostgreSQL has."""
_SIMPLE: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE", "GLOB", "MATCH"})


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison other than equality, as a value in a where clause.

    `IN` and `NOT IN` take a sequence, `BETWEEN` a pair; `!=` with None is IS NOT NULL. An unknown operator is
    DB_BAD_QUERY where it is used.

    >>> where = {"age": Compare(">=", 18), "name": Compare("LIKE", "A%")}
    """

    operator: Operator
    value: Any


class EveryRow:
    """In place of a where clause: all rows. `update` and `delete` refuse an empty one as a likely mistake.

    >>> delete("users", EveryRow)
    ('DELETE FROM "users"', [])
    """


Where: TypeAlias = Mapping[str, Any]
Statement: TypeAlias = tuple[str, list[Any]]


def insert(table: str, columns: Sequence[str]) -> str:
    """Return an INSERT of one row with these columns, in this order.

    >>> insert("users", ["name"])
    'INSERT INTO "users" ("name") VALUES (?)'
    """
    target, _ = quote_table(table)
    if not columns:
        return f"INSERT INTO {target} DEFAULT VALUES"
    names = ", ".join(map(quote, columns))
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {target} ({names}) VALUES ({marks})"  # noqa: S608 - names are quoted


def select(
    table: str,
    where: Where | None,
    *,
    columns: Sequence[str] | None,
    order_by: str | Sequence[str] | None,
    limit: int | None,
    offset: int,
) -> Statement:
    """Return a SELECT and its parameters.

    >>> select("users", {"age": None}, columns=None, order_by="-name", limit=5, offset=0)
    ('SELECT * FROM "users" WHERE "users"."age" IS NULL ORDER BY "users"."name" DESC LIMIT ?', [5])
    """
    target, name = quote_table(table)
    wanted = "*" if columns is None else ", ".join(f"{name}.{quote(column)}" for column in _names(columns))
    if not wanted:
        raise bad_query("columns is empty: name some, or leave it out for all")
    clause, params = _where(name, where) if where else ("", [])
    sql = f"SELECT {wanted} FROM {target}{clause}"  # noqa: S608 - names are quoted
    if order_by is not None:
        sql += " ORDER BY " + ", ".join(_order(name, column) for column in _names(order_by))
    if limit is not None or offset:
        sql += " LIMIT ?"
        params.append(_ALL if limit is None else _count("limit", limit))
        if offset:
            sql += " OFFSET ?"
            params.append(_count("offset", offset))
    return sql, params


def update(table: str, where: Where | type[EveryRow], changes: Mapping[str, Any]) -> Statement:
    """Return an UPDATE and its parameters."""
    target, name = quote_table(table)
    if not changes:
        raise bad_query("an update needs changes")
    assignments = ", ".join(f"{quote(column)} = ?" for column in changes)
    clause, params = _demanded(name, where)
    sql = f"UPDATE {target} SET {assignments}{clause}"  # noqa: S608 - names are quoted
    return sql, [*changes.values(), *params]


def delete(table: str, where: Where | type[EveryRow]) -> Statement:
    """Return a DELETE and its parameters."""
    target, name = quote_table(table)
    clause, params = _demanded(name, where)
    return f"DELETE FROM {target}{clause}", params  # noqa: S608 - names are quoted


def _demanded(table: str, where: Where | type[EveryRow]) -> Statement:
    if isinstance(where, type):
        return "", []
    if not where:
        raise bad_query("an empty where clause would touch every row: if that is meant, pass EveryRow")
    return _where(table, where)


def _where(table: str, where: Where) -> Statement:
    _check_where(where)
    params: list[Any] = []
    terms = [_term(f"{table}.{quote(column)}", value, params) for column, value in where.items()]
    return " WHERE " + " AND ".join(terms), params


def _term(column: str, value: Any, params: list[Any]) -> str:
    if isinstance(value, Compare):
        return _comparison(column, value, params)
    if value is None:
        return f"{column} IS NULL"
    if isinstance(value, list | tuple | set | frozenset):
        return _membership(column, [*value], params, "")
    params.append(value)
    return f"{column} = ?"


def _comparison(column: str, compare: Compare, params: list[Any]) -> str:
    operator: str = compare.operator
    value = compare.value
    if operator in ("IN", "NOT IN", "BETWEEN"):
        if not isinstance(value, list | tuple | set | frozenset):
            raise bad_query(f"{operator} compares with several values, not with {type(value).__name__}")
        values: list[Any] = [*value]
        if operator != "BETWEEN":
            return _membership(column, values, params, "NOT " if operator == "NOT IN" else "")
        if len(values) != 2 or isinstance(value, set | frozenset):
            raise bad_query("BETWEEN takes a pair: (lowest, highest)")
        params += values
        return f"{column} BETWEEN ? AND ?"
    if operator not in _SIMPLE:
        raise bad_query(f"{str(operator)[:20]!r} is no operator of Compare")
    if value is None:
        if operator not in ("=", "!="):
            raise bad_query(f"nothing is {operator} None: use = or !=")
        return f"{column} IS NULL" if operator == "=" else f"{column} IS NOT NULL"
    params.append(value)
    return f"{column} {operator} ?"


def _membership(column: str, values: list[Any], params: list[Any], negation: str) -> str:
    # NULL is in no list and out of no list, so None gets a test of its own.
    present = [value for value in values if value is not None]
    with_null = len(present) < len(values)
    params += present
    tests = [f"{column} {negation}IN ({', '.join('?' * len(present))})"] if present else []
    if with_null:
        tests.append(f"{column} IS {negation}NULL")
    if not tests:
        return "1 = 1" if negation else "1 = 0"
    return "(" + (" AND " if negation else " OR ").join(tests) + ")"


def _check_where(where: object) -> None:
    if not isinstance(where, Mapping):
        raise bad_query(f"a where clause is a mapping, not {type(where).__name__}")


def _order(table: str, name: object) -> str:
    if isinstance(name, str) and name.startswith("-"):
        return f"{table}.{quote(name[1:])} DESC"
    return f"{table}.{quote(name)}"


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def _count(what: str, number: int) -> int:
    if type(number) is not int or number < 0:
        raise bad_query(f"{what} must be a whole number, 0 or more")
    return number
