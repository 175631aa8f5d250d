from __future__ import annotations

import numpy as np
import pytest

from peclip.video import recent, sighting
from peclip.video.faces import FaceBox, FaceCrop, crop_face
from peclip.video.observer import Observation
from peclip.video.sighting import Sighting

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def face(x: float, y: float, side: float, tilt: float = 0.0) -> FaceBox:
    eyes = (x + 0.3 * side, y + 0.4 * side), (x + 0.7 * side, y + 0.4 * side + tilt)
    return FaceBox(x, y, side, side, 0.9, eyes)


def square(box: FaceBox, size: int = 24) -> FaceCrop:
    return FaceCrop.of(IMAGE, box, size=size, margin=0.3)


@pytest.mark.parametrize("tilt", [0.0, 9.5, -20.0])
@pytest.mark.parametrize(("x", "y"), [(60.3, 40.8), (-15.0, 90.5), (149.5, -7.25)])
def test_the_crop_is_that_of_the_whole_frame(x: float, y: float, tilt: float) -> None:
    """Also at the border, which is repeated, and however the square is turned."""
    box = face(x, y, 31.4, tilt)
    bordered = np.pad(IMAGE, ((60, 60), (60, 60), (0, 0)), mode="edge")
    moved = FaceBox(
        x + 60, y + 60, 31.4, 31.4, 0.9, tuple((a + 60, b + 60) for a, b in box.eyes or ())
    )
    expected = crop_face(bordered, moved, size=24, margin=0.3)
    assert np.array_equal(Sighting(0, box, square(box)).crop, expected)


def test_the_frame_is_neither_kept_nor_read_later() -> None:
    frame = IMAGE.copy()
    box = face(60, 40, 30)
    seen = Sighting(0, box, FaceCrop.of(frame, box, size=24, margin=0.3))
    frame[:] = 0
    assert np.array_equal(seen.crop, crop_face(IMAGE, box, size=24, margin=0.3))
    assert seen.crop is seen.crop


def test_sizes_by_hand() -> None:
    """A square of 39 pixels and two more on each side, and a crop of 24 pixels."""
    seen = Sighting(0, face(60, 40, 30), square(face(60, 40, 30)))
    # From 55.5 - 2 to 94.5 + 2, and from 35.5 - 2 to 74.5 + 2: whole pixels 53 to 97 and 33 to 77.
    assert (seen.crop_bytes, seen.waiting_bytes) == (24 * 24 * 3, 44 * 44 * 3)
    assert seen.crop.shape == (24, 24, 3)
    assert (seen.crop_bytes, seen.waiting_bytes) == (24 * 24 * 3, 0)


def test_a_large_face_is_cropped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sighting, "LARGEST", 44 * 44 * 3 - 1)
    assert Sighting(0, face(60, 40, 30), square(face(60, 40, 30))).waiting_bytes == 0


def test_waiting_pixels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 10 * 44 * 44 * 3
    monkeypatch.setattr(recent, "WAITING_BYTES", limit)
    kept = recent.Recent(every_frame=True)
    every = []
    for index in range(100):
        box = face(60, 40, 30)
        every.append(Sighting(0, box, square(box)))
        kept.add(Observation(index, index / 30, (every[-1],)))
        assert sum(one.waiting_bytes for one in every) <= limit
    assert len(kept.between(0, 10)[0]) == 100
