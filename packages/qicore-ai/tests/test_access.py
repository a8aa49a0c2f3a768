"""Where a server is and how it knows the caller: what can't be sent is told at once, the rest is secret."""

import logging
from typing import Any

import pytest
from qicore.ai import LLMClient, LLMConfig
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.faults import answer
from qicore_testkit.model_server import ModelServer

from .conftest import Opens

PATHS = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}
KEYS = {"ollama": "OLLAMA_API_KEY", "openai": "OPENAI_API_KEY"}
PLACES = {"ollama": "OLLAMA_HOST", "openai": "OPENAI_BASE_URL"}
NAMED = "Basic YW5uOnNlOnNhbWU="  # ann, se:same


def create(provider: str, **options: Any) -> Any:
    return LLMClient.create(provider, LLMConfig(model="tiny", **options))


def url_of(provider: str, server: ModelServer) -> str:
    url = server.url.replace("//", "//ann:se%3Asame@")
    return url if provider == "ollama" else f"{url}/v1"


async def test_user_and_password_of_the_url_are_sent_and_not_logged(
    provider: str, server: ModelServer, client_of: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(base_url=url_of(provider, server))
    with caplog.at_level(logging.DEBUG):
        assert_success(await client.chat("Hello"))
    assert server.requests[-1].header("authorization") == NAMED
    assert "Request" in caplog.text
    assert "sam" not in caplog.text
    assert_success(await client_of(base_url=url_of(provider, server), api_key="sesame").chat("Hello"))
    assert server.requests[-1].header("authorization") == "Bearer sesame"


async def test_a_circuit_is_named_without_secrets(provider: str, client_of: Opens) -> None:
    client = client_of(base_url="http://ann:sesame@127.0.0.1:9/v1?key=sesame")
    guarded = client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=1))
    assert_failure(await guarded.chat("Hello"), "LLM_UNAVAILABLE")
    error = assert_failure(await guarded.chat("Hello"), "CIRCUIT_OPEN")
    assert error.context["name"] == f"{provider}:http://127.0.0.1:9/v1:tiny"
    assert "sesame" not in repr(error.to_structured_data())


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.parametrize("how", ["key", "variable", "password"])
async def test_a_server_may_repeat_what_it_was_sent(
    provider: str,
    server: ModelServer,
    client_of: Opens,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    status: int,
) -> None:
    options: dict[str, Any] = {}
    if how == "key":
        options["api_key"] = "se:same"
    elif how == "variable":
        monkeypatch.setenv(KEYS[provider], "se:same")
    else:
        options["base_url"] = url_of(provider, server)
    body = b'{"error": {"message": "the model of se:same is not for you"}}'
    server.on(PATHS[provider], answer(status, body, {"Content-Type": "application/json"}))
    client = client_of(**options)
    for result in (await client.chat("Hello"), await client.chat_stream("Hello").collect()):
        assert result.error is not None
        assert "the model of … is not for you" in result.error.message
        assert "se:same" not in repr(result.error.to_structured_data())


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_nothing_is_sent_to_where_a_server_points(
    provider: str, server: ModelServer, client_of: Opens, status: int
) -> None:
    with type(server)() as other:
        elsewhere = answer(status, b"", {"Location": other.url + PATHS[provider]})
        server.on(PATHS[provider], elsewhere)
        client = client_of(headers={"X-Key": "sesame"})
        for result in (await client.chat("Hello"), await client.chat_stream("Hello").collect()):
            error = assert_failure(result, "LLM_ERROR")
            assert error.context["status"] == status
            assert "base_url should say where" in error.message
        assert other.requests == []


async def test_the_variable_counts_when_no_key_is_given(
    provider: str, server: ModelServer, client_of: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS[provider], "sesame")
    assert_success(await client_of().chat("Hello"))
    assert server.requests[-1].header("authorization") == "Bearer sesame"
    assert_success(await client_of(api_key="other").chat("Hello"))
    assert server.requests[-1].header("authorization") == "Bearer other"


def test_a_variable_with_the_line_end_of_its_file(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS[provider], "sesame\n")
    error = assert_failure(create(provider), "INVALID_LLM_CONFIG")
    assert error.message.startswith(KEYS[provider])
    assert "sesame" not in repr(error.to_structured_data())
    assert_success(create(provider, api_key="other"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("", "http://localhost:nowhere"),
        ("", "http://[nowhere"),
        ("HTTP_PROXY", "nothing://ann:sesame@localhost"),
        ("SSL_CERT_FILE", "/there/is/no/such/file"),
    ],
)
def test_an_environment_that_no_client_can_be_made_of(
    provider: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable or PLACES[provider], value)
    error = assert_failure(create(provider), "INVALID_LLM_CONFIG")
    assert "sesame" not in repr(error.to_structured_data())
