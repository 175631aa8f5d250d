"""Parts of faces: their file, their pictures, and MediaPipe on real faces where it is installed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from peclip.errors import ConfigError, DatasetError, MissingExtraError, WeightsError
from peclip.settings import load_settings
from peclip.video.detectors.registry import load_detector
from peclip.video.drawing import CLASSES, COLOURS, POINTS_68, YELLOW, draw_parts, parsing_map
from peclip.video.observer import Observer
from peclip.video.parts import (
    LANDMARKER,
    MediaPipeFinder,
    Parts,
    joined,
    load_finder,
    load_parts,
    parts_path,
    save_parts,
)
from peclip.video.reader import open_video

_LIPS_TOP = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
_LIPS_BOTTOM = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
_MOUTH_TOP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_MOUTH_BOTTOM = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)


def parts_of(frames: int = 3, *, seed: int = 0) -> Parts:
    landmarks = np.random.default_rng(seed).random((frames, 478, 2), np.float32)
    return Parts(landmarks, np.array([True, False, True][:frames]))


@pytest.fixture
def landmarker(_isolated: None, mediapipe: None, shared_data: Path) -> Path:
    """Puts MediaPipe's model into the cache, as a download would."""
    target = Path(os.environ["PECLIP_CACHE_DIR"]) / LANDMARKER.name
    shutil.copy(shared_data / "models" / "face_landmarker_v2_with_blendshapes.task", target)
    return target


def crops_of(video: Path, size: int = 224, count: int = 4) -> NDArray[np.uint8]:
    """Returns face crops of a video, as prediction makes them."""
    detector = load_detector("haar", settings=load_settings(), threshold=0.5)
    with open_video(video) as reader:
        found = [
            observation.sightings[0].crop
            for observation in Observer(detector, size=size, detect_rate=5).observe(reader.chunks())
            if observation.sightings
        ]
    places = np.linspace(0, len(found) - 1, count).astype(int)
    return np.stack([found[place] for place in places])


def test_parts_are_kept_in_a_small_file(tmp_path: Path) -> None:
    parts = parts_of()
    path = tmp_path / "parts.safetensors"
    save_parts(path, parts)
    loaded = load_parts(path)
    assert np.allclose(loaded.landmarks, parts.landmarks, atol=1e-3)
    assert loaded.found.tolist() == [True, False, True]
    assert loaded.maps is None
    assert path.stat().st_size < 3 * 2048
    assert list(tmp_path.iterdir()) == [path]


def test_maps_of_a_parser_are_kept_too(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 11, (3, 16, 16), np.uint8)
    parts = Parts(parts_of().landmarks, np.ones(3, np.bool_), maps)
    save_parts(tmp_path / "p", parts)
    loaded = load_parts(tmp_path / "p").maps
    assert loaded is not None
    assert np.array_equal(loaded, maps)


def test_maps_take_little_space_and_others_may_read_them(tmp_path: Path) -> None:
    maps = np.zeros((4, 224, 224), np.uint8)
    maps[:, 60:180, 50:170] = 1
    found = np.ones(4, np.bool_)
    save_parts(tmp_path / "p", Parts(np.zeros((4, 478, 2), np.float32), found, maps))
    assert (tmp_path / "p").stat().st_size < 4 * 3000
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o644


def test_parts_of_other_crops_are_reported() -> None:
    with pytest.raises(DatasetError, match=r"3 frames, but frame 7 .*prepare again"):
        parts_of().at([0, 7])


def test_a_closed_mouth_shows_no_inside() -> None:
    points = np.full((478, 2), 0.5, np.float32)
    for ring, y in ((_LIPS_TOP, 0.4), (_LIPS_BOTTOM, 0.6)):
        for place, x in zip(ring, np.linspace(0.3, 0.7, len(ring)), strict=True):
            points[place] = x, 0.5 if place in (61, 291) else y
    for ring in (_MOUTH_TOP, _MOUTH_BOTTOM):
        for place, x in zip(ring, np.linspace(0.34, 0.66, len(ring)), strict=True):
            points[place] = x, 0.5
    drawn = parsing_map(points, 224)
    names = {CLASSES[number] for number in np.unique(drawn)}
    assert {"upper lip", "lower lip"} <= names
    assert "inner mouth" not in names


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 64])
def test_a_broken_file_is_a_one_line_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "parts.safetensors"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"Delete it and run peclip data prepare again") as e:
        load_parts(path)
    assert "\n" not in str(e.value)


def test_a_missing_file_gives_the_command_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"peclip data prepare --parts mediapipe"):
        load_parts(tmp_path / "none")


def test_an_unrelated_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"landmarks": torch.zeros(2, 5, 2), "found": torch.ones(2).bool()}, tmp_path / "p")
    with pytest.raises(DatasetError, match="478"):
        load_parts(tmp_path / "p")


def test_another_type_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    landmarks = torch.zeros(2, 478, 2, dtype=torch.bfloat16)
    save_file({"landmarks": landmarks, "found": torch.ones(2).bool()}, tmp_path / "p")
    with pytest.raises(DatasetError, match=r"BF16.*Delete it and run peclip data prepare again"):
        load_parts(tmp_path / "p")


def test_the_path_of_a_parts_file(tmp_path: Path) -> None:
    assert parts_path(tmp_path) == tmp_path / "parts.safetensors"
    assert parts_path(tmp_path / "a.mp4") == tmp_path / "a.mp4.parts.safetensors"


