"""Faces that nobody may recognise."""

from __future__ import annotations

import numpy as np

from peclip.results.face_blur import blur_faces, bridged
from peclip.video.face_log import LoggedFace, LoggedFrame
from peclip.video.faces import FaceBox


def frames(places: dict[int, float], count: int, step: float = 0.1) -> list[LoggedFrame]:
    """One face at x, in the frames where it was detected."""
    return [
        LoggedFrame(
            n,
            n * step,
            step,
            (LoggedFace(4, None, FaceBox(places[n], 0, 10, 10, 1)),) if n in places else (),
        )
        for n in range(count)
    ]


def blurred(places: dict[int, float], count: int) -> dict[int, float]:
    found = enumerate(bridged(frames(places, count)))
    return {n: round(faces[4].box.x, 6) for n, faces in found if 4 in faces}


def test_a_face_that_was_missed_is_blurred_in_between() -> None:
    assert blurred({5: 10.0, 9: 50.0}, 10) == {
        **dict.fromkeys(range(5), 10.0),  # 0.5 s before the first sighting
        **{5: 10.0, 6: 20.0, 7: 30.0, 8: 40.0, 9: 50.0},
    }


def test_a_face_is_blurred_half_a_second_before_and_after() -> None:
    # Sighted at 2.0 s and, more than a second later, at 4.0 s.
    held = {**dict.fromkeys(range(15, 26), 1.0), **dict.fromkeys(range(35, 46), 2.0)}
    assert blurred({20: 1.0, 40: 2.0}, 60) == held


def test_pixels_change_in_the_ellipse_and_nowhere_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    before = image.copy()
    blur_faces(image, [FaceBox(40, 30, 40, 40, 1)])
    y, x = np.mgrid[0:100, 0:120]
    inside = ((x - 60) / 29) ** 2 + ((y - 50) / 29) ** 2 < 1  # the sides grow by half: radius 30
    outside = ((x - 60) / 32) ** 2 + ((y - 50) / 32) ** 2 > 1
    assert (image[inside] != before[inside]).mean() > 0.95
    assert (image[outside] == before[outside]).all()
    assert image[inside].std() < 0.3 * before[inside].std()


def test_two_faces_that_differ_in_detail_look_alike() -> None:
    # A block is 120 / 6 = 20 pixels; stripes of 2 pixels are finer.
    y, x = np.mgrid[0:180, 0:180]
    first = np.repeat((x // 2 % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    second = np.repeat((y // 2 % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    for image in (first, second):
        blur_faces(image, [FaceBox(30, 30, 120, 120, 1)])
    centre = np.s_[45:135, 45:135]
    assert np.abs(first[centre].astype(int) - second[centre]).max() <= 16


def test_faces_at_and_beyond_the_border_are_accepted() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    blur_faces(image, [FaceBox(-5, -5, 10, 10, 1), FaceBox(50, 50, 10, 10, 1)])
