from qicore.http import HTTPClient, HTTPConfig


async def test_it_closes_once_and_for_all() -> None:
    async with HTTPClient.create(HTTPConfig(timeout=1)).unwrap() as client:
        assert not client.closed
    again = await client.close()
    assert (again.is_success, client.closed) == (True, True)
    refused = (await client.get("http://127.0.0.1/")).error
    assert refused is not None
    assert refused.code == "INVALID_REQUEST"
