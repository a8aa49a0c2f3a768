"""Each way a server can fail has its code, its reason and a word on whether the request may have arrived."""

import asyncio
import errno
import logging
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import BearerAuth, HTTPClient, HTTPConfig
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import (
    answer,
    answer_then_close,
    bad_chunks,
    drop_after_reading,
    garbage,
    half_body,
    hang,
    reset,
    slow_headers,
)
from qicore_testkit.http_servers import closed_port


async def failed(ask: Any, method: str, url: str, **options: Any) -> Any:
    error = (await ask(method, url, retry=None, **options)).error
    assert error is not None
    return error


NETWORK = ("NETWORK_ERROR", ErrorCategory.NETWORK)
TIMEOUT = ("TIMEOUT_ERROR", ErrorCategory.TIMEOUT)


@pytest.mark.parametrize(
    ("fault", "code", "reasons"),
    [
        (reset(), NETWORK, {"reset"}),
        (drop_after_reading(), NETWORK, {"disconnected"}),
        (garbage(), NETWORK, {"protocol"}),
        (garbage(b"\x00" * 100 + b"\r\n\r\n"), NETWORK, {"protocol"}),
        (garbage(b"HTTP/1.1 2x0 OK\r\n\r\n"), NETWORK, {"protocol"}),
        (garbage(b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n"), NETWORK, {"protocol"}),
        (garbage(b"HTTP/1.1 200 OK\r\nContent-Le"), NETWORK, {"disconnected", "protocol"}),
        (half_body(), NETWORK, {"incomplete"}),
        (half_body(abort=True), NETWORK, {"reset", "incomplete"}),
        (bad_chunks(), NETWORK, {"protocol", "incomplete"}),
        (hang(), TIMEOUT, {"deadline"}),
        (slow_headers(), TIMEOUT, {"deadline"}),
    ],
)
async def test_each_fault_has_its_reason(
    ask: Any, fault: Any, code: Any, reasons: set[str], fault_server: FaultServer
) -> None:
    url = fault_server.on("/", fault)
    error = await failed(ask, "POST", url, content=b"order", timeout=0.2)
    assert (error.code, error.get_category()) == code
    assert error.context["reason"] in reasons
    assert (error.context["sent"], error.context["method"], error.context["url"]) == (True, "POST", url)
    assert fault_server.count("/") == 1


async def test_refused(ask: Any) -> None:
    with closed_port() as port:
        error = await failed(ask, "POST", f"http://127.0.0.1:{port}/", content=b"order")
    assert (error.code, error.get_category()) == NETWORK
    assert (error.context["reason"], error.context["sent"]) == ("refused", False)


async def test_a_name_that_nobody_knows(ask: Any) -> None:
    error = await failed(ask, "POST", "http://no-such-host.invalid/", content=b"order")
    assert (error.code, error.get_category()) == NETWORK
    assert (error.context["reason"], error.context["sent"]) == ("dns", False)


async def test_a_connection_that_is_reset_before_anything_is_read(
    ask: Any, fault_server: FaultServer
) -> None:
    fault_server.on_connect.extend([reset()] * 3)
    error = await failed(ask, "GET", fault_server.on("/", answer(200)))
    assert error.code == "NETWORK_ERROR"
    assert error.context["reason"] in ("connect", "reset", "disconnected"), (
        "whichever the client notices first"
    )
    assert fault_server.requests == []


async def test_no_pool_has_room(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_connections=1, pool_timeout=0.1))
    slow = asyncio.create_task(ask("GET", fault_server.on("/hang", hang()), timeout=0.3))
    await asyncio.sleep(0.05)
    error = await failed(ask, "POST", fault_server.on("/", answer(200)), content=b"order")
    assert (error.code, error.get_category()) == TIMEOUT
    assert (error.context["reason"], error.context["sent"]) == ("pool", False)
    await slow


@contextmanager
def nobody_answers() -> Generator[int]:
    """A port whose queue of connections is full: the system neither accepts nor refuses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: list[socket.socket] = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                waiting.append(one)
                assert one.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


async def test_nobody_answers_the_call(ask: Any) -> None:
    ask.configure(HTTPConfig(connect_timeout=0.15))
    with nobody_answers() as port:
        error = await failed(ask, "POST", f"http://127.0.0.1:{port}/", content=b"order")
    assert (error.code, error.get_category()) == TIMEOUT
    assert (error.context["reason"], error.context["sent"]) == ("connect", False)


async def test_a_proxy_that_is_not_there(ask: Any) -> None:
    with closed_port() as port:
        ask.configure(HTTPConfig(proxy=f"http://ann:marker@127.0.0.1:{port}"))
        for url in ("http://tea.example/", "https://tea.example/"):
            error = await failed(ask, "GET", url)
            assert (error.code, error.context["sent"]) == ("NETWORK_ERROR", False)
            assert "marker" not in str(error.to_structured_data())


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_meets_a_stale_connection_is_not_lost(
    ask: Any, method: str, fault_server: FaultServer
) -> None:
    """Sent once and answered, or a Failure that says whether it may have arrived. Never twice."""
    warm = fault_server.on("/warm", answer_then_close(200))
    url = fault_server.on("/order", answer_then_close(200, b"done"))
    for number in range(30):
        (await ask("GET", warm)).unwrap()
        if number % 3 == 1:
            await asyncio.sleep(0.002)
        before = fault_server.count("/order")
        result = await ask(method, url, content=b"order", retry=None)
        arrived = fault_server.count("/order") - before
        if result.is_success:
            assert arrived == 1
        else:
            assert (result.error.context["sent"], arrived) == (True, 0), "it says that nobody can know"
            (await ask("GET", fault_server.on("/again", answer(200)))).unwrap()


async def test_a_stale_connection_that_can_be_seen_costs_nothing(ask: Any, fault_server: FaultServer) -> None:
    warm = fault_server.on("/warm", answer_then_close(200))
    url = fault_server.on("/order", answer(200))
    for number in range(1, 6):
        (await ask("GET", warm)).unwrap()
        assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)
        await asyncio.sleep(0.01)
        (await ask("POST", url, content=b"order", retry=None)).unwrap()
        assert fault_server.count("/order") == number
        await asyncio.sleep(0)
        fault_server.on("/close", answer_then_close(200))
        (await ask("GET", fault_server.url + "/close")).unwrap()


async def test_a_problem_is_told(ask: Any, fault_server: FaultServer) -> None:
    problem = b'{"type": "https://tea.example/out", "title": "Out of tea", "status": 409, "left": 0}'
    url = fault_server.on("/", answer(409, problem, {"Content-Type": "application/problem+json"}))
    error = await failed(ask, "POST", url, content=b"order")
    assert error.context["problem"]["title"] == "Out of tea"
    assert error.context["problem"]["left"] == 0
    assert (error.code, error.context["status"]) == ("HTTP_ERROR", 409)


@pytest.mark.parametrize(("status", "category"), [(401, "PERMISSION"), (403, "PERMISSION"), (418, "NETWORK")])
async def test_the_body_of_an_error_is_told(
    ask: Any, status: int, category: str, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(status, "kein Tee für Sie".encode(), {"Content-Type": "text/plain"}))
    error = await failed(ask, "GET", url)
    assert (error.code, error.get_category().value) == ("HTTP_ERROR", category)
    assert error.context["body"] == "kein Tee für Sie"
    assert str(status) in error.message


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "INVALID_URL"),
        ("/relative", "INVALID_URL"),
        ("tea.example", "INVALID_URL"),
        ("ftp://tea.example/", "INVALID_URL"),
        ("file:///etc/passwd", "INVALID_URL"),
        ("http://", "INVALID_URL"),
        ("http://[::1", "INVALID_URL"),
        ("http://tea.example:99999999/", "INVALID_URL"),
        ("http://tea.example/\x00", "INVALID_URL"),
        ("http://tea.example/a\r\nX-Evil: 1", "INVALID_URL"),
        ("x" * 100_000, "INVALID_URL"),
        (None, "INVALID_URL"),
        (7, "INVALID_URL"),
        (b"http://tea.example/", "INVALID_URL"),
    ],
)
async def test_what_is_no_url(ask: Any, url: Any, code: str) -> None:
    ask.configure(HTTPConfig(base_url="http://tea.example") if not isinstance(url, str) else HTTPConfig())
    error = await failed(ask, "GET", url)
    assert (error.code, error.get_category()) == (code, ErrorCategory.VALIDATION)
    assert len(str(error)) < 3000


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Name": "a\r\nX-Evil: 1"}},
        {"headers": {"X\nName": "a"}},
        {"headers": {"": "a"}},
        {"headers": {"X-Name": 1}},
        {"cookies": {"a": "b;c=d"}},
        {"cookies": {"a b": "c"}},
        {"json": object()},
        {"json": float("nan")},
        {"json": 1, "content": b"1"},
        {"data": {"a": "b"}, "content": b"1"},
        {"content": {"a": "b"}},
        {"content": 5},
        {"content": [1, 2]},
        {"params": 5},
        {"files": 5},
    ],
)
async def test_what_can_not_be_sent(ask: Any, options: Any, fault_server: FaultServer) -> None:
    error = await failed(ask, "POST", fault_server.on("/", answer(200)), **options)
    assert (error.code, error.get_category()) == ("INVALID_REQUEST", ErrorCategory.VALIDATION)
    assert all(b"Evil" not in request.raw for request in fault_server.requests)


@pytest.mark.parametrize("method", ["", "GET /", "GE T", "GET\r\n", "é"])
async def test_what_is_no_method(ask: Any, method: str, fault_server: FaultServer) -> None:
    error = await failed(ask, method, fault_server.url)
    assert error.code == "INVALID_REQUEST"
    assert fault_server.connections == 0


async def test_what_was_sent_in_part_says_so(ask: Any, fault_server: FaultServer) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 1000
        raise RuntimeError("no more leaves")

    error = await failed(ask, "POST", fault_server.on("/", answer(200)), content=broken())
    assert (error.get_category(), error.context["sent"]) == (ErrorCategory.UNKNOWN, True)
    assert isinstance(error.__cause__, RuntimeError)
    (await ask("GET", fault_server.on("/next", answer(200)))).unwrap()


async def test_no_marker_is_told(
    ask: Any, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No credential, wherever it was put, shows in an error, a repr or a log line, whatever fails."""
    faults: list[Any] = [
        reset(),
        drop_after_reading(),
        garbage(),
        half_body(),
        bad_chunks(),
        hang(),
        answer(401, b"no"),
        answer(503, b"ill"),
    ]
    config = HTTPConfig(
        headers={"X-Api-Key": "MARKER"},
        cookies={"session": "MARKER"},
        auth=("ann", "MARKER"),
        params={"api_key": "MARKER"},
    )
    ask.configure(config)
    seen: list[object] = [repr(config)]
    url = fault_server.url.replace("//", "//ann:MARKER@") + "/MARK?token=MARKER&signature=MARKER"
    with caplog.at_level(logging.DEBUG):
        for fault in faults:
            fault_server.on("/MARK", fault)
            error = (
                await ask(
                    "GET",
                    url,
                    headers={"Authorization": "Bearer MARKER"},
                    auth=BearerAuth("MARKER"),
                    timeout=0.15,
                )
            ).error
            seen += [repr(error), str(error), error.to_structured_data()]
        with closed_port() as port:
            refused = (await ask("GET", f"http://ann:MARKER@127.0.0.1:{port}/?token=MARKER")).error
            seen += [repr(refused), refused.to_structured_data(), repr(refused.__cause__)]
        bad = (await ask("GET", "ftp://ann:MARKER@tea.example/?token=MARKER")).error
        seen += [repr(bad), bad.to_structured_data()]
    assert len(fault_server.requests) >= len(faults)
    assert "MARKER" not in str(seen)
    assert "MARKER" not in caplog.text.replace("/MARK?", "")


@pytest.mark.parametrize(
    "options",
    [
        *({"headers": 5}, {"headers": [1]}, {"cookies": {"a": 1}}, {"cookies": {1: "a"}}, {"cookies": 5}),
        *({"auth": ("a",)}, {"params": "ab"}, {"nonsense": 1}),
    ],
    ids=str,
)
async def test_options_of_wrong_types_raise_nothing(
    ask: Any, options: Any, fault_server: FaultServer
) -> None:
    error = await failed(ask, "POST", fault_server.on("/", answer(200)), **options)
    assert (error.code, fault_server.requests) == ("INVALID_REQUEST", [])


@pytest.mark.parametrize("method", [None, 5, b"GET", ""])
async def test_methods_of_wrong_types_raise_nothing(ask: Any, method: Any, fault_server: FaultServer) -> None:
    error = await failed(ask, method, fault_server.on("/", answer(200)))
    assert (error.code, fault_server.requests) == ("INVALID_REQUEST", [])


async def test_what_is_no_text_is_not_shown(ask: Any) -> None:
    url: Any = b"http://ann:hunter2@tea.example/"
    error = await failed(ask, "GET", url)
    assert "hunter2" not in f"{error!r} {error} {error.to_structured_data()}"


async def test_a_download_needs_a_path(engine: Any, fault_server: FaultServer) -> None:
    nowhere: Any = None
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        error = (await client.download(fault_server.on("/", answer(200)), nowhere)).error
    assert error is not None
    assert (error.code, fault_server.requests) == ("INVALID_REQUEST", [])
