"""Confidence intervals: of UAR and WAR by the bootstrap, of a single proportion by Wilson's formula."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.metrics.confusion import ConfusionMatrix

Interval = tuple[float, float]
LEVEL = 0.95
"""Confidence level of the intervals."""
MAX_DRAWN = 50_000_000
"""Limit of the numbers that a bootstrap draws: 8 bytes each, three times."""


def bootstrap(
    confusion: ConfusionMatrix, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, Interval] | tuple[None, None]:
    """Returns 95 % percentile intervals of UAR and WAR (Efron and Tibshirani 1993, chapter 13).

    Videos are drawn with replacement. Their order is irrelevant, so class counts are drawn from a
    multinomial and the correct predictions per class from binomials: the same distribution as drawing
    videos one by one. A class that does not occur in a draw is excluded from that draw's UAR.

    Args:
        confusion: at least one video.
        resamples: number of draws; 0 gives no intervals.
        seed: random seed for the draws.

    Raises:
        ConfigError: `resamples` is negative, or too large for this number of classes.
    """
    if resamples < 0:
        raise ConfigError(f"bootstrap is {resamples}; it must be 0 or more.")
    if not resamples:
        return None, None
    if resamples * len(confusion.labels) > MAX_DRAWN:
        raise ConfigError(
            f"bootstrap is {resamples:,} for {len(confusion.labels)} classes; use at most "
            f"{MAX_DRAWN // len(confusion.labels):,}."
        )
    generator = np.random.default_rng(seed)
    support, hits = confusion.support, confusion.hits
    drawn = generator.multinomial(support.sum(), support / support.sum(), size=resamples)
    right = generator.binomial(drawn, hits / np.maximum(support, 1))  # (resamples, C)
    uar = (right / np.maximum(drawn, 1)).sum(axis=1) / (drawn > 0).sum(axis=1)
    war = right.sum(axis=1) / support.sum()
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    (uar_low, uar_high), (war_low, war_high) = (np.quantile(x, ends).tolist() for x in (uar, war))
    return (uar_low, uar_high), (war_low, war_high)


def wilson(hits: ArrayLike, totals: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the lower and upper ends of 95 % intervals of proportions (Wilson 1927), such as recalls.

    Unlike a bootstrap interval, it has a width above 0 if all or none of a class's videos are predicted correctly.

    Args:
        hits: (N,) number of successes.
        totals: (N,) number of trials; a proportion of 0 trials has the ends NaN.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    right, n = np.asarray(hits, np.float64), np.asarray(totals, np.float64)
    with np.errstate(invalid="ignore"):
        share = np.where(n > 0, right, np.nan) / np.maximum(n, 1)
    n = np.maximum(n, 1)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)
