"""For tests: collect what is logged, as dicts."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any

import orjson
from qicore.logging.levels import LogLevel, parse_level
from qicore.logging.logger import Logger
from qicore.logging.pipeline import ON_CREATION, PIPELINES, Pipeline
from qicore.logging.rendering import render_json

__all__ = ["MemoryDestination", "capture_logs"]


class MemoryDestination(BytesIO):
    """A destination that keeps what a logger writes, for tests that create their own.

    >>> from qicore.logging import LogConfig
    >>> memory = MemoryDestination()
    >>> Logger.create(LogConfig(destination=memory, format="json")).unwrap().info("up", port=80)
    >>> [(line["event"], line["port"]) for line in memory.lines()]
    [('up', 80)]
    """

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of JSON so far, as dicts; raise ValueError when there is anything else."""
        return [orjson.loads(line) for line in self.getvalue().split(b"\n")[:-1]]


class _ListSink:
    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines

    def write(self, line: bytes, /) -> None:
        self._lines.append(orjson.loads(line))

    def close(self) -> None:
        pass


@contextmanager
def capture_logs(
    *loggers: Logger, level: LogLevel | str | int | None = None
) -> Generator[list[dict[str, Any]]]:
    """Collect what `loggers`, or all there are and will be, log in a list of dicts, instead of writing it.

    The lines are what would be written as JSON: redacted, escaped, with the context variables. Whoever holds
    a logger, or a child of it, need not know: the family's destination is exchanged, not the logger.
    `level` holds within the block; a level that is none is a ValueError.

    >>> from qicore.logging import LogConfig
    >>> log = Logger.create(LogConfig()).unwrap()
    >>> with capture_logs(log) as lines:
    ...     log.warn("almost full", used=0.97, password="hunter2")
    >>> lines[0]["event"], lines[0]["used"], lines[0]["password"]
    ('almost full', 0.97, '[REDACTED]')
    """
    lines: list[dict[str, Any]] = []
    number = None if level is None else parse_level(level)
    if level is not None and number is None:
        raise ValueError(f"no level: {level!r}")
    sink = _ListSink(lines)
    with ExitStack() as undo:

        def capture(pipeline: Pipeline) -> None:
            undo.callback(pipeline.redirect, *pipeline.redirect(render_json, sink))
            if number is not None:
                undo.callback(pipeline.set_level, pipeline.level)
                pipeline.set_level(number)

        for pipeline in {logger.pipeline for logger in loggers} or set(PIPELINES):
            capture(pipeline)
        if not loggers:
            ON_CREATION.append(capture)
            undo.callback(ON_CREATION.remove, capture)
        yield lines
