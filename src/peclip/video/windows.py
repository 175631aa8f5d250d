"""From observations to windows: who is visible when, and the crops for the model.

A window is a time interval of the video. Every person visible in it gives one `FaceWindow`; a window
without people gives one without crops, so that every moment of the video has a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from peclip.video.face_measures import FaceMeasures, measure_faces
from peclip.video.faces import FaceBox
from peclip.video.observer import EPSILON, Observation
from peclip.video.recent import Recent
from peclip.video.sampling import clip_indices
from peclip.video.sighting import WHOLE_FRAME, Sighting

_MIN_HITS = 3
"""Frames of a window in which a face must be seen: single false alarms are dropped."""


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
    measures: FaceMeasures | None = None
    """Of the crops and the landmarks; `None` without a face."""
    crop_frames: tuple[int, ...] = ()
    """The frame of each crop: a person's crops from the same frame are equal in all windows."""
    sound: NDArray[np.float32] | None = None
    """Samples (N,) from -1 to 1, for models that read sound; `None` if there is none, or it is masked."""


class _Cut(NamedTuple):
    """Number of crops in a clip, of clips, and the side of the crops."""

    num_frames: int
    clips: int
    size: int


class Span(NamedTuple):
    """Where a window lies; the fields are those of `FaceWindow`."""

    window: int
    start_s: float
    end_s: float
    start_frame: int
    end_frame: int


def cut_windows(
    observations: Iterable[Observation],
    *,
    window: float,
    hop: float,
    num_frames: int,
    size: int,
    clips: int = 1,
    ids: dict[int, int] | None = None,
) -> Iterator[list[FaceWindow]]:
    """Cuts a stream of observations into windows, each yielded as soon as it is complete.

    Window `k` covers `window` seconds from `k * hop` after the first frame. Any remaining frames at the end are
    covered by one more window, which ends with the video, that is, when the display time of its last frame ends. A
    video shorter than a window is one window. An interval without frames produces no window. Memory is bounded by the
    length of a window, and to 256 MiB.

    Args:
        observations: of consecutive frames, in chronological order.
        window: seconds, above 0; infinity treats the whole video as one window.
        hop: seconds between the starts of windows, above 0.
        num_frames: crops per person and window, by segment-centre sampling.
        size: side of the crops.
        clips: choices of crops per person and window, one after the other.
        ids: filled with the id in the rows of each person who has a row, by their earliest track id.
    """
    recent, people = Recent(every_frame=math.isfinite(window)), _Ids(ids)
    cut = _Cut(num_frames, clips, size)
    number, start, origin, covered, time, step = 0, 0.0, 0.0, -1, 0.0, 0.0
    newest: Observation | None = None
    for observation in people.follow(observations):
        if newest is None:
            start = origin = observation.time
        else:
            step = observation.time - time
        time = observation.time
        while time >= start + window - EPSILON:
            inside, within = recent.between(start, start + window)
            if inside and within is not None:
                span = Span(number, start, start + window, within[0], within[-1])
                yield _people(inside, span, cut, people)
                number, covered = number + 1, within[-1]
            start += hop if within is not None else hop * max(1, int((time - start - window) / hop))
        # One window before the end is kept for the one that ends with the video.
        recent.forget(min(start, time - window))
        recent.add(observation)
        newest = observation
    if newest is not None and newest.index > covered:
        rest, span = _rest(recent, newest, number, origin, window, step)
        yield _people(rest, span, cut, people)


def _rest(
    recent: Recent, newest: Observation, number: int, origin: float, window: float, step: float
) -> tuple[list[Observation], Span]:
    """Returns the observations of the last window, and where it lies."""
    # The step excludes a pause before the last frame, which may be shown longer than a window.
    end = newest.time + (newest.duration or min(step, window))
    begin = max(origin, min(end - window, newest.time))
    rest, within = recent.between(begin, math.inf)
    if not rest or rest[-1] is not newest:
        rest.append(newest)  # thinned out, but the video ends with it
    first = within[0] if within is not None else newest.index
    return rest, Span(number, begin, end, first, newest.index)


class _Ids:
    """The ids of people in rows: numbered in the order of their first row."""

    def __init__(self, public: dict[int, int] | None) -> None:
        self.earlier: dict[int, int] = {}
        """New track id → earlier track id of people who were recognised later."""
        self._public = {} if public is None else public

    def follow(self, observations: Iterable[Observation]) -> Iterator[Observation]:
        """Passes observations on, and learns who was recognised."""
        for observation in observations:
            self.earlier.update(observation.renamed)
            yield observation

    def person(self, track: int) -> int:
        """Returns the track id of a person by which all their sightings are joined."""
        return self.earlier.get(track, track)

    def public(self, person: int) -> int:
        """Returns the id in the rows."""
        if person == WHOLE_FRAME:
            return person
        return self._public.setdefault(person, len(self._public))


def _people(inside: list[Observation], place: Span, cut: _Cut, ids: _Ids) -> list[FaceWindow]:
    """Gathers the sightings of a window by person, in the order of their ids."""
    by_track: dict[int, list[tuple[int, Sighting]]] = {}
    for observation in inside:
        for sighting in observation.sightings:
            person = ids.person(sighting.track_id)
            by_track.setdefault(person, []).append((observation.index, sighting))
    hits = min(_MIN_HITS, len(inside))
    seen = {track: found for track, found in by_track.items() if len(found) >= hits}
    span = place._asdict()
    if not seen:
        nothing = np.zeros((0, cut.size, cut.size, 3), np.uint8)
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
        places = clip_indices(len(seen[track]), cut.num_frames, cut.clips)
        chosen = [seen[track][place] for place in places]
        crops = np.stack([sighting.crop for _, sighting in chosen])
        people.append(
            FaceWindow(
                **span,
                track_id=ids.public(track),
                num_frames_used=len(set(places)),
                crops=crops,
                box=_median_box([sighting.face for _, sighting in seen[track]]),
                coverage=len(seen[track]) / len(inside),
                n_faces=len(seen.keys() - {WHOLE_FRAME}),
                measures=measure_faces(crops, (sighting.face for _, sighting in seen[track])),
                crop_frames=tuple(index for index, _ in chosen),
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
