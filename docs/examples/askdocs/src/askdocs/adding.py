"""Adding documents by the API, for who has the token."""

from __future__ import annotations

import asyncio
import hmac
from pathlib import PurePosixPath
from typing import Annotated, Final

from fastapi import Response, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from qicore.base import Failure, QiError, Result, Success, early_return
from qicore.web import Handler, Middleware, WebApp
from starlette.exceptions import HTTPException
from starlette.requests import Request

from askdocs.extract import KINDS, take_apart
from askdocs.model import Extract, Stored
from askdocs.store import Index
from askdocs.texts import Text, decode

__all__ = ["add_adding"]

_CREATED: Final = 201
# For the OpenAPI document: who asks is checked before a byte of the body is read.
_BEARER: Final = Security(HTTPBearer(auto_error=False, description="`serve.token` of the settings"))


class NewDocument(BaseModel):
    """A document to add; the suffix of its path says what it is written in."""

    model_config = ConfigDict(extra="forbid")

    path: Annotated[
        str,
        Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$", description="its name, for good: `notes/a.md`"),
    ]
    text: str


def add_adding(app: WebApp, token: str) -> None:
    """Let who has the token add documents."""
    group = app.group("/api", _only_with(token), tags=["documents"])

    @group.post(
        "/documents",
        errors=["UNAUTHORIZED", "FILE_KIND_UNKNOWN", "FILE_NOT_TEXT", "FILE_MALFORMED", "FILE_EMPTY"],
        responses={_CREATED: {"model": Stored, "description": "It was not there before"}},
        dependencies=[_BEARER],
    )
    async def add(request: Request, response: Response, new: NewDocument) -> Result[Stored]:
        """Add a document, or put it in the place of the one at its path; all of it or nothing.

        Whoever got no answer may send it again, to this node or another: a document is there once, however
        often it is sent. When it is answered, the next question finds it, on every node.
        """
        index: Index = request.app.state.index
        stored = await _put(index, new)
        if stored.is_success and stored.unwrap().change == "added":
            response.status_code = _CREATED
        return stored


@early_return
async def _put(index: Index, new: NewDocument) -> Result[Stored]:
    path = PurePosixPath(new.path)
    text, extract = (await asyncio.to_thread(_read, path, new.text)).unwrap()
    return await index.put(new.path, path.suffix.lower()[1:], text, extract)


@early_return
def _read(path: PurePosixPath, text: str) -> Result[tuple[Text, Extract]]:
    if path.suffix.lower() not in KINDS:
        readable = ", ".join(sorted(KINDS))
        return Failure(QiError.validation("FILE_KIND_UNKNOWN", f"not a kind that can be read: {readable}"))
    read = decode(text.encode()).unwrap()
    return Success((read, take_apart(path, read.text).unwrap()))


def _only_with(token: str) -> Middleware:
    """Answer nobody else than who says `Authorization: Bearer TOKEN`."""
    wanted = token.encode()

    def around(handler: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            # Byte by byte what was sent, which is UTF-8 if it is no ASCII.
            if scheme.lower() == "bearer" and hmac.compare_digest(given.strip(" ").encode("latin-1"), wanted):
                return await handler(request)
            raise HTTPException(
                401, "say who you are: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )

        return handle

    return around
