"""The progress bar of all commands; importing it takes longer than refusing an invalid command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class LiveBar(Progress):
    """A progress bar that asks for its state whenever it is drawn, so that it moves between two updates."""

    poll: Callable[[], None] | None = None

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yields the bar with the present state."""
        if self.poll is not None:
            self.poll()
        yield from super().get_renderables()


def new_bar(console: Console, *, visible: bool) -> LiveBar:
    """Returns a bar whose tasks have a field `position`; an invisible one only keeps their state."""
    return LiveBar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[position]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not visible,
        # rich would redirect printed data to the bar's console, away from standard output.
        redirect_stdout=False,
        redirect_stderr=False,
    )
