"""The expected calibration error and its bins (Guo et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_BINS = 15
"""Number of bins of the calibration error, as in Guo et al. (2017)."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationBins:
    """Predictions in bins of equal width by their confidence, the numbers of a reliability diagram."""

    counts: NDArray[np.int64]
    """Predictions per bin, (B,); bin b has the confidences above b / B, up to (b + 1) / B included."""
    hits: NDArray[np.int64]
    """Correct predictions per bin, (B,)."""
    confidence_sums: NDArray[np.float64]
    """Sum of the confidences per bin, (B,)."""

    @property
    def edges(self) -> NDArray[np.float64]:
        """The edges of the bins, (B + 1,), from 0 to 1."""
        return np.linspace(0, 1, len(self.counts) + 1)

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Fraction of correct predictions per bin, (B,); NaN in an empty bin."""
        return self._per_prediction(self.hits)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Mean confidence per bin, (B,); NaN in an empty bin."""
        return self._per_prediction(self.confidence_sums)

    @property
    def error(self) -> float:
        """The expected calibration error, 0 to 1 (equation 3): mean gap of the bins, by their counts."""
        return float(np.abs(self.hits - self.confidence_sums).sum() / self.counts.sum())

    def _per_prediction(self, sums: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(self.counts > 0, sums / np.maximum(self.counts, 1), np.nan)


def calibration_bins(
    confidences: ArrayLike, correct: ArrayLike, *, num_bins: int = NUM_BINS
) -> CalibrationBins:
    """Sorts predictions into bins of equal width, which hold their upper edge; the lowest one holds 0 as well.

    Args:
        confidences: (N,) probability of each predicted label, 0 to 1.
        correct: (N,) whether it was right.
        num_bins: number of bins.
    """
    values, right = np.asarray(confidences, np.float64), np.asarray(correct, np.int64)
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    bins = np.digitize(values, inner, right=True)
    return CalibrationBins(
        np.bincount(bins, minlength=num_bins),
        np.bincount(bins, weights=right, minlength=num_bins).astype(np.int64),
        np.bincount(bins, weights=values, minlength=num_bins).astype(np.float64),
    )


def calibration_error(
    confidences: ArrayLike, correct: ArrayLike, *, num_bins: int = NUM_BINS
) -> float:
    """Returns the expected calibration error, 0 to 1; see `calibration_bins` for the arguments."""
    return calibration_bins(confidences, correct, num_bins=num_bins).error
