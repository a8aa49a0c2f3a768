from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.web.matching import Index, parameters_of
from starlette.routing import Match, Route


def index_of(*paths: str) -> Index[str]:
    index = Index[str]()
    for path in paths:
        index.add(path, "GET", path)
    return index


def found(index: Index[str], path: str) -> tuple[str, dict[str, Any]] | None:
    match = index.find(path)
    return None if match is None else (match[0].methods["GET"], match[1])


def test_literals_win_over_parameters_in_any_order() -> None:
    for paths in (("/users/me", "/users/{id}"), ("/users/{id}", "/users/me")):
        index = index_of(*paths)
        assert found(index, "/users/me") == ("/users/me", {})
        assert found(index, "/users/you") == ("/users/{id}", {"id": "you"})


def test_a_literal_that_leads_nowhere_is_left_again() -> None:
    index = index_of("/a/b/c", "/a/{x}/d", "/{y}/b/e", "/{rest:path}")
    assert found(index, "/a/b/c") == ("/a/b/c", {})
    assert found(index, "/a/b/d") == ("/a/{x}/d", {"x": "b"})
    assert found(index, "/a/b/e") == ("/{y}/b/e", {"y": "a"})
    assert found(index, "/a/b/f") == ("/{rest:path}", {"rest": "a/b/f"})


def test_what_takes_less_goes_first() -> None:
    index = index_of("/{name}", "/{id:int}", "/{file}.json", "/{p:path}", "/{p:path}/raw")
    assert found(index, "/7") == ("/{id:int}", {"id": 7})
    assert found(index, "/x") == ("/{name}", {"name": "x"})
    assert found(index, "/x.json") == ("/{file}.json", {"file": "x"})
    assert found(index, "/a/b/raw") == ("/{p:path}/raw", {"p": "a/b"})
    assert found(index, "/a/b") == ("/{p:path}", {"p": "a/b"})


def test_several_parameters_in_one_segment() -> None:
    assert found(index_of("/{a}-{b:int}/{c}"), "/x-3/y") == ("/{a}-{b:int}/{c}", {"a": "x", "b": 3, "c": "y"})


def test_names_may_differ_below_one_segment() -> None:
    index = index_of("/u/{id}", "/u/{user}/posts")
    assert found(index, "/u/1") == ("/u/{id}", {"id": "1"})
    assert found(index, "/u/1/posts") == ("/u/{user}/posts", {"user": "1"})


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (("/a", "/a"), "declared twice"),
        (("/u/{id}", "/u/{name}"), "declared twice"),
        (("/{p:path}", "/{q:path}"), "declared twice"),
        (("/{a}/{a}",), "two parameters of one name"),
        (("/{a:nothing}",), "no convertor 'nothing'"),
        (("a",), "begins with '/'"),
    ],
)
def test_what_cannot_be_declared(paths: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        index_of(*paths)


@pytest.mark.parametrize(
    "path", ["", "//", "/users", "/users/", "/users//", "/users/7\n", "/users/" + "9" * 5000]
)
def test_what_is_not_there(path: str) -> None:
    assert found(index_of("/users/{id:int}"), path) is None


def never(request: Any) -> Any: ...


SEGMENTS = st.sampled_from(["a", "b", "{x}", "{n:int}", "{f}.js", "1", "c.js"])
ASKED = st.lists(st.sampled_from(["a", "b", "1", "22", "c.js", "z", ""]), min_size=1, max_size=4)


@given(
    st.lists(st.lists(SEGMENTS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=8, unique=True),
    ASKED,
)
def test_it_finds_a_route_exactly_where_starlette_finds_one(
    templates: list[tuple[str, ...]], asked: list[str]
) -> None:
    index, routes = Index[str](), list[Route]()
    for template in templates:
        segments = [segment.replace("{", f"{{p{place}") for place, segment in enumerate(template)]
        path = "/" + "/".join(segments)
        try:
            index.add(path, "GET", path)
        except ValueError:
            continue
        routes.append(Route(path, never))
    path = "/" + "/".join(asked)
    scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
    fitting = {
        route.path: child["path_params"]
        for route in routes
        for fit, child in [route.matches(scope)]
        if fit is Match.FULL
    }
    answer = found(index, path)
    if answer is None:
        assert fitting == {}
    else:
        assert fitting[answer[0]] == answer[1]


def test_names_of_parameters() -> None:
    assert parameters_of("/{a}/x{b:int}-{c}/{d:path}") == ["a", "b", "c", "d"]
