"""Data sets without lists of a benchmark: FER2013, folders and tables."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from peclip.data import DATASETS, DataConfig, load_split
from peclip.errors import DatasetError
from peclip.video.omissions import Omissions
from peclip.video.sources import expand_source


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(root: Path, *lines: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).write_text("\n".join(lines), encoding=encoding)
    return root / name


FER = (
    "train/angry/Training_1.jpg",
    "train/happy/Training_2.jpg",
    "test/angry/PublicTest_3.jpg",
    "test/happy/PrivateTest_4.jpg",
)


@pytest.mark.parametrize("below", ["", "fer2013"])
def test_the_names_of_fer2013_say_the_split(below: str, tmp_path: Path) -> None:
    touch(tmp_path / below, *FER)
    ids = {}
    for split in ("train", "val", "test", "all"):
        found = load_split(DataConfig(dataset="fer2013", root=tmp_path, split=split))
        ids[split] = [sample.id for sample in found.samples]
        assert len(found.labels) == 7
    assert ids == {
        "train": ["angry/Training_1", "happy/Training_2"],
        "val": ["angry/PublicTest_3"],
        "test": ["happy/PrivateTest_4"],
        "all": [
            "angry/Training_1",
            "happy/Training_2",
            "angry/PublicTest_3",
            "happy/PrivateTest_4",
        ],
    }


def test_errors_of_fer2013(tmp_path: Path) -> None:
    (tmp_path / "fer2013.tar.gz").touch()
    with pytest.raises(DatasetError, match=r"(?s)train not found.*unpack fer2013\.tar\.gz first"):
        DATASETS["fer2013"].load(tmp_path, None, "train", None)
    touch(tmp_path, *FER)
    with pytest.raises(DatasetError, match="has no annotation lists"):
        DATASETS["fer2013"].load(tmp_path, None, "train", tmp_path)
    touch(tmp_path, "test/happy/5.jpg")
    with pytest.raises(DatasetError, match=r"5\.jpg is not an image with a name that starts with"):
        DATASETS["fer2013"].load(tmp_path, None, "train", None)
    touch(tmp_path, "train/bored/Training_6.jpg")
    with pytest.raises(DatasetError, match="bored; expected anger, disgust"):
        DATASETS["fer2013"].load(tmp_path, None, "train", None)


def test_a_folder_without_splits(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Happy/b10.mp4",
        "Happy/b9.MOV",
        "Happy/.hidden.mp4",
        "Happy/notes.txt",
        "Happy/deep/frames/1.jpg",
        "Happy/deep/frames/2.jpg",
        "bored/still.png",
        ".git/x/y.mp4",
    )
    for split in ("train", "all"):
        found = load_split(DataConfig(dataset="folder", root=tmp_path, split=split))
        assert [(s.id, s.label) for s in found.samples] == [
            ("bored/still.png", "bored"),
            ("Happy/b9.MOV", "happiness"),
            ("Happy/b10.mp4", "happiness"),
            ("Happy/deep/frames", "happiness"),
        ]
        assert found.labels.names == ("happiness", "bored")
    with pytest.raises(
        DatasetError, match="has no split 'test'; its splits are train.*--split all"
    ):
        load_split(DataConfig(dataset="folder", root=tmp_path, split="test"))


def test_a_folder_with_splits_has_one_label_set(tmp_path: Path) -> None:
    touch(tmp_path, "train/fear/1.mp4", "train/zeal/1.mp4", "test/fear/1.mp4", "test/sad/1.mp4")
    config = DataConfig(dataset="folder", root=tmp_path)
    assert load_split(config).counts() == {"sadness": 0, "fear": 1, "zeal": 1}
    test = load_split(config.model_copy(update={"split": "test"}))
    assert test.counts() == {"sadness": 1, "fear": 1, "zeal": 0}
    assert [s.id for s in test.samples] == ["test/fear/1.mp4", "test/sad/1.mp4"]
    assert len(load_split(config.model_copy(update={"split": "all"}))) == 4
    with pytest.raises(DatasetError, match="no split 'val'; its splits are train, test"):
        load_split(config.model_copy(update={"split": "val"}))


def test_names_of_splits_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, "Train/happy/1.mp4", "Train/sad/2.mp4", "TEST/happy/1.mp4")
    assert DATASETS["folder"].splits_found(tmp_path, None) == ("train", "test")
    config = DataConfig(dataset="folder", root=tmp_path)
    assert load_split(config).counts() == {"happiness": 1, "sadness": 1}
    test = load_split(config.model_copy(update={"split": "test"}))
    assert [s.source for s in test.samples] == [tmp_path / "TEST" / "happy" / "1.mp4"]
    with pytest.raises(DatasetError, match="no split 'val'; its splits are train, test"):
        load_split(config.model_copy(update={"split": "val"}))


def test_a_split_has_one_folder(tmp_path: Path) -> None:
    touch(tmp_path, "train/happy/1.mp4", "train/sad/2.mp4", "Train/happy/3.mp4")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("the file system does not tell Train from train")
    with pytest.raises(
        DatasetError, match="'T?t?rain' and 'T?t?rain', but there may be only one folder per split"
    ):
        load_split(DataConfig(dataset="folder", root=tmp_path))


@pytest.mark.parametrize(
    "name", ["valid/1.mp4", "Validation/1.mp4", "train/test/1.mp4", "train/Val/1.mp4"]
)
def test_a_split_name_is_not_a_label(name: str, tmp_path: Path) -> None:
    label = "train/happy/1.mp4" if name.startswith("train/") else "happy/1.mp4"
    touch(tmp_path, label, name)
    with pytest.raises(DatasetError, match="a label folder is expected"):
        load_split(DataConfig(dataset="folder", root=tmp_path))


def test_errors_of_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least two names"):
        DATASETS["folder"].load(tmp_path, None, "train", None)
    (tmp_path / "happy").mkdir()
    (tmp_path / "sad").mkdir()
    with pytest.raises(DatasetError, match=r"(?s)No videos found for 'train'.*Expected for folder"):
        DATASETS["folder"].load(tmp_path, None, "train", None)
    (tmp_path / "train").mkdir()
    with pytest.raises(DatasetError, match="contains 'happy', 'sad' next to train"):
        DATASETS["folder"].load(tmp_path, None, "train", None)
    with pytest.raises(DatasetError, match="has no annotation lists"):
        DATASETS["folder"].load(tmp_path, None, "train", tmp_path)
    with pytest.raises(DatasetError, match="has no folds"):
        DATASETS["folder"].load(tmp_path, 1, "train", None)


def test_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b c.mp4")
    absolute = touch(tmp_path / "elsewhere", "d.mp4") / "d.mp4"
    path = table(
        tmp_path,
        "Path, Label ,split,subject,comment",
        'a.mp4,Happy,train,ann,"one, two"',
        "sub\\b c.mp4,bored,TRAIN,,",
        "",
        f"{absolute},sad,test,bob,",
        encoding="utf-8-sig",
    )
    config = DataConfig(dataset="table", root=tmp_path, annotations=path)
    train = load_split(config)
    assert [(s.source, s.label, s.subject) for s in train.samples] == [
        (tmp_path / "a.mp4", "happiness", "ann"),
        (tmp_path / "sub" / "b c.mp4", "bored", None),
    ]
    assert train.labels.names == ("happiness", "sadness", "bored")
    test = load_split(config.model_copy(update={"split": "test"}))
    assert [s.source for s in test.samples] == [absolute]
    assert len(load_split(config.model_copy(update={"split": "all"}))) == 3
    with pytest.raises(
        DatasetError, match="no rows with the split 'val'; choose one of train, test"
    ):
        load_split(config.model_copy(update={"split": "val"}))
    absolute.unlink()
    with pytest.raises(DatasetError, match=r"None of the 1 videos .*table test.*d\.mp4"):
        load_split(config.model_copy(update={"split": "test"}))


def test_a_table_on_folders_of_frames(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,split", "one.mp4,happy,train", "a/2.b.png,sad,train")
    touch(tmp_path / "crops", "one/0.jpg", "a/2.b/0.jpg")
    config = DataConfig(dataset="table", root=tmp_path / "crops", annotations=path)
    assert [(s.source, s.id) for s in load_split(config).samples] == [
        (tmp_path / "crops" / "one", "one.mp4"),
        (tmp_path / "crops" / "a" / "2.b", "a/2.b.png"),
    ]
    touch(
        tmp_path / "crops", "a/2.b.png"
    )  # a root of files: what is missing is not taken from crops
    with pytest.raises(DatasetError, match=r"1 of the 2 videos .* are missing.*one\.mp4"):
        load_split(config)


@pytest.mark.parametrize("again", ["a.mp4", "./a.mp4", "x/../a.mp4", ".\\a.mp4"])
def test_a_video_is_in_one_split_of_a_table(again: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    rows = ["path,label,split", "a.mp4,happy,train", "b.mp4,sad,train", f"{again},happy,test"]
    config = DataConfig(dataset="table", root=tmp_path, annotations=table(tmp_path, *rows))
    for split in ("train", "test", "all"):
        with pytest.raises(
            DatasetError, match="in both train and test.* Remove one of the two rows"
        ):
            load_split(config.model_copy(update={"split": split}))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,emotion,split", "a,b,train"], "missing the columns label; the header must be"),
        ([], "it is empty; expected a header"),
        (["path,label,split", "a.mp4,happy,train", "b.mp4,,train"], "line 3: each row needs"),
        (["path,label,split", "a.mp4,happy"], "line 2: each row needs"),
        (["path,label,split", "a.mp4,happy,dev"], "line 2: .*'dev'"),
        (["path,label,split", "a.mp4,happy,train"], "at least two names"),
    ],
)
def test_invalid_tables(lines: list[str], words: str, tmp_path: Path) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(DatasetError, match=words):
        DATASETS["table"].load(tmp_path, None, "train", path)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="requires a CSV file as annotations, but none was given"
    ):
        DATASETS["table"].load(tmp_path, None, "train", None)
    with pytest.raises(DatasetError, match="is not a file"):
        DATASETS["table"].load(tmp_path, None, "train", tmp_path)
    path = table(tmp_path, "path,label,split", "ä,b,train", encoding="latin-1")
    with pytest.raises(DatasetError, match="line 2 is not UTF-8"):
        DATASETS["table"].load(tmp_path, None, "train", path)


def test_stills_next_to_videos_are_samples(tmp_path: Path) -> None:
    """Except those with the name of a video, as thumbnails have."""
    touch(tmp_path, "happy/a.mp4", "happy/a.jpg", "happy/b.mp4.png", "happy/b.mp4", "happy/c.jpg")
    touch(tmp_path, "happy/d.webp", "sad/e.jpg")
    split = load_split(DataConfig(dataset="folder", root=tmp_path, split="train"))
    ids = [sample.id for sample in split.samples]
    assert ids == ["happy/a.mp4", "happy/b.mp4", "happy/c.jpg", "happy/d.webp", "sad/e.jpg"]
    (note,) = split.notes
    assert note.startswith("2 images were skipped, ")
    assert ": happy/a.jpg, happy/b.mp4.png. " in note


def test_what_is_not_a_sample_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "labels.csv", "train/stray.mp4", "train/happy/a.mp4", "train/happy/notes.txt")
    touch(tmp_path, "train/sad/one/b.mp4", "train/sad/one/0.jpg", "test/sad/c.mp4", ".hidden")
    touch(tmp_path, "train/sad/two/0.jpg", "train/sad/two/frames.json", "left_out.json")
    found = {
        name: load_split(DataConfig(dataset="folder", root=tmp_path, split=name))
        for name in ("train", "test")
    }
    named = {name: {file.path for file in split.skipped} for name, split in found.items()}
    assert named["test"] == {"labels.csv", "train/stray.mp4"}
    inside = {"train/happy/notes.txt", "train/sad/one/0.jpg"}
    assert named["train"] == named["test"] | inside
    # the first note is that of both splits, so that a run shows it once
    assert found["train"].notes[0] == found["test"].notes[0]
    assert [note[:6] for note in found["train"].notes] == ["2 file", "1 file", "1 imag"]


def test_an_animation_next_to_a_still_is_read_as_predict_reads_it(tmp_path: Path) -> None:
    touch(tmp_path, "train/sad/one/a.png", "train/happy/b.jpg")
    frames = [PIL.Image.new("RGB", (16, 16), (level, 0, 0)) for level in (0, 200)]
    folder = tmp_path / "train" / "sad" / "one"
    frames[0].save(folder / "b.png", save_all=True, append_images=frames[1:], duration=100)
    omissions = Omissions()
    sources = expand_source(folder, omissions)
    assert [source.location for source in sources] == [folder / "b.png"]
    split = load_split(DataConfig(dataset="folder", root=tmp_path, split="train"))
    assert [sample.source for sample in split.samples][1:] == [folder / "b.png"]
    assert [tmp_path / file.path for file in split.skipped] == [path for _, path in omissions]


def test_a_sub_folder_of_animations_holds_videos(tmp_path: Path) -> None:
    touch(tmp_path, "sad/still.png")
    frames = [PIL.Image.new("RGB", (16, 16), (level, 0, 0)) for level in (0, 200)]
    for name in ("happy/one/0.webp", "happy/one/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    touch(tmp_path, "happy/one/2.png")
    split = load_split(DataConfig(dataset="folder", root=tmp_path, split="train"))
    ids = [sample.id for sample in split.samples]
    assert ids == ["happy/one/0.webp", "happy/one/1.png", "sad/still.png"]
    assert [file.path for file in split.skipped] == ["happy/one/2.png"]
