"""How far a long measurement is: what runs now, and how long the rest will take."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


class _Left(ProgressColumn):
    """What the steps were said to take and have not taken yet."""

    def render(self, task: Task) -> Text:
        left_s = max(0.0, task.total - task.completed)
        return Text(f"about {left_s // 60:.0f}:{left_s % 60:02.0f} left", style="progress.remaining")


class Steps:
    """A bar over steps whose length is known roughly; a step that is over counts for what was said, not what it took.

    Args:
        total_s: of all steps.
    """

    def __init__(self, console: Console, total_s: float) -> None:
        columns = (TextColumn("{task.description:44}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
        self._progress = Progress(*columns, TimeElapsedColumn(), _Left(), console=console, transient=True)
        self._task = self._progress.add_task("", total=total_s)
        self._begun_s = self._end_s = 0.0

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def begin(self, text: str, expected_s: float) -> None:
        """The step before is over."""
        self._begun_s, self._end_s = self._end_s, self._end_s + expected_s
        self._progress.update(self._task, description=text, completed=self._begun_s)

    def tick(self, text: str, seconds: float) -> None:
        """So much more of this step went by."""
        task = self._progress.tasks[0]
        self._progress.update(self._task, description=text, completed=min(self._end_s, task.completed + seconds))
