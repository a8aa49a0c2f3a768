"""An API with parameters of many kinds, for the tests that take it through its OpenAPI document."""

from enum import Enum
from typing import Annotated, Literal

from fastapi import Cookie, Depends, Header, Path, Query
from pydantic import BaseModel, Field
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.web import WebApp, WebConfig
from qicore.web.middleware import access_log, body_limit, compression, request_id, security_headers


class Kind(Enum):
    TEA = "tea"
    CAKE = "cake"


class Size(BaseModel):
    grams: Annotated[float, Field(gt=0, le=10_000)]
    exact: bool = True


class Tea(BaseModel):
    kind: Literal["tea"]
    minutes: Annotated[int, Field(ge=1, le=60)]


class Cake(BaseModel):
    kind: Literal["cake"]
    slices: Annotated[int, Field(ge=1)]


class Item(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=40)]
    kind: Kind
    size: Size
    tags: Annotated[list[str], Field(max_length=5)] = Field(default_factory=list[str])
    # Not a date: pydantic takes "0" for one, in strict mode, too.
    best_before: Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    what: Annotated[Tea | Cake, Field(discriminator="kind")] | None = None


class Stored(Item):
    number: int


class Shelf:
    """The state behind the API."""

    def __init__(self) -> None:
        self.items: dict[int, Stored] = {}

    def find(self, number: int) -> Result[Stored]:
        missing = QiError.validation("NO_SUCH_ITEM", "there is no such item")
        return Result.from_optional(self.items.get(number), missing)


def make() -> WebApp:
    app = WebApp(WebConfig(title="Shelf", statuses={"NO_SUCH_ITEM": 404, "FULL": 507}))
    app.use(request_id(), access_log(), security_headers(), compression())
    shelf = Shelf()
    items = app.group("/items", body_limit(20_000), tags=["items"])

    def item_of(raw: Annotated[int, Path(ge=0, le=10**9)]) -> Result[Stored]:
        return shelf.find(raw)

    items.param("item", item_of)

    @items.get("")
    async def search(
        tags: Annotated[list[str], Query(default_factory=list[str])],
        q: Annotated[str, Query(max_length=20)] = "",
        kind: Kind | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> Result[list[Stored]]:
        found = [item for item in shelf.items.values() if q in item.name and kind in (None, item.kind)]
        return Success([item for item in found if not tags or set(tags) <= set(item.tags)][:limit])

    @items.post("", status_code=201, errors=["FULL"])
    async def store(item: Item) -> Result[Stored]:
        if len(shelf.items) >= 50:
            return Failure(QiError.unknown("FULL", "the shelf is full"))
        number = len(shelf.items) + 1
        shelf.items[number] = Stored(number=number, **item.model_dump())
        return Success(shelf.items[number])

    @items.get("/{item}", errors=["NO_SUCH_ITEM"])
    async def show(item: Stored) -> Result[Stored]:
        return Success(item)

    @items.put("/{number:int}/size", errors=["NO_SUCH_ITEM"])
    async def resize(number: Annotated[int, Path(ge=0, le=10**9)], size: Size) -> Result[Size]:
        return shelf.find(number).map(lambda _: size)

    @items.delete("/{item}", status_code=204, errors=["NO_SUCH_ITEM"])
    async def remove(item: Stored) -> Result[None]:
        del shelf.items[item.number]
        return Success(None)

    def caller(
        x_key: Annotated[str, Header(min_length=3, max_length=20)],
        session: Annotated[str | None, Cookie()] = None,
    ) -> Result[str]:
        return Success(session or x_key)

    @app.get("/mine", errors=[ErrorCategory.PERMISSION])
    async def mine(name: Annotated[str, Depends(caller)]) -> Result[dict[str, str]]:
        return Success({"name": name})

    @app.post("/batch")
    def batch(
        numbers: list[Annotated[int, Field(ge=0)]], factor: Annotated[float, Query(ge=0, le=9)] = 1
    ) -> float:
        return min(sum(numbers), 1e9) * factor

    return app


app = make()
