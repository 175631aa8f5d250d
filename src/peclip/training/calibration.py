"""The operating point of a trained model, chosen on validation videos: prior weight, then temperature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.report import Report, percent

PRIOR_WEIGHTS = tuple(round(0.05 * step, 2) for step in range(31))
"""tau that are tried: 0 to 1.5."""
CRITERION = "(WAR + UAR) / 2"


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What was chosen on validation videos, and what it has changed there."""

    temperature: float
    """The temperature of the model is multiplied by this; 1 where it was not fitted."""
    weight: float
    """tau on the logits before that; 0 where it was not chosen."""
    before: tuple[float, float]
    """WAR and UAR without the prior, as fractions."""
    after: tuple[float, float]
    """WAR and UAR with it."""

    @property
    def prior_weight(self) -> float:
        """The weight on the logits of the finished model.

        They are z / temperature, so that (z - tau log p) / temperature takes tau / temperature.
        """
        return self.weight / self.temperature

    def to_dict(self, chosen_on: str) -> dict[str, Any]:
        """Returns the JSON form, with WAR and UAR in per cent."""
        scores = {"before": self.before, "after": self.after}
        return {
            "chosen_on": chosen_on,
            "criterion": CRITERION,
            "weight": self.weight,
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
    prior: Mapping[str, float] | None,
    *,
    calibrate: bool,
) -> OperatingPoint:
    """Chooses prior weight and temperature of a model.

    The weight comes first, because the temperature changes no label; the temperature is then that of the
    adjusted logits, so that the final probabilities are the calibrated ones.

    Args:
        probabilities: (N, C), of videos that were not trained on, without the prior.
        targets: (N,), their classes.
        prior: to weigh, by label in the order of the classes; `None` weighs none.
        calibrate: fit the temperature.
    """
    logits = log_probabilities(probabilities)
    weight, adjusted = 0.0, logits
    if prior is not None:
        logarithms = torch.tensor(list(prior.values()), dtype=torch.float64).log()
        weight = choose_prior_weight(probabilities, targets, prior)
        adjusted = logits - weight * logarithms
    return OperatingPoint(
        fit_temperature(adjusted.softmax(-1), targets) if calibrate else 1.0,
        weight,
        _war_and_uar(logits, targets),
        _war_and_uar(adjusted, targets),
    )


def choose_prior_weight(
    probabilities: Tensor, targets: Tensor, prior: Mapping[str, float]
) -> float:
    """Returns the tau of `PRIOR_WEIGHTS` with the best mean of WAR and UAR; of equals the smallest.

    Args:
        probabilities: (N, C), of videos that were not trained on, without the prior.
        targets: (N,), their classes.
        prior: by label, in the order of the classes.
    """
    logits = log_probabilities(probabilities)
    logarithms = torch.tensor(list(prior.values()), dtype=torch.float64).log()
    scores = {tau: sum(_war_and_uar(logits - tau * logarithms, targets)) for tau in PRIOR_WEIGHTS}
    return max(scores, key=lambda tau: scores[tau])


def fit_temperature(probabilities: Tensor, targets: Tensor) -> float:
    """Returns the number that the logits are to be divided by (Guo et al., 2017, temperature scaling).

    Args:
        probabilities: (N, C), of videos that were not trained on.
        targets: (N,), their classes.

    Returns:
        The factor from 0.05 to 20 with the least negative log-likelihood. The predicted labels stay the same.
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
    """Returns the logits (N, C) of probabilities, float64, but for a constant per video."""
    return probabilities.double().clamp(min=torch.finfo(torch.float32).tiny).log()


def _war_and_uar(logits: Tensor, targets: Tensor) -> tuple[float, float]:
    C = logits.shape[-1]
    cells = torch.bincount(targets * C + logits.argmax(-1), minlength=C * C)
    confusion = ConfusionMatrix(map(str, range(C)), cells.view(C, C).numpy())
    report = Report.of(confusion, resamples=0)
    return report.war, report.uar
