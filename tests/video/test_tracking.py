from __future__ import annotations

import random
from itertools import permutations

import pytest

from peclip.video.faces import FaceBox
from peclip.video.tracking import FaceTracker, affinity, iou


def face(x: float, y: float = 100.0, side: float = 50.0) -> FaceBox:
    return FaceBox(x - side / 2, y - side / 2, side, side, 0.9)


def test_iou_by_hand() -> None:
    a = FaceBox(0, 0, 10, 10, 1)
    assert iou(a, a) == 1
    assert iou(a, FaceBox(5, 0, 10, 10, 1)) == pytest.approx(50 / 150)
    assert iou(a, FaceBox(10, 0, 10, 10, 1)) == 0


def test_a_face_of_another_size_is_another_person() -> None:
    assert affinity(face(100, side=50), face(100, side=120)) == 0
    assert affinity(face(100, side=50), face(100, side=60)) > 0.2


def test_a_moving_person_keeps_the_id() -> None:
    tracker = FaceTracker()
    ids = {tracker.update([face(100 + 8 * n)], n / 25)[0][0] for n in range(50)}
    assert ids == {0}


def test_two_people_who_cross_keep_their_ids() -> None:
    """They walk through each other at the same height: only the motion tells them apart."""
    tracker = FaceTracker()
    for n in range(41):
        left, right = face(100 + 10 * n), face(500 - 10 * n)
        found = {round(f.center[0]): track for track, f in tracker.update([right, left], n / 25)}
        if len(found) == 2:
            first = found[100 + 10 * n]
            second = found[500 - 10 * n]
            if n == 0:
                ids = (first, second)
            assert (first, second) == ids
    assert n == 40


def test_the_order_of_detections_does_not_matter() -> None:
    people = [face(100), face(200), face(320)]
    for order in permutations(range(3)):
        tracker = FaceTracker()
        first = {f.center: track for track, f in tracker.update(people, 0.0)}
        moved = {f.center: track for track, f in tracker.update([people[i] for i in order], 0.04)}
        assert first == moved


def test_a_short_gap_keeps_the_id_and_a_long_one_does_not() -> None:
    tracker = FaceTracker(max_gap=1.0)
    tracker.update([face(100)], 0.0)
    tracker.update([], 0.5)
    assert tracker.update([face(104)], 0.9)[0][0] == 0
    for time in (1.4, 1.9):  # 1.0 s after the person was last seen, and not more
        tracker.update([], time)
    assert tracker.update([face(104)], 2.0)[0][0] == 0
    for time in (2.5, 3.0, 3.01):
        tracker.update([], time)
    assert tracker.update([face(104)], 3.1)[0][0] == 1


def test_a_pause_between_two_frames_is_no_absence() -> None:
    """Nobody was missed in it. A minimum over the intervals so far, 0.04 s, once ended the track."""
    tracker = FaceTracker(max_gap=1.0)
    times = [0.0, 0.04, 0.08, 2.0, 4.0, 4.04, 64.0, 3600.0]
    assert {tracker.update([face(100)], time)[0][0] for time in times} == {0}


def test_one_frame_that_misses_a_person_before_a_pause_is_not_enough() -> None:
    tracker = FaceTracker(max_gap=1.0)
    tracker.update([face(100)], 0.0)
    tracker.update([], 0.1)
    tracker.update([], 0.2)
    assert tracker.update([face(100)], 60.0)[0][0] == 0, "missed for 0.2 s, and not for 60 s"


def test_one_track_gets_one_face() -> None:
    tracker = FaceTracker()
    tracker.update([face(100)], 0.0)
    assert sorted(track for track, _ in tracker.update([face(102), face(110)], 0.04)) == [0, 1]


def test_a_jump_across_the_frame_is_a_new_person() -> None:
    tracker = FaceTracker()
    tracker.update([face(100)], 0.0)
    assert tracker.update([face(400)], 0.04)[0][0] == 1


def test_a_slow_video_counts_frames_and_not_seconds() -> None:
    tracker = FaceTracker(max_gap=1.0)
    ids = {tracker.update([face(100 + n)], 4.0 * n)[0][0] for n in range(10)}
    assert ids == {0}
    tracker.update([], 40.0)
    assert tracker.update([face(110)], 44.0)[0][0] == 0, "one frame was missed"
    tracker.update([], 48.0)
    tracker.update([], 52.0)
    assert tracker.update([face(110)], 56.0)[0][0] == 1


def test_jitter_does_not_carry_a_lost_face_away() -> None:
    """Boxes of a still face shake by two pixels; after a gap of 0.8 s it is still the same person."""
    rng = random.Random(0)
    kept = 0
    for _ in range(200):
        tracker = FaceTracker()
        for n in range(30):
            tracker.update([face(100 + rng.gauss(0, 2), 100 + rng.gauss(0, 2), 40)], n / 30)
        kept += tracker.update([face(100, 100, 40)], 29 / 30 + 0.8)[0][0] == 0
    assert kept == 200
