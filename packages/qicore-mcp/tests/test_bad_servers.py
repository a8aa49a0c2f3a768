"""Servers that are none, or odd ones: each gives a clear Failure, and leaves nothing behind."""

import asyncio
import gzip
import json
import socket
import sys
from typing import Any

import pytest
from mcp import StdioServerParameters
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, MCPConfig
from qicore.resilience import RetryConfig
from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.faults import answer, drop_after_reading, endless, garbage, hang, reset
from qicore_testkit.leftovers import new_children

ONCE = RetryConfig(attempts=1)


def running(program: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=["-c", program])


@pytest.fixture(autouse=True)
def no_child_is_left() -> Any:
    children = new_children()
    yield
    assert not children()


@pytest.mark.parametrize(
    "target",
    [
        StdioServerParameters(command="no-such-command-anywhere"),
        StdioServerParameters(command="/"),
        StdioServerParameters(command=sys.executable, cwd="/no/such/folder"),
        StdioServerParameters(command="a\0b"),
        running("raise SystemExit(3)"),
        running("import os; os.close(1); import time; time.sleep(0.2)"),
        running("print('{')"),
    ],
    ids=["missing", "folder", "no cwd", "nul", "exits", "closes", "half a line"],
)
async def test_a_child_that_is_no_server(target: StdioServerParameters) -> None:
    async with MCPClient.create(target, MCPConfig(reconnect=ONCE, mode="legacy")).unwrap() as client:
        error = assert_failure(await client.connect(), "MCP_CONNECT_FAILED")
        assert error.context["reason"]
        assert_failure(await client.call_tool("x"), "MCP_CONNECT_FAILED")
        assert not client.connected


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_child_that_never_answers(mode: str) -> None:
    mute = running("import sys\nfor line in sys.stdin: pass")
    config = MCPConfig(reconnect=ONCE, connect_timeout=0.5, mode=mode)
    async with MCPClient.create(mute, config).unwrap() as client:
        assert_failure(await client.connect(), "MCP_TIMEOUT")


async def test_the_limit_of_a_call_counts_for_connecting_too() -> None:
    mute = running("import sys\nfor line in sys.stdin: pass")
    async with MCPClient.create(mute, MCPConfig(connect_timeout=60)).unwrap() as client:
        assert_failure(await client.call_tool("x", timeout=0.5), "MCP_TIMEOUT")


SERVER = """
import json, sys
def say(value):
    print(json.dumps(value), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {"jsonrpc": "2.0", "id": asked["id"]}
    if asked["method"] == "initialize":
        info = {"name": "odd", "version": "1"}
        version = asked["params"]["protocolVersion"]
        agreed = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        say({**answer, "result": agreed})
        continue
    if asked["method"] == "tools/list":
        say({**answer, "result": {"tools": []}})
        continue
    name = asked.get("params", {}).get("name", asked["method"])
    RULES
"""


def odd(rules: str) -> MCPClient:
    """Return a client of a server that answers the handshake well, and everything else by these rules."""
    program = SERVER.replace("RULES", rules.strip().replace("\n", "\n    "))
    config = MCPConfig(mode="legacy", timeout=10, reconnect=ONCE)
    return MCPClient.create(running(program), config).unwrap()


async def test_logs_on_standard_output_spoil_nothing() -> None:
    rules = """
print("INFO starting up")
print('{"level": "info"}')
print("\\x00\\xff nonsense")
sys.stdout.flush()
sys.stdout.buffer.write(b"caf\\xe9 is open\\n")
sys.stdout.buffer.flush()
say({**answer, "result": {"content": [{"type": "text", "text": "fine"}]}})
"""
    async with odd(rules) as client:
        assert_success(await client.call_tool("x"))
        for _ in range(4):
            assert_failure(await client.receive(timeout=5), "MCP_INVALID_MESSAGE")
        assert_success(await client.call_tool("x"))


@pytest.mark.parametrize(
    "result",
    [
        5, None, [], {}, {"content": 5}, {"content": [{"type": "no such"}]}, {"content": [{"type": "text"}]},
        {"content": [], "isError": "maybe"},
    ],
    ids=repr,
)  # fmt: skip
async def test_results_that_are_none(result: object) -> None:
    written = json.dumps(result).replace("null", "None")
    async with odd(f'say({{**answer, "result": {written}}})') as client:
        outcome = await client.call_tool("x", timeout=2)
        assert outcome.error is not None
        assert outcome.error.code in {"MCP_INVALID_MESSAGE", "MCP_TIMEOUT"}, outcome.error


