"""The splits of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.data import DataConfig
from peclip.errors import DatasetError
from peclip.runs.leakage import recordings_warning
from peclip.runs.splits import read_run_splits
from peclip.training.config import TrainConfig

LISTS = {"train": "Train_AFEW", "val": "Val_AFEW"}


def afew(root: Path, *, crops: tuple[str, ...]) -> DataConfig:
    """Four videos a split, as face crops in some splits and as scenes in the others."""
    for split, home in LISTS.items():
        names = [f"{label}/00000000{number}" for label in ("Angry", "Happy") for number in (1, 2)]
        labels = {"Angry": 0, "Happy": 3}
        lines = [f"x/{split}/{name} 62 {labels[name.split('/')[0]]}" for name in names]
        (root / "annotation").mkdir(parents=True, exist_ok=True)
        (root / "annotation" / f"AFEW_{split}.txt").write_text("\n".join(lines))
        for name in names:
            if split in crops:
                place = root / "AFEW_Face_Retina" / split / name / "1.jpg"
            else:
                place = root / home / f"{name}.avi"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    return DataConfig(dataset="afew", root=root)


def test_face_crops_are_not_trained_on_to_be_tested_on_scenes(tmp_path: Path) -> None:
    config = TrainConfig(val_fraction=0.5)
    with pytest.raises(
        DatasetError, match=r"mix video files and frame folders.*000000001 and .*000000001\.avi"
    ):
        read_run_splits(afew(tmp_path / "mixed", crops=("train",)), config)
    for name, crops in (("crops", ("train", "val")), ("scenes", ())):
        found = read_run_splits(afew(tmp_path / name, crops=crops), config)
        assert found.test is not None
        assert (len(found.train), len(found.test)) == (2, 4)
    untested = config.model_copy(update={"test": False})
    assert read_run_splits(afew(tmp_path / "alone", crops=("train",)), untested).test is None


def test_pieces_of_a_recording_in_train_and_val_give_a_warning(tmp_path: Path) -> None:
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        for person in ("ann", "bea"):
            for number in range(4):
                (tmp_path / label / f"interview_{person}_{number}.mp4").touch()
    data = DataConfig(dataset="folder", root=tmp_path)
    splits = read_run_splits(data, TrainConfig(val_fraction=0.25))
    said = recordings_warning(data, splits)
    assert said is not None
    assert "interview_ann_" in said
    assert "--dataset table" in said
    (tmp_path / "labels.csv").write_text(
        "path,label,split,subject\n"
        + "".join(
            f"{label}/interview_{person}_{number}.mp4,{label},train,{person}\n"
            for label in ("happy", "sad")
            for person in ("ann", "bea")
            for number in range(4)
        )
    )
    table = DataConfig(dataset="table", root=tmp_path, annotations=tmp_path / "labels.csv")
    assert recordings_warning(table, read_run_splits(table, TrainConfig(val_fraction=0.5))) is None
