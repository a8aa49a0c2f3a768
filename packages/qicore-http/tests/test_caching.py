"""The rules of the cache, as a conversation of one client with one URL under a clock of the test's own."""

from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

import pytest
from qicore.base import Result, Success
from qicore.http.caching import Asked, Rules, Step, aged
from qicore.http.entries import Entry, pack, unpack
from qicore.http.store import ResponseCache

URL = "https://example.org/tea"


class NoStore:
    """The rules never touch it."""

    async def get(self, key: str, /) -> Result[Any]:
        return Success(None)

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[Any]:
        return Success(None)

    async def remove(self, key: str, /) -> Result[Any]:
        return Success(False)


OPTIONS = ResponseCache(store=NoStore())


@dataclass
class Server:
    """Answers with `status` and `fields`, with a Date; 304 to a condition that names its ETag."""

    status: int = 200
    fields: dict[str, str] = field(default_factory=dict[str, str])
    seen: list[Asked] = field(default_factory=list[Asked])


@dataclass
class Client:
    server: Server
    options: ResponseCache = OPTIONS
    now: float = 1795428000.0
    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def ask(self, method: str = "GET", url: str = URL, /, **fields: str) -> str:
        """Send a request and tell what happened."""
        rules = Rules(self.options)
        pairs = tuple((name.replace("_", "-"), value) for name, value in fields.items())
        asked = Asked(method, url, pairs)
        key = rules.key(asked)
        entries = unpack(self.stored.get(key)) or []
        plan = rules.plan(asked, entries, self.now)
        if plan.step is Step.USE and plan.entry is not None:
            return f"stored {plan.entry.body.decode()}, age {dict(aged(plan.entry, plan.age))['age']}"
        if plan.step is Step.REFUSE:
            return "refused"
        self.server.seen.append(replace(asked, fields=(*pairs, *plan.conditions)))
        status, answer = self._answer(plan.conditions)
        verdict = rules.judge(asked, plan, status, answer, sent=self.now, now=self.now)
        for place in verdict.invalid:
            for untrue in rules.keys(asked, place):
                self.stored.pop(untrue, None)
        if verdict.candidate is not None:
            body = verdict.candidate.body if verdict.answer else str(len(self.server.seen)).encode()
            merged = rules.merge(asked, entries, replace(verdict.candidate, body=body))
            if rules.time_to_live(merged, self.now) > 0:
                self.stored[key] = pack(merged)
        if verdict.answer is not None:
            how = "confirmed" if status == 304 else "stale"
            return f"{how} {verdict.answer.body.decode()}"
        background = " in the background" if plan.step is Step.USE_AND_REFRESH else ""
        return f"{'again' if verdict.again else status}{background}"

    def _answer(self, conditions: tuple[tuple[str, str], ...]) -> tuple[int, tuple[tuple[str, str], ...]]:
        fields = tuple({"date": formatdate(self.now, usegmt=True), **self.server.fields}.items())
        etag = self.server.fields.get("etag")
        given = dict(conditions)
        if etag is not None and given.get("if-none-match") == etag:
            return 304, fields
        return self.server.status, fields

    def later(self, seconds: float) -> None:
        self.now += seconds


def client(
    control: str = "", /, *, options: ResponseCache = OPTIONS, status: int = 200, **fields: str
) -> Client:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Client(Server(status, {**({"cache-control": control} if control else {}), **named}), options)


def test_a_fresh_response_is_used_until_it_is_stale() -> None:
    c = client("max-age=60")
    assert c.ask() == "200"
    c.later(59)
    assert c.ask() == "stored 1, age 59"
    c.later(1)
    assert c.ask() == "200"
    assert c.ask() == "stored 2, age 0"


def test_a_stale_response_is_confirmed_by_its_etag_and_is_fresh_again() -> None:
    c = client("max-age=60", etag='"v1"')
    c.ask()
    c.later(100)
    assert c.ask() == "confirmed 1"
    assert dict(c.server.seen[-1].fields)["if-none-match"] == '"v1"'
    assert c.ask() == "stored 1, age 0"
    c.later(100)
    c.server.fields["etag"] = '"v2"'
    assert c.ask() == "200"
    assert c.ask() == "stored 3, age 0"


def test_a_304_without_a_date_makes_fresh_too() -> None:
    c = client("max-age=60", etag='"v1"', age="50")
    c.ask()
    c.later(100)
    del c.server.fields["age"]
    c.server.fields["date"] = ""
    assert c.ask() == "confirmed 1"
    assert c.ask() == "stored 1, age 0"


def test_a_304_that_confirms_something_else_leads_to_a_plain_request() -> None:
    c = client("max-age=60", etag='"v1"')
    c.ask()
    c.later(100)
    rules = Rules(OPTIONS)
    asked = Asked("GET", URL, ())
    plan = rules.plan(asked, unpack(next(iter(c.stored.values()))) or [], c.now)
    assert rules.judge(asked, plan, 304, (("etag", '"other"'),), sent=c.now, now=c.now).again


