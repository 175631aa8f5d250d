"""Lanes of a timeline: what is drawn of each person, in at most a few hundred cells of time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from peclip.results.episodes import Person, timeline_of
from peclip.results.interface import SourceResult
from peclip.results.rows import Row
from peclip.results.slots import Interval, touch
from peclip.results.totals import Totals, totals_of

MAX_CELLS = 360
"""Cells of a lane: about one per millimetre and a half of a printed page. More windows are combined."""

_STEPS_S = (0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Lengths of combined cells, in seconds."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A part of the time in which a person is seen."""

    start_s: float
    end_s: float
    at_s: float
    """Where its probabilities are drawn."""
    label: str | None
    """Of most of its time; `None` if no window has a label."""
    is_poor: bool
    """Whether its windows are of low quality or uncertain, or show a face unlike the model's training."""
    scores: Mapping[str, float]
    """Mean probabilities, weighted by time; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One person."""

    track_id: int
    totals: Totals
    cells: tuple[Cell, ...]
    gaps: tuple[Interval, ...]
    """When windows do not show the person."""
    means: Mapping[str, float]
    """Mean probability by label, the highest first; weighted by time unless the source is a still image."""

    @property
    def name(self) -> str:
        """`person 0`, or `whole frame`."""
        return f"person {self.track_id}" if self.track_id >= 0 else "whole frame"

    @property
    def mean_text(self) -> str:
        """The label of the whole source, such as `mean: anger 0.23`."""
        label = next(iter(self.means), None)
        if label is None:
            return "no label"
        mean = "mean: " if self.totals.source_s else ""  # a still image has no mean over time
        return f"{mean}{label} {self.means[label]:.2f}"

    def leading(self, limit: int) -> tuple[str, ...]:
        """Returns the labels with the highest mean probability."""
        return tuple(self.means)[:limit]

    def runs(self) -> list[list[Cell]]:
        """Returns the cells with probabilities, divided where the person is not seen between them."""
        runs = list[list[Cell]]()
        before: Cell | None = None
        for cell in self.cells:
            if not cell.scores:
                before = None
                continue
            if before is None or not touch((0, before.end_s), (cell.start_s, 0)):
                runs.append([])
            runs[-1].append(cell)
            before = cell
        return runs


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of a source, in the order of the ids."""

    lanes: tuple[Lane, ...]
    start_s: float
    end_s: float
    cell_s: float | None
    """Length of combined cells; `None` if each window has its own."""
    num_left_out: int
    """People without a lane, who are seen for less time than the others."""
    end_reason: str
    """Why the source could not be read to its end, or empty."""

    @property
    def is_still(self) -> bool:
        """Whether the source has no duration, like an image."""
        return self.end_s <= self.start_s


@dataclass(slots=True)
class _Sums:
    """Sums over the parts of windows that are in a cell."""

    seen_s: float = 0.0
    poor_s: float = 0.0
    label_s: dict[str, float] = field(default_factory=dict)
    prob_s: dict[str, float] = field(default_factory=dict)
    scored_s: float = 0.0

    def add(self, row: Row, seconds: float, *, counts: bool) -> None:
        self.seen_s += seconds
        if _is_poor(row):
            self.poor_s += seconds
        if not counts or not row.scores:
            return
        self.scored_s += seconds
        for name, score in row.scores.items():
            self.prob_s[name] = self.prob_s.get(name, 0.0) + score * seconds
        if row.label is not None:
            self.label_s[row.label] = self.label_s.get(row.label, 0.0) + seconds

    def cell(self, interval: Interval, at: float) -> Cell:
        best = max(self.label_s, key=lambda name: self.label_s[name], default=None)
        scores = {name: value / self.scored_s for name, value in self.prob_s.items()}
        return Cell(*interval, at, best, 2 * self.poor_s > self.seen_s, scores)


def lanes_of(
    prediction: SourceResult, *, max_people: int = 12, max_cells: int = MAX_CELLS
) -> Lanes:
    """Returns the lanes of a source.

    If a source has more windows than `max_cells`, windows are combined into cells of equal length.

    Args:
        prediction: the source, with all of its rows.
        max_people: lanes at most; those of the people who are seen for the longest time.
        max_cells: of a lane.
    """
    timeline = timeline_of(prediction.source, prediction.rows)
    slots = list(timeline.slots.values())
    start, end = (slots[0][0], timeline.end_s) if slots else (0.0, 0.0)
    step = None if len(slots) <= max_cells else _step(end - start, max_cells)
    totals = {
        person.track_id: totals_of(
            person, prediction.source, timeline.duration_s, failed=False, labels=prediction.labels
        )
        for person in timeline.people
    }
    longest = sorted(
        timeline.people, key=lambda one: (-totals[one.track_id].seen_s, -len(one.seen))
    )
    shown = {person.track_id for person in longest[:max_people]}
    lanes = [
        _lane(person, prediction, totals[person.track_id], slots, step)
        for person in timeline.people
        if person.track_id in shown
    ]
    failed = any(row.status == "decode_error" for row in prediction.rows)
    reason = "the source could not be read to its end" if failed else ""
    return Lanes(tuple(lanes), start, end, step, len(longest) - len(shown), reason)


def _lane(
    person: Person,
    prediction: SourceResult,
    totals: Totals,
    slots: Sequence[Interval],
    step: float | None,
) -> Lane:
    cells = _own_cells(person) if step is None else _combined_cells(person, step)
    seen = {slot for _, slot in person.seen}
    missing = [slot for slot in slots if slot not in seen]
    if step is not None:
        filled = {cell.start_s for cell in cells}
        covered = {number * step for slot in missing for number, _ in _parts(slot, step)}
        missing = [(start, start + step) for start in sorted(covered - filled)]
    track = prediction.tracks.get(person.track_id)
    means = totals.mean_probs or ({} if track is None else dict(track.scores))
    ordered = dict(sorted(means.items(), key=lambda item: -item[1]))
    return Lane(person.track_id, totals, tuple(cells), tuple(_merged(missing)), ordered)


def _own_cells(person: Person) -> list[Cell]:
    return [
        Cell(
            *slot,
            (row.start_s + row.end_s) / 2,
            row.label,
            _is_poor(row),
            row.scores,
        )
        for row, slot in person.seen
    ]


def _is_poor(row: Row) -> bool:
    return row.status != "ok" or bool(row.unlike_training)


def _combined_cells(person: Person, step: float) -> list[Cell]:
    """Low-quality windows count only in cells without better ones."""
    sums, poor = dict[int, _Sums](), dict[int, _Sums]()
    for row, slot in person.seen:
        for number, seconds in _parts(slot, step):
            good = row.status == "ok"
            sums.setdefault(number, _Sums()).add(row, seconds, counts=good)
            poor.setdefault(number, _Sums()).add(row, seconds, counts=True)
    chosen = {n: found if found.scored_s else poor[n] for n, found in sums.items()}
    return [
        chosen[number].cell((number * step, (number + 1) * step), (number + 0.5) * step)
        for number in sorted(chosen)
    ]


def _parts(slot: Interval, step: float) -> Iterable[tuple[int, float]]:
    """Yields the numbers of the cells that a slot covers, with the seconds in each."""
    start, end = slot
    number = math.floor(start / step)
    while number * step < end:
        seconds = min(end, (number + 1) * step) - max(start, number * step)
        if seconds > 0:
            yield number, seconds
        number += 1


def _merged(intervals: Iterable[Interval]) -> list[Interval]:
    merged = list[Interval]()
    for interval in sorted(intervals):
        if merged and touch(merged[-1], interval):
            merged[-1] = merged[-1][0], interval[1]
        elif interval[1] > interval[0]:
            merged.append(interval)
    return merged


def _step(duration: float, limit: int) -> float:
    """Returns the shortest of the round lengths that divides a duration into at most `limit` cells."""
    place = bisect_left(_STEPS_S, duration / limit)
    if place < len(_STEPS_S):
        return _STEPS_S[place]
    return math.ceil(duration / limit / 3600) * 3600.0
