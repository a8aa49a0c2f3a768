"""The lock by token, on a real Redis, also when the answer is lost."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from qicore.base import Result
from qicore.cache.connection import open_link, parse_target
from qicore.cache.locks import KeyLock
from qicore.cache.wire import ServerWire, Wire
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig
from qicore_testkit.redis_server import RedisServer


@asynccontextmanager
async def wired(url: str, seconds: float = 5.0) -> AsyncGenerator[Wire]:
    link = open_link(parse_target(url), timeout=seconds, max_connections=10)
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1000))
    assert link.spare is not None
    wire = ServerWire(link.spare, timeout=seconds, max_connections=10, breaker=breaker, link=link)
    try:
        yield wire
    finally:
        assert (await wire.close()).is_success


def key_lock(wire: Wire, *, lease: float = 5.0) -> KeyLock:
    return KeyLock(wire, "t:value", "t:lock", lease=lease, width=2)


async def test_one_holds_it_and_the_next_takes_it_when_it_is_given_back(redis_server: RedisServer) -> None:
    async with wired(redis_server.url) as wire:
        first, second = key_lock(wire), key_lock(wire)
        assert (await first.begin(b"")).unwrap() is True
        assert (await second.begin(b"")).unwrap() is False
        assert (await second.release()).unwrap() is False  # it is not its own to give back
        assert (await second.extend()).unwrap() is False
        assert (await first.extend()).unwrap() is True
        assert (await first.release()).unwrap() is True
        assert (await second.begin(b"")).unwrap() is True


async def test_a_value_that_came_meanwhile_is_given_instead_of_the_lock(redis_server: RedisServer) -> None:
    async with wired(redis_server.url) as wire:
        await wire.tell("SET", "t:value", b"v1-new")
        assert (await key_lock(wire).begin(b"")).unwrap() == b"v1-new"
        assert (await key_lock(wire).begin(b"v0")).unwrap() == b"v1-new"
        assert (await key_lock(wire).begin(b"v1")).unwrap() is True  # the very one that is to be replaced


async def test_what_is_stored_is_fenced_by_the_lock(redis_server: RedisServer) -> None:
    async with wired(redis_server.url) as wire:
        slow, quick = key_lock(wire, lease=0.05), key_lock(wire)
        assert (await slow.begin(b"")).unwrap() is True
        # until the lease of the slow one is over
        while (await quick.begin(b"")).unwrap() is not True:  # noqa: ASYNC110 - Redis gives no event
            await asyncio.sleep(0.01)
        assert (await slow.store(b"", b"v0-old", 0)).unwrap() is False
        assert (await quick.store(b"", b"v1-new", 60_000)).unwrap() is True
        assert (await slow.store(b"", b"v0-old", 0)).unwrap() is False
        assert (await wire.ask("GET", "t:value")).unwrap() == b"v1-new"
        assert 0 < (await wire.ask("PTTL", "t:value")).unwrap() <= 60_000
        assert (await wire.ask("EXISTS", "t:lock")).unwrap() == 0


async def test_what_is_stored_does_not_replace_what_was_set_meanwhile(redis_server: RedisServer) -> None:
    async with wired(redis_server.url) as wire:
        holder = key_lock(wire)
        assert (await holder.begin(b"")).unwrap() is True
        await wire.tell("SET", "t:value", b"v1-set by hand")
        assert (await holder.store(b"", b"v0-computed", 0)).unwrap() is False
        assert (await wire.ask("GET", "t:value")).unwrap() == b"v1-set by hand"
        assert (await wire.ask("EXISTS", "t:lock")).unwrap() == 0  # and the lock was given back


async def test_what_expired_meanwhile_is_replaced_and_what_was_removed_is_not(
    redis_server: RedisServer,
) -> None:
    async with wired(redis_server.url) as wire:
        await wire.tell("SET", "t:value", b"v1-old")
        holder = key_lock(wire)
        assert (await holder.begin(b"v1")).unwrap() is True
        await wire.tell("UNLINK", "t:value")  # as Redis does when its time is over
        assert (await holder.store(b"v1", b"v2-new", 0)).unwrap() is True
        assert (await holder.begin(b"v2")).unwrap() is True
        await wire.tell("UNLINK", "t:value", "t:lock")  # as who removes it
        assert (await holder.store(b"v2", b"v3-new", 0)).unwrap() is False


async def test_a_key_of_another_type_counts_as_no_value(redis_server: RedisServer) -> None:
    async with wired(redis_server.url) as wire:
        await wire.tell("RPUSH", "t:value", "a", "b")
        holder = key_lock(wire)
        assert (await holder.begin(b"")).unwrap() is True
        assert (await holder.store(b"", b"v1-value", 0)).unwrap() is True
        assert (await wire.ask("GET", "t:value")).unwrap() == b"v1-value"


async def test_a_lock_whose_answer_is_lost_is_known_by_its_token(redis_server: RedisServer) -> None:
    async with wired(redis_server.url, seconds=0.3) as wire:
        await wire.ask("PING")
        holder = key_lock(wire)
        redis_server.pause()
        beginning = asyncio.create_task(holder.begin(b""))
        await asyncio.sleep(0.35)  # the deadline is over: now it looks whose the lock is
        redis_server.resume()
        assert (await beginning).unwrap() is True
        assert redis_server.calls("eval") == 1
        assert (await key_lock(wire).begin(b"")).unwrap() is False


async def test_a_write_that_ran_into_its_deadline_is_done_once_or_not_at_all(
    redis_server: RedisServer,
) -> None:
    async with wired(redis_server.url, seconds=0.2) as wire:
        await wire.tell("SET", "count", 0)
        redis_server.pause()
        outcomes = [await wire.tell("INCR", "count") for _ in range(3)]
        redis_server.resume()
        assert [outcome.error and outcome.error.code for outcome in outcomes] == ["REDIS_TIMEOUT"] * 3
        assert redis_server.call("GET", "count") in {"0", "1", "2", "3"}
        assert redis_server.calls("incr") == int(redis_server.call("GET", "count")) <= 3


async def test_the_holder_killed_the_lock_is_free_after_its_lease(redis_server: RedisServer) -> None:
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(__file__.rpartition("/")[0])!r})
from test_locks import key_lock, wired
async def main():
    async with wired({redis_server.url!r}) as wire:
        assert (await key_lock(wire, lease=0.3).begin(b"")).unwrap() is True
        print("held", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""
    command = [sys.executable, "-c", script]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - a test may wait
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    async with wired(redis_server.url) as wire:
        taken: Result[bytes | bool] = await key_lock(wire).begin(b"")
        while taken.unwrap() is not True:
            await asyncio.sleep(0.02)
            taken = await key_lock(wire).begin(b"")
        assert (await key_lock(wire).begin(b"")).unwrap() is False
