"""What a site asks of programs that read it: its robots.txt (RFC 9309)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.robotparser import RobotFileParser

from qicore.base import Failure, QiError, Result, Success

__all__ = ["AGENT", "Rules"]

AGENT: Final = "askdocs"
# RFC 9309, 2.5: at least this much of the file is to be read, in bytes.
_MOST: Final = 500 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be read. `delay` is the seconds that the site wants between two requests, or 0."""

    _parser: RobotFileParser
    delay: float

    @classmethod
    def parse(cls, content: bytes) -> Self:
        r"""Read a robots.txt; a line that is none of one means nothing.

        >>> rules = Rules.parse(b"User-agent: *\nDisallow: /private/\nCrawl-delay: 2")
        >>> rules.delay
        2.0
        >>> rules.allow("http://site.example/private/a.html").error.code
        'ROBOTS_DISALLOWED'
        """
        parser = RobotFileParser()
        parser.parse(content[:_MOST].decode("utf-8-sig", "replace").splitlines())
        return cls(parser, float(parser.crawl_delay(AGENT) or 0))

    @classmethod
    def of(cls, answer: Result[bytes]) -> Result[Self]:
        """Return the rules of a site by how it answers for its robots.txt.

        RFC 9309, 2.3.1: none there (4xx) allows everything. When it can't be had nothing may be read, and the
        Failure is that of the answer.
        """
        if answer.error is None:
            return answer.map(cls.parse)
        status = answer.error.context.get("status")
        if isinstance(status, int) and 400 <= status < 500 and status != 429:
            return Success(cls.parse(b""))
        return Failure(answer.error)

    def allow(self, url: str) -> Result[str]:
        """Return the URL, or ROBOTS_DISALLOWED [PERMISSION]."""
        if self._parser.can_fetch(AGENT, url):
            return Success(url)
        reason = "the site's robots.txt asks not to read it"
        return Failure(QiError.permission("ROBOTS_DISALLOWED", reason))
