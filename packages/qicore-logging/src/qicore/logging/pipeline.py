"""What loggers of one family share: level, clock, processors, renderer and destination."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from threading import RLock
from types import NoneType
from typing import Any, Final, Protocol
from weakref import WeakSet, ref

import orjson
import structlog.contextvars
from qicore.logging.cleaning import Cleaner, rename_reserved
from qicore.logging.context import CURRENT
from qicore.logging.escapes import escape_json, scalar_text
from qicore.logging.exceptions import expand_exception
from qicore.logging.losses import Losses
from qicore.logging.redaction import hide_passwords
from qicore.logging.rendering import Renderer, render_json
from qicore.logging.sinks import Sink
from structlog.exceptions import DropEvent
from structlog.typing import EventDict, Processor

__all__ = ["ON_CREATION", "PIPELINES", "Follower", "Pipeline"]

PIPELINES: Final[WeakSet["Pipeline"]] = WeakSet()
"""All that are in use, for `capture_logs`."""

ON_CREATION: Final[list[Callable[["Pipeline"], None]]] = []
"""What is told of each new one, for `capture_logs`."""

STRUCTLOG_METHODS: Final = {
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "error": "error",
    "fatal": "critical",
}

_EXACT: Final = frozenset((str, int, bool, NoneType))  # with finite floats: what orjson renders as we do
_INFINITY: Final = float("inf")
_DEL: Final = 0x7F
_URL: Final = b"://"
_SECOND: Final = 1_000_000_000
_NO_SECOND: Final = (-1, "", "")
_LAST_KEYS: Final = ("exception", "stack")
_dumps: Final = orjson.dumps
_NEWLINE: Final = orjson.OPT_APPEND_NEWLINE
_current: Final = CURRENT.get

# The variables that somebody bound by structlog's own functions: empty in most programs, which spares them
# the search through the context. Without this detail of structlog we would look each time.
_structlog_variables: Mapping[str, object] = getattr(structlog.contextvars, "_CONTEXT_VARS", {"": None})


class Follower(Protocol):
    """What hears of a change of level."""

    def follow_level(self, level: int, /) -> None:
        """Take over the level."""


class Pipeline:
    """From a message and its context to a line in the destination. See `emit`."""

    __slots__ = (
        "__weakref__", "_clock", "_direct", "_followers", "_lock", "_renderer", "_second", "_sink", "_utc",
        "_write", "cleaner", "level", "losses", "processors",
    )  # fmt: skip

    def __init__(
        self,
        *,
        level: int,
        clock: Callable[[], int],
        utc: bool,
        cleaner: Cleaner,
        processors: Sequence[Processor],
        renderer: Renderer,
        sink: Sink,
        losses: Losses,
    ) -> None:
        self.level = level
        self.cleaner = cleaner
        self.processors = tuple(processors)
        self.losses = losses
        self._clock = clock
        self._utc = utc
        self._second = _NO_SECOND
        self._followers: set[ref[Any]] = set()
        self._lock = RLock()
        self._use(renderer, sink)
        PIPELINES.add(self)
        for tell in ON_CREATION:
            tell(self)

    def redirect(self, renderer: Renderer, sink: Sink) -> tuple[Renderer, Sink]:
        """Go on with another renderer and sink, and return those there were before."""
        before = self._renderer, self._sink
        self._use(renderer, sink)
        return before

    def _use(self, renderer: Renderer, sink: Sink) -> None:
        self._renderer, self._sink, self._write = renderer, sink, sink.write
        self._direct = renderer is render_json and not self.processors

    @property
    def sink(self) -> Sink:
        """Where the lines go now."""
        return self._sink

    def follow(self, follower: Follower) -> None:
        """Tell `follower` the level now, and at each change, as long as it lives."""
        self._followers.add(ref(follower, self._followers.discard))
        # A change between these two lines tells it by itself, or is seen here.
        while True:
            level = self.level
            follower.follow_level(level)
            if level == self.level:
                return

    @property
    def follower_count(self) -> int:
        """How many are told of a change: those that are gone are forgotten."""
        return len(self._followers)

    def set_level(self, level: int) -> None:
        """Change the level for all followers."""
        with self._lock:
            self.level = level
            for reference in self._followers.copy():  # others may come and go meanwhile
                follower = reference()
                if follower is not None:
                    follower.follow_level(level)

    def emit(self, level: str, message: str, context: dict[str, Any], bound: dict[str, Any]) -> None:
        """Write a line. Nothing raises: what can't be rendered or written is counted.

        Most lines hold a str and a few scalars under keys seen before. For these one expression makes the
        dict and orjson the line; all else, from a secret to a lone surrogate, takes `_emit_with_care`.
        """
        try:
            cleaner = self.cleaner
            if self._direct and type(message) is str and cleaner.safe.issuperset(context):
                for value in context.values():
                    kind = type(value)  # pyright: ignore[reportUnknownVariableType]  # of any value
                    if kind not in _EXACT and not (kind is float and -_INFINITY < value < _INFINITY):
                        break
                else:
                    if _structlog_variables:
                        bound = self._with_structlog_variables(bound)
                    now = self._clock()
                    second, prefix, suffix = self._second
                    same_second = now // _SECOND == second
                    line = _dumps(
                        {
                            "timestamp": (
                                f"{prefix}{str(now)[-9:-3]}{suffix}" if same_second else self._stamp(now)
                            ),
                            "level": level,
                            "event": message,
                            **_current().view(cleaner),
                            **bound,
                            **context,
                        },
                        None,
                        _NEWLINE,
                    )
                    if not line.isascii() or _DEL in line:
                        line = escape_json(line)
                    self._write(hide_passwords(line) if _URL in line else line)
                    return
        except Exception:  # noqa: BLE001, S110 - whatever it was, the careful way deals with it
            pass
        self.emit_with_care(level, message, context, bound)

    def emit_with_care(
        self,
        level: str,
        message: object,
        context: Mapping[str, Any],
        bound: Mapping[str, Any],
        *,
        now: int | None = None,
    ) -> None:
        """Write any line, by way of the processors."""
        try:
            event: EventDict = self.assemble(level, message, context, bound, now=now)
            for processor in self.processors:
                event = self.run(processor, STRUCTLOG_METHODS[level], event)
            line = self.render(event)
        except DropEvent:
            return
        except Exception as problem:  # noqa: BLE001 - logging never takes its caller down
            line = self._make_do(level, message, problem)
        self.write(line)

    def assemble(
        self,
        level: str,
        message: object,
        context: Mapping[str, Any],
        bound: Mapping[str, Any],
        *,
        now: int | None = None,
    ) -> dict[str, Any]:
        """Return the event dict: the later ones win on equal keys."""
        return {
            "timestamp": self._stamp(now),
            "level": level,
            "event": message,
            **self._with_structlog_variables(bound),
            **rename_reserved(context),
        }

    def run(self, processor: Processor, method: str, event: EventDict) -> EventDict:
        """Return what a processor makes of the event; raises DropEvent, and nothing else."""
        try:
            outcome: object = processor(self._sink, method, event)
        except DropEvent:
            raise
        except Exception as problem:  # noqa: BLE001 - somebody else's code
            self.losses.fail(problem)
            return event
        if isinstance(outcome, dict):
            return outcome  # pyright: ignore[reportUnknownVariableType]  # keys are checked by the cleaner
        self.losses.fail(f"a processor returned {type(outcome).__name__}, not the event dict")
        return event

    def render(self, event: EventDict) -> bytes:
        """Return the line of an event dict."""
        event = dict(event)
        expand_exception(event)
        for key in _LAST_KEYS:
            if key in event:
                event[key] = event.pop(key)
        return self._renderer(self.cleaner.fields(event))

    def write(self, line: bytes) -> None:
        """Hand a line to the destination."""
        self._write(hide_passwords(line) if _URL in line else line)

    def _with_structlog_variables(self, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that are bound in any way; structlog's own variables give way to the others."""
        cleaner = self.cleaner
        foreign = structlog.contextvars.get_contextvars() if _structlog_variables else {}
        plain = foreign if cleaner.is_plain(foreign) else cleaner.fields(rename_reserved(foreign))
        return {**plain, **_current().view(cleaner), **bound}

    def _make_do(self, level: str, message: object, problem: Exception) -> bytes:
        self.losses.fail(problem)
        text = scalar_text(message) if isinstance(message, str) else f"<{type(message).__name__}>"
        lost = f"this line's context could not be rendered: {type(problem).__name__}"
        return self._renderer(
            {"timestamp": self._stamp(None), "level": level, "event": text, "problem": lost}
        )

    def _stamp(self, now: int | None) -> str:
        try:
            now = self._clock() if now is None else now
            prefix, suffix = self._enter_second(now)
            return f"{prefix}{now % _SECOND // 1000:06d}{suffix}"
        except Exception as problem:  # noqa: BLE001 - a clock of the user's, or a time no calendar has
            self.losses.fail(problem)
            return datetime.now(UTC).isoformat()

    def _enter_second(self, now: int) -> tuple[str, str]:
        """Return what stands before and after the microseconds, and keep it for this second."""
        second = now // _SECOND
        moment = datetime.fromtimestamp(second, UTC)
        text = (moment if self._utc else moment.astimezone()).isoformat()
        prefix, suffix = f"{text[:19]}.", "Z" if self._utc else text[19:]
        if second > 0:  # before, the digits of the fraction have no leading ones to be found behind
            self._second = (second, prefix, suffix)
        return prefix, suffix
