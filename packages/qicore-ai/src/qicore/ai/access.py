"""Where a server is and how it knows the caller: secrets go into one header, and nowhere else."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import unquote, urlsplit, urlunsplit

from qicore.ai.errors import invalid_config

__all__ = ["authorization", "base_url", "is_headers", "is_key", "is_url", "place_of", "secrets_in"]

_KEY_VARIABLES: Final = ("OLLAMA_API_KEY", "OPENAI_API_KEY")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, 5.6.2


def is_url(value: object) -> bool:
    """Whether this is the address of a server."""
    if not isinstance(value, str):
        return False
    import httpx

    try:
        url, port = httpx.URL(value), urlsplit(value).port
    except (httpx.InvalidURL, ValueError):
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and port != 0


def is_key(value: object) -> bool:
    """Whether this can be sent as a key: the line end of the file that it was in can't."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and value.split() == [value]


def is_headers(value: object) -> bool:
    """Whether these are header fields that can be sent (RFC 9110, 5.1 and 5.5)."""
    if not isinstance(value, Mapping):
        return False
    fields = cast("Mapping[object, object]", value).items()
    return all(
        isinstance(name, str)
        and _NAME.fullmatch(name) is not None
        and isinstance(text, str)
        and text.isascii()
        and text.isprintable()
        and text == text.strip()
        for name, text in fields
    )


def base_url(given: str | None, variable: str) -> str | None:
    """Return the address without user and password, which the libraries would log; None for the usual one.

    The variable of the environment counts when none is given. A QiError INVALID_LLM_CONFIG is raised.
    """
    url = given or os.environ.get(variable)
    if not url:
        return None
    if not is_url(url):
        raise invalid_config(f"{variable} must be an absolute http or https URL")
    scheme, place, path, query, fragment = urlsplit(url)
    return urlunsplit((scheme, place.rpartition("@")[2], path, query, fragment))


def authorization(key: str | None, url: str | None, variable: str) -> str | None:
    """Return the header's value: of the key, of user and password in the URL, of the variable, or None.

    A QiError INVALID_LLM_CONFIG is raised for a variable that holds what can't be sent.
    """
    if key is not None:
        return f"Bearer {key}"
    parts = urlsplit(url or "")
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
    found = os.environ.get(variable)
    if not found:
        return None
    if not is_key(found):
        raise invalid_config(f"{variable} must be a text of visible ASCII characters")
    return f"Bearer {found}"


def place_of(url: str | None) -> str:
    """Return the part of an address that may be shown.

    >>> place_of("https://ann:secret@example.org/v1?key=secret")
    'https://example.org/v1'
    """
    parts = urlsplit(url or "")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def secrets_in(key: str | None, url: str | None) -> list[str]:
    """Return what a server may have been sent, and may repeat, that nobody else should see."""
    parts = urlsplit(url or "")
    found = [key, parts.password, unquote(parts.password or ""), *map(os.environ.get, _KEY_VARIABLES)]
    return [secret for secret in found if secret]
