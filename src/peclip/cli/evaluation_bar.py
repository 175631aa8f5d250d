"""Progress bar of an evaluation."""

from __future__ import annotations

import time

from rich.progress import Progress as Bar
from rich.progress import TaskID

from peclip.cli import console
from peclip.runs.dataset_evaluation import BatchListener


def listener(bar: Bar) -> BatchListener:
    """Returns a listener that shows each split on a bar, which needs a field `position`."""
    begun: dict[str, tuple[TaskID, float, int]] = {}

    def on_batch(title: str, done: int, total: int) -> None:
        now = time.monotonic()
        if title not in begun:  # timed from the first batch, which also waits for the workers
            begun[title] = bar.add_task(title, total=total, position=""), now, done
        task, began, first = begun[title]
        position = f"{done} of {total} videos"
        if done > first:
            left = (now - began) / (done - first) * (total - done)
            position += f", {console.clock(left)} left"
        bar.update(task, completed=done, position=position)

    return on_batch
