import math
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPConfig


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"connect_timeout": -1}, "connect_timeout"),
        ({"read_timeout": math.inf}, "read_timeout"),
        ({"pool_timeout": "1"}, "pool_timeout"),
        ({"keepalive_expiry": 0}, "keepalive_expiry"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_keepalive_connections": -1}, "max_keepalive_connections"),
        ({"max_redirects": 1.5}, "max_redirects"),
        ({"max_response_size": -1}, "max_response_size"),
        ({"base_url": "example.org"}, "base_url"),
        ({"base_url": "ftp://example.org"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://example.org:99999/"}, "base_url"),
        ({"base_url": "http://example.org/v2?key=1"}, "base_url"),
        ({"base_url": "http://example.org/v2#top"}, "base_url"),
        ({"proxy": "gopher://proxy"}, "proxy"),
        ({"allowed_networks": ("10.0.0.0/99",)}, "allowed_networks"),
        ({"verify": "/nowhere/authorities.pem"}, "verify"),
        ({"certificate_key": "/nowhere/key.pem"}, "certificate_key"),
        ({"headers": {"X-Name": "café\nX-Other: 1"}}, "headers"),
        ({"headers": {"X Name": "1"}}, "headers"),
        ({"headers": {"X-Name": 1}}, "headers"),
        ({"headers": {"content-length": "3"}}, "content-length"),
        ({"engine": "urllib"}, "engine"),
        ({"engine": "aiohttp", "http2": True}, "http2"),
        ({"block_private_networks": True, "proxy": "http://proxy:3128"}, "block_private_networks"),
    ],
)
def test_options_that_can_not_work_are_refused(options: dict[str, Any], named: str) -> None:
    error = HTTPConfig(**options).check().error
    assert error is not None
    assert (error.code, error.get_category()) == ("INVALID_HTTP_CONFIG", ErrorCategory.VALIDATION)
    assert named in error.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    error = HTTPConfig(timeout=0, max_connections=0, engine="x").check().error  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as a careless caller
    assert error is not None
    assert error.message.count("; ") == 2


def test_a_repr_shows_no_secret() -> None:
    config = HTTPConfig(
        base_url="https://ann:secret7@example.org",
        headers={"X-Api-Key": "secret1"},
        params={"key": "secret2"},
        cookies={"session": "secret3"},
        auth=("ann", "secret4"),
        proxy="http://ann:secret5@proxy:3128",
        certificate_password="secret6",
    )
    assert "secret" not in repr(config)
