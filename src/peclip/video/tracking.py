"""Links the faces of single frames to tracks, whose ids are stable within a video."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from peclip.video.faces import FaceBox, Image, Point
from peclip.video.reidentification import (
    SAME_PLACE,
    Appearance,
    People,
    View,
    recognise,
    view,
)

_MIN_OVERLAP = 0.2
_MAX_JUMP = 0.6  # of the face's side, where boxes do not overlap
_SMOOTHING = 0.5  # of the velocity, per frame
_COASTING = 0.3  # seconds after which a lost face has come to rest: jitter must not carry it away
_MIN_MISSES = 2  # frames that must miss a person who is gone
_MIN_SEEN = 2  # frames that must show a person who is remembered: one may be a false positive
_UNSURE = (
    1.0  # seconds in which a new person may turn out to be a known one, who turns to the camera
)


@dataclass(slots=True)
class Track:
    """One person while visible."""

    track_id: int
    box: FaceBox
    time: float
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of the centre, pixels per second, smoothed."""
    born: float = 0.0
    """When the person came into view."""
    is_new: bool = True
    """Whether the person had never been seen before."""
    seen: int = 1
    """Number of frames that show the person."""
    missed: int = 0
    """Number of frames since the person was last seen."""
    appearance: Appearance = field(default_factory=Appearance)

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
        self.seen, self.missed = self.seen + 1, 0


class FaceTracker:
    """Links detections over time by overlap with the predicted position (constant velocity).

    Pairs are matched in order of affinity, so the order of the detections does not matter. A track ends when the
    person was not found in at least two frames, the last of which is more than `max_gap` seconds after the person
    was last seen; a pause between two frames does not count. A person who returns gets a new id, unless recognised
    by appearance.

    Args:
        max_gap: maximum time out of view in seconds.
        reidentify: compare appearances on return and after cuts; `update` then requires the frame.
    """

    def __init__(self, *, max_gap: float = 1.0, reidentify: bool = False) -> None:
        self._max_gap, self._reidentify = max_gap, reidentify
        self._tracks: list[Track] = []
        self._people = People()
        self._next_id = 0
        self.renamed: dict[int, int] = {}
        """New id → earlier id of people who were recognised in the last frame, after their first one."""

    def update(
        self,
        faces: list[FaceBox],
        time: float,
        image: Image | None = None,
        *,
        is_cut: bool = False,
    ) -> list[tuple[int, FaceBox]]:
        """Assigns the faces of the next frame, at `time` seconds, to tracks; returns (id, face).

        `is_cut` states whether a new shot begins with this frame, which matters only if appearances are compared.
        """
        views = _Views(image if self._reidentify else None, faces)
        is_cut = is_cut and views.image is not None
        assigned = self._follow(faces, time, views if is_cut else None)
        unseen = [track for track in self._tracks if track not in assigned.values()]
        for track in unseen:
            track.missed += 1
            late = time - track.time > self._max_gap and track.missed >= _MIN_MISSES
            if late or is_cut:
                self._tracks.remove(track)
                if track.seen >= _MIN_SEEN:
                    self._people.remember(track.track_id, track.appearance, track.time)
        for column, face in enumerate(faces):
            if column in assigned:
                assigned[column].extend(face, time)
            else:
                assigned[column] = Track(self._next_id, face, time, born=time)
                self._next_id += 1
                self._tracks.append(assigned[column])
        self.renamed = self._recognise(assigned, views, time)
        if views.image is not None:
            for column, track in assigned.items():
                track.appearance.add(views.image, faces[column], time)
        return [(assigned[column].track_id, face) for column, face in enumerate(faces)]

    def _follow(self, faces: list[FaceBox], time: float, views: _Views | None) -> dict[int, Track]:
        """Matches faces to tracks by position; after a cut, which passes views, by appearance too."""
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
            track = self._tracks[-row]
            if views is not None and track.appearance.similarity(views[-column]) < SAME_PLACE:
                continue
            taken.add(-row)
            assigned[-column] = track
        return assigned

    def _recognise(self, assigned: dict[int, Track], views: _Views, time: float) -> dict[int, int]:
        """Gives new people who were seen before their earlier id; returns new → earlier ids."""
        if views.image is None:
            return {}
        candidates: dict[int, dict[int, Appearance]] = {}
        for column, track in assigned.items():
            if track.is_new and time - track.born <= _UNSURE:
                # Who was in view together with the new person is somebody else.
                lost = [known for known in self._tracks if known.time < track.born]
                known = {one.track_id: one.appearance for one in lost if one.seen >= _MIN_SEEN}
                if known := known | self._people.seen_before(track.born):
                    candidates[column] = known
        found = recognise({column: views[column] for column in candidates}, candidates)
        renamed = {}
        for column, name in found.items():
            track = assigned[column]
            if track.born < time:  # earlier frames have the new id
                renamed[track.track_id] = name
            track.track_id, track.appearance = name, candidates[column][name]
            track.is_new = False
            self._people.forget(name)
            self._tracks = [one for one in self._tracks if one is track or one.track_id != name]
        return renamed


class _Views:
    """The appearances of the faces of one frame, computed when needed."""

    def __init__(self, image: Image | None, faces: list[FaceBox]) -> None:
        self.image, self._faces = image, faces
        self._known: dict[int, View] = {}

    def __getitem__(self, column: int) -> View:
        assert self.image is not None
        if column not in self._known:
            self._known[column] = view(self.image, self._faces[column])
        return self._known[column]


def interpolate(a: FaceBox, b: FaceBox, part: float) -> FaceBox:
    """Returns the face on its way from `a`, where `part` is 0, to `b`, where it is 1."""

    def mean(first: float, second: float) -> float:
        return first + part * (second - first)

    def point(first: Point, second: Point) -> Point:
        return mean(first[0], second[0]), mean(first[1], second[1])

    eyes = None
    if a.eyes is not None and b.eyes is not None:
        eyes = point(a.eyes[0], b.eyes[0]), point(a.eyes[1], b.eyes[1])
    nose = None if a.nose is None or b.nose is None else point(a.nose, b.nose)
    return FaceBox(
        mean(a.x, b.x),
        mean(a.y, b.y),
        mean(a.width, b.width),
        mean(a.height, b.height),
        mean(a.score, b.score),
        eyes,
        nose,
    )


def distance(a: FaceBox, b: FaceBox) -> float:
    """Returns how far apart the corners and the eyes of two boxes are, at most, relative to the side of `b`."""
    pairs = [((a.x, a.y), (b.x, b.y))]
    pairs += [((a.x + a.width, a.y + a.height), (b.x + b.width, b.y + b.height))]
    if a.eyes is not None and b.eyes is not None:
        pairs += zip(a.eyes, b.eyes, strict=True)
    return max(math.dist(*pair) for pair in pairs) / b.side


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
