"""The confusion matrix: the only state of an evaluation, so that folds and ranks add up exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peclip.errors import ConfigError
from peclip.labels import MAX_LABELS, canonical


class ConfusionMatrix:
    """Counts of videos: a row per true label, a column per predicted label.

    Args:
        labels: the class names, in any usual spelling; a `LabelSet` or a sequence.
        counts: (C, C) whole numbers from 0, rows are targets; all 0 by default. They are copied.

    Raises:
        ConfigError: no name, a name given twice, or counts that do not fit.
    """

    def __init__(self, labels: Iterable[str], counts: ArrayLike | None = None) -> None:
        self.labels = tuple(canonical(name) for name in labels)
        self._index = {name: number for number, name in enumerate(self.labels)}
        size = len(self.labels)
        if size > MAX_LABELS:
            raise ConfigError(
                f"A confusion matrix has at most {MAX_LABELS:,} classes; got {size:,}."
            )
        if not size or len(self._index) != size:
            raise ConfigError(
                f"The class names of a confusion matrix must be unique; got {list(self.labels)}."
            )
        given = np.zeros((size, size), np.int64) if counts is None else np.asarray(counts)
        self.counts: NDArray[np.int64] = np.array(given, np.int64)
        if given.shape != (size, size) or (self.counts < 0).any() or (self.counts != given).any():
            raise ConfigError(
                f"The counts for {size} classes must be a {size} x {size} array of non-negative "
                f"integers; got an array of shape {given.shape}."
            )

    @classmethod
    def of(
        cls, labels: Iterable[str], targets: Sequence[str], predictions: Sequence[str]
    ) -> ConfusionMatrix:
        """Counts pairs of names.

        Raises:
            ConfigError: the two have different lengths, or a name is not among the labels.
        """
        if len(targets) != len(predictions):
            raise ConfigError(
                f"Got {len(targets)} targets but {len(predictions)} predictions; the numbers must "
                "be equal."
            )
        confusion = cls(labels)
        for target, label in zip(targets, predictions, strict=True):
            confusion.add(target, label)
        return confusion

    def add(self, target: str, label: str) -> None:
        """Counts one video by the names of its true and of its predicted label.

        Raises:
            ConfigError: a name is not among the labels.
        """
        self.counts[self._position(target), self._position(label)] += 1

    def _position(self, name: str) -> int:
        try:
            return self._index[canonical(name)]
        except KeyError:
            raise ConfigError(
                f"{name!r} is not a class of this confusion matrix; its classes are "
                f"{', '.join(self.labels)}."
            ) from None

    def __add__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        if self.labels != other.labels:
            raise ConfigError(
                f"Confusion matrices with the labels {', '.join(self.labels)} and "
                f"{', '.join(other.labels)} cannot be added: the labels and their order must be "
                "the same."
            )
        return ConfusionMatrix(self.labels, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConfusionMatrix):
            return NotImplemented
        return self.labels == other.labels and bool((self.counts == other.counts).all())

    def __repr__(self) -> str:
        return f"ConfusionMatrix({self.labels}, {self.counts.tolist()})"

    @property
    def num_videos(self) -> int:
        return int(self.counts.sum())

    @property
    def support(self) -> NDArray[np.int64]:
        """Videos per class, (C,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Predictions per class, (C,)."""
        return np.asarray(self.counts.sum(axis=0))

    @property
    def hits(self) -> NDArray[np.int64]:
        """Correct predictions per class, (C,)."""
        return self.counts.diagonal()
