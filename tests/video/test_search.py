from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from decoders import each_decoder
from synthetic_videos import write_video

from peclip.video.detectors.detector import MAX_SIDE
from peclip.video.detectors.yunet import YuNetDetector
from peclip.video.faces import FaceBox, Image
from peclip.video.frames import Frames
from peclip.video.observer import Observer
from peclip.video.reader import open_video
from peclip.video.search import FaceSearch, full_side, smallest_face
from peclip.video.tracking import iou


@pytest.mark.parametrize(
    ("longer", "min_face", "side"),
    [
        (320, 24, 320),  # never enlarged
        (640, 24, 640),
        (1280, 24, 960),  # 24 pixels become 18
        (1920, 24, 1440),
        (3840, 24, 2880),
        (3840, 48, 1440),
        (3840, 300, 640),
        (3840, 18, 3840),
        (3840, 0, 3840),
        (16_384, 24, 5760),  # memory is bounded
    ],
)
def test_the_full_size_by_hand(longer: int, min_face: float, side: int) -> None:
    assert full_side(longer, detect_size=None, min_face=min_face) == side


@pytest.mark.parametrize(
    ("longer", "detect_size", "pixels"),
    [(640, None, 18), (1280, None, 24), (3840, None, 24), (3840, 640, 108), (1920, 320, 108)],
)
def test_the_smallest_face_by_hand(longer: int, detect_size: int | None, pixels: int) -> None:
    assert smallest_face(longer, detect_size=detect_size, min_face=24.0) == pixels


class Faces:
    """A detector that sees bright squares of 18 pixels and more in the scaled image, and lists what it is given.

    A square that the border of a region cuts off is not seen.
    """

    name = "faces"

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []
        """Width, height and `max_side` of each image."""

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        height, width = image.shape[:2]
        self.asked.append((width, height, max_side))
        scale = min(1.0, max_side / max(height, width))
        count, _, boxes, _ = cv2.connectedComponentsWithStats((image[..., 0] > 0).astype(np.uint8))
        return [
            FaceBox(float(x), float(y), float(w), float(h), 0.9)
            for x, y, w, h, _ in boxes[1:count].tolist()
            if w == h and 18 <= w * scale <= 640
        ]


def scene(*faces: tuple[int, int, int], size: tuple[int, int] = (1920, 1080)) -> Image:
    """A black frame with a white square at each (x, y, side)."""
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y, side in faces:
        frame[y : y + side, x : x + side] = 255
    return frame


WHOLE = (1920, 1080, 1440), (1920, 1080, 640)
"""The full size of 1440, and 640 for a face that fills the frame."""

TENTHS = [number / 10 for number in range(7)]


def searched(
    scenes: list[Image], **options: Any
) -> tuple[list[list[FaceBox]], list[list[tuple[int, int, int]]]]:
    """Returns the faces found in each frame, a tenth of a second apart, and the images given to the detector."""
    detector = Faces()
    search = FaceSearch(detector, **options)
    found, asked = [], []
    for number, image in enumerate(scenes):
        found.append(search.find(image, number / 10))
        asked.append(detector.asked[sum(map(len, asked)) :])
    return found, asked


def boxes(faces: list[FaceBox]) -> list[tuple[float, ...]]:
    return sorted((face.x, face.y, face.side) for face in faces)


def test_a_large_face_is_followed_in_its_region() -> None:
    """At 640, the grid is of 96 pixels, and 64 scaled pixels around a face are 192.

    A face from 700 to 900 and 300 to 500 needs 508 to 1092 and 108 to 692: on the grid, 480 to 1152 and 96 to 768.
    """
    found, asked = searched([scene((700 + n, 300, 200)) for n in range(7)])
    assert asked[0] == [*WHOLE]
    assert asked[1] == [(672, 672, 224)]
    assert [len(images) for images in asked] == [2, 1, 1, 1, 1, 2, 1]
    assert [boxes(faces) for faces in found] == [[(700 + n, 300, 200)] for n in range(7)]


def test_the_full_search_leaves_out_what_has_not_changed() -> None:
    """In 5 s, and then it searches the whole frame."""
    scenes = [scene((300, 300, 200), (1200, 700, 100 + n % 2)) for n in range(52)]
    found, asked = searched(scenes)
    full = [images for images in asked if len(images) == 2 and images[1] == WHOLE[1]]
    sizes = {images[0] for images in full}
    assert [images[0] == WHOLE[0] for images in full] == [True, *[False] * 9, True]
    assert all(width < 1400 and height < 900 for width, height, _ in sizes - {WHOLE[0]})
    assert [len(faces) for faces in found] == [2] * 52


def test_a_small_face_is_followed_at_the_full_size() -> None:
    """24 pixels need 1440: a grid of 42.7 pixels. From 600 - 85.3 to 624 + 85.3: 512 to 725.3, and 298.7 to 512."""
    found, asked = searched([scene((600, 400, 24))] * 3)
    assert asked[1:] == [[(213, 213, 160)]] * 2
    assert [boxes(faces) for faces in found] == [[(600, 400, 24)]] * 3


