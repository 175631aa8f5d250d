"""The faces of frames in a few bytes each."""

from __future__ import annotations

import sys

import numpy as np

from peclip.video.face_log import FaceLog
from peclip.video.faces import FaceBox
from peclip.video.observer import WHOLE_FRAME, Observation, Sighting

CROP = np.zeros((8, 8, 3), np.uint8)


def observation(index: int, *tracks: int, renamed: dict[int, int] | None = None) -> Observation:
    sightings = tuple(
        Sighting(track, FaceBox(10.0 * track, 1.5, 3.0, 4.0, 0.5), CROP) for track in tracks
    )
    return Observation(index, index / 25, sightings, duration=0.04, renamed=renamed or {})


def test_frames_come_back_with_the_ids_of_the_rows() -> None:
    log = FaceLog()
    for frame in (observation(3, 7, 9), observation(4), observation(5, 9)):
        log.add(frame)
    log.name({9: 0})
    frames = list(log)
    assert [(f.index, f.time, f.duration) for f in frames] == [
        (3, 0.12, 0.04),
        (4, 0.16, 0.04),
        (5, 0.2, 0.04),
    ]
    assert [[(face.track, face.track_id) for face in f.faces] for f in frames] == [
        [(7, None), (9, 0)],
        [],
        [(9, 0)],
    ]
    assert frames[0].faces[0].box == FaceBox(70.0, 1.5, 3.0, 4.0, 0.5)


def test_a_person_recognised_later_has_one_id_in_all_frames() -> None:
    log = FaceLog()
    for frame in (observation(0, 2), observation(1, 5), observation(2, 2, renamed={5: 2})):
        log.add(frame)
    log.name({2: 0})
    assert [[face.track_id for face in frame.faces] for frame in log] == [[0], [0], [0]]


def test_the_whole_frame_keeps_its_id() -> None:
    log = FaceLog()
    log.add(observation(0, WHOLE_FRAME))
    log.name({})
    assert [face.track_id for frame in log for face in frame.faces] == [WHOLE_FRAME]


def test_an_hour_with_three_people_takes_ten_megabytes() -> None:
    log = FaceLog()
    for index in range(1000):
        log.add(observation(index, 0, 1, 2))
    parts = (getattr(log, name) for name in vars(log))
    size = sum(sys.getsizeof(part) for part in parts)
    assert 90 * size < 11e6  # 90,000 frames are an hour; arrays grow by an eighth at most
