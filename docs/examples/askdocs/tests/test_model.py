"""With a language model: answers in words, with their sources; or else the passages, and it says why."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import StdioServerParameters
from mcp_types import TextContent, TextResourceContents
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient
from qicore_testkit.fault_server import wait_until
from qicore_testkit.model_server import ModelServer, Reply
from qicore_testkit.ollama_server import OllamaServer
from qicore_testkit.openai_server import OpenAIServer

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}


def askdocs(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "askdocs", *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def configure(folder: Path, **model: str) -> None:
    (folder / "askdocs.yaml").write_text(json.dumps({"model": model}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Cache\n\nA cache keeps what was computed; it expires.\n")
    (tmp_path / "docs" / "b.md").write_text("# Storage\n\nValues live in a file below the home folder.\n")
    assert askdocs(tmp_path, "ingest", "docs").returncode == 0
    return tmp_path


@pytest.fixture(params=[OllamaServer, OpenAIServer])
def server(request: Any, folder: Path) -> Iterator[ModelServer]:
    with request.param() as opened:
        provider = "ollama" if isinstance(opened, OllamaServer) else "openai"
        url = opened.url if provider == "ollama" else f"{opened.url}/v1"
        configure(folder, provider=provider, base_url=url, name="tiny", timeout="10")
        opened.say(Reply(pieces=["It keeps ", "what was computed [1]."]))
        yield opened


def test_the_model_answers_from_the_passages_and_names_them(folder: Path, server: ModelServer) -> None:
    done = askdocs(folder, "ask", "what does a cache keep?")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "It keeps what was computed [1]."
    assert re.fullmatch(r"\[1\] .*a\.md:3  Cache", lines[2])
    assert lines[-1] == "written by tiny from 1 passage"
    system, question = server.asked[-1]["messages"]
    assert "no" in system["content"]
    assert "A cache keeps what was computed" in question["content"]
    assert question["content"].endswith("Question: what does a cache keep?")


def test_programs_are_told_who_wrote_it(folder: Path, server: ModelServer) -> None:
    reply = json.loads(askdocs(folder, "ask", "what does a cache keep?", "--json").stdout)
    assert (reply["by"], reply["text"], reply["why"]) == ("tiny", "It keeps what was computed [1].", "")
    assert reply["hits"][0]["heading"] == "Cache"


def test_nothing_found_is_nothing_to_write_about(folder: Path, server: ModelServer) -> None:
    done = askdocs(folder, "ask", "zebra")
    assert "No passage matches" in done.stdout
    assert server.asked == []


def test_without_the_model_the_passages_answer_and_it_says_so(folder: Path) -> None:
    configure(folder, base_url="http://127.0.0.1:9", name="tiny")
    done = askdocs(folder, "ask", "what does a cache keep?")
    assert done.returncode == 0
    assert "1. Cache" in done.stdout
    assert "the best passages: NETWORK/LLM_UNAVAILABLE: ollama, tiny: " in done.stdout
    reply = json.loads(askdocs(folder, "ask", "what does a cache keep?", "--json").stdout)
    assert reply["by"] == "passages"
    assert "LLM_UNAVAILABLE" in reply["why"]


def test_a_model_that_is_not_there(folder: Path, server: ModelServer) -> None:
    done = askdocs(folder, "ask", "what does a cache keep?", "--model", "none")
    assert "MODEL_NOT_FOUND" in done.stdout
    assert "1. Cache" in done.stdout


def test_a_model_that_can_not_be_asked_is_no_model_that_is_not_set(folder: Path) -> None:
    configure(folder, base_url="http://127.0.0.1:9", name="tiny", embeddings="tiny", api_key="two parts")
    done = askdocs(folder, "ask", "what does a cache keep?")
    assert done.returncode == 0
    assert "1. Cache" in done.stdout
    assert "the best passages: VALIDATION/INVALID_LLM_CONFIG: api_key must be " in done.stdout
    done = askdocs(folder, "ingest", "docs")
    assert done.returncode == 0
    assert "by their words only" in done.stderr
    with serving(folder) as url:
        ((name, told),) = events(httpx.get(f"{url}/api/answer?q=cache").text)
        assert (name, told["code"]) == ("failed", "INVALID_LLM_CONFIG")


def test_what_a_model_says_moves_no_cursor(folder: Path, server: ModelServer) -> None:
    server.say(Reply(pieces=["It \x1b[2J", "keeps\x07 it\n[1].\r"]))
    done = askdocs(folder, "ask", "what does a cache keep?")
    assert done.stdout.startswith("It [2Jkeeps it\n[1].\n")


def test_a_model_that_breaks_off(folder: Path, server: ModelServer) -> None:
    server.say(Reply(pieces=["It keeps ", "what"], fault="reset", after=1))
    done = askdocs(folder, "ask", "what does a cache keep?")
    assert done.returncode == 0
    assert done.stdout.startswith("It keeps …\n")
    assert "1. Cache" in done.stdout
    assert "LLM_ERROR" in done.stdout


def test_passages_are_found_by_what_they_mean(folder: Path) -> None:
    """The server's vectors are of the text alone, so that only the very passage is near."""
    with OllamaServer() as server:
        configure(folder, base_url=server.url, embeddings="tiny")
        assert askdocs(folder, "ingest", "docs").stderr == ""
        wanted = "Storage\nValues live in a file below the home folder."
        assert [wanted] == [text for asked in server.asked for text in asked["input"] if "Storage" in text]
        answer = json.loads(askdocs(folder, "ask", wanted, "--json").stdout)
        assert answer["hits"][0]["heading"] == "Storage"
        answer = json.loads(askdocs(folder, "ask", "Cache", "--json").stdout)
        assert {hit["heading"] for hit in answer["hits"]} == {"Cache", "Storage"}, (
            "one by words, one by meaning"
        )
        known = len(server.asked)
        askdocs(folder, "ingest", "docs")
        assert len(server.asked) == known, "what is known is not asked again"
    answer = json.loads(askdocs(folder, "ask", "Cache", "--json").stdout)
    assert [hit["heading"] for hit in answer["hits"]] == ["Cache"], "without the model words are enough"


