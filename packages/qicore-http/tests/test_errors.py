import ssl

import httpcore
import httpx
import pytest
from qicore.base import ErrorCategory
from qicore.http.errors import to_error


@pytest.mark.parametrize(
    ("exception", "code", "category", "sent"),
    [
        (httpx.ConnectTimeout(""), "TIMEOUT_ERROR", ErrorCategory.TIMEOUT, False),
        (httpcore.PoolTimeout(""), "TIMEOUT_ERROR", ErrorCategory.TIMEOUT, False),
        (httpcore.ReadTimeout(""), "TIMEOUT_ERROR", ErrorCategory.TIMEOUT, True),
        (httpx.ConnectError(""), "NETWORK_ERROR", ErrorCategory.NETWORK, False),
        (httpx.ReadError(""), "NETWORK_ERROR", ErrorCategory.NETWORK, True),
        (httpx.RemoteProtocolError(""), "NETWORK_ERROR", ErrorCategory.NETWORK, True),
        (httpcore.ProxyError("407 no"), "NETWORK_ERROR", ErrorCategory.NETWORK, False),
        (httpx.UnsupportedProtocol(""), "INVALID_URL", ErrorCategory.VALIDATION, None),
        (httpcore.LocalProtocolError("bad"), "INVALID_REQUEST", ErrorCategory.VALIDATION, None),
    ],
)
def test_exceptions_have_their_codes(
    exception: Exception, code: str, category: ErrorCategory, sent: bool | None
) -> None:
    error = to_error(exception, method="GET", url="http://example.org/")
    assert (error.code, error.get_category(), error.context.get("sent")) == (code, category, sent)
    assert error.__cause__ is exception


def test_what_is_behind_an_exception_counts() -> None:
    try:
        try:
            raise ssl.SSLError("no trust")
        except ssl.SSLError as broken:
            raise httpcore.ConnectError(str(broken)) from broken
    except httpcore.ConnectError as found:
        error = to_error(found)
    assert (error.code, error.get_category()) == ("SSL_ERROR", ErrorCategory.NETWORK)


def test_what_nobody_foresaw_is_unknown_and_kept() -> None:
    cause = RuntimeError("boom")
    error = to_error(cause)
    assert error.get_category() is ErrorCategory.UNKNOWN
    assert error.__cause__ is cause


def test_no_credential_is_told() -> None:
    error = to_error(httpx.ConnectError(""), method="GET", url="http://ann:secret@example.org/?token=secret")
    assert "secret" not in str(error) + str(dict(error.context))
