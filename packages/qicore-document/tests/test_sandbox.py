import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import pytest
from jinja2 import pass_context
from markupsafe import Markup
from qicore.base import ErrorCategory, QiError, Result, Success
from qicore.document import DocumentConfig, DocumentGenerator, SandboxConfig


def make(sandbox: SandboxConfig | None = None, **options: Any) -> DocumentGenerator:
    config = DocumentConfig(sandbox=sandbox or SandboxConfig(timeout=60.0), **options)
    return DocumentGenerator.create(config).unwrap()


@pytest.fixture(scope="module")
def generator() -> Generator[DocumentGenerator, None, None]:
    """A generator with time enough for a slow machine."""
    with make() as made:
        yield made


@pytest.fixture(scope="module")
def hasty() -> Generator[DocumentGenerator, None, None]:
    """A generator whose templates get half a second."""
    with make(SandboxConfig(timeout=0.3, max_output=100_000)) as made:
        yield made


def failed(result: Result[Any]) -> QiError:
    assert result.error is not None, f"it succeeded: {str(result)[:200]}"
    return result.error


# -- what it must not reach


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}{{ (''|attr('__class__')).mro }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ ('{0.__class__}'.format)(1) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ kind.mro() }}",
        "{{ f.__globals__.x }}{{ f.__call__.__globals__ }}",
        "{{ f._name }}",
        "{{ items.append(1) }}",
        "{{ mapping.update(a=1) }}",
        "{{ mapping.clear() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ (i for i in items).gi_frame }}",
        "{% include '../../etc/passwd' %}",
        "{% include '/etc/passwd' %}",
        "{{ user._secret }}",
        "{{ user.__dict__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
    ],
)
def test_what_the_sandbox_refuses(generator: DocumentGenerator, text: str) -> None:
    @dataclass
    class User:
        name: str = "Ann"
        _secret: str = "hunter2"

    data = {"f": len, "items": [1], "mapping": {"a": 1}, "user": User(), "kind": str}
    error = failed(generator.generate_from_string(text, data))
    assert error.code in {"TEMPLATE_UNSAFE", "TEMPLATE_UNDEFINED", "TEMPLATE_SYNTAX"}
    assert "hunter2" not in str(error)
    assert data["items"] == [1]


def test_unsafe_has_its_line(generator: DocumentGenerator) -> None:
    error = failed(generator.generate_from_string("\n\n{{ ''.__class__ }}", {}))
    assert (error.code, error.category, error.context["line"]) == (
        "TEMPLATE_UNSAFE",
        ErrorCategory.VALIDATION,
        3,
    )


def test_the_worker_sees_nothing_of_the_environment_and_writes_no_file(tmp_path: Path) -> None:
    before = set(children())
    os.environ["QICORE_TEST_SECRET"] = "secret"
    try:
        with make() as generator:
            generator.generate_from_string("x", {}).unwrap()
            (worker,) = set(children()) - before
            environment = Path(f"/proc/{worker}/environ").read_bytes()
            limits = Path(f"/proc/{worker}/limits").read_text()
    finally:
        del os.environ["QICORE_TEST_SECRET"]
    assert b"secret" not in environment
    assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max file size")] == [
        ["0", "0"]
    ]


def children() -> list[int]:
    found = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return [int(number) for path in found for number in path.read_text().split()]


# -- what it may take

NESTED_TWICE = "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60
OTHER_NESTED = "{% set b = [1] %}" + "{% set b = [b, b] %}" * 60


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ (9 ** 99999) ** 9999 }}",
        "{{ 'a' * 200000000 }}",
        "{{ ('a' * 50000000) * 50 }}",
        "{{ [0] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{{ '\t'.expandtabs(2000000000) }}",
        "{{ range(99999)|join('a' * 99999) }}",
        "{{ ('a\n' * 99999)|indent(99999) }}",
        "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
        "{{ (1).to_bytes(2000000000, 'big')|length }}{{ 'a' * 200000 }}",
        "{{ {'a': 1}|tojson(indent=1000000000) }}",
        "{{ lipsum(n=1000000000) }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{{ [1]|batch(1000000000, 0)|list }}",
        "{{ 1.5|round(1000000000) }}{{ 9 ** (9 ** 9) }}",
        NESTED_TWICE + "{{ a }}",
        NESTED_TWICE + "{{ a|tojson }}",
        NESTED_TWICE + "{{ a|pprint }}",
        NESTED_TWICE + OTHER_NESTED + "{{ 1 if a == b }}",
        (
            "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
            "{% endfor %}{{ ns.x }}"
        ),
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% for a in range(9999) %}{{ 'xxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
    ],
)
def test_no_template_gets_past_the_bounds(hasty: DocumentGenerator, text: str) -> None:
    error = failed(hasty.generate_from_string(text, {}))
    assert error.code in {"TEMPLATE_TIMEOUT", "TEMPLATE_LIMIT_EXCEEDED", "TEMPLATE_ERROR"}
    if error.code == "TEMPLATE_ERROR":  # Python's own bound
        assert error.context["exception"] in {"OverflowError", "ValueError"}


