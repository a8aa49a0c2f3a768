"""Our servers under the command line of the official inspector: the suite's, one over stdio, and askdocs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from qicore_testkit.npm import NPM

npm = NPM(Path(__file__).parent)
# A slow machine needs more than the 15 seconds that it gives a server to start.
CLI = ("--cli", "--connect-timeout", "250000")
INSPECTOR = ("@modelcontextprotocol/inspector", "mcp-inspector")
STDIO = str(Path(__file__).parents[1] / "packages" / "qicore-mcp" / "tests" / "everything_server.py")


def inspect(target: list[str], *options: str) -> Any:
    """What the inspector prints for one method, read as JSON."""
    done = npm.run(npm.program(*INSPECTOR), *CLI, *target, "--method", *options)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)


@pytest.fixture(params=["http", "stdio"])
def target(request: pytest.FixtureRequest, server_url: str) -> list[str]:
    return [server_url] if request.param == "http" else [sys.executable, STDIO]


def test_lists(target: list[str]) -> None:
    assert len(inspect(target, "tools/list")["tools"]) > 3
    assert inspect(target, "resources/list")["resources"]
    assert inspect(target, "prompts/list")["prompts"]


def test_a_tool_a_resource_and_a_prompt(server_url: str) -> None:
    answer = inspect([server_url], "tools/call", "--tool-name", "test_simple_text")
    assert answer["content"][0]["text"] == "This is a simple text response for testing."
    answer = inspect([server_url], "resources/read", "--uri", "test://template/7/data")
    assert json.loads(answer["contents"][0]["text"])["id"] == "7"
    answer = inspect(
        [server_url],
        *("prompts/get", "--prompt-name", "test_prompt_with_arguments"),
        *("--prompt-args", "arg1=tea", "arg2=milk"),
    )
    assert "tea" in answer["messages"][0]["content"]["text"]


def test_a_tool_that_fails() -> None:
    """The official SDK for TypeScript checks the structured content of a failed call, too."""
    tool = ("--method", "tools/call", "--tool-name", "weather", "--tool-arg", "city=Atlantis")
    done = npm.run(npm.program(*INSPECTOR), *CLI, sys.executable, STDIO, *tool)
    assert json.loads(done.stdout) == {
        "_meta": {"qicore/error": {"code": "NO_SUCH_CITY", "category": "VALIDATION"}},
        "content": [{"type": "text", "text": "NO_SUCH_CITY: there is no such city"}],
        "isError": True,
    }
    assert "tool_is_error" in done.stderr


@pytest.fixture(scope="module")
def askdocs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The index of two small documents, as an MCP server."""
    folder = tmp_path_factory.mktemp("askdocs")
    (folder / "tea.md").write_text("# Tea\n\nGreen tea is steeped at 80 degrees.\n")
    (folder / "coffee.md").write_text("# Coffee\n\nCoffee is brewed at 93 degrees.\n")
    index = str(folder / "index.db")
    command = [sys.executable, "-m", "askdocs"]
    subprocess.run([*command, "--index", index, "ingest", str(folder)], check=True, capture_output=True)
    return [*command, "--index", index, "mcp"]


def test_the_index_of_askdocs(askdocs: list[str]) -> None:
    assert {tool["name"] for tool in inspect(askdocs, "tools/list")["tools"]} == {"search", "read"}
    found = inspect(askdocs, "tools/call", "--tool-name", "search", "--tool-arg", "question=green tea")
    assert "80 degrees" in json.dumps(found)
    resources = inspect(askdocs, "resources/list")["resources"]
    tea = next(each["uri"] for each in resources if "tea" in each["name"])
    assert "steeped" in inspect(askdocs, "resources/read", "--uri", tea)["contents"][0]["text"]
