"""The rules of a response cache (RFC 9111), without any I/O: what to answer, what to ask, what to store.

hishel's state machine decides what may be stored, what a request that changes something invalidates, and how
a 304 updates a stored response; `freshness` decides how old one may be. `cached` does what is decided here.
"""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from itertools import combinations
from typing import Final, cast
from urllib.parse import urljoin, urlsplit

import hishel
from qicore.http.entries import Entry, vary_choice
from qicore.http.freshness import Directives, Fields, field_value, freshness, initial_age
from qicore.http.store import ResponseCache
from qicore.http.urls import is_secret_name

__all__ = ["CACHEABLE", "Asked", "Plan", "Rules", "Step", "Verdict", "aged"]

CACHEABLE: Final = ("GET", "HEAD")
"""The methods whose responses are stored."""
_SAFE: Final = ("GET", "HEAD", "OPTIONS", "TRACE")
# The caller validates a copy of their own, or wants a part: that is between them and the server.
_CONDITIONS: Final = (
    *("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
)
_MAX_VARIANTS: Final = 8
# What else may say who is asking: `Ocp-Apim-Subscription-Key`, `X-Auth-User`; an Idempotency-Key does not.
_WHO: Final = re.compile(r"auth|(?<!idempotency-)key$")
_MANY_CREDENTIALS: Final = 4
_ILL: Final = (500, 502, 503, 504)  # RFC 5861, section 4
# Whatever these permit, storing them would keep a retry from finding out that the server is well again.
_PASSING: Final = (408, 425, 429, *_ILL)


class Step(Enum):
    """What to do with a request."""

    BYPASS = auto()
    """Send it, and store nothing."""
    USE = auto()
    """Answer with the stored response."""
    USE_AND_REFRESH = auto()
    """Answer with the stored response, and ask the server meanwhile."""
    ASK = auto()
    """Send it, with the conditions of the plan."""
    REFUSE = auto()
    """Answer 504: it must not be sent (only-if-cached), and nothing is stored."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: names of fields in lower case, the URL without its fragment."""

    method: str
    url: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a request, and with which stored response."""

    step: Step
    entry: Entry | None = None
    age: float = 0.0
    conditions: Fields = ()
    stale_if_error: bool = False
    """Whether the stored response may stand in when the server fails."""
    state: hishel.NeedRevalidation | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a response: give `answer` in its place, store `candidate`, ask `again`."""

    answer: Entry | None = None
    age: float = 0.0
    candidate: Entry | None = None
    again: bool = False
    invalid: tuple[str, ...] = ()
    """URLs whose stored responses are no longer true."""


class Rules:
    """The rules under one set of options."""

    def __init__(self, options: ResponseCache) -> None:
        self._options = options
        self._hishel: hishel.CacheOptions = {
            "shared": options.shared,
            "supported_methods": list(CACHEABLE),
            "allow_stale": False,
        }

    def key(self, asked: Asked) -> str:
        """Return the key of the request's URL, one for all methods."""
        # What one has signed in for is not for another, whatever the server forgot to say.
        return self._key(asked.url, () if self._options.shared else _credentials(asked.fields))

    def keys(self, asked: Asked, url: str) -> list[str]:
        """Return the keys under which responses of a URL may lie that the request makes untrue.

        A write has often more credentials than the reads before it, such as a token against forgery.
        """
        credentials = () if self._options.shared else _credentials(asked.fields)
        some = range(len(credentials)) if len(credentials) <= _MANY_CREDENTIALS else (0, 1)
        sets = [credentials, *(part for count in some for part in combinations(credentials, count))]
        return [self._key(url, part) for part in dict.fromkeys(map(tuple, sets))]

    def _key(self, url: str, credentials: Iterable[tuple[str, str]]) -> str:
        digest = hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=24)
        for name, value in credentials:
            digest.update(b"\0" + name.encode() + b"\0" + value.encode("utf-8", "surrogatepass"))
        return self._options.namespace + digest.hexdigest()

    def plan(self, asked: Asked, entries: Sequence[Entry], now: float) -> Plan:
        """Decide about a request; `entries` are what is stored for its URL."""
        directives = _request_directives(asked)
        if (
            asked.method not in CACHEABLE
            or directives.has("no-store")
            or any(name in _CONDITIONS for name, _ in asked.fields)
        ):
            return Plan(Step.BYPASS)
        entry = next((entry for entry in entries if _matches(entry, asked)), None)
        otherwise = Step.REFUSE if "only-if-cached" in directives.values else Step.ASK
        if entry is None:
            return Plan(otherwise)
        age = max(0.0, now - entry.born)
        told = Directives.parse(field_value(entry.fields, "cache-control"))
        stale = age - entry.lifetime
        strict = told.has("must-revalidate") or (
            self._options.shared and (told.has("proxy-revalidate") or "s-maxage" in told.values)
        )
        # What nobody may get without asking the server, however new it is.
        ask = (
            directives.has("no-cache")
            or "no-cache" in told.values  # if only of some fields
            or age > _or(directives.seconds("max-age"), math.inf)
            or -stale < _or(directives.seconds("min-fresh"), -math.inf)
        )
        if not ask and stale < 0:
            return Plan(Step.USE, entry, age)
        lenient = not ask and not strict
        if lenient and stale <= _max_stale(directives):
            return Plan(Step.USE, entry, age)
        errors = max(
            self._options.stale_if_error,
            _or(told.seconds("stale-if-error"), 0.0),
            _or(directives.seconds("stale-if-error"), 0.0),
        )
        refresh = lenient and stale <= _or(told.seconds("stale-while-revalidate"), -1.0)
        plan = self._ask(Step.USE_AND_REFRESH if refresh else otherwise, asked, entry)
        return replace(plan, age=age, stale_if_error=lenient and stale <= errors and errors > 0)

    def _ask(self, step: Step, asked: Asked, entry: Entry) -> Plan:
        # The entry was chosen above; told not to use it unseen, hishel makes the conditional request.
        request = hishel.Request(asked.method, asked.url, hishel.Headers({"cache-control": "no-cache"}))
        stored = hishel.Entry(uuid.UUID(int=0), request, _to_hishel(entry.status, entry.fields, vary=False))
        state = hishel.IdleClient(self._hishel).next(request, [stored])
        if not isinstance(state, hishel.NeedRevalidation):
            return Plan(step)
        conditions = tuple(
            (name, value) for name, value in state.request.headers.items() if name in _CONDITIONS
        )
        return Plan(step, entry, conditions=conditions, state=state if conditions else None)

    def judge(
        self, asked: Asked, plan: Plan, status: int, fields: Fields, *, sent: float, now: float
    ) -> Verdict:
        """Decide about the response to a request that was sent at `sent` and answered at `now`."""
        if plan.step is Step.BYPASS:
            return Verdict(invalid=self._invalidated(asked, status, fields))
        if status == 304 and plan.state is not None and plan.entry is not None:
            return self._confirmed(asked, plan, fields, sent=sent, now=now)
        if status in _ILL and plan.stale_if_error:
            return Verdict(plan.entry, plan.age)
        if status in _PASSING:
            return Verdict()
        # Of a request with credentials hishel knows one kind.
        headers = {"authorization": "-"} if any(_credentials(asked.fields)) else {}
        request = hishel.Request(asked.method, asked.url, hishel.Headers(headers))
        state = hishel.CacheMiss(self._hishel, request).next(_to_hishel(status, fields))
        choice = vary_choice(fields, asked.fields)
        if not isinstance(state, hishel.StoreAndUse) or choice is None:
            return Verdict()
        if self._options.shared and _sets_cookies_unasked(fields):
            return Verdict()
        age = initial_age(fields, asked=sent, received=now)
        lifetime = freshness(status, fields, received=now, shared=self._options.shared) or 0.0
        kept = _to_fields(state.response)
        return Verdict(candidate=Entry(asked.method, status, kept, b"", now - age, lifetime, choice))

    def _confirmed(self, asked: Asked, plan: Plan, fields: Fields, *, sent: float, now: float) -> Verdict:
        assert plan.state is not None
        assert plan.entry is not None
        state = plan.state.next(_to_hishel(304, fields))
        if not isinstance(state, hishel.NeedToBeUpdated):
            return Verdict(again=True)  # it confirms something that is not what is stored here
        # A stored Date or Age would make the confirmed response as old as it was before.
        names = {name for name, _ in fields}
        if "date" not in names:
            fields = (*fields, ("date", formatdate(now, usegmt=True)))
        merged = tuple(
            (name, value)
            for name, value in _to_fields(state.updating_entries[-1].response)
            if name not in ("age", "date")
        ) + tuple((name, value) for name, value in fields if name in ("age", "date"))
        age = initial_age(fields, asked=sent, received=now)
        lifetime = freshness(plan.entry.status, merged, received=now, shared=self._options.shared) or 0.0
        choice = vary_choice(merged, asked.fields)
        answer = replace(plan.entry, fields=merged, born=now - age, lifetime=lifetime, choice=choice)
        return Verdict(answer, age, candidate=answer)

    def _invalidated(self, asked: Asked, status: int, fields: Fields) -> tuple[str, ...]:
        """Return the URLs that a request which may change something has made untrue (section 4.4)."""
        if asked.method in _SAFE:
            return ()
        request = hishel.Request(asked.method, asked.url)
        response = _to_hishel(status, fields)
        entry = hishel.Entry(uuid.UUID(int=0), request, response)
        state = hishel.CacheMiss(self._hishel, request, entries_to_invalidate=[entry]).next(response)
        if not isinstance(state, hishel.InvalidateEntries):
            return ()
        named = (field_value(fields, name) for name in ("location", "content-location"))
        others = (_join(asked.url, place) for place in named if place)
        return (asked.url, *(url for url in others if url and _origin(url) == _origin(asked.url)))

    def merge(self, asked: Asked, entries: Sequence[Entry], candidate: Entry) -> list[Entry]:
        """Return what to store for the URL: the new response first, without the one it replaces."""
        others = [entry for entry in entries if not _matches(entry, replace(asked, method=candidate.method))]
        return [candidate, *others][:_MAX_VARIANTS]

    def time_to_live(self, entries: Sequence[Entry], now: float) -> float:
        """Return for how many seconds the entries are of use; 0 or less if they are of none."""
        return max((self._use(entry, now) for entry in entries), default=0.0)

    def _use(self, entry: Entry, now: float) -> float:
        told = Directives.parse(field_value(entry.fields, "cache-control"))
        grace = max(
            self._options.stale_if_error,
            _or(told.seconds("stale-if-error"), 0.0),
            _or(told.seconds("stale-while-revalidate"), 0.0),
        )
        if any(name in ("etag", "last-modified") for name, _ in entry.fields):
            grace = max(grace, self._options.keep)
        return entry.born + entry.lifetime + grace - now


