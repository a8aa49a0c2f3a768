"""The options of a web application, and the checks on them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

from qicore.base import Result
from qicore.base.options import Checks

__all__ = ["PUBLIC_CONTEXT", "WebConfig"]

PUBLIC_CONTEXT: Final = frozenset({"errors", "limit", "retry_after"})
"""The keys of an error's context that problems show, where nothing else is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebConfig:
    """How a `WebApp` behaves. The defaults are meant for production.

    Attributes:
        title: name of the API, in its OpenAPI document and on its documentation page.
        version: version of the API, in its OpenAPI document.
        description: what the API is for, in Markdown.
        openapi_path: where the OpenAPI document is served, or None for nowhere.
        docs_path: where the documentation page is served, or None for nowhere. It needs `openapi_path`.
        statuses: HTTP statuses of error codes, over the table that the README shows: `{"USER_GONE": 410}`.
        problem_base: what the `type` of a problem begins with; the code in lower case with hyphens follows.
            It should lead to pages that explain the errors. Without it the type is `about:blank`.
        public_context: keys of an error's context that problems show. All others stay inside.
        max_body_size: bytes that the body of a request may have, else 413; None for no limit. Uploads that
            are larger need a larger limit.
        strict_bodies: take JSON bodies only as the OpenAPI document describes them, so that `"1"` and `true`
            are no numbers. Without it pydantic converts them.
        redirect_slashes: lead `/users/` to `/users`, or the other way, where only the other one exists.
    """

    title: str = "API"
    version: str = "0.1.0"
    description: str = ""
    openapi_path: str | None = "/openapi.json"
    docs_path: str | None = "/docs"
    statuses: Mapping[str, int] = field(default_factory=dict[str, int])
    problem_base: str | None = None
    public_context: AbstractSet[str] = PUBLIC_CONTEXT
    max_body_size: int | None = 10 * 1024 * 1024
    strict_bodies: bool = True
    redirect_slashes: bool = True

    def check(self) -> Result[Self]:
        """Return the options, or INVALID_WEB_CONFIG [VALIDATION] naming every one that is wrong.

        >>> WebConfig(docs_path="docs").check().error.message
        "docs_path must begin with '/', or be None"
        """
        # Any, since callers without types may have put anything there.
        values: dict[str, Any] = {name: getattr(self, name) for name in WebConfig.__dataclass_fields__}
        checks = Checks()
        for name in ("title", "version", "description"):
            checks.text(name, values[name], empty=True)
        for name in ("openapi_path", "docs_path"):
            checks.that(_is_path(values[name]), f"{name} must begin with '/', or be None")
        checks.that(
            values["docs_path"] is None or values["openapi_path"] is not None,
            "docs_path needs an openapi_path",
        )
        checks.that(_are_statuses(values["statuses"]), "statuses must map codes to statuses from 400 to 599")
        checks.that(_is_base(values["problem_base"]), "problem_base must be a URI, or None")
        checks.that(_are_keys(values["public_context"]), "public_context must be a set of keys")
        checks.whole("max_body_size", values["max_body_size"], least=0, none=True)
        for name in ("strict_bodies", "redirect_slashes"):
            checks.that(type(values[name]) is bool, f"{name} must be True or False")
        return checks.answer(self, "INVALID_WEB_CONFIG")


def _is_base(base: object) -> bool:
    return base is None or (isinstance(base, str) and bool(base) and base.isascii() and base.isprintable())


def _are_keys(keys: object) -> bool:
    return isinstance(keys, AbstractSet) and all(
        isinstance(key, str) for key in cast("AbstractSet[object]", keys)
    )


def _is_path(path: object) -> bool:
    return path is None or (isinstance(path, str) and path.startswith("/") and path.isprintable())


def _are_statuses(statuses: Any) -> bool:
    return isinstance(statuses, Mapping) and all(
        isinstance(code, str) and type(status) is int and 400 <= status <= 599
        for code, status in cast("Mapping[object, object]", statuses).items()
    )
