import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.http.problem import MAX_BODY, describe_body

PROBLEM = "application/problem+json"


def test_a_problem_keeps_its_members_and_extensions() -> None:
    problem = {
        "type": "https://example.org/out-of-credit",
        "title": "Not enough credit",
        "status": 403,
        "detail": "Your balance is 30",
        "instance": "/account/12345",
        "balance": 30,
        "accounts": ["/a", "/b"],
    }
    assert describe_body(PROBLEM + "; charset=utf-8", json.dumps(problem).encode()) == {"problem": problem}


def test_a_member_of_the_wrong_type_is_none() -> None:
    body = b'{"title": 7, "status": "no", "detail": null, "type": true, "own": 1}'
    assert describe_body(PROBLEM, body) == {"problem": {"own": 1}}


def test_other_json_is_the_body() -> None:
    body = b'{"error": {"code": "overloaded", "message": "try later"}}'
    expected = {"body": {"error": {"code": "overloaded", "message": "try later"}}}
    assert describe_body("application/json", body) == expected
    assert describe_body("application/vnd.api+json", body) == expected
    assert describe_body(PROBLEM, b"[1]") == {"body": [1]}


def test_secrets_are_masked_at_any_depth() -> None:
    body = json.dumps(
        {"got": {"password": "p", "headers": [{"Authorization": "Bearer t"}]}, "api_key": ["k"]}
    )
    assert describe_body("application/json", body.encode()) == {
        "body": {"got": {"password": "***", "headers": [{"Authorization": "***"}]}, "api_key": "***"}
    }


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"nul", b'{"a": NaN,}', b" "],
)
def test_what_only_says_it_is_json_is_text(body: bytes) -> None:
    described = describe_body(PROBLEM, body)
    assert isinstance(described["body"], str)
    assert len(described["body"]) <= 1000


def test_the_size_is_bounded() -> None:
    wide = json.dumps({f"k{n}": ["x" * 5000] * 50 for n in range(10)}).encode()
    assert len(wide) > MAX_BODY
    for body in (wide, json.dumps({f"k{n}": ["x" * 900] * 9 for n in range(7)}).encode(), b"t" * 1_000_000):
        for kind in ("application/json", "text/plain", None):
            described = describe_body(kind, body)
            assert len(json.dumps(described)) < 150_000
    assert describe_body("text/plain", b"t" * 1001) == {"body": "t" * 1000, "body_truncated": True}
    assert describe_body("text/plain", b"beginning", complete=False) == {
        "body": "beginning",
        "body_truncated": True,
    }
    deep: Any = "bottom"
    for _ in range(20):
        deep = {"d": deep}
    assert describe_body("application/json", json.dumps(deep).encode())["body_truncated"] is True


def test_text_is_read_in_its_charset() -> None:
    assert describe_body("text/plain; charset=latin-1", "é".encode("latin-1")) == {"body": "é"}
    assert describe_body('text/plain; charset="no-such"', "é".encode()) == {"body": "é"}
    assert describe_body("text/plain; charset=hex", b"zz") == {"body": "zz"}
    assert describe_body(None, b"\xff") == {"body": "\ufffd"}
    assert describe_body("image/png", b"\x89PNG") == {"body": "<4 bytes of image/png>"}
    assert describe_body("text/plain", b"") == {}


@given(st.text(max_size=60) | st.none(), st.binary(max_size=300))
def test_any_body_fits_into_an_error(content_type: str | None, body: bytes) -> None:
    error = QiError.network("HTTP_ERROR", "ill", **describe_body(content_type, body))
    assert QiError.from_structured_data(error.to_structured_data()) == error


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_small_json_arrives_whole(value: object) -> None:
    body = json.dumps({"detail": "d", "value": value}).encode()
    described = describe_body(PROBLEM, body)
    if "body_truncated" not in described:
        assert described == {"problem": {"detail": "d", "value": value}}
