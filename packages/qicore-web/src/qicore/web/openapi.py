"""The OpenAPI document: FastAPI's, with the problems, and with HEAD beside each GET."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from qicore.base import ErrorCategory, QiError
from qicore.web.problems import PROBLEM_SCHEMA, Problems
from qicore.web.statuses import phrase_of
from starlette.routing import BaseRoute

__all__ = ["document", "problem_responses"]

_REFERENCE: Final = {"$ref": "#/components/schemas/Problem"}
_OPERATIONS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def _content() -> dict[str, Any]:
    return {
        "application/problem+json": {"schema": dict(_REFERENCE)},
        "text/html": {"schema": {"type": "string"}},
    }


def problem_responses(
    errors: Iterable[str | ErrorCategory], problems: Problems
) -> dict[int | str, dict[str, Any]]:
    """Return the responses that a route documents for the codes and categories it fails with."""
    found: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        category = error if isinstance(error, ErrorCategory) else ErrorCategory.VALIDATION
        code = error.value if isinstance(error, ErrorCategory) else error
        status = problems.status_of(QiError.create(code, code, category))
        described = found.setdefault(status, {"description": "", "content": _content()})
        described["description"] = " or ".join(filter(None, (described["description"], f"`{code}`")))
    return found


def document(raw: FastAPI, routes: Sequence[BaseRoute], with_head: Iterable[APIRoute]) -> dict[str, Any]:
    """Return the document of our routes and of those that were added to the FastAPI application itself."""
    made = get_openapi(
        title=raw.title,
        version=raw.version,
        openapi_version=raw.openapi_version,
        summary=raw.summary,
        description=raw.description,
        terms_of_service=raw.terms_of_service,
        contact=raw.contact,
        license_info=raw.license_info,
        routes=[*routes, *raw.routes],
        webhooks=raw.webhooks.routes,
        tags=raw.openapi_tags,
        servers=raw.servers,
        separate_input_output_schemas=raw.separate_input_output_schemas,
        external_docs=raw.openapi_external_docs,
    )
    for path in made["paths"].values():
        for method, operation in path.items():
            if method in _OPERATIONS:
                _tell_problems(operation)
    for route in with_head:
        _add_head(made["paths"].get(route.path_format, {}))
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        if unused in schemas and f"schemas/{unused}" not in _text_without(made, unused):
            del schemas[unused]
    schemas["Problem"] = copy.deepcopy(dict(PROBLEM_SCHEMA))
    return made


def _tell_problems(operation: dict[str, Any]) -> None:
    responses: dict[str, Any] = operation.setdefault("responses", {})
    invalid = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if invalid == {"$ref": "#/components/schemas/HTTPValidationError"}:
        responses["422"] = {
            "description": "The request is not as this document describes it.",
            "content": _content(),
        }
    responses.setdefault("500", {"description": phrase_of(500), "content": _content()})
    responses.setdefault("default", {"description": "Any other problem.", "content": _content()})


def _add_head(path: dict[str, Any]) -> None:
    get = path.get("get")
    if get is None or "head" in path:
        return
    head = {key: value for key, value in get.items() if key not in ("requestBody", "callbacks")}
    head["operationId"] = f"{get['operationId']}_head"
    head["responses"] = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in get["responses"].items()
    }
    path["head"] = head


def _text_without(made: Mapping[str, Any], name: str) -> str:
    """Return the document as text without one schema, to see whether another part refers to it."""
    schemas = {key: value for key, value in made["components"]["schemas"].items() if key != name}
    if name == "ValidationError":
        schemas.pop("HTTPValidationError", None)
    return str({**made, "components": {**made["components"], "schemas": schemas}})
