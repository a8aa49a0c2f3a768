"""`python -m askdocs.demo`: read real text, ask two questions, write a report."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from askdocs.main import main

# A part of the standard library that every Python has, and that holds plenty of text.
_LIBRARY = (
    *("asyncio", "collections", "concurrent", "email", "http", "importlib", "json", "logging", "pathlib.py"),
    *("shutil.py", "sqlite3", "subprocess.py", "unittest/mock.py", "urllib"),
)
_QUESTIONS = ("How do I cancel a task that waits?", "Which exit code does a validation error give?")


def demo(workspace: Path, output: Path) -> int:
    """Run the commands one after the other, each as a user would type it; stop at the first that fails."""
    library = Path(sysconfig.get_path("stdlib"))
    texts = [workspace / "README.md", workspace / "docs", *sorted(workspace.glob("packages/*/README.md"))]
    texts += sorted(workspace.glob("packages/*/src"))
    texts += [library / name for name in _LIBRARY]
    output.mkdir(exist_ok=True)
    index = ["--index", str(output / "askdocs.db")]
    for shown, command in (
        ("ingest README.md docs packages … asyncio json logging …", ["ingest", *map(str, texts)]),
        *((f'ask "{question}" --limit 3', ["ask", question, "--limit", "3"]) for question in _QUESTIONS),
        ("stats", ["stats"]),
        ("report report.html", ["report", str(output / "report.html")]),
    ):
        sys.stdout.write(f"\n$ askdocs {shown}\n")
        sys.stdout.flush()
        status = main([*index, *command])
        if status:
            return status
    return 0


if __name__ == "__main__":
    here = Path.cwd()
    sys.exit(demo(here, here / "demo-output"))
