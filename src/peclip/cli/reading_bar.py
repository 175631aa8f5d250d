"""Progress bar of the sources that `peclip predict` reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peclip.cli import console

if TYPE_CHECKING:
    from rich.progress import TaskID

    from peclip.cli.progress_bar import LiveBar
    from peclip.engines.base import Reading


class ReadingBar:
    """Shows the source that is being read and, if there are several, how many are complete.

    Args:
        bar: has a field `position`.
        end: seconds in each source after which it is not read.
    """

    def __init__(self, bar: LiveBar, *, end: float | None) -> None:
        self._bar, self._end = bar, end
        self._total, self._done = 0, 0
        self._overall: TaskID | None = None
        self._current: tuple[TaskID, Reading, float] | None = None
        self._began = 0.0
        self._drawn_s: float | None = None
        bar.poll = self._update

    def begin(self, total: int) -> None:
        """Sets the number of sources, before the first one is read."""
        self._total, self._began = total, time.monotonic()
        if total > 1:
            self._overall = self._bar.add_task("all sources", total=total, position="")

    @contextmanager
    def follow(self, reading: Reading) -> Iterator[None]:
        """Shows a source while it is read."""
        name = console.as_markup(Path(reading.source).name or reading.source)
        task = self._bar.add_task(name, total=None, position="starting")
        self._current, self._drawn_s = (task, reading, time.monotonic()), None
        try:
            yield
        finally:
            self._current = None
            self._done += 1
            self._bar.remove_task(task)

    def show_drawn(self, seconds: float) -> None:
        """Shows how much of the video with boxes is written, after the source was read."""
        self._drawn_s = seconds

    def _update(self) -> None:
        """Takes the position of the source that is being read, which its decoder moves."""
        now, part = time.monotonic(), 0.0
        if self._current is not None:
            task, reading, began = self._current
            total = _shortest(reading.duration_s, self._end)
            seconds = reading.position_s if total is None else min(reading.position_s, total)
            position = source_position(seconds, total, now - began)
            if self._drawn_s is not None:
                seconds, position = self._drawn_s, f"writing the video: {self._drawn_s:.1f} s"
            self._bar.update(task, total=total, completed=seconds, position=position)
            part = seconds / total if total else 0.0
        if self._overall is not None:
            done = self._done + part
            position = overall_position(self._done, done, self._total, now - self._began)
            self._bar.update(self._overall, completed=done, position=position)


def source_position(seconds: float, total: float | None, elapsed: float) -> str:
    """Returns the position in a source, the speed and the time left, as far as they are known.

    Args:
        seconds: of the source that were read.
        total: length of the source in seconds; `None` if it is unknown.
        elapsed: seconds since the beginning.
    """
    parts = [f"{seconds:.1f} s" if total is None else f"{seconds:.1f} of {total:.1f} s"]
    if seconds > 0 and elapsed > 0:
        parts.append(f"{seconds / elapsed:.1f}x real time")
        if total is not None:
            parts.append(f"{console.clock(max(0.0, total - seconds) * elapsed / seconds)} left")
    return ", ".join(parts)


def overall_position(complete: int, done: float, total: int, elapsed: float) -> str:
    """Returns how many sources are complete, and the time left.

    Args:
        complete: sources.
        done: sources, including the part of the present one that was read.
        total: sources.
        elapsed: seconds since the beginning.
    """
    text = f"{complete:,} of {total:,} sources"
    return f"{text}, {console.clock((total - done) * elapsed / done)} left" if done > 0 else text


def _shortest(*lengths: float | None) -> float | None:
    known = [length for length in lengths if length is not None]
    return min(known) if known else None
