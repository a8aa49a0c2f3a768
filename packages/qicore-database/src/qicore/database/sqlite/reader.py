"""The connections that read."""

import sqlite3
from collections import deque
from typing import Any, Final

from qicore.base import Result, Success
from qicore.database.sqlite.connection import Opener
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Job, Prepared
from qicore.database.sqlite.worker import Worker

__all__ = ["Reader"]

# Reads of one snapshot: enough to share its cost, few enough that the first answer does not wait for long.
_TOGETHER: Final = 128


class Reader(Worker):
    """A connection that only reads. Each sees what was committed when it was asked for, or later."""

    def __init__(self, hub: Hub, opener: Opener, shared: deque[Job], number: int) -> None:
        super().__init__(hub, opener, shared, name=f"qicore-database-reader-{number}", writes=False)

    def _work(self) -> None:
        while not self.ended:
            cursor = self._cursor
            if self.own:
                self._answer(self.own.popleft())
            elif not (self.shared and self.shares):
                return
            elif len(self.shared) > 1 and cursor is not None:
                self._read_together(cursor)
                self._tell()
            else:
                try:
                    job = self.shared.popleft()
                except IndexError:
                    # Another reader took over in between, and was faster.
                    return
                self.hub.done.append((job, self._serve(job) if cursor is None else self._read(job, cursor)))
                self.current = None
                self.progress += 1
                self._unsaid += 1

    def _read_together(self, cursor: sqlite3.Cursor) -> None:
        """Serve what waits now in one read transaction, which halves the cost of a short statement.

        Only what waits now: a read that is asked for later may follow a write that this snapshot lacks.
        """
        shared = self.shared
        done = self.hub.done
        now = self.hub.clock()
        left = min(len(shared), _TOGETHER)
        self._unsaid += left
        prepared: dict[str, Prepared] = {}
        cursor.execute("BEGIN")
        try:
            while left and self.shares:
                left -= 1
                self.current = job = shared.popleft()
                future = job.future
                if job.since > now or job.stop or future is None or future.cancelled():
                    cursor.connection.commit()
                    done.append((job, self._serve(job)))
                    return
                try:
                    done.append((job, Success(job.run_among_others(cursor, prepared))))
                except Exception:  # noqa: BLE001 - see _read
                    done.append((job, self._serve(job)))
                self.progress += 1
        except IndexError:
            # Another reader took over in between, and was faster.
            return
        finally:
            self.current = None
            if cursor.connection.in_transaction:
                cursor.connection.commit()

    def _read(self, job: Job, cursor: sqlite3.Cursor) -> Result[Any]:
        """Run a read the quick way; where that fails, once more the careful way, which tells why.

        Without the guard, an interrupt meant for the job before may hit this one: running it again heals
        that.
        """
        future = job.future
        if not job.stop and future is not None and not future.cancelled():
            self.current = job
            try:
                return Success(job.run(cursor))
            except Exception:  # noqa: BLE001, S110 - see above
                pass
        return self._serve(job)
