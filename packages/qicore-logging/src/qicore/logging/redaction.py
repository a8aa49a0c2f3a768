"""Which keys name a secret, and where a URL holds one."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["DEFAULT_REDACTED_KEYS", "REDACTED", "Redactor", "hide_passwords"]

REDACTED: Final = "[REDACTED]"
"""What stands in a line in place of a secret."""

DEFAULT_REDACTED_KEYS: Final = frozenset(
    (
        "access_key", "api_key", "authorization", "card_number", "client_secret", "connection_string",
        "cookie", "credential", "credentials", "credit_card", "csrf", "cvc", "cvv", "dsn", "encryption_key",
        "jwt", "passphrase", "passwd", "password", "private_key", "pwd", "secret", "secret_key", "session_id",
        "signing_key", "ssn", "token", "xsrf",
    )
)  # fmt: skip
"""The keys whose values are never written, unless `LogConfig.redact` says otherwise."""

# What may follow a secret's name when the key tells about the secret instead of holding it.
_ABOUT: Final = frozenset(
    ("age", "count", "enabled", "expires", "expiry", "field", "length", "limit", "name", "required", "size",
     "ttl", "type", "url", "valid")
)  # fmt: skip
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LONG: Final = 200
# The scheme's end, the user, and the password up to the host (RFC 3986, section 3.2.1), within one string.
_IN_URL: Final = re.compile(rb'(://[^/?#\s:@"\\]*:)[^/?#\s@"\\]+@')


def hide_passwords(line: bytes) -> bytes:
    """Return a line without the passwords in its URLs.

    >>> hide_passwords(b"redis://ann:hunter2@host/0 is away")
    b'redis://ann:[REDACTED]@host/0 is away'
    """
    return _IN_URL.sub(rb"\1[REDACTED]@", line)


class Redactor:
    """Say whether a key names a secret, whatever its case and its separators.

    A key does when one of the names ends where one of the key's words ends, so that `token` covers
    `accessToken`, `X-Auth-Token` and `token_value`, but neither `max_tokens` nor `tokenizer`; and nor is
    `token_count` secret, which tells about a token.

    >>> is_secret = Redactor({"token", "api_key"}).is_secret
    >>> [is_secret(key) for key in ("AccessToken", "X-API-Key", "apikey", "max_tokens", "token_count")]
    [True, True, True, False, False]
    """

    __slots__ = ("_names",)

    def __init__(self, keys: Iterable[str]) -> None:
        self._names = tuple(sorted({_fused(key) for key in keys}))

    def is_secret(self, key: str) -> bool:
        """Return whether `key` names a secret."""
        if not self._names:
            return False
        if len(key) > _LONG or not key.isascii():
            fused = _fused(key)  # no word of ours: the safe side, and linear in the length of the key
            return any(name in fused for name in self._names)
        words = [word.lower() for word in _WORDS.findall(key)]
        fused = ""
        for index, word in enumerate(words):
            fused += word
            if fused.endswith(self._names):
                return index == len(words) - 1 or words[-1] not in _ABOUT
        return False


def _fused(key: str) -> str:
    return "".join(filter(str.isalnum, key)).lower()
