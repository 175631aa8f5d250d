"""A linear probe: logistic regression on the features of a frozen model.

Protocol of Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
appendix A.3: full-batch L-BFGS, and the strength of the L2 penalty by a sweep on validation videos. Differences are
listed in docs/compare.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PENALTIES = tuple(10.0**-k for k in range(7))
"""The sweep, from the strongest on: factors of the squared norm of the weights beside the mean cross-entropy."""

_STEPS = 200


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """A linear classifier of features."""

    weights: Tensor
    """(C, D), float64."""
    bias: Tensor
    """(C,)"""
    centre: Tensor
    """(D,): mean of the training features."""
    spread: float
    """Root mean square distance of the training features from their mean, per dimension."""
    penalty: float

    @property
    def num_parameters(self) -> int:
        """Weights and biases."""
        return self.weights.numel() + self.bias.numel()

    def probabilities(self, features: Tensor) -> Tensor:
        """Maps features (N, D) to probabilities (N, C)."""
        inputs = (features.double() - self.centre) / self.spread
        return (inputs @ self.weights.T + self.bias).softmax(-1)


def fit_probe(features: Tensor, classes: Tensor, num_classes: int, penalty: float) -> LinearProbe:
    """Minimises the mean cross-entropy plus `penalty / 2` times the squared norm of the weights.

    The problem is convex and starts at 0, so no random number is drawn.

    Args:
        features: (N, D).
        classes: (N,), from 0.
        num_classes: C, at least 2; some may have no video.
        penalty: above 0.
    """
    centre = features.double().mean(0)
    spread = float((features.double() - centre).square().mean().sqrt().clamp(min=1e-12))
    inputs = (features.double() - centre) / spread
    weights = torch.zeros(num_classes, inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=_STEPS, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weights.T + bias, classes)
        total = loss + penalty / 2 * weights.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return LinearProbe(weights.detach(), bias.detach(), centre, spread, penalty)


def choose_probe(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], num_classes: int
) -> LinearProbe:
    """Returns the probe with the best accuracy on validation videos; at a tie, with the stronger penalty.

    Args:
        train: features (N, D) and classes (N,).
        val: the same of other videos.
        num_classes: C.
    """
    features, classes = val
    probes = [fit_probe(*train, num_classes, penalty) for penalty in PENALTIES]

    def hits(probe: LinearProbe) -> int:
        return int((probe.probabilities(features).argmax(-1) == classes).sum())

    return max(probes, key=hits)  # the first of several
