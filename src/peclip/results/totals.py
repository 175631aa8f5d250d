"""Sums over people, from which every number in a summary is computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from peclip.results.episodes import Person, seconds
from peclip.results.rows import Status, rounded

SEEN = tuple(name for name in get_args(Status) if name not in ("no_face", "decode_error"))
"""Statuses of windows that show the person."""

_DIGITS = 6

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Totals:
    """Additive quantities: times in seconds, and counts. For a group, these are sums over its people."""

    people: int
    sources: frozenset[str]
    failed: frozenset[str]
    """The sources that could not be read to the end."""
    source_s: float
    """Length of the source; for a group, counted once per person."""
    status_s: Mapping[str, float]
    """Time for which the person is seen, by status."""
    scored_s: float
    """Time over which the probabilities count."""
    prob_s: Mapping[str, float]
    """Integral of the probability over the scored time, by label."""
    label_s: Mapping[str, float]
    """Scored time by predicted label."""
    episodes: Mapping[str, int]
    transitions: Mapping[tuple[str, str], int]

    @property
    def seen_s(self) -> float:
        """Time for which the person is seen."""
        return math.fsum(self.status_s.values())

    @property
    def mean_probs(self) -> dict[str, float]:
        """Mean probability by label, weighted by time; empty if no time was scored."""
        if not self.scored_s:
            return {}
        return {name: value / self.scored_s for name, value in self.prob_s.items()}

    @property
    def label(self) -> str | None:
        """The label with the highest mean probability; `None` if all windows are uncertain."""
        means = self.mean_probs
        known = any(self.label_s.values())
        return max(means, key=lambda name: means[name]) if means and known else None

    def to_dict(self) -> dict[str, Any]:
        """Returns a summary's columns after its keys; see docs/output.md for their formulas."""
        flat: dict[str, Any] = {
            "sources": len(self.sources),
            "people": self.people,
            "source_s": rounded(self.source_s, _DIGITS),
            "seen_s": rounded(self.seen_s, _DIGITS),
            "scored_s": rounded(self.scored_s, _DIGITS),
            "label": self.label,
            "transitions": sum(self.transitions.values()),
            "decode_errors": len(self.failed),
        }
        for status in SEEN:
            flat[f"quality_{status}"] = _share(self.status_s[status], self.source_s)
        flat["quality_no_face"] = _share(max(0.0, self.source_s - self.seen_s), self.source_s)
        for name, value in self.label_s.items():
            flat[f"share_{name}"] = _share(value, self.scored_s)
        for name, value in self.prob_s.items():
            flat[f"mean_prob_{name}"] = _share(value, self.scored_s)
        for name, count in self.episodes.items():
            flat[f"episodes_{name}"] = count
        for name, count in self.episodes.items():
            flat[f"mean_episode_s_{name}"] = _share(self.label_s[name], count)
        return flat


def totals_of(
    person: Person | None, source: str, length: float, *, failed: bool, labels: Sequence[str]
) -> Totals:
    """Returns one person's totals or, for `None`, those of a source in which nobody is seen.

    Args:
        person: the person.
        source: the name of the source.
        length: the source's length in seconds.
        failed: whether the source could not be read to the end.
        labels: of the model.
    """
    seen = person.seen if person else ()
    scored = person.scored if person else ()
    label_s, prob_s = dict[str, float](), dict[str, float]()
    for name in labels:
        label_s[name] = seconds((row, slot) for row, slot in scored if row.label == name)
        weighted = (row.scores[name] * (end - start) for row, (start, end) in scored)
        prob_s[name] = math.fsum(weighted)
    counts = Counter(episode.label for episode in (person.episodes() if person else ()))
    return Totals(
        people=0 if person is None else 1,
        sources=frozenset([source]),
        failed=frozenset([source] if failed else []),
        source_s=length,
        status_s={
            name: seconds((row, slot) for row, slot in seen if row.status == name) for name in SEEN
        },
        scored_s=seconds(scored),
        prob_s=prob_s,
        label_s=label_s,
        episodes={name: counts[name] for name in labels},
        transitions=person.transitions() if person else {},
    )


def add(parts: Sequence[Totals]) -> Totals:
    """Returns the sum of one or more totals."""
    return Totals(
        people=sum(part.people for part in parts),
        sources=frozenset().union(*(part.sources for part in parts)),
        failed=frozenset().union(*(part.failed for part in parts)),
        source_s=math.fsum(part.source_s for part in parts),
        status_s=_sums(part.status_s for part in parts),
        scored_s=math.fsum(part.scored_s for part in parts),
        prob_s=_sums(part.prob_s for part in parts),
        label_s=_sums(part.label_s for part in parts),
        episodes=_counts(part.episodes for part in parts),
        transitions=_counts(part.transitions for part in parts),
    )


def _sums(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values = dict[str, list[float]]()
    for part in parts:
        for name, value in part.items():
            values.setdefault(name, []).append(value)
    return {name: math.fsum(found) for name, found in values.items()}


def _counts(parts: Iterable[Mapping[K, int]]) -> dict[K, int]:
    total = Counter[K]()
    for part in parts:
        total.update(part)
    return dict(total)


def _share(value: float, whole: float) -> float | None:
    return rounded(value / whole, _DIGITS) if whole else None
