import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.http.urls import is_secret_name, show_url

SECRET = "s3cr3tvalue"


@pytest.mark.parametrize(
    "url",
    [
        f"https://ann:{SECRET}@example.org/",
        f"https://{SECRET}@example.org/",
        f"//ann:{SECRET}@example.org/",
        f"ann:{SECRET}@example.org/",
        f"https://ann:{SECRET}/more@example.org/",
        f"https://ann:{SECRET}?more@example.org/",
        f"https://ann:p#{SECRET}@example.org/",
        f"https:\\\\ann:{SECRET}@example.org/",
        f"https://ann:{SECRET}@[::1/",
        f"https://ann:{SECRET}@[::1]:99/",
        f"socks5://ann:{SECRET}@proxy:1080",
        f"https://example.org/cb#access_token={SECRET}",
        f"https://example.org/?a=1;token={SECRET}",
        f"https://example.org/?to%6ben={SECRET}",
        f"https://example.org/?PHPSESSID={SECRET}&auth_code={SECRET}&access_code={SECRET}",
        f"https://example.org/tea;jsessionid={SECRET}/cup;v=1;JSESSIONID={SECRET}?a=1",
        f"https://example.org/?q=%26&X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}",
    ],
)
def test_no_credential_survives(url: str) -> None:
    assert SECRET not in show_url(url)
    assert SECRET not in show_url(f"  {url}\n")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "token",
            "access_token",
            "id_token",
            "csrf-token",
            "X-Amz-Security-Token",
            "api_key",
            "apikey",
            "key",
        ),
        *(
            "client_secret",
            "password",
            "passwd",
            "pwd",
            "sig",
            "signature",
            "X-Goog-Signature",
            "code",
            "jwt",
        ),
        *(
            "code_verifier",
            "Policy",
            "Key-Pair-Id",
            "sid",
            "session",
            "oauth_nonce",
            "auth",
            "Subscription-Key",
        ),
    ],
)
def test_what_signs_in_is_masked(name: str) -> None:
    assert show_url(f"http://h/p?x=1&{name}={SECRET}&y=2") == f"http://h/p?x=1&{name}=***&y=2"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a/b?q=tea&page=2&empty=&token=&flag",
        "http://[::1]:8080/x",
        "/relative/path?sort=up",
        "http://example.org:80",
        "https://example.org/@ann/profile",
        "mailto",
        "",
    ],
)
def test_everything_else_stays_as_it_is(url: str) -> None:
    assert show_url(url) == url


def test_a_number_of_tokens_is_no_secret() -> None:
    names = ("max_tokens", "token_type", "error", "code", "key", "monkey")
    assert not any(map(is_secret_name, names))
    assert all(map(is_secret_name, ("X-API-Key", "Authorization", "Set-Cookie", "refreshToken")))


def test_an_endless_url_is_cut() -> None:
    assert len(show_url("http://h/" + "a" * 100_000)) < 2100


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    show_url(text)


@given(
    st.text("abcXYZ0189-._~!$&'()*+,;=:%", max_size=8),
    st.text("abcXYZ0189-._~!$&'()*+,;=:%@", max_size=8),
    st.sampled_from(["http", "https", "socks5", "HTTP", "redis"]),
    st.sampled_from(["h", "h:80", "[::1]", "[::1]:80", "1.2.3.4:5"]),
    st.sampled_from(["", "/", "/p?q=1"]),
)
def test_userinfo_never_shows(user: str, password: str, scheme: str, host: str, rest: str) -> None:
    shown = show_url(f"{scheme}://{user}:{SECRET}{password}@{host}{rest}")
    assert shown == f"{scheme}://{host}{rest}"
