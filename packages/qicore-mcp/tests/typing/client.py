from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.mcp import Mcp, McpConfig

assert_type(Mcp.create(McpConfig()), Result[Mcp])


def say(result: Result[Mcp]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, Mcp)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def close(client: Mcp) -> None:
    assert_type(await client.close(), Result[None])
