from typing import assert_type

from qicore.asgi import Health, Server, ServerConfig, ServerState, Statistics, WorkerInfo
from qicore.base import Result


async def face() -> None:
    created = Server.create("service:app", ServerConfig(workers=2))
    assert_type(created, Result[Server])
    async with created.unwrap() as server:
        assert_type(server.state, ServerState)
        assert_type(server.port, int | None)
        assert_type(server.workers(), Result[tuple[WorkerInfo, ...]])
        assert_type(await server.health(), Result[Health])
        assert_type(await server.reload(), Result[None])
        assert_type(server.reject(), Result[None])
        assert_type(server.statistics, Statistics)
        assert_type(await server.metrics(), str)
        assert_type(await server.shutdown(5), Result[None])
