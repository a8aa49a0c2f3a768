"""`python -m askdocs.demo`: read real text and a site, ask two questions, write a report."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from askdocs.main import main

# A part of the standard library that every Python has, and that holds plenty of text.
_LIBRARY = (
    *("asyncio", "collections", "concurrent", "email", "http", "importlib", "json", "logging", "pathlib.py"),
    *("shutil.py", "sqlite3", "subprocess.py", "unittest/mock.py", "urllib"),
)
_QUESTIONS = ("How do I cancel a task that waits?", "Which exit code does a validation error give?")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name where it is inherited from
        pass


@contextmanager
def _served(folder: Path) -> Generator[str]:
    """Serve a folder on the loopback, and give its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def demo(workspace: Path, output: Path) -> int:
    """Run the commands one after the other, each as a user would type it; stop at the first that fails."""
    with _served(workspace / "docs" / "designs") as site:
        return _demo(workspace, output, site)


def _demo(workspace: Path, output: Path, site: str) -> int:
    library = Path(sysconfig.get_path("stdlib"))
    texts = [workspace / "README.md", workspace / "docs" / "getting-started.md"]
    texts += sorted(workspace.glob("packages/*/README.md"))
    texts += sorted(workspace.glob("packages/*/src"))
    texts += [library / name for name in _LIBRARY]
    shutil.rmtree(output, ignore_errors=True)  # the site of the last time is gone, too
    output.mkdir()
    index = ["--index", str(output / "askdocs.db")]
    for shown, command in (
        (
            "ingest README.md docs/getting-started.md packages … asyncio json logging …",
            ["ingest", *map(str, texts)],
        ),
        (f"ingest {site}  # docs/designs, served here", ["ingest", site]),
        *((f'ask "{question}" --limit 3', ["ask", question, "--limit", "3"]) for question in _QUESTIONS),
        ("stats", ["stats"]),
        ("report report.html", ["report", str(output / "report.html")]),
    ):
        sys.stdout.write(f"\n$ askdocs {shown}\n")
        sys.stdout.flush()
        status = main([*index, *command])
        if status:
            return status
    sys.stdout.write(f"\nTo search it in a browser: askdocs {' '.join(index)} serve\n")
    return 0


if __name__ == "__main__":
    here = Path.cwd()
    sys.exit(demo(here, here / "demo-output"))
