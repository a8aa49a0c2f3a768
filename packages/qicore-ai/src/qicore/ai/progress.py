"""A progress bar for `Models.pull`; it needs the extra `progress`."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from qicore.ai.responses import PullProgress
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

__all__ = ["ProgressBar"]


class ProgressBar:
    """Draws a bar for each part of a download: `with ProgressBar() as bar: await models.pull(name, bar)`.

    It writes to standard error, or to the console that is given, and draws nothing moving where that is no
    terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console or Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: PullProgress) -> None:
        """Show how far it is."""
        name = step.digest.removeprefix("sha256:")[:12] or step.status
        name = "".join(character for character in name if character.isprintable())  # a server's words
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._progress.add_task(name, total=step.total or None)
        if step.digest:
            self._progress.update(task, total=step.total or None, completed=step.completed)
        else:
            self._progress.update(task, total=1, completed=1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
