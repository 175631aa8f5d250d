"""The expected calibration error (Guo et al., 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

NUM_BINS = 15
"""Number of bins of the calibration error, as in Guo et al. (2017)."""


def calibration_error(
    confidences: ArrayLike, correct: ArrayLike, *, num_bins: int = NUM_BINS
) -> float:
    """Returns the expected calibration error, 0 to 1 (Guo et al. 2017, equation 3).

    The bins have equal width and hold their upper edge; the lowest one holds 0 as well.

    Args:
        confidences: (N,) probability of each predicted label, 0 to 1.
        correct: (N,) whether it was right.
        num_bins: number of bins.
    """
    values, right = np.asarray(confidences, np.float64), np.asarray(correct, np.float64)
    inner = np.linspace(0, 1, num_bins + 1)[1:-1]
    gaps = np.bincount(np.digitize(values, inner, right=True), weights=right - values)
    return float(np.abs(gaps).sum() / len(values))