def test_last_modified_validates_as_well() -> None:
    modified = "Sun, 22 Nov 2026 10:00:00 GMT"
    c = client("no-cache", last_modified=modified)
    c.ask()
    c.ask()
    assert dict(c.server.seen[-1].fields)["if-modified-since"] == modified


@pytest.mark.parametrize(
    ("control", "shared", "stored"),
    [
        ("no-store", False, False),
        ("private, max-age=60", False, True),
        ("private, max-age=60", True, False),
        ("max-age=60", True, True),
        ("max-age=0", False, False),
        ("s-maxage=60, max-age=0", True, True),
        ("", False, False),
    ],
)
def test_what_is_stored(control: str, shared: bool, stored: bool) -> None:
    c = client(control, options=replace(OPTIONS, shared=shared))
    c.ask()
    assert bool(c.stored) == stored
    assert c.ask().startswith("stored" if stored else "200")


@pytest.mark.parametrize("name", ["authorization", "cookie", "x_api_key", "x_auth_token"])
def test_what_one_signed_in_for_is_not_for_another(name: str) -> None:
    c = client("max-age=60")
    assert c.ask(**{name: "ann"}) == "200"
    assert c.ask(**{name: "bob"}) == "200"
    assert c.ask() == "200"
    assert c.ask(**{name: "ann"}) == "stored 1, age 0"
    shared = client("max-age=60", options=replace(OPTIONS, shared=True))
    shared.ask(**{name: "ann"})
    assert shared.ask(**{name: "ann"}) == "200"
    assert not shared.stored
    public = client("public, max-age=60", options=replace(OPTIONS, shared=True))
    public.ask(**{name: "ann"})
    assert public.ask(**{name: "bob"}) == "stored 1, age 0"


def test_no_credential_lies_in_the_store() -> None:
    c = client("max-age=60", vary="authorization", set_cookie="session=s3cr3t")
    c.ask(url_token="s3cr3t", authorization="Bearer s3cr3t")
    ((key, value),) = c.stored.items()
    assert "s3cr3t" not in key
    assert b"s3cr3t" not in value
    assert c.ask(url_token="s3cr3t", authorization="Bearer s3cr3t") == "stored 1, age 0"


def test_a_shared_store_takes_no_response_that_sets_a_cookie_unless_it_is_public() -> None:
    shared = replace(OPTIONS, shared=True)
    for control, stored in (("max-age=60", False), ("public, max-age=60", True)):
        c = client(control, set_cookie="a=b", options=shared)
        c.ask()
        assert bool(c.stored) == stored


def test_variants_are_kept_apart() -> None:
    c = client("max-age=60", vary="Accept-Language")
    assert c.ask(accept_language="de") == "200"
    assert c.ask(accept_language="fr") == "200"
    assert c.ask(accept_language="de") == "stored 1, age 0"
    assert c.ask(accept_language="fr") == "stored 2, age 0"
    assert c.ask() == "200"
    for number in range(20):
        c.ask(accept_language=str(number))
    assert len(unpack(next(iter(c.stored.values()))) or []) == 8


def test_a_response_that_varies_by_everything_is_not_stored() -> None:
    c = client("max-age=60", vary="*")
    c.ask()
    assert c.ask() == "200"


def test_another_variant_is_never_confirmed_in_the_place_of_the_wanted_one() -> None:
    c = client("max-age=0", vary="accept", last_modified="Sun, 22 Nov 2026 10:00:00 GMT")
    c.ask(accept="text/html")
    c.ask(accept="text/plain")
    assert "if-modified-since" not in dict(c.server.seen[-1].fields)


def test_head_and_get_are_kept_apart() -> None:
    c = client("max-age=60")
    c.ask("HEAD")
    assert c.ask() == "200"
    assert c.ask("HEAD") == "stored 1, age 0"
    assert c.ask() == "stored 2, age 0"


@pytest.mark.parametrize(
    "reads", [{}, {"authorization": "Bearer a"}, {"authorization": "Bearer a", "cookie": "session=1"}]
)
def test_a_write_with_more_credentials_makes_untrue_what_was_read_with_fewer(reads: dict[str, str]) -> None:
    c = client("max-age=60, public")
    c.ask(**reads)
    assert c.ask(**reads).startswith("stored")
    c.ask("POST", **reads, x_csrf_token="t")
    assert c.ask(**reads) == "200"


def test_of_very_many_credentials_the_usual_ones_are_looked_for() -> None:
    rules = Rules(OPTIONS)
    asked = Asked("POST", URL, tuple((f"x-token-{number}", "t") for number in range(30)))
    keys = rules.keys(asked, URL)
    assert len(keys) == len(set(keys)) == 32
    assert {rules.key(asked), rules.key(replace(asked, fields=()))} <= set(keys)


@pytest.mark.parametrize(
    "name", ["ocp-apim-subscription-key", "x-functions-key", "x-auth", "x-api-key", "authorization"]
)
def test_what_one_key_may_see_is_not_for_another(name: str) -> None:
    c = client("max-age=60, public")
    for value in ("a", "b"):
        assert c.ask("GET", URL, **{name: value}) == "200"
    assert c.ask("GET", URL, **{name: "b"}) == "stored 2, age 0"


