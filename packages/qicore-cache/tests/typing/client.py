from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.cache import Cache, CacheConfig

assert_type(Cache.create(CacheConfig()), Result[Cache])


def say(result: Result[Cache]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Cache)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Cache) -> None:
    assert_type(await client.close(), Result[None])
