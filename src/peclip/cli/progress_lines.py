"""Lines of progress for a pipe or a log file, which shows no bar."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Task

    from peclip.cli.progress_bar import LiveBar

INTERVAL_S = 5.0
"""Seconds between two lines."""


@contextmanager
def progress_lines(bar: LiveBar, write: Callable[[str], None]) -> Iterator[None]:
    """Writes the state of a bar that is not shown every few seconds, if it has changed."""
    stopped = threading.Event()
    thread = threading.Thread(target=_write_lines, args=(bar, write, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _write_lines(bar: LiveBar, write: Callable[[str], None], stopped: threading.Event) -> None:
    before = ""
    while not stopped.wait(INTERVAL_S):
        if bar.poll is not None:
            bar.poll()
        # A task that starts again, such as the testing after a training, stays `finished`.
        line = "; ".join(line_of(task) for task in bar.tasks if task.completed != task.total)
        if line and line != before:
            try:
                write(line)
            except OSError:  # the reader has closed the pipe
                return
            before = line


def line_of(task: Task) -> str:
    """Returns what is done and its position, without markup."""
    position = task.fields["position"]
    if not position and task.total is not None:
        position = f"{task.completed:,.0f} of {task.total:,.0f}"
    what = Text.from_markup(task.description).plain
    return f"{what}: {position}" if position else what
