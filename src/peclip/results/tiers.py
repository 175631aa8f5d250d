"""Tiers for annotation formats: one tier of episodes per person."""

from __future__ import annotations

from dataclasses import dataclass, replace

from peclip.results.episodes import Episode, Person, timeline_of
from peclip.results.interface import SourceResult

_SHORTEST_S = 0.001
"""Annotation formats use milliseconds and do not support annotations of zero duration."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One person's episodes, in chronological order and without overlap."""

    name: str
    """`person 0`, or `whole frame`."""
    episodes: tuple[Episode, ...]


@dataclass(frozen=True, slots=True)
class Tiers:
    """The tiers of one source."""

    tiers: tuple[Tier, ...]
    end_s: float
    """The end of the last window."""

    def by_time(self) -> list[tuple[Tier, Episode]]:
        """Returns the episodes of all tiers, ordered by onset."""
        found = [(tier, episode) for tier in self.tiers for episode in tier.episodes]
        return sorted(found, key=lambda pair: pair[1].onset_s)


def tiers_of(prediction: SourceResult) -> Tiers:
    """Returns a source's tiers; the episodes are those in its summary."""
    timeline = timeline_of(prediction.source, prediction.rows)
    return Tiers(tuple(map(_tier, timeline.people)), timeline.end_s)


def milliseconds(seconds: float) -> int:
    """Returns a time rounded to milliseconds."""
    return round(seconds * 1000)


def clock(seconds: float, mark: str) -> str:
    """Returns a time as `HH:MM:SS`, followed by the mark and milliseconds."""
    rest, thousandths = divmod(milliseconds(seconds), 1000)
    minutes, second = divmod(rest, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{mark}{thousandths:03}"


def _tier(person: Person) -> Tier:
    name = f"person {person.track_id}" if person.track_id >= 0 else "whole frame"
    episodes = list[Episode]()
    for episode in person.episodes():
        if episodes and episode.onset_s < episodes[-1].offset_s + _SHORTEST_S:
            episode = replace(episode, onset_s=episodes[-1].offset_s)  # a difference of rounding
        if episode.duration_s >= _SHORTEST_S:
            episodes.append(episode)
    return Tier(name, tuple(episodes))
