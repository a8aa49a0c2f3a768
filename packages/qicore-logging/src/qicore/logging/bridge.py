"""The structlog logger behind a Logger: `logger.raw`, for code that is written against structlog."""

from collections.abc import Mapping
from typing import Any, cast

import structlog
from qicore.logging.levels import level_name, parse_level
from qicore.logging.pipeline import Pipeline
from structlog.exceptions import DropEvent
from structlog.typing import EventDict, FilteringBoundLogger, Processor

__all__ = ["make_structlog_logger"]

# Filtering is done by the first processor, which knows the level of the moment; structlog's own classes keep
# the one they were made for.
_Unfiltered: Any = structlog.make_filtering_bound_logger(0)


class _BoundLogger(_Unfiltered):  # type: ignore[misc]  # structlog makes this class at run time
    """structlog's own logger, which asks for the level of the moment."""

    def is_enabled_for(self, level: int) -> bool:
        return bool(level >= self._logger.pipeline.level)

    def get_effective_level(self) -> int:
        return int(self._logger.pipeline.level)


class _Output:
    """The logger that structlog wraps: it takes finished lines."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def write(self, line: bytes) -> None:
        self.pipeline.write(line)

    debug = info = warn = warning = error = fatal = critical = exception = msg = log = write


def make_structlog_logger(pipeline: Pipeline, bound: Mapping[str, Any]) -> FilteringBoundLogger:
    """Return a structlog logger with the level, processors, redaction and destination of `pipeline`."""

    def admit(_: Any, method: str, event: EventDict) -> EventDict:
        number = parse_level(method) or 0
        if number < pipeline.level:
            raise DropEvent
        message = event.pop("event", "")
        return pipeline.assemble(level_name(number), message, event, {})

    def guard(processor: Processor) -> Processor:
        def guarded(_: Any, method: str, event: EventDict) -> EventDict:
            return pipeline.run(processor, method, event)

        return guarded

    def finish(_: Any, __: str, event: EventDict) -> bytes:
        return pipeline.render(event)

    chain = [admit, *map(guard, pipeline.processors), finish]
    return cast("FilteringBoundLogger", _BoundLogger(_Output(pipeline), chain, dict(bound)))
