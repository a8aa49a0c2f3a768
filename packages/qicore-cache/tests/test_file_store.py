import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qicore.cache.errors import ForeignFileError, from_file
from qicore.cache.file_store import SHORT, Entry, FileStore


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Open = Callable[..., FileStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    stores: list[FileStore] = []

    def open_store(
        namespace: str = "",
        *,
        max_entries: int | None = 100,
        max_weight: int | None = None,
        timeout: float = 5.0,
    ) -> FileStore:
        stores.append(
            FileStore(
                tmp_path / "cache.db",
                namespace,
                max_entries=max_entries,
                max_weight=max_weight,
                timeout=timeout,
                clock=clock,
            )
        )
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def write(store: FileStore, *entries: Entry) -> None:
    for entry in entries:
        store.begin()
        store.set(entry)
        store.commit()


def entry(key: str, value: bytes = b"v", until: float | None = None, *, stale: float = 0) -> Entry:
    return Entry(key, value, 7, until, None if until is None else until + stale)


def value(store: FileStore, key: str) -> bytes | None:
    row = store.get(key)
    return None if row is None else row[0]


def keys(store: FileStore) -> list[str]:
    return store.keys("", "", 1000)[0]


def test_what_is_written_is_read_by_another(opened: Open) -> None:
    write(opened(), entry("a", b"\0\xff" * 1000))
    assert value(opened(), "a") == b"\0\xff" * 1000


def test_what_is_rolled_back_never_was(opened: Open) -> None:
    store = opened()
    write(store, entry("a"))
    store.begin()
    store.set(entry("b"))
    store.remove("a")
    store.rollback()
    store.rollback()
    assert keys(store) == ["a"]


def test_an_entry_is_gone_when_its_time_is_over(opened: Open, clock: Clock) -> None:
    store = opened()
    write(store, entry("a", until=1_000.5), entry("b"))
    assert (value(store, "a"), store.has("a"), keys(store), store.size()) == (b"v", True, ["a", "b"], 2)
    clock.now += 0.5
    assert (value(store, "a"), store.has("a"), keys(store), store.size()) == (None, False, ["b"], 1)
    store.begin()
    assert store.remove("a") is False
    assert store.remove("b") is True
    store.commit()


def test_a_stale_entry_is_there_for_who_takes_it(opened: Open, clock: Clock) -> None:
    store = opened(max_entries=2)
    write(store, entry("a", until=1_001.0, stale=10))
    clock.now += 1
    assert (store.get("a"), store.has("a"), keys(store), store.size()) == (None, False, [], 0)
    row = store.get("a", stale=True)
    assert row is not None
    assert row == (b"v", 7, 1_001.0, 1_011.0)
    clock.now += 10
    assert store.get("a", stale=True) is None


def test_a_large_value_is_only_read_by_who_asks_for_it(opened: Open) -> None:
    store = opened()
    write(store, entry("a", b"x" * SHORT), entry("b", b"x" * (SHORT + 1)))
    for key, short, size in (("a", True, SHORT), ("b", True, None), ("b", False, SHORT + 1)):
        row = store.get(key, short)
        assert row is not None
        assert row[0] == (None if size is None else b"x" * size)
    assert [row[0] for row in store.get_many(["a", "b"], short=True).values()] == [b"x" * SHORT, None]


def test_many_are_read_as_of_one_moment(opened: Open) -> None:
    store = opened()
    write(store, entry("a", b"1"), entry("b", b"2"))
    rows = store.get_many(["a", "c", "b"])
    assert {key: row[0] for key, row in rows.items()} == {"a": b"1", "b": b"2"}
    assert not store.raw.in_transaction


def test_the_least_recently_used_goes_first(opened: Open) -> None:
    store = opened(max_entries=3)
    write(store, entry("a"), entry("b"), entry("c"))
    store.get("a")
    assert store.has("b")
    write(store, entry("d"))
    assert keys(store) == ["a", "c", "d"]
    assert store.evicted == 1
    write(store, entry("c", b"new"), entry("e"))
    assert keys(store) == ["c", "d", "e"]


def test_a_use_counts_for_other_processes_once_it_is_written_down(opened: Open) -> None:
    store, other = opened(max_entries=2), opened(max_entries=2)
    write(store, entry("a"), entry("b"))
    store.get("a")
    store.begin()
    store.touch()
    store.commit()
    write(other, entry("c"))
    assert keys(store) == ["a", "c"]


def test_a_use_that_is_told_late_is_no_later_use(opened: Open) -> None:
    store, other = opened(max_entries=2), opened(max_entries=2)
    write(store, entry("a"), entry("b"))
    store.get("a")
    write(other, entry("a"), entry("b"))
    store.begin()
    store.touch()
    store.commit()
    write(store, entry("c"))
    assert keys(store) == ["b", "c"]


def test_uses_are_told_to_other_processes_when_the_file_is_closed(opened: Open) -> None:
    store = opened()
    write(store, entry("a"), entry("b"))
    store.get("a")
    store.close()
    other = opened(max_entries=1)
    write(other, entry("a"))
    other = opened(max_entries=2)
    write(other, entry("c"))
    assert keys(other) == ["a", "c"]


def test_what_is_over_goes_before_what_is_used_least(opened: Open, clock: Clock) -> None:
    store = opened(max_entries=2)
    write(store, entry("old"), entry("over", until=1_000.1))
    clock.now += 1
    write(store, entry("new"))
    assert keys(store) == ["new", "old"]
    assert store.evicted == 0


def test_weight_is_bounded_too(opened: Open) -> None:
    store = opened(max_entries=None, max_weight=10)
    write(store, entry("a", b"1234"), entry("b", b"1234"), entry("c", b"1234"))
    assert keys(store) == ["b", "c"]
    write(store, entry("b", b"123456789"))
    assert keys(store) == ["b"]
    assert store.evicted == 2


def test_without_a_bound_nothing_goes(opened: Open) -> None:
    store = opened(max_entries=None)
    store.begin()
    store.set_many(entry(f"k{number:04}") for number in range(500))
    store.commit()
    assert store.size() == 500


def test_totals_that_are_wrong_stop_nobody(opened: Open) -> None:
    store = opened(max_entries=2)
    write(store, entry("a"))
    store.raw.execute("UPDATE spaces SET entries = 1000000")
    write(store, entry("b"))
    assert keys(store) == []


def test_namespaces_share_the_file_and_nothing_else(opened: Open) -> None:
    one, other = opened("one", max_entries=2), opened("other", max_entries=2)
    write(one, entry("a", b"1"), entry("b"))
    write(other, entry("a", b"2"))
    assert (value(one, "a"), value(other, "a")) == (b"1", b"2")
    assert (one.size(), other.size()) == (2, 1)
    assert other.lock("k", b"1", 10.0)
    one.begin()
    assert one.clear() == 2
    one.commit()
    assert (one.size(), other.size()) == (0, 1)
    assert (one.locked("k"), other.locked("k")) == (False, True)


def test_keys_are_read_in_parts(opened: Open) -> None:
    store = opened()
    write(store, *(entry(f"b{number}") for number in range(5)), entry("a"), entry("c"))
    assert store.keys("b", "", 2) == (["b0", "b1"], "b1")
    assert store.keys("b", "b1", 3) == (["b2", "b3", "b4"], "b4")
    assert store.keys("b", "b4", 3) == ([], None)
    assert store.keys("b", "b1", 10) == (["b2", "b3", "b4"], None)


def test_tidying_removes_what_is_over_in_every_namespace(opened: Open, clock: Clock) -> None:
    one, other = opened("one"), opened("other")
    write(one, entry("a", until=1_001.0), entry("b", until=1_001.0, stale=100), entry("c"))
    assert one.lock("a", b"1", 1.0)
    clock.now += 2
    other.begin()
    other.tidy()
    other.commit()
    assert one.raw.execute("SELECT key FROM entries ORDER BY key").fetchall() == [("b",), ("c",)]
    assert one.raw.execute("SELECT count(*) FROM locks").fetchone() == (0,)


def test_the_log_is_brought_into_the_file_when_it_is_long(tmp_path: Path, opened: Open) -> None:
    store = opened()
    written = 0
    while not store.untidy:
        write(store, entry("a", os.urandom(100_000)))
        written += 1
    assert 10 < written < 1000
    log = (tmp_path / "cache.db-wal").stat().st_size
    store.begin()
    store.tidy()
    store.commit()
    store.bring_in(if_long=True)
    assert [store.untidy] == [False]
    for _ in range(10):
        write(store, entry("a", b"x"))
    assert (tmp_path / "cache.db-wal").stat().st_size == log  # it has begun anew


def test_a_lock_has_one_holder_until_its_lease_is_over(opened: Open, clock: Clock) -> None:
    one, other = opened(), opened()
    assert one.lock("k", b"1", 10.0)
    assert not other.lock("k", b"2", 10.0)
    assert not other.extend("k", b"2", 10.0)
    assert not other.unlock("k", b"2")
    assert one.extend("k", b"1", 20.0)
    clock.now += 19.9
    assert not other.lock("k", b"2", 10.0)
    assert other.locked("k")
    clock.now += 0.1
    assert not other.locked("k")
    assert other.lock("k", b"2", 10.0)
    assert not one.extend("k", b"1", 10.0)
    assert not one.unlock("k", b"1")
    assert other.unlock("k", b"2")
    assert one.lock("k", b"1", 10.0)


def test_a_value_that_is_written_or_removed_takes_the_lock_away(opened: Open) -> None:
    store = opened()
    for change in (
        lambda: store.set(entry("k")),
        lambda: store.set(entry("k")),
        lambda: store.remove("k"),
        lambda: store.clear(),
    ):
        assert store.lock("k", b"1", 10.0)
        store.begin()
        change()
        store.commit()
        assert not store.unlock("k", b"1")


@pytest.mark.parametrize(
    "content", [b"no database at all " * 100, b"\0" * 5000, b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path, opened: Open, content: bytes) -> None:
    file = tmp_path / "cache.db"
    file.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        opened()
    assert from_file(caught.value).code in ("FILE_FOREIGN", "FILE_DAMAGED")
    assert file.read_bytes() == content


def test_a_database_of_somebody_else_is_left_as_it_is(tmp_path: Path, opened: Open) -> None:
    with sqlite3.connect(tmp_path / "cache.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    before = (tmp_path / "cache.db").read_bytes()
    with pytest.raises(ForeignFileError, match="no cache") as caught:
        opened()
    assert from_file(caught.value).code == "FILE_FOREIGN"
    assert (tmp_path / "cache.db").read_bytes() == before


def test_a_later_version_is_left_alone(tmp_path: Path, opened: Open) -> None:
    store = opened()
    store.raw.execute("PRAGMA user_version = 99")
    with pytest.raises(ForeignFileError, match="later version"):
        opened()


def test_many_threads_may_open_a_new_file_at_once(opened: Open) -> None:
    ready = threading.Barrier(8)
    failed: list[BaseException] = []

    def go() -> None:
        try:
            ready.wait()
            opened(timeout=30.0)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


WRITER = """
import sqlite3, sys
from pathlib import Path
from qicore.cache.file_store import SHORT, Entry, FileStore
store = FileStore(Path(sys.argv[1]), "", max_entries=50, max_weight=None, timeout=30.0)
number = int(sys.argv[2])
while True:
    try:
        store.begin()
    except sqlite3.OperationalError:
        continue
    for step in range(5):
        number += 2
        key = f"k{number % 80}"
        store.set(Entry(key, (key + ":").encode() * (number % 3000), 7))
    store.commit()
    if number % 100 < 10:
        store.bring_in()
    print(number, flush=True)
"""


def test_killed_in_the_middle_of_writing_every_value_is_whole(tmp_path: Path, opened: Open) -> None:
    for _ in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path / "cache.db"), str(number)],
                stdout=subprocess.PIPE,
            )
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            for _ in range(10):
                assert writer.stdout.readline()
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
        store = opened(timeout=30.0)
        assert store.raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = keys(store)
        assert 0 < len(found) <= 50
        entries, weight = store.raw.execute("SELECT entries, weight FROM spaces").fetchone()
        assert entries == len(found)
        assert weight == store.raw.execute("SELECT sum(length(value)) FROM entries").fetchone()[0]
        for key in found:
            row = store.get(key)
            assert row is not None
            assert row[0] == (key + ":").encode() * (len(row[0] or b"") // len(key + ":"))
