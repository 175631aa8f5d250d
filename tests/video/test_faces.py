from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from fake_yunet import FakeYuNet, face_row, install

from peclip.errors import ConfigError, WeightsError
from peclip.literals import DetectorName
from peclip.settings import load_settings
from peclip.video.detectors.haar import HaarDetector
from peclip.video.detectors.registry import DETECTORS, load_detector
from peclip.video.detectors.yunet import YUNET, YuNetDetector
from peclip.video.faces import FaceBox, crop_face, resize_frame
from peclip.video.reader import open_video


def portrait(astronaut: Path) -> np.ndarray:
    with open_video(astronaut) as reader:
        return reader.read([0]).data[0]


def marked(angle: float) -> tuple[np.ndarray, FaceBox]:
    """A white disc left and a grey one right of the centre, where the eyes are, turned by an angle."""
    image = np.zeros((200, 300, 3), np.uint8)
    dx, dy = 20 * math.cos(angle), 20 * math.sin(angle)
    eyes = ((150 - dx, 100 - dy), (150 + dx, 100 + dy))
    for (x, y), grey in zip(eyes, (255, 128), strict=True):
        cv2.circle(image, (round(x), round(y)), 5, (grey,) * 3, -1)
    return image, FaceBox(110, 60, 80, 80, 0.9, eyes)


@pytest.mark.parametrize("angle", [0.0, 0.5, -0.5])
def test_a_crop_is_turned_so_that_the_eyes_are_level(angle: float) -> None:
    image, face = marked(angle)
    crop = crop_face(image, face, size=64, margin=0.0)
    assert crop.shape == (64, 64, 3)
    # 80 pixels become 64, so the eyes stand 16 pixels beside the centre, on its line.
    assert crop[32, 32 - 16].min() > 200
    assert 90 < crop[32, 32 + 16].mean() < 160
    assert crop[10].max() == 0


def test_without_alignment_or_eyes_the_crop_is_not_turned() -> None:
    image, face = marked(0.5)
    plain = crop_face(image, face, size=64, margin=0.0, align=False)
    unknown = FaceBox(face.x, face.y, face.width, face.height, face.score)
    assert np.array_equal(plain, crop_face(image, unknown, size=64, margin=0.0))
    assert plain[32, 32 - 16].max() < 50


def test_margin_and_shift_move_the_frame_of_the_crop() -> None:
    image, face = marked(0.0)
    wide = crop_face(image, face, size=64, margin=1.0)  # 160 pixels become 64
    assert wide[32, 32 - 8].min() > 150
    lower = crop_face(image, face, size=64, margin=0.0, shift=0.25)  # the eyes move up by a quarter
    assert lower[16, 32 - 16].min() > 150


def test_a_crop_beyond_the_border_repeats_it() -> None:
    image = np.full((40, 40, 3), 77, np.uint8)
    crop = crop_face(image, FaceBox(-20, -20, 60, 60, 0.9), size=32, margin=1.0)
    assert (crop == 77).all()


@pytest.mark.parametrize(("x", "angle"), [(5, 0.2), (39_000, 0.5), (39_990, -0.3), (50_000, 0.0)])
@pytest.mark.parametrize("upright", [False, True])
def test_a_face_in_a_panorama_is_cropped_as_in_any_picture(
    x: int, angle: float, upright: bool
) -> None:
    """OpenCV warps no picture of more than 32,766 pixels a side."""
    wide = np.random.default_rng(0).integers(0, 256, (60, 40_000, 3), np.uint8)
    start = 0 if x < 1000 else 38_000

    def crop(image: np.ndarray, x: int) -> np.ndarray:
        eyes = ((x, 30.0), (x + 10 * math.cos(angle), 30.0 + 10 * math.sin(angle)))
        box = (x - 20, 10, 40, 40)
        if upright:
            image, box, eyes = image.transpose(1, 0, 2), (10, x - 20, 40, 40), None
        return crop_face(
            np.ascontiguousarray(image), FaceBox(*box, 0.9, eyes), size=32, margin=0.2
        ).astype(int)

    difference = crop(wide, x) - crop(wide[:, start : start + 2000], x - start)
    assert np.abs(difference).mean() < 0.5, "of noise: half a pixel beside it would be 40"


