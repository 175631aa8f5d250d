"""Soft targets from votes: FER2013, DFEW and tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from peclip.config import check
from peclip.data import DataConfig, Sample, Split, load_split
from peclip.errors import ConfigError, DatasetError
from peclip.labels import LabelSet

COLUMNS = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear"),
    *("contempt", "unknown", "NF"),
)
VOTES: dict[str, dict[str, int]] = {
    "angry/Training_1": {"anger": 6, "neutral": 3, "unknown": 1},
    "angry/Training_2": {"anger": 2, "neutral": 5, "contempt": 3},
    "happy/Training_3": {"happiness": 4, "NF": 6},
    "happy/Training_4": {},
    "happy/Training_5": {"happiness": 5, "sadness": 5},
    "sad/Training_6": {"happiness": 4, "surprise": 4, "sadness": 2},
    "sad/Training_7": {"sadness": 4, "contempt": 6},
    "sad/Training_8": {"sadness": 5, "unknown": 5},
}


def write_votes(path: Path, votes: dict[str, dict[str, int]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "ferplus_rows", "copies", *COLUMNS])
        for name, counts in votes.items():
            cells = [counts.get(column, 0) for column in COLUMNS]
            writer.writerow([f"train/{name}.jpg", "0033834", 1, *cells])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The images of `VOTES`, as Training and, under other names, as PrivateTest."""
    votes = dict(VOTES)
    for name, counts in VOTES.items():
        votes[name.replace("Training", "PrivateTest")] = counts
    for name in votes:
        part = "train" if "Training" in name else "test"
        path = tmp_path / part / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_votes(tmp_path / "votes.csv", votes)
    return tmp_path


def read(root: Path, **fields: object) -> Split:
    given = {"dataset": "fer2013", "root": root, "votes": root / "votes.csv", "targets": "votes"}
    return load_split(check(DataConfig, given | fields))


def found(split: Split) -> dict[str, tuple[str, dict[str, float]]]:
    """The label and the target of every sample, by the number in its name."""
    return {
        sample.id.rpartition("_")[2]: (sample.label, dict(sample.soft_target or ()))
        for sample in split.samples
    }


def near(label: str, **target: float) -> tuple[str, object]:
    return label, pytest.approx(target)


def test_votes_are_targets(root: Path) -> None:
    """Unknown, NF and contempt do not count, and leave an image out where nothing has more votes."""
    split = read(root)
    assert found(split) == {
        "1": near("anger", anger=6 / 9, neutral=3 / 9),
        "2": near("neutral", anger=2 / 7, neutral=5 / 7),
        "5": near("happiness", happiness=0.5, sadness=0.5),
        "6": near("happiness", happiness=0.4, sadness=0.2, surprise=0.4),
    }
    assert split.labels.names[-1] == "neutral"
    (note,) = split.notes
    assert "votes in votes.csv" in note
    assert "4 of 8 videos are kept" in note
    for reason in (
        "1 without votes",
        "1 with most votes for nf",
        "1 with most votes for contempt",
        "1 with most votes for unknown",
    ):
        assert reason in note
    assert "label of 2 videos differs" in note


def test_evaluated_videos_need_a_unique_majority_label(root: Path) -> None:
    split = read(root, split="test")
    assert {name: label for name, (label, _) in found(split).items()} == {
        "1": "anger",
        "2": "neutral",
    }
    assert "2 tied" in split.notes[0]


def test_contempt_may_be_a_label(root: Path) -> None:
    split = read(root, contempt="keep")
    assert split.labels.names[-2:] == ("neutral", "contempt")
    assert found(split)["2"] == near("neutral", anger=0.2, neutral=0.5, contempt=0.3)
    assert found(split)["7"] == near("contempt", sadness=0.4, contempt=0.6)
    assert len(split) == 5


def test_the_label_counts_as_some_votes(root: Path) -> None:
    """A target is (votes + k * onehot) / (n + k)."""
    targets = found(read(root, targets="mixed"))
    assert targets["1"] == near("anger", anger=8 / 11, neutral=3 / 11)
    assert targets["2"] == near("neutral", anger=4 / 9, neutral=5 / 9)
    assert targets["5"] == near("happiness", happiness=7 / 12, sadness=5 / 12)
    assert targets["6"] == near("sadness", happiness=4 / 12, surprise=4 / 12, sadness=4 / 12)
    assert set(targets) == {"1", "2", "5", "6"}, "a video without a face has no target"
    more = found(read(root, targets="mixed", label_votes=4.5))
    assert more["2"] == near("anger", anger=6.5 / 11.5, neutral=5 / 11.5)
    test = found(read(root, targets="mixed", split="test"))
    assert set(test) == {"1", "2", "5"}


def test_videos_that_a_vote_file_lacks(root: Path) -> None:
    write_votes(root / "votes.csv", {"angry/Training_1": {"anger": 3}})
    assert set(found(read(root))) == {"1"}
    assert "7 without votes" in read(root).notes[0]
    mixed = read(root, targets="mixed")
    assert len(mixed) == 8
    assert found(mixed)["8"] == ("sadness", {})
    assert "7 videos without votes keep their label" in mixed.notes[0]
    write_votes(root / "votes.csv", {"angry/Other_1": {"anger": 3}})
    for targets in ("votes", "mixed"):
        with pytest.raises(
            DatasetError, match=r"(?s)'angry/Training_1'.*'angry/Other_1'.*Set data.votes"
        ):
            read(root, targets=targets)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "",
            r"it is empty; expected a header.*Set data\.votes to a CSV file with the columns file",
        ),
        ("file,neutral,anger", "missing the columns disgust, fear, happiness, sadness, surprise"),
        ("{h}\ntrain/angry/Training_1.jpg,1,2,3,4,5,6,x", "line 2: invalid number of votes 'x'"),
        ("{h}\ntrain/angry/Training_1.jpg,1,2,3,4,5,6,-1", "line 2: invalid number of votes '-1'"),
        ("{h}\ntrain/angry/Training_1.jpg,1", "line 2: invalid number of votes ''"),
        (
            "{h}\nfer0000000.png,1,2,3,4,5,6,7",
            "line 2: 'fer0000000.png' .* expected a path such as train/angry/",
        ),
        ("{h}\n{r}\n{r}", r"line 3: duplicate votes for 'angry/T_1'"),
    ],
)
def test_errors_of_vote_files(text: str, words: str, root: Path) -> None:
    header = ",".join(("file", *COLUMNS[:7]))
    row = "train/angry/T_1.jpg,1,2,3,4,5,6,7"
    (root / "votes.csv").write_text(text.format(h=header, r=row))
    with pytest.raises(DatasetError, match=words):
        read(root)


