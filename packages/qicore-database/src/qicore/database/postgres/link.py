"""One connection with many statements under way, in libpq's pipeline mode.

Each statement is followed by a synchronisation point, so that the server takes it as a transaction of its
own: one that fails takes no other with it. Answers come in the order of the statements.
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection, pq
from psycopg.abc import Transformer
from psycopg.adapt import Transformer as Loader
from qicore.base import Failure, QiError, Result, Success
from qicore.database.postgres.encoding import encode, needs_types
from qicore.database.postgres.errors import lost, translate_result, unforeseen

__all__ = ["Answer", "Link", "Statement"]

_KEPT: Final = 256
"""Prepared statements of a connection; beyond, the one that was not used for longest goes."""

_ERROR: Final = pq.ExecStatus.FATAL_ERROR
_TUPLES: Final = pq.ExecStatus.TUPLES_OK
_SYNC: Final = pq.ExecStatus.PIPELINE_SYNC
_ABORTED: Final = pq.ExecStatus.PIPELINE_ABORTED
_PLAN_CHANGED: Final = "0A000"

_logger = logging.getLogger("qicore.database")


class Answer:
    """What the server said to one statement: rows and names of columns, or how many rows were changed."""

    __slots__ = ("_loader", "_result")

    def __init__(self, result: "pq.abc.PGresult", loader: Transformer) -> None:
        self._result = result
        self._loader = loader

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        result = self._result
        return tuple((result.fname(index) or b"").decode() for index in range(result.nfields))

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, as Python's values."""
        self._loader.set_pgresult(self._result)
        return self._loader.load_rows(0, self._result.ntuples, tuple)

    @property
    def has_rows(self) -> bool:
        """Whether it is a statement that gives rows, be they none."""
        return self._result.status == _TUPLES

    @property
    def changed(self) -> int:
        """How many rows were changed."""
        return self._result.command_tuples or 0

    @property
    def tag(self) -> bytes:
        """What was done, in the server's word: `COMMIT`, `INSERT 0 1`."""
        return self._result.command_status or b""


class Statement:
    """One thing to run, and who waits for it."""

    __slots__ = ("again", "asks", "future", "params", "prepared", "results", "sql", "text")

    def __init__(
        self, sql: bytes, params: Sequence[Any], future: "asyncio.Future[Result[Any]]", text: str | None
    ) -> None:
        self.sql = sql
        self.params = params
        self.future = future
        self.text = text
        self.prepared: _Prepared | None = None
        self.results: list[pq.abc.PGresult] = []
        self.again = False
        self.asks = False


class _Prepared:
    __slots__ = ("name", "ready", "types")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.types: tuple[int, ...] | None = None
        self.ready = False


