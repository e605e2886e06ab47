"""The progress of a stage: a bar on a terminal, occasional lines elsewhere, both on stderr.

Knows counts and the clock only.
"""

from __future__ import annotations

import contextlib
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

LINE_EVERY_S = 15.0


class Progress:
    """Counts the `work` of `stage`: `total` to do; `reused` more come from an earlier run."""

    def __init__(
        self, stage: str, total: int, reused: int, work: str = "trials to compute"
    ) -> None:
        self.stage, self.total, self.reused, self.work = stage, total, reused, work
        self.done = 0
        self.started = self.printed = time.monotonic()
        console = Console(stderr=True)
        self.bar: Bar | None = None
        if console.is_terminal and total:
            self.bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self.task = self.bar.add_task(stage, total=total)

    def __enter__(self) -> Progress:
        self._print(f"{self.total} {self.work}, {self.reused} reused")
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if kind is None and self.total:
            self._print(f"done in {duration(time.monotonic() - self.started)}")

    def advance(self, count: int = 1) -> None:
        """`count` more are finished."""
        self.done += count
        now = time.monotonic()
        if self.bar is not None:
            self.bar.advance(self.task, count)
        elif now - self.printed >= LINE_EVERY_S and self.done < self.total:
            left = (now - self.started) / self.done * (self.total - self.done)
            self._print(f"{self.done} of {self.total}, about {duration(left)} left")
            self.printed = now

    def _print(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a closed pipe must not end the stage
            print(f"{self.stage}: {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds for people: `42 s`, `3 min 05 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
