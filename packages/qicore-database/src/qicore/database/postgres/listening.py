"""LISTEN: what is said on channels, on a connection that does nothing else."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from psycopg import AsyncConnection
from qicore.base import Failure, Result, Success
from qicore.database.listener import Listener, Notification
from qicore.database.names import quote
from qicore.database.postgres.errors import lost, unforeseen
from qicore.database.postgres.pool import Pool

__all__ = ["listen"]


async def listen(pool: Pool, channels: Sequence[str]) -> Result[Listener]:
    """Connect and listen: DB_CONNECT_FAILED, DB_BAD_QUERY for a name that is none."""
    opened = await pool.connect()
    if opened.error is not None:
        return Failure(opened.error)
    connection = opened.unwrap()
    try:
        for channel in channels:
            await connection.execute(f"LISTEN {quote(channel)}".encode())
    except BaseException as exception:
        await connection.close()
        if not isinstance(exception, Exception):
            raise
        return Failure(unforeseen(exception))
    pool.listening.add(connection)

    async def close() -> None:
        pool.listening.discard(connection)
        await connection.close()

    return Success(Listener(_heard(connection, pool), close))


async def _heard(
    connection: "AsyncConnection[Any]", pool: Pool
) -> AsyncGenerator[Result[Notification], None]:
    try:
        async for notify in connection.notifies():
            yield Success(Notification(notify.channel, notify.payload))
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        # Closed here, it is no failure.
        if connection in pool.listening:
            error = lost("the connection that listens was lost")
            error.__cause__ = exception
            yield Failure(error)
