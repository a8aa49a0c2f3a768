import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import rate_limit
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def hello(request: Request) -> Result[Response]:
    return Success(Response("hello"))


def request(client: Any = ("192.0.2.7", 5), **headers: str) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": pairs, "client": client})


async def fields(handler: Any, *args: Any, **headers: str) -> tuple[str | None, str | None]:
    response = (await handler(request(*args, **headers))).unwrap()
    return response.headers.get("ratelimit-policy"), response.headers.get("ratelimit")


async def code(handler: Any, *args: Any, **headers: str) -> str | None:
    error = (await handler(request(*args, **headers))).error
    return None if error is None else error.code


async def test_so_many_and_no_more_until_time_has_passed() -> None:
    clock = Clock()
    handler = rate_limit(2, 60, clock=clock)(hello)
    assert await fields(handler) == ('"default";q=2;w=60', '"default";r=1;t=30')
    assert await fields(handler) == ('"default";q=2;w=60', '"default";r=0;t=60')
    result = await handler(request())
    assert result.error is not None
    assert result.error.code == "RATE_LIMITED"
    assert result.error.context["retry_after"] == 30
    clock.now += 30
    assert await code(handler) is None
    assert await code(handler) == "RATE_LIMITED"


async def test_each_client_has_its_own() -> None:
    handler = rate_limit(1, 60, clock=Clock())(hello)
    assert [await code(handler, (address, 1)) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [
        None, None, "RATE_LIMITED",
    ]  # fmt: skip


async def test_a_customer_with_ipv6_has_one_not_2_to_the_64() -> None:
    handler = rate_limit(1, 60, clock=Clock())(hello)
    addresses = [
        "2001:db8::1",
        "2001:db8::ffff:1",
        "2001:db8:0:1::1",
        "::ffff:192.0.2.1",
        "192.0.2.1",
        "fe80::1%e",
    ]
    found = [await code(handler, (address, 1)) for address in addresses]
    assert found == [None, "RATE_LIMITED", None, None, "RATE_LIMITED", None]


async def test_clients_without_an_address_share_one() -> None:
    handler = rate_limit(1, 60, clock=Clock())(hello)
    assert [await code(handler, client) for client in (None, None)] == [None, "RATE_LIMITED"]


async def test_a_key_of_ones_own_and_none_for_no_limit() -> None:
    handler = rate_limit(1, 60, key=lambda request: request.headers.get("user"), clock=Clock())(hello)
    assert [await code(handler, user="ann"), await code(handler, user="bob")] == [None, None]
    assert await code(handler, user="ann") == "RATE_LIMITED"
    assert [await code(handler) for _ in range(5)] == [None] * 5
    assert await fields(handler) == (None, None)


@pytest.mark.parametrize("secret", ["sk-secret", "sk-secret" * 1000])
async def test_the_key_is_told_to_nobody(secret: str) -> None:
    handler = rate_limit(1, 60, key=lambda request: secret, clock=Clock())(hello)
    await handler(request())
    error = (await handler(request())).error
    assert error is not None
    assert "sk-secret" not in f"{error!r} {error} {error.to_structured_data()} {error.__cause__!r}"


async def test_the_number_of_keys_is_bounded() -> None:
    clock = Clock()
    handler = rate_limit(1, 60, key=lambda request: request.headers["user"], max_keys=2, clock=clock)(hello)
    for number in range(1000):
        assert await code(handler, user=str(number)) is None
    clock.now += 120
    assert await code(handler, user="999") is None


async def test_a_burst_and_a_fraction_of_a_second() -> None:
    handler = rate_limit(10, 0.5, burst=1, name="fast", clock=Clock())(hello)
    assert await fields(handler) == ('"fast";q=10', '"fast";r=0;t=1')
    assert await code(handler) == "RATE_LIMITED"


async def test_failures_and_exceptions_pass_and_count() -> None:
    async def failing(request: Request) -> Result[Response]:
        if "raise" in request.headers:
            raise HTTPException(418, "no")
        return Failure(QiError.timeout("RATE_LIMITED", "by another service", retry_after=7))

    handler = rate_limit(2, 60, clock=Clock())(failing)
    inner = (await handler(request())).error
    assert inner is not None
    assert inner.message == "by another service"
    assert await code(handler, **{"raise": "1"}) == "IM_A_TEAPOT"
    assert (await handler(request())).error != inner


async def test_two_policies_tell_both_and_a_shared_response_does_not_grow() -> None:
    shared = Response("hello")

    async def same(request: Request) -> Result[Response]:
        return Success(shared)

    slow = rate_limit(100, 60, name="slow", clock=Clock())
    handler = slow(rate_limit(10, 1, name="fast", clock=Clock())(same))
    for _ in range(2):
        await handler(request())
    policy, left = await fields(handler)
    assert policy == '"fast";q=10;w=1, "slow";q=100;w=60'
    assert left == '"fast";r=7;t=1, "slow";r=97;t=2'


async def test_one_limit_for_all_routes_that_use_it(ask: Any) -> None:
    app = WebApp()
    app.use(rate_limit(2, 3600))

    @app.get("/one")
    async def one() -> Result[int]:
        return Success(1)

    @app.get("/two")
    async def two() -> Result[int]:
        return Success(2)

    await ask(app, path="/one")
    assert (await ask(app, path="/two")).get("ratelimit") == '"default";r=0;t=3600'
    refused = await ask(app, path="/one")
    assert refused.status == 429
    assert refused.get("content-type") == "application/problem+json"
    assert 1790 < int(refused.get("retry-after")) <= 1800
    assert refused.get("ratelimit-policy") == '"default";q=2;w=3600'
    assert refused.get("ratelimit").startswith('"default";r=0;t=1')
    assert b'"retry_after"' in refused.body
    assert b"192.0.2.7" not in refused.body


async def test_a_cancelled_request_passes_on() -> None:
    async def slow(request: Request) -> Result[Response]:
        await asyncio.sleep(60)
        return Success(Response())

    call: Any = rate_limit(1)(slow)(request())
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_in_any_time_no_more_pass_than_promised(waits: list[float], limit: int, burst: int) -> None:
    clock = Clock()
    handler = rate_limit(limit, 10, burst=burst, clock=clock)(hello)
    passed: list[float] = []

    async def run() -> None:
        for wait in waits:
            clock.now += wait
            if await code(handler) is None:
                passed.append(clock.now)

    asyncio.run(run())
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - start) * limit / 10 + 1e-6


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"limit": 1.5}, {"period": 0}, {"burst": 0}, {"max_keys": 0}, {"name": 'a"b'},
     {"name": ""}, {"name": "a\r\nb"}, {"limit": True}, {"limit": 10**12}],
)  # fmt: skip
def test_wrong_options(options: Any) -> None:
    with pytest.raises(ValueError):
        rate_limit(**cast("Any", {"limit": 1, **options}))