def test_the_codes_of_the_bounds(hasty: DocumentGenerator, generator: DocumentGenerator) -> None:
    error = failed(hasty.generate_from_string("{{ 9 ** (9 ** 9) }}", {}))
    assert (error.code, error.category) == ("TEMPLATE_TIMEOUT", ErrorCategory.TIMEOUT)
    error = failed(generator.generate_from_string("\n{{ 'a'|center(1000000000) }}", {}))
    assert (error.code, error.context["limit"], error.context["line"]) == (
        "TEMPLATE_LIMIT_EXCEEDED",
        "memory",
        2,
    )
    with make(SandboxConfig(timeout=60, max_output=1000, max_template=100)) as small:
        assert small.generate_from_string("{{ 'a' * 1000 }}", {}) == Success("a" * 1000)
        error = failed(small.generate_from_string("{{ 'ü' * 501 }}", {}))
        assert (error.code, error.context["limit"]) == ("TEMPLATE_LIMIT_EXCEEDED", "output")
        error = failed(small.generate_from_string("x" * 101, {}))
        assert (error.code, error.context["limit"]) == ("TEMPLATE_LIMIT_EXCEEDED", "template")


def test_a_bad_template_does_not_cost_the_next_one_its_worker(generator: DocumentGenerator) -> None:
    generator.generate_from_string("x", {}).unwrap()
    before = children()
    for text in ("{{ missing }}", "{{ ''.__class__ }}", "{% if %}", "{{ 1 // 0 }}"):
        assert failed(generator.generate_from_string(text, {})).code
    assert children() == before


def test_a_worker_that_is_killed_is_replaced() -> None:
    before = set(children())
    with make() as generator:
        generator.generate_from_string("x", {}).unwrap()
        (worker,) = set(children()) - before
        os.kill(worker, signal.SIGKILL)
        while Path(f"/proc/{worker}/stat").read_text().split()[2] != "Z":
            time.sleep(0.01)
        assert generator.generate_from_string("{{ 1 }}", {}) == Success("1")
        (worker,) = set(children()) - before
        crash = {"crash": lambda: os.kill(worker, signal.SIGSEGV)}
        error = failed(generator.generate_from_string("{{ crash() }}{{ crash() }}", crash))
        assert (error.code, error.context["limit"]) == ("TEMPLATE_LIMIT_EXCEEDED", "process")
        assert generator.generate_from_string("{{ 2 }}", {}) == Success("2")


def test_workers_end_with_their_generator() -> None:
    before = set(children())
    generator = make()
    generator.generate_from_string("x", {}).unwrap()
    assert set(children()) - before
    generator.close()
    assert set(children()) == before
    assert failed(generator.generate_from_string("x", {})).code == "DOCUMENT_CLOSED"
    forgotten = make()
    forgotten.generate_from_string("x", {}).unwrap()
    del forgotten
    gc.collect()
    assert set(children()) == before


def test_workers_end_with_their_host() -> None:
    code = (
        "from qicore.document import *\nfrom pathlib import Path\nimport os\n"
        "g = DocumentGenerator.create(DocumentConfig(sandbox=SandboxConfig())).unwrap()\n"
        "g.generate_from_string('x', {}).unwrap()\n"
        "print(Path(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(1000):
        try:
            if worker.read_text().split()[2] == "Z":
                break
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.01)
    else:
        pytest.fail("the worker outlives its host")


def test_no_more_workers_than_allowed_and_each_rendering_its_own() -> None:
    with make(SandboxConfig(timeout=60, max_workers=2)) as generator:
        before = set(children())
        results: list[Result[str]] = []

        def work(number: int) -> None:
            results.append(generator.generate_from_string("{{ n }}" * 100, {"n": number}))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(result.unwrap() for result in results) == sorted(str(n) * 100 for n in range(12))
        assert len(set(children()) - before) <= 2


LONG = (
    "{% for n in range(99999) %}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}{{ x }}\n{% endfor %}"
)


def test_a_rendering_waits_its_time_for_a_worker() -> None:
    with make(SandboxConfig(timeout=0.3, max_workers=1), templates={"a": LONG}) as generator:
        stream = iter(make_stream(generator))
        next(stream)
        error = failed(generator.generate_from_string("x", {}))
        assert (error.code, error.context["reason"]) == ("TEMPLATE_TIMEOUT", "every sandbox worker is busy")


