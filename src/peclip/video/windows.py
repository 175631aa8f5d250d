"""From frames to windows: who is visible when, and the crops for the model.

A window is a time interval of the video. Every person visible in it gives one `FaceWindow`; a window
without people gives one without crops, so that every moment of the video has a row.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclip.errors import VideoError
from peclip.video.faces import (
    FaceBox,
    FaceDetector,
    Image,
    centre_square,
    crop_face,
    resize_frame,
)
from peclip.video.frames import Frames
from peclip.video.sampling import segment_indices
from peclip.video.tracking import FaceTracker, interpolate

WHOLE_FRAME = -1
"""The track id of a whole-frame row, or of a window without a face."""

_MAX_KEPT = 1024  # frames of a window kept in memory; longer windows are thinned out evenly
_MIN_HITS = (
    3  # frames in which a face must be seen within a window: single false alarms are dropped
)
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One person in one frame."""

    track_id: int
    face: FaceBox
    crop: Image


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One frame after detection, tracking and cropping."""

    index: int
    time: float
    sightings: tuple[Sighting, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One frame before detection."""

    index: int
    time: float
    image: Image


@dataclass(frozen=True, slots=True, eq=False)
class FaceWindow:
    """One person in one window; `crops` is empty where no face was seen."""

    track_id: int
    window: int
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int
    """The last frame of the window, inclusive."""
    num_frames_used: int
    """Distinct frames among the crops."""
    crops: NDArray[np.uint8]
    """uint8 (T, S, S, 3), RGB; (0, S, S, 3) without a face."""
    box: FaceBox | None
    """Median over the window."""
    coverage: float
    """Fraction of the window's frames in which this person was seen, 0 to 1."""
    n_faces: int
    """People in the window; 0 without detection."""


class Span(NamedTuple):
    """Where a window lies; the fields are those of `FaceWindow`."""

    window: int
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int


class Observer:
    """Detects, tracks and crops the faces of frames in their order.

    Args:
        detector: finds faces; `None` takes every frame as one crop.
        size: side of the crops in pixels.
        margin: see `crop_face`.
        shift: see `crop_face`.
        align: see `crop_face`.
        max_gap: seconds after which a person who was out of sight is somebody new.
        detect_rate: maximum frames per second passed to the detector. The box of a person found in two
            consecutive ones is interpolated in the frames between, which are kept in memory until then.
    """

    def __init__(
        self,
        detector: FaceDetector | None,
        *,
        size: int,
        margin: float = 0.3,
        shift: float = 0.0,
        align: bool = True,
        max_gap: float = 1.0,
        detect_rate: float = math.inf,
    ) -> None:
        self._detector = detector
        self._interval = 1 / detect_rate
        self._last: tuple[float, dict[int, FaceBox]] = (-math.inf, {})
        self._size, self._margin, self._shift, self._align = size, margin, shift, align
        self._tracker = FaceTracker(max_gap=max_gap)
        self._index = 0

    def observe(
        self, chunks: Iterable[Frames], *, start: float = 0.0, end: float = math.inf
    ) -> Iterator[Observation]:
        """Yields one observation per frame from `start` to before `end`, in seconds.

        Frames are numbered from the beginning of the video, whatever is left out.
        """
        if self._detector is None:
            for frame in self._frames(chunks, start, end):
                crop = resize_frame(frame.image, self._size)
                sighting = Sighting(WHOLE_FRAME, centre_square(frame.image), crop)
                yield Observation(frame.index, frame.time, (sighting,))
            return
        waiting: list[_Frame] = []
        try:
            for frame in self._frames(chunks, start, end):
                waiting.append(frame)
                if frame.time >= self._last[0] + self._interval - _EPSILON:
                    yield from self._look(self._detector, waiting)
                    waiting = []
        except VideoError:  # keep what was read before it
            yield from self._look(self._detector, waiting)
            raise
        yield from self._look(self._detector, waiting)

    def _frames(self, chunks: Iterable[Frames], start: float, end: float) -> Iterator[_Frame]:
        for frames in chunks:
            for image, time in zip(frames.data, frames.timestamps.tolist(), strict=True):
                if time >= end - _EPSILON:
                    return
                if time >= start - _EPSILON:
                    yield _Frame(self._index, time, image)
                self._index += 1

    def _look(self, detector: FaceDetector, waiting: list[_Frame]) -> Iterator[Observation]:
        """Detects faces in the last frame of a group, and interpolates in the others."""
        if not waiting:
            return
        before, known = self._last
        now = waiting[-1].time
        found = detector.detect(np.ascontiguousarray(waiting[-1].image))
        faces = dict(self._tracker.update(found, now))
        for frame in waiting[:-1]:
            part = (frame.time - before) / (now - before)
            both = [name for name in faces if name in known]
            between = {name: interpolate(known[name], faces[name], part) for name in both}
            yield self._observe(frame, between)
        yield self._observe(waiting[-1], faces)
        self._last = now, faces

    def _observe(self, frame: _Frame, faces: Mapping[int, FaceBox]) -> Observation:
        image = np.ascontiguousarray(frame.image)
        crops = {
            track_id: crop_face(
                image,
                face,
                size=self._size,
                margin=self._margin,
                shift=self._shift,
                align=self._align,
            )
            for track_id, face in faces.items()
        }
        sightings = tuple(Sighting(name, face, crops[name]) for name, face in faces.items())
        return Observation(frame.index, frame.time, sightings)


