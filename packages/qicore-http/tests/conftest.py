from typing import Any

import pytest
from qicore_testkit.http_servers import certificates, fault_server, httpbin_url, proxy, tls_server

__all__ = ["certificates", "engine", "fault_server", "httpbin_url", "proxy", "tls_server"]


@pytest.fixture(params=["httpx", "httpx2", "aiohttp"])
def engine(request: pytest.FixtureRequest) -> Any:
    """Each engine in turn."""
    return request.param
