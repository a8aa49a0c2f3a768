from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.http import Http, HttpConfig

assert_type(Http.create(HttpConfig()), Result[Http])


def say(result: Result[Http]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Http)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Http) -> None:
    assert_type(await client.close(), Result[None])
