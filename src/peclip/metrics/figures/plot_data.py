"""What figures are drawn of: predictions, training history and features, and the facts for their titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peclip.config import RESAMPLES
from peclip.labels import LabelSet
from peclip.metrics.comparison import Comparison
from peclip.metrics.prediction_file import read_predictions
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import Report
from peclip.metrics.scoring import score
from peclip.metrics.video_features import VideoFeatures

History = Sequence[Mapping[str, Any]]
"""One entry per epoch, as in `metrics.jsonl`."""


@dataclass(frozen=True, slots=True, eq=False)
class PlotData:
    """The numbers behind the figures of one run or prediction file, or of a comparison of two."""

    videos: str
    """Data set, fold and split, such as `dfew fold 1 test`, or the name of the file."""
    model: str
    """The model, for titles."""
    table: PredictionTable | None = None
    report: Report | None = None
    """The scores of `table`, with their intervals."""
    histories: Mapping[str, History] = field(default_factory=dict)
    """Of each training, by its fold; the name of a training without folds is empty."""
    selected: Mapping[str, int] = field(default_factory=dict)
    """The selected epoch of each training."""
    features: VideoFeatures | None = None
    comparison: Comparison | None = None
    warning: str | None = None
    """Why the scores may be too high."""
    seed: int = 0
    """Random seed of t-SNE."""


def of_predictions(
    path: Path,
    *,
    targets: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    title: str | None = None,
) -> PlotData:
    """Reads and scores a prediction file.

    Args:
        path: a file that `peclip.metrics.prediction_file.read_predictions` reads.
        targets: the true label of every source, if the file has no targets.
        labels: the labels of the model, if the file has no probabilities.
        resamples: number of bootstrap draws for the intervals; 0 omits them.
        seed: random seed of the bootstrap and of t-SNE.
        title: the data set and the model, which the file does not state.

    Raises:
        ConfigError: the file cannot be read or scored.
    """
    table = read_predictions(path, targets)
    names = None if labels is None else LabelSet.of(labels).names
    report = score(table, names, resamples=resamples, seed=seed)
    videos = title or f"{path.name} (data set, fold and split are not recorded)"
    model = "" if title else "model not recorded"
    return PlotData(videos, model, table, report, seed=seed)
