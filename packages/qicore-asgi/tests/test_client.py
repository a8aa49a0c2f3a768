from qicore.asgi import Asgi, AsgiConfig


async def test_it_closes_once_and_for_all() -> None:
    async with Asgi.create(AsgiConfig(timeout=1)).unwrap() as client:
        assert not client.closed
    again = await client.close()
    assert (again.is_success, client.closed) == (True, True)
