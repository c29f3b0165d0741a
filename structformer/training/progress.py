"""A progress bar that stays silent where nobody watches."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A bar over epochs with the latest loss and score, on standard error.

    Args:
        title: What is being done.
        total: Epochs planned.
        show: True or False decide; None shows the bar on a terminal only.
    """

    def __init__(self, title: str, total: int, show: bool | None = None) -> None:
        console = Console(stderr=True)
        self._visible = console.is_terminal if show is None else show
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = RichProgress(*columns, console=console, transient=True, disable=not self._visible)
        self._title = title
        self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, epoch: int, loss: float, score: float | None) -> None:
        """Move the bar to ``epoch``."""
        said = f"{self._title} · loss {loss:.4f}" + ("" if score is None else f" · validation {score:.4f}")
        self._bar.update(self._task, completed=epoch, description=said)
