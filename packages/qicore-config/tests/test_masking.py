import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.config import Configuration
from qicore.config.masking import MASK, is_secret_path, render


@pytest.mark.parametrize(
    "key",
    [
        "password", "PASSWORD", "db_password", "dbPassword", "DB-PASSWORD", "password2", "pwd", "api_key",
        "apiKey", "APIKEY", "X-Api-Key", "access_token", "accessToken", "secret", "client_secret",
        "secretValue", "private_key", "credentials", "dsn", "connection_string", "jwt",
        "AWS_SECRET_ACCESS_KEY", "passphrase", "x" * 500,
    ],
)  # fmt: skip
def test_secret_names(key: str) -> None:
    assert is_secret_path((key,))
    assert is_secret_path(("a", key, "b", 0))


@pytest.mark.parametrize(
    "key",
    [
        "host", "max_tokens", "tokenizer", "token_ttl", "password_file", "secret_name", "key", "monkey",
        "passenger", "secretary", "api_key_header", "token_url", "", "é", "compass",
    ],
)  # fmt: skip
def test_other_names(key: str) -> None:
    assert not is_secret_path((key,))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://app:hunter2@db:5432/x?y=1", f"postgres://app:{MASK}@db:5432/x?y=1"),
        ("redis://:hunter2@db", f"redis://:{MASK}@db"),
        ("https://hunter2@host/x", f"https://{MASK}@host/x"),
        ("amqp://a:hun@ter2@b", f"amqp://a:{MASK}@b"),
        ("https://h/?a=1&token=hunter2&b=2", f"https://h/?a=1&token={MASK}&b=2"),
        ("https://h/?api_key=hunter2#x", f"https://h/?api_key={MASK}#x"),
        ("use postgres://a:hunter2@b or http://c", f"use postgres://a:{MASK}@b or http://c"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("mail@example.org", "mail@example.org"),
        ("a: b", "a: b"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert render(url) == shown


def test_values_are_shown_as_people_read_them() -> None:
    config = Configuration({
        "a": 1, "b": True, "c": None, "d": "x", "e": [1, {"password": "hunter2", "x": None}], "f": {}, "g":
        1.5, "token": None, "secret": "", "pwd": 1234, "esc": "\x1b[31m\u202e\n",
    })  # fmt: skip
    assert {row.key: row.value for row in config.explain()} == {
        "a": "1", "b": "true", "c": "null", "d": "x", "e": f'[1, {{"password": "{MASK}", "x": null}}]', "f":
        "{}", "g": "1.5", "token": "null", "secret": "", "pwd": MASK, "esc": "\\x1b[31m\\u202e\\n",
    }  # fmt: skip


@given(st.text(min_size=9), st.sampled_from(["password", "apiKey", "x_token"]))
def test_a_secret_is_nowhere_in_an_explanation(secret: str, key: str) -> None:
    data = {key: secret, "list": [{key: secret}], "section": {key: {"deep": secret}}}
    config = Configuration.from_object(data).unwrap_or(Configuration({}))
    shown = "".join(row.value for row in config.explain())
    assert secret not in shown or secret in f'[{{"{key}": "{MASK}"}}]{MASK * 3}'
    assert secret not in repr(config)


def test_hostile_text_is_masked_in_linear_time() -> None:
    for text in (
        "://" * 300_000,
        "?" * 1_000_000 + "://",
        "&a" * 500_000 + "://",
        "://" + "a:" * 400_000,
        "aB" * 400_000,
    ):
        assert render(text)
        assert isinstance(is_secret_path((text,)), bool)
