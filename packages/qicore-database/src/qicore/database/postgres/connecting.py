"""A connection as this package wants it: its settings, and how long it may take to open."""

import asyncio
import math
from typing import Any, Final

from psycopg import AsyncConnection, errors
from psycopg.conninfo import conninfo_to_dict
from qicore.base import Failure, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.postgres.errors import connect_error, unforeseen

__all__ = ["connect", "milliseconds"]

_DEFAULTS: Final[dict[str, Any]] = {
    # A peer that vanished without a word is found out, where the URL says nothing else.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


async def connect(conninfo: str, config: DatabaseConfig) -> Result["AsyncConnection[Any]"]:
    """Open a connection: DB_CONNECT_FAILED."""
    known = conninfo_to_dict(conninfo)
    options = {name: value for name, value in _DEFAULTS.items() if known.get(name) is None}
    # Texts are sent and read as UTF-8, whatever the database keeps them in.
    options["client_encoding"] = "UTF8"
    hosts = str(known.get("host") or "").count(",") + 1
    if hosts > 1 and known.get("connect_timeout") is None:
        # One that does not answer leaves time for the next.
        options["connect_timeout"] = max(2, math.floor(config.connect_timeout / hosts))
    try:
        async with asyncio.timeout(config.connect_timeout):
            connection = await AsyncConnection.connect(conninfo, autocommit=True, **options)
            try:
                await connection.execute(*_settings(config))
            except BaseException:
                await connection.close()
                raise
    except (TimeoutError, OSError, errors.Error) as exception:
        return Failure(connect_error(exception))
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        return Failure(unforeseen(exception))
    return Success(connection)


def _settings(config: DatabaseConfig) -> tuple[bytes, list[str]]:
    settings = {
        "statement_timeout": milliseconds(config.statement_timeout),
        "lock_timeout": milliseconds(config.busy_timeout),
        "default_transaction_read_only": "on" if config.read_only else "off",
        # How dates and durations are written is no matter of taste between here and the server.
        "datestyle": "ISO",
        "intervalstyle": "postgres",
    }
    if config.isolation is not None:
        settings["default_transaction_isolation"] = config.isolation
    # Not by the option `options`, which poolers between here and the server refuse.
    sets = ", ".join("set_config(%s, %s, false)" for _ in settings)
    return f"SELECT {sets}".encode(), [text for pair in settings.items() for text in pair]


def milliseconds(seconds: float | None) -> str:
    """Return a duration as a setting: 0 is PostgreSQL's word for never; less than a millisecond is one."""
    return "0" if seconds is None else str(max(1, min(round(seconds * 1000), 2**31 - 1)))
