"""Episodes: uninterrupted periods in which a person shows the same expression."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from peclip.results.rows import Row, rounded
from peclip.results.slots import Interval, time_slots, touch

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Episode:
    """Consecutive windows of a person with the same label and adjoining slots."""

    source: str
    track_id: int
    number: int
    """Number from 0, in chronological order, for each person."""
    label: str
    onset_s: float
    """Start of the first slot."""
    apex_s: float
    """Midpoint of the window with the highest probability of the label; the first one in case of a tie."""
    offset_s: float
    """End of the last slot."""
    apex_prob: float
    """The highest probability of the label."""
    mean_prob: float
    """The mean probability of the label, weighted by the lengths of the slots."""
    num_windows: int

    @property
    def duration_s(self) -> float:
        """Time from onset to offset in seconds."""
        return self.offset_s - self.onset_s

    def to_dict(self) -> dict[str, Any]:
        """Returns the flat form used by all file formats."""
        return {
            "source": self.source,
            "track_id": self.track_id,
            "episode": self.number,
            "label": self.label,
            "onset_s": rounded(self.onset_s, _DIGITS),
            "apex_s": rounded(self.apex_s, _DIGITS),
            "offset_s": rounded(self.offset_s, _DIGITS),
            "duration_s": rounded(self.duration_s, _DIGITS),
            "apex_prob": rounded(self.apex_prob, _DIGITS),
            "mean_prob": rounded(self.mean_prob, _DIGITS),
            "num_windows": self.num_windows,
        }


@dataclass(frozen=True, slots=True)
class Person:
    """One person's windows in a source, with their slots."""

    source: str
    track_id: int
    seen: tuple[tuple[Row, Interval], ...]
    """The windows in which the person is seen, in chronological order."""

    @property
    def scored(self) -> tuple[tuple[Row, Interval], ...]:
        """The windows whose probabilities count; those of low quality count only if there are no others."""
        with_scores = [(row, slot) for row, slot in self.seen if row.scores]
        good = [(row, slot) for row, slot in with_scores if row.status != "low_quality"]
        return tuple(good or with_scores)

    def episodes(self) -> tuple[Episode, ...]:
        """Returns the episodes in chronological order; windows without a label belong to none."""
        return tuple(
            _episode(self, number, windows) for number, windows in enumerate(_runs(self.scored))
        )

    def transitions(self) -> Counter[tuple[str, str]]:
        """Returns how often an episode with one label directly follows one with another label."""
        found = Counter[tuple[str, str]]()
        episodes = self.episodes()
        for before, after in itertools.pairwise(episodes):
            if touch((before.onset_s, before.offset_s), (after.onset_s, after.offset_s)):
                found[before.label, after.label] += 1
        return found


@dataclass(frozen=True, slots=True)
class Timeline:
    """A source's time slots, and its people in order of their ids."""

    source: str
    slots: Mapping[Interval, Interval]
    """The slot of each window."""
    people: tuple[Person, ...]

    @property
    def duration_s(self) -> float:
        """The time covered by windows."""
        return math.fsum(end - start for start, end in self.slots.values())

    @property
    def end_s(self) -> float:
        """The end of the last window."""
        return max((end for _, end in self.slots.values()), default=0.0)


def episode_columns() -> list[str]:
    """Returns the keys of `Episode.to_dict`, in order."""
    return list(Episode("", 0, 0, "", 0, 0, 0, 0, 0, 0).to_dict())


def timeline_of(source: str, rows: Iterable[Row]) -> Timeline:
    """Returns the people in a source, with the time slot of each of their windows.

    Times and probabilities are rounded as in row files, so that reading the rows from a file gives the same result.

    Args:
        source: its name.
        rows: all rows of the source, in any order.
    """
    rows = sorted(map(_as_written, rows), key=lambda row: (row.start_s, row.end_s))
    slots = slots_of(rows)
    by_track = dict[int, list[tuple[Row, Interval]]]()
    for row in rows:
        if row.status not in ("no_face", "decode_error"):
            by_track.setdefault(row.track_id, []).append((row, slot_of(row, slots)))
    people = [Person(source, track, tuple(seen)) for track, seen in sorted(by_track.items())]
    return Timeline(source, slots, tuple(people))


def slots_of(rows: Iterable[Row]) -> Mapping[Interval, Interval]:
    """Returns the slot of each window of a source, whose times are rounded as in row files.

    Args:
        rows: all rows of the source, in any order.
    """
    return time_slots(map(_window, rows))


def slot_of(row: Row, slots: Mapping[Interval, Interval]) -> Interval:
    """Returns the slot of a row's window; it is empty if the window has no duration."""
    window = _window(row)
    return slots.get(window, (window[0], window[0]))


def _window(row: Row) -> Interval:
    return round(row.start_s, _DIGITS), round(row.end_s, _DIGITS)


def seconds(windows: Iterable[tuple[Row, Interval]]) -> float:
    """Returns the total slot length of some windows."""
    return math.fsum(end - start for _, (start, end) in windows)


def _as_written(row: Row) -> Row:
    return replace(
        row,
        start_s=round(row.start_s, _DIGITS),
        end_s=round(row.end_s, _DIGITS),
        scores={name: round(float(score), _DIGITS) for name, score in row.scores.items()},
    )


def _runs(windows: Sequence[tuple[Row, Interval]]) -> Iterator[list[tuple[Row, Interval]]]:
    run = list[tuple[Row, Interval]]()
    for row, slot in windows:
        if run and not (run[-1][0].label == row.label and touch(run[-1][1], slot)):
            yield run
            run = []
        if row.label is not None:
            run.append((row, slot))
    if run:
        yield run


def _episode(person: Person, number: int, windows: Sequence[tuple[Row, Interval]]) -> Episode:
    label = windows[0][0].label
    assert label is not None
    apex = max((row for row, _ in windows), key=lambda row: row.scores[label])
    length = seconds(windows)
    total = math.fsum(row.scores[label] * (end - start) for row, (start, end) in windows)
    return Episode(
        source=person.source,
        track_id=person.track_id,
        number=number,
        label=label,
        onset_s=windows[0][1][0],
        apex_s=(apex.start_s + apex.end_s) / 2,
        offset_s=windows[-1][1][1],
        apex_prob=apex.scores[label],
        mean_prob=total / length if length else apex.scores[label],
        num_windows=len(windows),
    )
