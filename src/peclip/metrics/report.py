"""The standard metrics of the field: WAR, UAR, and the statistics behind them.

WAR (weighted average recall) is the accuracy. UAR (unweighted average recall) is the mean recall over the classes
*present* in the targets: a class that never occurs has no recall, and a wrong prediction of it must
not count twice. (torchmetrics' macro accuracy counts such a class as 0.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.metrics.calibration_error import NUM_BINS
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.intervals import Interval, bootstrap

_FEW_VIDEOS = 30
"""From this number on, percentile intervals of a proportion are usable."""

UNITS = {
    **dict.fromkeys(("uar", "war", "macro_f1", "recall", "precision", "f1"), "per cent"),
    **dict.fromkeys(("uar_ci", "war_ci"), "per cent; 95 %, percentile bootstrap over videos"),
    "ece": f"0 to 1; {NUM_BINS} bins of equal width",
    "confusion": "videos; a row per target and a column per prediction, in the order of `labels`",
}


@dataclass(frozen=True, slots=True)
class Report:
    """Metrics of a confusion matrix. All are fractions, 0 to 1; `to_dict` returns percentages."""

    confusion: ConfusionMatrix
    num_videos: int
    uar: float
    """Mean recall over the classes that occur in the targets."""
    war: float
    """Fraction of videos that are predicted correctly, i.e. the accuracy."""
    uar_ci: Interval | None
    """95 % confidence interval, or `None` if not requested."""
    war_ci: Interval | None
    recall: Mapping[str, float | None]
    """By label; `None` for a class that never occurs."""
    precision: Mapping[str, float | None]
    """By label; `None` for a class that was never predicted."""
    f1: Mapping[str, float | None]
    """By label; `None` for a class that never occurs."""
    macro_f1: float
    """Mean F1 over the classes that occur in the targets."""
    support: Mapping[str, int]
    """Videos by label."""
    ece: float | None
    """Expected calibration error, or `None` without probabilities."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Number of videos by target, for targets that are not labels of the model. They are not counted above."""
    unmatched: Mapping[str, int] = field(default_factory=dict)
    """Number of predictions by label, for labels that no target has. They count as wrong."""

    @classmethod
    def of(
        cls,
        confusion: ConfusionMatrix,
        *,
        ece: float | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Report:
        """Computes all metrics from counts.

        Args:
            confusion: at least one video; it is copied.
            ece: from `calibration_error`, if there are probabilities.
            resamples: number of bootstrap samples; 0 omits the intervals.
            seed: bootstrap seed; the same seed gives the same intervals.

        Raises:
            ConfigError: no video was counted, or `resamples` is negative.
        """
        if not confusion.num_videos:
            raise ConfigError("No videos were counted; a report requires at least one.")
        names, support, hits = confusion.labels, confusion.support, confusion.hits
        recall = _by_label(names, hits, support)
        # A class that never occurs has no F1 either, however often it is predicted.
        f1 = _by_label(names, 2 * hits, np.where(support > 0, support + confusion.predicted, 0))
        uar_ci, war_ci = bootstrap(confusion, resamples=resamples, seed=seed)
        return cls(
            confusion=ConfusionMatrix(names, confusion.counts),
            num_videos=confusion.num_videos,
            uar=_mean_of(recall),
            war=float(hits.sum() / support.sum()),
            uar_ci=uar_ci,
            war_ci=war_ci,
            recall=recall,
            precision=_by_label(names, hits, confusion.predicted),
            f1=f1,
            macro_f1=_mean_of(f1),
            support=dict(zip(names, support.tolist(), strict=True)),
            ece=ece,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        return self.confusion.labels

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks that must be shown with the scores, one sentence each."""
        found = list[str]()
        if self.dropped:
            found.append(
                f"dropped {_counted('video', self.dropped)}, because the model does not have "
                "these labels"
            )
        if self.unmatched:
            found.append(
                f"{_counted('prediction', self.unmatched)} (no video has this target, so these "
                "count as wrong)"
            )
        absent = [name for name, videos in self.support.items() if not videos]
        if absent:
            found.append(
                f"no videos labelled {', '.join(absent)}: recall is undefined, and UAR is the mean over "
                f"the remaining classes ({len(self.labels) - len(absent)})"
            )
        return tuple(found)

    def in_words(self, name: Literal["uar", "war"]) -> str:
        """Returns a score with its interval: `61.20 % (95 % interval 55.10 to 66.90)`."""
        value, interval = (self.uar, self.uar_ci) if name == "uar" else (self.war, self.war_ci)
        text = f"{100 * value:.2f} %"
        if interval is None:
            return text
        low, high = (100 * end for end in interval)
        return f"{text} (95 % interval {low:.2f} to {high:.2f})"

    @property
    def caution(self) -> str | None:
        """A sentence to print with scores of very few videos, whose intervals are too narrow."""
        if self.num_videos >= _FEW_VIDEOS:
            return None
        return (
            f"n = {self.num_videos}: with fewer than {_FEW_VIDEOS} videos, the scores are unreliable, and bootstrap "
            "intervals are too narrow"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form; see `UNITS` for the units: percentages, except `ece` and the counts."""
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """Reads the JSON form, which `to_dict` then returns again; other keys are ignored.

        Raises:
            KeyError: a field is missing.
            ConfigError: the confusion matrix is invalid.
        """
        confusion = ConfusionMatrix(values["labels"], values["confusion"])
        report = cls.of(confusion, ece=values["ece"], resamples=0)
        return replace(
            report, uar_ci=_interval(values["uar_ci"]), war_ci=_interval(values["war_ci"])
        )


def interval_text(interval: Interval | None) -> str:
    """Returns an interval in per cent, without the sign; empty if there is none."""
    return "" if interval is None else f"{100 * interval[0]:.2f} - {100 * interval[1]:.2f}"


def percent(fraction: float | None) -> float | None:
    """Returns a fraction as a percentage, rounded to six places; `None` stays `None`."""
    return None if fraction is None else round(100 * fraction, 6)


def _interval(per_cent: Sequence[float] | None) -> Interval | None:
    return None if per_cent is None else (per_cent[0] / 100, per_cent[1] / 100)


def _counted(noun: str, numbers: Mapping[str, int]) -> str:
    (first, number), *others = numbers.items()
    head = f"{number} {noun}{'' if number == 1 else 's'} of {first}"
    return ", ".join([head, *(f"{count} of {name}" for name, count in others)])


def _by_label(
    names: Sequence[str], parts: NDArray[np.int64], wholes: NDArray[np.int64]
) -> dict[str, float | None]:
    pairs = zip(names, parts.tolist(), wholes.tolist(), strict=True)
    return {name: part / whole if whole else None for name, part, whole in pairs}


def _mean_of(values: Mapping[str, float | None]) -> float:
    defined = [value for value in values.values() if value is not None]
    return math.fsum(defined) / len(defined)
