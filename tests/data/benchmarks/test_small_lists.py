"""Lists in the formats of DFEW, FERV39k, MAFW and AFEW, and trees of the videos that they name."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_lists import place_below_root, small_lists

from peclip.data import DATASETS, DataConfig, Split, load_split
from peclip.labels import EMOTIONS

ALPHABET = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


@pytest.fixture
def read(tmp_path: Path):
    """Reads a split of small lists, without any video."""

    def reader(dataset: str, fold: int | None, split: str) -> Split:
        folder = tmp_path / dataset
        if not folder.is_dir():
            folder.mkdir()
            for name, text in small_lists(dataset).items():
                (folder / name).write_bytes(text.encode())
        return DATASETS[dataset].load(tmp_path, fold, split, folder)

    return reader


@pytest.mark.parametrize(("dataset", "classes"), [("dfew", 7), ("mafw", 11)])
def test_the_five_test_splits_are_disjoint_and_complete(dataset: str, classes: int, read) -> None:
    tests = [read(dataset, fold, "test") for fold in range(1, 6)]
    names = [sample.id for split in tests for sample in split.samples]
    assert names == [f"{number:05d}" for number in range(1, 5 * 2 * classes + 1)]
    for fold, test in enumerate(tests, start=1):
        train = read(dataset, fold, "train")
        assert test.counts() == dict.fromkeys(EMOTIONS[:classes], 2)
        assert train.counts() == dict.fromkeys(EMOTIONS[:classes], 8)
        assert {s.id for s in train.samples} == set(names) - {s.id for s in test.samples}


@pytest.mark.parametrize(
    ("dataset", "reported", "labels"),
    [("ferv39k", "test", EMOTIONS[:7]), ("afew", "val", ALPHABET)],
)
def test_classes_of_one_fold(dataset: str, reported: str, labels: tuple[str, ...], read) -> None:
    train, test = read(dataset, None, "train"), read(dataset, None, reported)
    assert list(train.counts().items()) == [(label, 10) for label in labels]
    assert list(test.counts().items()) == [(label, 2) for label in labels]
    assert len({s.id for split in (train, test) for s in split.samples}) == 84


@pytest.mark.parametrize(
    ("dataset", "fold", "split", "number", "expected"),
    [
        ("dfew", 1, "test", 2, ("00003", "sadness", 23)),
        ("mafw", 5, "train", -1, ("00088", "disappointment", 108)),
        ("ferv39k", None, "train", 30, ("Action/Angry/0031", "anger", 51)),
        ("afew", None, "val", 13, ("Surprise/000084120", "surprise", 104)),
    ],
)
def test_a_line_is_a_name_a_label_and_a_count_of_frames(
    dataset: str,
    fold: int | None,
    split: str,
    number: int,
    expected: tuple[str, str, int],
    read,
) -> None:
    sample = read(dataset, fold, split).samples[number]
    assert (sample.id, sample.label, sample.num_frames) == expected


@pytest.mark.parametrize(
    ("dataset", "fold", "split", "file"),
    [
        ("dfew", 4, "test", "DFEW_set_4_test.txt"),
        ("ferv39k", None, "train", "FERV39K_train.txt"),
        ("mafw", 5, "train", "MAFW_set_5_train.txt"),
        ("afew", None, "val", "AFEW_val.txt"),
    ],
)
def test_a_tree_has_a_video_for_each_line(
    dataset: str, fold: int | None, split: str, file: str, tmp_path: Path
) -> None:
    text = small_lists(dataset)[file]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / file).write_bytes(text.encode())
    folders = [tmp_path / place_below_root(dataset, line) for line in text.splitlines()]
    for folder in folders:
        folder.mkdir(parents=True)
    found = load_split(DataConfig(dataset=dataset, root=tmp_path, fold=fold, split=split))
    assert [sample.source for sample in found.samples] == folders
    assert found.missing == ()
