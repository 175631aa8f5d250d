"""t-SNE of features (van der Maaten and Hinton 2008): points in the plane whose neighbours are preserved.

Distances between clusters, and their sizes, have no meaning. The release of PE-CLIP embeds the logits of the
classes, which already contain the decision; here, the features are embedded that are compared with the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError, MissingExtraError

MAX_EMBEDDED = 2000
"""Number of videos that are embedded at most, drawn at random: more points hide each other and take minutes."""
_PERPLEXITY = 30.0
_MIN_VIDEOS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Points in the plane, and the settings that decide them."""

    points: NDArray[np.float64]
    """(N, 2)"""
    perplexity: float
    seed: int


def check_sklearn() -> None:
    """Checks that t-SNE can be computed, before features are.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingExtraError("t-SNE", "tsne")


def chosen(number: int, limit: int = MAX_EMBEDDED, *, seed: int = 0) -> NDArray[np.int64]:
    """Returns the numbers of the videos that are embedded, in ascending order: all, or `limit` drawn at random."""
    if number <= limit:
        return np.arange(number)
    return np.sort(np.random.default_rng(seed).permutation(number)[:limit])


def embed(features: NDArray[np.float32], *, seed: int = 0) -> Embedding:
    """Embeds features in the plane by t-SNE, initialised with their principal components.

    The perplexity is 30, or a third of the other videos if there are fewer than 91. The same features, seed and
    version of scikit-learn give the same points.

    Args:
        features: (N, D), at least 3 videos.
        seed: random seed.

    Raises:
        ConfigError: there are too few videos or dimensions, or all videos have the same features.
        MissingExtraError: scikit-learn is not installed.
    """
    check_sklearn()
    number, size = features.shape
    if number < _MIN_VIDEOS or size < 2:
        raise ConfigError(
            f"t-SNE needs at least {_MIN_VIDEOS} videos with features of at least 2 numbers; got "
            f"{number} videos with features of {size}."
        )
    if np.ptp(features, axis=0).max() == 0:
        raise ConfigError(
            f"All {number} videos have the same features, so t-SNE cannot arrange them."
        )
    from sklearn.manifold import TSNE

    perplexity = min(_PERPLEXITY, (number - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return Embedding(np.asarray(tsne.fit_transform(features), np.float64), perplexity, seed)
