from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.logging import DEFAULT_REDACTED_KEYS, LogConfig, Logger, bound_contextvars
from qicore.logging.testing import MemoryDestination as Memory

SECRET = "hunter2-do-not-show"
KEYS = (
    "password", "PASSWORD", "Password", "db_password", "dbPassword", "dbpassword", "user.password",
    "password2", "new-password", "passwd", "pwd", "token", "access_token", "accessToken", "AccessToken",
    "X-Auth-Token", "csrf_token", "authorization", "Authorization", "Proxy-Authorization", "api_key",
    "apiKey", "APIKey", "apikey", "X-API-Key", "x_api_key", "secret", "client_secret", "clientSecret",
    "SECRET_KEY", "cookie", "Set-Cookie", "session_id", "sessionId", "private_key",
    "AWS_SECRET_ACCESS_KEY", "jwt", "credentials", "credit_card", "cvv", "passphrase", "token_value",
    "password_hash",
)  # fmt: skip
HARMLESS = (
    "user", "max_tokens", "prompt_tokens", "tokenizer", "token_count", "token_type", "key", "keyboard",
    "compass", "secretary", "author", "password_length", "order_id", "monkey", "cookies_enabled",
    "public_key_name",
)  # fmt: skip


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("key", KEYS)
def test_the_value_of_a_secret_key_never_shows(key: str, form: Any) -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format=form)).unwrap()
    places: list[Any] = [
        {key: SECRET},
        {"nested": {"deep": [{key: SECRET}]}},
        {"headers": [(key, SECRET), (key.encode(), SECRET.encode())]},
        {"mapping": {key: {"whole": [SECRET]}}},
        {"mapping": {key.encode(): SECRET}},
    ]
    for context in places * 2:
        log.info("x", **context)
        log.with_context(**context).error("x")
        log.raw.info("x", **context)
        with bound_contextvars(**context):
            log.info("x")
    assert SECRET not in memory.getvalue().decode()
    assert memory.getvalue().count(b"[REDACTED]") >= len(places) * 8


@pytest.mark.parametrize("key", HARMLESS)
def test_a_harmless_key_shows(key: str, log: Logger, memory: Memory) -> None:
    log.info("x", **{key: "shown"})
    assert memory.lines()[0][key] == "shown"


@given(
    st.sampled_from(sorted(DEFAULT_REDACTED_KEYS)),
    st.sampled_from(["", "_", "-", ".", " "]),
    st.sampled_from([str.upper, str.lower, str.title]),
    st.sampled_from(["", "my_", "X-", "user."]),
)
def test_every_default_is_found_in_any_spelling(name: str, separator: str, case: Any, prefix: str) -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format="json")).unwrap()
    log.info("x", **{prefix + case(name.replace("_", separator)): SECRET})
    assert SECRET not in memory.getvalue().decode()


def test_own_keys_replace_the_defaults_or_join_them(memory: Memory) -> None:
    own = Logger.create(LogConfig(destination=memory, format="json", redact={"iban"})).unwrap()
    own.info("x", iban="DE1", password="p")
    both = Logger.create(
        LogConfig(destination=memory, format="json", redact=DEFAULT_REDACTED_KEYS | {"iban"})
    ).unwrap()
    both.info("x", userIBAN="DE1", password="p")
    none = Logger.create(LogConfig(destination=memory, format="json", redact=())).unwrap()
    none.info("x", password="p")
    first, second, third = memory.lines()
    assert (first["iban"], first["password"]) == ("[REDACTED]", "p")
    assert (second["userIBAN"], second["password"]) == ("[REDACTED]", "[REDACTED]")
    assert third["password"] == "p"


def test_two_loggers_each_redact_the_variables_their_own_way(memory: Memory) -> None:
    strict = Logger.create(LogConfig(destination=memory, format="json")).unwrap()
    frank = Logger.create(LogConfig(destination=memory, format="json", redact=())).unwrap()
    with bound_contextvars(password="p"):
        for log in (strict, frank, strict):
            log.info("x")
    assert [line["password"] for line in memory.lines()] == ["[REDACTED]", "p", "[REDACTED]"]


def test_a_key_of_a_megabyte_is_judged_in_time_and_on_the_safe_side(log: Logger, memory: Memory) -> None:
    log.info("x", **{"a_" * 500_000 + "password" + "_b" * 10: SECRET})
    assert SECRET not in json.dumps(memory.lines())


def test_unicode_does_not_hide_a_key(log: Logger, memory: Memory) -> None:
    log.info("x", mein_password_für_alles=SECRET)
    assert SECRET not in json.dumps(memory.lines())


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_password_in_a_url_never_shows(form: Any) -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format=form)).unwrap()
    url = f"redis://ann:{SECRET}@host:6379/0"
    with bound_contextvars(where=url):
        log.info(f"no answer from {url}", server=url, again=[f"<{url}>"], quoted=f'"{url}"')
        log.error("failed", error=ValueError(url))
        log.raw.info("by structlog", server=url)
    shown = memory.getvalue().decode()
    assert SECRET not in shown
    assert shown.count("redis://ann:[REDACTED]@host:6379/0") == 5 + 2 + 2


@pytest.mark.parametrize(
    "text", ["http://host/a:b@c", "http://ann@host/", "a:b@c", "http://host/?q=a:b@c", "://"]
)
def test_what_is_no_password_in_a_url_stays(text: str) -> None:
    memory = Memory()
    Logger.create(LogConfig(destination=memory, format="json")).unwrap().info(text)
    assert memory.lines()[0]["event"] == text


@given(st.text(alphabet='a:/@?"\\ \n', max_size=60))
def test_lines_stay_json_whatever_looks_like_a_url(text: str) -> None:
    memory = Memory()
    Logger.create(LogConfig(destination=memory, format="json")).unwrap().info(text, text=text)
    (line,) = memory.lines()
    assert line["event"] == line["text"]
