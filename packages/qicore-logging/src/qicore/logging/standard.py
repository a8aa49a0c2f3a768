"""Lines of other libraries: what they log by the standard `logging`, in the same form, to the same place."""

import logging
import sys
from typing import Any, Final, Protocol

from qicore.logging.levels import level_name
from qicore.logging.pipeline import Pipeline

__all__ = ["HasPipeline", "StandardCapture", "StandardHandler"]

# What every record has, and what libraries add for their own formatters (uvicorn: the message with colours).
_STANDARD_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime", "color_message", "message", "taskName",
}  # fmt: skip


class HasPipeline(Protocol):
    """A Logger, as this module needs it."""

    @property
    def pipeline(self) -> Pipeline:
        """Where its lines go."""
        ...


class StandardHandler(logging.Handler):
    """A handler for the standard `logging` that writes its records as lines of a Logger.

    Arguments are formatted in, extra fields become context, exceptions are rendered with their traceback, and
    `logger` names the standard logger. The Logger's level and redaction hold. Use it where logging is set
    up by hand or by `dictConfig`; `LogConfig.capture_standard` installs it for everything.

    >>> import io, json
    >>> from qicore.logging import LogConfig, Logger
    >>> out = io.StringIO()
    >>> log = Logger.create(LogConfig(destination=out, format="json")).unwrap()
    >>> library = logging.getLogger("library")
    >>> library.addHandler(StandardHandler(log))
    >>> library.warning("%d left", 3, extra={"disk": "/var"})
    >>> {k: v for k, v in json.loads(out.getvalue()).items() if k != "timestamp"}
    {'level': 'warn', 'event': '3 left', 'logger': 'library', 'disk': '/var'}
    """

    def __init__(self, logger: HasPipeline) -> None:
        super().__init__()
        self._pipeline = logger.pipeline

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as a line."""
        pipeline = self._pipeline
        if record.levelno < pipeline.level:
            return
        fields: dict[str, Any] = {"logger": record.name}
        try:
            message = record.getMessage()
        except Exception as problem:  # noqa: BLE001 - arguments that don't fit: the library's mistake, but its line
            message = str(record.msg)
            fields |= {"args": record.args, "problem": f"the arguments don't fit: {problem}"}
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        stack = {"stack": record.stack_info} if record.stack_info else {}
        now = int(record.created * 1e9)
        pipeline.emit_with_care(level_name(record.levelno), message, fields, stack, now=now)


class StandardCapture:
    """Put a handler in the place of those that write to the terminal, and put these back in the end."""

    __slots__ = ("__weakref__", "_displaced", "_handler", "_level", "_pipeline")

    def __init__(self, logger: HasPipeline) -> None:
        self._handler = StandardHandler(logger)
        self._pipeline = logger.pipeline
        self._displaced: list[tuple[logging.Logger, logging.Handler, bool]] = []
        self._level: int | None = None

    def install(self) -> None:
        """Take over the root logger, and each logger that writes to the terminal on its own, as uvicorn's do.

        Handlers that write elsewhere stay. Call it again when a library has set up its logging since.
        """
        root = logging.getLogger()
        if self._level is None:
            self._level = root.level
            self._pipeline.follow(self)
        known = list(logging.root.manager.loggerDict.values())
        for logger in [root, *(item for item in known if isinstance(item, logging.Logger))]:
            for handler in [handler for handler in logger.handlers if _is_terminal(handler)]:
                self._displaced.append((logger, handler, logger.propagate))
                logger.removeHandler(handler)
                logger.propagate = True
        if self._handler not in root.handlers:
            root.addHandler(self._handler)

    def follow_level(self, level: int) -> None:
        """Let the root logger pass what the Logger would write."""
        if self._level is not None:
            logging.getLogger().setLevel(level)

    def release(self) -> None:
        """Put everything back as it was."""
        root = logging.getLogger()
        root.removeHandler(self._handler)
        if self._level is not None:
            root.setLevel(self._level)
            self._level = None
        while self._displaced:
            logger, handler, propagate = self._displaced.pop()
            logger.addHandler(handler)
            logger.propagate = propagate


def _is_terminal(handler: logging.Handler) -> bool:
    stream: object = getattr(handler, "stream", None)
    return isinstance(handler, logging.StreamHandler) and any(
        stream is standard for standard in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
    )
