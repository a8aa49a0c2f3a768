"""The errors of this package.

| code | category | what happened |
|---|---|---|
| INVALID_LOG_CONFIG | CONFIGURATION | an option is wrong, or the destination can't be opened |
| LOG_CLOSE_FAILED | FILESYSTEM | the last flush or the closing failed: lines may be missing at the end |
"""

from collections.abc import Sequence

from qicore.base import QiError

__all__ = ["close_failed", "invalid_config"]


def invalid_config(problems: Sequence[str], cause: Exception | None = None) -> QiError:
    """Return the error for a configuration that can't be used, with everything that is wrong with it."""
    error = QiError.configuration("INVALID_LOG_CONFIG", "; ".join(problems), problems=list(problems))
    return error if cause is None else error.with_cause(QiError.from_exception(cause))


def close_failed(problem: Exception) -> QiError:
    """Return the error for a destination that could not be flushed or closed."""
    error = QiError.filesystem("LOG_CLOSE_FAILED", f"the log was not closed cleanly: {problem}")
    return error.with_cause(QiError.from_exception(problem))
