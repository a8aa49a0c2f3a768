"""Processes that all want the same value."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Worker", "computed"]

_PROGRAM = """
import asyncio, json, pathlib, sys, time, uuid
from qicore.cache import Cache, CacheConfig

url, folder, seconds, lease = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])

async def compute():
    (folder / f"computed {uuid.uuid4()}").touch()
    over = time.monotonic() + seconds
    while time.monotonic() < over and not (folder / "finish").exists():
        await asyncio.sleep(0.01)
    return "value"

async def ask(cache):
    # Sentinels may call a server down that is slow, and up again: who failed asks again.
    while (result := await cache.get_or_set("a", compute)).is_failure:
        await asyncio.sleep(0.05)
    return result.unwrap()

async def main():
    config = CacheConfig(namespace="shop", lock_timeout=lease, circuit_breaker=None)
    async with (await Cache.create_persistent(url, config)).unwrap() as cache:
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(await asyncio.gather(*(ask(cache) for _ in range(10)))))

asyncio.run(main())
"""


class Worker:
    """A process with a cache, which asks ten times at once when it is told to `go`."""

    def __init__(self, url: str, folder: Path, *, seconds: float, lease: float = 5.0) -> None:
        self.folder = folder
        command = [sys.executable, "-c", _PROGRAM, url, str(folder), str(seconds), str(lease)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """End what computes now."""
        (self.folder / "finish").touch()

    def answer(self) -> Any:
        stdout, _ = self.process.communicate()
        assert self.process.returncode == 0
        return json.loads(stdout)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def computed(folder: Path) -> int:
    return len(list(folder.glob("computed *")))
