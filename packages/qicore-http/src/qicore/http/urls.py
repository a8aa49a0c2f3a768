"""Show a URL to people: in an error, a log line, a repr. No credential survives in it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

__all__ = ["MASK", "is_secret_name", "show_url"]

MASK: Final = "***"
_MAX_SHOWN: Final = 2000

# Names of parameters, members and headers that hold a secret wherever they stand.
_SECRET: Final = re.compile(
    r"token(?!s$|type|count|limit|iz)|secret|passw|passphrase|credential|signature|assertion|bearer|apikey"
    r"|accesskey|privatekey|sessionid|authkey|^(auth|authorization|cookie|setcookie|jwt|otp|pwd|xamz.*|xgoog.*)$"
)
# Names that do so in a query, where Google has its `key`, OAuth its `code`, Azure its `sig` and CloudFront
# its `Policy` and `Key-Pair-Id`; a member of a JSON body may be called so without a secret in it.
_SECRET_PARAMETER: Final = re.compile(
    r"key$|keyid$|pairid$|session|sessid|^(code|authcode|accesscode|nonce|pass|pin|policy|sas|sid|sig|ticket|oauth.*|.*verifier)$"
)
_SEPARATORS: Final = re.compile(r"[^a-z0-9]")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\])")
_PORT: Final = re.compile(r":([^\]:]*)$")
_FIELD: Final = re.compile(r"[^&;]+")
_PATH_SESSION: Final = re.compile(r"(;[^=/;]*sess[^=/;]*=)[^/;]*", re.IGNORECASE)  # such as ;jsessionid=


def is_secret_name(name: str) -> bool:
    """Tell whether a header, a parameter or a member of this name probably holds a secret.

    >>> [is_secret_name(name) for name in ("X-Amz-Signature", "apiKey", "page")]
    [True, True, False]
    """
    return _SECRET.search(_plain(name)) is not None


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())


def show_url(url: object) -> str:
    """Return the URL without its userinfo and fragment, the values of secret-looking parameters masked.

    Any text will do, a URL that no parser accepts as well. What it can't know is a secret inside the path.

    >>> show_url("https://ann:pw@example.org/search?q=tea&token=abc#top")
    'https://example.org/search?q=tea&token=***'
    """
    text = str(url).strip()
    scheme = _SCHEME.match(text)
    start = scheme.end() if scheme else 0
    while start < len(text) and text[start] in "/\\":
        start += 1
    lead, rest = text[:start], text[start:]
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    end = authority.rfind("@") + 1
    port = _PORT.search(authority[end:])
    if port is not None and not port[1].isdecimal() and port[1]:
        # No port is spelled so: a password with an unescaped / ? or #, which ends at the last @ there is.
        end = max(end, rest.rfind("@") + 1)
    rest = rest[end:].partition("#")[0]
    path, mark, query = rest.partition("?")
    shown = lead + _PATH_SESSION.sub(rf"\1{MASK}", path) + mark + _FIELD.sub(_masked, query)
    return shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "…"


def _masked(field: re.Match[str]) -> str:
    name, equals, value = field[0].partition("=")
    if not value:
        return field[0]
    plain = unquote_plus(name)
    secret = is_secret_name(plain) or _SECRET_PARAMETER.search(_plain(plain)) is not None
    return f"{name}{equals}{MASK}" if secret else field[0]
