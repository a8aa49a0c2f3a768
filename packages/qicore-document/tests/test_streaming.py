import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Failure, Success
from qicore.document import DocumentConfig, DocumentGenerator

REPORT = (
    "<table>{% for row in rows %}<tr><td>{{ row.n }}</td><td>{{ row.text }}</td></tr>\n{% endfor %}</table>"
)


def make(**options: Any) -> DocumentGenerator:
    templates = {
        "r.html": REPORT,
        "bad.txt": "{% for n in rows %}{{ 12 // n }};{% endfor %}",
        "n.txt": "{{ x }}",
    }
    return DocumentGenerator.create(DocumentConfig(templates=templates, **options)).unwrap()


def rows(count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        yield {"n": number, "text": "a < b"}


MEASURE = """
import resource, sys
from qicore.document import DocumentConfig, DocumentGenerator

generator = DocumentGenerator.create(DocumentConfig(templates={"r.html": sys.argv[1]})).unwrap()

def length(count):
    rows = ({"n": 1, "text": "a < b"} for _ in range(count))
    return sum(len(chunk.unwrap()) for chunk in generator.stream("r.html", {"rows": rows}))

length(20_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(length(1_000_000), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_report_of_a_million_rows_takes_constant_memory() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, REPORT], capture_output=True, text=True, check=True)
    length, grown = map(int, done.stdout.split())
    one_row = len("<tr><td>1</td><td>a &lt; b</td></tr>\n")
    assert length == len("<table></table>") + 1_000_000 * one_row
    unit = 1 if sys.platform == "darwin" else 1024
    assert grown * unit < 4_000_000, "the document has 37 million characters"


def test_chunks_are_of_sensible_size() -> None:
    chunks = [chunk.unwrap() for chunk in make(chunk_size=1000).stream("r.html", {"rows": rows(500)})]
    assert all(1000 <= len(chunk) < 1200 for chunk in chunks[:-1])
    assert "".join(chunks) == make().generate("r.html", {"rows": rows(500)}).unwrap()
    assert list(make().stream("n.txt", {"x": ""})) == []


def test_an_error_is_the_last_item_after_what_was_made() -> None:
    items = list(make().stream("bad.txt", {"rows": iter([4, 3, 0, 1])}))
    assert items[0] == Success("3;4;")
    assert [item.error.code for item in items[1:] if item.error] == ["TEMPLATE_ERROR"]
    assert [item.error.code for item in make().stream("gone", {}) if item.error] == ["TEMPLATE_NOT_FOUND"]
    assert [item.error.code for item in make().stream("n.txt", 3) if item.error] == ["TEMPLATE_DATA_INVALID"]


def closing(log: list[str]) -> Generator[dict[str, object], None, None]:
    try:
        yield from rows(1_000_000)
    finally:
        log.append("closed")


def test_breaking_out_closes_the_data() -> None:
    log: list[str] = []
    data = closing(log)
    stream = make(chunk_size=100).stream("r.html", {"rows": data})
    for _ in stream:
        break
    assert log == ["closed"]
    assert [item.error.code for item in stream if item.error] == ["STREAM_CONSUMED"]


def test_closing_an_unread_stream_closes_the_data() -> None:
    log: list[str] = []
    data = closing(log)
    next(data)
    with make().stream("r.html", {"rows": data}) as stream:
        pass
    assert log == ["closed"]
    assert stream.close() == Success(None)


async def test_async_iteration_with_async_data() -> None:
    async def source() -> AsyncGenerator[dict[str, object], None]:
        for row in rows(2000):
            yield row

    async def title() -> str:
        return "t"

    stream = make(chunk_size=500).stream("r.html", {"rows": source(), "title": title()})
    text = "".join([chunk.unwrap() async for chunk in stream])
    assert text == make().generate("r.html", {"rows": rows(2000)}).unwrap()


async def test_the_loop_stays_free_while_a_chunk_is_made() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    async for chunk in make(chunk_size=10_000_000).stream("r.html", {"rows": rows(20_000)}):
        assert len(chunk.unwrap()) > 500_000
    ticker.cancel()
    assert ticks > 5


async def test_leaving_an_async_loop_closes_the_data() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[dict[str, object], None]:
        try:
            for row in rows(1_000_000):
                yield row
        finally:
            closed.set()

    async with make(chunk_size=100).stream("r.html", {"rows": source()}) as stream:
        async for _ in stream:
            break
    await asyncio.wait_for(closed.wait(), 60)


async def test_cancelling_a_reader_closes_the_data() -> None:
    log: list[str] = []
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in make(chunk_size=100).stream("r.html", {"rows": closing(log)}):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(1000):
        if log:
            break
        await asyncio.sleep(0.01)
    assert log == ["closed"]


async def test_async_data_without_its_loop_is_a_failure() -> None:
    async def source() -> AsyncGenerator[int, None]:
        yield 1

    items = list(make().stream("n.txt", {"x": 1, "rows": source()}))
    assert items == [Success("1")], "data that is not used is not missed"
    items = list(make().stream("r.html", {"rows": source()}))
    assert [item.error.code for item in items if item.error] == ["TEMPLATE_DATA_INVALID"]
    stopped = await asyncio.to_thread(lambda: list(make().stream("r.html", {"rows": source()})))
    assert [item.error.code for item in stopped if item.error] == ["TEMPLATE_DATA_INVALID"]


# -- files


def test_save_writes_the_whole_document(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    before = os.umask(0o022)
    try:
        assert make().stream("r.html", {"rows": rows(5000)}).save(target) == Success(target)
    finally:
        os.umask(before)
    assert target.read_text(encoding="utf-8") == make().generate("r.html", {"rows": rows(5000)}).unwrap()
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_failing_document_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")
    target.chmod(0o600)
    result = make().stream("bad.txt", {"rows": iter([1] * 100_000 + [0])}).save(target)
    assert result.error is not None
    assert result.error.code == "TEMPLATE_ERROR"
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]
    make().stream("n.txt", {"x": "new\n"}).save(str(target)).unwrap()
    assert target.read_bytes() == b"new\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["missing/dir/file", "", "a\0b"])
def test_what_can_not_be_written_is_a_failure(tmp_path: Path, name: str) -> None:
    log: list[str] = []
    result = make().stream("r.html", {"rows": closing(log)}).save(tmp_path / name)
    assert isinstance(result, Failure)
    assert result.error.code == "DOCUMENT_WRITE_FAILED"
    assert [path.name for path in tmp_path.parent.iterdir() if path.name.endswith(".tmp")] == []


async def test_save_in_a_thread_with_async_data(tmp_path: Path) -> None:
    async def source() -> AsyncGenerator[dict[str, object], None]:
        for row in rows(1000):
            yield row

    stream = make().stream("r.html", {"rows": source()})
    saved = await asyncio.to_thread(stream.save, tmp_path / "r.html")
    assert saved.unwrap().stat().st_size > 30_000
