from typing import assert_type

from qicore.asgi import Asgi, AsgiConfig
from qicore.base import Failure, QiError, Result, Success

assert_type(Asgi.create(AsgiConfig()), Result[Asgi])


def say(result: Result[Asgi]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Asgi)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Asgi) -> None:
    assert_type(await client.close(), Result[None])
