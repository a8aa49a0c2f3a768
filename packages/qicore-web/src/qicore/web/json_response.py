"""JSON responses, made in one step by pydantic-core."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json
from qicore.web.errors import invalid_response
from qicore.web.returns import UNKNOWN_TYPE
from starlette.responses import Response

__all__ = ["BODILESS", "JSONBytes", "serializer"]

_TYPE: Final = (b"content-type", b"application/json")
BODILESS: Final = frozenset(
    (*range(100, 200), HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)
)


class JSONBytes(Response):
    """A response of JSON that is there as bytes."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.status_code = status
        self.background = None
        if status in BODILESS:
            self.body = b""
            self.raw_headers = []
        else:
            self.body = body
            self.raw_headers = [(b"content-length", str(len(body)).encode()), _TYPE]


def serializer(annotation: Any) -> Callable[[Any], bytes]:
    """Return the function that makes JSON of values of a type.

    A value that is not of the type raises INVALID_RESPONSE: it would break what the OpenAPI document
    promises, and might tell more than the type does.

    >>> serializer(list[int])([1, 2]), serializer(UNKNOWN_TYPE)({"any": None})
    (b'[1,2]', b'{"any":null}')
    """
    if annotation is UNKNOWN_TYPE:
        return _anything
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def checked(value: Any) -> bytes:
        try:
            valid = adapter.validate_python(value, from_attributes=True)
        except ValidationError as wrong:
            raise invalid_response(wrong.errors(include_url=False, include_input=False)) from None
        return adapter.dump_json(valid, by_alias=True)

    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return checked
    if annotation.model_config.get("revalidate_instances", "never") != "never":
        return checked
    to_bytes: Callable[..., bytes] = annotation.__pydantic_serializer__.to_json

    def model(value: Any) -> bytes:
        # An instance of the very class was validated when it was made; one of a subclass may hold more.
        return to_bytes(value, by_alias=True) if type(value) is annotation else checked(value)

    return model


def _anything(value: Any) -> bytes:
    return to_json(value, by_alias=True, inf_nan_mode="null", fallback=jsonable_encoder)
