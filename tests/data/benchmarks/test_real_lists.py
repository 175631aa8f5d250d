"""The real lists of DFEW, FERV39k, MAFW and AFEW, and trees made from some of their lines.

The counts are those of ../shared/research/papers.md section 4, which are those of the papers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from peclip.data import DATASETS, DataConfig, Split, load_split
from peclip.labels import EMOTIONS

pytestmark = pytest.mark.shared
ANNOTATIONS = Path(__file__).parents[4] / "shared" / "data" / "annotations"
DFEW_SIZES = [(9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339), (9361, 2336)]
MAFW_SIZES = [(7333, 1839), (7335, 1837), (7339, 1833), (7340, 1832), (7341, 1831)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without any video: the lists alone are read, each once."""
    return tmp_path_factory.mktemp("no-videos")


@cache
def from_real_lists(name: str, fold: int | None, split: str, root: Path) -> Split:
    return DATASETS[name].load(root, fold, split, ANNOTATIONS)


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_sizes_of_dfew_and_mafw(fold: int, root: Path) -> None:
    for name, sizes in (("dfew", DFEW_SIZES), ("mafw", MAFW_SIZES)):
        found = [len(from_real_lists(name, fold, split, root)) for split in ("train", "test")]
        assert tuple(found) == sizes[fold - 1]


def test_classes_of_dfew(root: Path) -> None:
    counts = from_real_lists("dfew", 1, "test", root).counts()
    assert list(counts) == list(EMOTIONS[:7])
    assert list(counts.values()) == [489, 379, 534, 435, 294, 29, 181]
    counts = from_real_lists("dfew", 1, "train", root).counts()
    assert list(counts.values()) == [1956, 1515, 2135, 1738, 1175, 116, 721]


def test_the_five_test_splits_of_dfew_are_apart_and_are_everything(root: Path) -> None:
    tests = [from_real_lists("dfew", fold, "test", root) for fold in range(1, 6)]
    names = [sample.id for split in tests for sample in split.samples]
    assert len(names) == len(set(names)) == 11_697
    totals = [sum(split.counts()[label] for split in tests) for label in EMOTIONS[:7]]
    assert totals == [2445, 1894, 2669, 2173, 1469, 145, 902]
    for fold, test in enumerate(tests, start=1):
        train = from_real_lists("dfew", fold, "train", root)
        assert {s.id for s in train.samples} == set(names) - {s.id for s in test.samples}


def test_classes_of_ferv39k(root: Path) -> None:
    train = from_real_lists("ferv39k", None, "train", root)
    test = from_real_lists("ferv39k", None, "test", root)
    assert (len(train), len(test)) == (31_088, 7_847)
    assert list(test.counts().values()) == [1473, 1393, 1958, 1487, 638, 467, 431]
    both = [train.counts()[label] + test.counts()[label] for label in EMOTIONS[:7]]
    assert both == [7327, 6916, 9748, 7393, 3140, 2300, 2111]
    assert len({s.id for split in (train, test) for s in split.samples}) == 38_935


def test_classes_of_mafw(root: Path) -> None:
    tests = [from_real_lists("mafw", fold, "test", root) for fold in range(1, 6)]
    totals = [sum(split.counts()[label] for split in tests) for label in EMOTIONS]
    assert totals == [1242, 1470, 1138, 1390, 1072, 639, 625, 236, 916, 262, 182]
    assert tuple(tests[0].labels) == EMOTIONS


def test_classes_of_afew_by_name(root: Path) -> None:
    counts = {
        split: from_real_lists("afew", None, split, root).counts() for split in ("train", "val")
    }
    alphabet = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    assert list(counts["train"]) == alphabet
    assert list(counts["train"].values()) == [133, 74, 81, 150, 144, 117, 74]
    assert list(counts["val"].values()) == [64, 40, 46, 63, 63, 61, 46]


def test_frame_counts_are_kept_as_claims(root: Path) -> None:
    first = from_real_lists("dfew", 1, "train", root).samples[0]
    assert (first.id, first.label, first.num_frames) == ("02522", "disgust", 66)


@pytest.mark.parametrize(
    ("name", "fold", "split", "file", "parts"),
    [
        ("dfew", 4, "test", "DFEW_set_4_test.txt", 2),
        ("ferv39k", None, "train", "FERV39K_train.txt", 4),
        ("mafw", 5, "train", "MAFW_set_5_train.txt", 3),
        ("afew", None, "val", "AFEW_val.txt", 4),
    ],
)
def test_trees_made_from_lines_of_the_real_lists(
    name: str, fold: int | None, split: str, file: str, parts: int, tmp_path: Path
) -> None:
    lines = (ANNOTATIONS / file).read_text().splitlines()[::200]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / file).write_text("\n".join(lines))
    tails = ["/".join(line.split()[0].split("/")[-parts:]) for line in lines]
    folders = [tmp_path / tail for tail in tails]
    for folder in folders:
        folder.mkdir(parents=True)
    found = load_split(DataConfig(dataset=name, root=tmp_path, fold=fold, split=split))
    assert [sample.source for sample in found.samples] == folders
    assert [str(sample.num_frames) for sample in found.samples] == [x.split()[1] for x in lines]
