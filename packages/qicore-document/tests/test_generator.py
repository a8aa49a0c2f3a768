import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.ext import Extension
from qicore.base import ErrorCategory, QiError, Result, Success
from qicore.document import DocumentConfig, DocumentGenerator


def make(**options: Any) -> DocumentGenerator:
    return DocumentGenerator.create(DocumentConfig(**options)).unwrap()


def failed(result: Result[Any]) -> QiError:
    assert result.error is not None, f"it succeeded: {result!r}"
    return result.error


# -- rendering


def test_generate_renders_what_jinja2_renders() -> None:
    source = (
        "{% macro m(x) %}[{{ x }}]{% endmacro %}"
        "{% for i in items %}{{ m(i) }}{% if not loop.last %}, {% endif %}{% endfor %}"
    )
    data = {"items": [1, "<b>", None]}
    expected = jinja2.Environment(autoescape=True).from_string(source).render(data)
    assert make(templates={"a.html": source}).generate("a.html", data) == Success(expected)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a.html", True),
        ("a.HTML", True),
        ("a.xml", True),
        ("a.html.j2", True),
        ("a.svg.jinja2", True),
        ("a.txt", False),
        ("a.md", False),
        ("a.txt.j2", False),
        ("html", False),
    ],
)
def test_the_suffix_decides_on_escaping(name: str, escaped: bool) -> None:
    expected = "&lt;&amp;" if escaped else "<&"
    assert make(templates={name: "{{ x }}"}).generate(name, {"x": "<&"}) == Success(expected)


def test_a_string_is_html_unless_told_otherwise() -> None:
    generator = make()
    assert generator.generate_from_string("{{ x }}", {"x": "<"}) == Success("&lt;")
    assert generator.generate_from_string("{{ x }}", {"x": "<"}, suffix=".txt") == Success("<")


def test_a_string_is_compiled_once() -> None:
    compiled: list[str] = []

    class Counting(Extension):
        def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
            compiled.append(source)
            return source

    generator = make()
    generator.raw.add_extension(Counting)
    for number in range(5):
        assert generator.generate_from_string("{{ n }}", {"n": number}) == Success(str(number))
    assert compiled == ["{{ n }}"]


def test_data_may_be_a_dataclass_or_shaped_like_a_pydantic_model() -> None:
    @dataclass
    class Person:
        name: str

    class Model:
        model_fields: ClassVar = {"name": None}
        name = "Bob"

    generator = make(templates={"a": "{{ name }}"})
    assert generator.generate("a", Person("Ann")) == Success("Ann")
    assert generator.generate("a", Model()) == Success("Bob")
    for wrong in (None, 3, "text", [("name", 1)]):
        assert failed(generator.generate("a", wrong)).code == "TEMPLATE_DATA_INVALID"


def test_rendering_does_not_change_the_data() -> None:
    data = {"x": 1}
    make(templates={"a": "{% set x = 2 %}{% set y = 3 %}{{ x }}"}).generate("a", data).unwrap()
    assert data == {"x": 1}


def test_inheritance_search_order_and_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, package = tmp_path / "1", tmp_path / "2", tmp_path / "lib" / "site_of_templates"
    for folder in (first, second, package / "pages"):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "pages" / "base.txt").write_text("<{% block body %}{% endblock %}>")
    (package / "pages" / "page.txt").write_text("from the package")
    (first / "page.txt").write_text("{% extends 'base.txt' %}{% block body %}first{% endblock %}")
    (second / "page.txt").write_text("second")
    (second / "other.txt").write_text("{% include 'memory.txt' %}")
    monkeypatch.setattr("sys.path", [str(tmp_path / "lib"), *sys.path])
    generator = make(
        templates={"memory.txt": "memory"}, directories=(first, second), packages=("site_of_templates:pages",)
    )
    assert generator.generate("page.txt", {}) == Success("<first>")
    assert generator.generate("other.txt", {}) == Success("memory")


