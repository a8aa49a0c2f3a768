"""The connection that hears of changes: what it hears, and that nothing is trusted when it is deaf."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from qicore.cache.connection import open_link, parse_target
from qicore.cache.invalidation import Listener
from qicore_testkit.redis_server import RedisServer


class Heard:
    """What a listener told, and how long it may be trusted."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.resets = 0

    def on_keys(self, keys: Sequence[bytes]) -> None:
        self.keys += keys

    def on_reset(self) -> None:
        self.resets += 1


@asynccontextmanager
async def listening(
    url: str, heard: Heard, *, max_staleness: float = 30.0, clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[Listener]:
    link = open_link(parse_target(url), timeout=5, max_connections=5)
    assert link.spare is not None
    listener = Listener(
        link.spare,
        b"shop:",
        max_staleness=max_staleness,
        clock=clock,
        on_keys=heard.on_keys,
        on_reset=heard.on_reset,
    )
    try:
        await listener.start(5)
        yield listener
    finally:
        await listener.close()
        await link.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - it looks at what a server in another process does
        await asyncio.sleep(0.005)


def trusted(listener: Listener) -> bool:
    return time.monotonic() < listener.trusted_until


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_it_hears_of_every_change_in_its_namespace_and_of_no_other(
    redis_server: RedisServer, over: str
) -> None:
    heard = Heard()
    async with listening(redis_server.url if over == "tcp" else redis_server.unix_url, heard) as listener:
        assert trusted(listener)
        redis_server.call("SET", "shop:a", "1")
        redis_server.call("SET", "shopping:a", "1")
        redis_server.call("DEL", "shop:a")
        redis_server.call("SET", "shop:b", "1", "PX", "1")
        redis_server.call("SET", "shop:last", "1")
        await until(lambda: b"shop:last" in heard.keys)
        assert heard.keys.count(b"shop:a") == 2
        assert heard.keys.count(b"shop:b") in {1, 2}  # it may have expired already
        assert set(heard.keys) == {b"shop:a", b"shop:b", b"shop:last"}
        before = heard.resets
        redis_server.call("FLUSHALL")
        await until(lambda: heard.resets > before)
        assert trusted(listener)
    assert not trusted(listener)


async def test_a_lost_connection_ends_all_trust_at_once_and_is_made_anew(redis_server: RedisServer) -> None:
    heard = Heard()
    async with listening(redis_server.url, heard) as listener:
        before = heard.resets
        redis_server.call("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: not trusted(listener))
        assert heard.resets > before
        await until(lambda: trusted(listener))
        redis_server.call("SET", "shop:a", "1")
        await until(lambda: b"shop:a" in heard.keys)


async def test_it_outlives_a_restart_of_the_server(redis_server: RedisServer) -> None:
    heard = Heard()
    async with listening(redis_server.url, heard) as listener:
        await asyncio.to_thread(redis_server.stop)
        await until(lambda: not trusted(listener))
        await asyncio.to_thread(redis_server.start)
        await until(lambda: trusted(listener))
        redis_server.call("SET", "shop:a", "1")
        await until(lambda: b"shop:a" in heard.keys)


async def test_a_server_that_is_not_there_is_not_trusted_and_is_looked_for(redis_server: RedisServer) -> None:
    heard = Heard()
    redis_server.stop()
    link = open_link(parse_target(redis_server.url), timeout=5, max_connections=5)
    assert link.spare is not None
    listener = Listener(
        link.spare, b"shop:", max_staleness=30.0, clock=time.monotonic,
        on_keys=heard.on_keys, on_reset=heard.on_reset,
    )  # fmt: skip
    assert await listener.start(0.2) is False
    assert not trusted(listener)
    await asyncio.to_thread(redis_server.start)
    await until(lambda: trusted(listener))
    await listener.close()
    await link.close()


async def test_trust_ends_with_the_last_sign_of_life_though_the_connection_stays_open(
    redis_server: RedisServer,
) -> None:
    heard = Heard()
    async with listening(redis_server.url, heard, max_staleness=0.3) as listener:
        first = listener.trusted_until
        await until(lambda: listener.trusted_until > first)  # it asks, and is answered
        redis_server.pause()
        stalled = time.monotonic()
        latest = listener.trusted_until
        while trusted(listener):
            await asyncio.sleep(0.005)
            latest = max(latest, listener.trusted_until)
        # The last PING that was answered was sent before the server stalled.
        assert latest <= stalled + 0.3
        redis_server.resume()
        await until(lambda: trusted(listener))


async def test_it_stays_trusted_while_there_is_nothing_to_hear(redis_server: RedisServer) -> None:
    heard = Heard()
    async with listening(redis_server.url, heard, max_staleness=0.6) as listener:
        resets = heard.resets
        first = listener.trusted_until
        await until(lambda: listener.trusted_until > first + 1.2)
        assert heard.resets == resets


async def test_a_stream_of_changes_does_not_keep_it_from_asking(redis_server: RedisServer) -> None:
    heard = Heard()
    async with listening(redis_server.url, heard, max_staleness=0.6) as listener:
        link = open_link(parse_target(redis_server.url), timeout=5, max_connections=5)
        first = listener.trusted_until
        while listener.trusted_until < first + 1.0:
            pipeline: Any = link.raw.pipeline(transaction=False)
            for index in range(200):
                pipeline.execute_command("SET", f"shop:{index}", 1)
            await pipeline.execute()
        await link.close()
        await until(lambda: b"shop:199" in heard.keys)
