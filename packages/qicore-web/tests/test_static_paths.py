"""No request gets a byte from outside of the directory, whatever it asks for, whatever happens meanwhile."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from qicore.web import folders
from qicore.web.folders import PathFolder, open_folder
from qicore.web.paths import names_of, path_below
from qicore.web.static import StaticDirectory
from starlette.types import Message

SECRET = b"SECRET that lies outside"
INSIDE = b"inside"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory between secrets: above it, beside it, under names like its own, and linked into it."""
    top = tmp_path_factory.mktemp("top")
    site = top / "site"
    for folder in (site / "a" / "b", top / "site-2", top / "site.d", top / "linked"):
        folder.mkdir(parents=True)
    for inside in (
        "index.html",
        "file.txt",
        "a/file.txt",
        "a/b/file.txt",
        "a/b/index.html",
        "con ext",
        "a b.txt",
    ):
        (site / inside).write_bytes(INSIDE)
    for secret in ("secret", "file.txt", "index.html", "site-2/secret", "site.d/secret", "linked/secret"):
        (top / secret).write_bytes(SECRET)
    for hidden in (".env", "a/.env"):
        (site / hidden).write_bytes(SECRET)
    (site / ".git").mkdir()
    (site / ".git" / "config").write_bytes(SECRET)
    (site / "out").symlink_to("../secret")
    (site / "out-absolute").symlink_to(top / "secret")
    (site / "out-folder").symlink_to("../linked")
    (site / "in").symlink_to("file.txt")
    (site / "in-folder").symlink_to("a")
    (site / "loop").symlink_to("loop")
    (site / "broken").symlink_to("nowhere")
    (site / "a" / "up").symlink_to("..")
    # Names that POSIX allows, and that mean something else elsewhere.
    for odd in (
        "nul",
        "aux.txt",
        "file.txt::$DATA",
        "c:secret",
        "..\\secret",
        "dot.",
        "blank ",
        "tab\t",
        "\udcff",
    ):
        (site / odd).write_bytes(SECRET)
    os.mkfifo(site / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(site / "socket"))
    listener.close()
    return site


async def ask(app: StaticDirectory, path: str) -> tuple[int, bytes]:
    status, body = 0, b""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status, body
        status = message.get("status", status)
        body += message.get("body", b"")

    await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
    return status, body


