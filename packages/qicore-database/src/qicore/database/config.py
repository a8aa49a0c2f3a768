"""The options of a database, and the checks on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from qicore.base import Failure, QiError, Result, Success
from qicore.base.options import Checks
from qicore.database.names import check_name
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

__all__ = ["ISOLATIONS", "DatabaseConfig", "Isolation", "check_config"]

Isolation: TypeAlias = Literal["read committed", "repeatable read", "serializable"]
ISOLATIONS: Final = ("read committed", "repeatable read", "serializable")
SYNCHRONOUS: Final = ("full", "normal")
_BREAKER: Final = CircuitBreakerConfig(monitoring_period=60.0, reset_timeout=5.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseConfig:
    """How a `Database` behaves. The defaults are meant for production.

    Attributes:
        readers: of SQLite: connections that read, at least 2. One always serves short reads; the others take
            over when a read is slow, and carry streams and backups. They open when they are needed.
        connections: of PostgreSQL: how many there may be. They open when they are needed.
        pipeline: of PostgreSQL: statements that may be under way on one connection, when all are busy. A
            statement waits for those before it, so none is sent behind one that is already slow; 1 for none.
        connect_timeout: of PostgreSQL: seconds in which a connection must be open.
        isolation: of PostgreSQL: the isolation level of transactions, or None for the server's own, which is
            `"read committed"` by default. Those of SQLite are always serializable.
        attempts: how often `transaction(fn)` runs `fn`, when the database can't put its transaction in order
            with others: a serialization failure, a deadlock.
        busy_timeout: seconds to wait for a lock that another process holds, before DB_BUSY.
        pool_timeout: seconds to wait for a connection of this database's own, before DB_POOL_EXHAUSTED.
        statement_timeout: seconds that a statement may run before it is interrupted with DB_TIMEOUT, or None.
        synchronous: of SQLite: with `"full"` the log is synced at each commit: what was reported as written
            survives a power loss. With `"normal"` it is synced at checkpoints: a killed process still loses
            nothing, but a power loss may take back the last commits, never half of one. See SQLite's
            `PRAGMA synchronous`.
        foreign_keys: of SQLite: whether foreign keys are enforced.
        read_only: open the database without the right to write; a file must exist.
        pragmas: of SQLite: further settings, given to every connection as it opens, such as
            `{"cache_size": -64000}`.
        circuit_breaker: when to leave a database alone that is busy or out of reach, and answer CIRCUIT_OPEN
            at once; or None for never. By default at 5 failures within a minute, since one task that waits
            for locks needs 25 seconds for so many, and for 5 seconds, since a lock goes as it came. Where
            `counts` is left as it is, DB_BUSY, DB_TIMEOUT and DB_CONNECT_FAILED count, for a full disk not.
            Instead of options it takes a breaker that others use, too.
    """

    readers: int = 4
    connections: int = 10
    pipeline: int = 16
    connect_timeout: float = 10.0
    isolation: Isolation | None = None
    attempts: int = 3
    busy_timeout: float = 5.0
    pool_timeout: float = 30.0
    statement_timeout: float | None = 30.0
    synchronous: Literal["full", "normal"] = "full"
    foreign_keys: bool = True
    read_only: bool = False
    pragmas: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    circuit_breaker: CircuitBreakerConfig | CircuitBreaker | None = _BREAKER


def check_config(config: DatabaseConfig) -> Result[DatabaseConfig]:
    """Return the options, or DB_INVALID_CONFIG [CONFIGURATION] naming every one that is wrong.

    >>> check_config(DatabaseConfig(readers=0)).error.message
    'readers must be a whole number of at least 2'
    """
    checks = Checks().whole("readers", config.readers, least=2)
    for name in ("connections", "pipeline", "attempts"):
        checks.whole(name, getattr(config, name))
    checks.seconds("connect_timeout", config.connect_timeout)
    checks.one_of("isolation", config.isolation, ISOLATIONS, none=True)
    for name in ("busy_timeout", "pool_timeout"):
        checks.seconds(name, getattr(config, name), least=0)
    checks.seconds("statement_timeout", config.statement_timeout, none=True)
    checks.one_of("synchronous", config.synchronous, SYNCHRONOUS)
    for name, value in config.pragmas.items():
        checks.that(check_name(name) is None, f"pragmas: {name!r} is not a name")
        checks.that(
            type(value) is int or (isinstance(value, str) and check_name(value) is None),
            f"pragmas: the value of {name!r} must be an int or a word",
        )
    if isinstance(config.circuit_breaker, CircuitBreakerConfig):
        checks.nested("circuit_breaker", config.circuit_breaker.check())
    if checks.wrong:
        return Failure(QiError.configuration("DB_INVALID_CONFIG", "; ".join(checks.wrong)))
    return Success(config)
