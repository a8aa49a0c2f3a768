"""What must not be shown: the values of keys that are named like secrets, and passwords in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from qicore.config.paths import Path
from qicore.config.tree import ConfigValue

__all__ = ["MASK", "is_secret_path", "render", "secret_texts"]

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


def render(value: ConfigValue, *, secret: bool) -> str:
    """Return a value for people: secrets masked, what a terminal would obey escaped.

    >>> render("postgres://app:hunter2@db/main", secret=False)
    'postgres://app:********@db/main'
    """
    if secret and value not in (None, ""):
        return MASK
    if isinstance(value, str):
        text = _mask_urls(value)
    elif isinstance(value, Mapping | tuple):
        import json  # not needed by those who only merge and validate

        text = json.dumps(_masked(value), ensure_ascii=False, default=str)
    else:
        text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def secret_texts(value: ConfigValue) -> Iterator[str]:
    """Yield every text in a value that is secret."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from secret_texts(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from secret_texts(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _masked(value: ConfigValue) -> object:
    if isinstance(value, Mapping):
        return {
            key: MASK if _is_secret(key) and item not in (None, "") else _masked(item)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        return [_masked(item) for item in value]
    return _mask_urls(value) if isinstance(value, str) else value


def _mask_urls(text: str) -> str:
    if "://" not in text:
        return text
    text = _URL_TOKEN.sub(f"{MASK}@", _URL_PASSWORD.sub(rf"\1:{MASK}@", text))
    return _URL_QUERY.sub(lambda found: f"{found[1]}={MASK}" if _is_secret(found[1]) else found[0], text)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
