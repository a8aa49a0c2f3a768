import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import CacheConfig
from qicore.cache.file_store import SHORT, Entry, FileStore
from qicore.cache.file_way import Way
from qicore.cache.file_worker import LATER, FileWorker
from qicore.resilience import CircuitBreakerConfig

T = TypeVar("T")
Start = Callable[..., Awaitable[FileWorker]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    workers: list[FileWorker] = []

    async def start_worker(patience: float = 600.0, clock: Callable[[], float] = lambda: 0.0) -> FileWorker:
        def open_store() -> FileStore:
            return FileStore(tmp_path / "cache.db", "", max_entries=None, max_weight=None, timeout=patience)

        # By a clock that stands still nothing is slow, however slow the machine is.
        worker = assert_success(await FileWorker.start(open_store, patience=patience, clock=clock))
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        await worker.close()


@pytest.fixture
def other(tmp_path: Path, start: Start) -> sqlite3.Connection:
    """Somebody else who writes to the same file."""
    return sqlite3.connect(tmp_path / "cache.db", isolation_level=None)


def where(_: FileStore) -> threading.Thread:
    return threading.current_thread()


def put(key: str) -> Callable[[FileStore], None]:
    return lambda store: store.set(Entry(key, b"v", 7))


async def soon(worker: FileWorker, action: Callable[[FileStore], T]) -> Result[T]:
    """Read at once where that can be, as caches do."""
    done = worker.read_now(action)
    return await worker.read(action) if done is LATER else done


async def keys(worker: FileWorker) -> list[str]:
    return assert_success(await soon(worker, lambda store: store.keys("", "", 1000)[0]))


async def test_what_is_short_is_done_at_once_and_the_rest_by_a_thread(start: Start) -> None:
    worker = await start()
    here = threading.current_thread()
    assert assert_success(await soon(worker, where)) is here
    assert assert_success(await worker.read(where)) is not here
    assert assert_success(await worker.write(where)) is here
    assert assert_success(await worker.write(where, weight=SHORT + 1)) is not here


async def test_writes_of_one_turn_are_one_transaction(start: Start) -> None:
    worker = await start()
    said: list[str] = []
    worker.store.raw.set_trace_callback(said.append)
    written = await asyncio.gather(*(worker.write(put(f"k{number}")) for number in range(10)))
    assert all(result.is_success for result in written)
    assert said.count("COMMIT") == 1
    said.clear()
    written = await asyncio.gather(*(worker.write(put(f"k{number}")) for number in range(1000)))
    assert all(result.is_success for result in written)
    assert 1 <= said.count("COMMIT") <= 1000 / 100


async def test_one_that_fails_fails_alone(start: Start) -> None:
    worker = await start()

    def fail(store: FileStore) -> None:
        store.set(Entry("b", b"v", 7))
        store.raw.execute("INSERT INTO entries (id) VALUES (1)")

    good, bad, also_good = await asyncio.gather(
        worker.write(put("a")), worker.write(fail), worker.write(put("c"))
    )
    assert_success(good)
    assert assert_failure(bad).category.value == "UNKNOWN"
    assert_success(also_good)
    assert await keys(worker) == ["a", "c"]


async def test_a_write_that_is_cancelled_before_its_turn_is_not_done(start: Start) -> None:
    worker = await start()
    first, second = asyncio.create_task(worker.write(put("a"))), asyncio.create_task(worker.write(put("b")))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert_success(await second)
    assert await keys(worker) == ["b"]


async def test_nobody_is_written_while_another_process_writes_and_no_loop_waits(
    start: Start, other: sqlite3.Connection
) -> None:
    worker = await start()
    other.execute("BEGIN IMMEDIATE")
    writing = [asyncio.create_task(worker.write(put(key))) for key in "abc"]
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert await keys(worker) == []  # reading goes on
    assert not any(task.done() for task in writing)
    writing[1].cancel()
    other.execute("COMMIT")
    assert_success(await writing[0])
    assert_success(await writing[2])
    assert await keys(worker) == ["a", "c"]
    other.close()


async def test_the_thread_reads_while_its_writes_wait(start: Start, other: sqlite3.Connection) -> None:
    worker = await start(patience=60.0)
    other.execute("BEGIN IMMEDIATE")
    writing = [asyncio.create_task(worker.write(put(key), weight=SHORT + 1)) for key in "ab"]
    for _ in range(3):
        # By the thread, as when it holds the store at that moment.
        assert assert_success(await worker.read(lambda store: store.keys("", "", 1000)[0])) == []
    assert not any(task.done() for task in writing)
    other.execute("COMMIT")
    for task in writing:
        assert_success(await task)
    assert await keys(worker) == ["a", "b"]
    other.close()


async def test_nobody_waits_for_a_lock_for_ever(start: Start, other: sqlite3.Connection) -> None:
    worker = await start(patience=0.1)
    other.execute("BEGIN IMMEDIATE")
    for result in await asyncio.gather(worker.write(put("a")), worker.write(put("b"))):
        assert assert_failure(result, "FILE_BUSY").category.value == "TIMEOUT"
    worker.post(put("c"))
    assert_failure(await worker.write(put("d"), weight=SHORT + 1), "FILE_BUSY")
    other.execute("COMMIT")
    assert_success(await worker.write(put("e")))
    assert "a" not in await keys(worker)
    assert "b" not in await keys(worker)
    other.close()


async def test_nobody_waits_for_a_long_job_for_ever(start: Start) -> None:
    worker = await start(patience=0.05)
    go_on = threading.Event()
    long = asyncio.create_task(worker.read(lambda _: go_on.wait()))
    await asyncio.sleep(0)
    assert_failure(await worker.write(put("a")), "FILE_BUSY")
    assert_failure(await soon(worker, where), "FILE_BUSY")
    go_on.set()
    assert_failure(await long, "FILE_BUSY")
    assert await keys(worker) == []


async def test_a_disk_that_is_slow_is_left_to_the_thread_for_a_while(start: Start) -> None:
    now = [0.0]
    worker = await start(clock=lambda: now[0])
    here = threading.current_thread()

    def reads_slowly(_: FileStore) -> None:
        now[0] += 0.1

    assert_success(await soon(worker, reads_slowly))
    assert assert_success(await soon(worker, where)) is not here
    assert assert_success(await worker.write(where)) is not here
    now[0] += 1.1
    assert assert_success(await soon(worker, where)) is here
    assert assert_success(await worker.write(where)) is here


async def test_the_thread_tidies_up_behind_many_writes_and_reads(start: Start, tmp_path: Path) -> None:
    worker = await start()
    log = tmp_path / "cache.db-wal"
    for _ in range(60):
        await asyncio.gather(*(worker.write(put(f"k{number}")) for number in range(100)))
    await worker.read(where)
    assert log.stat().st_size < 16_000_000
    assert not worker.store.untidy


async def test_threads_with_loops_of_their_own_share_it(start: Start) -> None:
    worker = await start()
    failed: list[object] = []

    async def work(name: int) -> None:
        for number in range(50):
            results = await asyncio.gather(
                worker.write(put(f"{name} {number}")),
                soon(worker, lambda store: store.size()),
                worker.read(lambda store: store.size()),
                worker.write(put(f"{name} {number} heavy"), weight=SHORT + 1),
            )
            failed.extend(result.error for result in results if not result.is_success)

    def run(name: int) -> None:
        asyncio.run(work(name))

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert failed == []
    assert assert_success(await soon(worker, lambda store: store.size())) == 400


async def test_a_loop_that_ended_in_the_middle_hinders_nobody(start: Start) -> None:
    worker = await start()

    def abandon() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(worker.write(put("lost")))
        heavy = loop.create_task(worker.write(put("heavy"), weight=SHORT + 1))
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        for one in (task, heavy):
            one._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]  # it is meant to be lost

    await asyncio.to_thread(abandon)
    assert_success(await worker.write(put("a")))
    assert "a" in await keys(worker)