def test_from_file_finds_its_neighbours_and_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        "{% extends 'base.html' %}{% block b %}{{ x }}{% include 'm' %}{% endblock %}"
    )
    (tmp_path / "base.html").write_text("({% block b %}{% endblock %})")
    generator = make(templates={"m": "!", "a.html": "not this one"})
    assert generator.generate_from_file(tmp_path / "a.html", {"x": "<"}) == Success("(&lt;!)")
    assert failed(generator.generate_from_file(tmp_path / "none.html", {})).code == "TEMPLATE_NOT_FOUND"
    assert failed(generator.generate_from_file(tmp_path, {})).code == "TEMPLATE_NOT_FOUND"


def test_reload_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    kept, fresh = make(directories=(tmp_path,)), make(directories=(tmp_path,), auto_reload=True)
    assert kept.generate("a.txt", {}) == fresh.generate("a.txt", {}) == Success("old")
    file.write_text("new")
    os.utime(file, (1, 1))
    assert kept.generate("a.txt", {}) == Success("old")
    assert fresh.generate("a.txt", {}) == Success("new")


def test_own_filters_tests_and_functions() -> None:
    calls: list[int] = []

    def is_even(value: int) -> bool:
        return value % 2 == 0

    def count(value: int) -> int:
        calls.append(value)
        return value

    generator = make(
        templates={"a": "{{ 1|count }}{{ 2|count + 1 }}{% if 4 is even2 %}{{ now() }}{% endif %}{{ site }}"},
        filters={"count": count},
        tests={"even2": is_even},
        functions={"now": lambda: "noon", "site": "here"},
    )
    assert generator.generate("a", {}) == generator.generate("a", {}) == Success("13noonhere")
    assert calls == [1, 2, 1, 2], "a filter of a constant runs at each rendering, never at compile time"


# -- errors


def test_undefined_names_the_variable_the_line_and_the_template() -> None:
    generator = make(
        templates={
            "page": "one\ntwo\n{% include 'part' %}",
            "part": "{% macro m() %}\n\n{{ missing }}{% endmacro %}\n\n\n{{ m() }}",
            "attribute": "\n{{ user.nmae }}",
            "bare": "{% if ghost %}{% endif %}",
            "loop": "{% for x in ghosts %}{% endfor %}",
            "call": "\n\n\n{{ ghost() }}",
        }
    )
    error = failed(generator.generate("page", {}))
    assert (error.code, error.category) == ("TEMPLATE_UNDEFINED", ErrorCategory.VALIDATION)
    assert error.context == {"template": "part", "line": 3, "name": "missing"}
    assert isinstance(error.__cause__, jinja2.UndefinedError)
    error = failed(generator.generate("attribute", {"user": {"name": "Ann"}}))
    assert error.context == {"template": "attribute", "line": 2, "name": "nmae"}
    assert failed(generator.generate("bare", {})).context["name"] == "ghost"
    assert failed(generator.generate("loop", {})).context["name"] == "ghosts"
    assert failed(generator.generate("call", {})).context == {"template": "call", "line": 4, "name": "ghost"}


def test_defined_and_default_still_work() -> None:
    generator = make(templates={"a": "{{ x|default('d') }}{% if x is defined %}{{ x }}{% endif %}"})
    assert generator.generate("a", {}) == Success("d")


def test_syntax_errors_name_the_line_wherever_they_are() -> None:
    generator = make(templates={"a": "\n\n{% if %}", "b": "\n{% include 'a' %}", "c": "{{ 1|nofilter }}"})
    for name in "ab":
        error = failed(generator.generate(name, {}))
        assert (error.code, error.context["line"], error.context["template"]) == ("TEMPLATE_SYNTAX", 3, "a")
    assert failed(generator.generate("c", {})).code == "TEMPLATE_SYNTAX"
    assert failed(generator.generate_from_string("x\n{{", {})).context["line"] == 2


