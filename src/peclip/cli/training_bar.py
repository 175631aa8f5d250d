"""Progress bar of a training."""

from __future__ import annotations

from rich.progress import Progress as Bar

from peclip.cli import console
from peclip.runs.one_fold import FoldListener
from peclip.training.progress import Hooks, Progress


def listener(bar: Bar) -> FoldListener:
    """Returns a listener that shows each training on a bar, which needs a field `position`."""

    def listen(title: str) -> Hooks:
        for finished in bar.task_ids:
            bar.remove_task(finished)
        task = bar.add_task(title.removesuffix(" train"), total=None, position="starting")
        epoch = ""

        def on_step(progress: Progress) -> None:
            nonlocal epoch
            total = progress.epochs * progress.steps
            done = progress.epoch * progress.steps + progress.step
            metrics, left = (
                progress.running_metrics,
                progress.seconds / progress.step * (total - done),
            )
            epoch = f"epoch {progress.epoch + 1}/{progress.epochs}"
            position = (
                f"{epoch} loss {metrics.loss:.3f} UAR {100 * metrics.uar:.1f} WAR {100 * metrics.war:.1f} "
                f"{console.clock(left)} left"
            )
            bar.update(task, total=total, completed=done, position=position)

        def on_phase(name: str, done: int, videos: int) -> None:
            position = f"{epoch} {name} {done} of {videos} videos".strip()
            bar.update(task, total=videos, completed=done, position=position)

        return Hooks(on_step=on_step, on_phase=on_phase)

    return listen
