"""The operating point of a trained model, chosen on validation videos: temperature, then prior weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from peclip.labels import HasPrior, prior_factors
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.report import Report, percent

PRIOR_WEIGHTS = tuple(step / 20 for step in range(21))
"""Candidates: 0 to 1."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Values chosen on the validation videos, and their effect there."""

    temperature: float
    """Factor applied to the model's temperature; 1 if it was not fitted."""
    prior_weight: float | None
    """`None` if it was not chosen."""
    cost: float
    """Percentage points of WAR that the weight was allowed to cost."""
    before: tuple[float, float]
    """WAR and UAR without the prior, as fractions."""
    after: tuple[float, float]
    """WAR and UAR with it."""

    def to_dict(self, chosen_on: str) -> dict[str, Any]:
        """Returns the JSON form, with WAR and UAR as percentages."""
        scores = {"before": self.before, "after": self.after}
        return {
            "chosen_on": chosen_on,
            "criterion": f"highest UAR with WAR within {self.cost:g} points of the best WAR",
            "temperature_factor": self.temperature,
            "prior_weight": self.prior_weight,
            **{
                f"{key}_{when}": percent(value)
                for when, pair in scores.items()
                for key, value in zip(("war", "uar"), pair, strict=True)
            },
        }


def operating_point(
    probabilities: Tensor,
    targets: Tensor,
    prior: HasPrior | None,
    *,
    cost: float,
    calibrate: bool,
) -> OperatingPoint:
    """Chooses temperature and prior weight of a model.

    The temperature comes first, because Bayes' rule, which the weight applies, takes calibrated probabilities.

    Args:
        probabilities: (N, C), of held-out videos, without the prior.
        targets: (N,), their classes.
        prior: a model or its configuration, its prior in the order of the classes; `None` skips the weight.
        cost: see `choose_prior_weight`.
        calibrate: fit the temperature.
    """
    temperature = fit_temperature(probabilities, targets) if calibrate else 1.0
    logits = log_probabilities(probabilities) / temperature
    before = after = _war_and_uar(logits, targets)
    weight = None
    if prior is not None:
        weight = choose_prior_weight(logits, targets, prior, cost)
        after = _war_and_uar(logits + _shifts(prior, weight), targets)
    return OperatingPoint(temperature, weight, cost, before, after)


def choose_prior_weight(logits: Tensor, targets: Tensor, prior: HasPrior, cost: float) -> float:
    """Returns the weight from `PRIOR_WEIGHTS` with the highest UAR among those with a small loss of WAR.

    Maximising UAR alone would sacrifice any number of frequent labels, and WAR alone neglects rare labels.

    Args: logits: float64 (N, C), of held-out videos, not adjusted. targets: (N,), their classes. prior: a model or
    its configuration, its prior in the order of the classes. cost: percentage points by which WAR may be below the
    WAR of the best weight.

    Returns:
        The weight; the smallest one in case of a tie in UAR.
    """
    scores = {
        weight: _war_and_uar(logits + _shifts(prior, weight), targets) for weight in PRIOR_WEIGHTS
    }
    least = max(war for war, _ in scores.values()) - cost / 100 - 1e-9
    return max((w for w in scores if scores[w][0] >= least), key=lambda w: scores[w][1])


def fit_temperature(probabilities: Tensor, targets: Tensor) -> float:
    """Returns the divisor of the logits (Guo et al., 2017, temperature scaling).

    Args:
        probabilities: (N, C), of held-out videos.
        targets: (N,), their classes.

    Returns:
        The factor from 0.05 to 20 with the lowest negative log-likelihood. Predicted labels are unchanged.
    """
    logits = log_probabilities(probabilities)
    low, high = -1.3, 1.3  # powers of ten; the likelihood has one peak in between
    for _ in range(4):
        factors = torch.logspace(low, high, 27, dtype=torch.float64)
        losses = torch.stack([F.cross_entropy(logits / factor, targets) for factor in factors])
        best, step = low + int(losses.argmin()) * (high - low) / 26, (high - low) / 26
        low, high = max(-1.3, best - step), min(1.3, best + step)
    return float(10**best)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """Returns the logits (N, C) of probabilities, float64, up to a constant per video."""
    return probabilities.double().clamp(min=torch.finfo(torch.float32).tiny).log()


def _shifts(model: HasPrior, weight: float) -> Tensor:
    """Returns what a prior weight adds to the logits, float64 (C,)."""
    assert model.prior is not None
    assert model.label_frequencies is not None
    factors = prior_factors(model.prior, model.prior, model.label_frequencies, weight)
    return torch.tensor(factors, dtype=torch.float64).log()


def _war_and_uar(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    C = logits.shape[-1]
    cells = torch.bincount(targets * C + logits.argmax(-1), minlength=C * C)
    confusion = ConfusionMatrix(map(str, range(C)), cells.view(C, C).numpy())
    report = Report.of(confusion, resamples=0)
    return report.war, report.uar
