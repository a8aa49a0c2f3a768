"""The engines `httpx` and `httpx2`, blocking; see `qicore.http.engines.core`."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Iterator
from concurrent.futures import Future
from typing import Any, cast

import httpcore
import httpx
from qicore.http.engines.library import Library
from qicore.http.engines.pool import Books, Slot
from qicore.http.engines.reply import Deadline, SyncReply
from qicore.http.engines.routes import Key, Routes, is_repeatable, key_of
from qicore.http.engines.sync_wire import SyncWire, SyncWires, Watch

__all__ = ["SyncCoreEngine"]


class _Opening(threading.local):
    """The slot whose connection this thread is making: its sockets are put down there."""

    slot: Slot[Any] | None = None


class SyncCoreEngine:
    """Sends requests over one pool of connections, from any thread; see `SyncEngine`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._library: Library = routes.library
        self._watch = Watch()
        self._opening = _Opening()
        self.lock = threading.Lock()
        self.books: Books[httpcore.ConnectionInterface] = Books(
            self._make,
            limit=routes.config.max_connections,
            keep=routes.config.max_keepalive_connections,
            multiplexed=routes.multiplexed,
        )
        self._stale = (
            routes.library.RemoteProtocolError,
            routes.library.ReadError,
            routes.library.WriteError,
        )

    def _make(self, key: Hashable) -> httpcore.ConnectionInterface:
        pool = self._routes.factory(cast("Key", key), self._library.ConnectionPool, self._wires)
        return pool.create_connection(self._routes.origin(cast("Key", key)))

    def _wires(self, handshakes: int) -> SyncWires:
        return SyncWires(
            self._library,
            opened=self._put_down,
            guard=self._routes.guard,
            watch=self._watch,
            handshakes=handshakes,
        )

    def _put_down(self, wire: SyncWire) -> None:
        if self._opening.slot is not None:
            self._opening.slot.wires.append(wire)

    def send(self, request: httpx.Request, deadline: Deadline) -> SyncReply:
        """Send one request and return the head of what came back; the deadline holds for its body too.

        Raises the library's exceptions; `request.extensions["sent"]` says then whether anything was written.
        """
        key = key_of(request.url)
        exchange = self._routes.request(request)
        fresh = False
        self._watch.deadline = deadline.at
        try:
            while True:
                slot = self._take(key, fresh, exchange, deadline.at)
                sent, received = slot.sent, slot.received
                try:
                    self._opening.slot = slot
                    response = slot.line.handle_request(exchange)
                except self._library.ConnectionNotAvailable:
                    with self.lock:
                        self.books.step_off(slot)
                except BaseException as error:
                    written, silent = slot.sent > sent, slot.received == received
                    with self.lock:
                        self.books.give_back(slot, well=False)
                    if (
                        slot.served
                        and silent
                        and isinstance(error, self._stale)
                        and is_repeatable(request, written=written)
                    ):
                        fresh = True  # as in the asynchronous engine
                        continue
                    request.extensions["sent"] = written
                    raise
                else:
                    extensions: dict[str, Any] = cast("Any", response).extensions
                    return SyncReply(
                        response.status,
                        response.headers,
                        extensions.get("http_version", b"HTTP/1.1"),
                        extensions.get("reason_phrase", b""),
                        _Body(self, slot, response, self._watch, deadline),
                    )
        finally:
            self._opening.slot = None
            self._watch.deadline = None

    def _take(
        self, key: Key, fresh: bool, exchange: httpcore.Request, deadline: float | None
    ) -> Slot[httpcore.ConnectionInterface]:
        waiter: Future[None] | None = None
        timeouts: dict[str, float | None] = cast("Any", exchange).extensions.get("timeout", {})
        seconds = timeouts.get("pool")
        until = None if seconds is None else time.monotonic() + seconds
        if deadline is not None:
            until = deadline if until is None else min(until, deadline)
        while True:
            with self.lock:
                slot = self.books.take(key, fresh=fresh, woken=waiter is not None)
                if slot is not None:
                    return slot
                waiter = Future()
                self.books.wait(waiter)
            try:
                waiter.result(None if until is None else max(0.0, until - time.monotonic()))
            except BaseException as error:
                with self.lock:
                    self.books.leave(waiter)
                if isinstance(error, TimeoutError):
                    raise self._library.PoolTimeout("every connection of the pool is taken") from error
                raise

    def close(self) -> None:
        """Close every idle connection; those in use are closed when their responses are."""
        with self.lock:
            self.books.close()


class _Body:
    """The body of a response. Read to its end it gives back a sound connection, closed earlier a dead one."""

    __slots__ = ("_chunks", "_deadline", "_engine", "_slot", "_stream", "_watch")

    def __init__(
        self,
        engine: SyncCoreEngine,
        slot: Slot[httpcore.ConnectionInterface],
        response: httpcore.Response,
        watch: Watch,
        deadline: Deadline,
    ) -> None:
        self._engine = engine
        self._slot: Slot[httpcore.ConnectionInterface] | None = slot
        self._stream = cast("Any", response.stream)
        self._chunks: Iterator[bytes] = iter(self._stream)
        self._watch = watch
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._watch.deadline = self._deadline.at
        try:
            return next(self._chunks)
        except StopIteration:
            slot, self._slot = self._slot, None
            if slot is not None:
                well = False
                try:
                    self._stream.close()
                    well = True
                finally:
                    self._give_back(slot, well=well)
            raise
        except BaseException:
            slot, self._slot = self._slot, None
            if slot is not None:
                self._give_back(slot, well=False)
            raise
        finally:
            self._watch.deadline = None

    def _give_back(self, slot: Slot[httpcore.ConnectionInterface], *, well: bool) -> None:
        with self._engine.lock:
            self._engine.books.give_back(slot, well=well)

    def close(self) -> None:
        """Give up what is still to come."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._give_back(slot, well=False)
            self._stream.close()
