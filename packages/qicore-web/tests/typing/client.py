from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.web import Web, WebConfig

assert_type(Web.create(WebConfig()), Result[Web])


def say(result: Result[Web]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Web)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Web) -> None:
    assert_type(await client.close(), Result[None])
