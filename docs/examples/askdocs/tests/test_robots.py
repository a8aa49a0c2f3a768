import pytest
from askdocs.robots import Rules
from qicore.base import Failure, QiError
from qicore.base.testing import assert_failure, assert_success

PAGE = "http://site.example/docs/a.html"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (b"", True),
        (b"User-agent: *\nDisallow: /docs/", False),
        (b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /docs/\r\n", False),
        (b"User-agent: askdocs\nAllow: /docs/\n\nUser-agent: *\nDisallow: /", True),
        (b"User-agent: AskDocs\nDisallow: /docs/\n\nUser-agent: *\nAllow: /", False),
        (b"User-agent: other\nDisallow: /", True),
        (b"<html>no robots here</html>", True),
        (b"\x00\xff\xfe" * 1000, True),
        (b"User-agent: *\nDisallow:\n" + b"# long\n" * 200_000, True),
    ],
)
def test_what_a_robots_txt_allows(text: bytes, allowed: bool) -> None:
    result = Rules.parse(text).allow(PAGE)
    if allowed:
        assert assert_success(result) == PAGE
    else:
        assert_failure(result, "ROBOTS_DISALLOWED")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_site_without_one_allows_all(status: int) -> None:
    rules = Rules.of(Failure(QiError.network("HTTP_ERROR", "none", status=status)))
    assert_success(assert_success(rules).allow(PAGE))


@pytest.mark.parametrize(
    "error",
    [
        QiError.network("HTTP_ERROR", "too many", status=429),
        QiError.network("HTTP_ERROR", "broken", status=503),
        QiError.network("NETWORK_ERROR", "refused"),
        QiError.timeout("TIMEOUT_ERROR", "hangs"),
    ],
)
def test_of_a_site_that_is_ill_nothing_may_be_read_and_it_is_said_why(error: QiError) -> None:
    assert assert_failure(Rules.of(Failure(error)), error.code) is error


@pytest.mark.parametrize(("line", "delay"), [(b"2", 2.0), (b"0", 0.0), (b"soon", 0.0), (b"-1", 0.0)])
def test_the_delay_that_a_site_asks_for(line: bytes, delay: float) -> None:
    assert Rules.parse(b"User-agent: *\nCrawl-delay: " + line).delay == delay
