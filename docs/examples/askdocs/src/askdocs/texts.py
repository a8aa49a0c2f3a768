"""From bytes to text."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from qicore.base import Failure, QiError, Result, Success

__all__ = ["Text", "decode", "read_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a document holds; `size` is in bytes, `digest` the SHA-256 of them."""

    text: str
    size: int
    digest: str


def read_text(path: Path, *, max_bytes: int) -> Result[Text]:
    """Read a text file.

    Fails with FILE_TOO_LARGE or FILE_NOT_TEXT [VALIDATION], FILE_UNREADABLE [FILESYSTEM].
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        return Failure(QiError.from_exception(error, code="FILE_UNREADABLE"))
    if len(content) > max_bytes:
        reason = f"larger than {max_bytes:,} bytes (see --max-file-size)"
        return Failure(QiError.validation("FILE_TOO_LARGE", reason))
    return decode(content)


def decode(content: bytes, charset: str = "utf-8-sig") -> Result[Text]:
    r"""Read bytes as text. Fails with FILE_NOT_TEXT [VALIDATION].

    >>> decode(b"caf\xe9", "latin-1").map(lambda text: text.text)
    Success('café')
    """
    if b"\0" in content:
        return Failure(QiError.validation("FILE_NOT_TEXT", "a binary file"))
    try:
        text = content.decode(charset)
    except LookupError:
        return Failure(QiError.validation("FILE_NOT_TEXT", f"in an unknown encoding: {charset[:40]!r}"))
    except UnicodeDecodeError as error:
        name = "UTF-8" if charset == "utf-8-sig" else charset
        reason = f"not {name} text: byte {error.start} is {content[error.start]:#04x}"
        return Failure(QiError.validation("FILE_NOT_TEXT", reason))
    return Success(Text(text=text, size=len(content), digest=sha256(content).hexdigest()))
