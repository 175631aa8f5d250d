from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from decoders import each_decoder
from synthetic_videos import write_video

from peclip.video.detectors.detector import MAX_SIDE
from peclip.video.detectors.yunet import YuNetDetector
from peclip.video.faces import FaceBox, Image
from peclip.video.observer import Observer
from peclip.video.reader import open_video
from peclip.video.search import FaceSearch, full_side, smallest_face


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
    """A detector that sees faces of 18 pixels and more in the searched frame, and lists the sizes."""

    name = "faces"

    def __init__(self, *sides: float) -> None:
        self.sides = list(sides)
        self.asked: list[int] = []

    def detect(self, image: Image, max_side: int = MAX_SIDE) -> list[FaceBox]:
        self.asked.append(max_side)
        scale = min(1.0, max_side / max(image.shape[:2]))
        seen = [side for side in self.sides if 18 <= side * scale <= 640]
        return [FaceBox(10.0 + 700 * n, 10.0, side, side, 0.9) for n, side in enumerate(seen)]


HD = np.zeros((1080, 1920, 3), np.uint8)


def sizes(detector: Faces, times: list[float]) -> list[int]:
    search = FaceSearch(detector)
    for time in times:
        search.find(HD, time)
    return detector.asked


TENTHS = [number / 10 for number in range(7)]


def test_large_faces_are_followed_at_a_small_size() -> None:
    """Every half second the full size of 1440, and 640 for a face that fills the frame."""
    assert sizes(Faces(200.0), TENTHS) == [1440, 640, 640, 640, 640, 640, 1440, 640, 640]


def test_small_faces_are_always_searched_at_the_full_size() -> None:
    assert set(sizes(Faces(24.0), TENTHS)) == {1440, 640}
    assert sizes(Faces(24.0), TENTHS).count(1440) == 7


def test_the_size_fits_the_smallest_face() -> None:
    """A face of 50 pixels needs 24 * 1920 / 50 = 922 pixels: 960, the next multiple of 160."""
    assert sizes(Faces(200.0, 50.0), TENTHS[:2]) == [1440, 640, 960]


def test_without_a_face_the_frames_between_are_searched_at_a_small_size() -> None:
    assert sizes(Faces(), TENTHS) == [1440, 640, 640, 640, 640, 640, 1440, 640, 640]


def test_a_new_small_face_is_found_within_half_a_second() -> None:
    detector = Faces(200.0)
    search = FaceSearch(detector)
    found = []
    for time in TENTHS:
        if time == 0.1:
            detector.sides.append(24.0)
        found.append(len(search.find(HD, time)))
    assert found == [1, 1, 1, 1, 1, 2, 2]


def test_a_missing_face_is_searched_at_the_full_size_at_once() -> None:
    detector = Faces(200.0)
    search = FaceSearch(detector)
    search.find(HD, 0.0)
    detector.sides = [30.0]  # it has moved away: too small at 640
    assert [face.side for face in search.find(HD, 0.1)] == [30.0]


def test_a_face_that_fills_the_frame_is_found_once() -> None:
    """1000 pixels are 750 in the large frame, which is too much for the detector, and 333 in the small one."""
    assert [face.side for face in FaceSearch(Faces(1000.0)).find(HD, 0.0)] == [1000.0]
    assert [face.side for face in FaceSearch(Faces(300.0)).find(HD, 0.0)] == [300.0]


def test_a_chosen_size_is_used_in_every_resolution() -> None:
    detector = Faces(200.0)
    search = FaceSearch(detector, detect_size=320)
    for time in TENTHS[:3]:
        search.find(HD, time)
    assert detector.asked == [320] * 3


def small_face(astronaut: Path, width: int, height: int, pixels: int) -> np.ndarray:
    """A grey frame with the portrait at a size at which its face of 105 pixels has the given size."""
    with open_video(astronaut) as reader:
        image = reader.read([0]).data[0]
    small = cv2.resize(image, None, fx=pixels / 105, fy=pixels / 105, interpolation=cv2.INTER_AREA)
    frame = np.full((height, width, 3), 110, np.uint8)
    frame[height // 3 :, width // 2 :][: len(small), : small.shape[1]] = small
    return frame


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080), (3840, 2160)])
def test_a_small_face_is_found_at_every_resolution(
    width: int, height: int, yunet: Path, astronaut: Path
) -> None:
    detector = YuNetDetector(str(yunet))
    frame = small_face(astronaut, width, height, 28)
    assert detector.detect(frame) == []
    (face,) = FaceSearch(detector).find(frame, 0.0)
    assert face.side == pytest.approx(28, abs=5)


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
