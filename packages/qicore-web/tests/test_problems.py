import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, QiError
from qicore.web import WebConfig, problem_response
from qicore.web.errors import http_error
from qicore.web.problems import Problems
from qicore.web.statuses import CODES, error_of_status, status_of
from starlette.exceptions import HTTPException
from starlette.types import Scope


def scope(accept: str = "*/*") -> Scope:
    return {"type": "http", "headers": [(b"accept", accept.encode("latin-1"))]}


def told(error: QiError, config: WebConfig | None = None) -> dict[str, object]:
    response = Problems(config).response(scope(), error)
    problem: dict[str, object] = json.loads(bytes(response.body))
    assert problem["status"] == response.status_code
    return problem


def test_a_problem_has_all_its_members() -> None:
    problem = told(QiError.validation("BAD_AGE", "it is negative", age=-1, limit=150))
    assert str(problem.pop("instance")).startswith("urn:uuid:")
    assert problem == {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "it is negative",
        "code": "BAD_AGE",
        "context": {"limit": 150},
    }


def test_types_lead_to_pages_that_explain_them() -> None:
    problem = told(
        QiError.validation("BAD_AGE", "x"), WebConfig(problem_base="https://example.org/problems/")
    )
    assert (problem["type"], problem["title"]) == ("https://example.org/problems/bad-age", "Bad age")


@pytest.mark.parametrize("category", ErrorCategory)
def test_the_status_is_that_of_the_category_unless_the_code_has_one(category: ErrorCategory) -> None:
    error = QiError.create("SOMETHING", "x", category)
    assert told(error)["status"] == category.policy.http_status
    assert told(error, WebConfig(statuses={"SOMETHING": 418}))["status"] == 418
    assert told(QiError.create("NOT_FOUND", "x", category))["status"] == 404


@pytest.mark.parametrize("status", CODES)
def test_every_status_has_an_error_and_back(status: int) -> None:
    assert status_of(error_of_status(status, "x")) == status


def test_what_is_the_services_own_trouble_is_not_told() -> None:
    error = QiError.network(
        "NETWORK_ERROR", "db.internal:5432 refused", host="db.internal", errors=["secret"]
    )
    response = Problems(WebConfig(public_context=frozenset())).response(scope(), error)
    assert response.status_code == 502
    assert b"internal" not in bytes(response.body)
    assert b"secret" not in bytes(response.body)
    instance = json.loads(bytes(response.body))["instance"]
    assert instance.replace("-", "").endswith(response.headers["x-request-id"])


def test_when_to_come_back_is_a_header() -> None:
    response = problem_response(scope(), QiError.timeout("RATE_LIMITED", "later", retry_after=1.2))
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize("wait", ["soon", -1, float("inf"), float("nan"), None])
def test_a_wait_that_is_none_is_no_header(wait: object) -> None:
    response = problem_response(scope(), QiError.timeout("RATE_LIMITED", "later", retry_after=wait))
    assert "retry-after" not in response.headers


def test_the_headers_of_an_http_exception_stay() -> None:
    response = problem_response(
        scope(), http_error(HTTPException(401, "who?", {"WWW-Authenticate": "Bearer"}))
    )
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.5, application/json", "application/problem+json"),
        ("TEXT/HTML", "text/html; charset=utf-8"),
        ("text/html;q=high", "application/problem+json"),
        ("", "application/problem+json"),
        (",,;;=,text/html;q=", "application/problem+json"),
    ],
)
def test_browsers_get_a_page(accept: str, kind: str) -> None:
    response = Problems().response(scope(accept), QiError.validation("X", "<script>alert(1)</script>"))
    assert response.headers["content-type"] == kind
    assert response.headers["vary"] == "Accept"
    assert b"<script>" not in bytes(response.body) or kind == "application/problem+json"


@given(st.text(min_size=1), st.text(), st.binary(max_size=200))
def test_any_error_makes_a_problem_for_any_client(code: str, message: str, accept: bytes) -> None:
    request: Scope = {"type": "http", "headers": [(b"accept", accept)]}
    response = Problems().response(request, QiError.validation(code, message))
    assert 400 <= response.status_code <= 599
    assert response.headers["content-length"] == str(len(response.body))
