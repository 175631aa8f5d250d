"""Crops unlike those of prediction are reported, from the record stored with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.config import PreprocessConfig
from peclip.data.preparation.crop_record import RECORD, CropConfig, crop_mismatch, record_crops
from peclip.errors import ConfigError

MADE = PreprocessConfig(image_size=64, face_margin=0.2)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    config = CropConfig.of(MADE, size=None, detector="haar", threshold=0.7)
    record_crops(tmp_path / "videos", tmp_path / "crops", config)
    return tmp_path / "crops"


@pytest.mark.parametrize("size", [64, 32])
def test_crops_with_the_geometry_of_the_model(crops: Path, size: int) -> None:
    """Larger ones than it needs are as good."""
    assert crop_mismatch(crops, MADE.model_copy(update={"image_size": size})) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"face_margin": 0.3}, "margin 0.2 instead of 0.3"),
        ({"face_shift": 0.1}, "shift 0.0 instead of 0.1"),
        ({"align": False}, "align True instead of False"),
        ({"image_size": 224}, "size 64 instead of 224"),
    ],
)
def test_crops_of_another_geometry(crops: Path, changes: dict[str, object], says: str) -> None:
    told = crop_mismatch(crops, MADE.model_copy(update=changes))
    assert told is not None
    assert says in told
    assert "-m" in told


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    assert crop_mismatch(tmp_path, MADE) is None


def test_a_corrupt_record(crops: Path) -> None:
    (crops / RECORD).write_text("{")
    with pytest.raises(ConfigError, match="corrupt.*Prepare the crops again"):
        crop_mismatch(crops, MADE)
