"""What `StaticDirectory` answers, spoken to as a server would."""

import asyncio
import gzip
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from qicore.web.static import StaticDirectory
from qicore.web.transfers import PIECE, FileReader, TornFileError
from starlette.types import Message, Scope

LATER = 10.0
"""Seconds from the making of the files to the requests: their tags are strong by then."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True


def scope_of(path: str, method: str = "GET", headers: Mapping[str, str] = {}, **more: Any) -> Scope:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": raw, "query_string": b"", **more}


async def ask(
    app: Any, path: str, method: str = "GET", headers: Mapping[str, str] = {}, **more: Any
) -> Answer:
    answer = Answer(0, {}, b"", whole=False)

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")
            answer.whole = not message.get("more_body", False)

    await app(scope_of(path, method, headers, **more), receive, send)
    return answer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "docs").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / "index.html").write_text("<h1>Home</h1>")
    (site / "docs" / "index.html").write_text("<h1>Docs</h1>")
    (site / "app.css").write_text("body { color: teal }\n" * 20)
    (site / "letters.txt").write_text("abcdefghijklmnopqrstuvwxyz" * 40)
    (site / ".env").write_text("SECRET=1")
    (tmp_path / "outside.txt").write_text("outside")
    return site


@pytest.fixture
def app(site: Path) -> StaticDirectory:
    return later(site)


def later(site: Path, **options: Any) -> StaticDirectory:
    now = max(path.stat().st_ctime for path in site.rglob("*"))
    return StaticDirectory(site, clock=lambda: now + LATER, **options)


async def test_a_file_comes_whole_with_what_caches_need(app: StaticDirectory, site: Path) -> None:
    answer = await ask(app, "/app.css")
    assert (answer.status, answer.whole) == (200, True)
    assert answer.body == (site / "app.css").read_bytes()
    etag = answer.headers.pop("etag")
    assert etag.startswith('"')
    assert etag.endswith('"')
    assert answer.headers == {
        "accept-ranges": "bytes",
        "cache-control": "no-cache",
        "content-length": str(len(answer.body)),
        "content-type": "text/css; charset=utf-8",
        "last-modified": formatdate((site / "app.css").stat().st_mtime, usegmt=True),
        "x-content-type-options": "nosniff",
    }


async def test_head_says_the_same_without_the_body(app: StaticDirectory) -> None:
    answer = await ask(app, "/app.css", "HEAD")
    assert (answer.status, answer.body, answer.whole) == (200, b"", True)
    assert answer.headers == (await ask(app, "/app.css")).headers
    assert (await ask(app, "/app.css", "HEAD", {"range": "bytes=0-3"})).headers == answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", ""])
async def test_other_methods_are_refused(app: StaticDirectory, method: str) -> None:
    answer = await ask(app, "/app.css", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert b"METHOD_NOT_ALLOWED" in answer.body


async def test_a_websocket_is_closed(app: StaticDirectory) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/app.css", "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/app.css/", "/app.css/x", "/docs/nothing", "/empty/", "/empty"]
)
async def test_what_is_not_there_is_a_problem_that_shows_no_path(app: StaticDirectory, path: str) -> None:
    answer = await ask(app, path)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert b"NOT_FOUND" in answer.body
    assert b"site" not in answer.body
    assert b"nothing" not in answer.body


async def test_a_directory_is_its_index(app: StaticDirectory) -> None:
    assert (await ask(app, "/")).body == b"<h1>Home</h1>"
    assert (await ask(app, "/docs/")).body == b"<h1>Docs</h1>"
    assert (await ask(app, "/docs/")).headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/docs", b"", "./docs/"),
        ("/docs", b"a=1&b=%20", "./docs/?a=1&b=%20"),
        ("/docs", b"a=1\r\nSet-Cookie: b", "./docs/"),
    ],
)
async def test_a_directory_without_its_slash_leads_there(
    app: StaticDirectory, path: str, query: bytes, location: str
) -> None:
    answer = await ask(app, path, query_string=query)
    assert (answer.status, answer.headers["location"]) == (307, location)


async def test_an_odd_name_of_a_directory_is_quoted(site: Path) -> None:
    (site / "ü #&").mkdir()
    (site / "ü #&" / "index.html").touch()
    answer = await ask(StaticDirectory(site), "/ü #&")
    assert answer.headers["location"] == "./%C3%BC%20%23%26/"


async def test_the_mounted_root_without_its_slash_leads_there(app: StaticDirectory) -> None:
    answer = await ask(app, "/files", root_path="/files")
    assert (answer.status, answer.headers["location"]) == (307, "./files/")
    assert (await ask(app, "")).body == b"<h1>Home</h1>"


@pytest.mark.parametrize(
    ("path", "root", "outer"),
    [
        ("/files/docs/", "/files", ""),
        ("/api/files/docs/", "/api/files", "/api"),
        ("/files/docs/", "/api/files", "/api"),  # the proxy cut its prefix off
        ("/docs/", "/api", "/api"),
        ("/docs/", "/", "/"),
    ],
)
async def test_it_knows_its_own_part_of_the_path(
    app: StaticDirectory, path: str, root: str, outer: str
) -> None:
    answer = await ask(app, path, root_path=root, app_root_path=outer)
    assert answer.body == b"<h1>Docs</h1>"


async def test_without_an_index_directories_are_not_there(site: Path) -> None:
    app = StaticDirectory(site, index=None)
    assert [(await ask(app, path)).status for path in ("/", "/docs", "/docs/", "/docs/index.html")] == [
        404,
        404,
        404,
        200,
    ]


async def test_hidden_names_are_served_where_that_is_wanted(site: Path) -> None:
    (site / ".well-known").mkdir()
    (site / ".well-known" / "security.txt").write_text("Contact: …")
    assert (await ask(StaticDirectory(site), "/.env")).status == 404
    assert (await ask(StaticDirectory(site), "/.well-known/security.txt")).status == 404
    app = StaticDirectory(site, hidden=True)
    assert (await ask(app, "/.well-known/security.txt")).status == 200
    assert (await ask(app, "/../outside.txt")).status == 404
    assert (await ask(app, "/./app.css")).status == 404


async def test_an_empty_file_is_a_file(site: Path) -> None:
    (site / "none.txt").touch()
    answer = await ask(StaticDirectory(site), "/none.txt", headers={"range": "bytes=0-9"})
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")


async def test_content_types_are_those_of_the_table(site: Path) -> None:
    for name in ("a.js", "b.MJS", "c.svg", "d", "e.unknown", "f.tar.gz", "g.gltf2"):
        (site / name).touch()
    app = StaticDirectory(site, media_types={".gltf2": "model/x", "svg": "image/odd"})
    kinds = [
        (await ask(app, "/" + name)).headers["content-type"]
        for name in ("a.js", "b.MJS", "c.svg", "d", "e.unknown", "f.tar.gz", "g.gltf2")
    ]
    assert kinds == [
        "text/javascript; charset=utf-8",
        "text/javascript; charset=utf-8",
        "image/odd",
        "application/octet-stream",
        "application/octet-stream",
        "application/gzip",
        "model/x",
    ]


async def test_cache_control_may_depend_on_the_path(site: Path) -> None:
    paths: list[str] = []

    def rule(path: str) -> str:
        paths.append(path)
        return "public, max-age=31536000, immutable" if path.endswith(".css") else "no-store"

    app = StaticDirectory(site, cache_control=rule)
    assert (await ask(app, "/app.css")).headers["cache-control"].endswith("immutable")
    assert (await ask(app, "/docs/")).headers["cache-control"] == "no-store"
    assert paths == ["app.css", "docs/index.html"]


# Conditional requests


async def test_a_client_that_has_it_is_told_so(app: StaticDirectory) -> None:
    first = await ask(app, "/app.css")
    for headers in (
        {"if-none-match": first.headers["etag"]},
        {"if-none-match": f'"other", W/{first.headers["etag"]}'},
        {"if-none-match": "*"},
        {"if-modified-since": first.headers["last-modified"]},
        {"if-none-match": first.headers["etag"], "if-modified-since": formatdate(0, usegmt=True)},
        {"if-none-match": first.headers["etag"], "range": "bytes=0-1"},
    ):
        for method in ("GET", "HEAD"):
            answer = await ask(app, "/app.css", method, headers)
            assert (answer.status, answer.body) == (304, b""), headers
            assert answer.headers == {"cache-control": "no-cache", "etag": first.headers["etag"]}


async def test_a_client_that_has_another_gets_this_one(app: StaticDirectory) -> None:
    first = await ask(app, "/app.css")
    for headers in (
        {"if-none-match": '"other"'},
        {"if-none-match": "nonsense"},
        {"if-modified-since": formatdate(0, usegmt=True)},
        {"if-modified-since": "yesterday"},
        {"if-none-match": '"other"', "if-modified-since": first.headers["last-modified"]},
    ):
        answer = await ask(app, "/app.css", headers=headers)
        assert (answer.status, answer.body) == (200, first.body), headers


async def test_preconditions_that_fail_are_412(app: StaticDirectory) -> None:
    first = await ask(app, "/app.css")
    for headers, status in (
        ({"if-match": first.headers["etag"]}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"other"'}, 412),
        ({"if-match": "W/" + first.headers["etag"]}, 412),
        ({"if-unmodified-since": first.headers["last-modified"]}, 200),
        ({"if-unmodified-since": formatdate(0, usegmt=True)}, 412),
        ({"if-match": first.headers["etag"], "if-unmodified-since": formatdate(0, usegmt=True)}, 200),
    ):
        assert (await ask(app, "/app.css", headers=headers)).status == status, headers


async def test_a_file_that_changed_just_now_has_a_weak_tag(site: Path) -> None:
    born = (site / "app.css").stat().st_ctime
    young = StaticDirectory(site, clock=lambda: born + 1)
    old = StaticDirectory(site, clock=lambda: born + LATER)
    weak = (await ask(young, "/app.css")).headers["etag"]
    strong = (await ask(old, "/app.css")).headers["etag"]
    assert weak == "W/" + strong
    assert (await ask(old, "/app.css", headers={"if-none-match": weak})).status == 304
    resumed = await ask(old, "/app.css", headers={"if-range": weak, "range": "bytes=0-1"})
    assert resumed.status == 200, "a weak tag joins no parts"


async def test_a_file_from_the_future_was_not_modified_there(site: Path) -> None:
    os.utime(site / "app.css", (9e9, 9e9))
    answer = await ask(StaticDirectory(site, clock=lambda: 8e9), "/app.css")
    assert answer.headers["last-modified"] == formatdate(8e9, usegmt=True)


async def test_a_new_version_of_the_same_size_and_time_has_another_tag(site: Path) -> None:
    """Reproducible builds give each file the same time."""
    page = site / "index.html"
    os.utime(page, (1, 1))
    app = later(site)
    first = await ask(app, "/")
    page.with_suffix(".new").write_text("<h1>Hame</h1>")
    os.utime(page.with_suffix(".new"), (1, 1))
    page.with_suffix(".new").replace(page)
    answer = await ask(app, "/", headers={"if-none-match": first.headers["etag"]})
    assert (answer.status, answer.body) == (200, b"<h1>Hame</h1>")


# Ranges


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("0-9", 0, 10), ("5-", 5, 1040), ("-5", 1035, 1040), ("1000-99999", 1000, 1040), ("-99999", 0, 1040)],
)
async def test_a_range_is_sent_alone(
    app: StaticDirectory, site: Path, wanted: str, start: int, end: int
) -> None:
    answer = await ask(app, "/letters.txt", headers={"range": f"bytes={wanted}"})
    assert (answer.status, answer.body) == (206, (site / "letters.txt").read_bytes()[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1040"
    assert answer.headers["content-length"] == str(end - start)


async def test_several_ranges_are_parts_of_one_body(app: StaticDirectory) -> None:
    answer = await ask(app, "/letters.txt", headers={"range": "bytes=0-4,500-503,-2"})
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert (answer.status, kind) == (206, "multipart/byteranges")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "content-range" not in answer.headers
    parts = answer.body.split(f"--{boundary}".encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [b"abcde\r\n", b"ghij\r\n", b"yz\r\n"]
    assert b"Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 500-503/1040" in parts[2]


async def test_ranges_beyond_the_end_are_416(app: StaticDirectory) -> None:
    answer = await ask(app, "/letters.txt", headers={"range": "bytes=1040-, 5000-6000"})
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */1040")
    assert b"RANGE_NOT_SATISFIABLE" in answer.body


@pytest.mark.parametrize(
    "field",
    [
        *(
            "",
            "bytes",
            "bytes=",
            "lines=1-2",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=-",
        ),
        *("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 1000, 3)), "bytes=0x1-", "bytes=²-", "bytes=+1-"),
    ],
)
async def test_ranges_that_make_no_sense_are_not_heard(app: StaticDirectory, field: str) -> None:
    assert (await ask(app, "/letters.txt", headers={"range": field})).status == 200


async def test_a_broken_download_resumes_only_in_the_same_file(app: StaticDirectory) -> None:
    first = await ask(app, "/letters.txt")
    for condition, status in (
        (first.headers["etag"], 206),
        (first.headers["last-modified"], 206),
        ('"other"', 200),
        ("W/" + first.headers["etag"], 200),
        (formatdate(0, usegmt=True), 200),
        ("nonsense", 200),
    ):
        answer = await ask(app, "/letters.txt", headers={"range": "bytes=5-", "if-range": condition})
        assert answer.status == status, condition


# Precompressed files


@pytest.fixture
def packed(site: Path) -> Path:
    css = site / "app.css"
    for suffix in (".br", ".zst", ".gz"):
        (site / f"app.css{suffix}").write_bytes(gzip.compress(css.read_bytes() + suffix.encode(), mtime=0))
    return site


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP;Q=0.5", "gzip"),
        ("br;q=0.5, gzip", "gzip"),
        ("*", "br"),
        ("*, br;q=0", "zstd"),
        ("br;q=0", None),
        ("identity", None),
        ("identity;q=1, *;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=0.5, identity;q=0.1", "gzip"),
        ("", None),
        ("gzip;q=high", None),
        (None, None),
    ],
)
async def test_the_coding_is_the_one_the_client_likes_best(
    packed: Path, accepted: str | None, coding: str | None
) -> None:
    headers = {} if accepted is None else {"accept-encoding": accepted}
    answer = await ask(later(packed), "/app.css", headers=headers)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    suffix = {"br": ".br", "zstd": ".zst", "gzip": ".gz", None: ""}[coding]
    assert answer.body == (packed / f"app.css{suffix}").read_bytes()
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_each_coding_has_its_own_tag(packed: Path) -> None:
    app = later(packed)
    plain = await ask(app, "/app.css")
    zipped = await ask(app, "/app.css", headers={"accept-encoding": "gzip"})
    assert plain.headers["etag"] != zipped.headers["etag"]
    again = await ask(
        app, "/app.css", headers={"accept-encoding": "gzip", "if-none-match": zipped.headers["etag"]}
    )
    assert (again.status, again.headers["vary"]) == (304, "Accept-Encoding")
    other = await ask(
        app, "/app.css", headers={"accept-encoding": "gzip", "if-none-match": plain.headers["etag"]}
    )
    assert other.status == 200


async def test_a_range_is_one_of_the_coded_bytes(packed: Path) -> None:
    answer = await ask(later(packed), "/app.css", headers={"accept-encoding": "gzip", "range": "bytes=2-5"})
    assert (answer.status, answer.headers["content-encoding"]) == (206, "gzip")
    assert answer.body == (packed / "app.css.gz").read_bytes()[2:6]


async def test_a_compressed_file_by_its_own_name_is_only_a_file(packed: Path) -> None:
    answer = await ask(later(packed), "/app.css.gz", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-type"] == "application/gzip"
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


async def test_a_stale_compressed_file_is_left_alone(packed: Path) -> None:
    css = (packed / "app.css").stat()
    os.utime(packed / "app.css.br", (css.st_mtime - 60, css.st_mtime - 60))
    answer = await ask(later(packed), "/app.css", headers={"accept-encoding": "br, gzip;q=0.1"})
    assert answer.headers["content-encoding"] == "gzip"


async def test_codings_are_looked_for_as_told(packed: Path) -> None:
    app = later(packed, precompressed=("gzip",))
    answer = await ask(app, "/app.css", headers={"accept-encoding": "br, gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    none = await ask(later(packed, precompressed=()), "/app.css", headers={"accept-encoding": "br"})
    assert "vary" not in none.headers
    assert "content-encoding" not in none.headers


async def test_a_compressed_file_alone_is_no_original(packed: Path) -> None:
    (packed / "app.css").unlink()
    assert (await ask(StaticDirectory(packed), "/app.css", headers={"accept-encoding": "br"})).status == 404


async def test_a_compressed_directory_or_link_is_none(packed: Path) -> None:
    (packed / "app.css.br").unlink()
    (packed / "app.css.br").mkdir()
    (packed / "app.css.zst").unlink()
    (packed / "app.css.zst").symlink_to("../outside.txt")
    answer = await ask(later(packed), "/app.css", headers={"accept-encoding": "br, zstd, gzip;q=0.1"})
    assert answer.headers["content-encoding"] == "gzip"


# Large files, and what happens to them meanwhile


@pytest.fixture
def large(site: Path) -> bytes:
    content = os.urandom(PIECE * 3 + 5)
    (site / "film.mkv").write_bytes(content)
    return content


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_a_large_file_comes_in_pieces(app: StaticDirectory, site: Path, large: bytes) -> None:
    assert (await ask(app, "/film.mkv")).body == large
    headers = {"range": f"bytes=1-{PIECE + 1},{PIECE * 2}-"}
    answer = await ask(app, "/film.mkv", headers=headers)
    assert answer.headers["content-length"] == str(len(answer.body))
    assert large[1 : PIECE + 2] in answer.body
    assert large[PIECE * 2 :] in answer.body


class Client:
    """A client that does something when it has got the head, or so many bytes."""

    def __init__(self, act: Callable[[], object], left: asyncio.Event | None = None) -> None:
        self.act, self.after = act, 1
        self.got = 0
        self.whole = False
        self.left = left or asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.got += len(message.get("body", b""))
        if message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)
            if self.got >= self.after:
                self.act()
                self.after = 1 << 60
        await asyncio.sleep(0)


async def test_a_file_that_is_cut_off_is_not_passed_off_as_whole(
    app: StaticDirectory, site: Path, large: bytes
) -> None:
    client = Client(lambda: os.truncate(site / "film.mkv", PIECE + 10))
    before = descriptors()
    with pytest.raises(TornFileError, match=r"changed|shorter"):
        await app(scope_of("/film.mkv"), client.receive, client.send)
    assert not client.whole
    assert client.got < len(large)
    assert descriptors() == before


async def test_a_file_that_is_written_over_is_not_passed_off_as_whole(
    app: StaticDirectory, site: Path, large: bytes
) -> None:
    def write() -> None:
        with (site / "film.mkv").open("r+b") as file:
            file.seek(PIECE * 2)
            file.write(b"other")
        os.utime(site / "film.mkv", ns=(1, 1))

    client = Client(write)
    with pytest.raises(TornFileError, match="changed"):
        await app(scope_of("/film.mkv"), client.receive, client.send)
    assert not client.whole


async def test_a_file_that_is_replaced_is_sent_as_it_was(
    app: StaticDirectory, site: Path, large: bytes
) -> None:
    def replace() -> None:
        (site / "new").write_bytes(b"new")
        (site / "new").replace(site / "film.mkv")

    client = Client(replace)
    await app(scope_of("/film.mkv"), client.receive, client.send)
    assert (client.whole, client.got) == (True, len(large))


async def test_a_client_that_leaves_ends_the_reading(app: StaticDirectory, site: Path, large: bytes) -> None:
    before = descriptors()
    left = asyncio.Event()
    client = Client(left.set, left=left)
    await app(scope_of("/film.mkv"), client.receive, client.send)
    assert not client.whole
    assert client.got <= 2 * PIECE
    assert descriptors() == before


async def test_a_server_that_raises_for_a_client_that_left_closes_the_file(
    app: StaticDirectory, site: Path, large: bytes
) -> None:
    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError("the client left")

    before = descriptors()
    with pytest.raises(OSError, match="left"):
        await app(scope_of("/film.mkv"), Client(lambda: None).receive, send)
    assert descriptors() == before


async def test_a_server_that_raises_where_it_is_listened_to_ends_the_reading(
    app: StaticDirectory, large: bytes
) -> None:
    async def receive() -> Message:
        raise OSError("the client left")

    client = Client(lambda: None)
    await app(scope_of("/film.mkv"), receive, client.send)
    assert not client.whole


async def test_a_cancelled_request_closes_the_file(app: StaticDirectory, site: Path, large: bytes) -> None:
    before = descriptors()
    for turns in range(40):
        client = Client(lambda: None)
        task = asyncio.ensure_future(app(scope_of("/film.mkv"), client.receive, client.send))
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.sleep(turns / 20000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for _ in range(1000):
        if descriptors() == before:
            break
        await asyncio.sleep(0.01)
    assert descriptors() == before


def test_a_file_that_is_closed_while_it_is_opened_is_closed_by_the_opener(site: Path) -> None:
    reader = FileReader()
    before = descriptors()

    def opener() -> tuple[int, os.stat_result]:
        descriptor = os.open(site / "app.css", os.O_RDONLY)
        reader.close()
        return descriptor, os.fstat(descriptor)

    reader.open(opener)
    assert descriptors() == before
    with pytest.raises(TornFileError):
        reader.read(0, 1)


async def test_reading_does_not_hold_the_loop(
    app: StaticDirectory, site: Path, large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    read = FileReader.read

    def slow(self: FileReader, start: int, size: int) -> bytes:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        return read(self, start, size)

    monkeypatch.setattr(FileReader, "read", slow)
    task = asyncio.ensure_future(ask(app, "/film.mkv"))
    await asyncio.sleep(0.01)
    assert not task.done()
    gate.set()
    assert (await task).body == large


# What the system refuses


async def test_too_many_open_files_is_503_and_logged(
    app: StaticDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object, **options: object) -> int:
        raise OSError(24, "Too many open files", "/secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        answer = await ask(app, "/app.css")
    assert answer.status == 503
    assert b"secret" not in answer.body
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_file_that_may_not_be_read_is_not_there_and_logged(
    app: StaticDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened = os.open

    def guarded(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if path == "app.css":
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", guarded)
    assert (await ask(app, "/app.css")).status == 404
    assert "'app.css'" in caplog.text


async def test_a_directory_that_is_gone_is_503(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    app = StaticDirectory(tmp_path / "site")
    (tmp_path / "site").rmdir()
    assert (await ask(app, "/")).status == 503


async def test_the_directory_may_be_a_link_that_is_moved(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "index.html").write_text(release)
    (tmp_path / "current").symlink_to("1")
    app = StaticDirectory(tmp_path / "current")
    assert (await ask(app, "/")).body == b"1"
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").replace(tmp_path / "current")
    assert (await ask(app, "/")).body == b"2"


def test_mistakes_of_the_program_are_told_at_once(site: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"directory": site / "nowhere"},
        {"directory": site / "app.css"},
        {"directory": site, "index": "../index.html"},
        {"directory": site, "index": ""},
        {"directory": site, "precompressed": ("lzma",)},
        {"directory": site, "precompressed": "br"},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match="must be"):
            StaticDirectory(**options)


def test_a_relative_directory_stays_where_it_was(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site.parent)
    app = StaticDirectory("site")
    monkeypatch.chdir("/")
    assert asyncio.run(ask(app, "/")).status == 200
