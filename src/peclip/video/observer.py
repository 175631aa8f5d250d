"""From frames to observations: who is visible in each frame, and their crops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from peclip.errors import VideoError
from peclip.video.detectors.detector import FaceDetector
from peclip.video.faces import FaceBox, FaceCrop, Image, centre_square, resize_frame
from peclip.video.frames import Frames
from peclip.video.reidentification import CutFinder
from peclip.video.search import FaceSearch
from peclip.video.sighting import WHOLE_FRAME, Sighting
from peclip.video.tracking import FaceTracker, affinity, distance, interpolate

EPSILON = 1e-6
"""Seconds; times that differ by less are equal."""

WAITING_BYTES = 256 * 2**20
"""Maximum size of frames waiting for the next detection, regardless of their times: ten frames of 4K video."""

_USUAL = 0.1
"""Minimum seconds between two detections of which every other may be left out: whoever asks for more gets them."""

_LONGEST = 0.3
"""Maximum seconds between two detections if the one between them is left out."""

_STEADY = 0.02
"""Distance of a face from its way between the detections before and after, relative to its side, up to which the next
detection can be left out: interpolation would have been as good."""


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One frame after detection, tracking and cropping."""

    index: int
    time: float
    sightings: tuple[Sighting, ...]
    duration: float = 0.0
    """Display duration of the frame in seconds, as stated in the container; 0 if unknown."""
    renamed: Mapping[int, int] = field(default_factory=dict)
    """New track id → earlier track id of people recognised after their first frames. Sightings before this
    observation have the new id; this one and all later ones have the earlier id."""


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One frame before detection."""

    index: int
    time: float
    image: Image
    duration: float


class Observer:
    """Detects, tracks and crops the faces in consecutive frames.

    Args:
        detector: finds faces; `None` uses each whole frame as a crop.
        size: side of the crops in pixels.
        margin: see `crop_face`.
        shift: see `crop_face`.
        align: see `crop_face`.
        max_gap: seconds out of view after which a person gets a new id; see `FaceTracker`.
        reidentify: recognise people by appearance when they return and after cuts.
        detect_size: longer side in pixels to which frames are scaled for the detector; see `FaceSearch`.
        min_face: the size of the smallest faces to find, in pixels, if `detect_size` is `None`.
        detect_rate: maximum frames per second passed to the detector. If a person is found in two
            consecutive ones, the box is interpolated in the frames in between, which are kept in memory until then.
            If these exceed 256 MiB, faces are detected earlier. If it is at most 10, every other detection is left out
            while all faces move evenly.
        full_search: detect faces in the whole of these frames; see `FaceSearch`.
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
        reidentify: bool = True,
        detect_size: int | None = None,
        min_face: float = 24.0,
        detect_rate: float = math.inf,
        full_search: bool = False,
    ) -> None:
        self._search = (
            None
            if detector is None
            else FaceSearch(
                detector, detect_size=detect_size, min_face=min_face, everywhere=full_search
            )
        )
        self._interval = 1 / detect_rate
        self._last: tuple[float, dict[int, FaceBox]] = (-math.inf, {})
        self._earlier: tuple[float, dict[int, FaceBox]] = (-math.inf, {})
        self._checked = -math.inf  # time of the last frame that was detected in, or left out
        self._is_steady = False
        self._size, self._margin, self._shift, self._align = size, margin, shift, align
        self._cuts = CutFinder()
        self._tracker = FaceTracker(max_gap=max_gap, reidentify=reidentify)
        self._index = 0

    def observe(
        self, chunks: Iterable[Frames], *, start: float = 0.0, end: float = math.inf
    ) -> Iterator[Observation]:
        """Yields one observation per frame from `start` to before `end`, in seconds.

        Frames are numbered from the beginning of the video, whatever is left out.
        """
        if self._search is None:
            for frame in self._frames(chunks, start, end):
                crop = resize_frame(frame.image, self._size)
                sighting = Sighting(WHOLE_FRAME, centre_square(frame.image), crop)
                yield Observation(frame.index, frame.time, (sighting,), duration=frame.duration)
            return
        waiting: list[_Frame] = []
        left_out = 0  # number of frames up to the one in which detection was left out
        try:
            for frame in self._frames(chunks, start, end):
                waiting.append(frame)
                full = len(waiting) * frame.image.nbytes >= WAITING_BYTES
                if not full and frame.time < self._checked + self._interval - EPSILON:
                    continue
                self._checked = frame.time
                is_cut = self._cuts.is_cut(frame.image)
                if not (is_cut or full or left_out) and self._can_wait(self._search, frame):
                    left_out = len(waiting)
                    continue
                yield from self._look(self._search, waiting, left_out, is_cut)
                waiting, left_out = [], 0
        except VideoError:  # keep what was read before it
            yield from self._rest(self._search, waiting, left_out)
            raise
        yield from self._rest(self._search, waiting, left_out)

    def _frames(self, chunks: Iterable[Frames], start: float, end: float) -> Iterator[_Frame]:
        for frames in chunks:
            times = frames.timestamps.tolist()
            durations = [0.0] * len(times)
            if frames.durations is not None:
                durations = frames.durations.tolist()
            for image, time, shown in zip(frames.data, times, durations, strict=True):
                if time >= end - EPSILON:
                    return
                if time >= start - EPSILON:
                    yield _Frame(self._index, time, image, min(shown, end - time))
                self._index += 1

    def _can_wait(self, search: FaceSearch, frame: _Frame) -> bool:
        """Returns whether detection in a frame can be left out, since the faces are known well enough."""
        is_usual = self._interval >= _USUAL - EPSILON
        soon = 2 * (frame.time - self._last[0]) <= _LONGEST + EPSILON
        known = is_usual and soon and self._is_steady
        return known and not search.is_due(frame.image, frame.time)

    def _rest(
        self, search: FaceSearch, waiting: list[_Frame], left_out: int
    ) -> Iterator[Observation]:
        """Looks at the last frames, which may be fewer than usual."""
        if waiting:
            yield from self._look(search, waiting, left_out, self._cuts.is_cut(waiting[-1].image))

    def _look(
        self, search: FaceSearch, waiting: list[_Frame], left_out: int, is_cut: bool
    ) -> Iterator[Observation]:
        """Detects faces in the last frame of a group; also where that was left out, if a cut or a pause follows."""
        is_late = waiting[-1].time > self._last[0] + _LONGEST + EPSILON
        if left_out and (is_cut or is_late):
            yield from self._detect(search, waiting[:left_out], is_cut=False)
            waiting, left_out = waiting[left_out:], 0
        yield from self._detect(search, waiting, left_out, is_cut=is_cut)

    def _detect(
        self, search: FaceSearch, waiting: list[_Frame], left_out: int = 0, *, is_cut: bool
    ) -> Iterator[Observation]:
        """Detects faces in the last frame of a group, and interpolates in the others."""
        before, known = self._last
        now = waiting[-1].time
        image = np.ascontiguousarray(waiting[-1].image)
        found = search.find(image, now, is_cut=is_cut)
        faces = dict(self._tracker.update(found, now, image, is_cut=is_cut))
        renamed = self._tracker.renamed
        known = {renamed.get(name, name): face for name, face in known.items()}
        views = [(before, known), (now, faces)]
        if 0 < left_out < len(waiting):
            middle = waiting[left_out - 1]
            views.insert(1, (middle.time, _locate(search, middle, views)))
        for frame in waiting[:-1]:
            yield self._observe(frame, _boxes_between(views, frame.time), renamed)
        yield self._observe(waiting[-1], faces, renamed)
        self._is_steady = self._moves_evenly(now, faces)
        self._earlier, self._last = (before, known), (now, faces)

    def _moves_evenly(self, now: float, faces: dict[int, FaceBox]) -> bool:
        """Returns whether the last boxes of all faces are on the way from the boxes before to those of now."""
        (first, earlier), (second, last) = self._earlier, self._last
        if not faces.keys() == last.keys() == earlier.keys():
            return False
        part = (second - first) / max(now - first, EPSILON)
        return all(
            distance(interpolate(earlier[name], face, part), last[name]) <= _STEADY
            for name, face in faces.items()
        )

    def _observe(
        self, frame: _Frame, faces: Mapping[int, FaceBox], renamed: Mapping[int, int]
    ) -> Observation:
        sightings = tuple(
            Sighting(
                track_id,
                face,
                FaceCrop.of(
                    frame.image,
                    face,
                    size=self._size,
                    margin=self._margin,
                    shift=self._shift,
                    align=self._align,
                ),
            )
            for track_id, face in faces.items()
        )
        return Observation(
            frame.index, frame.time, sightings, duration=frame.duration, renamed=renamed
        )


def _locate(
    search: FaceSearch, middle: _Frame, views: list[tuple[float, dict[int, FaceBox]]]
) -> dict[int, FaceBox]:
    """Returns who comes, goes or jumps, if they are in the frame in which detection was left out."""
    (_, known), (_, faces) = views
    others = {
        name: box
        for name, box in _boxes_between(views, middle.time).items()
        if affinity(known[name], faces[name]) > 0
    }
    places = [(name, view[name]) for view in (known, faces) for name in view if name not in others]
    return search.locate(middle.image, places, list(others.values()))


def _boxes_between(
    views: list[tuple[float, dict[int, FaceBox]]], time: float
) -> dict[int, FaceBox]:
    """Returns the interpolated boxes of a frame, given those of two or three others, each with its time."""
    boxes: dict[int, FaceBox] = {}
    for (before, known), (after, faces) in [*itertools.pairwise(views), (views[0], views[-1])]:
        if before <= time <= after:
            part = (time - before) / max(after - before, EPSILON)
            both = [name for name in faces if name in known and name not in boxes]
            boxes |= {name: interpolate(known[name], faces[name], part) for name in both}
    return boxes
