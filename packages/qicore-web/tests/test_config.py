from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.web import WebApp, WebConfig


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"docs_path": "docs"}, "docs_path"),
        ({"openapi_path": None}, "docs_path needs an openapi_path"),
        ({"statuses": {"GONE": 200}}, "statuses"),
        ({"statuses": {"GONE": True}}, "statuses"),
        ({"statuses": [1]}, "statuses"),
        ({"problem_base": ""}, "problem_base"),
        ({"problem_base": "https://example.org/\n"}, "problem_base"),
        ({"public_context": "errors"}, "public_context"),
        ({"public_context": {1}}, "public_context"),
        ({"max_body_size": -1}, "max_body_size"),
        ({"max_body_size": True}, "max_body_size"),
        ({"title": 5}, "title"),
        ({"strict_bodies": "yes"}, "strict_bodies"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any], told: str) -> None:
    error = WebConfig(**options).check().error
    assert error is not None
    assert (error.code, error.category) == ("INVALID_WEB_CONFIG", ErrorCategory.VALIDATION)
    assert told in error.message
    assert WebApp.create(WebConfig(**options)).error == error
    with pytest.raises(ValueError, match=told):
        WebApp(WebConfig(**options))


def test_all_that_is_wrong_is_named_at_once() -> None:
    error = WebConfig(docs_path="docs", max_body_size=-1).check().error
    assert error is not None
    assert "docs_path" in error.message
    assert "max_body_size" in error.message


def test_something_else_is_no_config() -> None:
    wrong: Any = {"title": "API"}
    error = WebApp.create(wrong).error
    assert error is not None
    assert error.code == "INVALID_WEB_CONFIG"