def make_stream(generator: DocumentGenerator) -> Iterator[Result[str]]:
    with generator.stream("a", {"x": 1}) as stream:
        yield from stream


# -- data


class Color(Enum):
    RED = 1


class Size(StrEnum):
    BIG = "big"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    total: Decimal
    lines: list[Point] = field(default_factory=list[Point])

    def destroy(self) -> None:
        raise AssertionError("a template called a method of the host's object")


class Model:
    """The shape of a pydantic model, which can be iterated over."""

    model_fields: ClassVar = {"title": None}

    def __init__(self) -> None:
        self.title = "t"

    def __iter__(self) -> Iterator[tuple[str, object]]:
        yield "title", self.title


class Twice:
    def __iter__(self) -> Iterator[str]:
        return iter("ab")


def add_one(number: int) -> int:
    return number + 1


def shout(text: str) -> Markup:
    return Markup("<b>{}</b>").format(text)


def echo(value: object) -> object:
    return value


def is_big(number: int) -> bool:
    return number > 5


class Slotted:
    __slots__ = ("_hidden", "shown")

    def __init__(self) -> None:
        self.shown, self._hidden = 1, 2


VALUES: list[tuple[str, object, str]] = [
    ("{{ v }}", None, "None"),
    ("{{ v + 1 }}", 2**70, str(2**70 + 1)),
    ("{{ v * 2 }}", Decimal("1.10"), "2.20"),
    ("{{ v.year }}-{{ v.strftime('%d') }}", date(2026, 1, 2), "2026-02"),
    ("{{ v.isoformat() }}", datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ("{{ v.total_seconds() }}", timedelta(hours=1), "3600.0"),
    ("{{ v }}", UUID(int=5), str(UUID(int=5))),
    ("{{ v }}{{ '<' }}", Markup("<b>"), "<b>&lt;"),
    ("{{ v.name }} {{ v.value }} {{ v }}", Color.RED, "RED 1 Color.RED"),
    ("{{ v == 'big' }}", Size.BIG, "True"),
    ("{{ v.x }},{{ v.y }}", Point(1, 2), "1,2"),
    ("{{ v.total }} {{ v.lines[0].y }}", Order(Decimal(3), [Point(1, 2)]), "3 2"),
    ("{{ v.shown }}", Slotted(), "1"),
    ("{{ v.title }}", Model(), "t"),
    ("{{ v[1] }}{{ v[(1, 2)] }}", {1: "a", (1, 2): "b"}, "ab"),
    ("{{ v|sort|join }}", {3, 1}, "13"),
    ("{{ v|join }}{{ v|length }}", range(3), "0123"),
    ("{{ v.decode() }}", b"bytes", "bytes"),
    ("{{ v(20) }}", add_one, "21"),
    ("{{ v|sum }}", (n for n in range(1000)), "499500"),
    ("{{ v|join }}{{ v|join }}", Twice(), "abab"),
    ("{{ v }}", "\ud800x"[1:] + "\U0001f600", "x\U0001f600"),
]


@pytest.mark.parametrize(("text", "value", "expected"), VALUES)
def test_values_arrive(generator: DocumentGenerator, text: str, value: object, expected: str) -> None:
    assert generator.generate_from_string(text, {"v": value}) == Success(expected)


def test_methods_of_the_hosts_objects_are_not_there(generator: DocumentGenerator) -> None:
    error = failed(generator.generate_from_string("{{ v.destroy() }}", {"v": Order(Decimal(1))}))
    assert error.code == "TEMPLATE_UNDEFINED"


def test_data_that_refers_to_itself(generator: DocumentGenerator) -> None:
    loop: list[object] = [1]
    loop.append(loop)
    assert generator.generate_from_string("{{ v[1][1][0] }}", {"v": loop}) == Success("1")


def test_filters_functions_and_tests_run_in_the_host() -> None:
    here = threading.get_ident()
    seen: list[object] = []

    def total(order: Order, factor: int = 1) -> Decimal:
        seen.append((type(order), threading.get_ident()))
        return order.total * factor

    with make(
        filters={"total": total, "shout": shout},
        functions={"today": lambda: date(2026, 5, 4), "site": "x.org", "echo": echo},
        tests={"big": is_big},
    ) as generator:
        text = "{{ o|total(factor=2) }} {{ 'a'|shout }} {{ today().month }} {{ site }} {{ 6 is big }} "
        text += "{{ echo(today()) }}"
        expected = "6 <b>a</b> 5 x.org True 2026-05-04"
        assert generator.generate_from_string(text, {"o": Order(Decimal(3))}) == Success(expected)
        assert seen == [(Order, here)], "the filter gets the host's own object"
        assert failed(generator.generate_from_string("{{ nothing|shout }}", {})).code == "TEMPLATE_UNDEFINED"


def test_what_a_function_raises_keeps_its_exception_and_gets_the_line() -> None:
    def boom() -> None:
        raise LookupError("inner")

    with make(functions={"boom": boom}) as generator:
        error = failed(generator.generate_from_string("\n\n{{ boom() }}", {}))
        assert (error.code, error.category, error.context["line"]) == (
            "TEMPLATE_ERROR",
            ErrorCategory.UNKNOWN,
            3,
        )
        assert isinstance(error.__cause__, LookupError)


def test_time_in_the_hosts_functions_is_not_the_templates() -> None:
    with make(SandboxConfig(timeout=0.4), functions={"rest": lambda: time.sleep(0.6)}) as generator:
        generator.generate_from_string("{{ 1 }}", {}).unwrap()
        assert generator.generate_from_string("{{ rest() }}", {}) == Success("None")


def test_functions_that_want_a_context_are_refused() -> None:
    @pass_context
    def wants(context: object) -> str:
        return ""

    config = DocumentConfig(sandbox=SandboxConfig(), functions={"wants": wants})
    assert failed(DocumentGenerator.create(config)).code == "INVALID_DOCUMENT_CONFIG"
    assert (
        failed(DocumentGenerator.create(DocumentConfig(sandbox=SandboxConfig(timeout=0)))).code
        == "INVALID_DOCUMENT_CONFIG"
    )


# -- the rest of the contract holds in the sandbox too


def test_templates_include_extend_and_reload(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_text("<{% block b %}{% endblock %}>")
    (tmp_path / "page.html").write_text(
        "{% extends 'base.html' %}{% block b %}{{ x }}{% include 'm' %}{% endblock %}"
    )
    with make(directories=(tmp_path,), templates={"m": "1"}, auto_reload=True) as generator:
        assert generator.generate("page.html", {"x": "<"}) == Success("<&lt;1>")
        assert generator.generate_from_file(tmp_path / "page.html", {"x": "&"}) == Success("<&amp;1>")
        (tmp_path / "base.html").write_text("({% block b %}{% endblock %})")
        os.utime(tmp_path / "base.html", (1, 1))
        assert generator.generate("page.html", {"x": 2}) == Success("(21)")
        assert generator.generate_from_string("{{ x }}", {"x": "<"}, suffix=".txt") == Success("<")
        error = failed(generator.generate("page.html", {}))
        assert (error.code, error.context["template"], error.context["name"]) == (
            "TEMPLATE_UNDEFINED",
            "page.html",
            "x",
        )
        assert failed(generator.generate("gone", {})).code == "TEMPLATE_NOT_FOUND"
        assert failed(generator.generate_from_string("{% include 'gone' %}", {})).code == "TEMPLATE_NOT_FOUND"


def test_nothing_of_one_rendering_is_left_for_the_next() -> None:
    templates = {
        "lib": "{% set ns = namespace(n=0) %}{% set c = cycler(1, 2, 3) %}",
        "a": "{% from 'lib' import ns, c %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ c.next() }}",
    }
    with make(templates=templates) as generator:
        assert generator.generate("a", {}) == generator.generate("a", {}) == Success("11")


def test_a_stream_from_the_sandbox_is_lazy_and_frees_its_worker() -> None:
    drawn = 0

    def rows() -> Iterator[int]:
        nonlocal drawn
        for number in range(1_000_000):
            drawn += 1
            yield number

    templates = {"a": "{% for r in rows %}{{ r }}\n{% endfor %}"}
    with make(SandboxConfig(timeout=60, max_workers=1), templates=templates, chunk_size=1000) as generator:
        for chunk in generator.stream("a", {"rows": rows()}):
            assert chunk.unwrap().startswith("0\n1\n2\n")
            break
        assert 0 < drawn < 100_000
        assert generator.generate("a", {"rows": [7]}) == Success("7\n")
        assert len(list(generator.stream("a", {"rows": iter(range(2000))}))) > 3


async def test_batch_uses_the_workers() -> None:
    async with make(SandboxConfig(timeout=60, max_workers=2), templates={"a": "{{ n }}"}) as generator:
        results = await generator.batch([("a", {"n": n}) for n in range(20)] + [("a", {})])
        assert [result.data for result in results] == [*map(str, range(20)), None]


async def test_cancelling_while_the_sandbox_renders() -> None:
    async with make(SandboxConfig(timeout=0.5)) as generator:
        generator.generate_from_string("x", {}).unwrap()
        task = asyncio.create_task(
            asyncio.to_thread(generator.generate_from_string, "{{ 9 ** (9 ** 9) }}", {})
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
