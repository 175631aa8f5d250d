"""RAVDESS and CREMA-D, whose names say everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from peclip.data import DATASETS, DataConfig, load_split
from peclip.data.benchmarks import cremad, ravdess
from peclip.errors import ConfigError, DatasetError

RAVDESS = DATASETS["ravdess"]
CREMAD = DATASETS["cremad"]


@pytest.mark.parametrize(
    ("emotion", "label"),
    [
        ("01", "neutral"),
        ("02", "calm"),
        ("03", "happiness"),
        ("04", "sadness"),
        ("05", "anger"),
        ("06", "fear"),
        ("07", "disgust"),
        ("08", "surprise"),
    ],
)
def test_emotions_of_ravdess(emotion: str, label: str) -> None:
    name = ravdess.parse_name(f"02-01-{emotion}-01-02-01-12")
    assert name is not None
    assert (name.label, name.subject) == (label, "12")


def test_songs_and_sound_are_left_out() -> None:
    assert ravdess.parse_name("02-02-06-01-02-01-12") is None
    assert ravdess.parse_name("03-01-06-01-02-01-12") is None


@pytest.mark.parametrize(
    "stem",
    ["02-01-09-01-02-01-12", "02-01-06-01-02-01-25", "02-01-06-01-02-01-00", "02-01-06", "x"],
)
def test_an_invalid_ravdess_name_is_refused(stem: str) -> None:
    with pytest.raises(ValueError, match="02-01-06-01-02-01-12"):
        ravdess.parse_name(stem)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("ANG", "anger"),
        ("DIS", "disgust"),
        ("FEA", "fear"),
        ("HAP", "happiness"),
        ("NEU", "neutral"),
        ("SAD", "sadness"),
    ],
)
def test_emotions_of_cremad(code: str, label: str) -> None:
    name = cremad.parse_name(f"1091_DFA_{code}_XX")
    assert name is not None
    assert (name.label, name.subject) == (label, "1091")


@pytest.mark.parametrize("stem", ["1092_DFA_ANG_XX", "1000_DFA_ANG_XX", "1001_DFA_SUR_XX", "1001"])
def test_an_invalid_cremad_name_is_refused(stem: str) -> None:
    with pytest.raises(ValueError, match="1001_DFA_ANG_XX"):
        cremad.parse_name(stem)


@pytest.fixture
def ravdess_root(tmp_path: Path) -> Path:
    for actor in range(1, 25):
        folder = tmp_path / f"Actor_{actor:02d}"
        folder.mkdir()
        for emotion in (1, 6):
            for modality in ("01", "02"):
                (folder / f"{modality}-01-{emotion:02d}-01-01-01-{actor:02d}.mp4").touch()
            (folder / f"02-02-{emotion:02d}-01-01-01-{actor:02d}.mp4").touch()
            (folder / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav").touch()
    return tmp_path


def test_each_performance_of_ravdess_is_listed_once(ravdess_root: Path) -> None:
    split = load_split(DataConfig(dataset="ravdess", root=ravdess_root, split="all"))
    assert len(split) == 48
    assert all(sample.source.name.startswith("01-01-") for sample in split.samples)
    assert split.counts() == {
        "neutral": 24, "calm": 0, "happiness": 0, "sadness": 0,
        "anger": 0, "fear": 24, "disgust": 0, "surprise": 0,
    }  # fmt: skip


def test_folds_of_ravdess_are_those_of_hicmae(ravdess_root: Path) -> None:
    tested: list[str] = []
    for fold in range(1, 7):
        train = RAVDESS.load(ravdess_root, fold, "train", None)
        test = RAVDESS.load(ravdess_root, fold, "test", None)
        assert sorted(test.subjects) == [f"{4 * fold - k:02d}" for k in (3, 2, 1, 0)]
        assert not train.subjects & test.subjects
        assert len(train) + len(test) == 48
        tested += test.subjects
    assert len(tested) == len(set(tested)) == 24


def test_custom_subject_splits(ravdess_root: Path) -> None:
    config = DataConfig(dataset="ravdess", root=ravdess_root, test_subjects=("3", "24"))
    assert load_split(config.model_copy(update={"split": "test"})).subjects == {"03", "24"}
    assert len(load_split(config).subjects) == 22
    with pytest.raises(ConfigError, match="no subject '25'; its subjects are 01 to 24"):
        load_split(config.model_copy(update={"test_subjects": ("25",)}))
    with pytest.raises(ConfigError, match="a fold was also given"):
        load_split(config.model_copy(update={"fold": 1}))


def test_folds_of_cremad_are_those_of_hicmae(tmp_path: Path) -> None:
    for actor in range(1001, 1092):
        (tmp_path / f"{actor}_DFA_ANG_XX.flv").touch()
    sizes = [CREMAD.load(tmp_path, fold, "test", None).subjects for fold in range(1, 6)]
    assert [len(subjects) for subjects in sizes] == [18, 18, 18, 18, 19]
    assert (min(sizes[1]), max(sizes[4])) == ("1019", "1091")
    assert len(frozenset().union(*sizes)) == 91
    (tmp_path / "1076_MTI_SAD_XX.flv").touch()
    assert len(CREMAD.load(tmp_path, None, "all", None)) == 91
    config = DataConfig(dataset="cremad", root=tmp_path, split="test", test_subjects=("1001",))
    assert [s.id for s in load_split(config).samples] == ["1001_DFA_ANG_XX"]


def test_folders_of_frames(tmp_path: Path) -> None:
    for stem in ("1001_DFA_ANG_XX", "1002_IEO_SAD_LO"):
        (tmp_path / "face_aligned" / stem).mkdir(parents=True)
        (tmp_path / "face_aligned" / stem / "1.bmp").touch()
    samples = CREMAD.load(tmp_path, None, "all", None).samples
    assert [(s.id, s.label, s.source.is_dir()) for s in samples] == [
        ("1001_DFA_ANG_XX", "anger", True),
        ("1002_IEO_SAD_LO", "sadness", True),
    ]


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="[Nn]o cremad videos found in .*Expected for cremad"):
        CREMAD.load(tmp_path, 1, "train", None)
    (tmp_path / "1001_DFA_ANG_XX.flv").touch()
    with pytest.raises(DatasetError, match="cremad train has no videos"):
        CREMAD.load(tmp_path, 1, "train", None)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "1001_DFA_ANG_XX.flv").touch()
    with pytest.raises(DatasetError, match="Duplicate 1001_DFA_ANG_XX"):
        CREMAD.load(tmp_path, 1, "test", None)
    (tmp_path / "copy" / "1001_DFA_ANG_XX.flv").rename(tmp_path / "other.flv")
    with pytest.raises(DatasetError, match=r"other\.flv is not a valid cremad file name"):
        CREMAD.load(tmp_path, 1, "test", None)
    with pytest.raises(DatasetError, match="has no annotation lists"):
        RAVDESS.load(tmp_path, 1, "test", tmp_path)
    with pytest.raises(DatasetError, match="folds 1 to 6, but 7 was given"):
        RAVDESS.load(tmp_path, 7, "test", None)
