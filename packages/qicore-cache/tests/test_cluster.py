"""A Cluster of three primaries: slots that move while it is used, and a server that is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Literal

import pytest
from qicore.base import Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.redis_server import RedisServer, free_port, redis_cluster
from redis.crc import key_slot

# The deadline, and what a slow machine may add to it before it wakes who waits.
TIMEOUT, SLACK = 1.0, 10.0
QUICK = CircuitBreakerConfig(failure_threshold=3, reset_timeout=600)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sequence[RedisServer]]:
    with redis_cluster() as nodes:
        yield nodes


@pytest.fixture
def own_nodes() -> Iterator[Sequence[RedisServer]]:
    """A Cluster of the test's own, to kill its servers."""
    with redis_cluster() as nodes:
        yield nodes


async def opened(nodes: Sequence[RedisServer], namespace: str, **options: Any) -> Cache[Any]:
    given: dict[str, Any] = {"timeout": TIMEOUT, "circuit_breaker": None, **options}
    url = "redis+cluster://" + ",".join(node.address for node in nodes)
    return assert_success(await Cache.create_persistent(url, CacheConfig(namespace=namespace, **given)))


@pytest.fixture
async def cache(nodes: Sequence[RedisServer], request: pytest.FixtureRequest) -> AsyncIterator[Cache[Any]]:
    async with await opened(nodes, request.node.name, timeout=10) as cache:
        yield cache