class Link:
    """A connection; `on_idle` hears that it could take more, `on_lost` that it is gone.

    Attributes:
        under_way: what was sent and not answered, the oldest first.
        since: when the oldest one began to run, on the event loop's clock.
    """

    def __init__(
        self,
        connection: "AsyncConnection[Any]",
        on_idle: Callable[["Link"], None],
        on_lost: Callable[["Link"], None],
    ) -> None:
        self.connection = connection
        self.under_way: deque[Statement] = deque()
        self.since = 0.0
        self.lent = False
        self.broken: QiError | None = None
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._pg = connection.pgconn
        self._loader: Transformer = Loader(connection)
        self._prepared: OrderedDict[bytes, _Prepared] = OrderedDict()
        self._made = 0
        self._writing = False
        self._socket = -1
        self._enter()

    def _enter(self) -> None:
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()
        self._socket = self._pg.socket
        self._loop.add_reader(self._socket, self._read)

    def pause(self) -> None:
        """Leave the connection to psycopg, for what has no place in a pipeline; nothing may be under way."""
        self._loop.remove_reader(self._socket)
        self._pg.exit_pipeline_mode()
        self._pg.nonblocking = 0

    def resume(self) -> None:
        """Take it back."""
        self._enter()

    def run(self, statement: Statement) -> None:
        """Send a statement; its future gets the answer."""
        try:
            self._put(statement)
            if self._pg.flush():
                self._write_later()
        except QiError as error:
            _answer(statement, Failure(error))
        except Exception as exception:  # noqa: BLE001 - the connection is lost, or the driver refuses
            _answer(statement, Failure(unforeseen(exception)))
            self._fail(lost())

    def _put(self, statement: Statement) -> None:
        """Write a statement into the buffer of the connection."""
        pg = self._pg
        prepared = self._prepared.get(statement.sql)
        fresh = prepared is None
        if prepared is None:
            prepared = self._remember(statement.sql)
        else:
            self._prepared.move_to_end(statement.sql)
        params = statement.params
        if params and prepared.types is None and needs_types(params):
            self._ask_types(statement, prepared, fresh=fresh)
            return
        try:
            values = encode(params, prepared.types)
        except QiError:
            if fresh:
                del self._prepared[statement.sql]
            raise
        if fresh:
            pg.send_prepare(prepared.name, statement.sql)
        pg.send_query_prepared(prepared.name, values)
        pg.pipeline_sync()
        statement.prepared = prepared
        self._push(statement)

    def _push(self, statement: Statement) -> None:
        if not self.under_way:
            self.since = time.monotonic()
        self.under_way.append(statement)

    def _ask_types(self, statement: Statement, prepared: _Prepared, *, fresh: bool) -> None:
        """Ask for the types of the parameters first; the statement itself goes out when they are known."""
        question = Statement(statement.sql, (), self._loop.create_future(), statement.text)
        self._put_question(question, prepared, fresh=fresh)

        def go_on(answered: "asyncio.Future[Result[Any]]") -> None:
            if answered.cancelled():
                return
            result = answered.result()
            if result.error is not None:
                _answer(statement, Failure(result.error))
            else:
                self.run(statement)

        question.future.add_done_callback(go_on)

    def describe(self, question: Statement) -> None:
        """Ask for the types of a statement's parameters; the future gets their numbers."""
        prepared = self._prepared.get(question.sql)
        fresh = prepared is None
        self._put_question(question, prepared or self._remember(question.sql), fresh=fresh)
        if self._pg.flush():
            self._write_later()

    def _put_question(self, question: Statement, prepared: _Prepared, *, fresh: bool) -> None:
        question.prepared = prepared
        question.asks = True
        if fresh:
            self._pg.send_prepare(prepared.name, question.sql)
        self._pg.send_describe_prepared(prepared.name)
        self._pg.pipeline_sync()
        self._push(question)

    def _remember(self, sql: bytes) -> _Prepared:
        self._made += 1
        prepared = _Prepared(b"qicore_%d" % self._made)
        self._prepared[sql] = prepared
        if len(self._prepared) > _KEPT:
            _, oldest = self._prepared.popitem(last=False)
            closing = Statement(b"", (), self._loop.create_future(), None)
            self._pg.send_query_params(b"DEALLOCATE " + oldest.name, None)
            self._pg.pipeline_sync()
            self._push(closing)
        return prepared

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
                if result.status == _SYNC:
                    self._answered()
                elif self.under_way:
                    self.under_way[0].results.append(result)
            if pg.status == pq.ConnStatus.BAD:
                self._fail(self._last_words())
                return
        except Exception:  # noqa: BLE001 - the socket was closed; told to all that wait
            self._fail(self._last_words())
            return
        if not self.lent:
            self._on_idle(self)

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
        if self.under_way:
            self.since = time.monotonic()
        results = statement.results
        failed = next((result for result in results if result.status == _ERROR), None)
        if failed is not None:
            self._failed(statement, failed)
            return
        if not results or results[-1].status == _ABORTED:
            _answer(statement, Failure(lost("the server gave no answer")))
            return
        prepared = statement.prepared
        if prepared is not None:
            prepared.ready = True
            if statement.asks:
                described = results[-1]
                prepared.types = tuple(described.param_type(n) for n in range(described.nparams))
                _answer(statement, Success(prepared.types))
                return
        if not statement.future.done():
            statement.future.set_result(Success(Answer(results[-1], self._loader)))

    def _failed(self, statement: Statement, result: "pq.abc.PGresult") -> None:
        prepared = statement.prepared
        if prepared is not None:
            kept = self._prepared.get(statement.sql)
            if kept is prepared and (not prepared.ready or _plan_changed(result)):
                del self._prepared[statement.sql]
            # A table was changed under a prepared statement: nothing was done, so it may go out once more.
            # In a transaction that has ended everything.
            if _plan_changed(result) and not statement.again and not self.lent:
                statement.again = True
                statement.results = []
                self.run(statement)
                return
        _answer(statement, Failure(translate_result(result, statement.text)))

    def _fail(self, error: QiError) -> None:
        """Answer everything that waits, and be gone."""
        if self.broken is not None:
            return
        self.broken = error
        self._detach()
        waiting, self.under_way = self.under_way, deque()
        for statement in waiting:
            _answer(statement, Failure(error))
        self._pg.finish()
        self._on_lost(self)

    def _detach(self) -> None:
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = -1

    def close(self) -> None:
        """Close the connection at once; whatever runs there, the server rolls back."""
        self._fail(lost("the database was closed"))

    async def cancel(self, patience: float) -> None:
        """Ask the server to interrupt what runs; harmless when nothing does."""
        try:
            await self.connection.cancel_safe(timeout=patience)
        except Exception as exception:  # noqa: BLE001 - the statement timeout is still there
            _logger.warning("a statement could not be interrupted: %s", type(exception).__name__)


def _plan_changed(result: "pq.abc.PGresult") -> bool:
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    routine = result.error_field(pq.DiagnosticField.SOURCE_FUNCTION)
    # https://github.com/postgres/postgres/blob/master/src/backend/utils/cache/plancache.c
    return state == _PLAN_CHANGED.encode() and routine == b"RevalidateCachedQuery"


def _answer(statement: Statement, result: Result[Any]) -> None:
    if not statement.future.done():
        statement.future.set_result(result)