def test_a_model_that_was_changed_under_its_name(folder: Path) -> None:
    """Vectors of another length can't be compared with the question's: their passages have their words."""
    import sqlite3

    with OllamaServer() as server:
        configure(folder, base_url=server.url, embeddings="tiny")
        askdocs(folder, "ingest", "docs")
        with sqlite3.connect(folder / "askdocs.db") as database:
            changed = "UPDATE vectors SET vector = zeroblob(16) WHERE passage_id = (SELECT id FROM passages"
            database.execute(f"{changed} WHERE heading = 'Cache')")
        database.close()
        answer = json.loads(askdocs(folder, "ask", "what is in my home?", "--json").stdout)
        assert [hit["heading"] for hit in answer["hits"]] == ["Storage"]
        answer = json.loads(askdocs(folder, "ask", "a cache", "--json").stdout)
        assert [hit["heading"] for hit in answer["hits"]] == ["Cache", "Storage"]


def test_an_index_from_before(folder: Path) -> None:
    """Opened for reading it has no place for vectors yet; the words do."""
    import sqlite3

    with sqlite3.connect(folder / "askdocs.db") as database:
        database.execute("DROP TABLE vectors")
    database.close()
    with OllamaServer() as server:
        configure(folder, base_url=server.url, name="tiny", embeddings="tiny")
        done = askdocs(folder, "ask", "what does a cache keep?")
    assert (done.returncode, done.stderr) == (0, "")
    assert "written by tiny" in done.stdout


