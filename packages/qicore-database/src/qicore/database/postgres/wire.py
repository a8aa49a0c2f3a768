"""The wire to a server: statements go out in libpq's pipeline mode, and answers come in their order.

Each statement is followed by a synchronisation point, so that the server takes it as a transaction of its
own: one that fails takes no other with it.
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection, pq
from psycopg.abc import Transformer
from psycopg.adapt import Transformer as Loader
from qicore.base import Failure, QiError, Result, Success
from qicore.database.errors import bad_query
from qicore.database.postgres.answer import Answer, Statement
from qicore.database.postgres.encoding import encode, needs_types
from qicore.database.postgres.errors import (
    is_misfit,
    is_stale,
    lost,
    stale,
    translate_result,
    unforeseen,
    was_interrupted,
)
from qicore.database.postgres.prepared import Prepared, PreparedStatements
from qicore.database.postgres.sql import is_atomic

__all__ = ["Wire"]

_MARKS: Final = 65_535
"""Parameters that a statement may have: the protocol counts them in two bytes."""

_TUPLES: Final = int(pq.ExecStatus.TUPLES_OK)
_OK: Final = int(pq.ExecStatus.COMMAND_OK)
_ERROR: Final = int(pq.ExecStatus.FATAL_ERROR)
_SYNC: Final = int(pq.ExecStatus.PIPELINE_SYNC)
_COPIES: Final = frozenset(map(int, (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)))
_CONTROLS: Final = frozenset(
    (b"BEGIN", b"START TRANSACTION", b"COMMIT", b"ROLLBACK", b"SAVEPOINT", b"RELEASE", b"PREPARE TRANSACTION")
)


class Wire(ABC):
    """A connection as far as it carries statements and answers; `Link` is what becomes of it in a pool.

    Attributes:
        under_way: what was sent and not answered, the oldest first.
        since: when the oldest one began to run, or the last one did, by the clock.
        lent: whether somebody has the connection alone.
        interrupting: whether the server was asked to interrupt what runs: what is sent now could be hit.
        hit: whether a statement was interrupted since that was asked last.
        paused: whether what the server says is left where it is.
        broken: why the connection is of no use any more.
        on_notify: hears what is said on the channels that are listened to here.
    """

    def __init__(self, connection: "AsyncConnection[Any]", clock: Callable[[], float]) -> None:
        self.connection = connection
        self.under_way: deque[Statement] = deque()
        self.since = clock()
        self.lent = False
        self.interrupting = False
        self.hit = False
        self.paused = False
        self.broken: QiError | None = None
        self.on_notify: Callable[[str, str], None] | None = None
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pg = connection.pgconn
        self._loader: Transformer = Loader(connection)
        self._prepared = PreparedStatements()
        self._forgotten: list[bytes] = []
        self._writing = False
        self._held: deque[Statement] | None = None
        self._turn: asyncio.Future[None] | None = None
        self._socket = -1
        self._enter()

    @abstractmethod
    def left(self) -> None:
        """Hear that what is under way may be running for nobody."""

    @abstractmethod
    def _ready(self) -> None:
        """Hear that answers have come, so that there is room for more."""

    @abstractmethod
    def _gone(self) -> None:
        """Hear that the connection is lost."""

    def _enter(self) -> None:
        self._pg.enter_pipeline_mode()
        self._socket = self._pg.socket
        self.listen()

    def listen(self) -> None:
        """Take what the server says."""
        if self._socket >= 0:
            self.paused = False
            self._loop.add_reader(self._socket, self._read)

    def pause(self) -> None:
        """Leave what the server says where it is; it waits when that is much."""
        if self._socket >= 0:
            self.paused = True
            self._loop.remove_reader(self._socket)

    def run(self, statement: Statement) -> None:
        """Send a statement; its future gets the answer. One that can't be sent is answered at once."""
        if self.broken is not None:
            statement.answer(Failure(self.broken))
            return
        if self._held is not None:
            self._held.append(statement)
            return
        try:
            self._put(statement)
            if self._pg.flush():
                self._write_later()
        except QiError as error:
            statement.answer(Failure(error))
        except Exception as exception:  # noqa: BLE001 - the connection is lost, or the driver refuses
            statement.answer(Failure(unforeseen(exception)))
            self._fail(lost())

    def ping(self) -> None:
        """Ask whether the server is there."""
        self.run(Statement(b"", (), self._nobody(), None))

    def types(self, sql: bytes, text: str) -> "asyncio.Future[Result[tuple[int, ...]]]":
        """Ask for the numbers of the types of a statement's parameters, unless they are known."""
        future: asyncio.Future[Result[tuple[int, ...]]] = self._loop.create_future()
        prepared = self._prepared.get(sql)
        if prepared is not None and prepared.types is not None:
            future.set_result(Success(prepared.types))
        else:
            question = Statement(sql, (), future, text)
            question.asks = True
            self.run(question)
        return future

    def _nobody(self) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = self._loop.create_future()
        future.cancel()
        return future

    def _put(self, statement: Statement) -> None:
        """Write a statement into the buffer of the connection. A QiError comes before anything is written."""
        pg = self._pg
        sql, params = statement.sql, statement.params
        if self._forgotten and (not self.lent or self._is_free):
            for name in self._forgotten:
                self._deallocate(name)
            self._forgotten = []
        if not sql or statement.control:
            # Never prepared: nothing that happens to prepared statements may hinder the end of a transaction.
            if sql:
                pg.send_query_params(sql, None)
            pg.pipeline_sync()
            self._push(statement)
            return
        prepared = statement.prepared or self._prepared.get(sql)
        values: Sequence[bytes | None] = ()
        formats: Sequence[int] | None = None
        if params:
            if len(params) > _MARKS:
                raise bad_query(f"a statement has {_MARKS} parameters at most, not {len(params)}")
            types = None if prepared is None else prepared.types
            if types is None and needs_types(params):
                question = Statement(sql, (), statement.future, statement.text)
                question.asks = True
                question.after = statement
                self._put(question)
                return
            values, formats = encode(params, types)
        if prepared is None:
            prepared, oldest = self._prepared.make(sql, evict=not self.lent)
            if oldest is not None:
                self._deallocate(oldest.name)
            statement.fresh = True
        elif prepared.name:
            self._prepared.used(sql)
        else:
            statement.fresh = True  # what was prepared without a name since then took its place
        if statement.fresh:
            pg.send_prepare(prepared.name, sql)
        if statement.asks:
            pg.send_describe_prepared(prepared.name)
        else:
            pg.send_query_prepared(prepared.name, values, formats)
        pg.pipeline_sync()
        statement.prepared = prepared
        self._push(statement)

    @property
    def _is_free(self) -> bool:
        """Whether nothing is under way here, and no transaction open."""
        return not self.under_way and self._pg.transaction_status == pq.TransactionStatus.IDLE

    def forget(self, sql: bytes) -> None:
        """Prepare a statement anew when it comes again: what it is about may have changed."""
        prepared = self._prepared.get(sql)
        if prepared is not None:
            self._forget(sql, prepared)

    def _forget(self, sql: bytes, prepared: Prepared) -> None:
        if self._prepared.forget(sql, prepared) and prepared.ready:
            self._forgotten.append(prepared.name)  # the server is told when no transaction is open here

    def _deallocate(self, name: bytes) -> None:
        self._pg.send_query_params(b"DEALLOCATE " + name, None)
        self._pg.pipeline_sync()
        self._push(Statement(b"DEALLOCATE", (), self._nobody(), None))

    def _push(self, statement: Statement) -> None:
        statement.link = self
        if not self.under_way:
            self.since = self._clock()
        self.under_way.append(statement)

    def _write_later(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        try:
            if self._pg.flush():
                return
        except Exception:  # noqa: BLE001 - told to all that wait
            self._fail(lost())
            return
        self._writing = False
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        pg = self._pg
        try:
            pg.consume_input()
            nothing = False
            while not pg.is_busy():
                result = pg.get_result()
                if result is None:
                    if nothing or not self.under_way:
                        break
                    nothing = True
                    continue
                nothing = False
                status = result.status
                if status == _SYNC:
                    self._answered()
                elif status in _COPIES:
                    self._refuse("rows are copied by bulk_insert, and read by stream")
                elif self.under_way:
                    self.under_way[0].results.append(result)
                if self.broken is not None:
                    return
            if self.on_notify is not None:
                while (note := pg.notifies()) is not None:
                    self.on_notify(note.relname.decode(), note.extra.decode())
            if pg.status == pq.ConnStatus.BAD:
                self._fail(self._last_words())
                return
        except Exception:  # noqa: BLE001 - the socket was closed; told to all that wait
            self._fail(self._last_words())
            return
        self._ready()

    def _last_words(self) -> QiError:
        """What the server said before it went, as a shutdown does, or that it went without a word."""
        if self.under_way:
            for result in self.under_way[0].results:
                if result.status == _ERROR:
                    error = translate_result(result, None)
                    if error.code == "DB_CONNECT_FAILED":
                        return error
        return lost()

    def _answered(self) -> None:
        """Answer the oldest statement, whose synchronisation point has come."""
        statement = self.under_way.popleft()
        self._next()
        if self.under_way:
            self.since = self._clock()
            if self.under_way[0].future.done():
                self.left()
        results = statement.results
        prepared = statement.prepared
        if not results:
            if statement.sql:
                statement.answer(Failure(lost("the server gave no answer")))
            return
        if statement.fresh and prepared is not None and results[0].status == _OK:
            prepared.ready = True
        last = results[-1]
        if last.status == _TUPLES:
            statement.answer(Success(Answer(last, self._loader)))
        elif last.status != _OK:
            self._failed(statement, next((result for result in results if result.status == _ERROR), last))
        elif statement.asks and prepared is not None:
            prepared.types = tuple(last.param_type(number) for number in range(last.nparams))
            if statement.after is None:
                statement.answer(Success(prepared.types))
            elif not statement.future.done():
                # Here and now, before anybody else could think that the connection has nothing to do.
                statement.after.prepared = prepared
                self.run(statement.after)
        elif last.command_status in _CONTROLS and not statement.control:
            self.under_way.appendleft(statement)
            self._refuse("transactions begin with begin() and end with commit() or rollback()")
        else:
            statement.answer(Success(Answer(last, self._loader)))

    def _failed(self, statement: Statement, result: "pq.abc.PGresult") -> None:
        prepared = statement.prepared
        outdated = is_stale(result)
        # The types of its parameters are those from when it was prepared.
        misfit = prepared is not None and not statement.fresh and is_misfit(result)
        if prepared is not None and (outdated or misfit or not prepared.ready):
            self._forget(statement.sql, prepared)
        interrupted = was_interrupted(result)
        self.hit = self.hit or interrupted
        undone = (misfit or (self.interrupting and interrupted)) and is_atomic(statement.text or "")
        if (outdated or undone) and not (self.lent or statement.again or statement.future.done()):
            # A table was changed under a prepared statement, the server forgot it, or it was interrupted in
            # place of another: nothing was done, so it may go out once more. A transaction would be lost.
            statement.again = True
            statement.fresh = False
            statement.prepared = None
            statement.results = []
            self.run(statement)
        elif outdated:
            statement.answer(Failure(stale(result)))
        else:
            statement.answer(Failure(translate_result(result, statement.text)))

    def _refuse(self, reason: str) -> None:
        """Give the connection up for what a statement did to it: the server rolls back what is open there."""
        if self.under_way:
            self.under_way.popleft().answer(Failure(bad_query(reason)))
        self._fail(bad_query(reason) if self.lent else lost("the connection was given up for another's sake"))

    def _next(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and not turn.done():
            turn.set_result(None)

    async def _moved(self, seconds: float | None = None) -> bool:
        """Wait until a statement is answered, or all are; return whether that was in time."""
        if self._turn is None:
            self._turn = self._loop.create_future()
        done, _ = await asyncio.wait((self._turn,), timeout=seconds)
        return bool(done)

    def _fail(self, error: QiError) -> None:
        """Answer everything that waits, and be gone."""
        if self.broken is not None:
            return
        self.broken = error
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = -1
        waiting, self.under_way = self.under_way, deque()
        for statement in waiting:
            statement.answer(Failure(error))
        self._next()
        self._pg.finish()
        self._gone()