def test_votes_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="targets=labels.* set targets to votes or mixed"):
        read(root, targets="labels")
    with pytest.raises(ConfigError, match=r"fer2013 has no votes\. Set data\.votes to a CSV file"):
        read(root, votes=None)
    with pytest.raises(DatasetError, match=r"(?s)none\.csv cannot be read.*to a CSV file"):
        read(root, votes=root / "none.csv")
    lines = (root / "votes.csv").read_text().splitlines()
    rows = [line.split(",") for line in lines]
    (root / "seven.csv").write_text("\n".join(",".join(row[:10]) for row in rows))
    with pytest.raises(ConfigError, match=r"no `contempt` column\. Set data\.contempt=drop"):
        read(root, votes=root / "seven.csv", contempt="keep")


def test_the_official_votes_of_dfew(tmp_path: Path) -> None:
    """The file counts from 1 and numbers its columns."""
    lines = [f"x/DFEW_Frame_Face/{name} 9 {label}" for name, label in (("00001", 1), ("02522", 5))]
    (tmp_path / "annotation").mkdir()
    (tmp_path / "annotation" / "DFEW_set_2_train.txt").write_text("\n".join(lines))
    for name in ("00001", "02522"):
        (tmp_path / "DFEW_Frame_Face" / name).mkdir(parents=True)
        (tmp_path / "DFEW_Frame_Face" / name / "1.jpg").touch()
    (tmp_path / "votes.csv").write_text(
        "1happy,2sad,3neutral,4angry,5surprise,6disgust,7fear,order,label\n"
        "0,7,3,0,0,0,0,1,2\n0,0,2,1,0,6,1,2522,6\n1,1,2,2,2,1,1,2523,0\n"
    )
    split = load_split(
        DataConfig(
            dataset="dfew", root=tmp_path, fold=2, targets="votes", votes=tmp_path / "votes.csv"
        )
    )
    assert [(s.label, dict(s.soft_target or ())) for s in split.samples] == [
        near("sadness", sadness=0.7, neutral=0.3),
        near("disgust", neutral=0.2, anger=0.1, disgust=0.6, fear=0.1),
    ]


def table(root: Path, *rows: str) -> DataConfig:
    (root / "t.csv").write_text("\n".join(["path,label,split,votes", *rows]))
    for name in "abcd":
        (root / f"{name}.mp4").touch()
    return DataConfig(dataset="table", root=root, annotations=root / "t.csv", targets="votes")


def test_votes_in_a_table(tmp_path: Path) -> None:
    config = table(
        tmp_path,
        "a.mp4,happy,train,Happy:7 neutral:2 very sad:1",
        "b.mp4,sad,train,sadness:2.5 unknown:1",
        "c.mp4,sad,train,",
        "d.mp4,sad,test,contempt:3 unknown:4",
    )
    split = load_split(config)
    assert split.labels.names == ("happiness", "sadness", "neutral", "contempt", "very sad")
    assert [(s.id, s.label, dict(s.soft_target or ())) for s in split.samples] == [
        ("a.mp4", *near("happiness", happiness=0.7, neutral=0.2, **{"very sad": 0.1})),
        ("b.mp4", *near("sadness", sadness=1.0)),
    ]
    assert "1 without votes" in split.notes[0]
    mixed = load_split(config.model_copy(update={"targets": "mixed"}))
    assert [s.soft_target for s in mixed.samples][2] is None
    assert load_split(config.model_copy(update={"targets": "labels"})).notes == ()
    other = tmp_path / "votes.csv"
    other.write_text("id,happy,sad,neutral,contempt,very sad\na.mp4,1,0,3,0,0\n")
    by_file = load_split(config.model_copy(update={"votes": other}))
    assert [(s.id, s.label) for s in by_file.samples] == [("a.mp4", "neutral")]


def test_a_table_without_votes(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"table has no votes\. Set data\.votes to a CSV file.* id"
    ):
        load_split(table(tmp_path, "a.mp4,happy,train,", "b.mp4,sad,train,"))


@pytest.mark.parametrize("cell", ["happy", "happy:x", "happy:1 joy:2", ":3", "happy:1;sad:2"])
def test_cells_that_are_not_votes(cell: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2: .* use the form"):
        load_split(table(tmp_path, f"a.mp4,happy,train,{cell}", "b.mp4,sad,train,"))


@pytest.mark.parametrize("target", [(("fear", 1.0),), (("anger", 0.4),), (("anger", 2.0),)])
def test_soft_targets_are_checked(target: tuple[tuple[str, float], ...]) -> None:
    sample = Sample(Path("a"), "anger", "a", soft_target=target)
    with pytest.raises(DatasetError, match="probabilities for the labels anger, neutral that sum"):
        Split("x", None, "train", (sample,), LabelSet(("anger", "neutral")))
