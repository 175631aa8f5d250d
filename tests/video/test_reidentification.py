"""Drawn people: each has a face of smooth noise and a shirt of one colour."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from decoders import each_decoder
from PIL import Image as Picture
from synthetic_videos import write_video

from peclip.video import reidentification
from peclip.video.detectors.yunet import YuNetDetector
from peclip.video.faces import FaceBox
from peclip.video.frames import Frames
from peclip.video.observer import Observer
from peclip.video.reader import open_video
from peclip.video.reidentification import SAME_PERSON, Appearance, CutFinder, People, view
from peclip.video.tracking import FaceTracker
from peclip.video.windows import cut_windows

SHIRTS = [(200, 40, 40), (40, 60, 200), (230, 220, 60), (30, 120, 50)]


def face(x: int) -> FaceBox:
    return FaceBox(x, 60, 48, 48, 0.9)


def frame(*people: tuple[int, int], room: int = 90) -> np.ndarray:
    """A frame (240, 320, 3) of a room with people as (number, left edge of the face)."""
    image = np.full((240, 320, 3), room, np.uint8)
    for number, x in people:
        noise = np.random.default_rng(number).uniform(0, 255, (6, 6, 3)).astype(np.float32)
        image[60:108, x : x + 48] = cv2.resize(noise, (48, 48), interpolation=cv2.INTER_CUBIC)
        image[112:240, x - 12 : x + 60] = SHIRTS[number]
    return image


def track(
    frames: list[list[tuple[int, int]]], *, rooms: list[int] | None = None, reidentify: bool = True
) -> list[list[int]]:
    """Returns the ids of the people in frames 0.1 s apart; renamed ones have their earlier id."""
    tracker, cuts = FaceTracker(reidentify=reidentify), CutFinder()
    found, renamed = [], {}
    for number, people in enumerate(frames):
        image = frame(*people, room=rooms[number] if rooms else 90)
        faces = [face(x) for _, x in people]
        tracked = tracker.update(faces, number / 10, image, is_cut=cuts.is_cut(image))
        found.append([name for name, _ in tracked])
        renamed |= tracker.renamed
    return [[renamed.get(name, name) for name in names] for names in found]


A, B = (0, 40), (1, 40)
AWAY = [[]] * 20


def test_views_of_a_person_are_similar_and_of_others_are_not() -> None:
    first = view(frame((0, 40)), face(40))
    assert first.shape == (1312,)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-3)
    assert first @ view(frame((0, 200)), face(203)) > SAME_PERSON
    for other in (1, 2, 3):
        assert first @ view(frame((other, 40)), face(40)) < 0.8


@pytest.mark.parametrize("x", [40, 220])
def test_a_person_who_returns_keeps_the_id_at_any_place(x: int) -> None:
    ids = track([[A]] * 5 + AWAY + [[(0, x)]] * 5)
    assert ids == [[0]] * 5 + AWAY + [[0]] * 5
    without = track([[A]] * 5 + AWAY + [[(0, x)]] * 5, reidentify=False)
    assert without[-1] == [1]


def test_somebody_else_at_the_same_place_is_somebody_else() -> None:
    ids = track([[A]] * 5 + AWAY + [[B]] * 5 + AWAY + [[A]] * 5)
    assert [names[0] for names in ids if names] == [0] * 5 + [ids[25][0]] * 5 + [0] * 5
    assert ids[25][0] != 0


def test_after_a_cut_the_place_says_nothing() -> None:
    """Interview: the camera shows A, B at the same place in the frame, and A again."""
    frames = [[A]] * 5 + [[B]] * 5 + [[A]] * 5
    first, second, third = (
        {name for names in part for name in names}
        for part in np.split(np.array(track(frames, rooms=[90] * 5 + [200] * 5 + [90] * 5)), 3)
    )
    assert len(first) == len(second) == 1
    assert first.isdisjoint(second)
    assert third == first


def test_a_new_slide_beside_a_person_keeps_the_id() -> None:
    """In a screen recording, most of the picture changes and the person does not."""
    slide = frame(A)
    slide[:, 130:] = 255
    images = [frame(A), frame(A), slide, slide, frame(A)]
    cuts, tracker = CutFinder(), FaceTracker(reidentify=True)
    is_cut = [cuts.is_cut(image) for image in images]
    assert is_cut == [False, False, True, False, True]
    seen = [
        tracker.update([face(40)], n / 10, image, is_cut=is_cut[n])
        for n, image in enumerate(images)
    ]
    assert [names[0][0] for names in seen] == [0] * 5


def test_twins_in_one_frame_are_two_people() -> None:
    ids = track([[(0, 40), (0, 220)]] * 5)
    assert ids == [[0, 1]] * 5


def test_who_appears_while_a_person_is_in_view_is_not_that_person() -> None:
    ids = track([[A]] * 5 + [[A, (0, 220)]] * 5 + [[(0, 220)]] * 5)
    assert ids == [[0]] * 5 + [[0, 1]] * 5 + [[1]] * 5


def test_a_person_recognised_late_has_one_id_in_the_rows() -> None:
    """On return, the first three frames show a hand in front of the face."""
    hidden = frame(A)
    hidden[60:108, 40:88] = 255 - hidden[60:108, 40:88]
    images = [frame(A)] * 10 + [frame()] * 20 + [hidden] * 3 + [frame(A)] * 12

    class Seen:
        name = "drawn"

        def detect(self, image: np.ndarray) -> list[FaceBox]:
            return [] if np.array_equal(image, frame()) else [face(40)]

    observer = Observer(Seen(), size=8, full_search=True)
    observations = list(observer.observe([array_frames(images)]))
    assert [o.renamed for o in observations[:33]] == [{}] * 33
    ((new, earlier),) = observations[33].renamed.items()
    assert {s.track_id for o in observations[30:33] for s in o.sightings} == {new}
    windows = list(cut_windows(observations, window=1.0, hop=1.0, num_frames=4, size=8))
    people = [[person.track_id for person in window] for window in windows]
    assert people == [[0], [-1], [-1], [0], [0]]
    assert earlier == 0


def array_frames(images: list[np.ndarray]) -> Frames:
    return Frames(np.stack(images), np.arange(len(images)) / 10)


def test_memory_is_bounded() -> None:
    people = People()
    for number in range(1000):
        people.remember(number, Appearance(), float(number))
    assert sorted(people.seen_before(2000.0)) == list(range(936, 1000))
    one = Appearance()
    for number in range(100):
        one.add(frame((number % 4, 40 + number)), face(40), float(number))
    assert len(one._views) == 8


def test_views_are_stored_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    monkeypatch.setattr(
        reidentification, "view", lambda image, face: times.append(1.0) or np.ones(4, np.float32)
    )
    one = Appearance()
    for number in range(21):
        one.add(frame(A), face(40), number / 10)
    assert len(times) == 5


def test_a_cut_is_a_change_of_the_whole_picture() -> None:
    cuts = CutFinder()
    # Between rooms of 90 and 111 all of the picture changes by 21; a moving person changes a small part.
    rooms = [90, 90, 111, 111, 100]
    assert [cuts.is_cut(frame(room=room)) for room in rooms] == [False, False, True, False, False]
    assert not CutFinder().is_cut(frame(A))
    moving = CutFinder()
    assert [moving.is_cut(frame((0, x))) for x in (40, 60, 200)] == [False] * 3


@pytest.mark.parametrize("height", [1080, 720])
def test_lines_that_scroll_are_no_cut(height: int) -> None:
    """Stripes as far apart as the rows of a 64th of the height, which move by half of that."""
    pitch = height // 64
    white = np.arange(height) % pitch < pitch // 2
    page = np.where(white[:, None, None], 255, 0).astype(np.uint8)
    page = np.ascontiguousarray(np.broadcast_to(page, (height, 640, 3)))
    cuts = CutFinder()
    assert [cuts.is_cut(np.roll(page, move, axis=0)) for move in (0, pitch // 2, 0)] == [False] * 3
    assert cuts.is_cut(np.zeros_like(page))


class Bright:
    """A detector that finds the bright square of a drawn video."""

    name = "bright"

    def detect(self, image: np.ndarray) -> list[FaceBox]:
        rows, columns = np.nonzero(image[..., 0] > 200)
        if not len(rows):
            return []
        x, y = float(columns.min()), float(rows.min())
        return [FaceBox(x, y, columns.max() + 1 - x, rows.max() + 1 - y, 0.9)]


TIMES_MS = [0, 40, 80, 2080, 4080, 4120, 4160, 9000, 9040, 9080, 9120, 9160]
"""A burst, pauses of a screen recording in which nothing changes, and bursts again."""


def uneven(path: Path) -> Path:
    pixels = np.full((len(TIMES_MS), 48, 64, 3), 60, np.uint8)
    for number, image in enumerate(pixels):
        image[10:34, 16 + number % 3 : 40 + number % 3] = 240
    if path.suffix == ".gif":
        steps = [b - a for a, b in pairwise(TIMES_MS)]
        first, *rest = (Picture.fromarray(image) for image in pixels)
        first.save(path, save_all=True, append_images=rest, duration=[*steps, 40], disposal=2)
        return path
    return write_video(path, pixels, times_ms=TIMES_MS)


@each_decoder
@pytest.mark.parametrize("ending", ["gif", "mkv", "mp4"])
@pytest.mark.parametrize("reidentify", [True, False])
def test_uneven_rates_keep_one_id(
    ending: str, reidentify: bool, decoder: str, tmp_path: Path
) -> None:
    with open_video(uneven(tmp_path / f"uneven.{ending}"), decoder=decoder) as reader:
        observer = Observer(Bright(), size=8, reidentify=reidentify)
        seen = [s.track_id for o in observer.observe(reader.chunks()) for s in o.sightings]
    assert seen == [0] * len(TIMES_MS)


def test_a_thinned_frame_folder_keeps_one_id(tmp_path: Path) -> None:
    for number in range(10):  # one frame every four seconds
        image = np.full((48, 64, 3), 60, np.uint8)
        image[10:34, 16 + number : 40 + number] = 240
        Picture.fromarray(image).save(tmp_path / f"{number:04d}.png")
    with open_video(tmp_path, frame_rate=0.25) as reader:
        observer = Observer(Bright(), size=8)
        assert [s.track_id for o in observer.observe(reader.chunks()) for s in o.sightings] == (
            [0] * 10
        )


def ids(path: Path, detector: YuNetDetector, decoder: str) -> list[list[int]]:
    with open_video(path, decoder=decoder) as reader:
        observations = Observer(detector, size=8, detect_rate=10.0).observe(reader.chunks())
        return [[s.track_id for s in o.sightings] for o in observations]


@each_decoder
def test_a_still_person_after_a_burst_is_one_person(
    decoder: str, shared_data: Path, yunet: Path
) -> None:
    """By eye: one person in all eight frames."""
    path = shared_data / "hard" / "uneven_delays_one_person.gif"
    assert ids(path, YuNetDetector(str(yunet)), decoder) == [[0]] * 8


def test_real_people_after_cuts_and_gaps(clips: Path, yunet: Path) -> None:
    """Three people of similar videos: cuts from one to the next, then a gap of 3 s, then the first again."""
    parts = []
    for name in ("angry", "surprise", "fear"):
        with open_video(clips / f"{name}.mp4", decoder="pyav") as reader:
            parts.append(reader.read(range(0, 48, 6)).data)
    empty = np.full_like(parts[0][:1], 120)
    images = [*parts[0][:4], *parts[1][:4], *parts[2][:4], *(30 * [empty[0]]), *parts[0][4:]]
    observer = Observer(YuNetDetector(str(yunet)), size=8)
    seen = [[s.track_id for s in o.sightings] for o in observer.observe([array_frames(images)])]
    assert all(len(people) == 1 for people in seen[:12] + seen[42:])
    first, second, third, again = (
        {people[0] for people in part} for part in (seen[:4], seen[4:8], seen[8:12], seen[42:])
    )
    assert len(first | second | third) == 3
    assert again == first