def aged(entry: Entry, age: float) -> Fields:
    """Return the fields to answer with: those stored, and how old they are (section 4)."""
    return (*((name, value) for name, value in entry.fields if name != "age"), ("age", str(int(age))))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _max_stale(directives: Directives) -> float:
    if directives.has("max-stale"):
        return math.inf
    return _or(directives.seconds("max-stale"), -1.0)


def _request_directives(asked: Asked) -> Directives:
    directives = Directives.parse(field_value(asked.fields, "cache-control"))
    if not directives.values and "no-cache" in (field_value(asked.fields, "pragma") or ""):
        return Directives({"no-cache": None})  # section 5.4
    return directives


def _matches(entry: Entry, asked: Asked) -> bool:
    return entry.method == asked.method and vary_choice(entry.fields, asked.fields) == entry.choice


def _credentials(fields: Fields) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in fields if _tells_who(name))


@lru_cache(maxsize=512)  # each hit asks for all names of its request
def _tells_who(name: str) -> bool:
    return is_secret_name(name) or _WHO.search(name) is not None


def _sets_cookies_unasked(fields: Fields) -> bool:
    directives = Directives.parse(field_value(fields, "cache-control"))
    explicit = directives.has("public") or "s-maxage" in directives.values
    return not explicit and any(name == "set-cookie" for name, _ in fields)


def _to_hishel(status: int, fields: Fields, *, vary: bool = True) -> hishel.Response:
    grouped: dict[str, list[str]] = {}
    for name, value in fields:
        if vary or name != "vary":
            grouped.setdefault(name, []).append(value)
    return hishel.Response(status, hishel.Headers(cast("dict[str, str | list[str]]", grouped)))


def _to_fields(response: hishel.Response) -> Fields:
    """Return the fields to store. A cookie was meant for the response that brought it, not for its copies."""
    return tuple(
        (name, value)
        for name in response.headers
        if name != "set-cookie"
        for value in response.headers.get_list(name) or ()
    )


def _join(base: str, place: str) -> str:
    try:
        return urljoin(base, place).partition("#")[0]
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
