import json
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from qicore.base import ErrorCategory, QiError
from qicore.web.bodies import names_of
from qicore.web.errors import invalid_request, public_errors, translate
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect


def picky(value: str) -> str:
    raise ValueError(f"{value} is none of ours")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: UUID
    url: AnyUrl
    name: Annotated[str, AfterValidator(picky)]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    counts: dict[str, int]
    either: int | list[int]


ADAPTER = TypeAdapter(Order)
SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "body",
    [
        {"id": SECRET},
        {"url": SECRET},
        {"name": SECRET},
        {"pet": {"kind": SECRET}},
        {"pet": SECRET},
        {"counts": {SECRET: SECRET}},
        {"either": SECRET},
        {SECRET: SECRET},
        [SECRET],
        SECRET,
    ],
)
def test_nothing_that_was_sent_comes_back(body: object) -> None:
    with pytest.raises(ValidationError) as wrong:
        ADAPTER.validate_json(json.dumps(body))
    errors = wrong.value.errors(include_url=False)
    error = invalid_request(
        [{**found, "loc": ("body", *found["loc"])} for found in errors], names_of(ADAPTER)
    )
    assert SECRET not in str(error.to_structured_data())
    assert (error.code, error.category) == ("INVALID_REQUEST", ErrorCategory.VALIDATION)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(min_size=4),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=4), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Order.model_fields, JSON)), st.text(min_size=6))
def test_no_text_of_any_body_comes_back(body: dict[str, Any], extra: str) -> None:
    body[f"zq{extra}"] = f"qz{extra}"
    with pytest.raises(ValidationError) as wrong:
        ADAPTER.validate_json(json.dumps(body))
    errors = [{**error, "loc": ("body", *error["loc"])} for error in wrong.value.errors(include_url=False)]
    shown = json.dumps(public_errors(errors, names_of(ADAPTER)))
    assert json.dumps(f"zq{extra}")[1:-1] not in shown
    assert json.dumps(f"qz{extra}")[1:-1] not in shown


def test_the_places_in_the_schema_are_told() -> None:
    with pytest.raises(ValidationError) as wrong:
        ADAPTER.validate_python({"counts": {"a": "b"}, "either": [1, "x"]})
    shown = public_errors(
        [{**error, "loc": ("body", *error["loc"])} for error in wrong.value.errors()], names_of(ADAPTER)
    )
    places: list[Any] = [tuple(error["loc"]) for error in shown]  # type: ignore[arg-type]  # lists
    assert ("body", "id") in places
    assert ("body", "counts", "*") in places


def test_long_lists_of_mistakes_are_cut() -> None:
    error = invalid_request(
        [{"type": "missing", "loc": ("body", n), "msg": "Field required"} for n in range(5000)]
    )
    assert len(error.context["errors"]) == 100  # type: ignore[arg-type]  # a tuple
    assert "4999 more" in error.message


@pytest.mark.parametrize(
    ("exception", "code"),
    [
        (HTTPException(404), "NOT_FOUND"),
        (HTTPException(418, "no coffee"), "IM_A_TEAPOT"),
        (HTTPException(460, "no known status"), "HTTP_460"),
        (ClientDisconnect(), "CLIENT_DISCONNECTED"),
        (QiError.cache("KEY_NOT_FOUND", "x"), "KEY_NOT_FOUND"),
    ],
)
def test_exceptions_that_are_foreseen(exception: Exception, code: str) -> None:
    error = translate(exception)
    assert error is not None
    assert error.code == code


def test_an_exception_that_nobody_foresaw() -> None:
    assert translate(RuntimeError("boom")) is None
