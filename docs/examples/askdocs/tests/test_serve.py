"""`askdocs serve` as its users meet it: a real process, real requests."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
ENVIRONMENT["PYTHONUNBUFFERED"] = "1"
TEXT = "# Cache & <b>\n\nA cache keeps <script>alert(1)</script> what was computed, and it expires.\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "askdocs", *arguments]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text(TEXT)
    for number in range(30):
        (folder / "docs" / f"ship{number}.txt").write_text(f"Ship number {number} sails to the harbour.")
    subprocess.run(command("ingest", "docs"), cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    return folder


@contextmanager
def serving(folder: Path, *options: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        command("serve", "--port", "0", *options),
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        yield found[0], process
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder) as (found, _):
        yield found


def test_a_question_and_the_way_to_its_document(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        start = client.get("/")
        assert start.status_code == 200
        assert "31</b><span>documents" in start.text
        page = client.get("/", params={"q": "what expires?"})
        assert "1 passage " in page.text
        assert "<mark>expires</mark>" in page.text
        assert "<script>alert" not in page.text
        found = re.search(r'href="(/documents/\d+)\?[^"]*(#p\d+)"', page.text)
        assert found is not None
        document = client.get(found[1], params={"q": "what expires?"})
        assert f'id="{found[2][1:]}"' in document.text
        assert "Cache &amp;" in document.text
        assert "<script>alert" not in document.text
        policy = document.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for asset in ("site.css", "site.js", "icon.svg"):
            assert client.get(f"/static/{asset}").status_code == 200


def test_many_passages_come_in_pages(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        seen = set[str]()
        for number in (1, 2, 3):
            page = client.get("/", params={"q": "ships", "page": number})
            assert f"page {number} of 3" in page.text
            seen |= set(re.findall(r"ship\d+\.txt", page.text))
        assert len(seen) == 30
        assert "There are not so many pages" in client.get("/", params={"q": "ships", "page": 9}).text
        for wrong in ("0", "x", "99999"):
            assert client.get("/", params={"q": "ships", "page": wrong}).status_code == 422


@pytest.mark.parametrize(
    ("question", "status", "told"),
    [
        ("zebra", 200, "Nothing was found"),
        ("?!", 422, "no word in the question"),
        ('" OR 1=1 --', 200, "passage"),
        ('ships" NEAR(', 200, "passages"),
        ("ships\0", 200, "passages"),
        ("<img src=x onerror=alert(1)>", 200, "passage"),
        ("🚢🚢🚢", 422, "no word in the question"),
        ("ship " * 200, 200, "passages"),
        ("x" * 1001, 422, "letters or fewer"),
        ("\ud800", 200, ""),
        ("   ", 200, "Ask your documents"),
    ],
)
def test_questions_of_every_kind(url: str, question: str, status: int, told: str) -> None:
    with httpx.Client(base_url=url) as client:
        encoded = question.encode("utf-8", "surrogatepass")
        page = client.get("/?q=" + "".join(f"%{byte:02x}" for byte in encoded))
        assert page.status_code in (status, 422)
        assert told in page.text
        assert "<img src=x" not in page.text


def test_the_api(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        page = client.get("/api/search", params={"q": "ships", "limit": 2, "offset": 1}).json()
        assert (len(page["answer"]["hits"]), page["offset"], page["total"]) == (2, 1, 30)
        number = page["answer"]["hits"][0]["document"]
        opened = client.get(f"/api/documents/{number}").json()
        assert opened["document"]["number"] == number
        assert len(client.get("/api/documents", params={"limit": 3}).json()) == 3
        assert client.get("/api/stats").json()["documents"] == 31
        for path, status, code in (
            ("/api/search?q=%3F", 422, "EMPTY_QUESTION"),
            ("/api/search", 422, "INVALID_REQUEST"),
            ("/api/documents/999999", 404, "DOCUMENT_NOT_FOUND"),
            (f"/api/documents/{2**70}", 404, "DOCUMENT_NOT_FOUND"),
            ("/api/documents/-1", 404, "DOCUMENT_NOT_FOUND"),
            ("/api/documents/x", 422, "INVALID_REQUEST"),
            ("/nothing", 404, "NOT_FOUND"),
        ):
            problem = client.get(path)
            assert (problem.status_code, problem.json()["code"]) == (status, code)
        assert client.get("/documents/999999", headers={"accept": "text/html"}).text.startswith("<!doctype")
        paths = client.get("/openapi.json").json()["paths"]
        assert set(paths) == {"/api/search", "/api/documents", "/api/documents/{number}", "/api/stats"}
        assert "swagger" in client.get("/api").text
        assert client.get("/health/ready").json()["status"] == "pass"
        assert client.post("/api/search", content=b"x").status_code in (405, 413)


async def test_many_ask_at_once(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        answers = await asyncio.gather(*(client.get("/", params={"q": f"ship {n}"}) for n in range(50)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_reload_drops_no_request(folder: Path) -> None:
    with serving(folder, "--workers", "2") as (url, process):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            statuses = list[int]()
            over = asyncio.Event()

            async def ask() -> None:
                while not over.is_set():
                    statuses.append((await client.get("/api/search", params={"q": "ships"})).status_code)

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            for _ in range(2):
                process.send_signal(signal.SIGHUP)
                await asyncio.sleep(1.5)
            over.set()
            await asyncio.gather(*asking)
        assert set(statuses) <= {200, 429}  # one client asks more than its share
        assert 200 in statuses
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def test_what_keeps_it_from_starting(folder: Path, tmp_path: Path, url: str) -> None:
    missing = run(tmp_path, "serve")
    assert missing.returncode == 74
    assert "askdocs ingest" in missing.stderr
    taken = run(folder, "serve", "--port", url.rpartition(":")[2])
    assert taken.returncode == 69
    assert "in use" in taken.stderr
    assert "Traceback" not in taken.stderr
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    unreadable = run(tmp_path, "--index", str(broken), "serve")
    assert unreadable.returncode != 0
    assert "Traceback" not in unreadable.stderr
    assert run(folder, "serve", "--port", "70000").returncode == 2
