from pathlib import Path

import pytest
from askdocs.extract import KINDS, take_apart
from askdocs.model import Passage
from askdocs.texts import read_text
from hypothesis import given
from hypothesis import strategies as st
from qicore.base.testing import assert_failure, assert_success

MARKDOWN = """\
# Guide

Hello *there*, `reader`.

## Install

1. First
2. Then

```
pip install it
```

| a | b |
|---|---|
| 1 | 2 |
"""


def passages(name: str, text: str) -> tuple[Passage, ...]:
    return assert_success(take_apart(Path(name), text)).passages


def test_markdown_keeps_the_trail_of_headings_and_the_line() -> None:
    found = assert_success(take_apart(Path("a.md"), MARKDOWN))
    assert found.title == "Guide"
    assert found.passages == (
        Passage(heading="Guide", line=3, text="Hello there, reader."),
        Passage(heading="Guide > Install", line=7, text="First\nThen\npip install it\na b 1 2"),
    )


def test_what_no_database_can_store_is_replaced() -> None:
    (found,) = passages("a.py", r'''"""before \x00 \x02 \x03 \ud800 after"""''')
    assert found.text == "before � � � � after"


def test_html_leaves_out_what_is_no_text() -> None:
    page = (
        "<title>T</title><style>p{}</style><nav><p>menu</p></nav>\n<main><h2>Part</h2>\n"
        "<p>One <b>bold</b></p><script>x</script><ul><li>two</li></ul></main>"
    )
    assert passages("a.html", page) == (Passage(heading="T > Part", line=3, text="One bold\ntwo"),)
    assert passages("a.htm", "just words") == (Passage(heading="", line=1, text="just words"),)


def test_python_is_read_by_its_docstrings() -> None:
    code = '"""Top."""\n\n\nclass A:\n    """A class."""\n\n'
    code += '    async def go(self):\n        """Go.\n\n        Far.\n        """\n'
    assert passages("a.py", code) == (
        Passage(heading="", line=1, text="Top."),
        Passage(heading="A", line=5, text="A class."),
        Passage(heading="A > A.go", line=8, text="Go.\nFar."),
    )


def test_plain_text_is_split_at_empty_lines_and_joined_until_it_can_stand_alone() -> None:
    long = "word " * 130
    found = passages("a.txt", f"one\nmore\n\ntwo\n\n{long}\n\nlast")
    assert [passage.line for passage in found] == [1, 8]
    assert found[0].text.startswith("one more\ntwo\nword")


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_nothing_to_read_is_said(suffix: str) -> None:
    assert_failure(take_apart(Path("a" + suffix), " \n"), "FILE_EMPTY")


def test_what_is_not_what_its_suffix_says() -> None:
    assert_failure(take_apart(Path("a.py"), "def :"), "FILE_MALFORMED")
    assert_failure(take_apart(Path("a.py"), "(" * 5000), "FILE_MALFORMED")


@given(st.sampled_from(sorted(KINDS)), st.text())
def test_no_text_brings_it_down(suffix: str, text: str) -> None:
    take_apart(Path("a" + suffix), text)


class TestReading:
    def test_text(self, tmp_path: Path) -> None:
        file = tmp_path / "a.txt"
        file.write_bytes("\ufeffgrün".encode())
        read = assert_success(read_text(file, max_bytes=100))
        assert (read.text, read.size, len(read.digest)) == ("grün", 8, 64)

    @pytest.mark.parametrize(
        ("content", "code"),
        [(b"\x7fELF\0\0", "FILE_NOT_TEXT"), (b"gr\xfcn", "FILE_NOT_TEXT"), (b"x" * 101, "FILE_TOO_LARGE")],
    )
    def test_what_is_no_text(self, tmp_path: Path, content: bytes, code: str) -> None:
        file = tmp_path / "a.txt"
        file.write_bytes(content)
        assert_failure(read_text(file, max_bytes=100), code)

    def test_a_huge_file_is_not_read_into_memory(self, tmp_path: Path) -> None:
        file = tmp_path / "a.txt"
        with file.open("wb") as sparse:
            sparse.truncate(100_000_000_000)
        assert_failure(read_text(file, max_bytes=1000), "FILE_TOO_LARGE")

    def test_what_is_gone_or_no_file(self, tmp_path: Path) -> None:
        assert_failure(read_text(tmp_path / "none.txt", max_bytes=10), "FILE_UNREADABLE")
        assert_failure(read_text(tmp_path, max_bytes=10), "FILE_UNREADABLE")
