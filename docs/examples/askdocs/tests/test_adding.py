"""Adding documents by the API, in a real process: who may, what is taken, and what is answered."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from qicore_testkit.command_server import CommandServer
from qicore_testkit.redis_server import RedisServer

TOKEN = "a token of the tests"
SERVE = [sys.executable, "-m", "askdocs", "serve", "--port", "0"]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")},
    "PYTHONUNBUFFERED": "1",
    "ASKDOCS_SERVE__TOKEN": TOKEN,
    "ASKDOCS_SERVE__RATE": "1000000",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("adding")
    environment = {**ENVIRONMENT, "ASKDOCS_INGEST__MAX_FILE_SIZE": "100000"}
    headers = {"authorization": f"Bearer {TOKEN}"}
    with (
        CommandServer(SERVE, cwd=folder, env=environment) as server,
        httpx.Client(base_url=server.url, headers=headers, timeout=60) as opened,
    ):
        yield opened


def add(client: httpx.Client, path: str, text: str) -> httpx.Response:
    return client.post("/api/documents", json={"path": path, "text": text})


def test_a_document_is_added_found_and_replaced(client: httpx.Client) -> None:
    added = add(client, "notes/a.md", "# Harbour\n\nThe lantern burns at night.\n")
    assert (added.status_code, added.json()["change"], added.json()["passages"]) == (201, "added", 1)
    number = added.json()["number"]
    assert add(client, "notes/a.md", "# Harbour\n\nThe lantern burns at night.\n").json() == {
        **added.json(),
        "change": "unchanged",
    }
    page = client.get("/api/search", params={"q": "lantern"}).json()
    assert [hit["path"] for hit in page["answer"]["hits"]] == ["notes/a.md"]
    replaced = add(client, "notes/a.md", "# Harbour\n\nThe beacon burns at night.\n")
    assert (replaced.status_code, replaced.json()["change"], replaced.json()["number"]) == (
        200,
        "updated",
        number,
    )
    assert client.get("/api/search", params={"q": "lantern"}).json()["total"] == 0
    assert client.get(f"/api/documents/{number}").json()["passages"][0]["text"].startswith("The beacon")


@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"],
)
def test_nobody_adds_without_the_token(client: httpx.Client, given: str | None) -> None:
    request = client.build_request("POST", "/api/documents", content=b"x" * 90_000)
    del request.headers["authorization"]
    if given is not None:
        request.headers["authorization"] = given
    answer = client.send(request)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"path": "a.pdf", "text": "x"}, 422, "FILE_KIND_UNKNOWN"),
        ({"path": "a", "text": "x"}, 422, "FILE_KIND_UNKNOWN"),
        ({"path": "a.md", "text": " \n"}, 422, "FILE_EMPTY"),
        ({"path": "a.md", "text": "a\0b"}, 422, "FILE_NOT_TEXT"),
        ({"path": "a.py", "text": "def"}, 422, "FILE_MALFORMED"),
        ({"path": "a.md"}, 422, "INVALID_REQUEST"),
        ({"path": "", "text": "x"}, 422, "INVALID_REQUEST"),
        ({"path": "a\n.md", "text": "x"}, 422, "INVALID_REQUEST"),
        ({"path": "x" * 500 + ".md", "text": "x"}, 422, "INVALID_REQUEST"),
        ({"path": "a.md", "text": "\ud800"}, 422, "INVALID_REQUEST"),
        ({"path": "a.md", "text": "x", "title": "y"}, 422, "INVALID_REQUEST"),
        ({"path": "a.md", "text": "x" * 100_001}, 413, "CONTENT_TOO_LARGE"),
        (["a.md", "x"], 422, "INVALID_REQUEST"),
    ],
)
def test_what_is_not_taken(client: httpx.Client, body: object, status: int, code: str) -> None:
    before = client.get("/api/stats").json()
    answer = client.post(
        "/api/documents", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.get("/api/stats").json()["documents"] == before["documents"]


def test_the_document_of_the_api_tells_of_it(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    post = document["paths"]["/api/documents"]["post"]
    assert {"200", "201", "401", "422"} <= set(post["responses"])
    (scheme,) = post["security"][0]
    assert document["components"]["securitySchemes"][scheme]["scheme"] == "bearer"


def test_without_a_token_nothing_can_be_added(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("some text")
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "ASKDOCS_SERVE__TOKEN"}
    subprocess.run(
        [sys.executable, "-m", "askdocs", "ingest", "a.md"],
        cwd=tmp_path,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with CommandServer(SERVE, cwd=tmp_path, env=environment) as server:
        answer = httpx.post(
            f"{server.url}/api/documents", json={}, headers={"authorization": f"Bearer {TOKEN}"}
        )
        assert answer.status_code in (405, 413)
        assert "post" not in httpx.get(f"{server.url}/openapi.json").json()["paths"]["/api/documents"]


def test_a_token_that_is_easily_guessed_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        SERVE,
        cwd=tmp_path,
        env={**ENVIRONMENT, "ASKDOCS_SERVE__TOKEN": "hunter2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "ASKDOCS_SERVE__TOKEN" in done.stderr
    assert "hunter2" not in done.stderr
    explained = subprocess.run(
        [*SERVE[:3], "--explain-config"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert "serve.token" in explained.stdout
    assert TOKEN not in explained.stdout


def test_a_token_may_have_letters_of_any_kind(tmp_path: Path) -> None:
    token = "ein schönes Geheimnis, là"
    with CommandServer(SERVE, cwd=tmp_path, env={**ENVIRONMENT, "ASKDOCS_SERVE__TOKEN": token}) as server:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
            assert add(client, "a.md", "a ship").status_code == 201
            client.headers["authorization"] = "Bearer ein schones Geheimnis, la"
            assert add(client, "b.md", "a ship").status_code == 401


def test_what_was_added_is_there_when_the_machine_fails_at_once(tmp_path: Path) -> None:
    with CommandServer(SERVE, cwd=tmp_path, env=ENVIRONMENT) as server:
        with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            for number in range(5):
                assert add(client, f"{number}.md", f"text {number}").status_code == 201
        server.kill()
    with sqlite3.connect(tmp_path / "askdocs.db") as database:
        assert database.execute("SELECT count(*) FROM documents").fetchone() == (5,)
    database.close()


def test_with_a_cache_that_goes_away_all_is_answered(tmp_path: Path, redis_server: RedisServer) -> None:
    environment = {**ENVIRONMENT, "ASKDOCS_CACHE__URL": redis_server.url}
    with (
        CommandServer(SERVE, cwd=tmp_path, env=environment) as server,
        httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client,
    ):
        assert add(client, "a.md", "a ship").status_code == 201
        assert client.get("/api/search", params={"q": "ship"}).json()["total"] == 1
        redis_server.kill()
        assert client.get("/api/search", params={"q": "ship"}).json()["total"] == 1
        assert add(client, "b.md", "a ship").status_code == 201
        assert client.get("/api/search", params={"q": "ship"}).json()["total"] == 2
        assert client.get("/health/ready").status_code == 200
