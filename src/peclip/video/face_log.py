"""Where every face is in every frame, in a few bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from peclip.video.faces import FaceBox
from peclip.video.observer import Observation
from peclip.video.sighting import WHOLE_FRAME


@dataclass(frozen=True, slots=True)
class LoggedFace:
    """One face in one frame."""

    track: int
    """The earliest track id of the person, from the tracker."""
    track_id: int | None
    """The id in the rows; `None` for a face without any row, such as one seen in two frames only."""
    box: FaceBox


@dataclass(frozen=True, slots=True)
class LoggedFrame:
    """The faces of one frame; its fields are those of `Observation`."""

    index: int
    time: float
    duration: float
    faces: tuple[LoggedFace, ...]


class FaceLog:
    """The faces of consecutive frames without their pixels: 28 bytes per frame and 24 per face."""

    def __init__(self) -> None:
        self._indices = array("q")
        self._times, self._durations = array("d"), array("d")
        self._counts = array("i")
        self._tracks = array("i")
        self._numbers = array("f")  # x, y, width, height and confidence of each face
        self._earlier: dict[int, int] = {}
        self._ids: dict[int, int] = {}

    def add(self, observation: Observation) -> None:
        """Adds the next frame; people who are recognised in it keep their earlier track id in all frames."""
        self._earlier.update(observation.renamed)
        self._indices.append(observation.index)
        self._times.append(observation.time)
        self._durations.append(observation.duration)
        self._counts.append(len(observation.sightings))
        for sighting in observation.sightings:
            face = sighting.face
            self._tracks.append(sighting.track_id)
            self._numbers.extend((face.x, face.y, face.width, face.height, face.score))

    def name(self, ids: Mapping[int, int]) -> None:
        """Sets the ids in the rows by the earliest track id of each person; other faces have no id."""
        self._ids = {WHOLE_FRAME: WHOLE_FRAME, **ids}

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._indices)

    def __iter__(self) -> Iterator[LoggedFrame]:
        """Yields the frames in their order."""
        place = 0
        for index, time, duration, count in zip(
            self._indices, self._times, self._durations, self._counts, strict=True
        ):
            faces = tuple(self._face(number) for number in range(place, place + count))
            yield LoggedFrame(index, time, duration, faces)
            place += count

    def _face(self, place: int) -> LoggedFace:
        track = self._earlier.get(self._tracks[place], self._tracks[place])
        x, y, width, height, score = self._numbers[5 * place : 5 * place + 5]
        return LoggedFace(track, self._ids.get(track), FaceBox(x, y, width, height, score))
