"""The id of a request, by which its answer and its log records are found together."""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

from starlette.types import Scope

__all__ = ["REQUEST_ID_HEADER", "correlation_id", "instance_of"]

REQUEST_ID_HEADER: Final = b"x-request-id"

_KEY: Final = "qicore.request_id"
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_SAFE: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def correlation_id(scope: Scope) -> str:
    """Return the id of the request, and make one of 32 hexadecimal digits where it has none.

    >>> scope = {"type": "http"}
    >>> correlation_id(scope) == correlation_id(scope)
    True
    """
    found = scope.get(_KEY)
    if isinstance(found, str):
        return found
    made = uuid4().hex
    scope[_KEY] = made
    return made


def instance_of(request_id: str) -> str:
    """Return the URI reference that stands for one request in its problem (RFC 9457, section 3.1.5).

    >>> instance_of("0" * 32), instance_of("order-7")
    ('urn:uuid:00000000-0000-0000-0000-000000000000', '#order-7')
    """
    if _HEX.fullmatch(request_id):
        cuts = (request_id[:8], request_id[8:12], request_id[12:16], request_id[16:20], request_id[20:])
        return "urn:uuid:" + "-".join(cuts)
    return "#" + (request_id if _SAFE.fullmatch(request_id) else "")
