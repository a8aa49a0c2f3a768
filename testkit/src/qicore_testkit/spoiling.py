"""Text that is nearly right, for those who parse what comes from outside."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from qicore.base import QiError, Result

__all__ = ["around", "fine", "text_of"]

_STUMBLING = [
    *(
        b"\0",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\t",
        b" ",
        b'"',
        b"'",
        b"\\",
        b"\x7f",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc3",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b"<",
        b">",
        b"&",
        b"%",
        b"#",
        b":",
        b";",
        b",",
        b"=",
        b"-",
        b"*",
        b"$",
        b"${X}",
        b"%00",
    ),
    *(
        b"..",
        b"/../",
        b"//",
        b"://",
        b"@",
        b"data:",
        b"null",
        b"NaN",
        b"-0",
        b"1e999",
        b"9" * 40,
        b"true",
        b"{{",
        b"%}",
    ),
    *(
        "é\u202e\U0001f600".encode(),
        b"\\ud800",
        b"\\u0000",
        b"&a",
        b"*a",
        b"<<: *a",
        b"chunked",
        b"bytes=0-",
        b"q=0",
    ),
]


@st.composite
def _spoiled(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Text that is nearly right."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 8)))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            data[start:stop] = b""
        elif kind == 1:
            data[start:start] = draw(st.sampled_from(_STUMBLING))
        elif kind == 2:
            data[start:stop] = draw(st.binary(max_size=8))
        elif kind == 3:
            data[start:start] = data[start:stop] * draw(st.integers(1, 50))
        else:
            other = draw(st.sampled_from(seeds))
            data[start:stop] = other[: draw(st.integers(0, len(other)))]
    return bytes(data)


def around(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes near these, and now and then any bytes."""
    return st.one_of(_spoiled(list(seeds)), st.binary(max_size=200))


def text_of(data: bytes) -> str:
    """Return any bytes as text, lone surrogates included."""
    return data.decode("utf-8", "surrogateescape")


def fine(result: Result[Any], *prefixes: str) -> None:
    """Check that it is a Result, and that a Failure has one of the component's own codes, and is whole."""
    assert isinstance(result, Result)
    if result.error is not None:
        assert result.error.code.startswith(prefixes), result.error
        assert QiError.from_structured_data(result.error.to_structured_data()) == result.error
