"""An exponential moving average of trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class Ema:
    """Follows weights: `average = decay * average + (1 - decay) * weight` after every step.

    Args:
        weights: trained tensors by name, including statistics of norms; the average starts from them.
        decay: above 0 and below 1.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self.averages = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes one step towards the weights."""
        moving = [name for name, weight in self._weights.items() if weight.is_floating_point()]
        torch._foreach_lerp_(  # in one kernel on CUDA, instead of one for each tensor
            [self.averages[name] for name in moving],
            [self._weights[name] for name in moving],
            1 - self._decay,
        )
        for name in self._weights.keys() - set(moving):  # counters
            self.averages[name].copy_(self._weights[name])

    @torch.no_grad()
    def load(self, averages: Mapping[str, Tensor]) -> None:
        """Restores saved averages."""
        for name, average in self.averages.items():
            average.copy_(averages[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Swaps the averages into the model during the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self._weights.items():
            kept = weight.detach().clone()
            weight.copy_(self.averages[name])
            self.averages[name].copy_(kept)