def by_node(nodes: Sequence[RedisServer], namespace: str, each: int) -> list[list[str]]:
    """Return `each` keys that live on the first node, on the second, on the third."""
    found: list[list[str]] = [[], [], []]
    number = 0
    while any(len(keys) < each for keys in found):
        key = str(number)
        keys = found[key_slot(f"{namespace}:{key}".encode()) * 3 // 16384]
        if len(keys) < each:
            keys.append(key)
        number += 1
    return found


def move(
    slot: int, source: RedisServer, target: RedisServer, *, until: Literal["begun", "half", "done"]
) -> None:
    """Move a slot, as `redis-cli --cluster reshard` does, or go only a part of the way."""
    from_id, to_id = source.call("CLUSTER", "MYID"), target.call("CLUSTER", "MYID")
    assert target.call("CLUSTER", "SETSLOT", str(slot), "IMPORTING", from_id) == "OK"
    assert source.call("CLUSTER", "SETSLOT", str(slot), "MIGRATING", to_id) == "OK"
    if until == "begun":
        return
    finish(slot, source, target, half=until == "half")


def finish(slot: int, source: RedisServer, target: RedisServer, *, half: bool = False) -> None:
    """Send what is in the slot, and give it away for good."""
    names = source.call("CLUSTER", "GETKEYSINSLOT", str(slot), "1000").splitlines()
    for name in names[: len(names) // 2] if half else names:
        source.call("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000")
    if half:
        return
    to_id = target.call("CLUSTER", "MYID")
    for server in (target, source):
        assert server.call("CLUSTER", "SETSLOT", str(slot), "NODE", to_id) == "OK"


async def test_keys_are_spread_and_found(cache: Cache[Any], nodes: Sequence[RedisServer]) -> None:
    values = {f"key {number}": number for number in range(300)}
    assert_success(await cache.set_many(values))
    assert all(int(node.call("DBSIZE")) > 0 for node in nodes)
    assert assert_success(await cache.get_many([*values, "other"])) == values
    assert assert_success(await cache.keys()) == sorted(values)
    assert assert_success(await cache.size()) == 300
    assert [assert_success(await cache.get(key)) for key in values] == list(values.values())
    assert assert_success(await cache.remove("key 7")) is True
    assert assert_success(await cache.has("key 7")) is False
    assert assert_success(await cache.get_or_set("key 7", lambda: "new")) == "new"
    assert_success(await cache.clear())
    assert assert_success(await cache.keys()) == []


async def test_slots_move_while_it_is_used(cache: Cache[Any], nodes: Sequence[RedisServer]) -> None:
    namespace = cache.config.namespace
    first = by_node(nodes, namespace, 8)[0]
    done = asyncio.Event()
    count = 0

    async def use(key: str) -> None:
        nonlocal count
        number = 0
        while not done.is_set():
            number += 1
            assert_success(await cache.set(key, number))
            assert assert_success(await cache.get(key)) == number
            assert assert_success(await cache.get_or_set(key, lambda: "never")) == number
            assert assert_success(await cache.get_many([key, "0"]))[key] == number
            assert assert_success(await cache.remove(key)) is True
            assert assert_success(await cache.get_or_set(key, lambda: "made")) == "made"
            count += 1

    using = [asyncio.ensure_future(use(key)) for key in first]
    slots = sorted({key_slot(f"{namespace}:{key}".encode()) for key in first})
    for there, back in ((nodes[0], nodes[1]), (nodes[1], nodes[2]), (nodes[2], nodes[0])):
        for slot in slots:
            await asyncio.to_thread(move, slot, there, back, until="done")
    seen = count
    while count < seen + len(first):
        assert not any(task.done() for task in using)
        await asyncio.sleep(0.01)
    done.set()
    await asyncio.gather(*using)


async def test_what_has_gone_already_is_asked_for_where_it_went(
    cache: Cache[Any], nodes: Sequence[RedisServer]
) -> None:
    namespace = cache.config.namespace
    # Keys of one slot: what is within braces would decide, so they are found by trying.
    first = by_node(nodes, namespace, 1)[0][0]
    slot = key_slot(f"{namespace}:{first}".encode())
    same = [key for key in map(str, range(200_000)) if key_slot(f"{namespace}:{key}".encode()) == slot][:6]
    assert len(same) == 6
    assert_success(await cache.set_many({key: key for key in same}))
    move(slot, nodes[0], nodes[1], until="half")
    try:
        # Half of them are here, half there.
        for key in same:
            assert assert_success(await cache.get(key)) == key
        assert assert_success(await cache.get_many(same)) == {key: key for key in same}
        assert_success(await cache.set_many(dict.fromkeys(same, "new")))
        assert assert_success(await cache.keys()) == sorted(same)
        assert assert_success(await cache.remove(same[0])) is True
        assert assert_success(await cache.remove(same[-1])) is True
    finally:
        finish(slot, nodes[0], nodes[1])
    assert assert_success(await cache.get_many(same)) == dict.fromkeys(same[1:-1], "new")
    move(slot, nodes[1], nodes[0], until="done")


async def test_what_is_computed_while_its_slot_moves_waits_until_it_has_moved(
    cache: Cache[Any], nodes: Sequence[RedisServer]
) -> None:
    namespace = cache.config.namespace
    key = by_node(nodes, namespace, 1)[0][0]
    slot = key_slot(f"{namespace}:{key}".encode())
    move(slot, nodes[0], nodes[1], until="begun")
    # Redis takes no script of two keys while it can't tell whether both are here.
    asking = asyncio.ensure_future(cache.get_or_set(key, lambda: "made"))
    refused = nodes[1].calls("asking")
    while nodes[1].calls("asking") < refused + 3:  # noqa: ASYNC110 - Redis gives no event
        await asyncio.sleep(0.01)
    assert not asking.done()
    finish(slot, nodes[0], nodes[1])
    assert assert_success(await asking) == "made"
    assert assert_success(await cache.get(key)) == "made"
    move(slot, nodes[1], nodes[0], until="done")


async def test_closed_while_a_command_is_redirected_it_connects_to_nobody(
    own_nodes: Sequence[RedisServer],
) -> None:
    there, other = by_node(own_nodes, "shop", 2)[0]
    move(key_slot(f"shop:{there}".encode()), own_nodes[0], own_nodes[1], until="begun")
    cache = await opened(own_nodes[:1], "shop", timeout=60)
    assert_success(await cache.set(other, 1))
    own_nodes[0].pause()
    asking = asyncio.ensure_future(cache.get(there))
    for _ in range(100):  # until it is on its way to the server that has stopped
        await asyncio.sleep(0)
    assert_success(await cache.close())
    own_nodes[0].resume()
    assert_failure(await asking, "CACHE_CLOSED")
    assert own_nodes[1].calls("asking") == 0


@pytest.mark.parametrize("how", ["kill", "pause"])
@pytest.mark.parametrize("breaker", [None, QUICK])
async def test_without_one_server_the_keys_of_the_others_answer(
    own_nodes: Sequence[RedisServer], how: str, breaker: CircuitBreakerConfig | None
) -> None:
    keys = by_node(own_nodes, "shop", 10)
    async with await opened(own_nodes, "shop", circuit_breaker=breaker) as cache:
        assert_success(await cache.set_many({key: key for node in keys for key in node}))
        getattr(own_nodes[1], how)()
        for round_ in range(4):
            lost, began = keys[1][round_], time.monotonic()
            errors = [
                assert_failure(await cache.get(lost)),
                assert_failure(await cache.set(lost, 1)),
                assert_failure(await cache.get_or_set(lost, lambda: 1)),
                assert_failure(await cache.get_many([keys[0][0], lost])),
                assert_failure(await cache.keys()),
            ]
            assert time.monotonic() - began < len(errors) * TIMEOUT + SLACK
            expected = {"CACHE_LOAD_FAILED", "CACHE_WRITE_FAILED", "CIRCUIT_OPEN" if breaker else ""}
            assert {error.code for error in errors} <= expected
            if breaker and round_:
                assert {error.code for error in errors} == {"CIRCUIT_OPEN"}
            for key in (*keys[0], *keys[2]):
                assert assert_success(await cache.get(key)) == key
                assert assert_success(await cache.get_or_set(key, lambda: "never")) == key
                assert_success(await cache.set(key, key))
            assert len(assert_success(await cache.get_many([*keys[0], *keys[2]]))) == 20
            fresh = f"fresh {round_}"
            result = await cache.get_or_set(fresh, lambda: 1)
            home = key_slot(f"shop:{fresh}".encode()) * 3 // 16384
            assert result.is_failure if home == 1 else result == Success(1)


async def test_without_its_server_a_value_is_computed_where_the_policy_is_to_fall_through(
    own_nodes: Sequence[RedisServer],
) -> None:
    keys = by_node(own_nodes, "shop", 2)
    async with await opened(own_nodes, "shop", on_failure="fall_through") as cache:
        own_nodes[2].kill()
        assert assert_success(await cache.get_or_set(keys[2][0], lambda: "made")) == "made"
        assert_failure(await cache.get(keys[2][0]), "CACHE_LOAD_FAILED")
        assert assert_success(await cache.get_or_set(keys[0][0], lambda: "kept")) == "kept"
        assert assert_success(await cache.get(keys[0][0])) == "kept"


async def test_a_server_that_comes_back_is_used_again(own_nodes: Sequence[RedisServer]) -> None:
    keys = by_node(own_nodes, "shop", 1)
    async with await opened(own_nodes, "shop") as cache:
        own_nodes[1].kill()
        assert_failure(await cache.get(keys[1][0]), "CACHE_LOAD_FAILED")
        own_nodes[1].start()
        while (await cache.set(keys[1][0], 1)).is_failure:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
        assert assert_success(await cache.get(keys[1][0])) == 1


def slots_of(node: str, server: RedisServer) -> list[str]:
    """Return the slots that a server believes a node to have."""
    lines = [line.split() for line in server.call("CLUSTER", "NODES").splitlines()]
    return [slot for words in lines if words[:1] == [node] for slot in words[8:]]


async def test_a_replica_takes_the_place_of_its_primary(own_nodes: Sequence[RedisServer]) -> None:
    keys = by_node(own_nodes, "shop", 5)
    options: tuple[str, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    options = (*options, "--cluster-replica-validity-factor", "0", "--cluster-port", str(free_port()))
    with RedisServer(*options) as replica:
        async with await opened(own_nodes, "shop") as cache:
            bus = own_nodes[0].call("CONFIG", "GET", "cluster-port").splitlines()[1]
            primary = own_nodes[1].call("CLUSTER", "MYID")
            while replica.call("CLUSTER", "REPLICATE", primary) != "OK":
                replica.call("CLUSTER", "MEET", "127.0.0.1", str(own_nodes[0].port), bus)
                await asyncio.sleep(0.2)
            assert_success(await cache.set_many({key: key for node in keys for key in node}))
            while "master_link_status:up" not in replica.call("INFO", "replication"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while int(replica.call("DBSIZE")) < 5:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
            # Only who has heard the primary itself knows its slots and its epoch, and can be elected.
            while not slots_of(primary, replica):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
            own_nodes[1].kill()
            while (await cache.get(keys[1][0])).is_failure:
                assert assert_success(await cache.get(keys[0][0])) == keys[0][0]
                await asyncio.sleep(0.05)
            assert len(assert_success(await cache.get_many(key for node in keys for key in node))) == 15
            assert_success(await cache.set(keys[1][1], "new"))


async def test_one_server_of_the_url_is_enough(
    nodes: Sequence[RedisServer], own_nodes: Sequence[RedisServer]
) -> None:
    own_nodes[0].kill()
    own_nodes[1].pause()
    async with await opened(own_nodes, "shop") as cache:
        key = by_node(own_nodes, "shop", 1)[2][0]
        assert_success(await cache.set(key, 1))


async def test_nobody_there_and_a_wrong_password() -> None:
    with RedisServer("--cluster-enabled", "yes", password="correct") as server:
        slots = server.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        assert slots == "OK"
        wrong = await Cache.create_persistent(f"redis+cluster://:hunter2@{server.address}")
        error = assert_failure(wrong, "CACHE_LOAD_FAILED")
        told = str(error.to_structured_data())
        assert "REDIS_DENIED" in told
        assert "hunter2" not in told
        async with assert_success(
            await Cache.create_persistent(f"redis+cluster://:correct@{server.address}")
        ) as cache:
            while (await cache.set("a", 1)).is_failure:  # noqa: ASYNC110 - until the Cluster has begun
                await asyncio.sleep(0.05)
        server.stop()
        nobody = await Cache.create_persistent(f"redis+cluster://:correct@{server.address}")
        told = str(assert_failure(nobody, "CACHE_LOAD_FAILED").to_structured_data())
        assert "REDIS_UNREACHABLE" in told
