"""DFEW, FERV39k, MAFW and AFEW in trees made for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.data import DATASETS, DataConfig, Split, load_split, read_split
from peclip.errors import ConfigError, DatasetError


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def frames(folder: Path, count: int = 1) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(b"")
    return folder


def dfew_tree(root: Path, home: str = "DFEW_Frame_Face") -> Path:
    write(
        root / "annotation" / "DFEW_set_2_train.txt",
        "/data/EECS-IoannisLab/datasets/DFEW/DFEW_Frame_Face/00001 144 1",
        "D:/KmuProj2/My Code/DFEW/DFEW_Frame_Face/02522 66 5",
    )
    for name in ("00001", "02522"):
        frames(root / home / name)
    return root


def test_paths_of_other_machines(tmp_path: Path) -> None:
    split = load_split(DataConfig(dataset="dfew", root=dfew_tree(tmp_path), fold=2))
    assert [s.source for s in split.samples] == [
        tmp_path / "DFEW_Frame_Face" / "00001",
        tmp_path / "DFEW_Frame_Face" / "02522",
    ]
    assert [(s.id, s.label, s.num_frames) for s in split.samples] == [
        ("00001", "sadness", 144),
        ("02522", "disgust", 66),
    ]
    assert (split.title, split.missing) == ("dfew fold 2 train", ())


@pytest.mark.parametrize("home", ["Clip/clip_224x224", "Clip/jpg_256", "."])
def test_other_folders_of_dfew(home: str, tmp_path: Path) -> None:
    split = load_split(DataConfig(dataset="dfew", root=dfew_tree(tmp_path, home), fold=2))
    assert split.samples[1].source == tmp_path / home / "02522"


def test_the_original_videos_and_csv_of_dfew(tmp_path: Path) -> None:
    write(
        tmp_path / "EmoLabel_DataSplit" / "test(single-labeled)" / "set_3.csv",
        "video_name,label",
        "1,2",
        "2522,7",
    )
    write(tmp_path / "Clip" / "original" / "1.mp4")
    write(tmp_path / "Clip" / "original" / "2522.MP4")
    for lists in (None, tmp_path / "EmoLabel_DataSplit"):
        split = load_split(
            DataConfig(dataset="dfew", root=tmp_path, annotations=lists, fold=3, split="test")
        )
        assert [(s.id, s.label, s.source.name) for s in split.samples] == [
            ("00001", "sadness", "1.mp4"),
            ("02522", "fear", "2522.MP4"),
        ]


@pytest.mark.parametrize("line", ["1,0", "1,8", "one,2", "1", "1,Happy"])
def test_invalid_lines_of_the_csv(line: str, tmp_path: Path) -> None:
    write(tmp_path / "train(single-labeled)" / "set_1.csv", "video_name,label", "00002,1", line)
    with pytest.raises(DatasetError, match=r"set_1\.csv, line 3"):
        DATASETS["dfew"].load(tmp_path, 1, "train", None)


def test_a_list_is_found_whatever_its_case_and_as_a_file(tmp_path: Path) -> None:
    line = "/x/2_ClipsforFaceCrop/Action/Happy/0015 25 0"
    path = write(tmp_path / "data" / "Annotation" / "FERV39k_TRAIN.txt", line)
    source = frames(tmp_path / "2_ClipsforFaceCrop" / "Action" / "Happy" / "0015")
    for given in (
        path,
        path.parent,
        tmp_path / "data",
    ):  # the last: of crops, the data set that they are of
        config = DataConfig(dataset="ferv39k", root=tmp_path, annotations=given)
        assert [s.source for s in load_split(config).samples] == [source]
    with pytest.raises(DatasetError, match="is not the required annotation list"):
        load_split(config.model_copy(update={"annotations": path, "split": "test"}))


@pytest.mark.parametrize(
    ("dataset", "own", "others", "video", "lines"),
    [
        (
            "dfew",
            "train(single-labeled)/set_1.csv",
            ["test(single-labeled)/set_1.csv", "train(single-labeled)/set_2.csv"],
            "Clip/original/1.mp4",
            ("video_name,label", "1,2"),
        ),
        (
            "mafw",
            "single/no_caption/set_1/train.txt",
            ["single/no_caption/set_1/test.txt", "single/no_caption/set_2/train.txt"],
            "data/clips/00001.mp4",
            ("00001.mp4 anger",),
        ),
    ],
)
def test_an_official_list_does_not_replace_another_of_the_same_name(
    dataset: str,
    own: str,
    others: list[str],
    video: str,
    lines: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / video)
    for name in (own, *others):
        write(tmp_path / "lists" / name, *lines)
    config = DataConfig(
        dataset=dataset, root=tmp_path, fold=1, annotations=tmp_path / "lists" / own
    )
    assert len(load_split(config)) == 1
    monkeypatch.chdir((tmp_path / "lists" / own).parent)
    assert len(load_split(config.model_copy(update={"annotations": Path(Path(own).name)}))) == 1
    for other in others:
        with pytest.raises(DatasetError, match="is not the required annotation list"):
            load_split(config.model_copy(update={"annotations": tmp_path / "lists" / other}))
    for changes in ({"split": "test"}, {"fold": 2}):
        with pytest.raises(DatasetError, match="is not the required annotation list"):
            load_split(config.model_copy(update=changes))


def test_the_official_lists_of_ferv39k_and_mafw_name_their_labels(tmp_path: Path) -> None:
    write(tmp_path / "4_setups" / "All_scenes" / "test_All.csv", "Action/Happy/0015 Happy")
    frames(tmp_path / "2_ClipsforFaceCrop" / "Action" / "Happy" / "0015")
    split = load_split(DataConfig(dataset="ferv39k", root=tmp_path, split="test"))
    assert [(s.id, s.label) for s in split.samples] == [("Action/Happy/0015", "happiness")]

    official = "Train & Test Set/single/no_caption/set_1/train.txt"
    write(tmp_path / official, "00025.mp4 anger", "10338.mp4 disappointment")
    write(tmp_path / "data" / "clips" / "00025.mp4")
    write(tmp_path / "data" / "clips" / "10338.mp4")
    split = load_split(DataConfig(dataset="mafw", root=tmp_path, fold=1))
    assert [(s.id, s.label) for s in split.samples] == [
        ("00025", "anger"),
        ("10338", "disappointment"),
    ]
    assert split.samples[1].source == tmp_path / "data" / "clips" / "10338.mp4"


def test_a_video_missing_among_the_crops_is_not_taken_from_the_scenes(tmp_path: Path) -> None:
    write(tmp_path / "DFEW_set_1_train.txt", "/x/00001 3 0", "/x/00002 3 1")
    frames(tmp_path / "Clip" / "clip_224x224" / "00001")
    write(tmp_path / "MAFW_set_1_train.txt", "/x/00001 3 0", "/x/00002 3 1")
    frames(tmp_path / "data" / "faces" / "00001")
    write(tmp_path / "AFEW_train.txt", "x/train/Sad/1 38 5", "x/train/Happy/2 38 3")
    frames(tmp_path / "AFEW_Face_Retina" / "Sad" / "1")
    for scene in ("Clip/original/1", "Clip/original/2", "data/clips/00001", "data/clips/00002"):
        write(tmp_path / f"{scene}.mp4")
    write(tmp_path / "Train_AFEW" / "Happy" / "2.avi")
    for name, fold, crops, lost in (
        ("dfew", 1, "Clip/clip_224x224/00001", "00002"),
        ("mafw", 1, "data/faces/00001", "00002"),
        ("afew", None, "AFEW_Face_Retina/Sad/1", "Happy/2"),
    ):
        split = DATASETS[name].load(tmp_path, fold, "train", None)
        assert split.samples[0].source == tmp_path / crops
        assert [sample.id for sample in split.missing] == [lost]


def test_ferv39k_labels_must_agree_with_their_folders(tmp_path: Path) -> None:
    path = write(
        tmp_path / "FERV39K_train.txt",
        "2_ClipsforFaceCrop/Action/Happy/0015 25 0",
        "2_ClipsforFaceCrop/Action/Sad/0016 25 3",
    )
    with pytest.raises(DatasetError) as error:
        DATASETS["ferv39k"].load(tmp_path, None, "train", None)
    assert f"{path}, line 2" in str(error.value)
    assert "'sadness'" in str(error.value)
    assert "'anger'" in str(error.value)


def test_a_bare_number_is_not_a_ferv39k_video(tmp_path: Path) -> None:
    write(tmp_path / "FERV39K_train.txt", "2_ClipsforFaceCrop/Action/Happy/0015 25 0")
    frames(tmp_path / "0015")
    frames(tmp_path / "Happy" / "0015")
    assert len(DATASETS["ferv39k"].load(tmp_path, None, "train", None).missing) == 1


def afew_tree(root: Path, label: int) -> Path:
    write(
        root / "annotation" / "AFEW_val.txt",
        "AFEWdataset/AFEW_Face_Retina/val/Angry/000149120 62 0\r",
        f"AFEWdataset/AFEW_Face_Retina/val/Happy/000316560 52 {label}\r",
    )
    for name in ("Angry/000149120", "Happy/000316560"):
        frames(root / "AFEW_Face_Retina" / "val" / name)
    return root


def test_afew_counts_alphabetically(tmp_path: Path) -> None:
    split = load_split(DataConfig(dataset="afew", root=afew_tree(tmp_path, 3), split="val"))
    assert [(s.id, s.label) for s in split.samples] == [
        ("Angry/000149120", "anger"),
        ("Happy/000316560", "happiness"),
    ]


def test_a_contradiction_in_afew_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:  # 0 is happiness in the texts of PE-CLIP
        DATASETS["afew"].load(afew_tree(tmp_path, 0), None, "val", None)
    assert "AFEW_val.txt, line 2" in str(error.value)
    assert "'happiness'" in str(error.value)
    assert "'anger'" in str(error.value)


def test_the_raw_videos_of_afew(tmp_path: Path) -> None:
    write(tmp_path / "AFEW_train.txt", "x/train/Sad/001703120 38 5")
    write(tmp_path / "AFEW_val.txt", "x/val/Sad/001703120 38 5")
    for part in ("Train_AFEW", "Val_AFEW"):
        write(tmp_path / part / "Sad" / "001703120.avi")
    for split, part in (("train", "Train_AFEW"), ("val", "Val_AFEW")):
        samples = load_split(DataConfig(dataset="afew", root=tmp_path, split=split)).samples
        assert [s.source for s in samples] == [tmp_path / part / "Sad" / "001703120.avi"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fold": None}, "folds 1 to 5, but no fold was given"),
        ({"fold": 6}, "folds 1 to 5, but 6 was given"),
        ({"split": "val"}, "no split 'val'.*carve_validation"),
        ({"dataset": "afew", "fold": None, "split": "test"}, "not public"),
        ({"dataset": "afew", "fold": 1}, "afew has no folds"),
        (
            {"root": Path("/nowhere")},
            "/nowhere is not a folder. Expected for dfew:\n  /nowhere/DFEW",
        ),
        (
            {"fold": 3},
            "Annotation list not found: .*DFEW_set_3_train.txt or .*set_3.csv.*Expected for dfew",
        ),
        (
            {"annotations": Path("/nowhere")},
            "Annotation list not found: /nowhere/DFEW_set_2_train.txt",
        ),
    ],
)
def test_a_missing_path_is_named(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    config = DataConfig(dataset="dfew", root=dfew_tree(tmp_path), fold=2)
    with pytest.raises(DatasetError, match=f"(?s){words}") as error:
        load_split(config.model_copy(update=changes))
    assert error.value.exit_code == 3


def test_invalid_configurations(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'dfw'; choose one of dfew, ferv39k"):
        load_split(DataConfig(dataset="dfw", root=tmp_path))
    with pytest.raises(
        ConfigError, match="cannot be used with dfew: it does not support this option"
    ):
        load_split(DataConfig(dataset="dfew", root=tmp_path, test_subjects=("01",)))


def test_missing_videos(tmp_path: Path) -> None:
    config = DataConfig(dataset="dfew", root=dfew_tree(tmp_path), fold=2)
    (tmp_path / "DFEW_Frame_Face" / "02522").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="1 of the 2 videos .*dfew fold 2 train.*Face/02522"):
        load_split(config)
    assert [s.id for s in read_split(config).missing] == ["02522"]
    kept = load_split(config.model_copy(update={"allow_missing": True}))
    assert [s.id for s in kept.samples] == ["00001"]
    assert kept.missing == ()
    (tmp_path / "DFEW_Frame_Face").rename(tmp_path / "away")
    for allow in (False, True):
        with pytest.raises(DatasetError, match="None of the 2 videos.*Expected for dfew"):
            load_split(config.model_copy(update={"allow_missing": allow}))


def test_labels_must_be_of_the_set(tmp_path: Path) -> None:
    split = read_split(DataConfig(dataset="dfew", root=dfew_tree(tmp_path), fold=2))
    foreign = DATASETS["mafw"].labels
    assert foreign is not None
    assert Split("x", None, "all", split.samples, foreign).counts()["contempt"] == 0
    with pytest.raises(DatasetError, match="label 'sadness' for .*; the labels are anger, fear"):
        Split("x", None, "all", split.samples, type(foreign)(("anger", "fear")))
