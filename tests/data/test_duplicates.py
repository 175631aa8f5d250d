"""Stills that are in several splits."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from peclip.data import DataConfig, load_split
from peclip.errors import ConfigError, DatasetError


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    """Training_1 and PrivateTest_1 have the same pixels in other files, and so Training_2 and PublicTest_2."""
    names = {
        "train/angry/Training_1.png": (1, 0),
        "train/happy/Training_2.png": (2, 9),
        "train/happy/Training_3.png": (3, 0),
        "test/happy/PublicTest_2.png": (2, 0),
        "test/happy/PublicTest_4.png": (4, 0),
        "test/angry/PrivateTest_1.png": (1, 9),
        "test/sad/PrivateTest_4.png": (4, 0),
    }
    for name, (seed, compression) in names.items():
        picture = np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, compression])
    return DataConfig(dataset="fer2013", root=tmp_path)


@pytest.mark.parametrize(
    ("copies", "numbers", "notes"),
    [
        ("keep", {"train": [1, 2, 3], "val": [2, 4], "test": [1, 4]}, {}),
        (
            "drop_from_train",
            {"train": [3], "val": [2, 4], "test": [1, 4]},
            {"train": "2 of 3 images, because they are also in fer2013 val or fer2013 test"},
        ),
        (
            "drop_from_test",
            {"train": [1, 2, 3], "val": [4], "test": [4]},
            {
                "val": "1 of 2 images, because they are also in fer2013 train",
                "test": "1 of 2 images, because they are also in fer2013 train",
            },
        ),
    ],
)
def test_copies_are_left_out_of_one_side(
    copies: str, numbers: dict[str, list[int]], notes: dict[str, str], config: DataConfig
) -> None:
    for name, expected in numbers.items():
        split = load_split(config.model_copy(update={"copies": copies, "split": name}))
        assert [int(s.id.rpartition("_")[2]) for s in split.samples] == expected
        assert [notes[name] in note for note in split.notes] == [True] * (name in notes)


def test_errors_of_copies(config: DataConfig, tmp_path: Path) -> None:
    drop = {"copies": "drop_from_train"}
    with pytest.raises(ConfigError, match=r"Use another split"):
        load_split(config.model_copy(update=drop | {"split": "all"}))
    (tmp_path / "test" / "sad" / "PrivateTest_4.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"PrivateTest_4\.png cannot be read as an image"):
        load_split(config.model_copy(update=drop))
    videos = tmp_path / "videos"
    for name in ("train/happy/1.mp4", "test/happy/2.mp4", "train/sad/3.mp4"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        (videos / name).touch()
    folder = DataConfig(dataset="folder", root=videos, copies="drop_from_train")
    with pytest.raises(
        DatasetError, match=r"\.mp4 is not an image\. Set data\.copies=keep for videos"
    ):
        load_split(folder)
    with pytest.raises(ConfigError, match=r"has no val or test split to compare train with"):
        load_split(folder.model_copy(update={"root": videos / "train"}))


@pytest.mark.slow
def test_copies_and_votes_of_fer2013(tmp_path: Path, shared_data: Path) -> None:
    """The majorities of 7 classes as `score_on_ferplus.py` counts them, with copies and without."""
    with tarfile.open(shared_data / "fer2013.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    plain = DataConfig(dataset="fer2013", root=tmp_path, split="test", copies="drop_from_test")
    with (shared_data / "fer2013_duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    train = {row["group"] for row in rows if "Training_" in row["file"]}
    listed = {
        row["file"].removeprefix("test/").removesuffix(".jpg")
        for row in rows
        if row["group"] in train and "PrivateTest_" in row["file"]
    }
    kept = {sample.id for sample in load_split(plain).samples}
    assert len(listed) == 288
    assert len(kept) == 3_589 - 288
    assert not kept & listed
    voted = plain.model_copy(
        update={"targets": "votes", "votes": shared_data / "fer2013_ferplus_votes.csv"}
    )
    assert len(load_split(voted)) == 3_075
    out = {"split": "train", "copies": "drop_from_train"}
    assert len(load_split(voted.model_copy(update=out))) == 27_257
    counts = {
        (split, targets): len(
            load_split(
                voted.model_copy(update={"split": split, "targets": targets, "copies": "keep"})
            )
        )
        for split in ("val", "test")
        for targets in ("votes", "mixed")
    }
    assert counts == {
        ("val", "votes"): 3_372,
        ("val", "mixed"): 3_380,
        ("test", "votes"): 3_349,
        ("test", "mixed"): 3_357,
    }
