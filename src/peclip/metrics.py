"""The numbers of the field: WAR, UAR, and what stands behind them.

WAR (weighted average recall) is the accuracy. UAR (unweighted average recall) is the mean recall over the classes
*present* in the targets: a class that never occurs has no recall, and a wrong answer that names it must
not count twice. (torchmetrics' macro accuracy counts such a class as 0.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclip.confusion import ConfusionMatrix as ConfusionMatrix
from peclip.errors import ConfigError

Interval = tuple[float, float]

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
RESAMPLES = 1000
LEVEL = 0.95
"""Probability that a confidence interval is made for."""

UNITS = {
    **dict.fromkeys(("uar", "war", "macro_f1", "recall", "precision", "f1"), "per cent"),
    **dict.fromkeys(("uar_ci", "war_ci"), "per cent; 95 %, percentile bootstrap over videos"),
    "ece": f"0 to 1; {NUM_BINS} bins of equal width",
    "confusion": "videos; a row per target and a column per answer, in the order of `labels`",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a confusion matrix says. Everything is a fraction, 0 to 1; `to_dict` gives per cent."""

    confusion: ConfusionMatrix
    num_videos: int
    uar: float
    """Mean recall over the classes that occur in the targets."""
    war: float
    """Right answers by videos, i.e. the accuracy."""
    uar_ci: Interval | None
    """95 % confidence interval, or `None` where none was asked for."""
    war_ci: Interval | None
    recall: Mapping[str, float | None]
    """By label; `None` for a class that never occurs."""
    precision: Mapping[str, float | None]
    """By label; `None` for a class that was never the answer."""
    f1: Mapping[str, float | None]
    """By label; `None` for a class that never occurs."""
    macro_f1: float
    """Mean F1 over the classes that occur in the targets."""
    support: Mapping[str, int]
    """Videos by label."""
    ece: float | None
    """Expected calibration error, or `None` without probabilities."""

    @classmethod
    def of(
        cls,
        confusion: ConfusionMatrix,
        *,
        ece: float | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Report:
        """Computes everything from counts.

        Args:
            confusion: at least one video; it is copied.
            ece: from `calibration_error`, where there are probabilities.
            resamples: of the bootstrap, from 0, which leaves the intervals out.
            seed: of the bootstrap; the same seed gives the same intervals.

        Raises:
            ConfigError: no video was counted, or `resamples` is negative.
        """
        if not confusion.num_videos:
            raise ConfigError("No video was counted; a report needs at least one.")
        names, support, hits = confusion.labels, confusion.support, confusion.hits
        recall = _by_label(names, hits, support)
        # A class that never occurs has no F1 either, however often it is the answer.
        f1 = _by_label(names, 2 * hits, np.where(support > 0, support + confusion.answered, 0))
        uar_ci, war_ci = bootstrap(confusion, resamples=resamples, seed=seed)
        return cls(
            confusion=ConfusionMatrix(names, confusion.counts),
            num_videos=confusion.num_videos,
            uar=_mean_of(recall),
            war=float(hits.sum() / support.sum()),
            uar_ci=uar_ci,
            war_ci=war_ci,
            recall=recall,
            precision=_by_label(names, hits, confusion.answered),
            f1=f1,
            macro_f1=_mean_of(f1),
            support=dict(zip(names, support.tolist(), strict=True)),
            ece=ece,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        return self.confusion.labels

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form; `UNITS` says that all but `ece` and the counts is in per cent."""
        return {
            "num_videos": self.num_videos,
            "uar": percent(self.uar),
            "uar_ci": None if self.uar_ci is None else [percent(end) for end in self.uar_ci],
            "war": percent(self.war),
            "war_ci": None if self.war_ci is None else [percent(end) for end in self.war_ci],
            "macro_f1": percent(self.macro_f1),
            "ece": None if self.ece is None else round(self.ece, 6),
            "labels": list(self.labels),
            "support": dict(self.support),
            "recall": {name: percent(value) for name, value in self.recall.items()},
            "precision": {name: percent(value) for name, value in self.precision.items()},
            "f1": {name: percent(value) for name, value in self.f1.items()},
            "confusion": self.confusion.counts.tolist(),
            "units": UNITS,
        }


def percent(fraction: float | None) -> float | None:
    """Returns a fraction in per cent, rounded to six places; `None` stays `None`."""
    return None if fraction is None else round(100 * fraction, 6)


def _by_label(
    names: Sequence[str], parts: NDArray[np.int64], wholes: NDArray[np.int64]
) -> dict[str, float | None]:
    pairs = zip(names, parts.tolist(), wholes.tolist(), strict=True)
    return {name: part / whole if whole else None for name, part, whole in pairs}


def _mean_of(values: Mapping[str, float | None]) -> float:
    defined = [value for value in values.values() if value is not None]
    return math.fsum(defined) / len(defined)


def bootstrap(
    confusion: ConfusionMatrix, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, Interval] | tuple[None, None]:
    """Returns 95 % percentile intervals of UAR and WAR (Efron and Tibshirani 1993, chapter 13).

    Videos are drawn with replacement. Their order plays no part, so classes are drawn from a multinomial
    and the right answers in them from binomials: the same distribution as drawing videos one by one.
    A class that is missing from a draw is left out of that draw's UAR.

    Args:
        confusion: at least one video.
        resamples: number of draws, from 0, which gives no interval.
        seed: of the draws.

    Raises:
        ConfigError: `resamples` is negative.
    """
    if resamples < 0:
        raise ConfigError(f"bootstrap is {resamples}; give a number of draws from 0.")
    if not resamples:
        return None, None
    generator = np.random.default_rng(seed)
    support, hits = confusion.support, confusion.hits
    drawn = generator.multinomial(support.sum(), support / support.sum(), size=resamples)
    right = generator.binomial(drawn, hits / np.maximum(support, 1))  # (resamples, C)
    uar = (right / np.maximum(drawn, 1)).sum(axis=1) / (drawn > 0).sum(axis=1)
    war = right.sum(axis=1) / support.sum()
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    (uar_low, uar_high), (war_low, war_high) = (np.quantile(x, ends).tolist() for x in (uar, war))
    return (uar_low, uar_high), (war_low, war_high)


def calibration_error(
    confidences: ArrayLike, correct: ArrayLike, *, num_bins: int = NUM_BINS
) -> float:
    """Returns the expected calibration error, 0 to 1 (Guo et al. 2017, equation 3).

    The bins have equal width and hold their upper edge; the lowest one holds 0 as well.

    Args:
        confidences: (N,) probability of each answer, 0 to 1.
        correct: (N,) whether it was right.
        num_bins: number of bins.
    """
    values, right = np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    gaps = np.bincount(np.digitize(values, inner, right=True), weights=right - values)
    return float(np.abs(gaps).sum() / len(values))


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
        """Returns the JSON form, in per cent."""
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
        raise ConfigError("The mean over folds needs at least one report; none was given.")
    uar, uar_sd = _mean_and_sd([report.uar for report in reports])
    war, war_sd = _mean_and_sd([report.war for report in reports])
    return FoldMean(len(reports), uar, uar_sd, war, war_sd)


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (len(values) - 1))
