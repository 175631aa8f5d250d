"""Measures of a face, by hand: sharpness, brightness, pose, and ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from peclip.video.face_measures import FaceMeasures, face_pose, measure_faces, sharpness, unlike
from peclip.video.faces import FaceBox


def face(nose: tuple[float, float] | None, tilt: float = 0.0) -> FaceBox:
    """Eyes 40 pixels apart around (50, 40), turned clockwise by an angle in degrees."""
    x, y = 20 * math.cos(math.radians(tilt)), 20 * math.sin(math.radians(tilt))
    return FaceBox(0, 0, 100, 100, 0.9, ((50 - x, 40 - y), (50 + x, 40 + y)), nose)


def test_a_frontal_face() -> None:
    assert face_pose(face((50, 60))) == pytest.approx((0.0, 0.0))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_turned_head(sign: int) -> None:
    # The nose is 24 of 40 pixels aside: 0.6 over 0.6 is the tangent of 45 degrees.
    assert face_pose(face((50 + 24 * sign, 60))) == pytest.approx((45.0 * sign, 0.0))


def test_a_tilted_head_is_not_turned() -> None:
    # The nose lies below the middle of the eyes in the direction of the face.
    nose = (50 - 20 * math.sin(math.radians(30)), 40 + 20 * math.cos(math.radians(30)))
    assert face_pose(face(nose, tilt=30)) == pytest.approx((0.0, 30.0))


def test_without_landmarks_there_is_no_pose() -> None:
    assert face_pose(FaceBox(0, 0, 100, 100, 0.9)) is None
    assert face_pose(face(None)) is None
    eyes = ((50.0, 40.0), (51.0, 40.0))
    assert face_pose(FaceBox(0, 0, 100, 100, 0.9, eyes, (50.5, 50))) is None, "one eye is hidden"


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = np.zeros((8, 8), np.uint8)
    assert sharpness(grey) == 0.0
    grey[4, 4] = 10
    # The Laplacian is -40 at the pixel and 10 at its four neighbours: mean 0, squares 1,600 + 400.
    assert sharpness(grey) == pytest.approx(2000 / 64)


def test_a_window_has_the_medians() -> None:
    crops = np.zeros((3, 8, 8, 3), np.uint8)
    crops[1], crops[2] = 90, 30
    faces = [face((50 + shift, 60)) for shift in (0, 24, 0)]
    assert measure_faces(crops, faces) == FaceMeasures(
        0.0, 30.0, pytest.approx(0), pytest.approx(0)
    )
    assert measure_faces(crops, [FaceBox(0, 0, 8, 8, 1.0)]) == FaceMeasures(0.0, 30.0, None, None)


def test_what_is_outside_its_range() -> None:
    ranges = {
        "size": (20, None),
        "sharpness": (50, 900),
        "brightness": (None, 200),
        "yaw": (None, 40),
    }
    usual = FaceMeasures(60.0, 120.0, -40.0, 90.0)
    assert unlike(ranges, usual, 20.0) == (), "limits are inside, and roll has none"
    assert unlike(ranges, FaceMeasures(49.0, 201.0, -41.0, 0.0), 19.0) == tuple(ranges)
    assert unlike(ranges, FaceMeasures(901.0, 0.0, None, None), 500.0) == ("sharpness",)
    assert unlike({}, usual, 1.0) == ()
