"""MAFW (Liu et al., ACM MM 2022): 9,172 single-labelled videos, 11 classes, 5 folds."""

from __future__ import annotations

from pathlib import Path

from peclip.data.benchmarks.annotation_list import find_list, path_parts
from peclip.data.benchmarks.benchmark import Benchmark
from peclip.data.benchmarks.locator import read_listed
from peclip.data.samples import Split
from peclip.errors import DatasetError
from peclip.labels import EMOTIONS, LabelSet

_LABELS = LabelSet(EMOTIONS)
_CAPTION_HOMES = (  # as released, and as EmoCLIP has it
    ("Train & Test Set/single/", ""),
    ("single/", ""),
    ("Train_Test_Set/single/", "_new"),
)
_HOMES = ("data/faces", "faces", "data/frames", "frames", "data/clips", "clips")


def load_mafw(root: Path, fold: int | None, split: str, annotations: Path | None = None) -> Split:
    """Reads a split of MAFW from a list of DFER-CLIP, or from the official one, which names labels.

    MAE-DFER's lists use another label order; their format is indistinguishable from DFER-CLIP's, so
    they are rejected under their original names.

    Raises:
        DatasetError: the root, the fold or its list is missing, or a line is invalid.
    """
    official = f"single/no_caption/set_{fold}/{split}.txt"
    names = (f"MAFW_set_{fold}_{split}.txt", f"Train & Test Set/{official}", official)
    return read_listed(MAFW, root, fold, split, annotations, names, homes=_HOMES)


def load_mafw_captions(root: Path, annotations: Path | None = None) -> dict[str, str]:
    """Reads the original captions of MAFW's annotators, which name emotions.

    They are in the lists `single/with_caption` of the release, for every video that is not neutral
    (8,034 of 9,172). Every fold has all of them; the first is read.

    Returns:
        `Sample.id` → the English description.

    Raises:
        DatasetError: the root or a list is missing, or a line is invalid.
    """
    MAFW.check_root(root)
    captions: dict[str, str] = {}
    for split in MAFW.splits:
        names = [f"{home}with_caption{new}/set_1/{split}.txt" for home, new in _CAPTION_HOMES]
        path = find_list(MAFW, root, annotations, names)
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if line.strip():
                captions |= _read_caption(path, number, line)
    return captions


def _read_caption(path: Path, number: int, line: bytes) -> dict[str, str]:
    """Reads `00025.mp4 <tab> anger <tab> Chinese <tab> English`.

    The lists mix encodings, so each column is decoded separately, and the Chinese one not at all.
    """
    columns = line.strip().split(b"\t")
    if len(columns) != 4:
        raise DatasetError(
            f"{path}, line {number}: found {len(columns)} columns; expected clip, label, Chinese "
            "text and English text, separated by tabs. Correct the line, or download the list "
            "again."
        )
    clip = path_parts(columns[0].decode("utf-8", errors="replace").lstrip("\ufeff").strip())[-1]
    try:
        text = columns[3].decode("utf-8")
    except UnicodeDecodeError:
        text = columns[3].decode("gb18030", errors="replace")
    return {clip: " ".join(text.split())}


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
    own_captions=lambda root, annotations: load_mafw_captions(root, annotations),
)
