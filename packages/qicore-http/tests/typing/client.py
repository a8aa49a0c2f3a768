from typing import assert_type

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http import HTTPClient, HTTPConfig

assert_type(HTTPClient.create(HTTPConfig()), Result[HTTPClient])


def say(result: Result[HTTPClient]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, HTTPClient)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def use(client: HTTPClient) -> None:
    assert_type(await client.get("https://example.org", params={"q": "tea"}), Result[httpx.Response])
    assert_type(await client.close(), Result[None])
