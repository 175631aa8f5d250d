"""Rows (one person in one time window), and the summary of a person's rows.

This module does not import torch, so that reading and writing results stays light.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = "2"

Status = Literal["ok", "no_face", "low_quality", "uncertain", "decode_error"]

UNITS = {
    "start_s": "seconds from the time origin (PTS)",
    "end_s": "seconds from the time origin (PTS)",
    "mid_s": "seconds from the time origin (PTS)",
    "start_frame": "frame number from 0",
    "end_frame": "frame number from 0, inclusive",
    "score": "probability of the label, 0 to 1",
    "margin": "score minus the second highest probability, 0 to 1",
    "entropy": "of the probabilities, divided by the logarithm of their number, 0 to 1",
    "sharpness": "variance of the Laplacian of the crop, squared grey levels",
    "brightness": "mean grey level of the crop, 0 to 255",
    "yaw,roll": "degrees, estimated from eyes and nose",
    "prob_*": "probability, 0 to 1; the row sums to 1",
    "face_conf": "confidence of the face detector, 0 to 1, mean over the window",
    "face_coverage": "fraction of the window's frames with this face, 0 to 1",
    "x,y,w,h": "pixels of the upright frame, origin top left, median over the window",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One person in one window. Without a face, `label`, `score`, `scores` and the box are empty.

    With the status `uncertain`, only `label` and `score` are.
    """

    source: str
    model: str
    model_revision: str
    track_id: int
    """Stable within a source; -1 for the whole frame, or for a window without a face."""
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
    sharpness: float | None = None
    brightness: float | None = None
    yaw: float | None = None
    roll: float | None = None
    """See `peclip.video.face_measures.FaceMeasures`."""
    unlike_training: tuple[str, ...] | None = None
    """The measures outside the ranges the model was trained on; `None` if it stores no ranges, or without a face."""

    @property
    def margin(self) -> float | None:
        """The highest probability minus the second highest one; `None` without probabilities."""
        if not self.scores:
            return None
        first, second = sorted(self.scores.values(), reverse=True)[:2]
        return first - second

    @property
    def entropy(self) -> float | None:
        """`-sum p ln p / ln C`: 0 if one label is certain, 1 if all are equally likely; `None` without probabilities."""
        if not self.scores:
            return None
        total = math.fsum(-p * math.log(p) for p in self.scores.values() if p > 0)
        return total / math.log(len(self.scores))

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
            "start_s": rounded(self.start_s, 6),
            "end_s": rounded(self.end_s, 6),
            "mid_s": rounded((self.start_s + self.end_s) / 2, 6),
            "start_frame": self.start_frame,
            "end_frame": self.end_frame,
            "num_frames_used": self.num_frames_used,
            "n_faces": self.n_faces,
            "status": self.status,
            "label": self.label,
            "score": rounded(self.score, 6),
            "margin": rounded(self.margin, 6),
            "entropy": rounded(self.entropy, 6),
            "face_conf": rounded(self.face_conf, 4),
            "face_coverage": rounded(self.face_coverage, 4),
            "x": rounded(x, 1),
            "y": rounded(y, 1),
            "w": rounded(w, 1),
            "h": rounded(h, 1),
            "sharpness": rounded(self.sharpness, 1),
            "brightness": rounded(self.brightness, 1),
            "yaw": rounded(self.yaw, 1),
            "roll": rounded(self.roll, 1),
            "unlike_training": None
            if self.unlike_training is None
            else " ".join(self.unlike_training),
        }
        for name in self.scores if labels is None else labels:
            flat[f"prob_{name}"] = rounded(self.scores.get(name), 6)
        return flat


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """One person over a whole source."""

    track_id: int
    label: str | None
    """The most likely label; `None` if all windows are uncertain."""
    scores: Mapping[str, float]
    """Probability by label, the most likely first; the mean over the person's windows, including uncertain ones, each
    weighted by the time that belongs to it (`peclip.results.slots`), as in a summary."""
    rows: tuple[Row, ...]


def column_names(labels: Sequence[str]) -> list[str]:
    """Returns the keys of `Row.to_dict` for the labels of a model, in their order."""
    return list(failure_row("", "", "").to_dict(labels))


def failure_row(source: str, model: str, revision: str, last: Row | None = None) -> Row:
    """Returns the row that marks the end of reading: after `last`, or at the start."""
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


def rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
