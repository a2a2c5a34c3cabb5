"""Progress of a fit: a bar with the time left on a terminal, now and then a line where there is none."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

EVERY_S = 10.0
"""Least time between two lines of the same step."""


class Progress:
    """Opened around the work; `report` is a `Report`."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self._bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._is_terminal = console.is_terminal
        self._steps: dict[str, tuple[TaskID, float, int]] = {}
        self._said_s = time.monotonic()

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def report(self, step: str, done: int, total: int, note: str = "") -> None:
        """As in `Report`."""
        now = time.monotonic()
        if step not in self._steps:
            # A training that goes on starts in the middle: what is left is reckoned from there.
            self._steps[step] = (self._bars.add_task(step, total=total, completed=done, note=""), now, done)
        task, since_s, first = self._steps[step]
        self._bars.update(task, completed=done, note=note)
        if not self._is_terminal and now - self._said_s >= EVERY_S:
            self._said_s = now
            left_s = (now - since_s) / max(1, done - first) * (total - done)
            print(f"{step} {done}/{total} {note} {left_s:.0f} s left", file=sys.stderr, flush=True)
