"""Logger: the contract's seven operations, on a pipeline that it shares with its children."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from qicore.base import Failure, Result, Success
from qicore.logging.bridge import make_structlog_logger
from qicore.logging.cleaning import Cleaner, rename_reserved
from qicore.logging.config import LogConfig, find_problems
from qicore.logging.errors import close_failed, invalid_config
from qicore.logging.levels import LEVEL_NAMES, LogLevel, parse_level
from qicore.logging.losses import LogStats, Losses
from qicore.logging.opening import describe_destination, open_sink
from qicore.logging.pipeline import Pipeline
from qicore.logging.redaction import Redactor
from qicore.logging.rendering import ConsoleRenderer, Renderer, render_json
from qicore.logging.sinks import ClosedSink
from qicore.logging.standard import StandardCapture
from structlog.typing import FilteringBoundLogger

__all__ = ["Logger"]


_DEBUG, _INFO, _WARN, _ERROR, _FATAL = map(int, LogLevel)  # plain ints: each child compares them


class _Shared:
    """What a family shares besides its pipeline."""

    __slots__ = ("capture", "destination", "pipeline")

    def __init__(self, pipeline: Pipeline, destination: str) -> None:
        self.pipeline = pipeline
        self.destination = destination
        self.capture: StandardCapture | None = None


class Logger:
    """Writes structured lines, each a message with context. Nothing it does raises, or ends the program.

    Make one with `create`, and children with `with_context`; a family shares its level, destination and
    losses, and is closed as one. All of it may be used from any thread and task.

    >>> import sys
    >>> config = LogConfig(destination=sys.stdout, format="json", clock=lambda: 0)
    >>> log = Logger.create(config).unwrap().with_context(app="shop")
    >>> log.info("order", api_key="k-123")
    {"timestamp":"1970-01-01T00:00:00.000000Z","level":"info","event":"order","app":"shop","api_key":"[REDACTED]"}
    >>> log.debug_enabled
    False

    Attributes:
        debug_enabled: whether `debug` writes; with `info_enabled`, `warn_enabled`, `error_enabled` and
            `fatal_enabled` the cheapest question there is, for context that is dear to gather.
            They follow `set_level`, and are for reading only.
    """

    __slots__ = (
        "__weakref__", "_bound", "_emit", "_raw", "_shared",
        "debug_enabled", "error_enabled", "fatal_enabled", "info_enabled", "warn_enabled",
    )  # fmt: skip

    debug_enabled: bool
    info_enabled: bool
    warn_enabled: bool
    error_enabled: bool
    fatal_enabled: bool

    def __init__(self, _shared: _Shared, _bound: dict[str, Any]) -> None:
        self._shared = _shared
        self._bound = _bound
        self._emit = _shared.pipeline.emit
        self._raw: FilteringBoundLogger | None = None
        _shared.pipeline.follow(self)

    @staticmethod
    def create(config: LogConfig | None = None) -> "Result[Logger]":
        """Return a logger with its destination open, or INVALID_LOG_CONFIG with everything that is wrong.

        >>> print(Logger.create(LogConfig(format="xml")).error)
        CONFIGURATION/INVALID_LOG_CONFIG: format is auto, console or json, not 'xml'
        """
        config = LogConfig() if config is None else config
        problems = find_problems(config)
        level = None if problems else parse_level(config.level)
        if level is None:
            return Failure(invalid_config(problems))
        destination = describe_destination(config)
        losses = Losses(destination)
        try:
            sink, is_terminal = open_sink(config, losses)
        except Exception as problem:  # noqa: BLE001 - a stream of the user's may raise anything
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
            return Failure(
                invalid_config([f"destination {destination!r} can't be opened: {reason}"], problem)
            )
        pipeline = Pipeline(
            level=level,
            clock=config.clock,
            utc=config.utc,
            cleaner=Cleaner(Redactor(config.redact)),
            processors=config.processors,
            renderer=_renderer(config, is_terminal=is_terminal),
            sink=sink,
            losses=losses,
        )
        logger = Logger(_Shared(pipeline, destination), {})
        if config.capture_standard:
            logger.capture_standard()
        return Success(logger)

    def debug(self, message: str, /, **context: object) -> None:
        """Write a line that helps whoever looks for a mistake."""
        if self.debug_enabled:
            self._emit("debug", message, context, self._bound)

    def info(self, message: str, /, **context: object) -> None:
        """Write a line on what the program does.

        Any key and any value is taken: reserved keys are written with an underscore, secrets are not shown.
        """
        if self.info_enabled:
            self._emit("info", message, context, self._bound)

    def warn(self, message: str, /, **context: object) -> None:
        """Write a line on what is not right, but was dealt with."""
        if self.warn_enabled:
            self._emit("warn", message, context, self._bound)

    def error(self, message: str, /, error: object = None, **context: object) -> None:
        """Write a line on what failed.

        `error` is a QiError, which is written with its code, context and causes, or any other exception,
        which is written with its traceback.
        """
        if self.error_enabled:
            if error is not None:
                context["error"] = error
            self._emit("error", message, context, self._bound)

    def fatal(self, message: str, /, error: object = None, **context: object) -> None:
        """Write a line on what the program can't go on after; it is for the program to end itself."""
        if self.fatal_enabled:
            if error is not None:
                context["error"] = error
            self._emit("fatal", message, context, self._bound)

    def is_level_enabled(self, level: LogLevel | str | int) -> bool:
        """Return whether lines of a level, given by name or number, are written; no level, no line."""
        number = parse_level(level)
        return number is not None and number >= self._shared.pipeline.level

    @property
    def level(self) -> int:
        """The number of the lowest level that is written."""
        return self._shared.pipeline.level

    def set_level(self, level: LogLevel | str | int) -> Result[None]:
        """Change the level of the whole family, at once and in all threads; or INVALID_LOG_CONFIG.

        >>> log = Logger.create(LogConfig(level="warn")).unwrap()
        >>> child = log.with_context(part="child")
        >>> log.set_level("debug")
        Success(None)
        >>> child.debug_enabled
        True
        """
        number = parse_level(level)
        if number is None:
            wrong = f"level is one of {', '.join(LEVEL_NAMES)}, or a number from 0, not {level!r}"
            return Failure(invalid_config([wrong]))
        self._shared.pipeline.set_level(number)
        return Success(None)

    def follow_level(self, level: int) -> None:
        """Take over a level. `set_level` is what tells the whole family."""
        self.debug_enabled = level <= _DEBUG
        self.info_enabled = level <= _INFO
        self.warn_enabled = level <= _WARN
        self.error_enabled = level <= _ERROR
        self.fatal_enabled = level <= _FATAL

    def with_context(self, context: Mapping[str, object] | None = None, /, **more: object) -> "Logger":
        """Return a child whose lines carry these fields too; the later ones win on equal keys.

        The fields are rendered now, once: an object that changes later does not change them.
        """
        fields = {**(context or {}), **more}
        cleaner = self._shared.pipeline.cleaner
        plain = fields if cleaner.is_plain(fields) else cleaner.fields(rename_reserved(fields))
        return Logger(self._shared, {**self._bound, **plain})

    @property
    def raw(self) -> FilteringBoundLogger:
        """The structlog logger for code written against structlog: same level, processors and destination."""
        if self._raw is None:
            self._raw = make_structlog_logger(self._shared.pipeline, self._bound)
        return self._raw

    @property
    def pipeline(self) -> Pipeline:
        """What the family shares, for the handlers and test helpers of this package."""
        return self._shared.pipeline

    @property
    def stats(self) -> LogStats:
        """What was lost, and why, since the family was created."""
        return self._shared.pipeline.losses.stats

    @property
    def dropped(self) -> int:
        """How many lines the destination did not take."""
        return self.stats.dropped

    def capture_standard(self) -> Result[None]:
        """Write what is logged by the standard `logging` too, until this logger is closed.

        The handlers that write to the terminal step aside meanwhile. Call it again after a library has set
        up its own logging, as uvicorn does when it starts with its default `log_config`.
        """
        if self._shared.capture is None:
            self._shared.capture = StandardCapture(self)
        self._shared.capture.install()
        return Success(None)

    def close(self) -> Result[None]:
        """Flush and close the destination of the family; again it does nothing. Later lines count as dropped.

        A stream that was given open stays open. Fails with LOG_CLOSE_FAILED [FILESYSTEM].
        """
        if self._shared.capture is not None:
            self._shared.capture.release()
            self._shared.capture = None
        pipeline = self._shared.pipeline
        sink = pipeline.sink
        if isinstance(sink, ClosedSink):
            return Success(None)
        pipeline.redirect(render_json, ClosedSink(pipeline.losses))
        try:
            sink.close()
        except Exception as problem:  # noqa: BLE001 - a stream of the user's may raise anything
            return Failure(close_failed(problem))
        return Success(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __copy__(self) -> "Logger":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Logger":
        return self  # an object that holds a logger may be copied; what the logger shares can't be

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Logger holds an open destination and can't be pickled: create one where it is used"
        )

    def __repr__(self) -> str:
        return f"<Logger level={self.level} destination={self._shared.destination!r}>"


def _renderer(config: LogConfig, *, is_terminal: bool) -> Renderer:
    if config.format == "json" or (config.format == "auto" and not is_terminal):
        return render_json
    color = config.color
    if color is None:
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        color = is_terminal and not plain
    return ConsoleRenderer(color=color)
