"""Links the faces of single frames to tracks, whose ids are stable within a video."""

from __future__ import annotations

import math
from dataclasses import dataclass

from peclip.video.faces import FaceBox

_MIN_OVERLAP = 0.2
_MAX_JUMP = 0.6  # of the face's side, where boxes do not overlap
_SMOOTHING = 0.5  # of the velocity, per frame
_COASTING = 0.3  # seconds after which a lost face has come to rest: jitter must not carry it away


@dataclass(slots=True)
class Track:
    """One person while visible."""

    track_id: int
    box: FaceBox
    time: float
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of the centre, pixels per second, smoothed."""

    def predict(self, time: float) -> FaceBox:
        """Returns where the face should be at a time, moving on as it did and slowing down."""
        step = _COASTING * (1 - math.exp(-(time - self.time) / _COASTING))
        return FaceBox(
            self.box.x + self.velocity[0] * step,
            self.box.y + self.velocity[1] * step,
            self.box.width,
            self.box.height,
            self.box.score,
        )

    def affinity(self, face: FaceBox, time: float) -> float:
        """Returns how well a face fits this person: where it should be, or where it last was."""
        return max(affinity(self.predict(time), face), affinity(self.box, face))

    def extend(self, box: FaceBox, time: float) -> None:
        step = time - self.time
        if step > 0:
            (x0, y0), (x1, y1) = self.box.center, box.center
            self.velocity = (
                _SMOOTHING * self.velocity[0] + (1 - _SMOOTHING) * (x1 - x0) / step,
                _SMOOTHING * self.velocity[1] + (1 - _SMOOTHING) * (y1 - y0) / step,
            )
        self.box, self.time = box, time


class FaceTracker:
    """Joins detections over time by overlap with the predicted position (constant velocity).

    Pairs are taken in the order of their affinity, so the order of the detections does not matter. A
    person who is out of sight for longer than `max_gap` seconds, and for more than two frames, gets a new
    id on return.
    """

    def __init__(self, *, max_gap: float = 1.0) -> None:
        self._max_gap = max_gap
        self._tracks: list[Track] = []
        self._next_id = 0
        self._last_time: float | None = None
        self._interval = math.inf  # the shortest time between two frames so far

    def update(self, faces: list[FaceBox], time: float) -> list[tuple[int, FaceBox]]:
        """Assigns the faces of the next frame, at `time` seconds, to tracks; returns (id, face)."""
        if self._last_time is not None:
            self._interval = min(self._interval, time - self._last_time)
        self._last_time = time
        # When frames are more than a second apart, one second out of sight is not a real gap.
        gap = max(self._max_gap, 2.5 * self._interval)
        self._tracks = [track for track in self._tracks if time - track.time <= gap]
        pairs = sorted(
            (
                (track.affinity(face, time), -row, -column)
                for row, track in enumerate(self._tracks)
                for column, face in enumerate(faces)
            ),
            reverse=True,
        )
        assigned: dict[int, Track] = {}
        taken: set[int] = set()
        for value, row, column in pairs:
            if value <= 0:
                break
            if -row in taken or -column in assigned:
                continue
            taken.add(-row)
            assigned[-column] = self._tracks[-row]
        result = []
        for column, face in enumerate(faces):
            track = assigned.get(column)
            if track is None:
                track = Track(self._next_id, face, time)
                self._next_id += 1
                self._tracks.append(track)
            else:
                track.extend(face, time)
            result.append((track.track_id, face))
        return result


def interpolate(a: FaceBox, b: FaceBox, part: float) -> FaceBox:
    """Returns the face on its way from `a`, where `part` is 0, to `b`, where it is 1."""

    def mean(first: float, second: float) -> float:
        return first + part * (second - first)

    eyes = None
    if a.eyes is not None and b.eyes is not None:
        (left, right), (left_b, right_b) = a.eyes, b.eyes
        eyes = (
            (mean(left[0], left_b[0]), mean(left[1], left_b[1])),
            (mean(right[0], right_b[0]), mean(right[1], right_b[1])),
        )
    return FaceBox(
        mean(a.x, b.x),
        mean(a.y, b.y),
        mean(a.width, b.width),
        mean(a.height, b.height),
        mean(a.score, b.score),
        eyes,
    )


def affinity(expected: FaceBox, face: FaceBox) -> float:
    """Returns how well a face fits an expected position: above 0 is possible, 1 is perfect."""
    size = face.side / expected.side
    if not 0.5 <= size <= 2:
        return 0.0
    overlap = iou(expected, face)
    if overlap >= _MIN_OVERLAP:
        return overlap
    (x0, y0), (x1, y1) = expected.center, face.center
    jump = math.hypot(x0 - x1, y0 - y1) / max(expected.side, face.side)
    return max(0.0, _MIN_OVERLAP * (1 - jump / _MAX_JUMP))


def iou(a: FaceBox, b: FaceBox) -> float:
    """Returns the intersection over union of two boxes, 0 to 1."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)
