"""Two models on the same videos: paired bootstrap of the differences in UAR, WAR and recall.

The intervals and p-values are those of `paired_draws`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peclip.config import RESAMPLES
from peclip.errors import ConfigError
from peclip.labels import EMOTIONS, canonical, in_usual_order
from peclip.metrics.intervals import MAX_DRAWN, Interval
from peclip.metrics.paired_draws import intervals, p_values, scores_of
from peclip.metrics.prediction_table import PredictionTable
from peclip.metrics.report import percent

_FEW_UNITS = 30


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of both models, 0 to 1."""

    name: str
    """`uar`, `war` or a label, for its recall."""
    num_videos: int
    first: float
    second: float
    interval: Interval | None = None
    """95 % percentile interval of second - first; `None` if not requested."""
    p_value: float | None = None
    """Two-sided p of the randomisation test, at least 1 / (1 + draws); `None` if not requested."""

    @property
    def value(self) -> float:
        """Second - first, -1 to 1."""
        return self.second - self.first

    @property
    def interval_text(self) -> str:
        """The interval for tables, in percentage points; empty if not requested."""
        if self.interval is None:
            return ""
        low, high = self.interval
        return f"{100 * low:+.2f} to {100 * high:+.2f}"

    @property
    def p_text(self) -> str:
        """The p-value for tables, such as `0.031` or `<0.001`; empty if not requested."""
        if self.p_value is None:
            return ""
        return "<0.001" if self.p_value < 0.001 else f"{self.p_value:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form, in per cent and percentage points."""
        ends = None if self.interval is None else [percent(end) for end in self.interval]
        return {
            "num_videos": self.num_videos,
            "first": percent(self.first),
            "second": percent(self.second),
            "difference": percent(self.value),
            "difference_ci": ends,
            "p_value": None if self.p_value is None else round(self.p_value, 6),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the videos that both have predicted."""

    num_videos: int
    num_subjects: int | None
    """The people that were drawn; `None` if videos were drawn."""
    resamples: int
    uar: Difference
    war: Difference
    recall: tuple[Difference, ...]
    """Of each class that occurs in the targets."""
    both_right: int
    only_first: int
    """Videos that only the first model predicts correctly."""
    only_second: int
    both_wrong: int
    notes: tuple[str, ...] = ()
    """What was excluded, and how far the intervals can be trusted; one sentence each."""

    @property
    def unit(self) -> str:
        """What was drawn: `videos` or `subjects`."""
        return "videos" if self.num_subjects is None else "subjects"

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form: percentages, differences second - first in percentage points."""
        return {
            "num_videos": self.num_videos,
            "num_subjects": self.num_subjects,
            "interval": f"95 %, percentiles of {self.resamples} paired draws of {self.unit}"
            if self.resamples
            else None,
            "uar": self.uar.to_dict(),
            "war": self.war.to_dict(),
            "recall": {one.name: one.to_dict() for one in self.recall},
            "both_right": self.both_right,
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "both_wrong": self.both_wrong,
            "notes": list(self.notes),
        }


def compare(
    first: PredictionTable,
    second: PredictionTable,
    *,
    subjects: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares two models on the videos with the same source in both tables.

    A video whose target is not a label of both models is excluded and counted, as in `peclip.metrics.scoring`.

    Args:
        first: predictions of one model.
        second: predictions of the other model.
        subjects: the person in each video by its source; the intervals are then those of drawing people.
        resamples: number of draws; 0 gives no intervals.
        seed: random seed for the draws.

    Raises:
        ConfigError: no video is in both tables, the tables disagree about a target, a video has no subject,
            or `resamples` is negative or too large.
    """
    if resamples < 0:
        raise ConfigError(f"bootstrap is {resamples}; it must be 0 or more.")
    pairs, notes = _paired(first, second)
    found = {target for _, target, _, _ in pairs}
    names = in_usual_order(found, map(canonical, first.classes or EMOTIONS))
    groups = None if subjects is None else _subjects_of([video for video, *_ in pairs], subjects)
    classes = np.array([names.index(target) for _, target, _, _ in pairs])
    right = np.array([(one == target, other == target) for _, target, one, other in pairs])
    units = _units(classes, right, len(names), groups)
    uar, war, *recall = _differences(units, names, resamples, seed)
    num_subjects = None if groups is None else len(set(groups))
    notes += _caution(len(units), "videos" if groups is None else "subjects")
    a, b = right[:, 0], right[:, 1]
    return Comparison(
        len(pairs),
        num_subjects,
        resamples,
        uar,
        war,
        tuple(recall),
        both_right=int((a & b).sum()),
        only_first=int((a & ~b).sum()),
        only_second=int((~a & b).sum()),
        both_wrong=int((~a & ~b).sum()),
        notes=tuple(notes),
    )


def _differences(
    units: NDArray[np.int64], names: Sequence[str], resamples: int, seed: int
) -> list[Difference]:
    """Returns UAR, WAR and the recall of each class, from the counts of units (units, C, 3)."""
    totals = units.sum(axis=0)
    (first, second) = scores_of(totals[None])[0].tolist()
    n = int(totals[:, 0].sum())
    columns: list[Sequence[Any]] = [
        ["uar", "war", *names],
        [n, n, *totals[:, 0].tolist()],
        first,
        second,
    ]
    if resamples:
        columns += [intervals(units, resamples, seed), p_values(units, resamples, seed)]
    return [Difference(*one) for one in zip(*columns, strict=True)]


def _caution(number: int, unit: str) -> list[str]:
    if number >= _FEW_UNITS:
        return []
    return [
        f"n = {number} {unit}: with fewer than {_FEW_UNITS}, bootstrap intervals are too narrow"
    ]


_Pair = tuple[str, str, str, str]
"""A video, its target, and the label predicted by each model."""


def _paired(first: PredictionTable, second: PredictionTable) -> tuple[list[_Pair], list[str]]:
    """Returns the videos of both tables, and what was excluded."""
    other = {
        video: (canonical(target), canonical(label))
        for video, target, label in zip(second.ids, second.targets, second.labels, strict=True)
    }
    shared = [number for number, video in enumerate(first.ids) if video in other]
    if not shared:
        raise ConfigError(
            f"The two sets of predictions share no video, such as {first.ids[0]!r} and "
            f"{second.ids[0]!r}. Compare predictions for the same videos, whose sources are equal: "
            "evaluate both models on one data set with peclip evaluate --save-predictions."
        )
    notes = []
    if len(shared) < max(len(first), len(second)):
        notes.append(
            f"{len(shared):,} videos are in both sets of predictions, of {len(first):,} in the first and "
            f"{len(second):,} in the second; the others are excluded"
        )
    known = [set(map(canonical, table.classes)) for table in (first, second) if table.classes]
    pairs, dropped = list[_Pair](), 0
    for number in shared:
        video, target = first.ids[number], canonical(first.targets[number])
        if other[video][0] != target:
            raise ConfigError(
                f"The target of {video!r} is {target!r} in the first set of predictions and "
                f"{other[video][0]!r} in the second. Compare predictions with the same targets."
            )
        if all(target in labels for labels in known):
            pairs.append((video, target, canonical(first.labels[number]), other[video][1]))
        else:
            dropped += 1
    if not pairs:
        raise ConfigError(
            "No shared video has a target that is a label of both models, so the models cannot be "
            "compared. Compare models with the same labels."
        )
    if dropped:
        notes.append(f"{dropped:,} videos are excluded, whose target is not a label of both models")
    return pairs, notes


def _subjects_of(videos: Sequence[str], subjects: Mapping[str, str]) -> list[str]:
    missing = [video for video in videos if video not in subjects]
    if missing:
        raise ConfigError(
            f"{len(missing):,} of {len(videos):,} videos have no subject, such as {missing[0]!r}. Add "
            "them to the subjects file, or compare without it."
        )
    return [subjects[video] for video in videos]


def _units(
    classes: NDArray[np.int64],
    right: NDArray[np.bool_],
    num_classes: int,
    groups: Sequence[str] | None,
) -> NDArray[np.int64]:
    """Returns the counts of each unit that is drawn, (units, C, 3): videos, and hits of each model."""
    if groups is None:
        numbers, count = np.arange(len(classes)), len(classes)
    else:
        order = {name: number for number, name in enumerate(dict.fromkeys(groups))}
        numbers, count = np.array([order[name] for name in groups]), len(order)
    if count * num_classes > MAX_DRAWN:
        raise ConfigError(
            f"{count:,} units of {num_classes} classes are too many to compare; the product may be at "
            f"most {MAX_DRAWN:,}."
        )
    units = np.zeros((count, num_classes, 3), np.int64)
    values = np.column_stack([np.ones(len(classes), np.int64), right.astype(np.int64)])
    np.add.at(units, (numbers, classes), values)
    return units
