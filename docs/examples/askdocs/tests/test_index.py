import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from askdocs.files import find_files
from askdocs.ingest import ingest
from askdocs.model import IngestSummary
from askdocs.settings import IngestSettings, Settings
from askdocs.store import Index
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.logging import LogConfig, Logger


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.md").write_text("# Cache\n\nA cache keeps what was computed, until it expires.\n")
    (folder / "inner" / "b.txt").write_text("Cancel a task with its cancel method.")
    (folder / "inner" / "picture.png").write_bytes(b"\x89PNG\0")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "c.md").write_text("never read")
    return folder


@pytest.fixture
async def index(place: str) -> AsyncIterator[Index]:
    async with assert_success(await Index.create(place)) as opened:
        yield opened


def silent(done: int, total: int, name: str) -> None:
    assert done < total


async def read(index: Index, *paths: Path, max_bytes: int = 1_000_000) -> Result[IngestSummary]:
    log = assert_success(Logger.create(LogConfig(level="fatal")))
    settings = Settings(ingest=IngestSettings(max_file_size=max_bytes))
    return await ingest(index, [str(path) for path in paths], settings=settings, progress=silent, log=log)


class TestFinding:
    def test_files_below_a_folder_in_order(self, docs: Path) -> None:
        found = assert_success(find_files([docs, docs / "a.md"]))
        assert [file.name for file in found] == ["a.md", "b.txt"]

    def test_every_missing_path_is_named(self, tmp_path: Path) -> None:
        error = assert_failure(find_files([tmp_path / "x", tmp_path, tmp_path / "y"]), "MULTIPLE_ERRORS")
        assert "x;" in error.message
        assert error.message.endswith("y")

    def test_a_link_that_goes_round_is_no_trap(self, docs: Path) -> None:
        (docs / "inner" / "round").symlink_to(docs)
        assert len(assert_success(find_files([docs]))) == 2


class TestIngest:
    async def test_and_again(self, index: Index, docs: Path) -> None:
        first = assert_success(await read(index, docs))
        assert (first.added, first.updated, first.unchanged, first.passages) == (2, 0, 0, 2)
        again = assert_success(await read(index, docs))
        assert (again.added, again.updated, again.unchanged, again.passages) == (0, 0, 2, 0)

    async def test_changes_and_removals(self, index: Index, docs: Path) -> None:
        assert_success(await read(index, docs))
        (docs / "a.md").write_text("# Queue\n\nA queue hands things on in order.\n")
        (docs / "inner" / "b.txt").unlink()
        summary = assert_success(await read(index, docs))
        assert (summary.updated, summary.removed) == (1, 1)
        assert assert_success(await index.search("cache", 5)).hits == ()
        assert len(assert_success(await index.search("queue", 5)).hits) == 1
        assert assert_success(await index.stats()).passages == 1

    async def test_another_folder_is_left_alone(self, index: Index, docs: Path, tmp_path: Path) -> None:
        assert_success(await read(index, docs))
        other = tmp_path / "other"
        other.mkdir()
        assert assert_success(await read(index, other)).removed == 0
        assert assert_success(await index.stats()).documents == 2

    async def test_what_cannot_be_read_is_skipped_and_told_of(self, index: Index, docs: Path) -> None:
        (docs / "binary.md").write_bytes(b"\0\1")
        (docs / "large.txt").write_text("x" * 2000)
        summary = assert_success(await read(index, docs, docs / "inner" / "picture.png", max_bytes=1000))
        assert {(Path(one.source).name, one.code) for one in summary.skipped} == {
            ("binary.md", "FILE_NOT_TEXT"),
            ("large.txt", "FILE_TOO_LARGE"),
            ("picture.png", "FILE_KIND_UNKNOWN"),
        }
        assert summary.added == 2

    async def test_a_document_that_became_unreadable_leaves_the_index(self, index: Index, docs: Path) -> None:
        assert_success(await read(index, docs))
        (docs / "a.md").write_bytes(b"\0")
        assert assert_success(await read(index, docs)).removed == 1
        assert assert_success(await index.search("cache", 5)).hits == ()

    async def test_a_missing_path_changes_nothing(self, index: Index, docs: Path, tmp_path: Path) -> None:
        assert_failure(await read(index, docs, tmp_path / "none"), "PATH_NOT_FOUND")
        assert assert_success(await index.stats()).documents == 0

    async def test_cancelled_in_the_middle_the_index_holds(self, index: Index, tmp_path: Path) -> None:
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(40):
            (folder / f"{number:02}.md").write_text(f"# Part {number}\n\nwords about number{number}\n")
        log = assert_success(Logger.create(LogConfig(level="fatal")))
        reached = asyncio.Event()

        def progress(done: int, total: int, name: str) -> None:
            if done == 10:
                reached.set()

        task = asyncio.ensure_future(
            ingest(index, [str(folder)], settings=Settings(), progress=progress, log=log)
        )
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stats = assert_success(await index.stats())
        assert 10 <= stats.documents < 40
        assert stats.documents == stats.passages
        rest = assert_success(await read(index, folder))
        assert rest.unchanged == stats.documents
        assert rest.added == 40 - stats.documents


class TestSearch:
    async def test_the_best_passage_comes_first_with_its_source(self, index: Index, docs: Path) -> None:
        assert_success(await read(index, docs))
        answer = assert_success(await index.search("How do I cancel tasks?", 5))
        assert [hit.source for hit in answer.hits] == [f"{docs / 'inner' / 'b.txt'}:1"]
        assert answer.hits[0].excerpt.startswith("\x02Cancel\x03 a \x02task\x03")
        assert answer.hits[0].score > 0

    @pytest.mark.parametrize("question", ["", "  ", "?!", "\x00"])
    async def test_an_empty_question(self, index: Index, question: str) -> None:
        assert_failure(await index.search(question, 5), "EMPTY_QUESTION")

    @pytest.mark.parametrize(
        "question",
        [
            'a"',
            "a AND OR NOT",
            "NEAR(",
            "text:*",
            "'; DROP TABLE documents; --",
            "x" * 100_000,
            "ü 漢字 🙂",
            "a " * 9999,
        ],
    )
    async def test_no_question_is_read_as_syntax(self, index: Index, docs: Path, question: str) -> None:
        assert_success(await read(index, docs))
        assert_success(await index.search(question, 5))
        assert assert_success(await index.stats()).documents == 2

    async def test_questions_are_remembered_once_each_the_latest_first(
        self, index: Index, docs: Path
    ) -> None:
        assert_success(await read(index, docs))
        for question in ("cache", "task", "cache"):
            assert_success(await index.remember(assert_success(await index.search(question, 5))))
        assert [asked.question for asked in assert_success(await index.asked(5))] == ["cache", "task"]


class TestOpening:
    async def test_no_index(self, tmp_path: Path) -> None:
        error = assert_failure(await Index.open(tmp_path / "none.db"), "INDEX_NOT_FOUND")
        assert error.context["hint"] == "make one: askdocs ingest PATH"

    async def test_no_folder_for_it(self, tmp_path: Path) -> None:
        assert_failure(await Index.create(tmp_path / "none" / "askdocs.db"), "INDEX_FOLDER_NOT_FOUND")

    async def test_a_file_that_is_no_index(self, tmp_path: Path) -> None:
        file = tmp_path / "a.db"
        file.write_text("no database " * 1000)
        assert_failure(await Index.create(file), "DB_CONNECT_FAILED")
