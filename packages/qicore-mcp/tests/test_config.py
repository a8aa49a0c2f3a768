from typing import Any

import pytest
from qicore.base.testing import assert_failure
from qicore.mcp import MCPClient, MCPConfig, MCPServer, MCPServerConfig
from qicore.resilience import RetryConfig


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""), ("version", None), ("timeout", 0), ("timeout", float("nan")), ("connect_timeout", None),
        ("reconnect", None), ("reconnect", RetryConfig(attempts=0)), ("mode", "2024-11-05"),
        ("mode", ["auto"]),
        ("headers", {"A": "b\nc"}), ("headers", None), ("max_message_size", 0), ("max_pages", 1.5),
        ("max_messages", True), ("log_level", "loud"), ("stderr", "log.txt"),
    ],
)  # fmt: skip
def test_each_option_of_a_client_is_checked(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    config = MCPConfig(**options)
    assert assert_failure(config.check(), "INVALID_MCP_CONFIG").message.startswith(name)
    assert_failure(MCPClient.create("http://127.0.0.1/", config), "INVALID_MCP_CONFIG")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", None), ("title", ""), ("instructions", None), ("page_size", 0), ("path", ""),
        ("path", "mcp"),
        ("json_response", "no"), ("stateless", None), ("max_request_size", -1), ("allowed_hosts", ["a"]),
        ("allowed_hosts", "a"), ("allowed_origins", ("",)),
    ],
)  # fmt: skip
def test_each_option_of_a_server_is_checked(name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    config = MCPServerConfig(**options)
    assert assert_failure(config.check(), "INVALID_MCP_CONFIG").message.startswith(name)
    assert_failure(MCPServer.create("x", config), "INVALID_MCP_CONFIG")
    with pytest.raises(ValueError, match=name):
        MCPServer("x", config)


@pytest.mark.parametrize("name", ["", "  ", None, 5])
def test_a_server_needs_a_name(name: Any) -> None:
    assert_failure(MCPServer.create(name), "INVALID_MCP_CONFIG")


def test_secrets_are_not_shown() -> None:
    assert "sesame" not in repr(MCPConfig(headers={"Authorization": "Bearer sesame"}))


def test_a_client_is_made_by_create() -> None:
    nothing: Any = "http://127.0.0.1"
    with pytest.raises(TypeError, match=r"MCPClient\.create"):
        MCPClient(nothing)
