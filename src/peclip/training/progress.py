"""Where a training is, and who wants to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from peclip.training.config import TrainConfig
from peclip.training.running_metrics import RunningMetrics


@dataclass
class Progress:
    """Where a training is."""

    epochs: int
    steps: int
    """In an epoch."""
    running_metrics: RunningMetrics
    """Of this epoch so far."""
    epoch: int = 0
    """The current one, from 0; as many are complete."""
    step: int = 0
    """Steps that are complete in this epoch."""
    seconds: float = 0.0
    """Spent in this epoch so far."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per complete epoch, as `metrics.jsonl` has it."""
    best_epoch: int | None = None
    """From 1; `None` where no epoch was compared."""
    best_value: float = -1.0
    best_weights: dict[str, Tensor] | None = None
    loss: float = 0.0
    """Of the last step, the mean over its videos."""
    rates: dict[str, float] = field(default_factory=dict)
    """Learning rates of the last step, by part."""

    def is_complete(self, config: TrainConfig) -> bool:
        """Returns whether all epochs are done, or enough of them without a better one."""
        return self.epoch >= self.epochs or self.has_stopped(config)

    def has_stopped(self, config: TrainConfig) -> bool:
        """Returns whether patience is at its end."""
        waited = self.epoch - (self.best_epoch or self.epoch)
        return config.patience is not None and waited >= config.patience


@dataclass(frozen=True)
class Hooks:
    """What others want to know; an exception of a hook ends the training at that point."""

    on_step: Callable[[Progress], None] = lambda progress: None
    on_phase: Callable[[str], None] = lambda name: None
    """Before `validating` or `testing`, which have no steps."""
    on_best: Callable[[Progress], None] = lambda progress: None
    """The model has the weights that are kept."""
    on_epoch: Callable[[Progress], None] = lambda progress: None
    """After the state is saved; on all ranks."""
