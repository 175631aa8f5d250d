"""Draws of two models on the same units: bootstrap intervals and p-values of the differences between them.

Both models are scored on the same draw of videos, so that what makes a draw easy or hard for both cancels
(Efron and Tibshirani 1993, chapter 13; Koehn 2004). Videos of one person resemble each other: where subjects
are given, whole subjects are drawn with all their videos (cluster bootstrap; Davison and Hinkley 1997, 3.8).
The p-value is that of a randomisation test: if the models did not differ, their predictions for a video (or for all
videos of a subject) could be exchanged (Noreen 1989). Unlike the bootstrap, it is valid for any number of videos; for
WAR and recall it is McNemar's exact test, up to the number of draws.

Units are videos or subjects. Their counts are int64 (units, C, 3): for each class the videos, and the hits of both models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError
from peclip.metrics.intervals import LEVEL, MAX_DRAWN, Interval


def intervals(units: NDArray[np.int64], resamples: int, seed: int) -> list[Interval]:
    """Returns the 95 % percentile intervals of the differences in UAR, WAR and each recall.

    Units with equal counts are interchangeable, so that how often each kind is drawn is multinomial: the same
    distribution as drawing units one by one.
    """
    kinds, number = _kinds(units, resamples)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(units), number / len(units), size=resamples)
    scores = scores_of((drawn @ kinds.reshape(len(kinds), -1)).reshape(resamples, -1, 3))
    change = scores[:, 1] - scores[:, 0]  # (R, 2 + C)
    ends = []
    for column in change.T:
        occurs = column[~np.isnan(column)]  # draws without a video of the class have no recall
        if len(occurs):
            low, high = np.quantile(occurs, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
        else:  # nothing is known from so few draws
            low, high = -1.0, 1.0
        ends.append((low, high))
    return ends


def p_values(units: NDArray[np.int64], resamples: int, seed: int) -> list[float]:
    """Returns the p-values of the differences in UAR, WAR and each recall.

    A draw exchanges both models in each unit with a probability of one half, so that the difference of a kind of
    units is multiplied by those that are not exchanged minus those that are.
    """
    kinds, number = _kinds(units, resamples)
    kept = np.random.default_rng(seed).binomial(number, 0.5, size=(resamples, len(number)))
    hits = (kinds[..., 2] - kinds[..., 1]).astype(np.float64)  # (K, C), second - first
    signs = np.concatenate([number[None], 2 * kept - number])  # the first row is what was observed
    change, videos = signs @ hits, units[..., 0].sum(0)  # (1 + R, C)
    uar, war = (change / videos).mean(1), change.sum(1) / videos.sum()
    size = np.abs(np.column_stack([uar, war, change]))
    # Equal differences may differ in their last digits.
    return [float(share) for share in (size >= size[0] - 1e-12).mean(0)]


def _kinds(units: NDArray[np.int64], resamples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the different units, (K, C, 3), and the number of each."""
    kinds, number = np.unique(units, axis=0, return_counts=True)
    if resamples * (len(kinds) + kinds[0].size) > MAX_DRAWN:
        raise ConfigError(
            f"bootstrap is {resamples:,} for {len(kinds):,} kinds of units; use at most "
            f"{MAX_DRAWN // (len(kinds) + kinds[0].size):,}."
        )
    return kinds, number


def scores_of(totals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns UAR, WAR and the recalls (NaN without videos) of both models: (R, C, 3) gives (R, 2, 2 + C)."""
    videos, hits = totals[..., :1], totals[..., 1:]
    with np.errstate(invalid="ignore"):
        recall = hits / videos  # (R, C, 2)
    uar = np.nansum(recall, axis=1) / (videos > 0).sum(axis=1)
    war = hits.sum(axis=1) / videos.sum(axis=1)
    return np.concatenate([uar[:, None], war[:, None], recall], axis=1).swapaxes(1, 2)
