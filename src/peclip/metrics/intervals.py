"""Confidence intervals of UAR and WAR by the bootstrap."""

from __future__ import annotations

import numpy as np

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.metrics.confusion import ConfusionMatrix

Interval = tuple[float, float]
LEVEL = 0.95
"""Confidence level of the intervals."""
_MAX_DRAWN = 50_000_000  # numbers of 8 bytes, three times


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
    if resamples * len(confusion.labels) > _MAX_DRAWN:
        raise ConfigError(
            f"bootstrap is {resamples:,} for {len(confusion.labels)} classes; use at most "
            f"{_MAX_DRAWN // len(confusion.labels):,}."
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
