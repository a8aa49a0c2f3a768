from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import pytest
from qicore.document import DocumentConfig, DocumentGenerator, Variable


def make(**templates: str) -> DocumentGenerator:
    names = {name.replace("_", "."): text for name, text in templates.items()}
    return DocumentGenerator.create(DocumentConfig(templates=names)).unwrap()


def lacking(schema: object, **templates: str) -> list[tuple[str, int, str]]:
    """Return what the schema lacks for the template `a`."""
    result = make(**templates).validate("a", schema)
    if result.error is None:
        return []
    assert result.error.code == "TEMPLATE_UNDEFINED", str(result.error)
    missing = result.error.to_structured_data()["context"]["missing"]  # type: ignore[index, call-overload]  # JSON
    return [(item["name"], item["line"], item["template"]) for item in missing]  # type: ignore[index, call-overload, union-attr, misc]


def names(text: str, schema: object = frozenset()) -> list[str]:
    return [name for name, _, _ in lacking(schema, a=text)]


def test_success_has_every_variable() -> None:
    generator = make(a="{{ user.name }}\n{% for i in items %}{{ i.title }}{{ i.tags[0] }}{% endfor %}")
    assert generator.validate(
        "a", {"user": {"name": str}, "items": [{"title": str, "tags": [str]}]}
    ).unwrap() == (
        Variable("user.name", 1, "a"),
        Variable("items[].title", 2, "a"),
        Variable("items[].tags[]", 2, "a"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a }}{{ b }}{{ a }}", ["a", "b"]),
        ("{{ a.b.c }}", ["a"]),
        ("{{ range(3) }}{{ dict(x=a) }}", ["a"]),
        ("{% set x = 1 %}{{ x }}", []),
        ("{{ x }}{% set x = 1 %}{{ x }}", ["x"]),
        ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", ["a", "x"]),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", ["a"]),
        ("{% if x is not defined %}{% set x = 1 %}{% endif %}{{ x }}", []),
        ("{% if x is defined %}{% else %}{% set x = 1 %}{% endif %}{{ x }}", []),
        ("{% if a %}{% set x = 1 %}{% elif b %}{% set x = 2 %}{% endif %}{{ x }}", ["a", "b", "x"]),
        ("{% if x is defined %}{{ x.y }}{% endif %}", []),
        ("{% if x is defined and x.y %}{{ x.z }}{% endif %}", []),
        ("{{ x.y if x is defined else z }}", ["z"]),
        ("{% if x is undefined or x.y %}{% endif %}", []),
        ("{% if not x is defined %}{% else %}{{ x }}{% endif %}", []),
        ("{{ x|default(y) }}{{ x.z|d('') }}", ["y", "x"]),
        ("{% for i in items|default([]) %}{{ i.title }}{% endfor %}", []),
        (
            "{% for i in items %}{{ loop.index }}{{ i }}{% else %}{{ none_there }}{% endfor %}",
            ["items", "none_there"],
        ),
        ("{% for i in items if i.ok and a %}{% set x = 1 %}{% endfor %}{{ x }}", ["items", "a", "x"]),
        ("{% with x = a %}{{ x }}{{ y }}{% endwith %}{{ x }}", ["a", "y", "x"]),
        ("{% macro m(p, q=d) %}{{ p }}{{ g }}{% endmacro %}", []),
        ("{% macro m(p, q=d) %}{{ p }}{{ g }}{% endmacro %}{{ m(a) }}", ["a", "d", "g"]),
        ("{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{{ inside }}{% endcall %}", ["inside"]),
        ("{% set ns = namespace(n=a) %}{% set ns.n = b %}{{ ns.n }}", ["a", "b"]),
        ("{% set x %}{{ a }}{% endset %}{{ x }}{% filter upper %}{{ b }}{% endfilter %}", ["a", "b"]),
        ("{{ a ~ b + c[d] }}{{ e.f(g, h=i) }}{{ [j, {'k': k}] }}", list("abcdegijk")),
        ("{{ a|join(sep)|replace(x, 'y') }}{{ b is divisibleby(n) }}", ["a", "sep", "x", "b", "n"]),
        ("{% autoescape true %}{{ a }}{% endautoescape %}", ["a"]),
    ],
)
def test_what_a_template_needs(text: str, expected: list[str]) -> None:
    assert sorted(names(text)) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for i in rows %}{{ i.bad }}{% endfor %}", ["rows[].bad"]),
        (
            "{% for i in rows|sort(attribute='bad')|reverse %}{{ i.worse }}{% endfor %}",
            ["rows[].bad", "rows[].worse"],
        ),
        ("{% for i in rows|selectattr('name')|list %}{{ i.bad }}{% endfor %}", ["rows[].bad"]),
        (
            "{{ rows|map(attribute='bad')|join }}{{ rows|sum(attribute='n.bad') }}",
            ["rows[].bad", "rows[].n.bad"],
        ),
        ("{% for n in rows|map(attribute='n') %}{{ n.bad }}{% endfor %}", ["rows[].n.bad"]),
        (
            "{{ (rows|first).bad }}{{ rows[0].worse }}{{ rows[1:][0].worst }}",
            ["rows[].bad", "rows[].worse", "rows[].worst"],
        ),
        (
            "{% for k, g in rows|groupby('bad') %}{% for i in g %}{{ i.worse }}{% endfor %}{% endfor %}",
            ["rows[].bad", "rows[].worse"],
        ),
        ("{% for b in rows|batch(2) %}{% for i in b %}{{ i.bad }}{% endfor %}{% endfor %}", ["rows[].bad"]),
        ("{% for k, v in by_key.items() %}{{ k }}{{ v.bad }}{% endfor %}", ["by_key[].bad"]),
        (
            "{% for k, v in by_key|dictsort %}{{ v.bad }}{% endfor %}{{ by_key.any.bad }}",
            ["by_key[].bad", "by_key.any.bad"],
        ),
        (
            "{% set r = rows[0] %}{{ r.bad }}{{ r['worse'] }}{{ r|attr('worst') }}",
            ["rows[].bad", "rows[].worse", "rows[].worst"],
        ),
        (
            "{% macro m(r) %}{{ r.bad }}{% endmacro %}{% for i in rows %}{{ m(i) }}{% endfor %}",
            ["rows[].bad"],
        ),
        (
            "{% for i in rows recursive %}{{ i.n.bad }}{{ loop(i.children) }}{% endfor %}",
            ["rows[].n.bad", "rows[].children"],
        ),
        ("{% for i in rows %}{{ i.name.upper() }}{{ i.n.bad }}{% endfor %}", ["rows[].n.bad"]),
    ],
)
def test_paths_are_followed(text: str, expected: list[str]) -> None:
    row = {"name": str, "n": int}
    schema = {"rows": [row], "by_key": dict[str, Inner]}
    assert names(text, schema) == expected