def test_the_size_fits_the_smallest_face() -> None:
    """A face of 50 pixels needs 24 * 1920 / 50 = 922 pixels: 960, the next multiple of 160."""
    _, asked = searched([scene((200, 200, 200), (1200, 500, 50))] * 2)
    scales = {round(side / max(width, height), 3) for width, height, side in asked[1]}
    assert (len(asked[1]), scales) == (2, {0.5})


def test_many_faces_are_searched_in_the_whole_frame() -> None:
    faces = [(100 + 300 * x, 100 + 320 * y, 200) for x in range(6) for y in range(3)]
    found, asked = searched([scene(*faces)] * 2)
    assert asked[1] == [(1920, 1080, 640)]
    assert len(found[1]) == 18


def test_without_a_face_only_whole_frames_are_searched() -> None:
    _, asked = searched([scene()] * 7)
    assert [len(images) for images in asked] == [2, 0, 0, 0, 0, 2, 0]
    assert asked[0] == [*WHOLE]


@pytest.mark.parametrize("side", [25, 200])
@pytest.mark.parametrize("known", [(), ((300, 300, 200),)])
def test_a_new_face_is_found_within_half_a_second(
    known: tuple[tuple[int, int, int], ...], side: int
) -> None:
    before, after = scene(*known), scene(*known, (1500, 700, side))
    found, _ = searched([before, *[after] * 6])
    assert [len(faces) - len(known) for faces in found] == [0, 0, 0, 0, 0, 1, 1]


class Faint(Faces):
    """Sees squares brighter than 30."""

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        return super().detect(np.where(image > 30, image, 0), max_side)