@pytest.fixture(params=["descriptors", "paths"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to look names up: systems without `openat` have only the second."""
    if request.param == "paths":
        monkeypatch.setattr(folders, "HAS_OPENAT", False)
    return str(request.param)


HOSTILE = [
    *(
        "/..",
        "/../secret",
        "/../../secret",
        "/a/../../secret",
        "/a/b/../../../secret",
        "/./../secret",
        "/.../secret",
    ),
    *("/../site-2/secret", "/..site-2/secret", "/-2/secret", "-2/secret", "/../site/../secret"),
    *(
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%2fsecret",
        "/%252e%252e/secret",
        "/..%252fsecret",
        "/..%c0%afsecret",
    ),
    *("/\ufffd\ufffd/secret", "/\u2025/secret", "/\uff0e\uff0e/secret", "/..\u2215secret", "/..\uff0fsecret"),
    *(
        "//secret",
        "///secret",
        "//etc/passwd",
        "/a//file.txt",
        "//a/file.txt",
        "/a/b//",
        "//",
        "/ /../secret",
    ),
    *(
        "/etc/passwd",
        "//localhost/etc/passwd",
        "/file:///etc/passwd",
        "file:///etc/passwd",
        "secret",
        "../secret",
    ),
    *(
        "/..\\secret",
        "\\..\\secret",
        "/a\\..\\..\\secret",
        "/\\\\host\\share",
        "//host/share",
        "/\\\\?\\C:\\secret",
    ),
    *(
        "/C:/secret",
        "/c:secret",
        "/C:\\secret",
        "/C|/secret",
        "/\\\\.\\C:\\",
        "/file.txt::$DATA",
        "/file.txt:x",
    ),
    *(
        "/nul",
        "/NUL",
        "/con",
        "/CON.txt",
        "/aux.txt",
        "/com1",
        "/COM¹",
        "/lpt9.x",
        "/prn ",
        "/a/nul",
        "/conin$",
    ),
    *(
        "/dot.",
        "/dot",
        "/file.txt.",
        "/file.txt ",
        "/blank ",
        "/blank",
        "/tab\t",
        "/file.txt\t",
        "/a./file.txt",
    ),
    *("/file.txt\0", "/\0", "/file.txt\0.html", "/../secret\0", "/a\0/../secret", "/file.txt\n", "/\r\nX: y"),
    *("/.env", "/a/.env", "/.git/config", "/.git", "/.", "/a/.", "/a/..", "/a/./file.txt", "/a/../file.txt"),
    *(
        "/out",
        "/out-absolute",
        "/out-folder/secret",
        "/out-folder/",
        "/in",
        "/in-folder/file.txt",
        "/loop",
        "/broken",
    ),
    *("/a/up/../secret", "/a/up/file.txt", "/loop/file.txt", "/fifo", "/socket", "/fifo/", "/socket/x"),
    *(
        "/\udcff",
        "/\ud800",
        "/" + "x" * 300,
        "/" + "x/" * 3000,
        "/" + "../" * 3000 + "secret",
        "/" + "a/" * 40000,
    ),
    *(
        "/proc/self/environ",
        "/dev/stdin",
        "/~/secret",
        "/~root",
        "/*",
        "/file.*",
        "/$HOME",
        "/`id`",
        "/file.txt|id",
    ),
]


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[:40])
async def test_hostile_paths_lead_nowhere(site: Path, way: str, path: str) -> None:
    status, body = await ask(StaticDirectory(site), path)
    assert status == 404
    assert SECRET not in body
    assert INSIDE not in body


@pytest.mark.parametrize("path", ["/file.txt", "/a/b/file.txt", "/con ext", "/a b.txt", "/", "/a/b/"])
async def test_honest_paths_arrive(site: Path, way: str, path: str) -> None:
    assert await ask(StaticDirectory(site), path) == (200, INSIDE)


async def test_links_are_followed_where_that_is_wanted(site: Path, way: str) -> None:
    app = StaticDirectory(site, follow_symlinks=True)
    assert await ask(app, "/in-folder/file.txt") == (200, INSIDE)
    assert await ask(app, "/out") == (200, SECRET)
    for path in ("/loop", "/broken", "/fifo", "/../secret", "/.env", "/nul", "/out-folder/../secret"):
        assert (await ask(app, path))[0] == 404, path


PARTS = (
    *("..", ".", "", "%2e%2e", "%2f", "%5c", "%00", "%25", "\\", "\0", ":", "~", " ", "a", "b", "up", "out"),
    *(
        "out-folder",
        "in",
        "secret",
        "file.txt",
        "site",
        "site-2",
        "linked",
        ".env",
        ".git",
        "C:",
        "nul",
        "\udcff",
    ),
    *("\ufffd", "index.html", "etc", "passwd", "fifo", "loop", "tab\t", "c:secret"),
)
PIECES = st.sampled_from(PARTS) | st.text(max_size=6)


@st.composite
def hostile_paths(draw: st.DrawFn) -> str:
    """Paths of names and what looks like them, decoded as a server does, too often, or not at all."""
    first = draw(st.sampled_from(["", "/", "//", "\\", "/a/", "/out-folder/"]))
    glue = draw(st.sampled_from(["/", "/", "/", "\\", "", "//", "%2f"]))
    path = first + glue.join(draw(st.lists(PIECES, max_size=9)))
    for _ in range(draw(st.integers(0, 3))):
        path = unquote(path)
    return path


PATHS = hostile_paths()


@given(PATHS)
@example("/a/up/../secret")
def test_no_path_gets_a_byte_from_outside(site: Path, path: str) -> None:
    status, body = asyncio.run(ask(StaticDirectory(site), path))
    assert status in (200, 307, 404)
    assert SECRET not in body


@given(PATHS)
def test_no_path_gets_a_byte_from_outside_where_paths_are_all_there_is(site: Path, path: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "HAS_OPENAT", False)
        status, body = asyncio.run(ask(StaticDirectory(site), path))
    assert status in (200, 307, 404)
    assert SECRET not in body


@given(PATHS, st.booleans())
def test_the_names_of_a_path_are_plain(path: str, hidden: bool) -> None:
    names = names_of(path, hidden=hidden)
    if names:
        assert "/" + "/".join(names) == path, "nothing was cut away or added"
        assert not {"", ".", ".."}.intersection(names[:-1])
        assert names[-1] not in (".", "..")
        assert not any(sign in name for name in names for sign in "/\\:\0")
        assert hidden or not any(name.startswith(".") for name in names)


@given(PATHS, st.sampled_from(["", "/files", "/a", "/..", "/"]), st.sampled_from(["", "/api"]))
def test_the_part_below_is_an_end_of_the_path(path: str, root: str, outer: str) -> None:
    assert path.endswith(path_below({"path": path, "root_path": outer + root, "app_root_path": outer}))


# What is swapped between the look and the opening


class Swapping:
    """Runs an act once, right before the file is opened (or a directory entered) that bears a name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, act: Any) -> None:
        opened = os.open
        self.done = False

        def swapped(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if not self.done and Path(path).name == name:
                self.done = True
                act()
            return opened(path, flags, *arguments, **options)

        monkeypatch.setattr(os, "open", swapped)


def swap(target: Path, other: Path) -> None:
    if target.is_dir():
        target.rename(target.with_name(target.name + "-old"))
    other.replace(target)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
async def test_a_file_swapped_before_it_is_opened_leads_nowhere(
    tmp_path: Path, way: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "file.txt").write_bytes(INSIDE)
    (tmp_path / "secret").write_bytes(SECRET)
    other = site / "other"
    if kind == "link":
        other.symlink_to("../secret")
    elif kind == "fifo":
        os.mkfifo(other)
    else:
        other.mkdir()

    def act() -> None:
        (site / "file.txt").unlink()
        other.rename(site / "file.txt")

    app = StaticDirectory(site)
    swapping = Swapping(monkeypatch, "file.txt", act)
    status, body = await ask(app, "/file.txt")
    assert swapping.done
    assert (status, SECRET in body) == (404, False)


async def test_a_directory_swapped_on_the_way_leads_nowhere(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "a" / "b").mkdir(parents=True)
    (site / "a" / "b" / "secret").write_bytes(INSIDE)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "secret").write_bytes(SECRET)
    (site / "other").symlink_to("../linked")
    app = StaticDirectory(site)
    name = "b" if way == "descriptors" else "secret"
    swapping = Swapping(monkeypatch, name, lambda: swap(site / "a" / "b", site / "other"))
    status, body = await ask(app, "/a/b/secret")
    assert swapping.done
    assert (status, SECRET in body) == (404, False)


async def test_a_file_swapped_for_the_moment_of_the_opening_leads_nowhere(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    file = tmp_path / "site" / "file.txt"
    file.write_bytes(INSIDE)
    opened = os.open

    def swapped(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if Path(path).name != "file.txt":
            return opened(path, flags, *arguments, **options)
        file.rename(tmp_path / "kept")
        file.symlink_to("../secret")
        try:
            return opened(path, flags, *arguments, **options)
        finally:
            (tmp_path / "kept").replace(file)

    monkeypatch.setattr(os, "open", swapped)
    status, body = await ask(StaticDirectory(tmp_path / "site"), "/file.txt")
    assert (status, SECRET in body) == (404, False)


def test_racing_swaps_never_show_what_is_outside(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "file.txt").write_bytes(SECRET)
    (site / "real").mkdir()
    (site / "real" / "file.txt").write_bytes(INSIDE)
    (site / "link").symlink_to("../linked")
    stop = threading.Event()

    def swap_on() -> None:
        while not stop.is_set():
            (site / "real").rename(site / "a")
            (site / "a").rename(site / "real")
            (site / "link").rename(site / "a")
            (site / "a").rename(site / "link")

    thread = threading.Thread(target=swap_on)
    thread.start()
    try:
        app = StaticDirectory(site)
        answers = [asyncio.run(ask(app, "/a/file.txt")) for _ in range(400)]
    finally:
        stop.set()
        thread.join()
    assert not [body for _, body in answers if SECRET in body]
    assert {status for status, _ in answers} <= {200, 404}


def test_the_descriptor_way_opens_no_device(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    opened = os.open

    def watched(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        tried.append(Path(path).name)
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", watched)
    for name in ("fifo", "socket", "out"):
        assert asyncio.run(ask(StaticDirectory(site), f"/{name}"))[0] == 404
    assert set(tried) == {"site"}


def test_short_names_and_other_spellings_are_not_the_real_name(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where `SECRET~1` opens the file that `secret-long-name` names."""
    real = os.path.realpath

    def long_names(path: Any, **options: Any) -> str:
        return str(real(path, **options)).replace("FILE~1.TXT", "file.txt")

    (site / "FILE~1.TXT").write_bytes(INSIDE)
    try:
        monkeypatch.setattr(os.path, "realpath", long_names)
        with closing(PathFolder(str(site), follow=False)) as folder, pytest.raises(FileNotFoundError):
            folder.open("FILE~1.TXT")
    finally:
        (site / "FILE~1.TXT").unlink()


def test_folders_give_their_descriptors_back(site: Path) -> None:
    before = descriptors()
    for names in (["a", "b"], ["a", "nothing"], ["fifo"], ["out-folder"]):
        with closing(open_folder(str(site), follow=False)) as folder:
            try:
                for name in names:
                    folder.enter(name)
                os.close(folder.open("file.txt")[0])
            except OSError:
                continue
    assert descriptors() == before


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


# Through a real server, as bytes on a socket


@pytest.fixture(scope="module")
def port(site: Path) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(StaticDirectory(site), lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


def spoken(port: int, target: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


@pytest.mark.parametrize(
    "target",
    [
        *(b"/../secret", b"/%2e%2e/secret", b"/%2e%2e%2fsecret", b"/..%2fsecret", b"/a/%2e%2e/%2e%2e/secret"),
        *(b"/%252e%252e/secret", b"/%c0%ae%c0%ae/secret", b"/%e0%80%ae%e0%80%ae/secret", b"/..%c0%afsecret"),
        *(
            b"/%5c..%5csecret",
            b"/..%5csecret",
            b"//secret",
            b"/%2fetc/passwd",
            b"http://x/../secret",
            b"../secret",
        ),
        *(
            b"/file.txt%00",
            b"/%00",
            b"/file.txt%0a",
            b"/out",
            b"/out-folder/secret",
            b"/%ff",
            b"/%2e%65nv",
            b"/%2eenv",
        ),
        *(
            b"/c:secret",
            b"/nul",
            b"/file.txt::$DATA",
            b"/file.txt%20",
            b"/file.txt.",
            b"/%u002e%u002e/secret",
        ),
    ],
)
def test_hostile_bytes_through_a_server_lead_nowhere(port: int, target: bytes) -> None:
    answer = spoken(port, target)
    assert answer.split(b" ")[1] in (b"404", b"400")
    assert SECRET not in answer
    assert b"root:" not in answer
    assert spoken(port, b"/file.txt").endswith(INSIDE), "it still serves the others"