async def test_errors_of_the_protocol() -> None:
    rules = """
codes = {"parse": -32700, "request": -32600, "method": -32601, "params": -32602, "internal": -32603, "own": 7}
say({**answer, "error": {"code": codes[name], "message": f"it is the {name}"}})
"""
    async with odd(rules) as client:
        for name in ("parse", "request", "method", "params"):
            error = assert_failure(await client.call_tool(name), "MCP_INVALID_MESSAGE")
            assert error.message == f"tools/call: it is the {name}"
        for name in ("internal", "own"):
            assert_failure(await client.call_tool(name), "MCP_SERVER_ERROR")


async def test_an_unknown_tool_in_whatever_words() -> None:
    rules = 'say({**answer, "error": {"code": -32602, "message": f"Tool {name} not found"}})'
    async with odd(rules) as client:
        assert_failure(await client.call_tool("x"), "MCP_UNKNOWN_TOOL")


async def test_a_list_that_goes_round_in_circles() -> None:
    rules = 'say({**answer, "result": {"prompts": [], "nextCursor": "again"}})'
    async with odd(rules) as client:
        error = assert_failure(await client.list_prompts(), "MCP_INVALID_MESSAGE")
        assert "repeats a page" in error.message


async def test_a_list_without_end() -> None:
    rules = """
number = int(asked.get("params", {}).get("cursor", "0")) + 1
say({**answer, "result": {"prompts": [], "nextCursor": str(number)}})
"""
    async with odd(rules) as client:
        error = assert_failure(await client.list_prompts(), "MCP_INVALID_MESSAGE")
        assert "more than 100 pages" in error.message


async def test_answers_to_nobody_and_twice() -> None:
    rules = """
fine = {"content": [{"type": "text", "text": "fine"}]}
say({"jsonrpc": "2.0", "id": 999, "result": fine})
say({**answer, "result": fine})
say({**answer, "result": fine})
"""
    async with odd(rules) as client:
        for _ in range(5):
            assert_success(await client.call_tool("x"))


async def test_a_server_that_reads_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pipe is full: the call can't even be sent."""
    # How long the SDK tries to tell such a server that the call was given up; callers must not wait for it.
    monkeypatch.setattr("mcp.shared.jsonrpc_dispatcher._ABANDON_WRITE_TIMEOUT", 3600)
    rules = "import time; time.sleep(3600)"
    async with odd(rules) as client:
        assert_success(await client.connect())
        held = asyncio.create_task(client.call_tool("hold", timeout=2))
        async with asyncio.timeout(300):
            error = assert_failure(
                await client.call_tool("x", {"text": "x" * 5_000_000}, timeout=1), "MCP_TIMEOUT"
            )
            assert error.context["timeout"] == 1
            assert_failure(await held, "MCP_TIMEOUT")
            cancelled = asyncio.create_task(client.call_tool("x"))
            await asyncio.sleep(0.1)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled


async def test_a_server_that_ends_in_the_middle_of_an_answer() -> None:
    rules = """
sys.stdout.write('{"jsonrpc": "2.0", "id": ')
sys.stdout.flush()
sys.exit(0)
"""
    async with odd(rules) as client:
        assert_failure(await client.call_tool("x"), "MCP_DISCONNECTED")
        assert_failure(await client.call_tool("x"), "MCP_DISCONNECTED")


async def test_messages_that_nobody_receives_are_bounded() -> None:
    rules = """
for number in range(200):
    level = {"level": "info", "data": number}
    say({"jsonrpc": "2.0", "method": "notifications/message", "params": level})
say({**answer, "result": {"content": []}})
"""
    program = SERVER.replace("RULES", rules.strip().replace("\n", "\n    "))
    config = MCPConfig(mode="legacy", max_messages=10)
    heard: list[object] = []

    async def note(params: Any) -> None:
        heard.append(params.data)

    async with MCPClient.create(running(program), config, on_log=note).unwrap() as client:
        assert_success(await client.call_tool("x"))
        first: Any = assert_success(await client.receive(timeout=5))
        assert first.params.data >= 190
        assert len(heard) == 200


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    "fault",
    [
        reset(), drop_after_reading(), garbage(), answer(500, b"oh"), answer(404), answer(401, b"{}"),
        answer(200, b"<html>", {"Content-Type": "text/html"}),
        answer(200, b"{", {"Content-Type": "application/json"}),
        answer(200, b"", {"Content-Type": "application/json"}), answer(202),
        answer(302, b"", {"Location": "/"}),
        answer(200, b"event: message\ndata: {\n\n", {"Content-Type": "text/event-stream"}),
        answer(200, b"", {"Content-Type": "text/event-stream"}),
    ],
    ids=[
        "reset", "dropped", "garbage", "500", "404", "401", "html", "half json", "empty", "202", "redirect",
        "bad event", "no event",
    ],
)  # fmt: skip
async def test_an_address_that_is_no_server(fault: Any, mode: str) -> None:
    with FaultServer() as server:
        server.default = fault
        config = MCPConfig(reconnect=ONCE, mode=mode, connect_timeout=5)
        async with MCPClient.create(f"{server.url}/mcp", config).unwrap() as client:
            error = (await client.connect()).error
            assert error is not None
            assert error.code == "MCP_CONNECT_FAILED", error
            assert asyncio.current_task() is not None


