import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.web.health import HealthCheck, health_routes
from starlette.responses import Response

DOWN = QiError.network("DB_CONNECT_FAILED", "postgres://user:secret@10.0.0.7 is not there", host="10.0.0.7")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Check:
    """A check that counts how often it is asked."""

    def __init__(self, answer: Result[object]) -> None:
        self.answer = answer
        self.asked = 0

    async def __call__(self) -> Result[object]:
        self.asked += 1
        await asyncio.sleep(0)
        return self.answer


def probe(checks: dict[str, HealthCheck], **options: Any) -> Any:
    (_, _), (_, ready) = health_routes(checks, **options)
    return ready


def told(response: Response) -> tuple[int, dict[str, Any]]:
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    return response.status_code, json.loads(bytes(response.body))


async def test_alive_is_who_answers() -> None:
    ((path, live), _) = health_routes({"down": lambda: Failure(DOWN)}, prefix="/internal")
    assert path == "/internal/live"
    assert told(await live()) == (200, {"status": "pass"})


async def test_ready_is_who_has_no_failing_check() -> None:
    ready = probe({"one": lambda: Success(1), "two": Check(Success(2))})
    passing = {"status": "pass"}
    assert told(await ready()) == (200, {"status": "pass", "checks": {"one": passing, "two": passing}})
    assert told(await probe({})()) == (200, {"status": "pass", "checks": {}})


async def boom() -> Result[object]:
    raise RuntimeError("postgres://user:secret@10.0.0.7")


def boom_at_once() -> Result[object]:
    raise ConnectionRefusedError("10.0.0.7:5432")


async def odd() -> Result[object]:
    wrong: Any = True
    return wrong  # type: ignore[no-any-return]  # callers without types


async def cancels() -> Result[object]:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (lambda: Failure(DOWN), "DB_CONNECT_FAILED"),
        (boom, "RUNTIME_ERROR"),
        (boom_at_once, "CONNECTION_REFUSED_ERROR"),
        (odd, "INVALID_CHECK"),
        (lambda: None, "INVALID_CHECK"),
        (cancels, "TIMEOUT_ERROR"),
    ],
)
async def test_a_failing_check_is_named_by_its_code_alone(check: HealthCheck, code: str) -> None:
    response = await probe({"database": check, "other": lambda: Success(1)})()
    status, body = told(response)
    assert (status, body["status"]) == (503, "fail")
    assert body["checks"] == {"database": {"status": "fail", "code": code}, "other": {"status": "pass"}}
    assert b"10.0.0.7" not in response.body
    assert b"secret" not in response.body


async def test_checks_run_at_the_same_time() -> None:
    met = asyncio.Barrier(3)

    async def meet() -> Result[object]:
        await met.wait()
        return Success(None)

    assert told(await probe({"a": meet, "b": meet, "c": meet}, timeout=60)())[0] == 200


async def test_a_check_has_its_time_and_no_more() -> None:
    cancelled = asyncio.Event()

    async def endless() -> Result[object]:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    status, body = told(await probe({"slow": endless, "quick": lambda: Success(1)}, timeout=0.01)())
    assert (status, body["checks"]["slow"]) == (503, {"status": "fail", "code": "TIMEOUT_ERROR"})
    assert body["checks"]["quick"] == {"status": "pass"}
    await asyncio.wait_for(cancelled.wait(), 60)


async def test_a_check_that_is_deaf_to_its_end_is_not_asked_again() -> None:
    started = 0
    end = asyncio.Event()

    async def deaf() -> Result[object]:
        nonlocal started
        started += 1
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()
        return Success(None)

    ready = probe({"deaf": deaf}, timeout=0.01, max_age=0)
    for _ in range(3):
        assert told(await ready())[0] == 503
    assert started == 1
    end.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert told(await ready())[0] == 200


async def test_probes_do_not_hammer() -> None:
    clock, check = Clock(), Check(Success(1))
    ready = probe({"a": check}, clock=clock, max_age=5)
    await asyncio.gather(*(ready() for _ in range(50)))
    assert check.asked == 1, "one round for all who ask meanwhile"
    clock.now += 4.9
    await ready()
    assert check.asked == 1
    check.answer = Failure(DOWN)
    clock.now += 0.2
    assert told(await ready())[0] == 503
    assert check.asked == 2


async def test_a_probe_that_gives_up_leaves_the_round_to_the_others() -> None:
    gate = asyncio.Event()

    async def gated() -> Result[object]:
        await gate.wait()
        return Success(None)

    ready = probe({"a": gated}, timeout=60)
    first, second = asyncio.ensure_future(ready()), asyncio.ensure_future(ready())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert told(await second)[0] == 200
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_is_draining_is_not_ready_whatever_the_checks_say() -> None:
    leaving, check = False, Check(Success(1))
    ready = probe({"a": check}, draining=lambda: leaving)
    assert told(await ready())[0] == 200
    leaving = True
    assert told(await ready()) == (503, {"status": "fail", "reason": "draining"})
    assert check.asked == 1


async def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    check = Check(Failure(DOWN))
    ready = probe({"database": check}, max_age=0)
    with caplog.at_level(logging.INFO, "qicore.web"):
        await ready()
        await ready()
        check.answer = Success(1)
        await ready()
        await ready()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "'database'" in caplog.text


def test_the_same_routes_serve_several_loops() -> None:
    ready = probe({"a": Check(Success(1))}, max_age=0)
    assert [asyncio.run(ready()).status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": float("inf")}, {"max_age": -1}, {"checks": {"a": 1}}]
)
def test_mistakes_of_the_program_are_told_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        health_routes(options.pop("checks", {}), **options)