async def test_what_was_asked_before_it_is_closed_is_done_and_nothing_after(start: Start) -> None:
    worker = await start()
    light = asyncio.create_task(worker.write(put("a")))
    heavy = asyncio.create_task(worker.write(put("b"), weight=SHORT + 1))
    await asyncio.sleep(0)
    await asyncio.gather(worker.close(), worker.close())
    assert_success(await light)
    assert_success(await heavy)
    for result in (
        await soon(worker, where),
        await worker.read(where),
        await worker.write(where),
        await worker.write(where, weight=SHORT + 1),
    ):
        assert_failure(result, "CACHE_CLOSED")
    worker.post(put("c"))
    assert await keys(await start()) == ["a", "b"]


async def test_one_whose_opening_is_cancelled_is_closed(tmp_path: Path) -> None:
    opened: list[FileStore] = []
    go_on = threading.Event()

    def open_store() -> FileStore:
        go_on.wait()
        opened.append(FileStore(tmp_path / "cache.db", "", max_entries=None, max_weight=None, timeout=30.0))
        return opened[0]

    opening = asyncio.create_task(FileWorker.start(open_store, patience=30.0))
    await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "qicore-cache-file":
            await asyncio.to_thread(thread.join)
    with pytest.raises(sqlite3.ProgrammingError):
        opened[0].size()


async def test_a_file_in_use_says_nothing_to_a_circuit_that_is_half_open(start: Start) -> None:
    worker = await start()
    breaker = CircuitBreakerConfig(failure_threshold=2, reset_timeout=0.05, half_open_requests=1)
    way = Way(worker, CacheConfig(circuit_breaker=breaker))

    def fail(store: FileStore) -> None:
        store.raw.execute("SELECT * FROM nowhere")

    for _ in range(2):
        assert_failure(await way.ask(fail), "CACHE_LOAD_FAILED")
    assert_failure(await way.ask(fail), "CIRCUIT_OPEN")
    await asyncio.sleep(0.1)
    begun, go_on = threading.Event(), threading.Event()

    def use(_: FileStore) -> None:
        begun.set()
        go_on.wait()

    using = asyncio.create_task(worker.read(use))
    await asyncio.to_thread(begun.wait)
    asking = asyncio.create_task(way.ask(fail))
    await asyncio.sleep(0)
    go_on.set()
    assert_success(await using)
    assert_failure(await asking, "CACHE_LOAD_FAILED")
    assert_failure(await way.ask(fail), "CIRCUIT_OPEN")
