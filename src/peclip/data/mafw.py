"""MAFW (Liu et al., ACM MM 2022): 9,172 single-labelled videos, 11 classes, 5 folds."""

from __future__ import annotations

from pathlib import Path

from peclip.data.annotation_list import find_list, read_list
from peclip.data.benchmark import Benchmark
from peclip.data.locator import Locator, locate
from peclip.data.samples import Split
from peclip.labels import EMOTIONS, LabelSet

_LABELS = LabelSet(EMOTIONS)
_HOMES = ("data/faces", "faces", "data/frames", "frames", "data/clips", "clips")


def load_mafw(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of MAFW from a list of DFER-CLIP, or from the official one, which names labels.

    The numbers of MAE-DFER's lists count in another order; such a list cannot be told from DFER-CLIP's
    by its form, and is not accepted under its own name.

    Raises:
        DatasetError: the root, the fold or its list is not there, or a line is wrong.
    """
    MAFW.check_request(root, fold, split)
    official = f"single/no_caption/set_{fold}/{split}.txt"
    names = (f"MAFW_set_{fold}_{split}.txt", f"Train & Test Set/{official}", official)
    path = find_list(MAFW, root, annotations, names)
    entries = read_list(path, _LABELS.names)
    samples, missing = locate(entries, Locator(root, homes=_HOMES), id_parts=1)
    return Split("mafw", fold, split, samples, _LABELS, missing)


MAFW = Benchmark(
    name="mafw",
    title="MAFW, single expressions",
    labels=_LABELS,
    folds=5,
    splits=("train", "test"),
    test_split="test",
    tree=(
        "data/faces/00025/*.jpg, or data/clips/00025.mp4",
        "annotation/MAFW_set_1_train.txt, or Train & Test Set/single/no_caption/set_1/train.txt",
    ),
    source="https://mafw-database.github.io/MAFW",
    licence="signed agreement, research only",
    load=load_mafw,
)
