"""Rows per frame: every face with the label of the window around it."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peclip.errors import ConfigError
from peclip.results.interface import LoggedResult
from peclip.results.rows import Row, Status, rounded
from peclip.video.face_log import FaceLog, LoggedFace, LoggedFrame
from peclip.video.sighting import WHOLE_FRAME


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One face in one frame, or a frame without faces."""

    source: str
    frame: int
    """Counted from 0, like `start_frame` in a row."""
    timestamp: float
    """Seconds from the time origin of the rows."""
    face_id: int
    """The `track_id` in the rows; -1 for a whole frame or a frame without people."""
    success: bool
    """Whether a face was found."""
    confidence: float | None = None
    """The face detector's confidence, 0 to 1; 0 without a face, `None` for a whole frame."""
    box: tuple[float, float, float, float] | None = None
    """x, y, width, height in pixels."""
    window: int | None = None
    """The window that gives status, label and scores; `None` if no window of the person covers the frame."""
    status: Status | None = None
    label: str | None = None
    score: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Probability by label."""

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns the flat form of all file formats."""
        x, y, w, h = self.box or (None, None, None, None)
        return {
            "source": self.source,
            "frame": self.frame,
            "timestamp": rounded(self.timestamp, 6),
            "face_id": self.face_id,
            "confidence": rounded(self.confidence, 4),
            "success": int(self.success),
            "x": rounded(x, 1),
            "y": rounded(y, 1),
            "w": rounded(w, 1),
            "h": rounded(h, 1),
            "window": self.window,
            "status": self.status,
            "label": self.label,
            "score": rounded(self.score, 6),
            **{f"prob_{name}": rounded(self.scores.get(name), 6) for name in labels},
        }


class NearestRows:
    """Finds the row of a person in a frame: of the windows that cover it, the one with the nearest middle.

    At a tie, it is the earlier window.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows: dict[int, list[Row]] = {}
        for row in rows:
            if row.box is not None:
                self._rows.setdefault(row.track_id, []).append(row)
        self._middles: dict[int, list[float]] = {}
        for track, found in self._rows.items():
            found.sort(key=_middle)
            self._middles[track] = [_middle(row) for row in found]

    def at(self, track_id: int, frame: LoggedFrame) -> Row | None:
        """Returns the row of a person in a frame, or `None` if no window covers it."""
        rows = self._rows.get(track_id, [])
        place = bisect.bisect_left(self._middles.get(track_id, []), frame.time)
        # Windows have the same length, so that none further away covers the frame.
        covering = [
            row
            for row in rows[max(0, place - 1) : place + 1]
            if row.start_frame <= frame.index <= row.end_frame
        ]
        return min(covering, key=lambda row: abs(_middle(row) - frame.time), default=None)


def frame_rows(prediction: LoggedResult) -> Iterator[FrameRow]:
    """Yields one row per frame and person with an id, and one for each frame without any.

    Raises:
        ConfigError: the prediction has no faces per frame.
    """
    return _frame_rows(prediction.source, prediction.rows, faces_of(prediction))


def faces_of(prediction: LoggedResult) -> FaceLog:
    """Returns the faces of each frame.

    Raises:
        ConfigError: they were not kept.
    """
    if prediction.faces is None:
        raise ConfigError(
            f"The prediction of {prediction.source!r} has no faces per frame. Create it with "
            "model.predict(video) from a file; live sources and row files have only rows."
        )
    return prediction.faces


def _frame_rows(source: str, rows: Iterable[Row], log: FaceLog) -> Iterator[FrameRow]:
    nearest = NearestRows(rows)
    for frame in log:
        named = [(face.track_id, face) for face in frame.faces if face.track_id is not None]
        if not named:
            yield FrameRow(source, frame.index, frame.time, WHOLE_FRAME, False, 0.0)
        for track_id, face in sorted(named, key=lambda one: one[0]):
            yield _row(source, frame, track_id, face, nearest.at(track_id, frame))


def frame_columns(labels: Sequence[str]) -> list[str]:
    """Returns the keys of `FrameRow.to_dict` for the labels of a model, in their order."""
    return list(FrameRow("", 0, 0.0, WHOLE_FRAME, False).to_dict(labels))


def _row(
    source: str, frame: LoggedFrame, track_id: int, face: LoggedFace, row: Row | None
) -> FrameRow:
    box = face.box
    return FrameRow(
        source,
        frame.index,
        frame.time,
        track_id,
        True,
        None if track_id == WHOLE_FRAME else box.score,
        (box.x, box.y, box.width, box.height),
        window=None if row is None else row.window,
        status=None if row is None else row.status,
        label=None if row is None else row.label,
        score=None if row is None else row.score,
        scores={} if row is None else row.scores,
    )


def _middle(row: Row) -> float:
    return (row.start_s + row.end_s) / 2
