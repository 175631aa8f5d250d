"""Making the probabilities of a trained model honest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fit_temperature(probabilities: Tensor, targets: Tensor) -> float:
    """Returns the number that the logits are to be divided by (Guo et al., 2017, temperature scaling).

    Args:
        probabilities: (N, C), of videos that were not trained on.
        targets: (N,), their classes.

    Returns:
        The factor from 0.05 to 20 with the least negative log-likelihood. The answers stay the same.
    """
    logits = (
        probabilities.double().clamp(min=torch.finfo(torch.float32).tiny).log()
    )  # but for a constant per video
    low, high = -1.3, 1.3  # powers of ten; the likelihood has one peak in between
    for _ in range(4):
        factors = torch.logspace(low, high, 27, dtype=torch.float64)
        losses = torch.stack([F.cross_entropy(logits / factor, targets) for factor in factors])
        best, step = low + int(losses.argmin()) * (high - low) / 26, (high - low) / 26
        low, high = max(-1.3, best - step), min(1.3, best + step)
    return float(10**best)
