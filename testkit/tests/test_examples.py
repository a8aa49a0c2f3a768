import sys
import traceback
from pathlib import Path

import pytest
from qicore_testkit import Example, read_examples, run_example, run_page

PAGE = """\
# Page

```python
word = "seen"
print(word)
```
It prints
```text
seen
```

```sh
rm -r everything
```

```python
print(word * 2)
```

## Next

```text
not the output of the example above the heading
```

```pycon
>>> word
'seen'
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_python_blocks_are_found_with_their_line_and_output(page: Path) -> None:
    first, second, third = read_examples(page)
    assert (first.source, first.output) == ('word = "seen"\nprint(word)\n', "seen\n")
    assert page.read_text(encoding="utf-8").splitlines()[first.line - 1] == 'word = "seen"'
    assert (second.output, third.output) == (None, None)


def test_examples_of_a_page_share_their_names(page: Path) -> None:
    namespace: dict[str, object] = {}
    for example in read_examples(page):
        run_example(example, namespace)
    assert namespace["word"] == "seen"


@pytest.mark.parametrize(
    ("source", "output"),
    [("print(1)\n", "2\n"), ("print(1)\n", ""), (">>> 1 + 1\n3\n", None), ("assert 1 > 2\n", None)],
)
def test_an_example_that_says_something_else_fails(source: str, output: str | None) -> None:
    with pytest.raises(AssertionError):
        run_example(Example(Path("page.md"), 1, source, output), {})


def test_a_failure_points_at_its_line_in_the_page() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run_example(Example(Path("page.md"), 7, "one = 1\none / 0\n", None), {})
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == ("page.md", 8)


def test_an_ellipsis_stands_for_what_changes() -> None:
    run_example(Example(Path("page.md"), 1, "print('took', 12, 'ms')\n", "took ... ms\n"), {})


FILES = """\
```yaml title="conf/app.yaml"
port: 8080
```

```python title="half.py"
def half(number: int) -> float:
    return number / 2
```

```python
import asyncio
from pathlib import Path

event = asyncio.Event()
print(Path("conf/app.yaml").read_text(), end="")
```
```text
port: 8080
```

```python
event.set()
await event.wait()
from half import half
print(half(3))
```
```text
1.5
```
"""


def test_a_block_with_a_title_is_a_file_and_one_without_may_await(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(FILES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run_page(page)
    assert (tmp_path / "half.py").is_file()
    assert "half" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_a_page_that_says_something_else_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(FILES.replace("1.5", "2"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match=r"page\.md:"):
        run_page(page)
