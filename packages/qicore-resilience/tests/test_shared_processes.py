"""A fleet of real processes over a real Redis, which is killed, restarted and stalled."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qicore_testkit.redis_server import RedisServer

from .fleet_processes import Node, until

Starts = Callable[..., list[Node]]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def start(server: RedisServer) -> Iterator[Starts]:
    nodes: list[Node] = []

    def starts(count: int, **options: Any) -> list[Node]:
        given = {"failure_threshold": 4, "reset_timeout": 1.0, "monitoring_period": 600, **options}
        made = [Node(server.url, **given) for _ in range(count)]
        nodes.extend(made)
        for node in made:
            assert node.tell("wait") is True
        return made

    yield starts
    for node in nodes:
        node.kill()


def all_are(nodes: list[Node], state: str) -> bool:
    return all(node.state == state for node in nodes)


def first_admitted(nodes: list[Node]) -> Node:
    """Ask one after the other, until one has a permit, which it keeps."""
    found: list[Node] = []

    def one_is() -> bool:
        found.extend(itertools.islice((node for node in nodes if node.tell("admit")), 1))
        return bool(found)

    until(one_is)
    return found[0]


def test_what_fails_here_and_there_opens_it_everywhere(start: Starts) -> None:
    nodes = start(4, reset_timeout=600)
    for node in nodes:
        assert node.tell("fail") == "NETWORK_ERROR"
    until(lambda: all_are(nodes, "OPEN"))
    assert [node.tell("fail") for node in nodes] == ["CIRCUIT_OPEN"] * 4
    late = start(1, reset_timeout=600)  # who comes later knows it, too
    until(lambda: all_are(late, "OPEN"))
    nodes[2].tell("close")
    until(lambda: all_are([*nodes, *late], "CLOSED"))
    for node in [*nodes, *late]:
        node.end()


def test_exactly_so_many_probes_in_the_whole_fleet(start: Starts) -> None:
    nodes = start(4, half_open_requests=3, reset_timeout=0.3)
    nodes[0].tell("open")
    nodes[0].tell("close")
    for _ in range(2):
        for _ in range(4):
            nodes[0].tell("fail")
        until(lambda: not any(node.state == "CLOSED" for node in nodes))
        admitted: list[Node] = []

        def try_all() -> bool:
            admitted.extend(node for node in nodes if node.tell("admit"))  # noqa: B023 - called here only
            return len(admitted) >= 3  # noqa: B023

        until(try_all)
        for _ in range(40):  # however often anybody asks
            assert not any(node.tell("admit") for node in nodes)
        assert len(admitted) == 3
        assert len(set(map(id, admitted))) == 1, "one process sends all probes"
        for node in admitted:
            node.tell("success")
        until(lambda: all_are(nodes, "CLOSED"))


def test_a_probe_that_fails_opens_it_everywhere_for_as_long_again(start: Starts) -> None:
    nodes = start(3, half_open_requests=1, reset_timeout=0.3)
    for _ in range(4):
        nodes[0].tell("fail")
    until(lambda: not any(node.state == "CLOSED" for node in nodes))
    probing = first_admitted(nodes)
    probing.tell("failure")
    assert probing.state != "CLOSED"
    first_admitted(nodes).tell("success")
    until(lambda: all_are(nodes, "CLOSED"))


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_when_the_one_that_leads_dies_or_stalls_another_does(start: Starts, how: str) -> None:
    nodes = start(3, half_open_requests=2, reset_timeout=0.3)
    for _ in range(4):
        nodes[0].tell("fail")
    until(lambda: not any(node.state == "CLOSED" for node in nodes))
    leading = first_admitted(nodes)
    others = [node for node in nodes if node is not leading]
    assert not any(node.tell("admit") for node in others)
    getattr(leading, how)()
    until(lambda: any(node.tell("succeed") for node in others))
    until(lambda: any(node.tell("succeed") for node in others))
    until(lambda: all_are(others, "CLOSED"))
    if how == "pause":
        leading.resume()
        until(lambda: leading.state == "CLOSED")
        leading.tell("failure")  # of a probe that the fleet has long forgotten
        assert leading.state == "CLOSED"


def test_who_has_calls_to_make_gets_the_lead_of_who_has_none(start: Starts) -> None:
    idle, busy = start(2, half_open_requests=1, reset_timeout=0.2)
    for _ in range(4):
        idle.tell("fail")
    until(lambda: busy.state == "HALF_OPEN")
    # Nobody asks: one of them gets the lead nevertheless. Then only the other has calls.
    time.sleep(1)
    until(lambda: busy.tell("succeed"))
    until(lambda: all_are([idle, busy], "CLOSED"))


def test_without_redis_each_decides_alone_and_with_it_they_agree_again(
    start: Starts, server: RedisServer
) -> None:
    one, other = nodes = start(2, reset_timeout=600)
    server.kill()
    until(lambda: not any(node.tell("connected") for node in nodes))
    for _ in range(4):
        assert one.tell("fail") == "NETWORK_ERROR"
    assert one.state == "OPEN"
    assert other.tell("succeed") is True
    assert other.state == "CLOSED"
    server.start()  # it knows nothing any more
    until(lambda: all_are(nodes, "OPEN"))
    server.kill()
    until(lambda: not any(node.tell("connected") for node in nodes))
    assert all_are(nodes, "OPEN")
    one.tell("close")
    assert (one.state, other.state) == ("CLOSED", "OPEN")
    server.start()  # what was done by hand is told, whoever comes first
    until(lambda: all_are(nodes, "CLOSED"))


def test_alone_it_also_tries_and_closes(start: Starts, server: RedisServer) -> None:
    (node,) = start(1, half_open_requests=2, reset_timeout=0.1)
    server.kill()
    until(lambda: not node.tell("connected"))
    for _ in range(4):
        node.tell("fail")
    until(lambda: node.tell("succeed"))
    assert node.tell("succeed") is True
    assert node.state == "CLOSED"


def test_a_redis_that_hangs_holds_up_no_call(start: Starts, server: RedisServer) -> None:
    one, other = nodes = start(2, reset_timeout=0.2, half_open_requests=1)
    server.pause()
    began = time.monotonic()
    for _ in range(4):
        assert one.tell("fail") == "NETWORK_ERROR"  # counted here, told to nobody
    assert one.state != "CLOSED"
    for _ in range(300):
        assert other.tell("succeed") is True
    assert time.monotonic() - began < 20, "300 waits of a second each would be 300"
    until(lambda: one.tell("succeed"))  # it finds out that it is alone, and tries
    assert one.state == "CLOSED"
    server.resume()
    until(lambda: all(node.tell("connected") for node in nodes))
    one.tell("open")
    until(lambda: other.state == "OPEN")
