"""The mean over the folds of a cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peclip.errors import ConfigError
from peclip.metrics.report import Report, percent


@dataclass(frozen=True, slots=True)
class FoldMean:
    """Means over folds, as fractions. The papers report the mean of the folds' WARs and UARs."""

    num_folds: int
    uar: float
    uar_sd: float | None
    """Sample standard deviation (n - 1); `None` for one fold."""
    war: float
    war_sd: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, in percentages."""
        return {
            "num_folds": self.num_folds,
            "uar": percent(self.uar),
            "uar_sd": percent(self.uar_sd),
            "war": percent(self.war),
            "war_sd": percent(self.war_sd),
        }


def mean_over_folds(reports: Sequence[Report]) -> FoldMean:
    """Returns the mean and the sample standard deviation (n - 1) of UAR and WAR over folds.

    Every fold weighs the same, however many videos it has: the mean of fold WARs, as the papers print
    it, is not the WAR of the merged confusion matrix.

    Raises:
        ConfigError: no report was given.
    """
    if not reports:
        raise ConfigError("The mean over folds requires at least one report; got none.")
    uar, uar_sd = _mean_and_sd([report.uar for report in reports])
    war, war_sd = _mean_and_sd([report.war for report in reports])
    return FoldMean(len(reports), uar, uar_sd, war, war_sd)


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))
