"""What a training epoch has seen so far: its loss, and its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class RunningMetrics:
    """Sums over the videos of an epoch, of all ranks.

    Mixed videos count by the label of the first one, so the numbers are lower than the model deserves.
    """

    counts: NDArray[np.int64]
    """(C, C), a row per target and a column per predicted class."""
    loss_sum: float = 0.0

    @classmethod
    def empty(cls, num_classes: int) -> RunningMetrics:
        return cls(np.zeros((num_classes, num_classes), np.int64))

    def add(self, loss_sum: float, counts: NDArray[np.int64]) -> None:
        """Adds the videos of a step."""
        self.loss_sum += loss_sum
        self.counts = self.counts + counts

    @property
    def num_videos(self) -> int:
        return int(self.counts.sum())

    @property
    def loss(self) -> float:
        """Mean over the videos; 0 before the first one."""
        return self.loss_sum / max(1, self.num_videos)

    @property
    def war(self) -> float:
        return float(self.counts.trace() / max(1, self.num_videos))

    @property
    def uar(self) -> float:
        """Mean recall over the classes that occurred."""
        support = self.counts.sum(axis=1)
        recalls = self.counts.diagonal()[support > 0] / support[support > 0]
        return float(recalls.mean()) if len(recalls) else 0.0

    def to_state(self) -> dict[str, Any]:
        """Returns what `from_state` takes."""
        return {"counts": self.counts.tolist(), "loss_sum": self.loss_sum}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> RunningMetrics:
        return cls(np.array(state["counts"], np.int64), state["loss_sum"])
