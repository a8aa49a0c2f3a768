"""Migrations: numbered SQL files, applied in order, each once, and never changed after that."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qicore.base import Failure, QiError, Result, Success
from qicore.database.errors import migration_mismatch
from qicore.database.scan import Kind, kind_of, split_script

__all__ = ["Applied", "Migration", "find_pending", "read_migrations"]

_FILE: Final = re.compile(r"(\d{1,18})[_-](.+)\.sql\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Migration:
    r"""One file of a migrations directory: `0002_add_email.sql` is version 2, named `add_email`.

    The checksum is the SHA-256 of the text with `\n` line ends, so that a checkout on Windows changes
    nothing.
    """

    version: int
    name: str
    checksum: str
    script: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What the database remembers of a migration."""

    version: int
    name: str
    checksum: str


def read_migrations(directory: str | Path) -> Result[list[Migration]]:
    """Return the migrations of a directory in order of their versions.

    Fails with DB_MIGRATION_MISMATCH, naming every problem: no such directory, an `.sql` file whose name holds
    no version, two files of one version, a text that is not UTF-8, a script that begins or ends transactions
    itself.
    """
    folder = Path(directory)
    problems: list[str] = []
    found: dict[int, Migration] = {}
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".sql")
    except (OSError, ValueError) as exception:
        return Failure(migration_mismatch(f"the directory can't be read: {type(exception).__name__}"))
    for path in files:
        match = _FILE.match(path.name)
        if match is None:
            problems.append(f"{path.name}: the name must be VERSION_name.sql, such as 0001_users.sql")
            continue
        try:
            script = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError):
            problems.append(f"{path.name}: the file can't be read as UTF-8 text")
            continue
        version = int(match[1])
        if version in found:
            problems.append(f"{path.name}: version {version} is taken by another file")
        problems += _check_script(path.name, script)
        checksum = hashlib.sha256(script.encode()).hexdigest()
        found[version] = Migration(version, match[2], checksum, script)
    if problems:
        return Failure(_mismatch(problems))
    return Success([found[version] for version in sorted(found)])


def find_pending(migrations: Sequence[Migration], applied: Sequence[Applied]) -> Result[list[Migration]]:
    """Return the migrations that are still to apply, or DB_MIGRATION_MISMATCH naming every contradiction.

    Contradictions are: an applied file that was changed or is missing, and a new file whose version is below
    one that was applied already, which no other database would have seen in that order.
    """
    files: Mapping[int, Migration] = {migration.version: migration for migration in migrations}
    done = {entry.version: entry for entry in applied}
    last = max(done, default=-1)
    problems: list[str] = []
    for version, entry in sorted(done.items()):
        file = files.get(version)
        if file is None:
            problems.append(f"{version}_{entry.name} was applied, and its file is missing")
        elif file.checksum != entry.checksum:
            problems.append(f"{version}_{file.name} was changed after it was applied")
    pending = [migration for migration in migrations if migration.version not in done]
    problems += [
        f"{migration.version}_{migration.name} is out of order: version {last} was applied already"
        for migration in pending
        if migration.version < last
    ]
    return Failure(_mismatch(problems)) if problems else Success(pending)


def _check_script(name: str, script: str) -> list[str]:
    return [
        f"{name}, line {line}: a migration runs inside one transaction and can't begin or end any"
        for line, statement in split_script(script)
        if kind_of(statement) is Kind.CONTROL
    ]


def _mismatch(problems: list[str]) -> QiError:
    return migration_mismatch("; ".join(problems), problems=problems)