@pytest.mark.parametrize("rate", [2, 5])
def test_a_face_that_fades_in_is_found_when_it_is_bright_enough(rate: int) -> None:
    """It gets brighter by `rate` levels per second, its left border four times as fast, beside a known face."""
    search, still = FaceSearch(Faint()), scene((100, 100, 200), size=(1280, 720))
    for half_seconds in range(64 // rate + 2):
        level = rate * half_seconds / 2
        frame = still.copy()
        frame[400:528, 900:1028] = int(level)
        frame[400:528, 900:916] = int(min(4 * level, 255))
        found = search.find(frame, half_seconds / 2)
        assert len(found) == 1 + (int(level) > 30), half_seconds


def test_a_cut_is_searched_at_once() -> None:
    """The new shot has a face where the old one had its face, and another one."""
    old, new = scene((300, 300, 200)), scene((300, 300, 200), (1500, 700, 100))
    bright = np.maximum(new, np.where(new[..., :1] > 0, 0, [0, 200, 200]).astype(np.uint8))
    shots = Frames(np.stack([old, old, bright, bright]), np.arange(4) / 10)
    detector = Faces()
    seen = [o.sightings for o in Observer(detector, size=8).observe([shots])]
    assert [len(sightings) for sightings in seen] == [1, 1, 2, 2]
    assert [images for images in detector.asked if images in WHOLE] == [*WHOLE] * 2


def test_a_face_that_was_hidden_is_found_again_at_once() -> None:
    """It is looked for in its region for a second."""
    seen, empty = scene((300, 300, 200)), scene()
    found, asked = searched([seen, empty, empty, seen])
    assert [len(faces) for faces in found] == [1, 0, 0, 1]
    assert [images[-1:] == [WHOLE[1]] for images in asked] == [True, True, False, False]
    _, asked = searched([seen, *[empty] * 13])
    assert [len(images) for images in asked[11:]] == [3 - 1, 0, 0]


def test_a_face_that_moved_out_of_its_region_is_found_at_once() -> None:
    found, _ = searched([scene((300, 300, 200)), scene((1200, 300, 200))])
    assert [boxes(faces) for faces in found] == [[(300, 300, 200)], [(1200, 300, 200)]]


def test_every_whole_frame_is_searched_on_request() -> None:
    _, asked = searched([scene((300, 300, 200))] * 3, everywhere=True)
    assert asked == [[*WHOLE]] * 3


def test_a_missing_face_is_searched_at_the_full_size_at_once() -> None:
    """It has moved away: too small at 640."""
    found, _ = searched([scene((300, 300, 200)), scene((320, 320, 30))])
    assert boxes(found[1]) == [(320, 320, 30)]


def test_a_face_that_fills_the_frame_is_found_once() -> None:
    """1000 pixels are 750 in the large frame, which is too much for the detector, and 333 in the small one."""
    for side in (1000, 300):
        found, _ = searched([scene((50, 50, side))] * 2)
        assert [boxes(faces) for faces in found] == [[(50, 50, side)]] * 2


def test_a_frame_that_seems_empty_is_also_searched_at_a_small_size() -> None:
    """Blurred faces may be found at 640 pixels only; this is not repeated while a face is known."""

    class Blurred(Faces):
        def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
            found = super().detect(image, max_side)
            return found if max_side <= MAX_SIDE else []

    frame = scene((300, 300, 200), size=(1280, 720))
    assert boxes(FaceSearch(Blurred()).find(frame, 0.0)) == [(300, 300, 200)]
    _, asked = searched([frame])
    assert asked == [[(1280, 720, 960)]]


def test_a_chosen_size_is_used_in_every_resolution() -> None:
    _, asked = searched([scene((300, 300, 200))] * 2, detect_size=320)
    assert asked[0] == [(1920, 1080, 320)]
    assert [side / max(w, h) for w, h, side in asked[1]] == [pytest.approx(1 / 6)]


def small_face(astronaut: Path, width: int, height: int, pixels: int) -> np.ndarray:
    """A grey frame with the portrait at a size at which its face of 105 pixels has the given size."""
    with open_video(astronaut) as reader:
        image = reader.read([0]).data[0]
    small = cv2.resize(image, None, fx=pixels / 105, fy=pixels / 105, interpolation=cv2.INTER_AREA)
    frame = np.full((height, width, 3), 110, np.uint8)
    frame[height // 3 :, width // 2 :][: len(small), : small.shape[1]] = small
    return frame


@pytest.mark.parametrize(
    ("width", "height", "pixels"),
    [(1280, 720, 28), (1920, 1080, 24), (1920, 1080, 28), (3840, 2160, 28)],
)
def test_a_small_face_is_found_at_every_resolution(
    width: int, height: int, pixels: int, yunet: Path, astronaut: Path
) -> None:
    """It comes into view just after a search of the whole frame, and stays known in its region."""
    detector = YuNetDetector(str(yunet))
    frame = small_face(astronaut, width, height, pixels)
    assert detector.detect(frame) == []
    search = FaceSearch(detector)
    found = [search.find(np.full_like(frame, 110), 0.0)]
    found += [search.find(frame, n / 10) for n in range(1, 8)]
    assert [len(faces) for faces in found] == [0] * 5 + [1] * 3
    sides = [faces[0].side for faces in found[5:]]
    assert sides == pytest.approx([pixels] * 3, abs=5)


@pytest.mark.slow
def test_people_are_those_of_a_full_search(clips: Path, yunet: Path) -> None:
    """In all shared clips: the same ids in the same frames, and nearly the same boxes."""
    detector = YuNetDetector(str(yunet))
    paths = [path for path in sorted(clips.iterdir()) if path.suffix in {".mp4", ".gif", ".jpg"}]
    assert len(paths) >= 15
    for path in paths:
        runs = []
        for full in (False, True):
            observer = Observer(detector, size=8, detect_rate=10.0, full_search=full)
            with open_video(path, decoder="pyav") as reader:
                runs.append([o.sightings for o in observer.observe(reader.chunks(1), end=2.0)])
        assert len(runs[0]) == len(runs[1])
        for ours, all_of_them in zip(*runs, strict=True):
            boxes = {one.track_id: one.face for one in all_of_them}
            assert {one.track_id for one in ours} == boxes.keys(), path.name
            assert all(iou(one.face, boxes[one.track_id]) > 0.75 for one in ours), path.name


@each_decoder
@pytest.mark.parametrize("name", ["a.mkv", "a.webm"])
def test_the_small_face_of_a_made_video_is_found(
    name: str, decoder: str, tmp_path: Path, yunet: Path, astronaut: Path
) -> None:
    """Full HD with a face of 30 pixels, which a search at 640 pixels does not see."""
    frames = np.repeat(small_face(astronaut, 1920, 1080, 30)[None], 6, axis=0)
    codec = {"a.mkv": "libx264", "a.webm": "libvpx"}[name]
    path = write_video(
        tmp_path / name, frames, codec=codec, **{"b": "4M"} if codec == "libvpx" else {}
    )
    for side, found in ((None, 6), (640, 0)):
        with open_video(path, decoder=decoder) as reader:
            observer = Observer(
                YuNetDetector(str(yunet)), size=8, detect_rate=2.0, detect_size=side
            )
            seen = [o.sightings for o in observer.observe(reader.chunks())]
        assert [s.track_id for sightings in seen for s in sightings] == [0] * found


@each_decoder
def test_the_small_face_of_a_4k_video_is_found(
    decoder: str, shared_data: Path, yunet: Path
) -> None:
    """By eye, one face of about 38 pixels between forehead and chin."""
    path = shared_data / "hard" / "uhd_face_38px.mp4"
    with open_video(path, decoder=decoder) as reader:
        observer = Observer(YuNetDetector(str(yunet)), size=8, detect_rate=2.0)
        seen = [o.sightings for o in observer.observe(reader.chunks(), end=1.0)]
    assert [[s.track_id for s in sightings] for sightings in seen] == [[0]] * 15
    assert 30 < seen[0][0].face.side < 55
