"""Credentials: what `auth` may be, and how it becomes a header."""

from __future__ import annotations

import base64
from collections.abc import Generator
from typing import TypeAlias

import httpx

__all__ = ["AuthSpec", "BearerAuth", "authorization", "make_auth"]

AuthSpec: TypeAlias = tuple[str, str] | httpx.Auth
"""User and password (basic), or an object of httpx's: `BearerAuth`, `httpx.DigestAuth`, your own."""


class BearerAuth(httpx.Auth):
    """A bearer token (RFC 6750), which no repr shows.

    >>> BearerAuth("secret")
    BearerAuth(***)
    """

    def __init__(self, token: str) -> None:
        self.header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the token with the request."""
        request.headers["Authorization"] = self.header
        yield request

    def __repr__(self) -> str:
        return "BearerAuth(***)"


class _Basic(BearerAuth):
    """User and password (RFC 7617); a header that is made once, as a token is."""

    def __init__(self, user: str, password: str) -> None:
        pair = f"{user}:{password}".encode()
        self.header = "Basic " + base64.b64encode(pair).decode()

    def __repr__(self) -> str:
        return "BasicAuth(***)"


def make_auth(auth: AuthSpec | None) -> httpx.Auth | None:
    """Return what the user gave as one of httpx's objects."""
    if isinstance(auth, tuple):
        return _Basic(*auth)
    return auth


def authorization(auth: httpx.Auth) -> str | None:
    """Return the header that is all there is to it, or None when the auth has to see each request."""
    return auth.header if type(auth) in (BearerAuth, _Basic) and isinstance(auth, BearerAuth) else None
