"""What a prediction looks like: one row per source, person and window of time.

This module knows no torch, so that reading and writing results stays light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from peclip.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA_VERSION = "1"

Status = Literal["ok", "no_face", "low_quality", "decode_error"]

UNITS = {
    "start_s": "seconds from the first frame (PTS)",
    "end_s": "seconds from the first frame (PTS)",
    "mid_s": "seconds from the first frame (PTS)",
    "start_frame": "frame number from 0",
    "end_frame": "frame number from 0, inclusive",
    "score": "probability of the label, 0 to 1",
    "prob_*": "probability, 0 to 1; the row sums to 1",
    "face_conf": "confidence of the face detector, 0 to 1, mean over the window",
    "face_coverage": "part of the window's frames with this face, 0 to 1",
    "x,y,w,h": "pixels of the upright frame, origin top left, median over the window",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One person in one window. Without a face, `label`, `score`, `scores` and the box are empty."""

    source: str
    model: str
    model_revision: str
    track_id: int
    """Stable within a source; -1 is the whole frame, or a window without a face."""
    window: int
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int
    num_frames_used: int
    n_faces: int
    status: Status
    label: str | None = None
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Probability by label, in the order of the model's labels."""
    face_conf: float | None = None
    face_coverage: float = 0.0
    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels."""

    def to_dict(self, labels: Sequence[str] | None = None) -> dict[str, Any]:
        """Returns the flat form of all file formats; `labels` fixes the probability columns."""
        x, y, w, h = self.box or (None, None, None, None)
        flat: dict[str, Any] = {
            "source": self.source,
            "model": self.model,
            "model_revision": self.model_revision,
            "schema_version": SCHEMA_VERSION,
            "track_id": self.track_id,
            "window": self.window,
            "start_s": _rounded(self.start_s, 6),
            "end_s": _rounded(self.end_s, 6),
            "mid_s": _rounded((self.start_s + self.end_s) / 2, 6),
            "start_frame": self.start_frame,
            "end_frame": self.end_frame,
            "num_frames_used": self.num_frames_used,
            "n_faces": self.n_faces,
            "status": self.status,
            "label": self.label,
            "score": _rounded(self.score, 6),
            "face_conf": _rounded(self.face_conf, 4),
            "face_coverage": _rounded(self.face_coverage, 4),
            "x": _rounded(x, 1),
            "y": _rounded(y, 1),
            "w": _rounded(w, 1),
            "h": _rounded(h, 1),
        }
        for name in self.scores if labels is None else labels:
            flat[f"prob_{name}"] = _rounded(self.scores.get(name), 6)
        return flat


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """One person over a whole source."""

    track_id: int
    label: str | None
    scores: Mapping[str, float]
    """Probability by label, the most likely first; the mean over the person's windows."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says about one source."""

    source: str
    labels: tuple[str, ...]
    """In the order of the model's logits and of the probability columns."""
    rows: tuple[Row, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Model, device, precision, decoder, face detector and preprocessing that were used."""

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
            "scores": {name: _rounded(score, 6) for name, score in self.scores.items()},
            "labels": list(self.labels),
            "tracks": [
                {
                    "track_id": track.track_id,
                    "label": track.label,
                    "scores": {name: _rounded(score, 6) for name, score in track.scores.items()},
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
        """Writes the rows to a `.csv`, `.jsonl`, `.json` or `.parquet` file.

        Raises:
            ConfigError: the ending is another one.
        """
        from peclip.writers import format_of, open_writer

        with open_writer(format_of(Path(path)), Path(path), self.labels) as writer:
            for row in self.rows:
                writer.write_row(row)
            writer.end_source(self)

    def plot(self) -> Figure:
        """Draws the probabilities over time, one panel per person.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        from peclip.plots import plot_timeline

        return plot_timeline(self)


def failure_row(source: str, model: str, revision: str, last: Row | None = None) -> Row:
    """Returns the row that says where reading ended: after `last`, or at the start."""
    return Row(
        source=source,
        model=model,
        model_revision=revision,
        track_id=-1,
        window=last.window + 1 if last else 0,
        start_s=last.end_s if last else 0.0,
        end_s=last.end_s if last else 0.0,
        start_frame=last.end_frame + 1 if last else 0,
        end_frame=last.end_frame + 1 if last else 0,
        num_frames_used=0,
        n_faces=0,
        status="decode_error",
    )


def _summarise(track: int, rows: list[Row]) -> TrackSummary:
    # A poor view of a face only counts where there is no better one.
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


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _finite(value: Any) -> Any:
    """Returns a JSON value with null for the infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
