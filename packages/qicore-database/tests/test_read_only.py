"""A database in a folder that can't be written, as another user of the machine meets it."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

READ = """
import asyncio, sys
from qicore.database import Database, DatabaseConfig

async def main():
    for read_only in (True, False):
        opened = await Database.connect(sys.argv[1], DatabaseConfig(read_only=read_only))
        if opened.error is not None:
            print(opened.error.code)
            continue
        async with opened.unwrap() as db:
            print((await db.query_one("SELECT n FROM t", into=int)).unwrap())
            print((await db.execute("INSERT INTO t VALUES (2)")).error.code)

asyncio.run(main())
"""
MAKE = """
import asyncio, sys
from qicore.database import Database

async def main():
    async with (await Database.connect(sys.argv[1])).unwrap() as db:
        (await db.execute("CREATE TABLE t (n INT)")).unwrap()
        (await db.execute("INSERT INTO t VALUES (1)")).unwrap()

asyncio.run(main())
"""


def obey_file_modes() -> None:
    """Let the modes of files bind root as they bind all others; for a child, before it is another program."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of linux/capability.h
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


def test_a_wal_database_is_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    file = folder / "a.db"
    subprocess.run([sys.executable, "-c", MAKE, str(file)], check=True)
    assert sorted(path.name for path in folder.iterdir()) == ["a.db"]
    file.chmod(0o444)
    folder.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, str(file)],
            capture_output=True,
            text=True,
            preexec_fn=obey_file_modes if os.geteuid() == 0 else None,
        )
    finally:
        folder.chmod(0o755)
    assert (done.stdout.split(), done.stderr) == (["1", "DB_READ_ONLY", "DB_READ_ONLY"], "")
