"""The catalogue of error codes has every code of the source, and no other."""

import ast
import re
from pathlib import Path

import pytest
from error_codes import Source, explanations, page, produced
from qicore.base import ErrorCategory
from workspace import Package, packages

# Texts in the source that look like codes and are none: variables of the environment, names of the operating
# system and of SQLite, and the state of a circuit.
NOT_CODES = {
    "HALF_OPEN",
    "LC_ALL",
    "NO_COLOR",
    "OLLAMA_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "O_BINARY",
    "O_CLOEXEC",
    "O_DIRECTORY",
    "O_NOCTTY",
    "O_NOFOLLOW",
    "O_NOINHERIT",
    "O_NONBLOCK",
    "O_PATH",
    "PIPE_BUF",
    "SQLITE_FULL",
    "SQLITE_READONLY",
}


WORD = r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b"
LOCAL = """
NET: Final = ErrorCategory.NETWORK
def f():
    category = ErrorCategory.CACHE if x else NET
    return QiError.create("A_B", "it", category)
"""


def test_every_code_is_explained_and_every_explained_code_exists() -> None:
    told = explanations()
    assert sorted(produced()) == list(told), "docs/errors.toml has all codes, in order"
    for name, entry in told.items():
        assert set(entry) <= {"means", "do", "categories"}, name
        assert entry["means"].endswith("."), name
        assert entry["do"].endswith("."), name


def test_the_source_tells_the_categories_where_it_can() -> None:
    told = explanations()
    for name, code in produced().items():
        assert bool(code.categories) != ("categories" in told[name]), name
        for category in told[name].get("categories", ()):
            assert category in ErrorCategory.__members__, name


def test_nothing_that_looks_like_a_code_is_overlooked() -> None:
    """A new way of making an error, which the reader of the source does not know, shows here."""
    seen = {text for package in packages() for text in Source.of(package).literals()}
    unknown = seen - set(produced()) - NOT_CODES
    assert unknown == set(), "no code: name it above; a code: teach scripts/error_codes.py how it is made"


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_the_readme_of_a_package_has_its_codes(package: Package) -> None:
    text = (package.folder / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(WORD, text))
    every = produced()
    mine = {name for name, code in every.items() if package.name in code.packages}
    if package.component == "web":
        # Of the codes of HTTP's statuses it says that each has one.
        from qicore.web.statuses import CODES

        mine -= set(CODES.values())
    assert mine - named == set()
    # What its tables of codes list exists.
    tables = re.findall(r"^\| (?:code|cause) \|.*\n\|[-|: ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    listed = {
        name for table in tables for row in table.splitlines() for name in re.findall(WORD, row.split("|")[1])
    }
    assert listed - set(every) <= set(ErrorCategory.__members__)


def test_the_page_shows_category_status_exit_code_and_retry() -> None:
    text = page()
    section = text.partition("## DB_CONSTRAINT\n")[2].partition("\n## ")[0]
    assert "- VALIDATION: HTTP status 409, exit code 2, no retry\n" in section
    assert "(components/database.md)" in section
    section = text.partition("## HTTP_ERROR\n")[2].partition("\n## ")[0]
    assert "- NETWORK: HTTP status 502, exit code 69, up to 4 attempts\n" in section
    assert "- PERMISSION: HTTP status 403, exit code 77, no retry\n" in section


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('QiError.network("A_B", "it")', [("A_B", "NETWORK")]),
        ('QiError("A_B", "it", ErrorCategory.CACHE)', [("A_B", "CACHE")]),
        ('QiError.from_exception(error, code="A_B")', [("A_B", None)]),
        ('def f(code, told): return QiError.cache(code, told)\nf("A_B", "it")', [("A_B", "CACHE")]),
        ('class Row: code: str\nrow: Row = Row("A_B", ErrorCategory.CACHE)', [("A_B", "CACHE")]),
        ('TABLE = {1: ("A_B", ErrorCategory.CACHE)}', [("A_B", "CACHE")]),
        ('TABLE = {"A_B": ErrorCategory.CACHE}', [("A_B", "CACHE")]),
        ('CODE: Final = "A_B"\nQiError.cache(CODE, "it")', [("A_B", "CACHE")]),
        (
            'def f():\n code = "A_A" if x else "B_B"\n return QiError.cache(code, "it")',
            [("A_A", "CACHE"), ("B_B", "CACHE")],
        ),
        (
            LOCAL,
            [("A_B", "CACHE"), ("A_B", "NETWORK")],
        ),
        ('checks.answer(self, "A_B")', [("A_B", "VALIDATION")]),
        ('if error.code == "A_B": pass', []),
        ('{"A_B": 404}', []),
    ],
)
def test_codes_are_found_wherever_the_packages_write_them(
    text: str, found: list[tuple[str, str | None]]
) -> None:
    base = {"create": 0, "QiError": 0, "from_exception": 9, "answer": 1}
    base |= {category.lower(): 0 for category in ErrorCategory}
    source = Source({Path("x.py"): ast.parse(text)}, base)
    assert sorted(set(source.pairs()), key=str) == found