def test_a_key_for_idempotency_is_no_credential() -> None:
    c = client("max-age=60")
    c.ask(idempotency_key="a")
    assert c.ask(idempotency_key="b").startswith("stored")


def test_fields_that_nobody_may_have_unseen_are_validated() -> None:
    c = client('max-age=60, no-cache="x-tea"', etag='"v"')
    c.ask()
    assert c.ask() == "confirmed 1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_what_changes_something_makes_the_stored_untrue(method: str) -> None:
    c = client("max-age=60")
    other = "https://example.org/cup"
    foreign = "https://example.com/cup"
    for url in (URL, other, foreign):
        c.ask("GET", url)
    c.server.status = 404
    c.ask(method)
    assert c.ask().startswith("stored")
    c.server.status = 201
    c.server.fields["location"] = "/cup"
    c.server.fields["content-location"] = foreign
    c.ask(method)
    assert c.ask() == "201"
    assert c.ask("GET", other) == "201"
    assert c.ask("GET", foreign).startswith("stored")


@pytest.mark.parametrize(
    ("request_control", "age", "expected"),
    [
        ("no-cache", 1, "confirmed 1"),
        ("max-age=10", 5, "stored 1, age 5"),
        ("max-age=10", 11, "confirmed 1"),
        ("min-fresh=30", 20, "stored 1, age 20"),
        ("min-fresh=30", 40, "confirmed 1"),
        ("max-stale", 1000, "stored 1, age 1000"),
        ("max-stale=10", 65, "stored 1, age 65"),
        ("max-stale=10", 75, "confirmed 1"),
        ("no-store", 1, "200"),
        ("only-if-cached", 1, "stored 1, age 1"),
        ("only-if-cached", 100, "refused"),
    ],
)
def test_a_request_says_what_it_takes(request_control: str, age: int, expected: str) -> None:
    c = client("max-age=60", etag='"v"')
    c.ask()
    c.later(age)
    assert c.ask(cache_control=request_control) == expected


def test_only_if_cached_without_anything_stored_is_refused() -> None:
    assert client("max-age=60").ask(cache_control="only-if-cached") == "refused"


def test_pragma_is_the_old_no_cache() -> None:
    c = client("max-age=60")
    c.ask()
    assert c.ask(pragma="no-cache") == "200"


@pytest.mark.parametrize("name", ["range", "if_none_match", "if_modified_since"])
def test_the_conditions_of_a_caller_are_their_own(name: str) -> None:
    c = client("max-age=60")
    c.ask()
    assert c.ask(**{name: "x"}) == "200"
    assert len(c.server.seen) == 2


def test_stale_while_revalidate() -> None:
    c = client("max-age=60, stale-while-revalidate=30")
    c.ask()
    c.later(80)
    assert c.ask() == "200 in the background"
    c = client("max-age=60, stale-while-revalidate=30")
    c.ask()
    c.later(91)
    assert c.ask() == "200"


@pytest.mark.parametrize(
    ("control", "options", "expected"),
    [
        ("max-age=60, stale-if-error=100", OPTIONS, "stale 1"),
        ("max-age=60, stale-if-error=10", OPTIONS, "503"),
        ("max-age=60", OPTIONS, "503"),
        ("max-age=60", replace(OPTIONS, stale_if_error=100), "stale 1"),
        ("max-age=60, must-revalidate", replace(OPTIONS, stale_if_error=100), "503"),
        ("no-cache, max-age=60", replace(OPTIONS, stale_if_error=100), "503"),
    ],
)
def test_stale_if_error(control: str, options: ResponseCache, expected: str) -> None:
    c = client(control, options=options, etag='"v"')
    c.ask()
    c.later(100)
    c.server.status = 503
    c.server.fields["etag"] = '"w"'
    assert c.ask() == expected
    c.server.status, c.server.fields["etag"] = 200, '"v"'
    assert c.ask() == "confirmed 1", "an error does not drive out what is stored"


def test_a_partial_response_is_not_stored() -> None:
    c = client("max-age=60", status=206)
    c.ask()
    assert not c.stored


def test_what_aged_elsewhere_is_not_new() -> None:
    c = client("max-age=60", age="50")
    c.ask()
    assert c.ask() == "stored 1, age 50"
    c.later(11)
    assert c.ask() == "200"


def test_without_a_date_it_grows_old_all_the_same() -> None:
    c = client("max-age=60", date="")
    c.ask()
    c.later(61)
    assert c.ask() == "200"


def test_a_clock_that_goes_back_makes_nothing_younger_than_new() -> None:
    c = client("max-age=60")
    c.ask()
    c.later(-1000)
    assert c.ask() == "stored 1, age 0"


def test_how_long_the_store_keeps_it() -> None:
    rules = Rules(OPTIONS)
    plain = Entry("GET", 200, (("cache-control", "max-age=60, stale-if-error=40"),), b"", 1000.0, 60.0, "")
    assert rules.time_to_live([plain], 1010.0) == 90.0
    valid = replace(plain, fields=(("etag", '"v"'),))
    assert rules.time_to_live([plain, valid], 1010.0) == 50.0 + 604_800.0
    assert rules.time_to_live([], 0.0) == 0.0
