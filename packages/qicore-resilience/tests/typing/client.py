from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import Resilience, ResilienceConfig

assert_type(Resilience.create(ResilienceConfig()), Result[Resilience])


def say(result: Result[Resilience]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Resilience)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Resilience) -> None:
    assert_type(await client.close(), Result[None])
