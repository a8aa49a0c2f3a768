"""A command that serves until it is told to end, and says where on its first line."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["CommandServer"]


class CommandServer:
    """One such command with all processes that it starts: `with CommandServer(…) as server: … server.url`."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        # A session of its own, so that all of its processes can be killed at once, as a machine fails.
        self._process = subprocess.Popen(
            command, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    @cached_property
    def url(self) -> str:
        """Where it serves; waits until it does."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, f"it says {line!r}"
        return found[0]

    def kill(self) -> None:
        """End it by SIGKILL, with every process of it, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def stop(self) -> int:
        """Tell it to end, and return its exit status."""
        self._process.terminate()
        self._process.communicate()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()