def test_a_missing_template_is_named_where_it_is_asked_for() -> None:
    generator = make(templates={"a": "\n{% include 'gone.txt' %}"})
    assert failed(generator.generate("gone", {})).category is ErrorCategory.FILESYSTEM
    error = failed(generator.generate("a", {}))
    assert (error.code, error.context["name"], error.context["line"]) == ("TEMPLATE_NOT_FOUND", "gone.txt", 2)


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/passwd", "..\\secret", "a\0b", ".."])
def test_names_that_point_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "in").mkdir()
    generator = make(directories=(tmp_path / "in",), templates={"inc": "{% include n ignore missing %}"})
    assert failed(generator.generate(name, {})).code == "TEMPLATE_UNSAFE"
    assert failed(generator.generate("inc", {"n": name})).code == "TEMPLATE_UNSAFE"
    assert failed(generator.validate(name, {})).code == "TEMPLATE_UNSAFE"


def test_unreadable_templates(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    error = failed(make(directories=(tmp_path,)).generate("latin", {}))
    assert (error.code, error.category) == ("TEMPLATE_UNREADABLE", ErrorCategory.FILESYSTEM)
    assert make(directories=(tmp_path,), encoding="latin-1").generate("latin", {}) == Success("café")


def test_what_a_filter_raises_is_unknown_with_its_line() -> None:
    def boom(value: object) -> object:
        raise KeyError("inner")

    def refuse(value: object) -> object:
        raise QiError.permission("NO", "not allowed")

    generator = make(
        templates={"a": "\n{{ 1|boom }}", "b": "\n\n{{ 1|refuse }}"}, filters={"boom": boom, "refuse": refuse}
    )
    error = failed(generator.generate("a", {}))
    assert (error.code, error.category, error.context["line"]) == ("TEMPLATE_ERROR", ErrorCategory.UNKNOWN, 2)
    assert isinstance(error.__cause__, KeyError)
    error = failed(generator.generate("b", {}))
    assert (error.code, error.category, error.context["line"]) == ("NO", ErrorCategory.PERMISSION, 3)


def test_control_flow_passes_through() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(templates={"a": "{{ stop() }}"}, functions={"stop": stop}).generate("a", {})


def test_endless_recursion_is_an_error() -> None:
    generator = make(
        templates={"a": "{% include 'a' %}", "m": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"}
    )
    for name in "am":
        error = failed(generator.generate(name, {}))
        assert (error.code, error.context["limit"]) == ("TEMPLATE_LIMIT_EXCEEDED", "depth")


def test_options_are_checked(tmp_path: Path) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"directories": "templates"},
        {"chunk_size": 0},
        {"cache_size": -1},
        {"filters": {"x": 3}},
        {"packages": ("no_such_package_at_all",)},
        {"extensions": ("no.such.Extension",)},
    )
    for options in wrong:
        error = failed(DocumentGenerator.create(DocumentConfig(**options)))
        assert (error.code, error.category) == ("INVALID_DOCUMENT_CONFIG", ErrorCategory.CONFIGURATION)


def test_a_closed_generator_says_so() -> None:
    with make(templates={"a": ""}) as generator:
        assert generator.generate("a", {}) == Success("")
    assert generator.close() == generator.close() == Success(None)
    assert failed(generator.generate("a", {})).code == "DOCUMENT_CLOSED"


# -- the functor law: rendering after mapping the data is mapping while rendering


def twice(text: str) -> str:
    return text + text


FUNCTIONS: dict[str, Callable[[str], str]] = {"twice": twice, "upper": str.upper, "same": str}
LAW = make(
    filters=FUNCTIONS,
    templates={
        "plain.html": "{% for t in texts %}<i>{{ t }}</i>{% endfor %}",
        **{f"{f}.html": f"{{% for t in texts %}}<i>{{{{ t|{f} }}}}</i>{{% endfor %}}" for f in FUNCTIONS},
        **{
            f"{f}.{g}.html": f"{{% for t in texts %}}<i>{{{{ t|{f}|{g} }}}}</i>{{% endfor %}}"
            for f in FUNCTIONS
            for g in FUNCTIONS
        },
    },
)
texts = st.lists(st.text())


