import asyncio
import logging
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.web.middleware import response_cache
from qicore.web.middleware.cache_entries import Kept, Names, pack, unpack
from qicore.web.middleware.cache_rules import Directives, names_in_vary
from qicore.web.middleware.cache_stores import BytesStore, Distant, Near
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FIELDS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5).map(tuple)
KEPT = st.builds(
    Kept,
    st.integers(200, 599),
    FIELDS,
    st.binary(max_size=200),
    st.floats(0, 1e10),
    st.floats(0, 1e10),
    st.booleans(),
)


@given(KEPT | st.builds(Names, st.lists(st.binary(max_size=20), max_size=8).map(tuple), st.text()))
def test_what_is_packed_can_be_unpacked(item: Any) -> None:
    assert unpack(pack(item)) == item


@given(KEPT, st.data())
def test_what_was_damaged_is_a_miss(item: Any, data: Any) -> None:
    packed = bytearray(pack(item))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(packed)) is None
    assert unpack(bytes(packed[:place])) is None


@given(st.binary())
def test_anything_else_is_a_miss(data: bytes) -> None:
    assert unpack(data) is None
    assert unpack(None) is None
    assert unpack("text") is None


@given(st.binary(max_size=200))
def test_directives_of_anything(text: bytes) -> None:
    seconds = Directives(text).seconds(b"max-age")
    assert seconds is None or 0 <= seconds <= 2**31
    names = names_in_vary([(b"vary", text)])
    assert names is None or (len(names) <= 8 and b"*" not in names and names == tuple(sorted(set(names))))


class Remote:
    """A store that answers later, and as it is told."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.fault: Any = None
        self.ttls: list[float | None] = []

    async def _answer(self, result: Result[Any]) -> Result[Any]:
        await asyncio.sleep(0)
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault == "hang":
            await asyncio.sleep(3600)
        return result if self.fault is None else cast("Result[Any]", self.fault)

    async def get(self, key: str, /) -> Result[Any]:
        found = self.values.get(key)
        missing = Failure(QiError.cache("KEY_NOT_FOUND", "no such key"))
        return await self._answer(missing if found is None else Success(found))

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[Any]:
        self.ttls.append(ttl)
        self.values[key] = value
        return await self._answer(Success(None))

    async def remove(self, key: str, /) -> Result[Any]:
        self.values.pop(key, None)
        return await self._answer(Success(True))


def request(method: str = "GET", **headers: str) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": pairs})


class Site:
    def __init__(self, store: BytesStore, vary: str = "", patience: float = 60) -> None:
        self.asked = 0
        self.headers = {"cache-control": "max-age=60", **({"vary": vary} if vary else {})}
        self.ask = response_cache(store=store, patience=patience, clock=lambda: 1e9)(self.handle)

    async def handle(self, request: Request) -> Result[Response]:
        self.asked += 1
        return Success(PlainTextResponse(f"{self.asked}", headers=self.headers))

    async def texts(self, count: int, **headers: str) -> list[bytes]:
        return [bytes((await self.ask(request(**headers))).unwrap().body) for _ in range(count)]


async def test_two_workers_share_what_lies_in_one_store() -> None:
    store = Remote()
    assert await Site(store).texts(1) == [b"1"]
    other = Site(store)
    assert await other.texts(2) == [b"1", b"1"]
    assert other.asked == 0
    assert store.ttls == [60]
    assert all(key.startswith("qicore-web:") and key.isascii() for key in store.values)


FAULTS = [
    Failure(QiError.network("NETWORK_ERROR", "redis://user:secret@10.0.0.7")),
    RuntimeError("redis://user:secret@10.0.0.7"),
    Success(b"damaged"),
    Success(None),
    Success("text"),
    "no result",
    None.__class__,
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_a_store_that_fails_is_done_without(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = Remote()
    store.fault = fault
    assert await Site(store).texts(2) == [b"1", b"2"]
    assert "secret" not in caplog.text


async def test_a_store_that_hangs_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    store = Remote()
    store.fault = "hang"
    with caplog.at_level(logging.WARNING, "qicore.web.cache"):
        assert await Site(store, patience=0.01).texts(1) == [b"1"]
    assert "the store of the response cache failed" in caplog.text


async def test_a_cancellation_is_not_taken_for_a_fault() -> None:
    store = Remote()
    store.fault = "hang"
    task = asyncio.create_task(Distant(store, 60).get("key"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3000)), max_size=40))
def test_the_near_store_never_holds_more_than_it_may(puts: list[tuple[str, int]]) -> None:
    async def run() -> None:
        near = Near(3, 4000, lambda: 0.0)
        last: dict[str, int] = {}
        for key, size in puts:
            await near.put(key, Kept(200, (), b"x" * size, 0.0, 60.0, False), 60.0)
            last[key] = size
            held = [item for name in "abcd" if isinstance(item := await near.get(name), Kept)]
            assert len(held) <= 3
            assert sum(item.size for item in held) <= 4000
            found = await near.get(key)
            assert found is None or (isinstance(found, Kept) and len(found.body) == last[key])

    asyncio.run(run())
