"""Predictions and true labels for the videos in a file or a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from peclip.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class PredictionTable:
    """One row per video; a file of them is read by `peclip.metrics.prediction_file.read_predictions`.

    Raises:
        ConfigError: the columns have different lengths, or the probabilities another shape than (N, C).
    """

    ids: tuple[str, ...]
    """Names of the N videos."""
    targets: tuple[str, ...]
    """The true label of every video; it may be one that the model does not have."""
    labels: tuple[str, ...]
    """The predicted label of every video."""
    probabilities: NDArray[np.float64] | None = None
    """float64 (N, C), 0 to 1; `None` if only the labels are known."""
    classes: tuple[str, ...] = ()
    """The C labels of the model, in the order of the probabilities; empty without probabilities."""
    notes: tuple[str, ...] = ()
    """Notes on how the rows were made, one sentence each."""

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.targets) == len(self.labels):
            raise ConfigError(
                "A prediction table must have one target and one label per video; got "
                f"{len(self.ids)} ids, {len(self.targets)} targets and {len(self.labels)} labels."
            )
        expected = (len(self.ids), len(self.classes))
        if self.probabilities is None and not self.classes:
            return
        if self.probabilities is None or self.probabilities.shape != expected:
            given = "none" if self.probabilities is None else str(self.probabilities.shape)
            raise ConfigError(
                f"The probabilities for {expected[0]} videos and {expected[1]} classes must be an "
                f"array of shape {expected}; got {given}."
            )

    @classmethod
    def most_likely(
        cls,
        ids: Sequence[str],
        targets: Sequence[str],
        classes: Sequence[str],
        probabilities: NDArray[np.float64],
    ) -> PredictionTable:
        """Creates a table in which the predicted label is the most probable class; ties go to the first one.

        Args:
            ids: names of the N videos.
            targets: their true labels.
            classes: the C labels of the model.
            probabilities: float64 (N, C).
        """
        labels = tuple(classes[i] for i in probabilities.argmax(-1).tolist())
        return cls(tuple(ids), tuple(targets), labels, probabilities, tuple(classes))

    @property
    def confidences(self) -> NDArray[np.float64] | None:
        """The probability of every predicted label, (N,); `None` without probabilities."""
        if self.probabilities is None:
            return None
        columns = [self.classes.index(label) for label in self.labels]
        return np.asarray(self.probabilities[np.arange(len(columns)), columns])

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> Iterator[dict[str, str | float]]:
        """Yields one row per video, as files have them: source, target, label and `prob_<label>`."""
        bare: list[list[float]] = [[]] * len(self)
        scores = bare if self.probabilities is None else self.probabilities.tolist()
        names = [f"prob_{name}" for name in self.classes]
        for source, target, label, row in zip(
            self.ids, self.targets, self.labels, scores, strict=True
        ):
            yield {
                "source": source,
                "target": target,
                "label": label,
                **dict(zip(names, row, strict=True)),
            }
