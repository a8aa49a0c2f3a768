"""A target for each parser of text that comes from outside: whatever the bytes, a Result comes back.

A target promises more than that nothing raises: the code of a Failure is one that the component names, what
was read is written and read again as the same, a line of a log stays one line.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.cache import JSONSerializer, MessagePackSerializer, PickleSerializer
from qicore.cli import choice, command, option, parse_string, positional, program, report
from qicore.config import Configuration
from qicore.document import DocumentConfig, DocumentGenerator
from qicore.logging import LogConfig, Logger
from qicore.logging.testing import MemoryDestination
from qicore_testkit.spoiling import around, fine, text_of

FORMATS = {
    "json": [b'{"a": {"b": [1, 2.5, null, true]}, "c": "text"}', b"[]", b'{"a": 1, "a": 2}'],
    "yaml": [
        b"a:\n  b: [1, 2.5, null]\n  c: &x {d: 1}\n  e: *x\n",
        b"a: |\n  text\nb: !!int 3\n",
        b"- 1\n- 2\n",
    ],
    "toml": [
        b'[a]\nb = [1, 2.5]\n[a.c]\nd = "text"\ne = 1979-05-27T07:32:00Z\n',
        b'a.b.c = """x"""\n[[t]]\nk = 1\n',
    ],
    "env": [b"A=1\nexport B=\"two words\"\nC=${A}\n# comment\nD='x'\n", b"A__B=1\nA=2\n"],
}


@pytest.mark.parametrize("kind", FORMATS)
def test_configuration_files(kind: str) -> None:
    @given(around(*FORMATS[kind]))
    def target(data: bytes) -> None:
        read = Configuration.from_string(text_of(data), kind)
        fine(read, "CONFIG_", "INVALID_CONFIG")
        if read.data is not None:
            written = read.data.to_string(kind)
            if written.data is not None:
                assert Configuration.from_string(written.data, kind).unwrap() == read.data

    target()


@given(
    st.dictionaries(
        around(b"APP_DB__HOST", b"APP__", b"APP_A", b"APP_A__B"), around(b"host", b"[1]"), max_size=5
    )
)
def test_the_environment(variables: dict[bytes, bytes]) -> None:
    environ = {text_of(name): text_of(value) for name, value in variables.items()}
    fine(Configuration.from_environment("APP", environ=environ), "CONFIG_", "INVALID_CONFIG")


COMMANDS = program(
    "app",
    choice(
        command("deploy", option("--env", str), option("--count", int, "-c"), positional("target")),
        command("list", option("--since", float, multiple=True), positional("names", nargs="*")),
    ),
)


@given(around(b"deploy --env prod --count 3 --force here", b"deploy -c3 -- --x 'a b'", b'deploy --env="x" y'))
def test_command_lines(data: bytes) -> None:
    parsed = parse_string(text_of(data), COMMANDS)
    fine(parsed, "CLI_", "MULTIPLE_ERRORS")
    if parsed.error is not None:
        assert report(parsed.error, COMMANDS)


ERROR = QiError.network("NO", "no", a=1).with_cause(QiError.unknown("DEEP", "deep"))


@given(
    around(
        json.dumps(ERROR.to_structured_data()).encode(), b'{"code": "A", "message": "", "category": "CACHE"}'
    )
)
def test_errors_as_data(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        error = QiError.from_structured_data(value)
    except ValueError:
        return
    assert QiError.from_structured_data(error.to_structured_data()) == error


@given(
    around(b"a value", PickleSerializer(b"k" * 32).dumps({"a": 1}, key="q:a"), b"\x80\x05K\x01.", b'{"a": 1}')
)
def test_stored_values(data: bytes) -> None:
    for serializer in (MessagePackSerializer(), JSONSerializer()):
        with suppress(ValueError, RecursionError):
            serializer.loads(data, key="q:a")
    genuine = PickleSerializer(b"k" * 32).dumps({"a": 1}, key="q:a")
    try:
        assert PickleSerializer(b"k" * 32).loads(data, key="q:a") == {"a": 1}
        assert data == genuine
    except ValueError:
        assert data != genuine


@given(around(b"order placed", b"http://ann:pw@host/", b"\x1b[31m"), st.sampled_from(["json", "console"]))
def test_log_lines(data: bytes, style: Any) -> None:
    memory = MemoryDestination()
    Logger.create(LogConfig(destination=memory, format=style)).unwrap().info(
        text_of(data), text=text_of(data)
    )
    line = memory.getvalue()
    assert line.count(b"\n") == 1
    assert b"\x1b[31m" not in line
    if style == "json":
        assert set(json.loads(line)) == {"timestamp", "level", "event", "text"}


TEMPLATES = [
    b"{% for x in items %}<li>{{ x.name|upper }}</li>{% else %}none{% endfor %}",
    b"{% if user is defined and user.age > 3 %}{{ user.name }}{% endif %}{% set y = 1 %}{{ y }}",
    b"{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(items[0]) }}{# note #}{% raw %}{{ }}{% endraw %}",
    b"{% include 'other' %}{% extends 'base' %}{% block x %}{{ super() }}{% endblock %}",
]


@given(around(*TEMPLATES))
def test_templates(data: bytes) -> None:
    made = DocumentGenerator.create(DocumentConfig(templates={"t": text_of(data), "other": "{{ z }}"}))
    fine(made, "TEMPLATE_", "INVALID_DOCUMENT_CONFIG")
    if made.data is not None:
        fine(made.data.validate("t", {"items", "user"}), "TEMPLATE_")