def test_a_large_face_is_averaged_and_not_sampled() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = crop_face(stripes, FaceBox(0, 0, 512, 512, 0.9), size=64, margin=0.0)
    assert abs(crop[8:-8, 8:-8].astype(float) - 127.5).max() < 20


@pytest.mark.parametrize(("height", "width"), [(100, 60), (60, 100), (7, 9)])
def test_a_whole_frame_is_its_centre_square(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2, width // 2] = 255
    square = resize_frame(image, 32)
    assert square.shape == (32, 32, 3)
    y, x = np.unravel_index(square[..., 0].argmax(), (32, 32))
    assert abs(y - 16) <= 4
    assert abs(x - 16) <= 4


def test_a_yunet_face_is_in_frame_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of 1280x480 is searched at half its size: coordinates are scaled by two, the score is not."""
    net = FakeYuNet(lambda picture: [face_row(10, 20, 30, 40, 0.75)])
    path = install(monkeypatch, net)
    frame = np.zeros((480, 1280, 3), np.uint8)
    frame[..., 0] = 200  # red
    (face,) = YuNetDetector(str(path), threshold=0.6).detect(frame)
    # The eyes are at 0.3 and 0.7 of the width, and at 0.4 of the height; the nose is at 0.5 and 0.6.
    assert face == FaceBox(20, 40, 60, 80, 0.75, ((38, 72), (62, 72)), (50, 88))
    assert net.created == [(str(path), "", (320, 320), 0.6, 0.3, 500)]
    (picture,) = net.pictures
    assert picture.shape == (240, 640, 3)
    assert picture[0, 0].tolist() == [0, 0, 200], "OpenCV takes BGR"
    small = np.zeros((100, 80, 3), np.uint8)
    assert YuNetDetector(str(path)).detect(small)[0].center == (25, 40), "not enlarged"


def test_faces_of_yunet_are_sorted_and_those_without_a_box_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        face_row(9, 9, 20, 20, 0.8),
        face_row(50, 9, 20, 20, 1.0001),
        face_row(90, 9, 20, 20, 0.9),
    ]
    broken = [
        face_row(9, 50, 0, 20, 0.9),
        face_row(9, 50, 20, -1, 0.9),
        face_row(math.nan, 50, 20, 20, 0.9),
    ]
    path = install(monkeypatch, FakeYuNet(lambda picture: [*broken, *rows]))
    faces = YuNetDetector(str(path)).detect(np.zeros((120, 160, 3), np.uint8))
    assert [(face.x, face.score) for face in faces] == [
        (50, 1.0),
        (90, pytest.approx(0.9)),
        (9, pytest.approx(0.8)),
    ]


@pytest.mark.parametrize("name", ["auto", "yunet"])
def test_yunet_in_the_cache_is_the_default_detector(
    name: DetectorName, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    net = FakeYuNet(lambda picture: [])
    path = install(monkeypatch, net)
    detector = load_detector(name, settings=load_settings(), threshold=0.55)
    assert detector.name == "yunet"
    assert net.created == [(str(path), "", (320, 320), 0.55, 0.3, 500)]
    assert detector.detect(np.zeros((240, 320, 3), np.uint8)) == []
    assert caplog.records == []


def test_yunet_finds_the_face_and_its_eyes(yunet: Path, astronaut: Path) -> None:
    image = portrait(astronaut)
    (face,) = YuNetDetector(str(yunet)).detect(image)
    assert face.score > 0.8
    assert face.eyes is not None
    (x0, y0), (x1, y1) = face.eyes
    assert face.x < x0 < x1 < face.x + face.width
    assert face.y < min(y0, y1) < face.center[1]
    # The same face in a larger picture: boxes are in pixels of the frame that was given.
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    (again,) = YuNetDetector(str(yunet)).detect(large)
    assert again.center == pytest.approx((4 * face.center[0], 4 * face.center[1]), rel=0.05)
    # The cascade agrees on the place.
    (coarse,) = HaarDetector().detect(image)
    assert math.dist(face.center, coarse.center) < 0.15 * face.side
    assert 0.75 < coarse.side / face.side < 1.33


def test_the_cascade_finds_the_face_of_the_example(astronaut: Path) -> None:
    """By eye, the face of the first frame is 70 by 90 pixels about (159, 90); its eyes are unknown."""
    (face,) = HaarDetector().detect(portrait(astronaut))
    assert math.dist(face.center, (159, 90)) < 10
    assert face.width == pytest.approx(70, abs=14)
    assert face.height == pytest.approx(90, abs=18)
    assert 0.7 <= face.score <= 1
    assert face.eyes is None


def test_five_people_are_five_faces_and_a_black_picture_has_none(yunet: Path, clips: Path) -> None:
    with open_video(clips / "multi_face.jpg") as reader:
        image = reader.read([0]).data[0]
    detector = YuNetDetector(str(yunet))
    faces = detector.detect(image)
    assert len(faces) == 5
    assert detector.detect(np.zeros_like(image)) == []
    assert [face.score for face in faces] == sorted((f.score for f in faces), reverse=True)
    assert len(YuNetDetector(str(yunet), threshold=0.9999).detect(image)) < 5


@pytest.mark.parametrize("kind", ["yunet", "haar"])
def test_an_empty_or_tiny_picture_has_no_face(
    kind: DetectorName, monkeypatch: pytest.MonkeyPatch
) -> None:
    # YuNet now and then sees faces in what OpenCV pads a tiny picture with.
    net = FakeYuNet(
        lambda picture: [] if min(picture.shape[:2]) > 9 else [face_row(0, 0, 9, 9, 0.9)]
    )
    install(monkeypatch, net)
    detector = load_detector(kind, settings=load_settings())
    assert detector.name == kind
    for shape in [(240, 320, 3), (1, 1, 3), (3, 500, 3)]:
        assert detector.detect(np.zeros(shape, np.uint8)) == []


def test_without_yunet_there_is_one_warning_and_the_cascade(
    astronaut: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "peclip"):
        detector = load_detector(settings=load_settings())
    assert detector.name == "haar"
    (record,) = caplog.records
    assert "YuNet" in record.getMessage()
    assert len(detector.detect(portrait(astronaut))) == 1


def test_every_detector_has_a_literal() -> None:
    assert tuple(DETECTORS) == get_args(DetectorName)


def test_yunet_by_name_is_never_replaced() -> None:
    with pytest.raises(WeightsError, match="yunet"):
        load_detector("yunet", settings=load_settings())
    with pytest.raises(ConfigError, match="auto, yunet, haar"):
        load_detector("mtcnn", settings=load_settings())


class SlowYuNet(FakeYuNet):
    def setInputSize(self, size: tuple[int, int]) -> None:
        super().setInputSize(size)
        ready.wait(0.2)  # long enough for another thread to set its own


ready = threading.Event()  # never set: waiting for it is a pause


def test_two_threads_may_share_one_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    net = SlowYuNet(lambda picture: [])
    detector = YuNetDetector(str(install(monkeypatch, net)))
    pictures = [np.zeros((40 + 10 * n, 60, 3), np.uint8) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(detector.detect, pictures)) == [[], [], []]
    assert sorted(len(picture) for picture in net.pictures) == [40, 50, 60]


def test_an_invalid_model_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / YUNET.name).write_text("version https://git-lfs.github.com/spec/v1\n")
    settings = load_settings().model_copy(update={"cache_dir": tmp_path})
    with pytest.raises(WeightsError, match="Delete it"):
        load_detector("yunet", settings=settings)