@dataclass
class Inner:
    name: str

    @property
    def label(self) -> str:
        return self.name


@dataclass
class Outer:
    inner: Inner | None
    many: list[Inner]
    anything: Any
    table: Mapping[str, Inner]


class OuterDict(TypedDict):
    inner: Inner | None
    many: list[Inner]
    anything: Any
    table: Mapping[str, Inner]


class OuterTuple(NamedTuple):
    inner: Inner | None
    many: list[Inner]
    anything: Any
    table: Mapping[str, Inner]


class Info:
    def __init__(self, annotation: object) -> None:
        self.annotation = annotation


class OuterModel:
    """The shape of a pydantic model."""

    model_fields = {  # noqa: RUF012 - as pydantic has it
        name: Info(annotation) for name, annotation in Outer.__annotations__.items()
    }


INNER = {"type": "object", "properties": {"name": {"type": "string"}, "label": {"type": "string"}}}
JSON_SCHEMA = {
    "type": "object",
    "$defs": {"inner": INNER},
    "properties": {
        "inner": {"anyOf": [{"$ref": "#/$defs/inner"}, {"type": "null"}]},
        "many": {"type": "array", "items": {"$ref": "#/$defs/inner"}},
        "anything": {},
        "table": {"type": "object", "additionalProperties": {"$ref": "#/$defs/inner"}},
    },
}
EXAMPLE = {
    "inner": {"name": "a", "label": "b"},
    "many": [{"name": "a", "label": "b"}],
    "anything": object,
    "table": {"x": {"name": "a", "label": "b"}},
}


@pytest.mark.parametrize("schema", [Outer, OuterDict, OuterTuple, OuterModel, JSON_SCHEMA, EXAMPLE])
def test_every_kind_of_schema(schema: object) -> None:
    good = "{{ inner.name }}{{ inner.label }}{{ many[0].name }}{{ anything.at.all }}{{ table.x.name }}"
    good += "{% for k, t in table.items() %}{{ t.label }}{% endfor %}"
    assert names(good, schema) == []
    bad = "{{ inner.bad }}{% for m in many %}{{ m.bad }}{% endfor %}{{ table.x.bad }}{{ gone.x }}"
    assert names(bad, schema) == ["inner.bad", "many[].bad", "table.x.bad", "gone"]


