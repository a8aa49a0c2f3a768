from qicore.mcp import Mcp, McpConfig


async def test_it_closes_once_and_for_all() -> None:
    async with Mcp.create(McpConfig(timeout=1)).unwrap() as client:
        assert not client.closed
    again = await client.close()
    assert (again.is_success, client.closed) == (True, True)
