"""A face that is as it should be passes, and each mistake is found by the test that is there for it."""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest
from qicore_testkit import PublicFace

INIT = '''\
"""Counts.

>>> from {name} import count
>>> count("ab")
2
"""

from {name}.words import count

__all__ = ["count"]
'''
WORDS = '''\
"""Words."""


def count(text: str) -> int:
    """Return the length."""
    return len(text)
'''

Make = Callable[[dict[str, str]], PublicFace]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Write a package whose files are those given, or good ones; return its face."""
    name = f"sample_{tmp_path.name}"

    def write(changes: dict[str, str]) -> PublicFace:
        files = {
            f"src/{name}/__init__.py": INIT.format(name=name),
            f"src/{name}/words.py": WORDS,
            f"src/{name}/py.typed": "",
            "README.md": f"```python\nfrom {name} import count\nprint(count('abc'))\n```\n```text\n3\n```\n",
            "LICENSE": "MIT License\n",
            "CHANGELOG.md": "# Changelog\n",
            "tests/typing/use.py": "",
        }
        files |= {path.replace("NAME", name): text.replace("NAME", name) for path, text in changes.items()}
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "path", [str(tmp_path / "src"), *sys.path])
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
        invalidate_caches()
        face = PublicFace()
        face.package, face.folder = import_module(name), tmp_path
        return face

    yield write
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]


def test_a_good_face_passes(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    face = make({})
    face.light = ("decimal",)
    face.test_all_is_sorted_and_complete()
    face.test_every_public_name_is_documented()
    face.test_docstring_examples_hold()
    face.test_readme_examples_hold(tmp_path, monkeypatch)
    face.test_the_package_is_marked_as_typed_and_licensed()
    face.test_import_stays_light()


@pytest.mark.parametrize(
    ("changes", "test"),
    [
        ({"src/NAME/__init__.py": '"""More."""\n__all__ = ["count"]\nfrom NAME.words import WORD, count\n',
          "src/NAME/words.py": WORDS + '\nWORD = "x"\n'}, "test_all_is_sorted_and_complete"),
        ({"src/NAME/words.py": "def count(text: str) -> int:\n    return len(text)\n"},
         "test_every_public_name_is_documented"),
        ({"src/NAME/words.py": WORDS.replace("len(text)", "len(text) + 1")}, "test_docstring_examples_hold"),
        ({"src/NAME/__init__.py": '"""No example."""\n__all__ = []\n'}, "test_docstring_examples_hold"),
        ({"LICENSE": "All rights reserved\n"}, "test_the_package_is_marked_as_typed_and_licensed"),
        ({"src/NAME/words.py": "import decimal\n" + WORDS}, "test_import_stays_light"),
    ],
    ids=["incomplete", "undocumented", "wrong example", "no example", "no licence", "heavy"],
)  # fmt: skip
def test_each_mistake_is_found(make: Make, changes: dict[str, str], test: str) -> None:
    face = make(changes)
    face.light = ("decimal",)
    with pytest.raises(AssertionError):
        getattr(face, test)()


def test_a_readme_without_an_example_is_found(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = make({"README.md": "# Words only\n"})
    with pytest.raises(AssertionError):
        face.test_readme_examples_hold(tmp_path, monkeypatch)