def cut_windows(
    observations: Iterable[Observation],
    *,
    window: float,
    hop: float,
    num_frames: int,
    size: int,
) -> Iterator[list[FaceWindow]]:
    """Cuts a stream of observations into windows, each given as soon as it is complete.

    Window `k` covers `window` seconds from `k * hop` after the first frame. What is left over at the end is covered by
    one more window that ends with the video; a video shorter than a window is one window. A stretch
    without any frame gives no window. Memory is bounded by the length of a window.

    Args:
        observations: in the order of time.
        window: seconds, above 0; infinity makes one window of the whole video.
        hop: seconds between the starts of windows, above 0.
        num_frames: crops per person and window, by segment-centre sampling.
        size: side of the crops.
    """
    kept: deque[Observation] = deque()
    # Index and time of all frames of a window, also of those that are thinned out.
    frames: deque[tuple[int, float]] = deque()
    number, start, origin, covered = 0, 0.0, 0.0, -1
    time, step, thinning = 0.0, 0.0, 1
    public: dict[int, int] = {}
    for arrived, observation in enumerate(observations):
        if arrived == 0:
            start = origin = observation.time
        else:
            step = observation.time - time
        time = observation.time
        while time >= start + window - _EPSILON:
            inside = [o for o in kept if start - _EPSILON <= o.time < start + window - _EPSILON]
            if inside:
                within = [i for i, t in frames if start - _EPSILON <= t < start + window - _EPSILON]
                span = Span(number, start, start + window, within[0], within[-1])
                yield _people(inside, span, num_frames, size, public)
                number, covered = number + 1, within[-1]
            start += hop if inside else hop * max(1, int((time - start - window) / hop))
        # One window before the end is kept for the one that ends with the video.
        oldest = min(start, time - window) - _EPSILON
        while kept and kept[0].time < oldest:
            kept.popleft()
        while frames and frames[0][1] < oldest:
            frames.popleft()
        if len(kept) >= _MAX_KEPT:
            kept, thinning = deque(list(kept)[::2]), thinning * 2
        if arrived % thinning == 0:
            kept.append(observation)
        if arrived == 0 or math.isfinite(window):
            frames.append((observation.index, time))
        newest = observation
    if kept and kept[-1] is not newest:
        kept.append(newest)  # thinned out, but the video ends with it
    end = time + min(step, window)  # excludes a pause before the last frame
    rest = [o for o in kept if o.time >= end - window - _EPSILON]
    if rest and rest[-1].index > covered:
        first = next(i for i, t in frames if t >= end - window - _EPSILON)
        span = Span(number, max(origin, end - window), end, first, newest.index)
        yield _people(rest, span, num_frames, size, public)


def _people(
    inside: list[Observation],
    place: Span,
    num_frames: int,
    size: int,
    public: dict[int, int],
) -> list[FaceWindow]:
    """Gathers the sightings of a window by person, in the order of their ids."""
    by_track: dict[int, list[tuple[int, Sighting]]] = {}
    for observation in inside:
        for sighting in observation.sightings:
            by_track.setdefault(sighting.track_id, []).append((observation.index, sighting))
    hits = min(_MIN_HITS, len(inside))
    seen = {track: found for track, found in by_track.items() if len(found) >= hits}
    span = place._asdict()
    if not seen:
        nothing = np.zeros((0, size, size, 3), np.uint8)
        return [
            FaceWindow(
                **span,
                track_id=WHOLE_FRAME,
                num_frames_used=0,
                crops=nothing,
                box=None,
                coverage=0.0,
                n_faces=0,
            )
        ]
    people = []
    for track in sorted(seen):
        # Only people with a row get an id, in order of appearance.
        number_of = track if track == WHOLE_FRAME else public.setdefault(track, len(public))
        places = segment_indices(len(seen[track]), num_frames)
        crops = np.stack([seen[track][place][1].crop for place in places])
        people.append(
            FaceWindow(
                **span,
                track_id=number_of,
                num_frames_used=len(set(places)),
                crops=crops,
                box=_median_box([sighting.face for _, sighting in seen[track]]),
                coverage=len(seen[track]) / len(inside),
                n_faces=len(seen.keys() - {WHOLE_FRAME}),
            )
        )
    return people


def _median_box(faces: list[FaceBox]) -> FaceBox:
    return FaceBox(
        x=median(face.x for face in faces),
        y=median(face.y for face in faces),
        width=median(face.width for face in faces),
        height=median(face.height for face in faces),
        score=sum(face.score for face in faces) / len(faces),
    )
