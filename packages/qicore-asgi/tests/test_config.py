from typing import Any

import pytest
from qicore.asgi import Server, ServerConfig
from qicore.base import ErrorCategory


async def app(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"port": True}, "port"),
        ({"port": "80"}, "port"),
        ({"host": 5}, "host"),
        ({"host": "a\0b"}, "host"),
        ({"uds": ""}, "uds"),
        ({"uds": "\0abstract"}, "uds"),
        ({"certfile": "\0"}, "certfile"),
        ({"root_path": "/ä"}, "root_path"),
        ({"workers": -1}, "workers"),
        ({"queue": -1}, "queue"),
        ({"backlog": 0}, "backlog"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_connections": 1.5}, "max_connections"),
        ({"max_requests": 0}, "max_requests"),
        ({"keep_alive": 0}, "keep_alive"),
        ({"header_timeout": float("nan")}, "header_timeout"),
        ({"body_timeout": float("inf")}, "body_timeout"),
        ({"drain_timeout": -1}, "drain_timeout"),
        ({"retry_after": "soon"}, "retry_after"),
        ({"loop": "trio"}, "loop"),
        ({"http": "zttp"}, "http"),
        ({"keyfile": "key.pem"}, "certfile"),
        ({"ca_certs": "ca.pem"}, "certfile"),
        ({"heartbeat": 5, "stuck_after": 10}, "stuck_after"),
        ({"restart_backoff": 60}, "restart_backoff"),
        ({"reload": True}, "reload"),
        ({"reload": "yes"}, "reload"),
        ({"trusted_proxies": "10.0.0.1"}, "trusted_proxies"),
        ({"trusted_proxies": 5}, "trusted_proxies"),
        ({"reload_dirs": [1]}, "reload_dirs"),
        ({"max_header_size": 1}, "max_header_size"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], told: str) -> None:
    error = ServerConfig(**options).check().error
    assert error is not None
    assert (error.code, error.category) == ("INVALID_ASGI_CONFIG", ErrorCategory.VALIDATION)
    assert told in error.message
    assert Server.create(app, ServerConfig(**options)).error == error
    with pytest.raises(ValueError, match=told):
        Server(app, ServerConfig(**options))


def test_all_that_is_wrong_is_named_at_once() -> None:
    error = ServerConfig(port=-1, queue=-1).check().error
    assert error is not None
    assert "port" in error.message
    assert "queue" in error.message


def test_workers_need_a_name() -> None:
    error = Server.create(app, ServerConfig(workers=1)).error
    assert error is not None
    assert "module:attribute" in error.message


@pytest.mark.parametrize("given", [5, None, b"service:app"])
def test_what_is_no_application(given: Any) -> None:
    error = Server.create(given).error
    assert error is not None
    assert error.code == "INVALID_ASGI_CONFIG"


def test_something_else_is_no_config() -> None:
    wrong: Any = {"port": 80}
    error = Server.create(app, wrong).error
    assert error is not None
    assert error.code == "INVALID_ASGI_CONFIG"


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(ServerConfig(certfile="c.pem", keyfile_password="hunter2"))
    assert repr(ServerConfig(port=1)) == "ServerConfig(port=1)"
