import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qicore.cache.errors import ForeignFileError, from_file
from qicore.cache.file_store import Entry, FileStore


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
        namespace: str = "", *, max_entries: int = 100, max_weight: int | None = None, timeout: float = 5.0
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
    store.begin()
    for entry in entries:
        store.set(entry)
    store.commit()


def entry(key: str, value: bytes = b"v", until: int | None = None, weight: int = 1) -> Entry:
    return Entry(key, value, until, weight)


def test_what_is_written_is_read_by_another(opened: Open) -> None:
    write(opened(), entry("a", b"\0\xff" * 1000))
    assert opened().get("a") == b"\0\xff" * 1000


def test_an_entry_is_gone_when_its_time_is_over(opened: Open, clock: Clock) -> None:
    store = opened()
    write(store, entry("a", until=1_000_500), entry("b"))
    assert (store.get("a"), store.has("a"), store.keys(), store.size()) == (b"v", True, ["b", "a"][::-1], 2)
    clock.now += 0.5
    assert (store.get("a"), store.has("a"), store.keys(), store.size()) == (None, False, ["b"], 1)
    store.begin()
    assert store.remove("a") is False
    assert store.remove("b") is True
    store.commit()


def test_the_least_recently_used_goes_first(opened: Open) -> None:
    store = opened(max_entries=3)
    write(store, entry("a"), entry("b"), entry("c"))
    store.get("a")
    assert store.has("b")
    write(store, entry("d"))
    assert store.keys() == ["c", "a", "d"]
    assert store.evicted == 1
    write(store, entry("c", b"new"), entry("e"))
    assert store.keys() == ["d", "c", "e"]


def test_what_is_over_goes_before_what_is_used_least(opened: Open, clock: Clock) -> None:
    store = opened(max_entries=2)
    write(store, entry("old"), entry("over", until=1_000_100))
    clock.now += 1
    write(store, entry("new"))
    assert store.keys() == ["old", "new"]
    assert (store.expired, store.evicted) == (1, 0)


def test_weight_is_bounded_too(opened: Open) -> None:
    store = opened(max_weight=10)
    write(store, entry("a", weight=4), entry("b", weight=4), entry("c", weight=4))
    assert store.keys() == ["b", "c"]
    write(store, entry("b", weight=9))
    assert store.keys() == ["b"]
    write(store, entry("d", weight=11))
    assert store.keys() == []


def test_namespaces_share_the_file_and_nothing_else(opened: Open) -> None:
    one, other = opened("one", max_entries=2), opened("other", max_entries=2)
    write(one, entry("a", b"1"), entry("b"))
    write(other, entry("a", b"2"))
    assert (one.get("a"), other.get("a")) == (b"1", b"2")
    assert (one.size(), other.size()) == (2, 1)
    one.begin()
    one.clear()
    one.commit()
    assert (one.size(), other.size()) == (0, 1)


def test_uses_are_told_to_other_processes_when_the_file_is_closed(opened: Open) -> None:
    store = opened()
    write(store, entry("a"), entry("b"))
    store.get("a")
    store.close()
    assert opened().keys() == ["b", "a"]


def test_a_lock_has_one_holder_until_its_lease_is_over(opened: Open, clock: Clock) -> None:
    one, other = opened(), opened()
    assert one.lock("k", b"1", 10.0)
    assert not other.lock("k", b"2", 10.0)
    assert one.lock("k", b"1", 10.0)
    assert one.holds("k", b"1")
    assert not other.unlock("k", b"2")
    clock.now += 10.1
    assert other.lock("k", b"2", 10.0)
    assert not one.holds("k", b"1")
    assert not one.unlock("k", b"1")
    assert other.unlock("k", b"2")
    assert one.lock("k", b"1", 10.0)


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
            opened()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


WRITER = """
import sys
from pathlib import Path
from qicore.cache.file_store import Entry, FileStore
store = FileStore(Path(sys.argv[1]), "", max_entries=50, max_weight=None, timeout=30.0)
number = int(sys.argv[2])
while True:
    store.begin()
    for step in range(5):
        number += 2
        key = f"k{number % 80}"
        store.set(Entry(key, (key + ":").encode() * (number % 3000), None, 1))
    store.commit()
    print(number, flush=True)
"""


def test_killed_in_the_middle_of_writing_every_value_is_whole(tmp_path: Path, opened: Open) -> None:
    for _ in range(5):
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
        store = opened()
        assert store.raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        keys = store.keys()
        assert 0 < len(keys) <= 50
        assert store.raw.execute("SELECT entries, weight FROM totals").fetchone() == (len(keys), len(keys))
        for key in keys:
            value = store.get(key)
            assert value is not None
            assert value == (key + ":").encode() * value.count(b":")
