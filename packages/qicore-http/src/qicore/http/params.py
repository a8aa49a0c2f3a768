"""The query of a request: what its URL has, what the client always adds, and what the call adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import httpx
from qicore.http.errors import invalid_request

__all__ = ["Params", "with_params"]

Params: TypeAlias = Mapping[str, Any] | Sequence[tuple[str, Any]]


def with_params(url: httpx.URL, usual: Mapping[str, Any], given: Params | None) -> httpx.URL:
    """Return the URL with the parameters that were given, and those of the client that neither names.

    What the URL has already stays as it is, byte for byte: it may be signed.

    >>> url = httpx.URL("https://a.org/x?flag&page=2")
    >>> str(with_params(url, {"page": 1, "lang": "de"}, {"q": ["green", "tea"]}))
    'https://a.org/x?flag&page=2&lang=de&q=green&q=tea'
    """
    try:
        mine: Any = given if given is None or isinstance(given, Mapping) else list(given)
        added = httpx.QueryParams(mine)
        if usual:
            named = {*httpx.QueryParams(url.query), *added}
            always = {name: value for name, value in usual.items() if name not in named}
            parts = (str(httpx.QueryParams(cast("Any", always))), str(added))
        else:
            parts = ("", str(added))
    except (TypeError, ValueError, AttributeError) as error:
        raise invalid_request(f"these are no query parameters: {type(error).__name__}") from None
    query = b"&".join(part for part in (url.query, *(part.encode() for part in parts)) if part)
    return url.copy_with(query=query) if query else url
