"""Pictures of people are cut out of their video, where it can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peclip.results.face_pictures import pictures_of, portraits
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.video.frames import Frames

SCORES = {"anger": 1.0}


def window(
    start: int,
    end: int,
    *,
    track: int = 0,
    source: str = "array",
    conf: float = 0.9,
    **changes: object,
) -> Row:
    values: dict[str, object] = {
        "box": (20.0, 10.0, 10.0, 10.0), "face_coverage": 1.0, "face_conf": conf,
        "label": "anger", "score": 1.0, "scores": SCORES, "status": "ok",
    }  # fmt: skip
    values |= changes
    status = values.pop("status")
    return Row(source, "m", "", track, 0, 0.0, 1.0, start, end, 8, 1, status, **values)  # type: ignore[arg-type]


def predict(*rows: Row, source: str = "array") -> Prediction:
    return Prediction(source, ("anger",), rows)


def video(count: int = 12) -> Frames:
    """The red of a frame is its number times 20; the face, from x 20 and y 10, is green."""
    data = np.zeros((count, 40, 60, 3), np.uint8)
    data[..., 0] = np.arange(count)[:, None, None] * 20
    data[:, 10:20, 20:30, 1] = 255
    return Frames(data, np.arange(count) / 10)


def test_the_picture_is_the_face_in_the_middle_of_the_window() -> None:
    found = pictures_of(predict(), [("a", window(2, 9))], video=video(), size=32)
    picture = found["a"]
    assert picture.shape == (32, 32, 3)
    assert picture[16, 16].tolist() == [100, 255, 0]  # frame (2 + 9) // 2 = 5
    # The square is 10 * 1.6 = 16 pixels: the face is 10 / 16 of it.
    assert np.mean(picture[16, :, 1] > 128) == pytest.approx(10 / 16, abs=0.05)
    assert picture[0, 0].tolist() == [100, 0, 0]


def test_a_portrait_is_from_the_window_that_shows_the_face_best() -> None:
    rows = [
        window(0, 1),
        window(4, 4, conf=0.95),
        window(6, 6, conf=1.0, status="low_quality"),
        window(8, 8, conf=1.0, face_coverage=0.5),
        window(3, 3, track=1),
    ]
    found = portraits(predict(*rows), video=video(), size=16)
    assert {track: int(image[0, 0, 0]) for track, image in found.items()} == {0: 80, 1: 60}


def test_without_a_box_the_picture_is_the_centre_of_the_frame() -> None:
    found = portraits(predict(window(1, 1, track=-1, box=None)), video=video(), size=16)
    assert found[-1].shape == (16, 16, 3)
    assert found[-1][0, 0].tolist() == [20, 0, 0]


def test_a_file_is_read_by_the_name_of_the_source(astronaut: Path) -> None:
    name = str(astronaut)
    rows = [
        window(0, 23, track=track, source=name, box=(110.0, 60.0, 90.0, 90.0)) for track in (0, 1)
    ]
    found = portraits(predict(*rows, source=name))
    assert found[0].shape == (96, 96, 3)
    assert found[0].std() > 20, "a picture, not a plain area"


@pytest.mark.parametrize(
    "source", ["array", "moved.mp4", "https://example.org/a.mp4", "0", "", "a\0b", "x" * 5000]
)
def test_without_the_video_there_are_no_pictures(source: str) -> None:
    assert portraits(predict(window(0, 1, source=source), source=source)) == {}


def test_a_video_that_has_other_frames_now_gives_no_pictures(
    astronaut: Path, tmp_path: Path
) -> None:
    rows = (window(100_000, 100_010, source=str(astronaut)),)
    assert portraits(predict(*rows, source=str(astronaut))) == {}
    broken = tmp_path / "a.mp4"
    broken.write_bytes(b"no video")
    assert portraits(predict(window(0, 1), source=str(broken))) == {}
