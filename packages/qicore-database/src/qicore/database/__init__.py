"""SQLite and PostgreSQL under asyncio: typed rows, honest transactions, one Result per call.

>>> import asyncio
>>> from qicore.database import Database
>>> async def main() -> int:
...     async with (await Database.connect(":memory:")).unwrap() as db:
...         await db.execute("CREATE TABLE visits (page TEXT)")
...         await db.bulk_insert("visits", [{"page": "/"}, {"page": "/about"}])
...         return (await db.query_one("SELECT count(*) FROM visits", into=int)).unwrap()
>>> asyncio.run(main())
2
"""

from qicore.database.config import DatabaseConfig
from qicore.database.database import Database
from qicore.database.engine import Outcome, PoolStatus
from qicore.database.listener import Listener, Notification
from qicore.database.migrations import Migration
from qicore.database.rows import Row
from qicore.database.statements import Compare, EveryRow
from qicore.database.stream import RowStream
from qicore.database.transaction import Transaction, TransactionBlock

__all__ = [
    "Compare",
    "Database",
    "DatabaseConfig",
    "EveryRow",
    "Listener",
    "Migration",
    "Notification",
    "Outcome",
    "PoolStatus",
    "Row",
    "RowStream",
    "Transaction",
    "TransactionBlock",
]