def test_names_may_be_dotted() -> None:
    assert names("{{ user.name }}{{ user.bad }}{{ other.x }}", {"user.name", "other"}) == ["user.bad"]
    assert names("{{ a }}{{ b }}", ["a"]) == ["b"]


def test_a_guard_holds_only_while_the_schema_may_lack_it() -> None:
    text = "{% if user is defined %}{{ user.bad }}{% endif %}"
    assert names(text) == []
    assert names(text, {"user": Inner}) == ["user.bad"]


# -- through other templates


def test_includes_with_their_own_lines() -> None:
    found = lacking(
        {"rows": [Inner]},
        a="{% for r in rows %}\n{% include 'b' %}{% include 'c' without context %}{% endfor %}",
        b="\n\n{{ r.bad }}{{ own }}",
        c="{{ r }}",
    )
    assert found == [("rows[].bad", 3, "b"), ("own", 3, "b"), ("r", 1, "c")]


def test_choices_of_includes() -> None:
    assert lacking(
        (), a="{% include ['gone', 'b', 'c'] %}{% include 'gone' ignore missing %}", b="{{ x }}", c="{{ y }}"
    ) == [("x", 1, "b")]
    found = lacking((), a="{% include ('b' if t else 'c') %}{% include name %}", b="{{ x }}", c="{{ y }}")
    assert [name for name, _, _ in found] == ["t", "x", "y", "name"]
    assert make(a="\n{% include 'gone' %}").validate("a", ()).error.code == "TEMPLATE_NOT_FOUND"  # type: ignore[union-attr]


def test_imports() -> None:
    found = lacking(
        {"user": Inner},
        a=(
            "{% import 'm' as m %}{% from 'm' import card as c %}\n{{ m.card(user) }}"
            "{{ c(user) }}{{ m.title }}"
        ),
        m=(
            "{% set title = 1 %}\n{% macro card(u) %}\n{{ u.bad }}{{ site }}{% endmacro %}"
            "{% macro unused() %}{{ z }}{% endmacro %}"
        ),
    )
    assert found == [("user.bad", 3, "m"), ("site", 3, "m")]


def test_inheritance() -> None:
    found = lacking(
        (),
        a=(
            "{% extends 'b' %}\n{% set here = 1 %}{{ never_printed }}\n{% block body %}"
            "{{ super() }}{{ mine }}{{ here }}{% endblock %}"
        ),
        b=(
            "{% extends 'c' %}{% block body %}\n{{ parents }}{% endblock %}{% block head %}"
            "{{ replaced_not }}{% endblock %}"
        ),
        c=(
            "{{ top }}{% block head %}{{ overridden }}{% endblock %}{% block body %}{{ hidden }}"
            "{% endblock %}{{ self.head() }}"
        ),
    )
    assert sorted(found) == [("mine", 3, "a"), ("parents", 2, "b"), ("replaced_not", 2, "b"), ("top", 1, "c")]


def test_scoped_blocks_see_the_loop() -> None:
    text = "{% for r in rows %}{% block one scoped %}{{ r.bad }}{% endblock %}{% endfor %}"
    assert names(text, {"rows": [Inner]}) == ["rows[].bad"]
    assert names(text.replace(" scoped", ""), {"rows": [Inner]}) == ["r"]


def test_loops_among_templates_end() -> None:
    assert lacking((), a="{{ x }}{% include 'b' %}", b="{{ y }}{% include 'a' %}") == [
        ("x", 1, "a"),
        ("y", 1, "b"),
    ]
    assert lacking((), a="{% extends 'b' %}", b="{% extends 'a' %}") == []
    assert names("{% macro m(n) %}{{ m(n.next) }}{{ x }}{% endmacro %}{{ m(a) }}") == ["a", "x"]


def test_a_hostile_template_is_analysed_in_bounded_time() -> None:
    macros = "".join(
        f"{{% macro m{n}() %}}{{{{ m{n + 1}() }}}}{{{{ m{n + 1}() }}}}{{% endmacro %}}" for n in range(29)
    )
    result = make(a=macros + "{% macro m29() %}{% endmacro %}{{ m0() }}").validate("a", ())
    assert result.error is not None
    assert (result.error.code, result.error.context["limit"]) == ("TEMPLATE_LIMIT_EXCEEDED", "steps")


def test_mistakes_in_the_template() -> None:
    error = make(a="\n{% if %}").validate("a", ()).error
    assert error is not None
    assert (error.code, error.context["line"]) == ("TEMPLATE_SYNTAX", 2)
    error = make(a="{% include 'b' %}", b="\n\n{{").validate("a", ()).error
    assert error is not None
    assert (error.code, error.context["template"], error.context["line"]) == ("TEMPLATE_SYNTAX", "b", 3)
