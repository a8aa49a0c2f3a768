"""What must not be shown: the values of keys that are named like secrets, and passwords in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from qicore.config.paths import Path

__all__ = ["MASK", "is_secret_path", "mask_urls", "names_secret", "render", "secret_texts"]

MASK: Final = "********"
"""What is shown in place of a secret."""

_NAMES: Final = (
    "accesskey", "accesskeyid", "apikey", "apikeys", "authkey", "authorization", "connectionstring",
    "cookie", "cookies", "credential", "credentials", "dsn", "encryptionkey", "jwt", "masterkey",
    "passphrase", "passwd", "password", "passwords", "privatekey", "pwd", "secret", "secretkey",
    "secrets", "sessionkey", "signingkey", "sshkey", "token",
)  # fmt: skip
# What may follow a secret's name when the key tells about the secret instead of holding it.
_ABOUT: Final = frozenset((
    "age", "algorithm", "count", "enabled", "expires", "expiry", "field", "file", "header", "length",
    "limit", "max", "min", "minutes", "name", "path", "policy", "required", "seconds", "size", "ttl",
    "type", "url",
))  # fmt: skip
_TOKEN: Final = re.compile(r"[\w-]+")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/?#\s@:]{0,256}):[^/?#\s]{1,1024}@")
_URL_TOKEN: Final = re.compile(r"(?<=http://)[^/?#\s@:]{1,999}@|(?<=https://)[^/?#\s@:]{1,999}@")
_URL_QUERY: Final = re.compile(r"([?&][^=&#\s]{1,64})=([^&#\s]{1,2048})")
_LONG: Final = 200


def is_secret_path(path: Path) -> bool:
    """Return whether a part of the path names a secret, whatever its case and its separators.

    >>> [is_secret_path((key,)) for key in ("db_password", "apiKey", "X-Auth-Token", "max_tokens")]
    [True, True, True, False]
    """
    return any(isinstance(part, str) and _is_secret(part) for part in path)


def _is_secret(key: str) -> bool:
    if len(key) > _LONG:
        return True  # no name of ours: the safe side
    words = [word.lower() for word in _WORD.findall(key)]
    fused = ""
    for word in words:
        fused += word
        if fused.endswith(_NAMES):
            return words[-1] not in _ABOUT
    return False


def render(value: object) -> str:
    """Return a value that was masked for people: what a terminal would obey is escaped.

    >>> render("postgres://app:hunter2@db/main")
    'postgres://app:********@db/main'
    """
    if isinstance(value, str):
        text = mask_urls(value)
    elif isinstance(value, dict | list):
        import json  # not needed by those who only merge and validate

        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def secret_texts(value: object) -> Iterator[str]:
    """Yield every text in a value that is secret."""
    if isinstance(value, Mapping):
        for item in cast("Mapping[str, object]", value).values():
            yield from secret_texts(item)
    elif isinstance(value, tuple | list):
        for item in cast("Iterable[object]", value):
            yield from secret_texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def names_secret(text: str) -> bool:
    """Return whether there is the name of a secret anywhere in a text that is no structure."""
    return any(_is_secret(word) for word in _TOKEN.findall(text))


def mask_urls(text: str) -> str:
    """Return the text with the passwords and tokens of the URLs in it masked."""
    if "://" not in text:
        return text
    text = _URL_TOKEN.sub(f"{MASK}@", _URL_PASSWORD.sub(rf"\1:{MASK}@", text))
    return _URL_QUERY.sub(lambda found: f"{found[1]}={MASK}" if _is_secret(found[1]) else found[0], text)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
