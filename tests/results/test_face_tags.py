"""What is written beside faces, and where."""

from __future__ import annotations

import numpy as np
import pytest

from peclip.results.face_tags import Tag, TagPainter, numbered, rgb, written
from peclip.results.figures import PALETTE, colour_of_person, label_colours
from peclip.results.rows import Row
from peclip.video.faces import FaceBox

LABELS = ("happiness", "anger", "fear", "surprise")


def row(status: str = "ok") -> Row:
    return Row(
        source="a",
        model="m",
        model_revision="",
        track_id=0,
        window=0,
        start_s=0.0,
        end_s=1.0,
        start_frame=0,
        end_frame=9,
        num_frames_used=8,
        n_faces=1,
        status=status,  # type: ignore[arg-type]
        label="happiness",
        score=0.5,
        scores={"happiness": 0.5, "anger": 0.25, "fear": 0.25, "surprise": 0.0},
        box=(0.0, 0.0, 1.0, 1.0),
    )


def painted(*boxes: FaceBox, size: tuple[int, int] = (640, 360), status: str = "ok") -> np.ndarray:
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    tags = [Tag(number, box, row(status)) for number, box in enumerate(boxes)]
    TagPainter(LABELS, size).draw(image, tags)
    return image


def pixels_of(image: np.ndarray, person: int) -> int:
    return int((image == rgb(colour_of_person(person))).all(-1).sum())


def test_labels_are_written_in_ascii_or_as_their_number() -> None:
    assert written("fröhlich", 1) == "frohlich"
    assert written("Spaß", 2) == "Spass"
    assert written("開心", 3) == "#3"
    assert written("x" * 40, 4) == "x" * 23 + "..."


def test_people_have_different_colours_of_the_palette() -> None:
    colours = [colour_of_person(number) for number in range(7)]
    assert len(set(colours)) == 7
    assert set(colours) <= set(PALETTE) - {"#000000", "#999999", "#666666", "#BBBBBB"}
    assert colour_of_person(7) == colours[0]
    assert colour_of_person(-1) == "#999999"


def test_a_box_and_its_tag_have_the_colour_of_the_person() -> None:
    image = painted(FaceBox(200, 100, 100, 120, 0.9))
    assert tuple(image[160, 200]) == rgb(colour_of_person(0))  # the left edge of the box
    assert tuple(image[160, 250]) == (128, 128, 128)  # the face itself is not covered
    tag = image[80:100, 200:300]
    assert tuple(tag[10, 0]) == rgb(colour_of_person(0))
    assert pixels_of(tag, 0) < 300, "only an outline, because filled colours mean labels"
    assert tag[2:-2, 2:-2].mean() < 100, "dark"
    assert tag[2:-2, 2:-2].min(-1).max() > 200, "with white letters"


def test_a_low_quality_tag_is_written_in_grey() -> None:
    tag = np.s_[82:98, 202:400]
    box = FaceBox(200, 100, 100, 120, 0.9)
    good, poor = painted(box)[tag], painted(box, status="low_quality")[tag]
    # White and grey letters, on the same ground.
    assert good.min(-1).max() > 200
    assert poor.min(-1).max() <= 170


def test_numbered_labels_have_a_key() -> None:
    assert numbered(["happy", "開心", "#3", "fröhlich", "怒"]) == {"#2": "開心", "#5": "怒"}


def test_bars_show_the_probabilities() -> None:
    image = painted(FaceBox(200, 100, 100, 120, 0.9))
    below = image[224:300, 190:340]
    colours = label_colours(LABELS)  # those of happiness and fear are bright enough on black
    bars = [
        max((line == rgb(colours[label])).all(-1).sum() for line in below)
        for label in ("happiness", "fear")
    ]
    assert bars[0] / bars[1] == pytest.approx(2, rel=0.1)  # 0.5 and 0.25


def test_tags_and_bars_cover_no_other_face() -> None:
    boxes = [FaceBox(200 + 70 * n, 120, 60, 70, 0.9) for n in range(3)]
    image = painted(*boxes)
    for box in boxes:
        x, y = int(box.x), int(box.y)
        inside = image[y + 4 : y + 60, x + 4 : x + 56]
        assert (inside == 128).all()


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (3840, 2160), (101, 77)])
def test_any_size_can_be_drawn(size: tuple[int, int]) -> None:
    width, height = size
    image = painted(FaceBox(-5, -5, 2.0 * width, 2.0 * height, 0.9), size=size)
    assert (image != 128).any()


def test_the_whole_frame_has_a_tag_in_the_corner_and_no_box() -> None:
    image = np.full((360, 640, 3), 128, np.uint8)
    TagPainter(LABELS, (640, 360)).draw(image, [Tag(-1, FaceBox(140, 0, 360, 360, 1.0), row())])
    assert tuple(image[0, 0]) == rgb("#999999")
    assert (image[200:, 141:500] == 128).all()
