"""Transactions: all of what is done in one is kept, or nothing."""

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from qicore.base import Failure, QiError, Result, Success
from qicore.database.conflicts import again
from qicore.database.engine import Session
from qicore.database.errors import bad_query
from qicore.database.operations import Operations

__all__ = ["Transaction", "TransactionBlock", "end_with_task", "repeat_transaction", "run_transaction"]

T = TypeVar("T")
_logger = logging.getLogger("qicore.database")


class Transaction(Operations):
    """A transaction, or one nested in another as a savepoint, with every operation of the database.

    It sees its own changes; nobody else does before `commit()`. As a block, `async with transaction:` commits
    at the end and rolls back on an exception; a block has no Result to give, so a commit that fails raises
    its QiError there, as `unwrap` would. A transaction that is forgotten, or whose task fails or is
    cancelled, is rolled back. While a nested transaction is open, this one waits for its end: its own
    operations are DB_BAD_QUERY.
    """

    __slots__ = ("__weakref__", "_child", "_depth", "_over", "_parent", "_session")

    def __init__(self, session: Session, parent: "Transaction | None" = None) -> None:
        self._session = session
        self._runner = session
        self._parent = parent
        self._depth: int = 0 if parent is None else parent._depth + 1
        self._child: Transaction | None = None
        self._over = False

    @property
    def is_open(self) -> bool:
        """Whether it was neither committed nor rolled back yet."""
        return not self._over

    def _refusal(self) -> QiError | None:
        if self._over:
            return bad_query("the transaction is over")
        if self._child is not None:
            return bad_query("a nested transaction is open: use it, or end it first")
        return None

    def _failed(self, error: QiError) -> None:
        """Its session has told the circuit breaker, if there is one."""

    @property
    def _name(self) -> str:
        return f"qicore_{self._depth}"

    async def begin(self) -> "Result[Transaction]":
        """Begin a nested transaction: a savepoint. What it does is kept if it and this one are committed."""
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        nested = Transaction(self._session, self)
        self._child = nested
        try:
            marked = await self._session.savepoint(nested._name)
        except BaseException:
            nested._leave()
            raise
        if marked.error is not None:
            nested._leave()
            return Failure(marked.error)
        return Success(nested)

    async def commit(self) -> Result[None]:
        """Keep what was done. A commit that fails has rolled back, whatever the reason.

        Also fails with DB_CONSTRAINT (a deferred foreign key), and with DB_BAD_QUERY when it was over
        already.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        self._leave()
        if self._parent is None:
            return await self._session.commit()
        return await self._session.release(self._name)

    async def rollback(self) -> Result[None]:
        """Undo what was done, in nested transactions too. Harmless when it was over already."""
        if self._over:
            return Success(None)
        self._leave()
        if self._parent is None:
            return await self._session.rollback()
        return await self._session.restore(self._name)

    async def close(self) -> Result[None]:
        """Roll back unless it is over."""
        return await self.rollback()

    @overload
    def transaction(self, /) -> "TransactionBlock": ...
    @overload
    def transaction(
        self, fn: "Callable[[Transaction], Result[T] | Awaitable[Result[T]]]", /
    ) -> Awaitable[Result[T]]: ...
    def transaction(self, fn: Callable[..., Any] | None = None, /) -> Any:
        """Run `fn` in a nested transaction, or begin one as a block: as `Database.transaction` does."""
        return TransactionBlock(self.begin) if fn is None else run_transaction(self.begin, fn)

    def abandon(self) -> None:
        """Roll the whole transaction back without waiting for it."""
        if not self._over:
            self._leave()
            if self._parent is None:
                self._session.abandon()

    def _leave(self) -> None:
        """Be over, with everything nested; from here on nothing waits for this one."""
        if self._child is not None:
            self._child._leave()
        self._over = True
        if self._parent is not None and self._parent._child is self:
            self._parent._child = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.rollback()
        elif not self._over:
            (await self.commit()).unwrap()

    def __del__(self) -> None:
        if not self._over and self._parent is None:
            _logger.warning("a transaction was forgotten and is rolled back")
            self.abandon()


class TransactionBlock:
    """What `transaction()` gives: `async with` begins on entry, and ends as a `Transaction` block does."""

    __slots__ = ("_begin", "_transaction")

    def __init__(self, begin: Callable[[], Awaitable[Result[Transaction]]]) -> None:
        self._begin = begin
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> Transaction:
        self._transaction = (await self._begin()).unwrap()
        return self._transaction

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        transaction, self._transaction = self._transaction, None
        assert transaction is not None
        await transaction.__aexit__(kind, value, traceback)


async def repeat_transaction(
    begin: Callable[[], Awaitable[Result[Transaction]]],
    fn: Callable[[Transaction], Result[T] | Awaitable[Result[T]]],
    attempts: int,
) -> Result[T]:
    """Run `fn` in a transaction, and in a new one while the database can't put it in order with others."""
    return await again(await run_transaction(begin, fn), lambda: run_transaction(begin, fn), attempts)


async def run_transaction(
    begin: Callable[[], Awaitable[Result[Transaction]]],
    fn: Callable[[Transaction], Result[T] | Awaitable[Result[T]]],
) -> Result[T]:
    """Call `fn` with a new transaction: commit on a Success, roll back on a Failure or an exception.

    An exception goes on to the caller, but for a QiError, raised by `unwrap`, which is returned as its
    Failure.
    """
    begun = await begin()
    if begun.error is not None:
        return Failure(begun.error)
    transaction = begun.unwrap()
    try:
        result: Result[T] = await fn(transaction)
    except QiError as error:
        await transaction.rollback()
        return Failure(error)
    except BaseException:
        await transaction.rollback()
        raise
    if result.is_failure:
        await transaction.rollback()
        return result
    if transaction.is_open:
        committed = await transaction.commit()
        if committed.error is not None:
            return Failure(committed.error)
    return result


def end_with_task(transaction: Transaction, task: "asyncio.Task[Any] | None") -> None:
    """Roll a transaction back when its task is cancelled and nothing else did."""
    if task is None:
        return
    reference = weakref.ref(transaction)

    def look(ended: "asyncio.Task[Any]") -> None:
        left = reference()
        if left is not None and left.is_open and ended.cancelled():
            _logger.warning("a cancelled task left a transaction open; it is rolled back")
            left.abandon()

    task.add_done_callback(look)
