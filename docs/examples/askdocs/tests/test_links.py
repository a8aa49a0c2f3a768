import pytest
from askdocs.links import folder, is_url, links, page_url, robots_words
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from qicore.base.testing import assert_failure, assert_success

START = "http://site.example/docs/index.html"


def found(page: str, url: str = START) -> list[str]:
    return list(links(BeautifulSoup(page, "html.parser"), url))


def test_links_are_whole_once_each_and_without_their_fragments() -> None:
    page = '<a href="a.html#top">a</a><a href="a.html">again</a><a href="/b/?q=1">b</a>'
    page += '<a href="//other.example">o</a>'
    assert found(page) == [
        "http://site.example/docs/a.html",
        "http://site.example/b/?q=1",
        "http://other.example/",
    ]


def test_links_start_from_the_base_that_a_page_names() -> None:
    assert found('<base href="/v2/"><a href="a">a</a>') == ["http://site.example/v2/a"]


@pytest.mark.parametrize(
    "link",
    [
        "mailto:a@example.org",
        "javascript:void(0)",
        "data:text/html,x",
        "http://[",
        "http://user:word@site.example/",
        "http://site.example:99999/",
        "ftp://site.example/a",
    ],
)
def test_what_is_no_page_is_no_link(link: str) -> None:
    page = BeautifulSoup("<a>x</a>", "html.parser")
    tag = page.find("a")
    assert tag is not None
    tag["href"] = link
    assert list(links(page, START)) == []


def test_a_page_that_asks_not_to_be_followed_is_not() -> None:
    page = '<meta name="robots" content="NoIndex, nofollow"><a href="a.html">a</a>'
    assert found(page) == []
    assert robots_words(BeautifulSoup(page, "html.parser")) == {"noindex", "nofollow"}


@given(st.text(max_size=60))
def test_no_link_is_too_strange(link: str) -> None:
    page = BeautifulSoup("<a>x</a>", "html.parser")
    tag = page.find("a")
    assert tag is not None
    tag["href"] = link
    for url in links(page, START):
        assert page_url(url).unwrap() == url


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a.example/", "http://a.example/"),
        ("http://a.example/b", "http://a.example/"),
        ("http://a.example/b/", "http://a.example/b/"),
        ("http://a.example/b/c.html?x=/y/z", "http://a.example/b/"),
    ],
)
def test_the_folder_of_a_page(url: str, place: str) -> None:
    assert folder(assert_success(page_url(url))) == place


@pytest.mark.parametrize(
    "url", ["http://", "https://user@site.example/", "http://a b/", "ftp://a.example/", "http://a:x/"]
)
def test_what_is_no_page_to_start_from(url: str) -> None:
    assert_failure(page_url(url), "INVALID_URL")


def test_a_path_is_no_url() -> None:
    assert [is_url(each) for each in ("HTTP://a", "https://a", "http", "httpd/a.md", "./http://a")] == [
        *(True, True, False, False, False)
    ]
