"""Progress of a training, and hooks that follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from peclip.training.config import TrainConfig
from peclip.training.running_metrics import RunningMetrics


@dataclass
class Progress:
    """Progress of a training."""

    epochs: int
    steps: int
    """Per epoch."""
    running_metrics: RunningMetrics
    """Metrics of the current epoch so far."""
    epoch: int = 0
    """Index of the current epoch, equal to the number of complete ones."""
    step: int = 0
    """Complete steps in this epoch."""
    seconds: float = 0.0
    """Time spent in this epoch so far."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per complete epoch, as in `metrics.jsonl`."""
    best_epoch: int | None = None
    """From 1; `None` if epochs were not compared."""
    best_value: float = -1.0
    best_weights: dict[str, Tensor] | None = None
    loss: float = 0.0
    """Loss of the last step, averaged over its videos."""
    rates: dict[str, float] = field(default_factory=dict)
    """Learning rates of the last step, by part."""

    def is_complete(self, config: TrainConfig) -> bool:
        """Returns whether all epochs are done, or early stopping applies."""
        return self.epoch >= self.epochs or self.has_stopped(config)

    def has_stopped(self, config: TrainConfig) -> bool:
        """Returns whether patience is exhausted."""
        waited = self.epoch - (self.best_epoch or self.epoch)
        return config.patience is not None and waited >= config.patience


@dataclass(frozen=True)
class Hooks:
    """Callbacks; an exception in a hook ends the training at that point."""

    on_step: Callable[[Progress], None] = lambda progress: None
    on_phase: Callable[[str, int, int], None] = lambda name, done, videos: None
    """During `validating` and `testing`: the videos predicted so far, at first 0, and their number."""
    on_best: Callable[[Progress], None] = lambda progress: None
    """Called with the best weights in the model."""
    on_epoch: Callable[[Progress], None] = lambda progress: None
    """After the state is saved; on all ranks."""

    def follow(self, phase: str, videos: int) -> Callable[[int], None]:
        """Begins a phase, and returns what is called with the number of videos in each of its batches."""
        done = 0

        def on_batch(count: int) -> None:
            nonlocal done
            done += count
            self.on_phase(phase, done, videos)

        on_batch(0)
        return on_batch
