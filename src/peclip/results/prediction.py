"""The prediction of one source: the rows of all people, and their aggregate.

This module does not import torch, so that reading and writing results stays light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peclip.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from peclip.results.summary import Summary

from peclip.results.rows import SCHEMA_VERSION, UNITS, Row, TrackSummary, rounded


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a model for one source."""

    source: str
    labels: tuple[str, ...]
    """In the order of the model's logits and of the probability columns."""
    rows: tuple[Row, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Model, device, precision, decoder, face detector and preprocessing used."""

    @property
    def tracks(self) -> dict[int, TrackSummary]:
        """The people of the source by their id, in the order of their appearance."""
        by_track: dict[int, list[Row]] = {}
        for row in self.rows:
            if row.label is not None:
                by_track.setdefault(row.track_id, []).append(row)
        return {track: _summarise(track, rows) for track, rows in sorted(by_track.items())}

    @property
    def main_track(self) -> TrackSummary | None:
        """The person seen for the longest time; at a tie, with the larger face."""
        tracks = self.tracks.values()
        return max(tracks, key=_presence) if tracks else None

    @property
    def scores(self) -> dict[str, float]:
        """Probability by label for the main person, the most likely first; empty without a face."""
        main = self.main_track
        return {} if main is None else dict(main.scores)

    @property
    def label(self) -> str | None:
        """The most likely label of the main person, or `None` if no face was found."""
        main = self.main_track
        return None if main is None else main.label

    @property
    def confidence(self) -> float | None:
        """Probability of `label`."""
        return next(iter(self.scores.values()), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form that the command line writes."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "label": self.label,
            "scores": {name: rounded(score, 6) for name, score in self.scores.items()},
            "labels": list(self.labels),
            "tracks": [
                {
                    "track_id": track.track_id,
                    "label": track.label,
                    "scores": {name: rounded(score, 6) for name, score in track.scores.items()},
                }
                for track in self.tracks.values()
            ],
            "units": UNITS,
            **_finite(self.metadata),
            "rows": [row.to_dict(self.labels) for row in self.rows],
        }

    def to_dataframe(self) -> pd.DataFrame:
        """Returns the rows as a pandas table.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("Prediction.to_dataframe()", "data") from None
        return pd.DataFrame([row.to_dict(self.labels) for row in self.rows])

    def save(self, path: str | Path) -> None:
        """Writes the rows, or the episodes, to a file in the format of its extension (`FORMATS`).

        Raises:
            ConfigError: the extension is unsupported, or the file cannot be written.
            MissingExtraError: the format needs an optional package.
        """
        from peclip.results.writers import format_of, open_writer

        with open_writer(format_of(Path(path)), Path(path), self.labels) as writer:
            for row in self.rows:
                writer.write_row(row)
            writer.end_source(self)

    def summary(self) -> Summary:
        """Returns each person's times, time shares, mean probabilities and episodes, weighted by time."""
        from peclip.results.summary import summarise

        return summarise(self.rows, self.labels)

    def plot(self) -> Figure:
        """Draws the probabilities over time, one panel per person.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from peclip.results.timeline import plot_timeline

        return plot_timeline(self)


def _summarise(track: int, rows: list[Row]) -> TrackSummary:
    # Low-quality windows count only if there are no better ones.
    good = [row for row in rows if row.status == "ok"] or rows
    names = list(good[0].scores)
    mean = {name: math.fsum(row.scores[name] for row in good) / len(good) for name in names}
    ordered = dict(sorted(mean.items(), key=lambda item: -item[1]))
    return TrackSummary(track, next(iter(ordered), None), ordered, tuple(rows))


def _presence(track: TrackSummary) -> tuple[int, float, float]:
    good = sum(row.status == "ok" for row in track.rows)
    seen = math.fsum(row.face_coverage for row in track.rows)
    area = max((row.box[2] * row.box[3] for row in track.rows if row.box), default=0.0)
    return good, round(seen, 6), area


def _finite(value: Any) -> Any:
    """Returns a JSON value with null for infinite numbers, which JSON lacks."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