async def test_an_address_that_never_answers() -> None:
    with FaultServer() as server:
        server.default = hang()
        config = MCPConfig(reconnect=ONCE, connect_timeout=0.5)
        async with MCPClient.create(f"{server.url}/mcp", config).unwrap() as client:
            assert_failure(await client.connect(), "MCP_TIMEOUT")


def speaking(exchange: Exchange) -> None:
    """Answer in JSON, as a server of 2025-06-18; a tool is named by what shall be wrong with its answer."""
    asked: dict[str, Any] = json.loads(exchange.request.body or b"{}")
    if "id" not in asked:
        answer(202)(exchange)
        return
    name = asked.get("params", {}).get("name", "")
    fine: dict[str, Any] = {"content": [{"type": "text", "text": "fine"}]}
    if asked["method"] == "initialize":
        info = {"name": "odd", "version": "1"}
        fine = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
    elif asked["method"] == "tools/list":
        fine = {"tools": []}
    body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": fine}).encode()
    fields = {"Content-Type": "application/json"}
    if name in {"large", "packed"}:
        body += b" " * 1_000_000
    if name == "packed":
        body, fields["Content-Encoding"] = gzip.compress(body), "gzip"
    answer(200, body, fields)(exchange)


@pytest.mark.parametrize("name", ["large", "packed"])
async def test_a_message_above_the_bound_costs_one_call(name: str) -> None:
    with FaultServer() as server:
        server.default = speaking
        config = MCPConfig(max_message_size=100_000, mode="legacy", reconnect=ONCE)
        async with MCPClient.create(f"{server.url}/mcp", config).unwrap() as client:
            assert_success(await client.call_tool("small"))
            before = client.raw
            assert_failure(await client.call_tool(name), "MCP_INVALID_MESSAGE")
            assert_success(await client.call_tool("small"))
            assert client.raw is before


async def test_a_notification_that_is_never_taken() -> None:
    def behave(exchange: Exchange) -> None:
        body = exchange.request.body
        (hang() if b'"slow"' in body or b"notifications/cancelled" in body else speaking)(exchange)

    with FaultServer() as server:
        server.default = behave
        config = MCPConfig(mode="legacy", connect_timeout=3, reconnect=ONCE)
        async with MCPClient.create(f"{server.url}/mcp", config).unwrap() as client:
            assert_success(await client.call_tool("small"))
            before = client.raw
            assert_failure(await client.call_tool("slow", timeout=0.2), "MCP_TIMEOUT")
            async with asyncio.timeout(120):
                while (await client.call_tool("small", timeout=20)).is_failure:
                    pass
            assert client.raw is not before, "the next call after the loss connected anew"


async def test_a_message_without_end() -> None:
    with FaultServer() as server:
        server.default = endless(b'{"jsonrpc": "2.0", ', status=200)
        config = MCPConfig(reconnect=ONCE, max_message_size=100_000, connect_timeout=20)
        async with MCPClient.create(f"{server.url}/mcp", config).unwrap() as client:
            error = (await client.connect()).error
            assert error is not None
            assert error.code in {"MCP_CONNECT_FAILED", "MCP_INVALID_MESSAGE"}, error


async def test_nobody_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    async with MCPClient.create(url, MCPConfig(reconnect=ONCE)).unwrap() as client:
        error = assert_failure(await client.connect(), "MCP_CONNECT_FAILED")
        assert "can't be reached" in error.message


@pytest.mark.parametrize("target", ["", "ftp://example.org", "localhost:8000", "http://", None, 5, object()])
def test_targets_that_are_none(target: Any) -> None:
    assert_failure(MCPClient.create(target), "INVALID_MCP_CONFIG")