def test_frames_are_chosen_by_number() -> None:
    parts = parts_of()
    chosen = parts.at([2, 2, 1])
    assert chosen.found.tolist() == [True, True, False]
    assert np.array_equal(chosen.landmarks[0], parts.landmarks[2])
    both = joined([parts.at([0]), parts.at([1, 2])])
    assert np.array_equal(both.landmarks, parts.landmarks)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Parts(np.zeros((2, 68, 2), np.float32), np.ones(2, np.bool_)),
        lambda: Parts(np.zeros((2, 478, 2)), np.ones(2, np.bool_)),
        lambda: Parts(np.zeros((2, 478, 2), np.float32), np.ones(2)),
        lambda: Parts(torch.zeros(2, 478, 2), torch.ones(2, dtype=torch.bool)),
        lambda: Parts(
            np.zeros((2, 478, 2), np.float32),
            np.ones(2, np.bool_),
            np.zeros((3, 4, 4), np.uint8),
        ),
    ],
)
def test_shapes_are_checked(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"Landmarks must|found must|maps must"):
        wrong()  # type: ignore[operator]


def test_a_frame_without_a_face_is_the_crop_itself() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    drawn = draw_parts(parts_of(), crops)
    assert drawn.shape == (3, 2, 64, 64, 3)
    assert np.array_equal(drawn[1, 0], crops[1])
    assert np.array_equal(drawn[1, 1], crops[1])
    assert not np.array_equal(drawn[0, 0], crops[0])
    assert not np.array_equal(drawn[0, 1], crops[0])


def test_landmarks_are_drawn_as_yellow_dots() -> None:
    landmarks = np.full((1, 478, 2), -2.0, np.float32)  # far outside of the picture
    landmarks[0, POINTS_68[0]] = 0.25, 0.75
    drawn = draw_parts(Parts(landmarks, np.array([True])), np.zeros((1, 112, 112, 3), np.uint8))
    picture = drawn[0, 1]
    assert len(POINTS_68) == 68
    assert tuple(picture[84, 28]) == YELLOW
    rows, columns = np.nonzero(picture.sum(-1))
    assert set(rows) == {82, 83, 84, 85}
    assert set(columns) == {25, 26, 27, 28, 29, 30}


def test_colours_are_laid_over_half_and_half() -> None:
    maps = np.zeros((1, 44, 44), np.uint8)
    maps[0, :11, :4] = np.arange(11)[:, None]
    parts = Parts(np.zeros((1, 478, 2), np.float32), np.array([True]), maps)
    drawn = draw_parts(parts, np.full((1, 44, 44, 3), 100, np.uint8))
    for number, colour in enumerate(COLOURS):
        expected = [(100 + part) // 2 for part in colour] if number else [100, 100, 100]
        assert drawn[0, 0, number, 0].tolist() == expected
    assert len(COLOURS) == len(CLASSES) == 11


def test_an_unknown_finder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'facexformer'.*mediapipe"):
        load_finder("facexformer", settings=load_settings())


def test_a_missing_landmarker_offline_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mediapipe", "mediapipe.tasks.python"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(WeightsError, match="face_landmarker"):
        load_finder("mediapipe", settings=load_settings())


def test_without_mediapipe_it_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingExtraError, match='pip install "mediapipe'):
        load_finder("mediapipe", settings=load_settings())


def test_parts_lie_where_the_face_has_them(landmarker: Path, astronaut: Path) -> None:
    finder = load_finder("mediapipe", settings=load_settings())
    parts = finder.find(crops_of(astronaut))
    assert parts.found.all()
    for points in parts.landmarks:
        drawn = parsing_map(points, 224)
        middle = {
            name: np.argwhere(drawn == number).mean(0)
            for number, name in enumerate(CLASSES)
            if (drawn == number).any()
        }
        assert set(middle) >= set(CLASSES[1:10])
        # rows grow downwards; left is the person's, so it is on the right of the picture
        assert middle["left brow"][0] < middle["left eye"][0] < middle["nose"][0]
        assert middle["nose"][0] < middle["upper lip"][0] < middle["lower lip"][0]
        assert middle["left eye"][1] > middle["nose"][1] > middle["right eye"][1]
    finder.close()  # type: ignore[attr-defined]


def test_each_frame_is_found_on_its_own(landmarker: Path, astronaut: Path) -> None:
    finder = MediaPipeFinder(landmarker)
    crops = crops_of(astronaut)
    crops[1] = 127  # no face
    together = finder.find(crops)
    finder.close()
    assert together.found.tolist() == [True, False, True, True]
    assert not together.landmarks[1].any()
    other = MediaPipeFinder(landmarker)
    alone = other.find(crops[2:3])
    assert np.allclose(alone.landmarks[0], together.landmarks[2], atol=1e-4)
    small = other.find(crops_of(astronaut, size=48)[:1])
    assert small.found.all(), "small crops are enlarged first"
    other.close()


def test_an_invalid_model_is_reported(mediapipe: None, tmp_path: Path) -> None:
    (tmp_path / "broken.task").write_bytes(b"no model")
    with pytest.raises(WeightsError, match=r"broken\.task'.*Delete it to download"):
        MediaPipeFinder(tmp_path / "broken.task")
