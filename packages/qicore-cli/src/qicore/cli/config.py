"""Options of parsing: where fallbacks are read from, and how wide help is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from qicore.base import Failure, QiError, Result, Success
from qicore.cli.values import Values

__all__ = ["CLIConfig", "ConfigurationSource", "Lookup"]

_NARROWEST = 20


@runtime_checkable
class Lookup(Protocol):
    """Anything with `get(key)`: a mapping, or a qicore Configuration, whose answer may be a Result."""

    def get(self, key: str, /) -> Any:
        """Return the value at the dotted key; None or a Failure when there is none."""
        ...


ConfigurationSource: TypeAlias = Lookup | Callable[[Values], Result[Lookup]]
"""A configuration, or a function that loads it once flags and environment are known (`--config FILE`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CLIConfig:
    """Where values come from when no flag gives them, and how wide help is.

    Attributes:
        environ: the environment variables; None reads the process's own when a parser names any.
        config: the configuration that options with a `config=` key fall back to, or a function that loads
            it from the values known so far, defaults included, and answers a Result.
        width: columns of help and usage, at least 20; None takes the terminal's in `run`, else 80.
    """

    environ: Mapping[str, str] | None = None
    config: ConfigurationSource | None = None
    width: int | None = None

    @classmethod
    def create(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        config: ConfigurationSource | None = None,
        width: int | None = None,
    ) -> Result["CLIConfig"]:
        """Return the options, or INVALID_CLI_CONFIG [CONFIGURATION] when they can't be right.

        >>> CLIConfig.create(width=5).error.code
        'INVALID_CLI_CONFIG'
        """
        return cls(environ=environ, config=config, width=width).check()

    def check(self) -> Result["CLIConfig"]:
        """Return these options, or INVALID_CLI_CONFIG [CONFIGURATION]."""
        if self.width is not None and self.width < _NARROWEST:
            return _wrong(f"width must be at least {_NARROWEST}, not {self.width}")
        if self.config is not None and not (callable(self.config) or hasattr(self.config, "get")):
            return _wrong("config must have get(key), or be a function that gives a Result of such")
        return Success(self)


def _wrong(message: str) -> Failure:
    return Failure(QiError.configuration("INVALID_CLI_CONFIG", message))