@contextmanager
def serving(folder: Path) -> Generator[str]:
    command = [sys.executable, "-u", "-m", "askdocs", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        process.terminate()
        process.communicate()


def events(text: str) -> list[tuple[str, Any]]:
    pairs = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    return [(name, json.loads(data)) for name, data in pairs]


def test_the_site_streams_it(folder: Path, server: ModelServer) -> None:
    with serving(folder) as url:
        page = httpx.get(f"{url}/?q=cache").text
        assert 'data-source="/api/answer?q=cache"' in page
        answer = httpx.get(f"{url}/api/answer?q=cache")
        assert answer.headers["content-type"].startswith("text/event-stream")
        *pieces, (last, told) = events(answer.text)
        assert [data for _, data in pieces] == ["It keeps ", "what was computed [1]."]
        assert last == "done"
        assert told["model"] == "tiny"
        assert told["sources"][0]["source"].endswith("a.md:3")
        server.say(Reply(pieces=["It"], fault="end", after=1))
        *_, (last, told) = events(httpx.get(f"{url}/api/answer?q=cache").text)
        assert (last, told["code"]) == ("failed", "LLM_ERROR")
        assert httpx.get(f"{url}/api/answer?q=%20").status_code == 422
        asked = len(server.asked)
        ((last, told),) = events(httpx.get(f"{url}/api/answer?q=zebra").text)
        assert (last, told["code"]) == ("failed", "NO_PASSAGES")
        assert len(server.asked) == asked


def test_whoever_leaves_the_page_leaves_the_model(folder: Path, server: ModelServer) -> None:
    server.say(Reply(fault="stall", after=1))
    with (
        serving(folder) as url,
        httpx.stream("GET", f"{url}/api/answer?q=cache", timeout=60) as answer,
    ):
        assert next(answer.iter_text()).startswith("event: text")
        answer.close()
        assert wait_until(lambda: server.left == 1)


def test_the_site_without_a_model_has_no_place_for_it(folder: Path) -> None:
    with serving(folder) as url:
        assert "data-source" not in httpx.get(f"{url}/?q=cache").text
        assert httpx.get(f"{url}/api/answer?q=cache").status_code == 404


async def test_any_mcp_client_can_use_the_index(folder: Path) -> None:
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "askdocs", "mcp"], cwd=folder, env=ENVIRONMENT
    )
    async with MCPClient.create(program).unwrap() as client:
        assert [tool.name for tool in assert_success(await client.list_tools())] == ["search", "read"]
        found = assert_success(await client.call_tool("search", {"question": "cache", "limit": 1}))
        assert found.structured_content is not None
        (hit,) = found.structured_content["result"]
        assert hit["heading"] == "Cache"
        text = assert_success(await client.call_tool("read", {"document": hit["document"]}))
        (content,) = text.content
        assert isinstance(content, TextContent)
        assert "A cache keeps what was computed" in content.text
        (whole,) = assert_success(
            await client.read_resource(f"askdocs://documents/{hit['document']}")
        ).contents
        assert isinstance(whole, TextResourceContents)
        assert whole.text == content.text
        listed = assert_success(await client.list_resources())
        assert f"askdocs://documents/{hit['document']}" in {resource.uri for resource in listed}
        error = assert_failure(await client.call_tool("search", {"question": "?"}), "MCP_TOOL_ERROR")
        assert error.context["tool_code"] == "EMPTY_QUESTION"
        error = assert_failure(await client.call_tool("read", {"document": 99}), "MCP_TOOL_ERROR")
        assert error.context["tool_code"] == "DOCUMENT_NOT_FOUND"
        for number in ("99", "x", "9" * 30):
            assert (await client.read_resource(f"askdocs://documents/{number}")).is_failure


def test_an_mcp_server_needs_an_index(tmp_path: Path) -> None:
    done = askdocs(tmp_path, "mcp")
    assert (done.returncode, done.stdout) == (74, "")
    assert "INDEX_NOT_FOUND" in done.stderr
