from typing import assert_type

from qicore.ai import Ai, AiConfig
from qicore.base import Failure, QiError, Result, Success

assert_type(Ai.create(AiConfig()), Result[Ai])


def say(result: Result[Ai]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Ai)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Ai) -> None:
    assert_type(await client.close(), Result[None])
