"""Structured logging on structlog that never takes the caller down.

>>> import sys
>>> from qicore.logging import LogConfig, Logger, bound_contextvars
>>> config = LogConfig(destination=sys.stdout, format="json", clock=lambda: 1_700_000_000_000_000_000)
>>> log = Logger.create(config).unwrap()
>>> with bound_contextvars(id=7):
...     log.info("signed in", token="s3cr3t")
{"timestamp":"2023-11-14T22:13:20.000000Z","level":"info","event":"signed in","id":7,"token":"[REDACTED]"}
"""

from qicore.logging.config import LogConfig, Stream
from qicore.logging.context import (
    bind_contextvars,
    bound_contextvars,
    carry_contextvars,
    clear_contextvars,
    get_contextvars,
    unbind_contextvars,
)
from qicore.logging.levels import LogLevel
from qicore.logging.logger import Logger
from qicore.logging.losses import LogStats
from qicore.logging.redaction import DEFAULT_REDACTED_KEYS
from qicore.logging.standard import StandardHandler

__all__ = [
    "DEFAULT_REDACTED_KEYS",
    "LogConfig",
    "LogLevel",
    "LogStats",
    "Logger",
    "StandardHandler",
    "Stream",
    "bind_contextvars",
    "bound_contextvars",
    "carry_contextvars",
    "clear_contextvars",
    "get_contextvars",
    "unbind_contextvars",
]
