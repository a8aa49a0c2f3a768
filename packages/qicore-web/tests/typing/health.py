"""What a health check may be; type-checked, never run."""

from collections.abc import Awaitable
from typing import assert_type

from qicore.base import Result, Success
from qicore.web.health import HealthCheck, Readiness


async def database() -> Result[int]:
    return Success(1)


def disk() -> Result[None]:
    return Success(None)


def remote() -> Awaitable[Result[str]]:
    raise AssertionError


class Client:
    async def ping(self) -> Result[bool]:
        return Success(True)


checks: dict[str, HealthCheck] = {
    "database": database,
    "disk": disk,
    "remote": remote,
    "client": Client().ping,
    "lambda": lambda: Success("fine"),
}


async def main() -> None:
    assert_type(await Readiness(checks).failures(), dict[str, str])
