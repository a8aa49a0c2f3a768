"""URLs: what they name, and that nothing of them is ever shown."""

import contextlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.cache.connection import BadURLError, Link, Target, open_link, parse_target
from redis.asyncio import RedisCluster


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Target("server", (("localhost", 6379),))),
        ("redis://cache:7000/3", Target("server", (("cache", 7000),))),
        ("redis://[::1]:7000", Target("server", (("::1", 7000),))),
        ("rediss://cache", Target("server", (("cache", 6379),), tls=True)),
        ("unix:///run/redis.sock?db=2", Target("socket", path="/run/redis.sock")),
        (
            "redis+sentinel://a,b:1/main",
            Target("sentinel", (("a", 26379), ("b", 1)), service="main"),
        ),
        ("rediss+cluster://a:1,b:2", Target("cluster", (("a", 1), ("b", 2)), tls=True)),
    ],
)
def test_every_kind_of_server_has_a_url(url: str, expected: Target) -> None:
    found = parse_target(url)
    assert (found.kind, found.hosts, found.path, found.service, found.tls) == (
        expected.kind,
        expected.hosts,
        expected.path,
        expected.service,
        expected.tls,
    )


def test_credentials_and_the_database_are_options() -> None:
    target = parse_target("redis+sentinel://me:p%40ss@a/main/4?sentinel_password=other&client_name=web")
    assert target.options == {"username": "me", "password": "p@ss", "db": 4, "client_name": "web"}
    assert target.sentinel_options == {"password": "other"}
    assert parse_target("unix://:pw@/run/redis.sock?db=2").options == {"password": "pw", "db": 2}
    assert parse_target("redis+cluster://:pw@a").options == {"password": "pw"}
    assert "p@ss" not in repr(target)
    assert "other" not in repr(target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost",
        "redis://a,b",
        "redis://localhost/zero",
        "redis://localhost/1/2",
        "redis://localhost?db=-1",
        "redis://localhost?socket_timeout=1",
        "redis://localhost?retry_on_timeout=yes",
        "redis://localhost?protocol=2",
        "redis://localhost?decode_responses=yes",
        "redis://localhost?ssl_ca_certs=/x",
        "redis+sentinel://a",
        "redis+cluster://a/1",
        "unix://",
        "unix://host/run/redis.sock",
        "redis://localhost:port",
        "redis://localhost:99999",
        "redis://[::1",
        "redis://:hun/ter2@localhost",
        "redis://:hun?ter2=1@localhost",
        "redis://:hun#ter2@localhost",
        "redis://:hun\u2100ter2@localhost",
    ],
)
def test_a_url_that_can_not_be_one_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(BadURLError) as caught:
        parse_target(url)
    for secret in ("hun", "ter2"):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.__cause__)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text(max_size=40), st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "redis+cluster"]))
def test_no_text_raises_anything_else(text: str, scheme: str) -> None:
    with contextlib.suppress(BadURLError):
        assert parse_target(f"{scheme}://{text}").options.get("db", 0) >= 0


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///run/x.sock", "redis+sentinel://h/main", "redis+cluster://h"]
)
async def test_no_client_ever_sends_a_command_twice_or_has_a_timeout_of_its_own(url: str) -> None:
    link = open_link(parse_target(url), timeout=1.0, max_connections=3)
    client = link.raw
    if isinstance(client, RedisCluster):
        assert client.retry.get_retries() == 0
        options = client.connection_kwargs
    else:
        assert link.spare is not None
        assert cast("Any", link.spare()).retry.get_retries() == 0
        options = client.connection_pool.connection_kwargs
        assert not cast("Any", client.connection_pool).maint_notifications_enabled()
        assert client.connection_pool.max_connections == 3
    assert options["socket_timeout"] is None
    assert options["protocol"] == 3
    await link.close()


async def test_what_fails_to_close_keeps_nothing_else_open() -> None:
    closed: list[str] = []

    class Closer:
        def __init__(self, name: str, error: Exception | None = None) -> None:
            self.name, self.error = name, error

        async def aclose(self) -> None:
            closed.append(self.name)
            if self.error is not None:
                raise self.error

    link = Link(cast("Any", None), (Closer("first", OSError("broken")), Closer("second")))
    with pytest.raises(OSError, match="broken"):
        await link.close()
    assert closed == ["first", "second"]
