"""Connections are looked after: one whose server says nothing any more is given up."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from qicore.database.config import DatabaseConfig
from qicore.database.postgres.link import PATIENCE, Link

__all__ = ["Health"]

_BEAT: Final = 1.0
"""Seconds between two looks at the connections."""

_IDLE: Final = 15.0
"""Seconds without a word after which a connection is asked whether it is still one."""

_GRACE: Final = 5.0
"""Seconds beyond its timeout that the server has to say that it interrupted a statement."""


class Health:
    """Looks at connections now and then, for as long as the database is open.

    A closed socket is noticed at once and by itself. What this finds are servers, and ways to them, that fell
    silent: a statement that is not answered long after the server should have interrupted it, and an idle
    connection that does not answer a question.
    """

    def __init__(
        self, config: DatabaseConfig, clock: Callable[[], float], links: Callable[[], Iterable[Link]]
    ) -> None:
        timeout = config.statement_timeout
        self._patience = None if timeout is None else timeout + _GRACE
        self._clock = clock
        self._links = links
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin."""
        self._timer = self._loop.call_later(_BEAT, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.start()
        now = self._clock()
        for link in self._links():
            silence = now - link.since
            if not link.under_way:
                if silence > _IDLE and not link.lent:
                    link.ping()
                continue
            is_ping = not link.under_way[0].sql
            patience = PATIENCE if is_ping else self._patience
            if patience is not None and silence > patience and not link.unbounded and not link.paused:
                link.give_up("the server did not answer in time")
