"""The index in a file and the one on PostgreSQL answer alike: passages, order, scores, excerpts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import PurePosixPath

import pytest
from askdocs.extract import take_apart
from askdocs.model import Page, Stored
from askdocs.place import place_of
from askdocs.store import Index
from askdocs.texts import decode
from askdocs.words import phrases, placed
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success

WORDS = ("cache", "Caches", "cancel", "cancelled", "from_try_catch", "try", "catch", "naïve", "naive", "ship")


async def put(index: Index, path: str, text: str) -> Result[Stored]:
    read = assert_success(decode(text.encode()))
    extract = assert_success(take_apart(PurePosixPath(path), read.text))
    return await index.put(path, path.rpartition(".")[2], read, extract)


@pytest.fixture
async def both(tmp_path: PurePosixPath, postgres_url: str) -> AsyncIterator[Sequence[Index]]:
    async with (
        assert_success(await Index.create(f"sqlite:///{tmp_path}/askdocs.db")) as file,
        assert_success(await Index.create(postgres_url)) as server,
    ):
        yield file, server


def shown(page: Page) -> object:
    """All of a page but numbers that each index gives by itself, and the time."""
    hits = [(hit.path, hit.title, hit.heading, hit.line, hit.excerpt, hit.score) for hit in page.answer.hits]
    return page.total, hits


async def assert_alike(both: Sequence[Index], question: str) -> Page:
    file, server = [assert_success(await index.page(question, 50, 0)) for index in both]
    assert shown(server) == shown(file)
    for offset in range(0, file.total, 7):
        parts = [assert_success(await index.page(question, 7, offset)) for index in both]
        assert shown(parts[0]) == shown(parts[1])
    return file


async def test_passages_are_ranked_and_cut_alike(both: Sequence[Index]) -> None:
    for number in range(40):
        words = [WORDS[(number * step) % len(WORDS)] for step in range(1, 3 + number % 7)]
        text = (
            f"# {words[-1]} of {number}\n\n" + " and ".join(words) + "\n\n" + "filler words " * (number * 3)
        )
        for index in both:
            assert_success(await put(index, f"{number}.md", text))
    for index in both:  # what is replaced and removed counts no more
        assert_success(await put(index, "3.md", "# Harbour\n\nA ship is in the harbour.\n"))
        assert_success(await index.remove(["5.md", "6.md"]))
    for question in (*WORDS, "cancel cancels cancelling", "where is the ship?", "the of", "__ ship", "zebra"):
        await assert_alike(both, question)
    found = await assert_alike(both, "from_try_catch")
    assert 0 < found.total < (await assert_alike(both, "try catch")).total
    assert (await assert_alike(both, "harbour")).answer.hits[0].path == "3.md"


@pytest.mark.parametrize(
    "text", ["x" * 100_000, "é" * 5000, "ship's", "a_b_a_b a_b", "漢字 カタカナ", "🚢 x²"]
)
async def test_words_of_every_kind(both: Sequence[Index], text: str) -> None:
    for index in both:
        assert_success(await put(index, "odd.txt", text))
        assert_success(await put(index, "even.txt", "something else"))
    await assert_alike(both, text)


async def test_facts_are_told_alike(both: Sequence[Index]) -> None:
    told: list[object] = []
    for index in both:
        for name in ("b.md", "a.txt", "c.md"):
            assert_success(await put(index, name, "# Title\n\ntwo words\n\nmore\n"))
        stats = assert_success(await index.stats())
        assert stats.index_size > 1000
        documents = assert_success(await index.largest(5))
        opened = assert_success(await index.document(documents[0].number))
        facts = [(one.path, one.kind, one.size, one.passages) for one in documents]
        told.append((stats.documents, stats.passages, stats.words, stats.text_size, stats.kinds, facts))
        told.append([(one.heading, one.line, one.text) for one in opened.passages])
    assert told[:2] == told[2:]


async def test_a_document_that_is_given_again(place: str) -> None:
    async with assert_success(await Index.create(place)) as index:
        first = assert_success(await put(index, "a.md", "# One\n\nfirst"))
        assert first.change == "added"
        assert assert_success(await put(index, "a.md", "# One\n\nfirst")).change == "unchanged"
        second = assert_success(await put(index, "a.md", "# Two\n\nsecond"))
        assert (second.change, second.number) == ("updated", first.number)
        assert assert_success(await index.page("first", 5, 0)).total == 0
        assert assert_success(await index.page("second", 5, 0)).total == 1


async def test_what_passages_mean_is_kept_until_they_change(place: str) -> None:
    async with assert_success(await Index.create(place)) as index:
        assert_success(await put(index, "a.md", "# One\n\nfirst\n\n# Two\n\nsecond"))
        first, second = assert_success(await index.without_meaning("tiny", 5))
        vectors = [(first.number, b"\0\1\2\xff"), (second.number, b"\xff" * 8)]
        assert_success(await index.put_meanings("tiny", vectors))
        assert assert_success(await index.meanings("tiny")) == vectors
        assert assert_success(await index.without_meaning("tiny", 5)) == []
        assert len(assert_success(await index.without_meaning("other", 5))) == 2
        hits = assert_success(await index.hits([second.number, first.number]))
        assert [(hit.text, hit.excerpt, hit.score) for hit in hits] == [
            ("second", "second", 0.0),
            ("first", "first", 0.0),
        ]
        assert assert_success(await index.hits([])) == []
        assert_success(await put(index, "a.md", "# One\n\nthird"))
        assert assert_success(await index.meanings("tiny")) == []


async def test_what_others_did_while_the_model_was_asked_costs_no_other_passage_its_meaning(
    place: str,
) -> None:
    async with assert_success(await Index.create(place)) as index:
        assert_success(await put(index, "a.md", "# One\n\nfirst\n\n# Two\n\nsecond"))
        assert_success(await put(index, "b.md", "# Three\n\nthird"))
        asked = assert_success(await index.without_meaning("tiny", 5))
        assert_success(await index.put_meanings("tiny", [(asked[0].number, b"\0\1\2\xff")]))
        assert_success(await index.remove(["b.md"]))
        assert_success(await index.put_meanings("tiny", [(one.number, b"\xff" * 4) for one in asked]))
        assert assert_success(await index.meanings("tiny")) == [
            (asked[0].number, b"\0\1\2\xff"),
            (asked[1].number, b"\xff" * 4),
        ]


async def test_one_document_given_by_many_at_once_is_there_once(place: str) -> None:
    async with (
        assert_success(await Index.create(place)) as index,
        assert_success(await Index.create(place)) as another,
    ):
        given_ = [put((index, another)[number % 2], "a.md", f"ship {number // 4}") for number in range(16)]
        changes = [assert_success(stored).change for stored in await asyncio.gather(*given_)]
        assert changes.count("added") == 1
        assert assert_success(await index.page("ship", 50, 0)).total == 1
        assert assert_success(await another.stats()).passages == 1


async def test_an_index_that_is_not_there_on_a_server_that_is(postgres_url: str) -> None:
    error = assert_failure(await Index.open(postgres_url), "INDEX_NOT_FOUND")
    assert "options" not in error.message
    async with assert_success(await Index.create(postgres_url)):
        pass
    async with assert_success(await Index.open(postgres_url)) as index:
        assert_failure(await put(index, "a.md", "not to be written"), "DB_READ_ONLY")


def test_a_place_is_told_without_its_secrets() -> None:
    for url in (
        "postgresql://app:s3cret@db/docs",
        "postgresql://app:s3c/ret?x@db/docs",
        "postgresql://db/docs?user=app&password=s3cret",
        "postgresql://app:s3c@ret@db/docs?password=s3c@ret",
        "postgresql://db/docs?password=s3c@r/et",
    ):
        assert str(place_of(url)) == "postgresql://db/docs"
    with pytest.raises(ValueError, match="postgresql://HOST") as refused:
        place_of("mysql://app:s3cret@db/docs")
    assert "s3cret" not in str(refused.value)


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=80)), max_size=5))
def test_no_place_is_taken_twice_and_none_is_between_heading_and_text(texts: list[tuple[str, str]]) -> None:
    readable = [(heading.replace("\0", ""), text.replace("\0", "")) for heading, text in texts]
    for passage in placed(readable):
        places = sorted(place for places in passage.places.values() for place in places)
        assert len(set(places)) == len(places) == passage.count
        assert -1 not in places
    assert len(phrases([text for _, text in readable])) == len(readable)