@given(texts, st.sampled_from(sorted(FUNCTIONS)), st.sampled_from(sorted(FUNCTIONS)))
def test_rendering_is_a_functor(values: list[str], f: str, g: str) -> None:
    def over(name: str, data: list[str]) -> list[str]:
        return [FUNCTIONS[name](text) for text in data]

    def render(template: str, data: list[str]) -> Result[str]:
        return LAW.generate(template, {"texts": data})

    assert render("same.html", values) == render("plain.html", values), "identity"
    assert render(f"{f}.html", values) == render("plain.html", over(f, values)), "mapping"
    assert render(f"{f}.{g}.html", values) == render("plain.html", over(g, over(f, values))), "composition"


@given(texts)
def test_a_stream_gives_what_generate_gives(values: list[str]) -> None:
    whole = LAW.generate("plain.html", {"texts": values})
    assert (
        "".join(chunk.unwrap() for chunk in LAW.stream("plain.html", {"texts": iter(values)}))
        == whole.unwrap()
    )


# -- async and batch


async def test_async_data_is_awaited_and_iterated() -> None:
    async def name() -> str:
        await asyncio.sleep(0)
        return "Ann"

    async def rows() -> AsyncIterator[int]:
        for number in range(1000):
            yield number

    generator = make(templates={"a": "{{ name }}:{% for r in rows %}{{ r }},{% endfor %}"})
    expected = "Ann:" + "".join(f"{number}," for number in range(1000))
    assert await generator.generate_async("a", {"name": name(), "rows": rows()}) == Success(expected)


async def test_a_failing_awaitable_is_a_failure() -> None:
    async def fail() -> str:
        raise ValueError("no name")

    error = failed(await make(templates={"a": "{{ name }}"}).generate_async("a", {"name": fail()}))
    assert (error.code, error.context["template"]) == ("TEMPLATE_ERROR", "a")
    assert isinstance(error.__cause__, ValueError)


async def test_batch_keeps_order_and_answers_each() -> None:
    generator = make(templates={"a": "{{ n }}"})
    results = await generator.batch([("a", {"n": 1}), ("a", {}), ("gone", {}), ("a", {"n": 4})])
    assert [result.error.code if result.error else result.data for result in results] == [
        "1",
        "TEMPLATE_UNDEFINED",
        "TEMPLATE_NOT_FOUND",
        "4",
    ]
    assert await generator.batch([]) == []
    with pytest.raises(ValueError, match="at least 1"):
        await generator.batch([], concurrency=0)


async def test_batch_is_bounded() -> None:
    lock, running, most = threading.Lock(), 0, 0
    meeting = threading.Barrier(3)

    def work() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait(timeout=60)  # three at once, or the barrier breaks
        with lock:
            running -= 1
        return ""

    generator = make(templates={"a": "{{ work() }}"}, functions={"work": work})
    results = await generator.batch((("a", {}) for _ in range(9)), concurrency=3)
    assert results == [Success("")] * 9
    assert most == 3


async def test_a_cancelled_batch_starts_nothing_more() -> None:
    begun, gate = threading.Semaphore(0), threading.Event()
    started = 0

    def work() -> str:
        nonlocal started
        started += 1
        begun.release()
        gate.wait(60)
        return ""

    generator = make(templates={"a": "{{ work() }}"}, functions={"work": work})
    jobs: list[tuple[str, object]] = [("a", {})] * 50
    task = asyncio.create_task(generator.batch(jobs, concurrency=2))
    for _ in range(2):
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await asyncio.sleep(0.05)
    assert started == 2


def test_many_threads_share_a_generator() -> None:
    generator = make(
        templates={f"{n}.txt": f"{{% for i in range(50) %}}{{{{ x }}}}{{% endfor %}}{n}" for n in range(20)}
    )
    wrong: list[object] = []

    def work(seed: int) -> None:
        for n in range(200):
            name = (seed + n) % 20
            result = generator.generate(f"{name}.txt", {"x": seed})
            if result != Success(str(seed) * 50 + str(name)):
                wrong.append(result)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
