"""Files through a real server, to clients that behave and to some that don't."""

import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from qicore.web.static import StaticDirectory
from starlette.applications import Starlette
from starlette.routing import Mount

SIZE = 8 * 1024 * 1024
HEAD = b"GET /files/film.mkv HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    (site / "film.mkv").write_bytes(random.Random(7).randbytes(SIZE))
    (site / "docs").mkdir()
    (site / "docs" / "index.html").write_text("<h1>Docs</h1>")
    return site


@pytest.fixture(scope="module", params=["h11", "httptools"])
def port(site: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Mount("/files", StaticDirectory(site))])
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, http=request.param)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


def open_files(path: Path) -> int:
    """The number of descriptors of this process that are of this file."""
    found = 0
    for number in Path("/dev/fd").iterdir():
        try:
            found += os.path.samestat(os.fstat(int(number.name)), path.stat())
        except OSError:
            continue
    return found


def all_closed(path: Path) -> bool:
    for _ in range(1000):
        if open_files(path) == 0:
            return True
        time.sleep(0.01)
    return False


def test_many_clients_get_their_ranges(site: Path, port: int) -> None:
    content = (site / "film.mkv").read_bytes()
    url = f"http://127.0.0.1:{port}/files/film.mkv"

    def fetch(seed: int) -> bool:
        start, end = sorted(random.Random(seed).sample(range(SIZE), 2))
        with httpx.Client(trust_env=False) as client:
            answer = client.get(url, headers={"range": f"bytes={start}-{end}"})
        return answer.status_code == 206 and answer.content == content[start : end + 1]

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(fetch, range(40)))
    assert httpx.get(url, trust_env=False).content == content
    assert all_closed(site / "film.mkv")


def test_a_client_that_leaves_lets_the_file_go(site: Path, port: int) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(HEAD)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert all_closed(site / "film.mkv")


def test_a_client_that_reads_nothing_holds_up_nobody(site: Path, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.sendall(HEAD)
        assert stuck.recv(100).startswith(b"HTTP/1.1 200")
        for _ in range(5):
            assert httpx.get(f"http://127.0.0.1:{port}/files/docs/", trust_env=False).text == "<h1>Docs</h1>"
        assert open_files(site / "film.mkv") == 1
    assert all_closed(site / "film.mkv")


def test_a_file_that_is_cut_ends_the_connection_early(site: Path, port: int) -> None:
    torn = site / "torn.mkv"
    torn.write_bytes(bytes(SIZE))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD.replace(b"film", b"torn"))
        got = len(connection.recv(65536))
        os.truncate(torn, 1024 * 1024)
        while data := connection.recv(1 << 20):
            got += len(data)
    assert got < SIZE, "the client sees that something is missing"
    assert all_closed(torn)
    assert httpx.get(f"http://127.0.0.1:{port}/files/torn.mkv", trust_env=False).content == bytes(1024 * 1024)


def test_a_directory_leads_to_itself(port: int) -> None:
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        answer = client.get(f"http://127.0.0.1:{port}/files/docs?a=1")
    assert (answer.text, answer.url.path, answer.url.query) == ("<h1>Docs</h1>", "/files/docs/", b"a=1")
