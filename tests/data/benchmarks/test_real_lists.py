"""The published lists of DFEW, FERV39k, MAFW and AFEW: their counts are those of the papers.

`test_small_lists.py` reads lists of the same formats that are made in the test.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from peclip.data import DATASETS, Split
from peclip.labels import EMOTIONS

DFEW_SIZES = [(9356, 2341), (9356, 2341), (9357, 2340), (9358, 2339), (9361, 2336)]
MAFW_SIZES = [(7333, 1839), (7335, 1837), (7339, 1833), (7340, 1832), (7341, 1831)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without any video: the lists alone are read, each once."""
    return tmp_path_factory.mktemp("no-videos")


@cache
def from_real_lists(
    name: str, fold: int | None, split: str, root: Path, annotations: Path
) -> Split:
    return DATASETS[name].load(root, fold, split, annotations)


def check_sizes(name: str, expected: list[tuple[int, int]], root: Path, annotations: Path) -> None:
    for fold, sizes in enumerate(expected, start=1):
        train, test = (
            from_real_lists(name, fold, split, root, annotations) for split in ("train", "test")
        )
        assert (len(train), len(test)) == sizes, f"{name} fold {fold}"


@pytest.mark.slow
def test_dfew(root: Path, annotations: Path) -> None:
    """The five test splits are apart, and together they are everything."""
    check_sizes("dfew", DFEW_SIZES, root, annotations)
    test = from_real_lists("dfew", 1, "test", root, annotations).counts()
    assert list(test) == list(EMOTIONS[:7])
    assert list(test.values()) == [489, 379, 534, 435, 294, 29, 181]
    train = from_real_lists("dfew", 1, "train", root, annotations)
    assert list(train.counts().values()) == [1956, 1515, 2135, 1738, 1175, 116, 721]
    first = train.samples[0]
    assert (first.id, first.label, first.num_frames) == ("02522", "disgust", 66)

    tests = [from_real_lists("dfew", fold, "test", root, annotations) for fold in range(1, 6)]
    names = [sample.id for split in tests for sample in split.samples]
    assert len(names) == len(set(names)) == 11_697
    totals = [sum(split.counts()[label] for split in tests) for label in EMOTIONS[:7]]
    assert totals == [2445, 1894, 2669, 2173, 1469, 145, 902]
    for fold, test in enumerate(tests, start=1):
        train = from_real_lists("dfew", fold, "train", root, annotations)
        assert {s.id for s in train.samples} == set(names) - {s.id for s in test.samples}


@pytest.mark.slow
def test_ferv39k(root: Path, annotations: Path) -> None:
    train = from_real_lists("ferv39k", None, "train", root, annotations)
    test = from_real_lists("ferv39k", None, "test", root, annotations)
    assert (len(train), len(test)) == (31_088, 7_847)
    assert list(test.counts().values()) == [1473, 1393, 1958, 1487, 638, 467, 431]
    both = [train.counts()[label] + test.counts()[label] for label in EMOTIONS[:7]]
    assert both == [7327, 6916, 9748, 7393, 3140, 2300, 2111]
    assert len({s.id for split in (train, test) for s in split.samples}) == 38_935


@pytest.mark.slow
def test_mafw(root: Path, annotations: Path) -> None:
    check_sizes("mafw", MAFW_SIZES, root, annotations)
    tests = [from_real_lists("mafw", fold, "test", root, annotations) for fold in range(1, 6)]
    totals = [sum(split.counts()[label] for split in tests) for label in EMOTIONS]
    assert totals == [1242, 1470, 1138, 1390, 1072, 639, 625, 236, 916, 262, 182]
    assert tuple(tests[0].labels) == EMOTIONS


def test_afew_by_name(root: Path, annotations: Path) -> None:
    counts = {
        split: from_real_lists("afew", None, split, root, annotations).counts()
        for split in ("train", "val")
    }
    alphabet = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    assert list(counts["train"]) == alphabet
    assert list(counts["train"].values()) == [133, 74, 81, 150, 144, 117, 74]
    assert list(counts["val"].values()) == [64, 40, 46, 63, 63, 61, 46]
